/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Going on in a new program without losing descriptors, as QEMU's cpr-exec: state in a memfd,
 * close-on-exec cleared just before execv(), and set again when that fails.
 */
#ifndef MFD_REEXEC_H
#define MFD_REEXEC_H

#include <stddef.h>

#include "error.h"

struct mfd_reexec {
	/* of our program, as it was called when we began: a new file may lie there */
	char path[4096];
	int *fds;
	size_t n, room;
	int state; /* memfd */
};

#define MFD_REEXEC_TRY_MS 3000

/* What else has to be done while a program is tried. */
struct mfd_reexec_aside {
	int fd;			 /* when this can be read ... */
	int (*serve)(void *arg); /* ... this is called; 0: not any more */
	void *arg;
};

/*
 * Find the program and try that it runs at all (`PATH --version`), so that a broken one costs
 * nothing.  -ETIMEDOUT: it did not end within MFD_REEXEC_TRY_MS, and was killed.  aside: or NULL.
 */
int mfd_reexec_begin(struct mfd_reexec *r, const struct mfd_reexec_aside *aside,
		     struct mfd_error *err);
/* This one is to survive; nothing happens to it yet. 0, -ENOMEM. */
int mfd_reexec_keep(struct mfd_reexec *r, int fd);
/*
 * argv[0] becomes the program.  Only returns on failure, with everything as before and -errno in
 * err.  Words of argv that are "@STATE" are replaced by the number of the descriptor that `state`
 * (a text) can be read from.
 */
int mfd_reexec_exec(struct mfd_reexec *r, char **argv, const char *state, size_t len,
		    struct mfd_error *err);
void mfd_reexec_end(struct mfd_reexec *r);

/* In the new program: read the state and close `fd`; *text is to be freed. */
int mfd_reexec_state(int fd, char **text, struct mfd_error *err);
/* In the new program: close-on-exec again for one that came over. -EBADF: it did not. */
int mfd_reexec_adopt(int fd);

#endif
