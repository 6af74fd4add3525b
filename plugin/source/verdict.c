// SPDX-License-Identifier: GPL-2.0-only
/* Commit and abort. Theory in verdict.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "assert.h"
#include "command.h"
#include "doubt.h"
#include "dying.h"
#include "give_address.h"
#include "io.h"
#include "kept.h"
#include "link.h"
#include "log.h"
#include "person.h"
#include "proto/control.pb-c.h"
#include "run_on.h"
#include "tell.h"
#include "verdict.h"
#include "worker.h"

#define WHY_MS	 200 /* for the reason of a target that has hung up */
#define CLOSE_MS 20  /* for what is slow to close, as a file on a network */
#define GATE_MS	 1
#define CRIU_MS	 5000  /* for the end of a dump that is not needed any more */
#define SAY_MS	 10000 /* between two lines about what does not die */

static int dump_goes_on(const struct mfd_worker *w)
{
	return w->dump_result == MFD_DUMP_GOES_ON;
}

/* Wait up to ms until the inbox has something. */
static void wait_inbox(struct mfd_worker *w, int ms)
{
	struct pollfd p = { .fd = w->wake, .events = POLLIN };
	eventfd_t n;

	if (poll(&p, 1, ms) > 0)
		eventfd_read(w->wake, &n);
}

/* ---- the fate of the tasks ---- */

/* A person is answered all the while; person.c permits nothing that would change the verdict. */
static void wait_person(struct mfd_worker *w, int ms)
{
	int event = mfd_person_wait(w, ms);

	mfd_assert(event == MFD_SEND_NOTHING);
}

/*
 * Look until each task is known to be dead or alive, however long that takes: nothing is concluded
 * before.  Returns how many live.
 */
static unsigned await_fate(struct mfd_worker *w)
{
	uint64_t said = mfd_io_now_ms();
	char why[480];

	for (int ms = 1;; ms += ms < 50) {
		unsigned count[MFD_TASK_FATES];

		mfd_shared_tasks_fates(w->sh, count);
		if (!count[MFD_TASK_HELD] && !count[MFD_TASK_UNKNOWN])
			return count[MFD_TASK_ALIVE];
		if (mfd_io_now_ms() - said > SAY_MS) {
			mfd_log_warn("waiting until every task has ended: %s",
				     mfd_dying_text(w->sh, why, sizeof(why)));
			said = mfd_io_now_ms();
		}
		wait_person(w, ms);
	}
}

/* ---- commit ---- */

static int tasks_died(struct mfd_worker *w)
{
	unsigned alive = await_fate(w);

	if (!alive)
		return 0;
	return mfd_error_blame(
		&w->err, MFD_ERROR_OWN,
		mfd_error_set(
			&w->err, -EBUSY,
			"%u of %u tasks are still alive after the dump (criu dump --leave-running or "
			"--leave-stopped cannot be used here); the target will not run them",
			alive, atomic_load(&w->sh->ntasks)));
}

static void load_latency(struct mfd_latency_sum *to, const Mfd__Latency *m)
{
	if (m)
		mfd_latency_load(to, m->count, m->n_count, m->sum_us, m->max_us);
}

static void take_committed(struct mfd_worker *w, const Mfd__Committed *m)
{
	if (m->has_resumed_us)
		w->times.resumed_us = m->resumed_us;
	load_latency(&w->fault_times.waited, m->waited);
	load_latency(&w->fault_times.network, m->network);
}

/* A person is answered meanwhile: -EINTR, with *rests as of mfd_person_rest, ends it. */
static int wait_committed(struct mfd_worker *w, int *rests)
{
	uint64_t end = mfd_io_now_ms() + w->o->stall_timeout;
	struct mfd_error err = { 0 };
	ProtobufCMessage *msg;
	unsigned type = 0;
	int ret;

	while (type != MFD_WIRE_COMMITTED) {
		ret = mfd_inbox_next(&w->inbox, &type, &msg, &err);
		if (ret < 0)
			return ret;
		if (ret > 0) {
			if (type == MFD_WIRE_COMMITTED)
				take_committed(w, (Mfd__Committed *)msg);
			protobuf_c_message_free_unpacked(msg, NULL);
			continue;
		}
		if (mfd_io_now_ms() > end)
			return -ETIMEDOUT;
		*rests = mfd_person_rest(w, 0);
		if (*rests)
			return -EINTR;
		wait_inbox(w, 100);
	}
	w->times.committed_us = mfd_io_now_us();
	return 0;
}

/* Over the session's own connection: 0 once COMMITTED has come, or -errno. */
static int say_commit(struct mfd_worker *w, int *rests)
{
	Mfd__Commit commit = MFD__COMMIT__INIT;
	int ret = -ENOTCONN; /* a person has decided while there was no connection */

	if (mfd_conn_is_open(&w->session.control.conn))
		ret = mfd_control_send(&w->session.control, MFD_WIRE_COMMIT, &commit.base);
	if (!w->times.leave_us)
		w->times.leave_us = mfd_io_now_us();
	return ret ? ret : wait_committed(w, rests);
}

/* The session is released all the same if this fails: nothing runs here any more. */
static void tell_target(struct mfd_worker *w)
{
	int rests = 0, ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_RELEASED);
	mfd_address_release(w->o);
	w->progress->untold = 1;
	ret = say_commit(w, &rests);
	if (!ret) {
		w->progress->untold = 0;
		mfd_kept_save(w->sh, w->o, MFD_KEPT_NOTHING, NULL);
		return;
	}
	if (!rests)
		mfd_log_warn("the commit was not acknowledged (%s); connecting again",
			     strerror(-ret));
	mfd_release_give_back(&w->release);
	mfd_doubt_tell(w, MFD_TELL_MS, rests);
}

/* The tasks are dead: say so in the phase before anything else. */
static void released(struct mfd_worker *w, int close_ms)
{
	mfd_assert(mfd_send_phase(w->sh) != MFD_SEND_OVER);
	mfd_assert(!w->times.released_us);
	if (close_ms)
		mfd_shared_tasks_await_closed(w->sh, (unsigned)close_ms);
	w->times.released_us = mfd_io_now_us();
	mfd_send_phase_event(w, MFD_SEND_EV_DEAD);
	mfd_hold_remove(w->sh);
	tell_target(w);
}

static int open_gate(struct mfd_worker *w)
{
	int ret;

	while ((ret = mfd_gate_poll(&w->gate, &w->err)) == 0)
		wait_person(w, GATE_MS);
	if (ret == 1)
		ret = mfd_gate_commit(&w->gate, &w->err);
	return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
}

static int tasks_died_by_criu(struct mfd_worker *w)
{
	int ret = open_gate(w);

	while (!ret && dump_goes_on(w) && w->link >= 0 && !mfd_gate_criu_ended(&w->gate, 0)) {
		mfd_link_serve(w, MFD_LINK_OK, "released", 100);
		wait_person(w, 0);
	}
	if (!ret && !dump_goes_on(w) && w->dump_result)
		ret = mfd_error_blame(&w->err, MFD_ERROR_OWN,
				      mfd_error_set(&w->err, -ECANCELED,
						    "CRIU's dump failed after the commit"));
	return ret ? ret : tasks_died(w);
}

/* CRIU, if it is there, may end its dump well: it takes care of more than the tasks. */
static void let_criu_end(struct mfd_worker *w)
{
	uint64_t end = mfd_io_now_ms() + CRIU_MS;
	struct mfd_error err = { 0 };
	int opened = 0;

	while (dump_goes_on(w) && !mfd_gate_criu_ended(&w->gate, 0) && mfd_io_now_ms() < end) {
		if (!opened && mfd_gate_poll(&w->gate, &err) == 1)
			opened = !mfd_gate_commit(&w->gate, &err);
		if (w->link >= 0)
			mfd_link_serve(w, MFD_LINK_OK, "released", opened ? 100 : 1);
		else
			usleep(GATE_MS * 1000);
		wait_person(w, 0);
	}
}

static void say_ran(struct mfd_worker *w)
{
	if (mfd_hold_look(w->sh))
		mfd_log_error("process %d ran here beside its copy on the target; it is ended",
			      w->sh->hold.ran);
}

void mfd_verdict_end(struct mfd_worker *w)
{
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_ENDING);
	say_ran(w);
	let_criu_end(w);
	say_ran(w);
	do {
		mfd_shared_tasks_signal(w->sh, SIGKILL);
	} while (await_fate(w));
	released(w, w->release.pinned ? CLOSE_MS : 0);
}

/* From here on a failure is not answered by undoing but by looking at what became of the tasks. */
int mfd_verdict_commit(struct mfd_worker *w)
{
	int ran = mfd_send_phase_has(w->sh, MFD_SEND_LEAVE), pinned, ret;
	char text[400];

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_DECIDED));
	mfd_assert(ran || dump_goes_on(w));
	snprintf(text, sizeof(text), "session '%s' is complete on %s; releasing the tasks",
		 w->sh->session, w->sh->target.text);
	mfd_log_info("%s", text);
	mfd_send_phase_event(w, MFD_SEND_EV_VERDICT);
	pinned = mfd_release_keep_memory(&w->release, &w->tasks);
	mfd_link_say(w, MFD_LINK_COMMIT, 0, text);
	if (ran) {
		mfd_verdict_end(w);
		return 0;
	}
	ret = tasks_died_by_criu(w);
	if (ret)
		return ret;
	released(w, pinned ? CLOSE_MS : 0);
	return 0;
}

/* ---- abort ---- */

/*
 * Wait until CRIU has ended its dump (EXIT), or itself.  Nothing is frozen before START has been
 * answered, so then there is no wait.
 */
static void fail_the_dump(struct mfd_worker *w, enum mfd_link_type answer, const char *text)
{
	if (w->gate.pidfd >= 0)
		mfd_gate_abort(&w->gate);
	while (dump_goes_on(w) && w->link >= 0) {
		mfd_link_serve(w, answer, text, 1);
		if (w->gate.pidfd >= 0 && mfd_gate_criu_ended(&w->gate, 0))
			break;
	}
	while (w->link < 0 && !mfd_gate_left(&w->gate, 100))
		;
}

/*
 * The gate may have been opened already: only what became of the tasks tells whether this is still
 * an abort.  It is one if all of them live.  Nonzero: it is not, and they are dead now.
 */
static int is_too_late(struct mfd_worker *w, const char *text)
{
	unsigned all = atomic_load(&w->sh->ntasks), alive;

	mfd_assert(text);
	mfd_assert(mfd_send_phase(w->sh) != MFD_SEND_OVER);
	fail_the_dump(w, MFD_LINK_FAILED, text);
	alive = await_fate(w);
	if (alive == all)
		return 0;
	mfd_release_give_back(&w->release);
	if (!alive) {
		released(w, 0);
		return 1;
	}
	mfd_log_warn("%u of %u tasks have died by the verdict: ending the others", all - alive,
		     all);
	mfd_send_phase_event(w, MFD_SEND_EV_PARTLY);
	mfd_verdict_end(w);
	return 1;
}

/* One look into the inbox: nonzero ends the search for the target's reason. */
static int look_for_reason(struct mfd_worker *w)
{
	struct mfd_error lost = { 0 };
	ProtobufCMessage *msg;
	unsigned type = 0;
	int ret = mfd_inbox_next(&w->inbox, &type, &msg, &lost);

	if (ret < 0)
		return 1;
	if (!ret) {
		wait_inbox(w, 10);
		return 0;
	}
	if (type == MFD_WIRE_ABORT) {
		mfd_error_clear(&w->err);
		mfd_error_blame(&w->err, MFD_ERROR_PEER,
				mfd_error_set(&w->err, -ECANCELED, "the target aborted: %s",
					      ((Mfd__Abort *)msg)->reason));
	}
	protobuf_c_message_free_unpacked(msg, NULL);
	return type == MFD_WIRE_ABORT;
}

/*
 * A target that gives up says why on the control connection and closes all of them: a channel may
 * notice before that message has been read.
 */
static void ask_why(struct mfd_worker *w)
{
	uint64_t end = mfd_io_now_ms() + WHY_MS;

	if (!w->inbox.running || (w->err.code != -ECONNRESET && w->err.code != -EPIPE))
		return;
	while (mfd_io_now_ms() < end && !look_for_reason(w))
		;
}

/*
 * A target that has everything keeps the session in doubt when the connection breaks, one whose
 * restore has begun keeps its tasks waiting: both must hear that the tasks run on here, now or when
 * they can be reached again.
 */
static void tell_abort(struct mfd_worker *w, unsigned facts)
{
	struct mfd_error err = { 0 };
	int ret;

	if (!(facts & MFD_SEND_ENDED)) {
		mfd_kept_aborted(w->sh, w->o, 1);
		return;
	}
	mfd_release_give_back(&w->release);
	ret = mfd_tell(w->o, w->sh, MFD_TELL_ABORT, MFD_TELL_MS, &err);
	mfd_kept_aborted(w->sh, w->o, mfd_tell_is_heard(ret));
	w->progress->both = ret == -EEXIST;
	if (ret == -EEXIST)
		mfd_log_error(
			"BOTH RUN: the tasks run on here, and session '%s' was committed on %s, where they run, too.  "
			"End one of the two",
			w->sh->session, w->sh->target.text);
	else if (ret && ret != -ECANCELED) /* -ECANCELED: it has ended there */
		mfd_log_error(
			"the tasks run on here, but %s could not be told: %s.  If it holds session '%s', end it there with: "
			"criu-multifd resolve %s --discard, or have it told from here: criu-multifd resolve --source DIR --run",
			w->sh->target.text, mfd_error_text(&err), w->sh->session, w->sh->session);
}

int mfd_verdict_leave(struct mfd_worker *w)
{
	char how[MFD_HOLD_PATH + 64], text[480];

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_LOST);
	mfd_assert(w->sh->hold.kind != MFD_HOLD_NONE);
	snprintf(text, sizeof(text), "%.200s: IN DOUBT: the tasks stay frozen here, held by %.200s",
		 mfd_error_text(&w->err), mfd_hold_text(w->sh, how, sizeof(how)));
	mfd_log_error("%s", text);
	fail_the_dump(w, MFD_LINK_HELD, text);
	w->progress->doubt = 1;
	return MFD_EXIT_DOUBT;
}

int mfd_verdict_abort(struct mfd_worker *w)
{
	enum mfd_send_phase phase = mfd_send_phase(w->sh);
	unsigned facts = mfd_send_phase_facts(phase);
	char text[480];

	mfd_assert(phase < MFD_SEND_RELEASED); /* those tasks are dead */
	mfd_assert(!(facts & MFD_SEND_LEAVE)); /* their copy may run */
	mfd_assert(w->err.code);
	ask_why(w);
	snprintf(text, sizeof(text), "%s", mfd_error_text(&w->err));
	mfd_log_error("%s", text);
	if (phase == MFD_SEND_COMMITTING && is_too_late(w, text))
		return 1;
	if (phase == MFD_SEND_UNDONE)
		mfd_address_back(w->o);
	if (mfd_conn_is_open(&w->session.control.conn))
		mfd_control_send_abort(&w->session.control, w->err.code, text);
	if (phase == MFD_SEND_CONNECTING || !dump_goes_on(w)) {
		mfd_link_say(w, MFD_LINK_FAILED, w->err.code, text);
	} else {
		/*
		 * Answers a plugin that waits for an answer, and sets off its switch should this
		 * process not live to close the gate.
		 */
		mfd_link_say(w, MFD_LINK_ABORT, w->err.code, text);
		fail_the_dump(w, MFD_LINK_FAILED, text);
	}
	mfd_run_on(w->sh);
	tell_abort(w, facts);
	return 0;
}
