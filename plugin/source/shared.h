/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the sender's two processes share: memory that outlives the worker, so that the supervisor
 * can finish what a dead worker has begun.  The worker writes, the supervisor reads after the
 * worker has ended (waitpid orders that), except for `phase`.
 */
#ifndef MFD_SHARED_H
#define MFD_SHARED_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "options.h"
#include "sock.h"
#include "wire.h"

#define MFD_SHARED_MAX_TASKS 65536

enum mfd_phase {
	MFD_PHASE_CONNECTING, /* nothing is frozen on our behalf */
	MFD_PHASE_STREAMING,  /* until the verdict: a failure aborts CRIU's dump */
	/* postcopy: the restored tasks may run; a failure must not let the source go on */
	MFD_PHASE_RUNNING,
	MFD_PHASE_COMMITTING, /* verdict given; what became of the tasks decides */
	MFD_PHASE_RELEASED,   /* the tasks are dead: the target must hear COMMIT */
	MFD_PHASE_OVER,	      /* nothing left to do, the result has been reported */
};

struct mfd_shared_task {
	pid_t pid;
	uint32_t vpid;	    /* in its own pid namespace: the name of its pagemap image */
	uint64_t starttime; /* from /proc/PID/stat: a recycled pid is another task */
};

struct mfd_shared {
	atomic_int phase;
	int result; /* the sender's exit code, in phase OVER */
	pid_t criu;
	int connected; /* session, id and secret are valid */
	struct mfd_sock_addr target;
	char session[MFD_WIRE_MAX_NAME + 1];
	uint8_t id[MFD_WIRE_SESSION_ID_LEN], secret[MFD_WIRE_SECRET_LEN];
	int settings; /* the target takes SETTING */
	_Atomic uint64_t
		max_bandwidth; /* bytes per second as it is now; 0 = no limit. Any thread of the worker: setting.c */
	atomic_uint ntasks;
	struct mfd_shared_task task[MFD_SHARED_MAX_TASKS];
};

/*
 * What became of a task.  Held: CRIU still traces it, or it has been killed and is not gone yet
 * (giving back its memory may take seconds), so nothing can be concluded.  In doubt (no descriptors
 * left ...) a task counts as alive: the target must not run it.
 */
enum mfd_task_fate {
	MFD_TASK_GONE, /* no such process any more, a zombie, or every thread of it is exiting */
	MFD_TASK_HELD,
	MFD_TASK_ALIVE,
};
enum mfd_task_fate mfd_shared_task_fate(const struct mfd_shared_task *t);
/* How many are not gone. */
unsigned mfd_shared_tasks_alive(const struct mfd_shared *s);
/* Wait until no task is held any more, however long CRIU takes; how many live on. */
unsigned mfd_shared_tasks_settle(const struct mfd_shared *s);
/* Wait at most timeout_ms until all that are gone have closed their descriptors, too. */
void mfd_shared_tasks_close(const struct mfd_shared *s, unsigned timeout_ms);
/* Send `sig` to every task that is still the same process. */
void mfd_shared_tasks_signal(const struct mfd_shared *s, int sig);
/* Fill `t` for pid; 0 or -errno. */
int mfd_shared_task_fill(struct mfd_shared_task *t, pid_t pid);

#endif
