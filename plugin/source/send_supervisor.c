// SPDX-License-Identifier: GPL-2.0-only
/* Watching the worker, and finishing what it left: abort, take over, or tell the target. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate.h"
#include "io.h"
#include "log.h"
#include "pluginlink.h"
#include "send_supervisor.h"
#include "worker.h"

#define TELL_MS	   60000
#define GIVE_UP_MS 600000 /* CRIU may still be dumping something large when the worker dies */

static void link_say(int link, enum mfd_link_type type, const char *text)
{
	struct mfd_link_msg m = { .type = type, .value = -ECHILD };

	snprintf(m.text, sizeof(m.text), "%s", text);
	mfd_io_send_fds(link, &m, sizeof(m), NULL, 0);
}

/* Close the gate, and wait until CRIU has ended; it may still be dumping something large. */
static void close_gate(struct mfd_shared *sh)
{
	struct mfd_gate g;
	struct mfd_error err = { 0 };

	if (mfd_gate_init(&g, sh->criu, &err))
		return;
	mfd_gate_abort(&g);
	mfd_gate_criu_ended(&g, GIVE_UP_MS);
	mfd_gate_fini(&g);
}

static int abort_dump(struct mfd_options *o, struct mfd_shared *sh, int link)
{
	int committing = atomic_load(&sh->phase) == MFD_PHASE_COMMITTING;
	struct mfd_error err = { 0 };
	const char *outcome;

	mfd_log_error("the sender died unexpectedly; aborting CRIU's dump");
	if (sh->criu) {
		link_say(link, MFD_LINK_ABORT, "the sender died unexpectedly; session aborted");
		/*
		 * Nobody is left to answer: the plugin must not wait for last words while its tasks
		 * are frozen.
		 */
		shutdown(link, SHUT_RDWR);
		close_gate(sh);
	}
	if (!sh->connected)
		return 1;
	/*
	 * After a commit verdict only the tasks can tell which way it went; the dying take their
	 * time.
	 */
	outcome = committing && !mfd_shared_tasks_settle(sh) ? "commit" : "abort";
	mfd_verdict_tell(o, sh, outcome, committing ? TELL_MS : 2000, &err);
	return strcmp(outcome, "commit") != 0;
}

static pid_t fork_worker(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd,
			 int recover)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	_exit(mfd_worker_main(o, sh, link, log_fd, recover));
}

static int wait_worker(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* 0 and 1 are the worker's own results; anything else is a crash. */
static int ended_well(int status, const struct mfd_shared *sh)
{
	return WIFEXITED(status) && WEXITSTATUS(status) <= 1 &&
	       atomic_load(&sh->phase) == MFD_PHASE_OVER;
}

int mfd_supervisor_run(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd)
{
	struct mfd_error err = { 0 };
	int recover = 0, status;
	pid_t pid;

	signal(SIGTERM, SIG_IGN); /* the worker handles them, for both */
	signal(SIGINT, SIG_IGN);
	for (;;) {
		pid = fork_worker(o, sh, link, log_fd, recover);
		if (pid < 0 && atomic_load(&sh->phase) == MFD_PHASE_RUNNING) {
			sleep(1); /* to abort now would let both sides run */
			continue;
		}
		if (pid < 0)
			return abort_dump(o, sh, link);
		status = wait_worker(pid);
		if (ended_well(status, sh))
			return WEXITSTATUS(status);
		switch (atomic_load(&sh->phase)) {
		case MFD_PHASE_RUNNING:
			mfd_log_error(
				"the sender died while the tasks may run on the target; taking over");
			recover = 1;
			usleep(100000);
			continue;
		case MFD_PHASE_RELEASED:
			return mfd_verdict_tell(o, sh, "commit", TELL_MS, &err) ? 1 : 0;
		case MFD_PHASE_OVER:
			return sh->result;
		default:
			return abort_dump(o, sh, link);
		}
	}
}
