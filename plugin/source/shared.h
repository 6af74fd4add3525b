/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the sender's two processes share: memory that outlives the worker, so that the supervisor
 * can finish what a dead worker has begun.  The worker writes; the supervisor reads after the
 * worker has ended, which waitpid orders.
 */
#ifndef MFD_SHARED_H
#define MFD_SHARED_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "conn.h"
#include "hold.h"
#include "options.h"
#include "sock.h"
#include "wire.h"

#define MFD_SHARED_MAX_TASKS 65536
#define MFD_SHARED_FREEZER   504 /* of a path that the plugin can say */

struct mfd_shared_task {
	pid_t pid;
	uint32_t vpid;	    /* in its own pid namespace: the name of its pagemap image */
	uint64_t starttime; /* from /proc/PID/stat: a recycled pid is another task */
	unsigned origin;    /* of hold.c: the number of its own control group */
	uint64_t ticks;	    /* of hold.c: processor time when it began to be held */
	int stopped;	    /* bool: by a signal, before the dump; known where SIGSTOP holds it */
};

struct mfd_shared {
	atomic_int phase; /* enum mfd_send_phase; send_phase.c alone writes it */
	int result;	  /* the sender's exit code, in phase `over` */
	/* bool: this sender has the folder's lock and keeps there what another one would need */
	int keeps;
	/* enum source_state that lies there, and with which hold; MFD_KEPT_NOTHING: no file */
	int kept;
	enum mfd_hold_kind kept_hold;
	char kept_group[MFD_HOLD_PATH]; /* empty: of no group */
	pid_t criu;
	uint64_t criu_start; /* its start time, as a task's */
	char criu_run[64];   /* its own name for its run; empty: it has none */
	struct mfd_hold hold;
	/* of run_on.h: a control group that CRIU may leave frozen; empty: none */
	char freezer[MFD_SHARED_FREEZER];
	int connected; /* bool: session, id and secret are valid; before the phase says joined */
	struct mfd_sock_addr target;
	/* NULL: without TLS.  Set before the fork; each process has a copy at that address. */
	const struct mfd_conn_security *security;
	char session[MFD_WIRE_MAX_NAME + 1];
	uint8_t id[MFD_WIRE_SESSION_ID_LEN], secret[MFD_WIRE_SECRET_LEN];
	int settings; /* bool: the target takes SETTING */
	/* bytes per second as it is now; 0 = no limit. Any thread of the worker: live_setting.c */
	_Atomic uint64_t max_bandwidth;
	atomic_uint ntasks;
	struct mfd_shared_task task[MFD_SHARED_MAX_TASKS];
};

/*
 * What became of a task.  Only GONE and ALIVE are answers.  Held: CRIU still traces it, or it has
 * been killed and is not gone yet (giving back its memory may take seconds; what a cgroup v1
 * freezer has frozen dies when it is thawed).  Unknown: the look itself failed (no descriptors, no
 * memory), so it says neither that the task lives nor that it is dead.
 */
enum mfd_task_fate {
	MFD_TASK_GONE, /* no such process any more, a zombie, or every thread of it is exiting */
	MFD_TASK_HELD,
	MFD_TASK_UNKNOWN,
	MFD_TASK_ALIVE,
	MFD_TASK_FATES,
};
enum mfd_task_fate mfd_shared_task_fate(const struct mfd_shared_task *t);
/* Nonzero: it is gone, or on its way there: it runs its program no more, nor lends its memory. */
int mfd_shared_task_is_dying(const struct mfd_shared_task *t);
/* Nonzero: CRIU traces some task no more, which has not been killed either. */
int mfd_shared_tasks_let_go(const struct mfd_shared *s);
/* Return how many are gone or dying. */
unsigned mfd_shared_tasks_dying(const struct mfd_shared *s);
/* Return how many are not gone. */
unsigned mfd_shared_tasks_alive(const struct mfd_shared *s);
/* One look at all of them: how many have each fate. */
void mfd_shared_tasks_fates(const struct mfd_shared *s, unsigned count[MFD_TASK_FATES]);
/* Wait at most timeout_ms until all that are gone have closed their descriptors, too. */
void mfd_shared_tasks_await_closed(const struct mfd_shared *s, unsigned timeout_ms);
/*
 * Send `sig` to a task if it is still the same process, and alive.  -errno: whether it is cannot be
 * known, and nothing was sent.
 */
int mfd_shared_task_signal(const struct mfd_shared_task *t, int sig);
/* The same for each task: all that can be, whatever fails. */
int mfd_shared_tasks_signal(const struct mfd_shared *s, int sig);
/* Fill `t` for pid; 0 or -errno. */
int mfd_shared_task_fill(struct mfd_shared_task *t, pid_t pid);

#endif
