// SPDX-License-Identifier: GPL-2.0-only
/* Going on in a new program. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "reexec.h"

#define LOOK_MS	  10
#define STATE_MAX (64U << 20)

static int find_self(char *path, size_t len)
{
	static const char deleted[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", path, len - 1);

	if (n < 0)
		return -errno;
	path[n] = 0;
	/* The program was replaced: take the new one. */
	if ((size_t)n > sizeof(deleted) && !strcmp(path + n - sizeof(deleted) + 1, deleted))
		path[(size_t)n - sizeof(deleted) + 1] = 0;
	return access(path, X_OK) ? -errno : 0;
}

/* One look at other work, or a pause. */
static int look_aside(const struct mfd_reexec_aside *aside, int wanted)
{
	struct pollfd p = { .fd = wanted ? aside->fd : -1, .events = POLLIN };

	if (poll(&p, 1, LOOK_MS) > 0 && p.revents)
		return aside->serve(aside->arg);
	return wanted;
}

/* Its exit, or -ETIMEDOUT when it and what it has started were killed. */
static int await(pid_t pid, const struct mfd_reexec_aside *aside)
{
	uint64_t end = mfd_io_now_ms() + MFD_REEXEC_TRY_MS;
	int status = 0, wanted = aside != NULL, late = 0;
	pid_t got;

	while (!(got = waitpid(pid, &status, WNOHANG)) || (got < 0 && errno == EINTR)) {
		wanted = look_aside(aside, wanted);
		if (!late && mfd_io_now_ms() >= end)
			late = !kill(-pid, SIGKILL) || !kill(pid, SIGKILL);
		if (mfd_io_now_ms() >= end + MFD_REEXEC_TRY_MS)
			break; /* it cannot even be killed */
	}
	return got < 0 ? -errno : late || !got ? -ETIMEDOUT : status ? -ENOEXEC : 0;
}

static int runs(const char *path, const struct mfd_reexec_aside *aside)
{
	char *argv[] = { (char *)path, "--version", NULL };
	posix_spawn_file_actions_t quiet;
	posix_spawnattr_t attr;
	sigset_t none, chld, old;
	pid_t pid;
	int ret;

	sigemptyset(&none);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	ret = -posix_spawn(&pid, path, &quiet, &attr, argv, environ);
	ret = ret ? ret : await(pid, aside);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&quiet);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return ret;
}

int mfd_reexec_begin(struct mfd_reexec *r, const struct mfd_reexec_aside *aside,
		     struct mfd_error *err)
{
	int ret;

	memset(r, 0, sizeof(*r));
	r->state = -1;
	ret = find_self(r->path, sizeof(r->path));
	if (!ret)
		ret = runs(r->path, aside);
	if (ret == -ETIMEDOUT)
		return mfd_error_set(err, ret, "%s --version does not end", r->path);
	return ret ? mfd_error_sys(err, ret, "%s", r->path) : 0;
}

int mfd_reexec_keep(struct mfd_reexec *r, int fd)
{
	if (fd < 0)
		return 0;
	if (r->n == r->room) {
		size_t room = r->room ? r->room * 2 : 64;
		int *more = realloc(r->fds, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->fds = more;
		r->room = room;
	}
	r->fds[r->n++] = fd;
	return 0;
}

static int set_cloexec(int fd, int on)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return -errno;
	return fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC) ? -errno : 0;
}

static int write_state(struct mfd_reexec *r, const char *state, size_t len)
{
	int ret;

	r->state = memfd_create("criu-multifd.state", MFD_CLOEXEC);
	if (r->state < 0)
		return -errno;
	ret = mfd_io_write_all(r->state, state, len);
	if (!ret && lseek(r->state, 0, SEEK_SET))
		ret = -errno;
	return ret ? ret : mfd_reexec_keep(r, r->state);
}

int mfd_reexec_exec(struct mfd_reexec *r, char **argv, const char *state, size_t len,
		    struct mfd_error *err)
{
	char number[12];
	size_t i, done = 0;
	int ret = write_state(r, state, len);

	if (ret)
		return mfd_error_sys(err, ret, "state for %s", r->path);
	snprintf(number, sizeof(number), "%d", r->state);
	for (i = 1; argv[i]; i++) {
		if (!strcmp(argv[i], "@STATE"))
			argv[i] = number;
	}
	argv[0] = r->path;
	while (!ret && done < r->n)
		ret = set_cloexec(r->fds[done++], 0);
	if (!ret) {
		execv(r->path, argv);
		ret = -errno;
	}
	while (done)
		set_cloexec(r->fds[--done], 1);
	return mfd_error_sys(err, ret, "%s", r->path);
}

void mfd_reexec_end(struct mfd_reexec *r)
{
	mfd_io_close(&r->state);
	free(r->fds);
	r->fds = NULL;
	r->n = r->room = 0;
}

int mfd_reexec_state(int fd, char **text, struct mfd_error *err)
{
	char path[40];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = mfd_io_read_file(AT_FDCWD, path, STATE_MAX, text, NULL);
	close(fd);
	return ret ? mfd_error_sys(err, ret, "state from the program before") : 0;
}

int mfd_reexec_adopt(int fd)
{
	return set_cloexec(fd, 1);
}
