/* SPDX-License-Identifier: GPL-2.0-only */
/* HELLO and RESUME: checks, and a session attached to the connection. */
#ifndef MFD_HELLO_H
#define MFD_HELLO_H

#include "session.h"

/*
 * Opens a session and answers HELLO_OK; *s with a reference.  -errno and a sentence for the source.
 */
int mfd_hello_open(struct mfd_peer *p, const Mfd__Hello *h, struct mfd_session **s,
		   struct mfd_error *err);
enum mfd_resume_try { MFD_RESUME_FIRST, MFD_RESUME_LAST };
/*
 * 0 and *s; 0 and no *s when everything has been answered; -errno and a sentence.  -EAGAIN, of the
 * first try alone: it is here and not loaded; nothing has been answered.
 */
int mfd_hello_resume(struct mfd_peer *p, const struct mfd_wire_greeting *g, const Mfd__Resume *r,
		     enum mfd_resume_try which, struct mfd_session **s, struct mfd_error *err);
/* Copies what the source asks of the restore; the session frees it. */
int mfd_hello_restore_options(struct mfd_session *s, char *const *options, size_t n);

#endif
