// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRIU's process and the sender's, until both have ended.
 *
 * CRIU runs in a process group of its own, so a Ctrl-C reaches this program alone, which asks the
 * sender to abort; this program never kills CRIU while CRIU may hold tasks.  The sender is not
 * CRIU's child, but becomes a child of this process when its parent ends (subreaper), so reap()
 * sees its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "migrate.h"
#include "pluginlink.h"
#include "request.h"
#include "source_file.h"

#define TICK_MS	     10	  /* short moves have short phases */
#define ASK_MS	     300  /* for an answer; the request stays in the sender's queue all the same */
#define NO_SENDER_MS 5000 /* without a sender nothing is frozen: then CRIU may be ended */
#define LOOK_MS	     200  /* between two looks for the sender */
#define OWN_WORDS    15

static void exec_criu(const struct mfd_migrate *m, char **argv)
{
	char path[4200];
	sigset_t none;
	int null = open("/dev/null", O_RDWR), err;

	snprintf(path, sizeof(path), "%s/criu.err", m->dir);
	err = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	setpgid(0, 0);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(err >= 0 ? err : null, STDERR_FILENO);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(m->criu.path, argv);
	dprintf(STDERR_FILENO, "%s: %s\n", m->criu.path, strerror(errno));
	_exit(127);
}

static int start_criu(struct mfd_migrate *m, struct mfd_error *err)
{
	char pid[16], gate[16],
		*own[OWN_WORDS] = { m->criu.path,   "dump",	   "--tree",	   pid,
				    "--images-dir", m->dir,	   "--lazy-pages", "--libdir",
				    m->plugins,	    "--ps-socket", gate,	   "--log-file",
				    "dump.log",	    "-v3" };
	int n = OWN_WORDS - 1;
	char **argv = calloc((size_t)n + (size_t)m->n_criu_args + 1, sizeof(*argv));

	if (!argv)
		return mfd_error_sys(err, -ENOMEM, "criu");
	snprintf(pid, sizeof(pid), "%u", m->pid);
	snprintf(gate, sizeof(gate), "%d", MFD_LINK_GATE_CRIU);
	memcpy(argv, own, (size_t)n * sizeof(*argv));
	for (int i = 0; i < m->n_criu_args; i++)
		argv[n + i] = m->criu_args[i];
	m->criu_pid = fork();
	if (!m->criu_pid)
		exec_criu(m, argv);
	free(argv);
	if (m->criu_pid < 0)
		return mfd_error_sys(err, -errno, "cannot start criu");
	setpgid(m->criu_pid, m->criu_pid); /* as the child does: one of the two is first */
	return 0;
}

/* Children other than this one; nonzero also if that is not known. */
static int has_others(pid_t one)
{
	char path[40], *text = NULL, *save, *word;
	int others = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 1;
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		others += atoi(word) != one;
	free(text);
	return others;
}

/* Reap children; nonzero while there are any that move the process: CRIU, and the sender. */
static int reap(struct mfd_migrate *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->criu_pid) {
			m->criu_ended = 1;
			m->criu_status = status;
		}
		if (pid == m->ssh.pid)
			m->ssh.pid = 0;
	}
	return !pid && (!m->ssh.pid || has_others(m->ssh.pid));
}

static void want_stop(struct mfd_migrate *m, int why)
{
	if (m->stop)
		return;
	m->stop = why;
	m->stop_ms = mfd_io_now_ms();
}

static const char *stop_text(const struct mfd_migrate *m)
{
	return m->stop == MFD_MIGRATE_TIMEOUT ? "the time is up" : strsignal(m->stop);
}

/*
 * A sender that connects answers no request, for as long as that may take.  Nothing is frozen then:
 * CRIU is ended, and the sender, which finds that out, ends by itself.
 */
static void end_connecting(struct mfd_migrate *m)
{
	if (atomic_load(&m->progress->phase) != MFD_PROGRESS_CONNECTING)
		return;
	kill(m->criu_pid, SIGTERM);
	m->asked = m->alone = 1;
	mfd_migrate_report_say(m, "%s, aborting", stop_text(m));
}

/* One thing is said about it: what the sender has answered. */
static void ask_sender(struct mfd_migrate *m)
{
	struct mfd_error err = { 0 };
	int ret;

	if (!m->stop || m->asked || m->refused || m->criu_ended)
		return;
	ret = mfd_request_call_sender(m->dir, "abort", ASK_MS, NULL, 0, &err);
	if (!ret) {
		m->asked = 1;
		mfd_migrate_report_say(m, "%s, aborting", stop_text(m));
	}
	if (ret == -EREMOTEIO) {
		m->refused = 1;
		mfd_migrate_report_say(m, "%s: cannot be aborted any more: %s", stop_text(m),
				       err.text);
	}
	if (ret == -ETIMEDOUT)
		end_connecting(m);
	if (ret == -ECONNREFUSED && atomic_load(&m->progress->phase) == MFD_PROGRESS_STARTING &&
	    mfd_io_now_ms() - m->stop_ms > NO_SENDER_MS)
		kill(m->criu_pid, SIGTERM);
}

static void take_signals(struct mfd_migrate *m, int signals)
{
	struct signalfd_siginfo si;

	while (read(signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			want_stop(m, (int)si.ssi_signo);
}

static int is_over(const struct mfd_migrate *m)
{
	return m->criu_ended &&
	       (m->alone || atomic_load(&m->progress->phase) >= MFD_PROGRESS_RELEASED);
}

/* Only a person ends that, and this program does not wait. */
static int needs_person(const struct mfd_migrate *m)
{
	unsigned lost = atomic_load(&m->progress->lost);

	return lost == MFD_PROGRESS_DIED || lost == MFD_PROGRESS_DAMAGED ||
	       lost == MFD_PROGRESS_GIVEN_UP;
}

/*
 * After leave to run CRIU waits for a sender as long as it takes; nothing else says that there is
 * none any more.
 */
static void look_for_sender(struct mfd_migrate *m)
{
	uint64_t now = mfd_io_now_ms();
	int fd;

	if (!atomic_load(&m->progress->running) || now < m->looked_ms + LOOK_MS)
		return;
	m->looked_ms = now;
	fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	m->sender_gone = fd >= 0 && !mfd_source_file_is_locked(fd) &&
			 atomic_load(&m->progress->phase) < MFD_PROGRESS_RELEASED;
	mfd_io_close(&fd);
}

static void watch(struct mfd_migrate *m, int signals)
{
	struct pollfd p = { .fd = signals, .events = POLLIN };

	/*
	 * A sender that died without setting a phase is over when all children are gone: until
	 * then its supervisor may be finishing what it began.
	 */
	while (reap(m) && !is_over(m) && !needs_person(m) && !m->sender_gone) {
		if (m->timeout_ms && mfd_io_now_ms() - m->start_ms > m->timeout_ms)
			want_stop(m, MFD_MIGRATE_TIMEOUT);
		ask_sender(m);
		mfd_migrate_report_tick(m);
		look_for_sender(m);
		poll(&p, 1, TICK_MS);
		take_signals(m, signals);
	}
	mfd_migrate_report_tick(m);
}

void mfd_migrate_watched_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGCHLD);
}

void mfd_migrate_block_signals(void)
{
	sigset_t set;

	mfd_migrate_watched_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int mfd_migrate_run(struct mfd_migrate *m, struct mfd_error *err)
{
	sigset_t set;
	int signals, ret;

	mfd_migrate_watched_signals(&set);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return mfd_error_sys(err, -errno, "signalfd");
	m->start_ms = mfd_io_now_ms();
	ret = mfd_migrate_check_start(m, err); /* much may have happened since the first look */
	ret = ret ? ret : start_criu(m, err);
	if (!ret)
		watch(m, signals);
	close(signals);
	return ret;
}
