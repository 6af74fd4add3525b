// SPDX-License-Identifier: GPL-2.0-only
/* Watch the worker, and finish what it left: abort, start another one, or tell the target. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assert.h"
#include "gate.h"
#include "io.h"
#include "log.h"
#include "pluginlink.h"
#include "send_phase.h"
#include "send_supervisor.h"
#include "tell.h"
#include "worker.h"

#define TELL_MS	   2000	  /* for a target that finds out by itself, too */
#define GIVE_UP_MS 600000 /* CRIU may still be dumping something large when the worker dies */
/* Before the next worker; each one waits twice as long, up to a bound. */
#define AGAIN_MS     100
#define PAUSE_MAX_MS 10000

static void link_say(int link, enum mfd_link_type type, const char *text)
{
	struct mfd_link_msg m = { .type = type, .value = -ECHILD };

	snprintf(m.text, sizeof(m.text), "%s", text);
	mfd_io_send_fds(link, &m, sizeof(m), NULL, 0);
}

/*
 * Close the gate, and wait until CRIU has left it; it may still be dumping something large.  If
 * this process can have no copy of the gate's end, the plugin's own switch closes it.
 */
static void close_gate(struct mfd_shared *sh)
{
	struct mfd_gate g;

	mfd_gate_find(&g, sh->criu, sh->criu_start);
	mfd_gate_abort(&g);
	mfd_gate_left(&g, GIVE_UP_MS);
	mfd_gate_fini(&g);
}

static void fail_dump(struct mfd_shared *sh, int link)
{
	link_say(link, MFD_LINK_ABORT, "the sender died unexpectedly; session aborted");
	/*
	 * No process is left that answers: the plugin must not wait for last words while its tasks
	 * are frozen.
	 */
	shutdown(link, SHUT_RDWR);
	close_gate(sh);
}

static int abort_dump(struct mfd_options *o, struct mfd_shared *sh, int link)
{
	struct mfd_error err = { 0 };

	mfd_assert(!mfd_send_phase_has(sh, MFD_SEND_LEAVE));
	mfd_log_error("the sender died unexpectedly; aborting CRIU's dump");
	if (sh->criu)
		fail_dump(sh, link);
	mfd_hold_release(sh);
	if (sh->connected)
		mfd_tell(o, sh, MFD_TELL_ABORT, TELL_MS, &err);
	return 1;
}

static pid_t fork_worker(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd,
			 int takes_over)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	_exit(mfd_worker_main(o, sh, link, log_fd, takes_over));
}

static int wait_worker(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* A worker that says nothing of its end in the phase has crashed, or wants another one. */
static int ended_well(int status, const struct mfd_shared *sh)
{
	return WIFEXITED(status) && mfd_send_phase(sh) == MFD_SEND_OVER;
}

static int takes_worker(const struct mfd_shared *sh)
{
	return mfd_send_phase_heir(mfd_send_phase(sh)) == MFD_SEND_HEIR_WORKER;
}

/* The exit code of `send`, after the worker's death. */
static int finish(struct mfd_options *o, struct mfd_shared *sh, int link)
{
	struct mfd_error err = { 0 };

	switch (mfd_send_phase_heir(mfd_send_phase(sh))) {
	case MFD_SEND_HEIR_TELL:
		signal(SIGTERM, SIG_DFL); /* only a person ends this before the target answers */
		signal(SIGINT, SIG_DFL);
		return mfd_tell(o, sh, MFD_TELL_COMMIT, MFD_TELL_FOREVER, &err) ? 1 : 0;
	case MFD_SEND_HEIR_RESULT:
		return sh->result;
	default:
		return abort_dump(o, sh, link);
	}
}

int mfd_supervisor_run(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd)
{
	unsigned pause = AGAIN_MS;
	int takes_over = 0, status;
	pid_t pid;

	signal(SIGTERM, SIG_IGN); /* the worker handles them, for both */
	signal(SIGINT, SIG_IGN);
	for (;;) {
		pid = fork_worker(o, sh, link, log_fd, takes_over);
		if (pid < 0 && takes_worker(sh)) {
			sleep(1); /* to abort now would let both sides run */
			continue;
		}
		if (pid < 0)
			return abort_dump(o, sh, link);
		status = wait_worker(pid);
		if (ended_well(status, sh))
			return WEXITSTATUS(status);
		if (!takes_worker(sh))
			return finish(o, sh, link);
		mfd_log_error(
			"the sender has died, and there is no way back any more; taking over");
		takes_over = 1;
		usleep(pause * 1000);
		pause = pause < PAUSE_MAX_MS ? pause * 2 : pause;
	}
}
