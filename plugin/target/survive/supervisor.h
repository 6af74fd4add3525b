/* SPDX-License-Identifier: GPL-2.0-only */
/* The supervisor's state, shared by supervise.c and supervise_exec.c alone. */
#ifndef MFD_SUPERVISOR_H
#define MFD_SUPERVISOR_H

#include <sys/types.h>

#include "error.h"
#include "standby.h"
#include "supervise.h"

#define MAX_RESTARTS   20    /* within ... */
#define RESTART_WINDOW 60000 /* ms */
/* workers in a row that may die before they are ready and leave the tasks to the next */
#define MAX_EARLY     3
#define LAST_WORDS_US 50000
#define DRAIN_MS      5000 /* a dead worker's heir has for each message */

struct supervisor {
	struct mfd_supervise *sv;
	int stop_fd; /* eventfd: the worker is asked to end */
	enum mfd_takeover_after after;
	const char *address;
	int signals; /* signalfd: TERM, INT, USR2, CHLD */
	int link;    /* to the worker */
	pid_t worker;
	pid_t keeper; /* 0: none */
	int keeper_link;
	struct mfd_deposit *held;
	uint64_t last_id; /* of a hold */
	struct mfd_standby standby;
	uint64_t restarts[MAX_RESTARTS]; /* when the last ones were */
	unsigned n_restarts;
	int said_ready;
	unsigned early;	 /* workers that died before they were ready, in a row */
	int exec_wanted; /* when the worker has ended, go on in a new program */
};

/*
 * unfinished.c: restores of `session` that are not finished, by their connections in the list.
 * cut: no more comes through; the userfaultfds that nobody had read are in the list, too.  end:
 * once the tasks are dead, see to it that CRIU ends.
 */
int mfd_unfinished_cut(struct mfd_deposit **list, const char *session);
void mfd_unfinished_end(const struct mfd_deposit *list, const char *session);

int mfd_supervise_loop(struct supervisor *su);

/* supervise_exec.c */
int mfd_supervise_exec_check(struct mfd_error *err); /* is there a program that runs? */
/* only returns when it failed: everything is as it was */
void mfd_supervise_exec(struct supervisor *su);

#endif
