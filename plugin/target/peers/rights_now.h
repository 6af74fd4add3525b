/* SPDX-License-Identifier: GPL-2.0-only */
/* The rights that are in force: read when the server starts, and again when it is told to. */
#ifndef MFD_RIGHTS_NOW_H
#define MFD_RIGHTS_NOW_H

#include <pthread.h>

#include "rights.h"

struct mfd_rights_now {
	/*
	 * constant in the worker: serve --peers; NULL: MFD_RIGHTS_FILE if it is there, "off": none
	 */
	const char *file;
	pthread_mutex_t lock;
	struct mfd_rights *rights; /* lock; NULL: there is no file */
};

/* Once, with what --peers says; it outlives `n`. */
void mfd_rights_now_init(struct mfd_rights_now *n, const char *file);
/*
 * Read the file as it is now: 0, or -errno with err filled, and what was in force stays.  A file
 * that has been in force must be there; there is no step back to none.
 */
int mfd_rights_now_read(struct mfd_rights_now *n, struct mfd_error *err);
/* From now on no peer may do anything that it has not begun. */
void mfd_rights_now_close(struct mfd_rights_now *n);
/* With a reference; NULL: there is no file. */
struct mfd_rights *mfd_rights_now(struct mfd_rights_now *n);

#endif
