// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a session ends on the source.
 *
 * Commit: tell the plugin (so that its dead man's switch stays quiet), open the gate, see the tasks
 * die, tell the target. The target hears COMMIT only when no task is left alive here, so there is
 * no moment at which both may run; if it cannot be told it keeps the session, in doubt.
 *
 * Abort: tell target and plugin why, close the gate, and see CRIU's dump fail.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "give_address.h"
#include "io.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "worker.h"

#define TELL_MS	 60000
#define WHY_MS	 200
#define CLOSE_MS 20 /* for what is slow to close, as a file on a network */

/* Serve the link until EXIT or the end of CRIU; every question but EXIT gets `answer`. */
static void serve_link(struct mfd_worker *w, enum mfd_link_type answer, const char *text,
		       int timeout_ms)
{
	struct pollfd p = { .fd = w->link, .events = POLLIN };
	struct mfd_link_msg m;
	int nfds = 0;

	if (w->link < 0 || poll(&p, 1, timeout_ms) <= 0)
		return;
	if (mfd_io_recv_fds(w->link, &m, sizeof(m), NULL, &nfds) != (ssize_t)sizeof(m)) {
		mfd_io_close(&w->link);
		return;
	}
	if (m.type == MFD_LINK_EXIT) {
		w->dump_result_known = 1;
		w->dump_result = m.value;
	}
	mfd_worker_reply(w, answer, 0, text);
}

static int tasks_died(struct mfd_worker *w, struct mfd_error *err)
{
	unsigned alive = mfd_shared_tasks_settle(w->sh);

	if (!alive)
		return 0;
	return mfd_error_set(
		err, -EBUSY,
		"%u of %u tasks are still alive after the dump (criu dump --leave-running or "
		"--leave-stopped cannot be used here); the target will not run them",
		alive, atomic_load(&w->sh->ntasks));
}

static int wait_committed(struct mfd_worker *w)
{
	struct pollfd p = { .fd = w->wake, .events = POLLIN };
	uint64_t end = mfd_io_now_ms() + w->o->stall_timeout;
	struct mfd_error err = { 0 };
	ProtobufCMessage *msg;
	unsigned type;
	int ret;

	for (;;) {
		ret = mfd_inbox_next(&w->inbox, &type, &msg, &err);
		if (ret < 0)
			return ret;
		if (ret > 0) {
			if (type == MFD_WIRE_COMMITTED && ((Mfd__Committed *)msg)->has_resumed_us)
				w->resumed_us = ((Mfd__Committed *)msg)->resumed_us;
			protobuf_c_message_free_unpacked(msg, NULL);
			if (type != MFD_WIRE_COMMITTED)
				continue;
			w->committed_us = mfd_io_now_us();
			return 0;
		}
		if (mfd_io_now_ms() > end)
			return -ETIMEDOUT;
		if (poll(&p, 1, 100) > 0) {
			uint64_t n;

			(void)!read(w->wake, &n, sizeof(n));
		}
	}
}

int mfd_verdict_tell(struct mfd_options *o, struct mfd_shared *sh, const char *outcome,
		     unsigned give_up_ms, struct mfd_error *err)
{
	uint64_t end = mfd_io_now_ms() + give_up_ms;
	int ret;

	if (!strcmp(outcome, "commit"))
		mfd_address_release(o);
	for (;;) {
		struct mfd_uplink s = { .wake_fd = -1 };
		char state[32];

		mfd_error_clear(err);
		ret = mfd_uplink_resume(&s, o, sh, outcome, state, err);
		if (!ret && !strcmp(outcome, "commit")) {
			ProtobufCMessage *msg = NULL;
			unsigned type = 0;

			ret = mfd_control_recv(&s.control, &type, &msg, err);
			if (!ret && type != MFD_WIRE_COMMITTED)
				ret = mfd_error_set(err, -EPROTO,
						    "the target answers the commit with %s",
						    mfd_wire_msg_name(type));
			protobuf_c_message_free_unpacked(msg, NULL);
		}
		mfd_control_close(&s.control);
		if (!ret || ret == -ECANCELED || mfd_io_now_ms() >= end)
			return ret;
		usleep(300000);
	}
}

static int tell_target(struct mfd_worker *w)
{
	Mfd__Commit commit = MFD__COMMIT__INIT;
	struct mfd_error err = { 0 };
	int ret = -ENOTCONN;

	mfd_address_release(w->o);
	/* else a person has decided while there was no connection */
	if (mfd_conn_is_open(&w->session.control.conn))
		ret = mfd_control_send(&w->session.control, MFD_WIRE_COMMIT, &commit.base);
	if (!w->leave_us)
		w->leave_us = mfd_io_now_us();
	if (!ret)
		ret = wait_committed(w);
	if (!ret)
		return 0;
	mfd_log_warn("the commit was not acknowledged (%s); connecting again", strerror(-ret));
	mfd_release_early(&w->release);
	ret = mfd_verdict_tell(w->o, w->sh, "commit", TELL_MS, &err);
	w->progress->untold = ret != 0;
	if (ret == -ECANCELED)
		mfd_log_error(
			"the tasks are gone here, and %s holds no session '%s' (any more): %s",
			w->sh->target.text, w->sh->session, mfd_error_text(&err));
	else if (ret)
		mfd_log_error(
			"the tasks are gone here, but %s could not be told: %s.  The target holds session '%s' complete "
			"and in doubt; let it run there with: criu-multifd resolve %s --run",
			w->sh->target.text, mfd_error_text(&err), w->sh->session, w->sh->session);
	return 0; /* released all the same: nothing runs here any more */
}

/* From here on a failure is not answered by undoing but by looking at what became of the tasks. */
int mfd_verdict_commit(struct mfd_worker *w)
{
	int ran = atomic_load(&w->sh->phase) == MFD_PHASE_RUNNING, held, ret;
	char text[400];

	snprintf(text, sizeof(text), "session '%s' is complete on %s; releasing the tasks",
		 w->sh->session, w->sh->target.text);
	atomic_store(&w->sh->phase, MFD_PHASE_COMMITTING);
	mfd_progress_phase(w->progress, MFD_PROGRESS_RELEASING);
	held = mfd_release_hold(&w->release, &w->tasks);
	mfd_worker_reply(w, MFD_LINK_COMMIT, 0, text);
	/* A worker that took over has no gate yet. */
	while ((ret = mfd_gate_poll(&w->gate, &w->err)) == 0)
		usleep(1000);
	if (ret == 1)
		ret = mfd_gate_commit(&w->gate, &w->err);
	if (ret && !ran)
		return ret;
	while (!ret && !w->dump_result_known && w->link >= 0 && !mfd_gate_criu_ended(&w->gate, 0))
		serve_link(w, MFD_LINK_OK, text, 100);
	/*
	 * In postcopy the tasks run on the target: whatever CRIU thinks of its dump (a post-dump
	 * script that failed, --leave-running), they must not run here, too.
	 */
	if (ran)
		mfd_shared_tasks_signal(w->sh, SIGKILL);
	else if (w->dump_result_known && w->dump_result)
		return mfd_error_set(&w->err, -ECANCELED, "CRIU's dump failed after the commit");
	ret = tasks_died(w, &w->err);
	if (ret)
		return ret;
	if (held)
		mfd_shared_tasks_close(w->sh, CLOSE_MS);
	w->released_us = mfd_io_now_us();
	atomic_store(&w->sh->phase, MFD_PHASE_RELEASED);
	return tell_target(w);
}

/*
 * Until CRIU has ended its dump (EXIT) or itself. Nothing is frozen before START has been answered,
 * so then there is no wait.
 */
static void fail_the_dump(struct mfd_worker *w, const char *text)
{
	if (w->gate.pidfd >= 0)
		mfd_gate_abort(&w->gate);
	while (!w->dump_result_known && w->link >= 0) {
		serve_link(w, MFD_LINK_FAILED, text, 1);
		if (w->gate.pidfd >= 0 && mfd_gate_criu_ended(&w->gate, 0))
			break;
	}
}

/*
 * The gate may have been opened already: only what became of the tasks tells whether this is still
 * an abort.
 */
static int doubtful(struct mfd_worker *w, const char *text)
{
	struct mfd_error err = { 0 };

	fail_the_dump(w, text);
	if (mfd_shared_tasks_settle(w->sh))
		return 0;
	atomic_store(&w->sh->phase, MFD_PHASE_RELEASED);
	w->released_us = mfd_io_now_us();
	mfd_release_early(&w->release);
	w->progress->untold = mfd_verdict_tell(w->o, w->sh, "commit", TELL_MS, &err) != 0;
	return 1;
}

/*
 * A target that gives up says why on the control connection and closes all of them: a channel may
 * notice before we have read it.
 */
static void ask_why(struct mfd_worker *w)
{
	uint64_t end = mfd_io_now_ms() + WHY_MS;
	struct pollfd p = { .fd = w->wake, .events = POLLIN };
	struct mfd_error lost = { 0 };
	ProtobufCMessage *msg;
	unsigned type = 0;

	if (!w->inbox.running || (w->err.code != -ECONNRESET && w->err.code != -EPIPE))
		return;
	while (type != MFD_WIRE_ABORT && mfd_io_now_ms() < end) {
		int ret = mfd_inbox_next(&w->inbox, &type, &msg, &lost);
		eventfd_t n;

		if (ret < 0)
			return;
		if (!ret && poll(&p, 1, 10) > 0)
			eventfd_read(w->wake, &n);
		if (ret && type == MFD_WIRE_ABORT) {
			mfd_error_clear(&w->err);
			mfd_error_set(&w->err, -ECANCELED, "the target aborted: %s",
				      ((Mfd__Abort *)msg)->reason);
		}
		if (ret)
			protobuf_c_message_free_unpacked(msg, NULL);
	}
}

/*
 * A target that has everything keeps the session in doubt when the connection breaks, one whose
 * restore has begun keeps its tasks waiting: both must hear that the tasks run on here, now or when
 * it can be reached again.
 */
static void tell_abort(struct mfd_worker *w, int phase)
{
	struct mfd_error err = { 0 };
	int ret;

	if (!w->end_sent && phase != MFD_PHASE_RUNNING)
		return;
	mfd_release_early(&w->release);
	ret = mfd_verdict_tell(w->o, w->sh, "abort", TELL_MS, &err);
	if (ret && ret != -ECANCELED) /* -ECANCELED: it knows, and has no such session any more */
		mfd_log_error(
			"the tasks run on here, but %s could not be told: %s.  If it holds session '%s', end it there with: "
			"criu-multifd resolve %s --discard",
			w->sh->target.text, mfd_error_text(&err), w->sh->session, w->sh->session);
}

int mfd_verdict_abort(struct mfd_worker *w)
{
	int phase = atomic_load(&w->sh->phase);
	char text[480];

	ask_why(w);
	if (phase == MFD_PHASE_RUNNING)
		mfd_shared_tasks_signal(w->sh, SIGCONT); /* see STARTED */
	snprintf(text, sizeof(text), "%s", mfd_error_text(&w->err));
	mfd_log_error("%s", text);
	if (phase == MFD_PHASE_COMMITTING && doubtful(w, text))
		return 1;
	if (phase == MFD_PHASE_RUNNING)
		mfd_address_back(w->o);
	if (mfd_conn_is_open(&w->session.control.conn))
		mfd_control_send_abort(&w->session.control, w->err.code, text);
	if (phase == MFD_PHASE_CONNECTING || w->dump_result_known) {
		mfd_worker_reply(w, MFD_LINK_FAILED, w->err.code, text);
		tell_abort(w, phase);
		return 0;
	}
	/*
	 * Answers whoever waits for an answer, and sets off the plugin's switch if we should not
	 * live to close the gate.
	 */
	mfd_worker_reply(w, MFD_LINK_ABORT, w->err.code, text);
	fail_the_dump(w, text);
	tell_abort(w, phase);
	return 0;
}
