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
#include "command.h"
#include "gate.h"
#include "give_address.h"
#include "io.h"
#include "kept.h"
#include "log.h"
#include "pluginlink.h"
#include "run_on.h"
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

/* A target that has not everything finds out by itself, too.  Returns the sender's exit code. */
static int tell_abort(struct mfd_options *o, struct mfd_shared *sh)
{
	int waits = mfd_send_phase_has(sh, MFD_SEND_ENDED), ret;
	struct mfd_error err = { 0 };

	ret = mfd_tell(o, sh, MFD_TELL_ABORT, waits ? MFD_TELL_MS : TELL_MS, &err);
	if (waits && !mfd_tell_is_heard(ret))
		mfd_log_error("the tasks run on here, but %s could not be told: %s",
			      sh->target.text, mfd_error_text(&err));
	mfd_kept_aborted(sh, o, !waits || mfd_tell_is_heard(ret));
	if (ret != -EEXIST)
		return MFD_EXIT_FAILED;
	mfd_log_error("BOTH RUN: the tasks run on here, and session '%s' was committed on %s, "
		      "where they run, too.  End one of the two",
		      sh->session, sh->target.text);
	return MFD_EXIT_BOTH;
}

static int abort_dump(struct mfd_options *o, struct mfd_shared *sh, int link)
{
	mfd_assert(!mfd_send_phase_has(sh, MFD_SEND_LEAVE));
	mfd_log_error("the sender died unexpectedly; aborting CRIU's dump");
	if (sh->criu)
		fail_dump(sh, link);
	if (mfd_send_phase(sh) == MFD_SEND_UNDONE)
		mfd_address_back(o);
	mfd_run_on(sh);
	return sh->connected ? tell_abort(o, sh) : MFD_EXIT_FAILED;
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
	return mfd_send_phase_heir(mfd_send_phase(sh)) == MFD_SEND_HEIR_RESULT ?
		       sh->result :
		       abort_dump(o, sh, link);
}

static int supervise(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd,
		     int takes_over)
{
	unsigned pause = AGAIN_MS;
	int status;
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

int mfd_supervisor_run(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd)
{
	int ret = supervise(o, sh, link, log_fd, 0);

	mfd_kept_end(sh);
	return ret;
}

/*
 * The tasks were to go on here, and the target is to hear so: true only of tasks that live.  If
 * none does (the host was started anew, or they have ended since), the target may hold the only
 * copy, or one that is out of date: a person decides.
 */
static int settle_untold(struct mfd_options *o, struct mfd_shared *sh, int forget)
{
	unsigned count[MFD_TASK_FATES];

	mfd_assert(!mfd_send_phase_has(sh, MFD_SEND_LEAVE | MFD_SEND_DECIDED));
	if (forget) {
		mfd_log_warn("the target is not told any more how session '%s' ended", sh->session);
		mfd_run_on(sh);
		mfd_kept_aborted(sh, o, 1);
		return MFD_EXIT_DOUBT;
	}
	mfd_shared_tasks_fates(sh, count);
	if (count[MFD_TASK_ALIVE] || count[MFD_TASK_HELD])
		return abort_dump(o, sh, -1);
	mfd_log_error(
		"no task of session '%s' is known to live here, and %s may hold the only copy: "
		"it is not told that they run on",
		sh->session, sh->target.text);
	return MFD_EXIT_DOUBT;
}

int mfd_supervisor_again(struct mfd_options *o, struct mfd_shared *sh, int log_fd, int forget)
{
	int ret;

	mfd_assert(sh->connected && sh->keeps);
	if (takes_worker(sh))
		ret = supervise(o, sh, -1, log_fd, 1);
	else if (sh->kept == MFD__SOURCE_STATE__UNTOLD)
		ret = settle_untold(o, sh, forget);
	else
		ret = finish(o, sh, -1);
	mfd_kept_end(sh);
	return ret;
}
