/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes that hold one thing each which matters to a move, and what criu-multifd check is to
 * find of it: for its unit test, and for the tool that bats moves.
 */
#ifndef MFD_TEST_HOLDS_H
#define MFD_TEST_HOLDS_H

#include <sys/types.h>

struct hold {
	const char *name;
	/* ids of findings, as the table orders them, with commas; "": it moves as it is */
	const char *found;
	/* In the parent, which stays outside the tree: the process's end, or -1. */
	int (*outside)(const char *dir);
	/* In the process, whose folder is `dir`: 0; nonzero: the kernel has no such thing. */
	int (*open)(int given);
	int same_session; /* bool: it leads none of its own */
};

extern const struct hold holds[];
extern const unsigned n_holds;

const struct hold *hold_named(const char *name);
/*
 * Start it, until it holds what it is to hold: its pid; 0: the kernel has no such thing; or -errno.
 * It lives until it is killed.
 */
pid_t hold_start(const struct hold *h, const char *dir);

#endif
