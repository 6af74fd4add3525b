/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session says to its source, a function for each message.  A message that cannot be sent is
 * no error: the reader of the control connection notices its end.
 */
#ifndef MFD_SAY_H
#define MFD_SAY_H

#include <stdint.h>

struct mfd_session;

void mfd_say_hello_ok(struct mfd_session *s);
void mfd_say_joined(struct mfd_session *s);
void mfd_say_round_ok(struct mfd_session *s, uint32_t n);
void mfd_say_images_ok(struct mfd_session *s);
void mfd_say_ready(struct mfd_session *s);
void mfd_say_started(struct mfd_session *s);
/* resumed_us: how long it took until the tasks ran; 0: they are stopped. */
void mfd_say_restored(struct mfd_session *s, uint64_t resumed_us);
/* likewise; 0: they do not run, or did before */
void mfd_say_committed(struct mfd_session *s, uint64_t resumed_us);
void mfd_say_resume_ok(struct mfd_session *s);
void mfd_say_abort(struct mfd_session *s, int code, const char *reason);
void mfd_say_ping(struct mfd_session *s);
/* Its peer has a limit of bandwidth, and can be told so. */
void mfd_say_limit(struct mfd_session *s);

#endif
