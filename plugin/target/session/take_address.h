/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * move-address on the target, in the server's own network namespace:
 *
 *	HELLO				checked: policy, device, not here yet
 *	before lazy-pages.socket	taken, but blocked (lib/netaddr.h)
 *	the tasks may run		let go and announced: when they go on or, if the server did
 *					not restore them, when CRIU says that it is done
 *	abort				given back
 */
#ifndef MFD_TARGET_ADDRESS_H
#define MFD_TARGET_ADDRESS_H

#include "session.h"

int mfd_address_check(const struct mfd_server *sv, const struct mfd_owner *o, const Mfd__Hello *h,
		      struct mfd_error *err);
/* copies them; 0 or -ENOMEM */
int mfd_address_keep(struct mfd_session *s, char *const *words, size_t n);
/* Each may be repeated. */
int mfd_address_take(struct mfd_session *s, struct mfd_error *err);
void mfd_address_adopt(struct mfd_session *s); /* the worker before took them */
void mfd_address_lift(struct mfd_session *s);  /* any thread */
void mfd_address_drop(struct mfd_session *s);
/* The same for a session of which there is only its session.img. */
void mfd_address_give_up(const char *session, char *const *words, size_t n);

#endif
