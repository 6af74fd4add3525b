// SPDX-License-Identifier: GPL-2.0-only
/* The sender's event loop: plugin, target, signals, and something to send in between. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "give_address.h"
#include "io.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "live_setting.h"
#include "worker.h"

#define FEW_CPUS 4 /* below that */

void mfd_worker_reply(struct mfd_worker *w, enum mfd_link_type type, int value, const char *text)
{
	struct mfd_link_msg m = { .type = type, .value = value };

	snprintf(m.text, sizeof(m.text), "%s", text);
	if (w->link >= 0)
		mfd_io_send_fds(w->link, &m, sizeof(m), NULL, 0);
}

static int has_few_cpus(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) < FEW_CPUS;
}

static int connect_session(struct mfd_worker *w)
{
	int ret = mfd_uplink_open(&w->session, w->o, w->sh, &w->err);

	if (!ret) {
		mfd_setting_catch_up(&w->session, w->sh);
		ret = mfd_inbox_start(&w->inbox, &w->session, &w->tasks, w->wake);
		if (ret)
			mfd_error_sys(&w->err, ret, "starting the inbox thread");
	}
	if (ret)
		return ret;
	w->hello_us = w->session.hello_us;
	w->joined_us = w->session.joined_us;
	atomic_store(&w->gentle, mfd_uplink_pages_follow(&w->session, w->o));
	w->few_cpus = has_few_cpus();
	for (unsigned i = 0; i < w->session.channels; i++)
		w->session.chan[i].gentle = &w->gentle;
	mfd_log_info("session '%s' on %s: %u channels (%s), packets of %u KiB, %s mode",
		     w->sh->session, w->sh->target.text, w->session.lim.channels,
		     w->session.congestion, w->session.lim.packet_size >> 10,
		     w->o->mode == MFD_MODE_POSTCOPY ? "postcopy" : "safe");
	if (w->session.chan[0].zc.fell_back)
		mfd_log_info("zero-copy is off: %s", w->session.chan[0].zc.fell_back);
	return 0;
}

/* START: everything that can fail because of the target fails here, before anything is frozen. */
static int start(struct mfd_worker *w, const struct mfd_link_msg *m, int image_dir)
{
	int ret;

	w->image_dir = image_dir;
	w->sh->criu = m->value;
	mfd_progress_phase(w->progress, MFD_PROGRESS_CONNECTING);
	ret = mfd_gate_init(&w->gate, m->value, &w->err);
	if (!ret && image_dir < 0)
		ret = mfd_error_set(&w->err, -EBADF, "CRIU has no image directory");
	if (!ret)
		ret = connect_session(w);
	if (ret)
		return ret;
	atomic_store(&w->sh->phase, MFD_PHASE_STREAMING);
	mfd_progress_phase(w->progress, MFD_PROGRESS_FREEZING);
	mfd_worker_reply(w, MFD_LINK_OK, 0, "connected");
	return 0;
}

/* The dump ended without a verdict of ours. */
static int dump_ended(struct mfd_worker *w, int result)
{
	w->dump_result_known = 1;
	w->dump_result = result;
	w->progress->criu_failed = result != 0;
	if (result)
		return mfd_error_set(&w->err, -ECANCELED,
				     "CRIU's dump failed (its log says why); session aborted");
	return mfd_error_set(
		&w->err, -EINVAL,
		"nothing was moved: criu dump needs --lazy-pages for the multifd plugin; session aborted, the "
		"local images are complete");
}

static int handle_link_msg(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	int ret;

	switch (m->type) {
	case MFD_LINK_START:
		return start(w, m, fd);
	case MFD_LINK_TASK:
		ret = mfd_stream_task(w, m->value);
		if (!ret)
			mfd_worker_reply(w, MFD_LINK_OK, 0, "");
		return ret;
	case MFD_LINK_FINISH:
		return dump_ended(w, 0);
	case MFD_LINK_EXIT:
		return dump_ended(w, m->value);
	default:
		return mfd_error_set(&w->err, -EPROTO, "the plugin sent message %u", m->type);
	}
}

static int handle_link(struct mfd_worker *w)
{
	struct mfd_link_msg m;
	int fd[MFD_IO_MAX_FDS], nfds = MFD_IO_MAX_FDS;
	ssize_t n = mfd_io_recv_fds(w->link, &m, sizeof(m), fd, &nfds);

	if (n != (ssize_t)sizeof(m)) {
		mfd_io_close(&w->link);
		return mfd_error_set(&w->err, -EPIPE, "CRIU has ended");
	}
	return handle_link_msg(w, &m, nfds > 0 ? fd[0] : -1);
}

/* The point of no return of postcopy: from here on the restored tasks may have run. */
static int give_leave(struct mfd_worker *w)
{
	Mfd__StartedOk leave = MFD__STARTED_OK__INIT;
	int ret;

	atomic_store(&w->sh->phase, MFD_PHASE_RUNNING);
	atomic_store(&w->progress->running, 1);
	/*
	 * Should CRIU die, its tasks are no longer traced and would run: this stops them then.
	 * Undone by an abort.
	 */
	mfd_shared_tasks_signal(w->sh, SIGSTOP);
	mfd_worker_reply(w, MFD_LINK_HOLD, 0, "the restored tasks may run on the target");
	mfd_address_release(w->o);
	ret = mfd_control_send(&w->session.control, MFD_WIRE_STARTED_OK, &leave.base);
	w->leave_us = mfd_io_now_us();
	w->restored = 1; /* a target that restores by itself asks only after it has succeeded */
	if (w->o->confirm == MFD_CONFIRM_RESTORE)
		w->restored_us = mfd_io_now_us();
	return ret ? mfd_error_sys(&w->err, ret, "sending STARTED_OK") : 0;
}

/* The target has everything, and has restored it if it shall. */
static void look_ready(struct mfd_worker *w)
{
	int confirm = w->o->confirm == MFD_CONFIRM_RESTORE;

	w->ready = w->verified && (w->restored || !confirm);
	if (w->verified && !w->ready && !w->restore_end_ms) {
		w->restore_end_ms = mfd_io_now_ms() + w->o->restore_timeout;
		mfd_progress_phase(w->progress, MFD_PROGRESS_RESTORING);
	}
}

static void note_restored(struct mfd_worker *w, const Mfd__Restored *m)
{
	if (m->has_pid)
		mfd_log_info("restored on the target as process %u", m->pid);
	if (m->has_resumed_us)
		w->resumed_us = m->resumed_us;
	w->restored = 1;
	w->restored_us = w->restored_us ? w->restored_us : mfd_io_now_us();
	look_ready(w);
}

static int handle_message(struct mfd_worker *w, unsigned type, const ProtobufCMessage *msg)
{
	switch (type) {
	case MFD_WIRE_IMAGES_OK:
		mfd_log_info("the target can restore now; pages follow");
		return 0;
	case MFD_WIRE_STARTED:
		if (w->o->mode != MFD_MODE_POSTCOPY || !w->images_sent)
			break;
		return give_leave(w);
	case MFD_WIRE_NEED:
		if (!w->end_sent && !w->reconnects)
			break;
		return mfd_stream_need(w, msg);
	case MFD_WIRE_READY:
		if (!w->end_sent)
			break;
		w->ready_us = mfd_io_now_us();
		w->verified = 1;
		look_ready(w);
		return 0;
	case MFD_WIRE_COMMITTED: /* while we were away a person let it go on: it has everything */
		if (!w->reconnects)
			break;
		w->ready = 1;
		return 0;
	case MFD_WIRE_RESTORED:
		if (w->o->confirm != MFD_CONFIRM_RESTORE)
			break;
		note_restored(w, (const Mfd__Restored *)msg);
		return 0;
	case MFD_WIRE_ABORT:
		return mfd_error_set(&w->err, -ECANCELED, "the target aborted: %s",
				     ((const Mfd__Abort *)msg)->reason);
	default:
		break;
	}
	return mfd_error_set(&w->err, -EPROTO, "the target said %s out of turn",
			     mfd_wire_msg_name(type));
}

static int handle_inbox(struct mfd_worker *w)
{
	ProtobufCMessage *msg;
	eventfd_t count;
	unsigned type;
	int ret;

	eventfd_read(w->wake, &count);
	while ((ret = mfd_inbox_next(&w->inbox, &type, &msg, &w->err)) > 0) {
		ret = handle_message(w, type, msg);
		protobuf_c_message_free_unpacked(msg, NULL);
		if (ret)
			return ret;
	}
	return ret;
}

static int handle_signal(struct mfd_worker *w)
{
	struct signalfd_siginfo si;

	if (read(w->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return 0;
	if (atomic_load(&w->sh->phase) == MFD_PHASE_RUNNING) {
		mfd_log_warn("ignoring %s: the tasks may run on the target already",
			     strsignal((int)si.ssi_signo));
		return 0;
	}
	return mfd_error_set(&w->err, -EINTR, "stopped by %s", strsignal((int)si.ssi_signo));
}

static void set_at_desk(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	struct mfd_error err = { 0 };
	struct mfd_setting change;
	char text[160];

	if (w->verified) {
		mfd_desk_answer(r->caller, "too late: everything has been sent already");
		return;
	}
	if (mfd_setting_change(&w->session, w->sh, r->name, r->value, &change, &err)) {
		mfd_desk_answer(r->caller, mfd_error_text(&err));
		return;
	}
	mfd_setting_tell(&w->session, w->sh, r->name, &change);
	snprintf(text, sizeof(text), "%s %s %s", r->name, change.old, change.now);
	mfd_desk_say(r->caller, text);
}

/* The next request that is about how it shall end; others are dealt with here. */
static enum mfd_desk_verb next_wish(struct mfd_worker *w, int *caller)
{
	struct mfd_desk_request r;
	enum mfd_desk_verb verb = mfd_desk_next(w->desk, &r);

	*caller = r.caller;
	if (verb == MFD_DESK_STATUS)
		mfd_summary_say(w, r.caller);
	else if (verb == MFD_DESK_SET)
		set_at_desk(w, &r);
	else
		return verb;
	return MFD_DESK_NOTHING;
}

static int handle_desk(struct mfd_worker *w)
{
	int caller, running = atomic_load(&w->sh->phase) == MFD_PHASE_RUNNING;
	enum mfd_desk_verb verb = next_wish(w, &caller);

	if (verb == MFD_DESK_NOTHING)
		return 0;
	if (verb != MFD_DESK_ABORT || running) {
		mfd_desk_answer(caller,
				verb == MFD_DESK_ABORT ?
					"too late: the tasks may run on the target already" :
					"the session is not in doubt: its target is connected");
		return 0;
	}
	mfd_desk_answer(caller, NULL);
	return mfd_error_set(&w->err, -EINTR, "stopped by request");
}

/*
 * While the main thread waits for a channel, on a slow or stalled network: a person's wish to stop,
 * CRIU's end and the target's question for leave to run must not wait until the channel is free.
 */
static int glance(void *arg)
{
	struct mfd_worker *w = arg;
	struct pollfd p[3] = { { w->signals, POLLIN, 0 },
			       { w->desk, POLLIN, 0 },
			       { w->link, 0, 0 } };
	int ret = 0;

	if (mfd_queue_waits(&w->session.queue))
		mfd_progress_phase(w->progress, MFD_PROGRESS_QUEUED);
	if (poll(p, 3, 0) > 0) {
		if (p[0].revents)
			ret = handle_signal(w);
		if (!ret && p[1].revents)
			ret = handle_desk(w);
		if (!ret && p[2].revents & POLLHUP &&
		    atomic_load(&w->sh->phase) != MFD_PHASE_RUNNING)
			ret = mfd_error_set(&w->err, -EPIPE, "CRIU has ended");
	}
	if (!ret && w->images_sent && w->o->mode == MFD_MODE_POSTCOPY && w->inbox.running &&
	    mfd_inbox_take(&w->inbox, MFD_WIRE_STARTED))
		ret = give_leave(w);
	return ret;
}

/* No failure, and no wait, in postcopy once the tasks may run on the target. */
static int restore_overdue(struct mfd_worker *w)
{
	if (!w->restore_end_ms || w->ready || mfd_io_now_ms() < w->restore_end_ms ||
	    atomic_load(&w->sh->phase) == MFD_PHASE_RUNNING)
		return 0;
	return mfd_error_set(&w->err, -ETIMEDOUT,
			     "the target has not restored the tasks within %u ms (restore-timeout)",
			     w->o->restore_timeout);
}

/* The gate is looked for by time; everything else is an event. */
static int wait_ms(const struct mfd_worker *w, int busy)
{
	if (busy)
		return 0;
	if ((w->sh->connected && !w->gate_open) || w->rests_now)
		return 1;
	return w->restore_end_ms ? 100 : -1;
}

/*
 * READY or RESTORED may have lain in the socket while we were stopped.  A target that has closed
 * the connection meanwhile, because it was in doubt for too long, may have been told by a person to
 * throw everything away: its word does not count any more.
 */
static int still_there(struct mfd_worker *w)
{
	if (mfd_conn_gone(&w->session.control.conn, 0) > 0)
		return mfd_error_set(&w->err, -ECONNRESET,
				     "the target has closed the connection before the verdict");
	return 0;
}

static int loop(struct mfd_worker *w)
{
	int busy = 0, ret = 0;

	while (!ret && !w->ready) {
		struct pollfd p[4] = { { w->link, POLLIN, 0 },
				       { w->wake, POLLIN, 0 },
				       { w->signals, POLLIN, 0 },
				       { w->desk, POLLIN, 0 } };

		if (poll(p, 4, wait_ms(w, busy)) < 0 && errno != EINTR)
			return mfd_error_sys(&w->err, -errno, "poll");
		if (p[2].revents)
			ret = handle_signal(w);
		if (!ret && p[3].revents)
			ret = handle_desk(w);
		if (!ret && p[1].revents)
			ret = handle_inbox(w);
		if (!ret && p[0].revents)
			ret = handle_link(w);
		if (!ret && w->session.multifd)
			ret = mfd_stream_step(w, &busy);
		if (!ret)
			ret = restore_overdue(w);
	}
	return ret ? ret : still_there(w);
}

/* Half a second between two tries, in which a person may decide: 1 = keep trying. */
static int ask_person(struct mfd_worker *w, struct mfd_error *err)
{
	struct pollfd p = { .fd = w->desk, .events = POLLIN };
	enum mfd_desk_verb verb;
	int caller;

	if (w->desk < 0) {
		usleep(500000);
		return 1;
	}
	if (poll(&p, 1, 500) <= 0)
		return 1;
	verb = next_wish(w, &caller);
	if (verb == MFD_DESK_NOTHING)
		return 1;
	if (verb == MFD_DESK_ABORT) {
		mfd_desk_answer(
			caller,
			"in doubt: the tasks may run on the target; criu-multifd resolve --source settles it");
		return 1;
	}
	mfd_desk_answer(caller, NULL);
	if (verb == MFD_DESK_RUN)
		return mfd_error_set(err, -ECANCELED,
				     "a person has resolved the session: the tasks run on here");
	mfd_log_warn("a person has resolved the session: the tasks here are discarded");
	w->ready = 1;
	return 0;
}

/*
 * A target that has verified everything, or was told to commit by a person, has no use for channels
 * and says the rest at once.
 */
static int pages_are_due(const char *state)
{
	return strcmp(state, "READY") && strcmp(state, "RESTORED") && strcmp(state, "COMMITTED") &&
	       strcmp(state, "DONE");
}

/*
 * Postcopy, connections lost after the restored tasks were allowed to run: the tasks here stay
 * frozen, the ones there block on what they lack, and we try to get back for as long as it takes.
 */
static int reconnect(struct mfd_worker *w)
{
	char state[32];
	struct mfd_error why = w->err;
	int ret;

	mfd_log_error(
		"%s; the tasks may run on the target, so they stay frozen here until it is back",
		why.text);
	atomic_store(&w->progress->lost, 1);
	/* it may be a channel that broke: the inbox must end, too */
	mfd_uplink_shutdown(&w->session);
	mfd_inbox_stop(&w->inbox);
	for (unsigned try = 0;; try++) {
		mfd_uplink_close(&w->session);
		mfd_summary_keep(w);
		w->session = (struct mfd_uplink){ .wake_fd = w->wake,
						  .waiting = glance,
						  .waiting_arg = w,
						  .lim = w->session.lim,
						  .queue = w->session.queue };
		mfd_error_clear(&w->err);
		ret = mfd_uplink_resume(&w->session, w->o, w->sh, "continue", state, &w->err);
		if (!ret && pages_are_due(state))
			ret = mfd_uplink_rejoin(&w->session, w->o, w->sh, &w->err);
		if (!ret)
			ret = mfd_inbox_start(&w->inbox, &w->session, &w->tasks, w->wake);
		/*
		 * A target that answers but refuses has given the session up: then nothing runs
		 * there.
		 */
		if (!ret || ret == -ECANCELED)
			break;
		if (mfd_gate_criu_ended(&w->gate, 0))
			return mfd_error_set(&w->err, -ESRCH, "CRIU has ended");
		if (try % 20 == 0)
			mfd_log_warn("no connection to %s yet: %s", w->sh->target.text,
				     w->err.text);
		mfd_error_clear(&w->err);
		ret = ask_person(w, &w->err);
		if (ret <= 0) {
			mfd_uplink_close(&w->session);
			return ret;
		}
	}
	atomic_store(&w->progress->lost, 0);
	if (ret) {
		if (why.code ==
		    -ECANCELED) /* the target's own reason says more than that it knows the session no more */
			w->err = why;
		return ret;
	}
	w->reconnects++;
	w->tasks.current = w->tasks.n; /* the target now says what it needs */
	w->end_sent = 1;	       /* so END goes out only as the answer to its NEED */
	w->rests_now = 0;
	w->images_sent = 1;
	w->gate_open = 1;
	mfd_log_info("connected to %s again", w->sh->target.text);
	return 0;
}

static int run(struct mfd_worker *w, int recover)
{
	int ret = recover ? mfd_error_set(&w->err, -ENOTCONN, "the sender has died") : loop(w);

	while (ret && atomic_load(&w->sh->phase) == MFD_PHASE_RUNNING) {
		/* The dump is over: there is nothing left to send from. */
		if (w->dump_result_known || mfd_gate_criu_ended(&w->gate, w->link < 0 ? 1000 : 0))
			return ret;
		ret = reconnect(w);
		if (ret)
			return ret;
		ret = loop(w);
	}
	return ret;
}

static int init(struct mfd_worker *w)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->session.wake_fd = w->wake;
	w->session.waiting = glance;
	w->session.waiting_arg = w;
	w->start_us = mfd_io_now_us();
	mfd_tasks_init(&w->tasks, w->sh);
	w->desk = mfd_desk_open();
	if (w->desk < 0)
		mfd_log_warn("no requests can be taken: " MFD_DESK_SOCKET ": %s",
			     strerror(-w->desk));
	w->progress = mfd_progress_open();
	if (!w->progress)
		return mfd_error_set(&w->err, -ENOMEM, "no memory");
	return w->signals < 0 || w->wake < 0 ? mfd_error_sys(&w->err, -errno, "starting") : 0;
}

static int reopen_tasks(struct mfd_worker *w)
{
	int ret = mfd_gate_init(&w->gate, w->sh->criu, &w->err);

	for (unsigned i = 0; i < atomic_load(&w->sh->ntasks) && !ret; i++)
		ret = mfd_tasks_reopen(&w->tasks, i, &w->err);
	return ret;
}

/* Last of all: whoever waits for us reads it. */
static void close_progress(struct mfd_worker *w, int ret)
{
	struct mfd_progress *p = w->progress;

	if (!p)
		return;
	p->code = w->err.code;
	p->failed_in = atomic_load(&p->phase);
	if (w->err.code)
		snprintf(p->error, sizeof(p->error), "%s", mfd_error_text(&w->err));
	mfd_progress_phase(p, ret ? MFD_PROGRESS_ABORTED : MFD_PROGRESS_RELEASED);
	mfd_progress_close(p);
}

int mfd_worker_main(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd, int recover)
{
	struct mfd_worker w = {
		.o = o, .sh = sh, .link = link, .log_fd = log_fd, .image_dir = -1, .desk = -1
	};
	int ret;

	w.gate = (struct mfd_gate)MFD_GATE_NONE;
	mfd_pagepipes_prepare();
	ret = init(&w);
	if (!ret && recover)
		ret = reopen_tasks(&w);
	if (!ret)
		ret = run(&w, recover);
	if (!ret)
		ret = mfd_verdict_commit(&w);
	if (ret && mfd_verdict_abort(&w))
		ret = 0;
	mfd_uplink_shutdown(&w.session);
	mfd_inbox_stop(&w.inbox);
	mfd_uplink_close(&w.session);
	mfd_summary_write(&w, ret ? "aborted" : "released");
	sh->result = ret ? 1 : 0;
	atomic_store(&sh->phase, MFD_PHASE_OVER);
	mfd_ship_fini(&w.ship);
	mfd_tasks_fini(&w.tasks);
	mfd_gate_fini(&w.gate);
	mfd_desk_close(&w.desk);
	close_progress(&w, ret);
	mfd_release_end(&w.release);
	return ret ? 1 : 0;
}
