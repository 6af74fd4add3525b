/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The supervisor's state, for the files that make it up:
 *
 *	supervise.c		start, loop, signals, end
 *	supervise_worker.c	the worker's life and its messages
 *	supervise_keeper.c	the keeper's life
 *	deposits.c		what is deposited, and the standby
 *	upgrade.c		the state as text, for a new program
 *
 * Phases:
 *
 *	STARTING	a worker has been started, and reloads the sessions
 *	SERVING		it is ready
 *	REPLACING	a new program is to go on.  Without deposits the worker has been asked to
 *			end.  With them it is killed, which it is made for: the first worker of the
 *			new program takes the tasks over
 *	ENDING		the worker has been asked to end; its exit code becomes ours
 *
 *	STARTING -> SERVING			the worker says READY
 *	SERVING -> STARTING			it was killed; another one follows
 *	STARTING, SERVING -> REPLACING		SIGUSR2, or EXEC from the worker
 *	REPLACING -> STARTING			the new program cannot be started: this one goes on
 *	any -> ENDING				SIGTERM, SIGINT
 *
 * A worker that is killed is followed by another in ENDING, too, which is asked to end again.
 */
#ifndef MFD_SUPERVISOR_H
#define MFD_SUPERVISOR_H

#include <sys/types.h>

#include "deposits.h"
#include "error.h"
#include "supervise.h"

#define MFD_SUPERVISOR_MAX_RESTARTS 20 /* within a minute */

enum mfd_supervisor_phase {
	MFD_SUPERVISOR_STARTING,
	MFD_SUPERVISOR_SERVING,
	MFD_SUPERVISOR_REPLACING,
	MFD_SUPERVISOR_ENDING,
};

struct mfd_supervisor {
	struct mfd_supervise *sv;
	const char *address;
	enum mfd_supervisor_phase phase;
	int announced; /* "listening on" was said; a later worker does not say it again */
	int signals;   /* signalfd: TERM, INT, HUP, USR2, CHLD */
	int stop_fd;   /* eventfd: asks the worker to end; its counter is how often */
	int reread_fd; /* eventfd: tells the worker of SIGHUP */
	int link;      /* to the worker */
	enum mfd_takeover_after after; /* what the next worker follows */
	struct mfd_deposits deposits;  /* deposits.worker: the worker's pid */
	pid_t keeper;		       /* 0: none */
	int keeper_link;
	uint64_t restarts[MFD_SUPERVISOR_MAX_RESTARTS]; /* when the last ones were */
	unsigned n_restarts;
	uint64_t start_ms; /* 0: there is a worker; else when it is tried to start one */
	int checking;	   /* bool: a new program is being tried */
	unsigned deaths;   /* of workers, since one was ready */
};

/* ---- supervise_worker.c ---- */

/* The only writer of su->phase. */
void mfd_supervisor_enter(struct mfd_supervisor *su, enum mfd_supervisor_phase phase);
/* 0 or -errno */
int mfd_supervisor_start_worker(struct mfd_supervisor *su);
/* The same; but a want that passes, while tasks wait, is tried again (start_ms). */
int mfd_supervisor_start_or_wait(struct mfd_supervisor *su);
/* One message of the worker, answered; 0 when its end is closed. */
int mfd_supervisor_serve_worker(struct mfd_supervisor *su);
/* Ask it to end, once more. */
void mfd_supervisor_ask_to_end(struct mfd_supervisor *su);
/* EXEC or SIGUSR2: -> REPLACING.  0 or -errno: what can be seen to fail has failed. */
int mfd_supervisor_replace(struct mfd_supervisor *su);
/* In REPLACING, while restored tasks lack pages. */
void mfd_supervisor_kill_worker(struct mfd_supervisor *su);
/* It has ended, with this status of waitpid().  -1: another one runs; else the exit code. */
int mfd_supervisor_worker_ended(struct mfd_supervisor *su, int status);
/* Nonzero: not too many processes have died of late for another one. */
int mfd_supervisor_may_restart(struct mfd_supervisor *su);

/* ---- supervise_keeper.c ---- */
int mfd_supervisor_start_keeper(struct mfd_supervisor *su);
void mfd_supervisor_look_at_keeper(struct mfd_supervisor *su); /* SIGCHLD */
void mfd_supervisor_end_keeper(struct mfd_supervisor *su);

/* ---- upgrade.c ---- */
/* Only returns when it failed: everything is as it was. */
void mfd_upgrade_exec(struct mfd_supervisor *su);
/* In the new program. 0 or -errno. */
int mfd_upgrade_load(struct mfd_supervisor *su, int state, struct mfd_error *err);

#endif
