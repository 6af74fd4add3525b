// SPDX-License-Identifier: GPL-2.0-only
/* Starting the sender outside CRIU's process and talking to it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deadman.h"
#include "freezer.h"
#include "gate_pair.h"
#include "host.h"
#include "io.h"
#include "parsed.h"
#include "sender.h"

#define LAST_WORDS_MS 2000

static int find_program(const struct mfd_options *o, char *path, size_t len, struct mfd_error *err)
{
	/* From the plugin's folder: as built, and as installed under any PREFIX. */
	static const char *const beside[] = { "/../criu-multifd", "/../../../sbin/criu-multifd" };
	Dl_info self;
	char *slash;

	if (o->program) {
		snprintf(path, len, "%s", o->program);
		return access(path, X_OK) ? mfd_error_sys(err, -errno, "program = %s", path) : 0;
	}
	if (!dladdr((void *)find_program, &self) || !realpath(self.dli_fname, path))
		return mfd_error_set(err, -ENOENT, "cannot find the sender (set option 'program')");
	slash = strrchr(path, '/');
	for (size_t i = 0; i < sizeof(beside) / sizeof(*beside); i++) {
		if ((size_t)(slash - path) + strlen(beside[i]) >= len)
			continue;
		strcpy(slash, beside[i]);
		if (!access(path, X_OK))
			return 0;
	}
	return mfd_error_sys(err, -errno, "the sender %s (set option 'program')", path);
}

/* The effective configuration as a file without a name. */
static int write_config(const struct mfd_options *o, struct mfd_error *err)
{
	int fd = memfd_create("criu-multifd.conf", MFD_CLOEXEC), ret;
	FILE *f;

	if (fd < 0)
		return mfd_error_sys(err, -errno, "configuration for the sender");
	fchmod(fd, 0600); /* a memfd begins with 0777, which the sender would refuse */
	f = fdopen(dup(fd), "w");
	ret = f ? mfd_options_write(o, f) : -ENOMEM;
	if (f && fclose(f) && !ret)
		ret = -errno;
	if (ret || lseek(fd, 0, SEEK_SET)) {
		close(fd);
		return mfd_error_sys(err, ret ? ret : -errno, "configuration for the sender");
	}
	return fd;
}

/*
 * In the grandchild: move the descriptors to their places, close all others, and reset the signals
 * to what a new program expects.
 */
static void exec_sender(const char *path, int link, int conf)
{
	char *argv[] = { (char *)path, "send", "--from-plugin", NULL };
	sigset_t none;
	int null = open("/dev/null", O_RDWR);
	/* Above both places, so that dup2 cannot overwrite what it still needs. */
	int l = fcntl(link, F_DUPFD, 10), c = fcntl(conf, F_DUPFD, 10);

	dup2(null, STDIN_FILENO);
	if (fcntl(STDOUT_FILENO, F_GETFD) < 0)
		dup2(null, STDOUT_FILENO);
	if (fcntl(STDERR_FILENO, F_GETFD) < 0)
		dup2(null, STDERR_FILENO);
	dup2(l, MFD_LINK_FD);
	dup2(c, MFD_LINK_CONF);
	close_range(MFD_LINK_CONF + 1, ~0U, 0);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(path, argv);
	_exit(127);
}

/*
 * Fork twice, so that CRIU, which waits for its children by itself, never sees a child that it does
 * not know.
 */
static int spawn(const char *path, int link, int conf, struct mfd_error *err)
{
	sigset_t chld, old;
	int status = 0;
	pid_t pid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	pid = fork();
	if (!pid) {
		setsid();
		pid = fork();
		if (!pid)
			exec_sender(path, link, conf);
		_exit(pid < 0);
	}
	if (pid > 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0 || status)
		return mfd_error_set(err, -EAGAIN, "cannot fork the sender");
	return 0;
}

/*
 * Receive one message.  A sender that ended without having read the last question leaves a reset,
 * which the kernel reports once, before what the sender has said.
 */
static ssize_t hear(int link, struct mfd_link_msg *m, int flags)
{
	ssize_t n = recv(link, m, sizeof(*m), flags);

	if (n < 0 && errno == ECONNRESET)
		n = recv(link, m, sizeof(*m), flags);
	if (n == (ssize_t)sizeof(*m))
		m->text[sizeof(m->text) - 1] = 0;
	return n;
}

/* The same, with what comes along; a reset and the end look alike. */
static ssize_t hear_with(int link, struct mfd_link_msg *m, int *given)
{
	int fd = -1, nfds = 1;
	ssize_t n = mfd_io_recv_fds(link, m, sizeof(*m), &fd, &nfds);

	if (!n) {
		nfds = 1;
		n = mfd_io_recv_fds(link, m, sizeof(*m), &fd, &nfds);
	}
	if (n == (ssize_t)sizeof(*m))
		m->text[sizeof(m->text) - 1] = 0;
	if (given)
		*given = fd;
	else
		mfd_io_close(&fd);
	return n;
}

/*
 * LEAVE and a commit verdict may lie before the answer to FINISH; their moment (the gate) has gone
 * by then.
 */
static int wait_ok(struct mfd_sender *s, int *given, struct mfd_error *err)
{
	struct mfd_link_msg m;
	ssize_t n;

	do
		n = hear_with(s->link, &m, given);
	while (n == (ssize_t)sizeof(m) && (m.type == MFD_LINK_COMMIT || m.type == MFD_LINK_LEAVE));
	if (n != (ssize_t)sizeof(m))
		return mfd_error_set(
			err, -EPIPE,
			"the sender has died; its log is multifd-send.log in CRIU's work directory");
	if (m.type == MFD_LINK_OK)
		return 0;
	return mfd_error_set(err, m.value < 0 ? m.value : -EIO, "%s", m.text);
}

static int ask(struct mfd_sender *s, const struct mfd_link_msg *m, int *given,
	       struct mfd_error *err)
{
	int dir = m->type == MFD_LINK_START ? mfd_host_image_dir() : -1;
	ssize_t n;

	if (s->link < 0)
		return mfd_error_set(err, -ENOTCONN, "no sender");
	n = mfd_io_send_fds(s->link, m, sizeof(*m), &dir, dir >= 0);
	/*
	 * A sender that has given up says why before it closes: read that even when writing fails.
	 */
	if (n < 0 && n != -EPIPE && n != -ECONNRESET)
		return mfd_error_sys(err, (int)n, "asking the sender");
	return wait_ok(s, given, err);
}

int mfd_sender_ask(struct mfd_sender *s, enum mfd_link_type what, int value, int *given,
		   struct mfd_error *err)
{
	struct mfd_link_msg m = { .type = what, .value = value };

	if (what == MFD_LINK_START)
		mfd_host_run(m.text, sizeof(m.text));
	return ask(s, &m, given, err);
}

int mfd_sender_freezes(struct mfd_sender *s, struct mfd_error *err)
{
	struct mfd_link_msg m = { .type = MFD_LINK_FREEZE };

	int ret;

	if (s->link < 0 || s->frozen)
		return 0;
	ret = mfd_parsed_freeze_cgroup(m.text, sizeof(m.text));
	if (ret)
		return mfd_error_sys(err, ret, "--freeze-cgroup %s...", m.text);
	return m.text[0] ? ask(s, &m, NULL, err) : 0;
}

/* CRIU would take the end of another connection for our verdict. */
static int check_gate(struct mfd_error *err)
{
	int number = mfd_parsed_ps_socket();

	if (number < 0 || number == MFD_LINK_GATE_CRIU)
		return 0;
	return mfd_error_set(err, -EINVAL,
			     "criu dump --ps-socket %d: with the multifd plugin expected "
			     "--ps-socket %d, or none",
			     number, MFD_LINK_GATE_CRIU);
}

/* CRIU may thaw it for another plugin before it asks ours, and freezes it again at the end. */
static int is_frozen(void)
{
	char group[sizeof(((struct mfd_link_msg *)0)->text)];

	return !mfd_parsed_freeze_cgroup(group, sizeof(group)) && group[0] &&
	       mfd_freezer_is_frozen(group) > 0;
}

int mfd_sender_start(struct mfd_sender *s, const struct mfd_options *o, struct mfd_error *err)
{
	char path[4096];
	int pair[2], conf, ret;

	s->link = -1;
	ret = check_gate(err);
	if (!ret)
		ret = find_program(o, path, sizeof(path), err);
	if (ret)
		return ret;
	conf = write_config(o, err);
	if (conf < 0)
		return conf;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		ret = mfd_error_sys(err, -errno, "socketpair");
		close(conf);
		return ret;
	}
	ret = spawn(path, pair[1], conf, err);
	close(pair[1]);
	close(conf);
	if (ret) {
		close(pair[0]);
		return ret;
	}
	s->link = pair[0];
	ret = mfd_gate_pair_make(err);
	if (!ret)
		ret = mfd_sender_ask(s, MFD_LINK_START, getpid(), NULL, err);
	if (!ret) {
		ret = mfd_deadman_arm(s->link);
		if (ret)
			mfd_error_sys(err, ret, "cannot watch the sender");
	}
	if (ret) {
		mfd_gate_pair_close();
		mfd_io_close(&s->link);
	}
	s->frozen = is_frozen();
	return ret;
}

void mfd_sender_end(struct mfd_sender *s, int ret, struct mfd_link_msg *reply)
{
	struct mfd_link_msg m = { .type = MFD_LINK_EXIT, .value = ret };
	struct pollfd p = { .fd = s->link, .events = POLLIN };
	uint64_t end = mfd_io_now_ms() + LAST_WORDS_MS, now;

	memset(reply, 0, sizeof(*reply));
	if (s->link < 0)
		return;
	mfd_deadman_disarm();
	mfd_gate_pair_close();
	mfd_io_send_fds(s->link, &m, sizeof(m), NULL, 0);
	/*
	 * The verdict comes first, then the answer to EXIT; a sender that died leaves only the
	 * verdict, or nothing.
	 */
	while ((now = mfd_io_now_ms()) < end) {
		struct mfd_link_msg in;
		ssize_t n;

		poll(&p, 1, (int)(end - now));
		n = hear(s->link, &in, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n != (ssize_t)sizeof(in))
			break;
		*reply = in;
		if (in.type == MFD_LINK_OK || in.type == MFD_LINK_FAILED ||
		    in.type == MFD_LINK_HELD)
			break;
	}
	mfd_io_close(&s->link);
}
