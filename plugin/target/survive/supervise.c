// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor: as small as can be, since what it guards against is a crash.  It holds the
 * listening socket, a deposit for each restored task that lacks pages, and the server's children;
 * it starts the worker again when that dies, and the new one takes the tasks over.  Only if that is
 * impossible are they killed.  README.md has all the roles.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "supervisor.h"

static const char *const names[] = {
	[MFD_SUPERVISOR_STARTING] = "starting",
	[MFD_SUPERVISOR_SERVING] = "serving",
	[MFD_SUPERVISOR_REPLACING] = "replacing",
	[MFD_SUPERVISOR_ENDING] = "ending",
};

static void say(const void *arg, char *buf, size_t len)
{
	const struct mfd_supervisor *su = arg;

	snprintf(buf, len, "supervisor, phase %s, worker %d", names[su->phase],
		 su->deposits.worker);
}

/* ---- signals ---- */

static void look_at_standby(struct mfd_supervisor *su)
{
	if (!mfd_standby_died(&su->deposits.standby))
		return;
	mfd_log_error("the standby died");
	mfd_deposits_start_standby(&su->deposits, su->sv->dirfd);
}

/*
 * Each of our children, and no others: `serve` may have been started by a program that left us
 * children of its own.
 */
static int on_child(struct mfd_supervisor *su)
{
	int status;

	mfd_supervisor_look_at_keeper(su);
	look_at_standby(su);
	if (su->start_ms)
		return -1;
	if (waitpid(su->deposits.worker, &status, WNOHANG) != su->deposits.worker)
		return -1;
	return mfd_supervisor_worker_ended(su, status);
}

static int on_replace(struct mfd_supervisor *su)
{
	mfd_supervisor_replace(su);
	return -1;
}

/*
 * A second one asks again: at once.  The first is for the worker, if there is none now, too: it may
 * be waited for until the tasks have their pages.
 */
static int on_stop(struct mfd_supervisor *su)
{
	if (su->start_ms && su->phase == MFD_SUPERVISOR_ENDING) {
		mfd_log_error("asked to end for the second time, without a worker: restored tasks "
			      "that lack pages are killed");
		mfd_deposits_kill_all(&su->deposits);
		return 1;
	}
	mfd_supervisor_enter(su, MFD_SUPERVISOR_ENDING);
	sd_notify(0, "STOPPING=1");
	mfd_supervisor_ask_to_end(su);
	return -1;
}

/* Without a worker the next one finds it in the eventfd. */
static int on_hangup(struct mfd_supervisor *su)
{
	const uint64_t one = 1;

	su->sv->reread(su->sv->arg);
	if (write(su->reread_fd, &one, sizeof(one)) < 0)
		mfd_log_error("SIGHUP: the worker cannot be told: %s", strerror(errno));
	return -1;
}

static const struct {
	int number;
	int (*act)(struct mfd_supervisor *su); /* -1: go on, else the exit code */
} signals[] = {
	{ SIGCHLD, on_child }, { SIGUSR2, on_replace }, { SIGHUP, on_hangup },
	{ SIGTERM, on_stop },  { SIGINT, on_stop },
};
#define N_SIGNALS (sizeof(signals) / sizeof(*signals))

static int on_signal(struct mfd_supervisor *su)
{
	struct signalfd_siginfo si;

	if (read(su->signals, &si, sizeof(si)) != sizeof(si))
		return -1;
	for (size_t i = 0; i < N_SIGNALS; i++)
		if (si.ssi_signo == (uint32_t)signals[i].number)
			return signals[i].act(su);
	return -1;
}

static int take_signals(struct mfd_supervisor *su)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < N_SIGNALS; i++)
		sigaddset(&set, signals[i].number);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	su->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return su->signals < 0 ? -errno : 0;
}

/* ---- the loop ---- */

/* Until something is to be done without an event: ms for poll(). */
static int wait_ms(const struct mfd_supervisor *su)
{
	uint64_t now = mfd_io_now_ms();

	if (!su->start_ms)
		return -1;
	return su->start_ms > now ? (int)(su->start_ms - now) : 0;
}

/* -1: there is a worker, or there will be; else the exit code. */
static int start_again(struct mfd_supervisor *su)
{
	int ret;

	if (!su->start_ms || mfd_io_now_ms() < su->start_ms)
		return -1;
	ret = mfd_supervisor_start_or_wait(su);
	if (!ret)
		return -1;
	mfd_log_error("cannot start a worker: %s", strerror(-ret));
	mfd_deposits_kill_all(&su->deposits);
	return 1;
}

/* Until the worker has ended for good: its exit code. */
static int watch(struct mfd_supervisor *su)
{
	int code = -1;

	while (code < 0) {
		struct pollfd fds[] = {
			{ .fd = su->signals, .events = POLLIN },
			{ .fd = su->link, .events = POLLIN },
		};

		if (poll(fds, 2, wait_ms(su)) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents && !mfd_supervisor_serve_worker(su))
			mfd_io_close(&su->link);
		if (fds[0].revents)
			code = on_signal(su);
		if (code < 0)
			code = start_again(su);
		if (su->phase == MFD_SUPERVISOR_REPLACING && su->deposits.all && code < 0)
			mfd_supervisor_kill_worker(su);
	}
	return code;
}

/* The worker has ended. Only returns when the new program could not be started: -1 = go on. */
static int replace(struct mfd_supervisor *su)
{
	int ret;

	mfd_assert(su->phase == MFD_SUPERVISOR_REPLACING && su->link < 0);
	mfd_standby_end(&su->deposits.standby); /* the new program starts its own */
	mfd_upgrade_exec(su);
	mfd_supervisor_enter(su, MFD_SUPERVISOR_STARTING);
	mfd_deposits_start_standby(&su->deposits, su->sv->dirfd);
	ret = mfd_supervisor_start_or_wait(su);
	if (ret)
		mfd_log_error("cannot start a worker: %s", strerror(-ret));
	return ret ? 1 : -1;
}

static int set_up(struct mfd_supervisor *su)
{
	int ret = take_signals(su);

	su->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	su->reread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!ret && (su->stop_fd < 0 || su->reread_fd < 0))
		ret = -errno;
	if (ret)
		return ret;
	if (mfd_deposits_inherit(&su->deposits, su->sv->dirfd))
		su->after = MFD_TAKEOVER_SERVER;
	if (!su->keeper)
		ret = mfd_supervisor_start_keeper(su);
	return ret ? ret : mfd_supervisor_start_or_wait(su);
}

static int run(struct mfd_supervisor *su)
{
	int code, ret = set_up(su);

	if (ret) {
		mfd_log_error("cannot start: %s", strerror(-ret));
		return 1;
	}
	do {
		code = watch(su);
		if (su->phase == MFD_SUPERVISOR_REPLACING)
			code = replace(su);
	} while (code < 0);
	mfd_supervisor_end_keeper(su);
	mfd_deposits_end_standby(&su->deposits);
	return code;
}

#define NONE_YET                                                                      \
	.signals = -1, .stop_fd = -1, .reread_fd = -1, .link = -1, .keeper_link = -1, \
	.deposits = { .standby = { .link = -1, .orphans = -1, .orphans_end = -1 } }

int mfd_supervise_run(struct mfd_supervise *sv, const char *address)
{
	struct mfd_supervisor su = { .sv = sv, .address = address, NONE_YET };

	mfd_assert_context(say, &su);
	return run(&su);
}

int mfd_supervise_resume(struct mfd_supervise *sv, int state,
			 void (*prepare)(struct mfd_supervise *sv, const void *arg),
			 const void *arg)
{
	struct mfd_supervisor su = { .sv = sv, NONE_YET };
	struct mfd_error err = { 0 };

	mfd_assert_context(say, &su);
	if (mfd_upgrade_load(&su, state, &err)) {
		mfd_log_error("%s", mfd_error_text(&err));
		return 1;
	}
	mfd_log_info("new program (%s)", MFD_VERSION);
	prepare(sv, arg);
	return run(&su);
}
