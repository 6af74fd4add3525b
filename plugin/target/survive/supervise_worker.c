// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker as its supervisor sees it: started, asked, followed by another when it was killed.
 *
 * The worker ends by itself with exit code 0 or 1, which becomes the supervisor's.  Signals are for
 * the supervisor alone, so that a signal to the whole process group counts once; it passes them on
 * through an eventfd.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "assert.h"
#include "heir.h"
#include "io.h"
#include "life.h"
#include "log.h"
#include "reexec.h"
#include "supervisor.h"

/* workers in a row that may die before they are ready and leave the tasks to the next */
#define MAX_EARLY      3
#define RESTART_WINDOW 60000 /* ms */
#define LAST_WORDS_US  50000
#define START_MS       500  /* between two tries to start one */
#define DRAIN_MS       5000 /* that a dead worker's heir has for each message */

#define BIT(phase) (1U << MFD_SUPERVISOR_##phase)
static const unsigned successors[] = {
	[MFD_SUPERVISOR_STARTING] = BIT(SERVING) | BIT(REPLACING) | BIT(ENDING),
	[MFD_SUPERVISOR_SERVING] = BIT(STARTING) | BIT(REPLACING) | BIT(ENDING),
	[MFD_SUPERVISOR_REPLACING] = BIT(STARTING) | BIT(ENDING),
	[MFD_SUPERVISOR_ENDING] = 0,
};

void mfd_supervisor_enter(struct mfd_supervisor *su, enum mfd_supervisor_phase phase)
{
	if (phase == su->phase)
		return;
	mfd_assert(phase <= MFD_SUPERVISOR_ENDING);
	mfd_assert(successors[su->phase] & 1U << phase);
	su->phase = phase;
}

void mfd_supervisor_ask_to_end(struct mfd_supervisor *su)
{
	uint64_t one = 1;

	if (write(su->stop_fd, &one, sizeof(one)) < 0)
		mfd_log_error("eventfd: %s", strerror(errno));
}

/* ---- its messages ---- */

static void announce(struct mfd_supervisor *su)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "listening on %s\n", su->address);

	if (su->announced++)
		return;
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = 0;
	sd_notify(0, "READY=1");
	if (su->sv->ready)
		su->sv->ready(su->sv->arg, su->address);
}

static int on_ready(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	(void)m;
	(void)fds;
	(void)nfds;
	mfd_assert(su->deposits.worker > 0);
	su->deaths = 0;
	mfd_deposits_end_unclaimed(&su->deposits);
	if (su->phase == MFD_SUPERVISOR_STARTING)
		mfd_supervisor_enter(su, MFD_SUPERVISOR_SERVING);
	announce(su);
	mfd_assert(su->phase != MFD_SUPERVISOR_STARTING);
	return 0;
}

static int on_deposit(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	return mfd_deposits_add(&su->deposits, m, fds, nfds);
}

static int on_withdraw(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	(void)fds;
	(void)nfds;
	return mfd_deposits_withdraw(&su->deposits, m->session, m->number);
}

static int on_found(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	return mfd_deposits_found(&su->deposits, m, fds, nfds);
}

static int on_withdraw_all(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	(void)fds;
	(void)nfds;
	mfd_deposits_withdraw_all(&su->deposits, m->session);
	return 0;
}

static int on_kill(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	(void)fds;
	(void)nfds;
	return mfd_deposits_kill(&su->deposits, m->session);
}

static int on_exec(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	(void)m;
	(void)fds;
	(void)nfds;
	return mfd_supervisor_replace(su);
}

/* Descriptors that a handler takes over become -1; its result is the answer. */
static int (*const handlers[])(struct mfd_supervisor *, struct mfd_guard_msg *, int *, int) = {
	[MFD_GUARD_READY] = on_ready,
	[MFD_GUARD_DEPOSIT] = on_deposit,
	[MFD_GUARD_WITHDRAW] = on_withdraw,
	[MFD_GUARD_FOUND] = on_found,
	[MFD_GUARD_WITHDRAW_ALL] = on_withdraw_all,
	[MFD_GUARD_KILL] = on_kill,
	[MFD_GUARD_EXEC] = on_exec,
};

static int act(struct mfd_supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	m->session[sizeof(m->session) - 1] = 0;
	if (m->kind >= sizeof(handlers) / sizeof(*handlers) || !handlers[m->kind])
		return -EINVAL;
	return handlers[m->kind](su, m, fds, nfds);
}

int mfd_supervisor_serve_worker(struct mfd_supervisor *su)
{
	struct mfd_guard_msg m, ack = { .kind = MFD_GUARD_ACK };
	int fds[MFD_GUARD_MAX_FDS] = { -1, -1, -1 }, nfds = MFD_GUARD_MAX_FDS;
	ssize_t n = mfd_io_recv_fds(su->link, &m, sizeof(m), fds, &nfds);

	if (n <= 0)
		return n == -EINTR || n == -EMSGSIZE;
	ack.code = n == sizeof(m) ? act(su, &m, fds, nfds) : -EINVAL;
	for (int i = 0; i < MFD_GUARD_MAX_FDS; i++)
		mfd_io_close(&fds[i]);
	mfd_io_send_fds(su->link, &ack, sizeof(ack), NULL, 0);
	return 1;
}

/* ---- replacing the program ---- */

/* The worker's requests are answered meanwhile: a restored task that forks waits for them. */
static int serve_worker(void *arg)
{
	return mfd_supervisor_serve_worker(arg);
}

/* 0: there is a program, and it runs. */
static int try_program(struct mfd_supervisor *su, struct mfd_error *err)
{
	const struct mfd_reexec_aside aside = { su->link, serve_worker, su };
	struct mfd_reexec r;
	int ret;

	if (su->checking)
		return mfd_error_set(err, -EALREADY, "the program is just being tried");
	su->checking = 1;
	ret = mfd_reexec_begin(&r, &aside, err);
	su->checking = 0;
	mfd_reexec_end(&r);
	return ret;
}

int mfd_supervisor_replace(struct mfd_supervisor *su)
{
	struct mfd_error err = { 0 };
	int ret;

	if (su->start_ms)
		return -EAGAIN; /* there is no worker */
	if (su->phase == MFD_SUPERVISOR_REPLACING)
		return -EALREADY;
	if (su->phase == MFD_SUPERVISOR_ENDING)
		return -ESHUTDOWN;
	mfd_deposits_drop_ended(&su->deposits);
	ret = try_program(su, &err);
	if (ret) {
		mfd_log_error("the program is not replaced: %s", mfd_error_text(&err));
		return ret;
	}
	mfd_log_info("replacing the program");
	mfd_supervisor_enter(su, MFD_SUPERVISOR_REPLACING);
	if (su->keeper > 0)
		kill(su->keeper, SIGUSR2);
	if (!su->deposits.all)
		mfd_supervisor_ask_to_end(su);
	return 0;
}

/* A moment later: it may just be answering the one that has asked for a new program. */
void mfd_supervisor_kill_worker(struct mfd_supervisor *su)
{
	mfd_assert(su->phase == MFD_SUPERVISOR_REPLACING);
	mfd_assert(su->deposits.worker > 1);
	usleep(LAST_WORDS_US);
	kill(su->deposits.worker, SIGKILL);
}

/* ---- its life ---- */

static void ignore_signals(void)
{
	const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR2 };
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. */
static int be_worker(struct mfd_supervisor *su, int link)
{
	struct mfd_supervise_birth b = { .listen_fd = su->sv->listen_fd,
					 .stop_fd = su->stop_fd,
					 .reread_fd = su->reread_fd,
					 .guard_fd = link,
					 .standby_fd = su->deposits.standby.orphans,
					 .after = su->after,
					 .inherited = su->deposits.all };
	int ret;

	ignore_signals();
	mfd_io_close(&su->signals);
	mfd_io_close(&su->link);
	mfd_io_close(&su->keeper_link);
	mfd_io_close(&su->deposits.standby.link);
	mfd_io_close(&su->deposits.standby.orphans_end);
	ret = mfd_heir_start(b.guard_fd, b.standby_fd);
	if (ret)
		mfd_log_warn(
			"no heir (%s): should this worker die just when a restored task forks, the task is killed",
			strerror(-ret));
	return su->sv->work(su->sv->arg, &b);
}

/*
 * A worker that was asked to end and has died: the next one must end, too.  If the dead one has not
 * read that it was asked, the next one does; a second question would be taken for a person's second
 * SIGTERM, which ends tasks that still lack pages.
 */
static void ask_again(struct mfd_supervisor *su)
{
	struct pollfd p = { .fd = su->stop_fd, .events = POLLIN };

	if (su->phase == MFD_SUPERVISOR_ENDING && poll(&p, 1, 0) == 0)
		mfd_supervisor_ask_to_end(su);
}

int mfd_supervisor_start_worker(struct mfd_supervisor *su)
{
	int pair[2];
	pid_t pid;

	mfd_assert(su->link < 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	su->link = pair[0];
	ask_again(su);
	pid = fork();
	if (!pid) {
		int code = be_worker(su, pair[1]);

		fflush(NULL);
		_exit(code);
	}
	close(pair[1]);
	if (pid < 0) {
		int ret = -errno;

		mfd_io_close(&su->link);
		return ret;
	}
	su->deposits.worker = pid;
	mfd_assert(su->phase != MFD_SUPERVISOR_SERVING);
	return 0;
}

int mfd_supervisor_may_restart(struct mfd_supervisor *su)
{
	uint64_t now = mfd_io_now_ms();
	uint64_t *oldest = &su->restarts[su->n_restarts++ % MFD_SUPERVISOR_MAX_RESTARTS];
	int ok = !*oldest || now - *oldest > RESTART_WINDOW;

	*oldest = now;
	return ok;
}

/*
 * What it deposited before it died, and what its heir found then.  The link ends when the heir has
 * ended.
 */
static void drain(struct mfd_supervisor *su)
{
	struct pollfd p = { .fd = su->link, .events = POLLIN };

	while (su->link >= 0 && poll(&p, 1, DRAIN_MS) == 1 && mfd_supervisor_serve_worker(su))
		;
	mfd_io_close(&su->link);
}

int mfd_supervisor_start_or_wait(struct mfd_supervisor *su)
{
	int ret = mfd_supervisor_start_worker(su), waits = su->start_ms != 0;

	su->start_ms = 0;
	if (!mfd_life_cannot_tell(ret) || !su->deposits.all)
		return ret;
	if (!waits)
		mfd_log_error("no worker can be started now (%s): it is tried until there is one, "
			      "and restored tasks wait",
			      strerror(-ret));
	su->start_ms = mfd_io_now_ms() + START_MS;
	return 0;
}

/*
 * Another one takes over the tasks (takeover.h), unless just that seems to be what kills it.
 */
static int follow(struct mfd_supervisor *su)
{
	mfd_assert(su->link < 0);
	if (su->deaths++ >= MAX_EARLY) {
		mfd_log_error(
			"workers die before they are ready; restored tasks are not taken over but killed");
		mfd_deposits_kill_all(&su->deposits);
	}
	su->after = MFD_TAKEOVER_WORKER;
	if (su->phase == MFD_SUPERVISOR_SERVING)
		mfd_supervisor_enter(su, MFD_SUPERVISOR_STARTING);
	return mfd_supervisor_start_or_wait(su);
}

/* Killed by a signal: -1 = a new one runs, else the exit code of the server. */
static int was_killed(struct mfd_supervisor *su, int sig)
{
	int ret;

	mfd_log_error("worker %d died of signal %d (%s)", su->deposits.worker, sig, strsignal(sig));
	if (!mfd_supervisor_may_restart(su)) {
		mfd_log_error("the worker dies too often, giving up");
		mfd_deposits_kill_all(&su->deposits);
		return 1;
	}
	ret = follow(su);
	if (ret) {
		mfd_log_error("cannot start a worker: %s", strerror(-ret));
		mfd_deposits_kill_all(&su->deposits);
	}
	return ret ? 1 : -1;
}

int mfd_supervisor_worker_ended(struct mfd_supervisor *su, int status)
{
	mfd_assert(su->deposits.worker > 0);
	drain(su);
	if (WIFEXITED(status)) {
		mfd_deposits_kill_all(&su->deposits);
		return WEXITSTATUS(status);
	}
	if (su->phase != MFD_SUPERVISOR_REPLACING)
		return was_killed(su, WTERMSIG(status));
	su->after = MFD_TAKEOVER_WORKER;
	return 0;
}
