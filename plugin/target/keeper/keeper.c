// SPDX-License-Identifier: GPL-2.0-only
/* `criu-multifd keeper`, and the same as a child of `criu-multifd serve`: sockets and the loop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "assert.h"
#include "command.h"
#include "daemon.h"
#include "flags.h"
#include "io.h"
#include "keeperproc.h"
#include "log.h"
#include "ours.h"

#define TICK_MS	   1000
#define CLIENT_SEC 5 /* a client that neither asks nor reads */

static int trusted(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       (u.uid == 0 || u.uid == geteuid());
}

static void accept_client(struct mfd_keeper *k, int listener)
{
	struct timeval t = { .tv_sec = CLIENT_SEC };
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (!trusted(fd)) {
		mfd_log_warn("a client that is neither root nor of our user was refused");
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	mfd_assert(k->n_clients < MFD_KEEPER_MAX_CLIENTS);
	k->clients[k->n_clients++] = fd;
}

/* Full: new clients wait in the sockets' queues. */
static size_t listeners(const struct mfd_keeper *k, struct pollfd *p, size_t room)
{
	const struct mfd_kept *s;
	size_t n = 0;

	if (k->n_clients == MFD_KEEPER_MAX_CLIENTS)
		return 0;
	p[n++] = (struct pollfd){ .fd = k->listen_fd, .events = POLLIN };
	for (s = k->sessions; s && n < room; s = s->next) {
		if (s->sock >= 0)
			p[n++] = (struct pollfd){ .fd = s->sock, .events = POLLIN };
	}
	return n;
}

static void serve_clients(struct mfd_keeper *k, const struct pollfd *p, unsigned n)
{
	unsigned i, left = 0;

	for (i = 0; i < n; i++) {
		if (p[i].revents && !mfd_keeper_serve(k, k->clients[i]))
			close(k->clients[i]);
		else
			k->clients[left++] = k->clients[i];
	}
	mfd_assert(left <= n && n == k->n_clients);
	k->n_clients = left;
}

static void on_signal(struct mfd_keeper *k)
{
	struct signalfd_siginfo si;

	if (read(k->signals, &si, sizeof(si)) != sizeof(si))
		return;
	mfd_keeper_enter(k, si.ssi_signo == SIGUSR2 ? MFD_KEEPER_REPLACING : MFD_KEEPER_STOPPING);
}

/*
 * The supervisor died (in good order it would have sent a signal): the next server may need what is
 * held.
 */
static void on_link(struct mfd_keeper *k)
{
	mfd_io_close(&k->link);
	if (mfd_keeper_held(k))
		mfd_log_warn(
			"the restore server's supervisor died; keeping %zu descriptors for the next one",
			mfd_keeper_held(k));
	else
		mfd_keeper_enter(k, MFD_KEEPER_STOPPING);
}

static void turn(struct mfd_keeper *k)
{
	struct pollfd p[2 + MFD_KEEPER_MAX_CLIENTS + 128];
	unsigned clients = k->n_clients, i;
	size_t n;

	p[0] = (struct pollfd){ .fd = k->signals, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = k->link, .events = 0 };
	for (i = 0; i < clients; i++)
		p[2 + i] = (struct pollfd){ .fd = k->clients[i], .events = POLLIN };
	n = listeners(k, p + 2 + clients, 128);
	if (poll(p, 2 + clients + n, TICK_MS) < 0)
		return;
	if (p[0].revents)
		on_signal(k);
	if (p[1].revents)
		on_link(k);
	serve_clients(k, p + 2, clients);
	for (i = 0; i < n && k->n_clients < MFD_KEEPER_MAX_CLIENTS; i++) {
		/*
		 * A request may have closed a session's socket a moment ago: its number is then
		 * free, or that of a descriptor that does not listen.
		 */
		if (p[2 + clients + i].revents & POLLIN)
			accept_client(k, p[2 + clients + i].fd);
	}
	mfd_keeper_expire(k);
	if (k->phase == MFD_KEEPER_REPLACING) {
		mfd_keeper_exec(k);
		mfd_keeper_enter(k, MFD_KEEPER_SERVING);
	}
}

static int open_dir(struct mfd_keeper *k, struct mfd_error *err)
{
	k->dirfd = mfd_ours_claim(k->dir, MFD_KEEPER_LOCK, err);
	if (k->dirfd < 0)
		return k->dirfd;
	k->lock = mfd_ours_file(k->dirfd, MFD_KEEPER_LOCK, O_RDWR | O_CREAT, 0600);
	if (k->lock < 0)
		return mfd_error_sys(err, k->lock, "%s/" MFD_KEEPER_LOCK, k->dir);
	if (flock(k->lock, LOCK_EX | LOCK_NB))
		return mfd_error_set(err, -EBUSY, "%s: another keeper is at work there", k->dir);
	return 0;
}

static int open_socket(struct mfd_keeper *k, struct mfd_error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int ret;

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" MFD_KEEPER_SOCKET, k->dirfd);
	unlinkat(k->dirfd, MFD_KEEPER_SOCKET, 0);
	k->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->listen_fd < 0)
		return mfd_error_sys(err, -errno, "socket");
	mask = umask(0177);
	ret = bind(k->listen_fd, (struct sockaddr *)&a, sizeof(a)) || listen(k->listen_fd, 128) ?
		      -errno :
		      0;
	umask(mask);
	return ret ? mfd_error_sys(err, ret, "%s/" MFD_KEEPER_SOCKET, k->dir) : 0;
}

static int open_signals(struct mfd_keeper *k, struct mfd_error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signals < 0 ? mfd_error_sys(err, -errno, "signalfd") : 0;
}

static void raise_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static void close_all(struct mfd_keeper *k)
{
	while (k->n_clients)
		close(k->clients[--k->n_clients]);
	while (k->sessions)
		mfd_keeper_remove(k, k->sessions);
	if (k->listen_fd >= 0)
		unlinkat(k->dirfd, MFD_KEEPER_SOCKET, 0);
	mfd_io_close(&k->listen_fd);
	mfd_io_close(&k->dirfd);
	mfd_io_close(&k->lock);
}

static void loop(struct mfd_keeper *k)
{
	while (k->phase != MFD_KEEPER_STOPPING)
		turn(k);
	if (mfd_keeper_held(k))
		mfd_log_warn("ending; %zu descriptors are closed", mfd_keeper_held(k));
	close_all(k);
}

static void say(const void *arg, char *buf, size_t len)
{
	const struct mfd_keeper *k = arg;

	snprintf(buf, len, "keeper, phase %d, %u clients", (int)k->phase, k->n_clients);
}

int mfd_keeper_run(const char *dir, int link, uint64_t keep_ms)
{
	struct mfd_keeper k = { .dir = dir,
				.dirfd = -1,
				.lock = -1,
				.listen_fd = -1,
				.link = link,
				.keep_ms = keep_ms };
	struct mfd_error err = { 0 };
	int ret;

	mfd_log_tag_set("keeper");
	mfd_assert_context(say, &k);
	raise_limit();
	ret = open_dir(&k, &err);
	if (ret == -EBUSY) {
		mfd_log_info("%s has a keeper that an earlier server left", dir);
		return 0;
	}
	if (ret || open_signals(&k, &err) || open_socket(&k, &err)) {
		mfd_log_error("%s", mfd_error_text(&err));
		return 1;
	}
	loop(&k);
	return 0;
}

static int parse(struct mfd_daemon_options *o, int argc, char **argv)
{
	const struct mfd_flag flags[] = {
		mfd_daemon_dir(o, "its folder; the socket is DIR/" MFD_KEEPER_SOCKET
				  " (" MFD_DEFAULT_DIR ")"),
		mfd_daemon_keep_for(
			o,
			"close what no request has named for so long, unless DIR/SESSION exists; 0 = never (86400)"),
		mfd_daemon_state_fd(o),
		mfd_daemon_log_level(o),
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "keeper",
		.usage = "[--dir DIR] [--keep-for SECONDS]",
		.summary =
			"Holds open file descriptions from a dump to its restore; serve brings one of its own.",
		.notes =
			"A dump hands them over with the plugin option keeper = "
			"DIR/" MFD_KEEPER_SOCKET ".\n"
			"SIGUSR2, or 'criu-multifd cpr exec', replaces the program and keeps what is held.",
		.flags = flags,
	};
	struct mfd_flags_args args;

	return mfd_flags_begin(&table, argc, argv, &args);
}

/* A folder of its own need not exist yet. */
static int begin(struct mfd_keeper *k, const struct mfd_daemon_options *o, struct mfd_error *err)
{
	int ret;

	if (o->state)
		ret = mfd_keeper_state_load(k, (int)o->state, err);
	else if (mkdir(o->dir, 0700) && errno != EEXIST)
		ret = mfd_error_sys(err, -errno, "%s", o->dir);
	else
		ret = open_dir(k, err);
	ret = ret ? ret : open_signals(k, err);
	return ret || o->state ? ret : open_socket(k, err);
}

int mfd_keeper_main(int argc, char **argv)
{
	struct mfd_daemon_options o = MFD_DAEMON_DEFAULTS;
	struct mfd_keeper k = { .dirfd = -1, .lock = -1, .listen_fd = -1, .link = -1 };
	struct mfd_error err = { 0 };
	int ret = parse(&o, argc, argv);

	if (ret >= 0)
		return ret;
	mfd_log_tag_set("keeper");
	mfd_assert_context(say, &k);
	mfd_log_level_set((enum mfd_log_level)o.level);
	k.dir = o.dir;
	k.keep_ms = (uint64_t)o.keep_for * 1000;
	raise_limit();
	if (begin(&k, &o, &err)) {
		mfd_log_error("%s", mfd_error_text(&err));
		return MFD_EXIT_FAILED;
	}
	if (!o.state)
		mfd_log_info("keeping for %s", k.dir);
	sd_notify(0, "READY=1");
	loop(&k);
	return MFD_EXIT_OK;
}
