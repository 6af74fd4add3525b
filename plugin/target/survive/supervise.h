/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The supervisor of a restore server (README.md): what it is given, and what it gives its workers.
 */
#ifndef MFD_SUPERVISE_H
#define MFD_SUPERVISE_H

#include <stdint.h>

#include "takeover.h"

/* What a worker starts with. */
struct mfd_supervise_birth {
	int listen_fd;	/* connections */
	int stop_fd;	/* eventfd: the supervisor asks to end; its counter is how often */
	int reread_fd;	/* eventfd: SIGHUP came */
	int guard_fd;	/* guard.h */
	int standby_fd; /* guard.h; -1: there is none */
	enum mfd_takeover_after after;
	struct mfd_deposit *inherited;
};

struct mfd_supervise {
	const char *dir;
	int dirfd;
	int listen_fd;
	int lock_fd;	  /* makes this server the only one of `dir` */
	uint64_t keep_ms; /* for the keeper */
	char **words;	  /* of the command line, for a new program */
	/* The worker's life, in a process of its own; returns its exit code. */
	int (*work)(void *arg, const struct mfd_supervise_birth *b);
	/*
	 * SIGHUP: read again what is kept of files, here in the supervisor's process, from which
	 * later workers have it; the worker does the same for itself.
	 */
	void (*reread)(void *arg);
	/* The server is ready, for the first time; may be NULL. */
	void (*ready)(void *arg, const char *address);
	void *arg;
};

/* Start keeper, standby and worker, say "listening on ADDRESS", and return the exit code. */
int mfd_supervise_run(struct mfd_supervise *sv, const char *address);
/*
 * The same in a new program; `state` is a descriptor with what the old one left: listen_fd and
 * lock_fd come from there.  `prepare` runs other programs: not before each descriptor of the state
 * is close-on-exec again.
 */
int mfd_supervise_resume(struct mfd_supervise *sv, int state,
			 void (*prepare)(struct mfd_supervise *sv, const void *arg),
			 const void *arg);

#endif
