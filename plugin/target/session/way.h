/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way of a session from HELLO to DONE: what follows when something has happened.  Each function
 * takes one event of the session's thread, calls the handlers that do the work, makes the
 * transitions of phase.h and tells the source.
 *
 *	mfd_hello_open		HELLO: -> STREAMING, or QUEUED			says HELLO_OK, ...
 *	mfd_way_admitted	there is memory: QUEUED -> STREAMING		says HELLO_OK
 *	mfd_way_joined		all channels are in				says JOINED, or NEED
 *	mfd_rounds_end		precopy: a round has come (rounds.h)		says ROUND_OK
 *	mfd_way_images		STREAMING -> IMAGES; early: restore;
 *				postcopy: -> RESTORABLE, restore		says IMAGES_OK
 *	mfd_way_asked		a restore waits for leave			says STARTED
 *	mfd_way_started_ok	RESTORABLE -> RUNNING, the tasks may run	says RESTORED
 *	mfd_way_end		verified: -> READY (early: or SETTLING)		says READY, or NEED
 *	mfd_way_restored	criu restore has ended				says RESTORED, ...
 *	mfd_way_pager		every page is installed, or never will be	may be DONE
 *	mfd_way_commit		READY, RESTORED -> COMMITTED, the tasks run	says COMMITTED
 *	mfd_session_wind_up	COMMITTED -> DONE, else -> ABORTED (ending.c)
 *
 * Between these, packets come on the channels without the session's thread (lib/multifd.h).
 * Restores have a phase of their own (restore_phase.h), and so has the pager (pager_int.h).
 *
 * All return 0, or -errno and *t: the actor asks rules.h what that means.
 */
#ifndef MFD_WAY_H
#define MFD_WAY_H

#include "proto/control.pb-c.h"
#include "rules.h"

int mfd_way_begin(struct mfd_session *s, struct mfd_trouble *t); /* its thread has started */
int mfd_way_admitted(struct mfd_session *s, struct mfd_trouble *t);
int mfd_way_joined(struct mfd_session *s, struct mfd_trouble *t);
int mfd_way_images(struct mfd_session *s, const Mfd__Images *m, struct mfd_trouble *t);
int mfd_way_asked(struct mfd_session *s, struct mfd_trouble *t);
int mfd_way_started_ok(struct mfd_session *s, struct mfd_trouble *t);
int mfd_way_end(struct mfd_session *s, const Mfd__End *m, struct mfd_trouble *t);
int mfd_way_restored(struct mfd_session *s, struct mfd_trouble *t);
int mfd_way_pager(struct mfd_session *s, struct mfd_trouble *t);
/* answer 0: a person says it, the source is not told */
int mfd_way_commit(struct mfd_session *s, int answer, struct mfd_trouble *t);

#endif
