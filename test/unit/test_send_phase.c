// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sender's tables: transitions and invariants of its phase, the stages whose turn it is, the
 * messages of the target that are taken.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "decide.h"
#include "log.h"
#include "messages.h"
#include "proto/control.pb-c.h"
#include "stages.h"
#include "worker.h"

static struct mfd_worker *w;
static struct mfd_options options;
static int peer;

static int setup(void **state)
{
	int fd[2];

	(void)state;
	w = aligned_alloc(64, sizeof(*w));
	if (!w || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	memset(w, 0, sizeof(*w));
	w->sh = calloc(1, sizeof(*w->sh));
	w->progress = mfd_progress_open();
	w->o = &options;
	w->link = w->desk = -1;
	w->gate = (struct mfd_gate)MFD_GATE_NONE;
	w->dump_result = MFD_DUMP_GOES_ON;
	mfd_control_init(&w->session.control);
	mfd_conn_plain(&w->session.control.conn, fd[0]);
	peer = fd[1];
	return w->sh && w->progress ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	mfd_control_close(&w->session.control);
	close(peer);
	mfd_progress_close(w->progress);
	free(w->sh);
	free(w);
	return 0;
}

/* Put the worker into a phase as if it had come there, with everything that holds in it. */
static void be_in(enum mfd_send_phase phase, enum mfd_plan_id plan)
{
	unsigned facts = mfd_send_phase_facts(phase);

	w->session.plan = plan;
	w->sh->connected = w->sh->criu = w->inbox.running = phase != MFD_SEND_CONNECTING;
	w->session.multifd = phase != MFD_SEND_CONNECTING ? (struct mfd_multifd *)w : NULL;
	w->gate.end = phase == MFD_SEND_CONNECTING ? -1 : 1000;
	w->times = (struct mfd_send_times){ 0 };
	w->times.gate_us = (facts & MFD_SEND_GATE) != 0;
	w->times.images_us = w->times.sent_us = w->times.ready_us = w->times.restored_us =
		w->times.released_us = 1;
	atomic_store(&w->sh->phase, phase);
	mfd_error_clear(&w->err);
}

/* Of a worker that has the invariants of `phase` and of its successors. */
static void have_all(enum mfd_plan_id plan)
{
	be_in(MFD_SEND_CONNECTING, plan);
	w->sh->connected = w->sh->criu = w->inbox.running = 1;
	w->session.multifd = (struct mfd_multifd *)w;
	w->gate.end = 1000;
}

static int is_postcopy(unsigned plan)
{
	return plan == MFD_PLAN_POSTCOPY || plan == MFD_PLAN_POSTCOPY_CONFIRM;
}

static int has_confirm(unsigned plan)
{
	return plan != MFD_PLAN_SAFE && plan != MFD_PLAN_POSTCOPY;
}

/* ---- transitions ---- */

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < mfd_send_transitions_n; i++) {
		const struct mfd_send_transition *t = &mfd_send_transitions[i];

		assert_in_range(t->event, MFD_SEND_STEP + 1, MFD_SEND_EVENTS - 1);
		assert_true(t->from && !(t->from >> MFD_SEND_PHASES));
		assert_true(t->plans && !(t->plans >> MFD_PLANS));
		assert_in_range(t->to, 0, MFD_SEND_PHASES);
		assert_non_null(t->by);
		/* What a row says, no other row contradicts. */
		for (size_t k = i + 1; k < mfd_send_transitions_n; k++)
			assert_false(t->event == mfd_send_transitions[k].event &&
				     t->from & mfd_send_transitions[k].from &&
				     t->plans & mfd_send_transitions[k].plans);
	}
}

/*
 * From each phase that a plan reaches there is a way on, and leave to run is never taken back, but
 * by the word of the target or of a person.
 */
static void test_ways(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++) {
		unsigned reached = MFD_TURN_PHASE(MFD_SEND_CONNECTING);

		for (unsigned round = 0; round < MFD_SEND_PHASES; round++)
			for (unsigned from = 0; from < MFD_SEND_PHASES; from++)
				for (unsigned e = 0; e < MFD_SEND_EVENTS; e++) {
					int to = mfd_send_phase_next(from, e, plan);

					if (reached & MFD_TURN_PHASE(from) && to >= 0)
						reached |= MFD_TURN_PHASE(to);
				}
		for (unsigned at = 0; at < MFD_SEND_PHASES; at++) {
			int leave = mfd_send_phase_facts(at) & MFD_SEND_LEAVE;

			if (!(reached & MFD_TURN_PHASE(at)))
				continue;
			assert_true(!leave || is_postcopy(plan) || at == MFD_SEND_ENDING);
			assert_true(at != MFD_SEND_RESTORING || has_confirm(plan));
			for (unsigned e = 0; e < MFD_SEND_EVENTS; e++) {
				int to = mfd_send_phase_next(at, e, plan);

				if (to >= 0 && leave)
					assert_true(
						mfd_send_phase_facts(to) & MFD_SEND_LEAVE ||
						(at == MFD_SEND_LOST && to == MFD_SEND_UNDONE) ||
						(at == MFD_SEND_ENDING &&
						 to == MFD_SEND_RELEASED) ||
						to == MFD_SEND_OVER);
			}
			assert_int_equal(mfd_send_phase_next(at, MFD_SEND_EV_FINISHED, plan),
					 at == MFD_SEND_OVER ? -1 : MFD_SEND_OVER);
		}
		assert_true(reached & MFD_TURN_PHASE(MFD_SEND_RELEASED));
		assert_int_equal(!!(reached & MFD_TURN_PHASE(MFD_SEND_LOST)), is_postcopy(plan));
	}
}

/*
 * While the restored tasks may run, or once the gate may have been opened, another worker goes on;
 * before, the dump is aborted.
 */
static void test_heirs(void **state)
{
	(void)state;
	for (unsigned at = 0; at < MFD_SEND_COMMITTING; at++)
		assert_int_equal(mfd_send_phase_heir(at),
				 mfd_send_phase_facts(at) & MFD_SEND_LEAVE ? MFD_SEND_HEIR_WORKER :
									     MFD_SEND_HEIR_ABORT);
	assert_int_equal(mfd_send_phase_heir(MFD_SEND_COMMITTING), MFD_SEND_HEIR_WORKER);
	assert_int_equal(mfd_send_phase_heir(MFD_SEND_ENDING), MFD_SEND_HEIR_WORKER);
	assert_int_equal(mfd_send_phase_heir(MFD_SEND_RELEASED), MFD_SEND_HEIR_WORKER);
	assert_int_equal(mfd_send_phase_heir(MFD_SEND_OVER), MFD_SEND_HEIR_RESULT);
	assert_int_equal(mfd_send_phase_heir(MFD_SEND_PHASES), MFD_SEND_HEIR_ABORT);
}

static void go(enum mfd_send_event event, enum mfd_send_phase to)
{
	if (event == MFD_SEND_EV_GATE)
		w->times.gate_us = 1;
	assert_int_equal(mfd_send_phase_event(w, event), to);
	assert_int_equal(mfd_send_phase(w->sh), to);
	mfd_send_phase_check(w);
}

static void begin(enum mfd_plan_id plan)
{
	have_all(plan);
	go(MFD_SEND_EV_JOINED, MFD_SEND_DUMPING);
	go(MFD_SEND_EV_GATE, MFD_SEND_DUMPED);
	go(MFD_SEND_EV_IMAGES, MFD_SEND_IMAGES);
}

/* The copies that run on the target are the ones that live: no way leads back from `ending`. */
static void end_here(void)
{
	go(MFD_SEND_EV_VERDICT, MFD_SEND_ENDING);
	go(MFD_SEND_EV_DEAD, MFD_SEND_RELEASED);
	go(MFD_SEND_EV_FINISHED, MFD_SEND_OVER);
}

static void end(void)
{
	go(MFD_SEND_EV_VERDICT, MFD_SEND_COMMITTING);
	if (w->session.plan == MFD_PLAN_EARLY)
		go(MFD_SEND_EV_PARTLY, MFD_SEND_ENDING);
	go(MFD_SEND_EV_DEAD, MFD_SEND_RELEASED);
	go(MFD_SEND_EV_FINISHED, MFD_SEND_OVER);
}

static void test_lives(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++) {
		begin(plan);
		go(MFD_SEND_EV_END, MFD_SEND_VERIFYING);
		if (has_confirm(plan)) {
			go(MFD_SEND_EV_READY, MFD_SEND_RESTORING);
			go(MFD_SEND_EV_RESTORED, MFD_SEND_COMPLETE);
		} else {
			go(MFD_SEND_EV_READY, MFD_SEND_COMPLETE);
		}
		assert_int_equal(atomic_load(&w->progress->running), plan > MFD_PLAN_EARLY);
		end();
	}
	atomic_store(&w->progress->running, 0);
	for (unsigned plan = MFD_PLAN_POSTCOPY; plan < MFD_PLANS; plan++) {
		begin(plan);
		go(MFD_SEND_EV_STARTED, MFD_SEND_RUNNING);
		assert_int_equal(atomic_load(&w->progress->running), 1);
		go(MFD_SEND_EV_STARTED, MFD_SEND_RUNNING);
		go(MFD_SEND_EV_END, MFD_SEND_RUNNING_ALL);
		go(MFD_SEND_EV_READY, MFD_SEND_RUNNING_COMPLETE);
		go(MFD_SEND_EV_LOST, MFD_SEND_LOST);
		go(MFD_SEND_EV_LOST, MFD_SEND_LOST); /* this worker died, too */
		go(MFD_SEND_EV_REJOINED, MFD_SEND_REJOINED);
		go(MFD_SEND_EV_COMMITTED, MFD_SEND_RUNNING_COMPLETE);
		end_here();
		begin(plan);
		go(MFD_SEND_EV_END, MFD_SEND_VERIFYING);
		go(MFD_SEND_EV_STARTED, MFD_SEND_RUNNING_ALL);
		go(MFD_SEND_EV_LOST, MFD_SEND_LOST);
		go(MFD_SEND_EV_DISCARD, MFD_SEND_RUNNING_COMPLETE);
		end_here();
		begin(plan);
		go(MFD_SEND_EV_STARTED, MFD_SEND_RUNNING);
		go(MFD_SEND_EV_LOST, MFD_SEND_LOST);
		mfd_error_set(&w->err, -ECANCELED, "nothing runs there");
		go(MFD_SEND_EV_UNDO, MFD_SEND_UNDONE);
		go(MFD_SEND_EV_FINISHED, MFD_SEND_OVER);
	}
}

/* ---- invariants ---- */

static int dies(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		mfd_log_fd_set(-1);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void ready_while_dumping(void)
{
	be_in(MFD_SEND_DUMPING, MFD_PLAN_SAFE);
	mfd_send_phase_event(w, MFD_SEND_EV_READY);
}

static void leave_in_safe_mode(void)
{
	be_in(MFD_SEND_IMAGES, MFD_PLAN_SAFE);
	mfd_send_phase_event(w, MFD_SEND_EV_STARTED);
}

static void end_with_pages_left(void)
{
	be_in(MFD_SEND_IMAGES, MFD_PLAN_SAFE);
	w->tasks.n = 1;
	mfd_send_phase_event(w, MFD_SEND_EV_END);
}

static void restored_unheard(void)
{
	be_in(MFD_SEND_RESTORING, MFD_PLAN_EARLY);
	w->times.restored_us = 0;
	mfd_send_phase_event(w, MFD_SEND_EV_RESTORED);
}

static void time_runs_backwards(void)
{
	be_in(MFD_SEND_DUMPED, MFD_PLAN_SAFE);
	w->times.phase_us = UINT64_MAX;
	mfd_send_phase_event(w, MFD_SEND_EV_IMAGES);
}

static void no_such_phase(void)
{
	be_in(MFD_SEND_DUMPED, MFD_PLAN_SAFE);
	atomic_store(&w->sh->phase, MFD_SEND_PHASES);
	mfd_send_phase_check(w);
}

static void no_such_event(void)
{
	be_in(MFD_SEND_DUMPED, MFD_PLAN_SAFE);
	mfd_decide(w, MFD_SEND_EVENTS);
}

static void test_broken(void **state)
{
	(void)state;
	assert_true(dies(ready_while_dumping));
	assert_true(dies(leave_in_safe_mode));
	assert_true(dies(end_with_pages_left));
	assert_true(dies(restored_unheard));
	assert_true(dies(time_runs_backwards));
	assert_true(dies(no_such_phase));
	assert_true(dies(no_such_event));
}

/* ---- stages ---- */

static const char *stages_ready(enum mfd_send_phase phase, enum mfd_plan_id plan, int pages_left)
{
	static char names[160];

	be_in(phase, plan);
	w->tasks.n = pages_left ? 1 : 0;
	names[0] = 0;
	for (size_t i = 0; i < mfd_stages_n; i++)
		if (mfd_stages[i].ready(w)) {
			strcat(names, names[0] ? ", " : "");
			strcat(names, mfd_stages[i].name);
		}
	w->tasks.n = 0;
	return names;
}

static void test_stages(void **state)
{
	static const struct {
		enum mfd_send_phase phase;
		enum mfd_plan_id plan;
		const char *pages_left, *none_left;
	} turns[] = {
		{ MFD_SEND_CONNECTING, MFD_PLAN_SAFE, "", "" },
		{ MFD_SEND_DUMPING, MFD_PLAN_SAFE, "gate, pages", "gate" },
		{ MFD_SEND_DUMPED, MFD_PLAN_SAFE, "pages", "images" },
		{ MFD_SEND_DUMPED, MFD_PLAN_SAFE_CONFIRM, "pages", "images" },
		{ MFD_SEND_DUMPED, MFD_PLAN_EARLY, "images, pages", "images" },
		{ MFD_SEND_DUMPED, MFD_PLAN_POSTCOPY, "images, pages", "images" },
		{ MFD_SEND_IMAGES, MFD_PLAN_POSTCOPY, "pages", "end" },
		{ MFD_SEND_IMAGES, MFD_PLAN_SAFE, "pages", "end" },
		{ MFD_SEND_RUNNING, MFD_PLAN_POSTCOPY, "pages", "end" },
		{ MFD_SEND_VERIFYING, MFD_PLAN_SAFE, "verify", "verify" },
		{ MFD_SEND_RUNNING_ALL, MFD_PLAN_POSTCOPY, "verify", "verify" },
		{ MFD_SEND_REJOINED, MFD_PLAN_POSTCOPY, "verify", "verify" },
		{ MFD_SEND_RESTORING, MFD_PLAN_EARLY, "restored", "restored" },
		{ MFD_SEND_COMPLETE, MFD_PLAN_SAFE, "", "" },
		{ MFD_SEND_RUNNING_COMPLETE, MFD_PLAN_POSTCOPY, "", "" },
		{ MFD_SEND_RELEASED, MFD_PLAN_SAFE, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(turns) / sizeof(*turns); i++) {
		assert_string_equal(stages_ready(turns[i].phase, turns[i].plan, 1),
				    turns[i].pages_left);
		assert_string_equal(stages_ready(turns[i].phase, turns[i].plan, 0),
				    turns[i].none_left);
	}
	/* precopy: what CRIU has touched comes before the images */
	w->tasks.late = 1;
	assert_string_equal(stages_ready(MFD_SEND_DUMPED, MFD_PLAN_SAFE, 1), "pages");
	assert_string_equal(stages_ready(MFD_SEND_DUMPED, MFD_PLAN_SAFE, 0), "late");
	assert_string_equal(stages_ready(MFD_SEND_DUMPED, MFD_PLAN_EARLY, 1), "late, pages");
	w->tasks.late = 0;
	be_in(MFD_SEND_CONNECTING, MFD_PLAN_SAFE);
	w->asked.type = MFD_LINK_START;
	assert_true(mfd_stages[0].ready(w));
	w->asked.type = MFD_LINK_TASK;
	assert_true(mfd_stages[1].ready(w));
	w->asked.type = 0;
}

/* How long the loop waits is what the stages say whose turn it is. */
static void test_waits(void **state)
{
	(void)state;
	be_in(MFD_SEND_CONNECTING, MFD_PLAN_SAFE);
	assert_int_equal(mfd_stages_wait_ms(w), -1);
	be_in(MFD_SEND_DUMPING, MFD_PLAN_SAFE);
	assert_int_equal(mfd_stages_wait_ms(w), 1);
	w->tasks.n = 1;
	w->session.lim.packet_size = MFD_WIRE_MIN_PACKET;
	atomic_store(&w->session.queue.room, UINT64_MAX);
	assert_int_equal(mfd_stages_wait_ms(w), 0);
	/* No memory on the target: ROOM is an event, but the gate is looked for. */
	atomic_store(&w->session.queue.room, 0);
	assert_int_equal(mfd_stages_wait_ms(w), 1);
	be_in(MFD_SEND_IMAGES, MFD_PLAN_POSTCOPY);
	assert_int_equal(mfd_stages_wait_ms(w), -1);
	w->give_way.few_cpus = 1;
	atomic_store(&w->give_way.gentle, 1);
	w->give_way.rest_until_us = UINT64_MAX;
	assert_int_equal(mfd_stages_wait_ms(w), 1);
	w->tasks.n = 0;
	assert_int_equal(mfd_stages_wait_ms(w), 0);
	be_in(MFD_SEND_VERIFYING, MFD_PLAN_POSTCOPY);
	assert_int_equal(mfd_stages_wait_ms(w), -1);
	be_in(MFD_SEND_RESTORING, MFD_PLAN_EARLY);
	assert_int_equal(mfd_stages_wait_ms(w), 100);
}

static void test_restore_overdue(void **state)
{
	(void)state;
	be_in(MFD_SEND_RESTORING, MFD_PLAN_SAFE_CONFIRM);
	w->session.multifd = NULL;
	options.restore_timeout = UINT32_MAX;
	assert_int_equal(mfd_stages_step(w), 0);
	options.restore_timeout = 0;
	assert_int_equal(mfd_stages_step(w), -ETIMEDOUT);
	assert_non_null(strstr(w->err.text, "restore-timeout"));
	assert_int_equal(w->err.side, MFD_ERROR_PEER);
}

/* ---- messages ---- */

/* The last four are none of the main thread's, in no phase. */
#define OTHERS 4
static const unsigned kinds[] = { MFD_WIRE_IMAGES_OK, MFD_WIRE_STARTED,	  MFD_WIRE_NEED,
				  MFD_WIRE_READY,     MFD_WIRE_RESTORED,  MFD_WIRE_COMMITTED,
				  MFD_WIRE_ABORT,     MFD_WIRE_HELLO_OK,  MFD_WIRE_JOINED,
				  MFD_WIRE_RESUME_OK, MFD_WIRE_STARTED_OK };

static const ProtobufCMessage *message(unsigned type)
{
	static Mfd__Restored restored;
	static Mfd__Abort abort;
	static Mfd__Need need;

	mfd__restored__init(&restored);
	mfd__abort__init(&abort);
	mfd__need__init(&need);
	abort.reason = "by request";
	return type == MFD_WIRE_ABORT ? &abort.base :
	       type == MFD_WIRE_NEED  ? &need.base :
					&restored.base;
}

/* What the table refuses changes nothing; what it takes has a handler. */
static void test_turns(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++)
		for (unsigned at = 0; at < MFD_SEND_COMMITTING; at++)
			for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
				int ret, taken = i < sizeof(kinds) / sizeof(*kinds) - OTHERS &&
						 mfd_turns_ask(MFD_SIDE_TARGET, kinds[i], plan,
							       at) == MFD_TURN_TAKEN;

				if (!is_postcopy(plan) && mfd_send_phase_facts(at) & MFD_SEND_LEAVE)
					continue;
				be_in(at, plan);
				w->session.multifd = at == MFD_SEND_REJOINED ? NULL :
									       w->session.multifd;
				if (taken && kinds[i] == MFD_WIRE_NEED && w->session.multifd)
					continue; /* would send */
				if ((at == MFD_SEND_RESTORING && !has_confirm(plan)) ||
				    at == MFD_SEND_UNDONE)
					continue;
				ret = mfd_messages_handle(w, kinds[i], message(kinds[i]));
				if (!taken) {
					assert_int_equal(ret, -EPROTO);
					assert_non_null(strstr(w->err.text, "out of turn"));
					assert_int_equal(w->err.side, MFD_ERROR_PEER);
				} else if (ret > 0) {
					assert_true(mfd_send_phase_next(at, ret, plan) >= 0);
				} else {
					assert_null(strstr(w->err.text, "out of turn"));
				}
				assert_int_equal(mfd_send_phase(w->sh), at);
			}
}

static void test_abort(void **state)
{
	(void)state;
	be_in(MFD_SEND_COMPLETE, MFD_PLAN_SAFE);
	assert_int_equal(mfd_messages_handle(w, MFD_WIRE_ABORT, message(MFD_WIRE_ABORT)),
			 -ECANCELED);
	assert_string_equal(w->err.text, "the target aborted: by request");
	assert_int_equal(w->err.side, MFD_ERROR_PEER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_heirs),
		cmocka_unit_test_setup_teardown(test_lives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restore_overdue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abort, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
