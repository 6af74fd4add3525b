// SPDX-License-Identifier: GPL-2.0-only
/* The threads that ask for a look, and the processes that look. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "probe_look.h"

#define AGAIN_MS 20  /* until a place may be free */
#define DIE_MS	 100 /* that one has to die in, before it counts as hung */

extern char **environ;

enum place_state { FREE, LOOKING, HUNG };

static struct place {
	enum place_state state;
	unsigned peer;
	pid_t pid; /* of one that hangs: killed, and not dead */
} places[MFD_PROBE_LOOKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards them */

/* ---- places ---- */

/* lock held: those that have died at last. */
static void reap(void)
{
	for (size_t i = 0; i < MFD_PROBE_LOOKS; i++)
		if (places[i].state == HUNG && waitpid(places[i].pid, NULL, WNOHANG) != 0)
			places[i].state = FREE;
}

/* lock held: a place; NULL: there is none just now, or *never: while what hangs goes on hanging. */
static struct place *find(unsigned peer, int *never)
{
	struct place *found = NULL;
	unsigned own = 0, hung = 0, all_hung = 0;

	for (size_t i = 0; i < MFD_PROBE_LOOKS; i++) {
		struct place *p = &places[i];

		all_hung += p->state == HUNG;
		own += p->state != FREE && p->peer == peer;
		hung += p->state == HUNG && p->peer == peer;
		found = p->state == FREE ? p : found;
	}
	*never = hung == MFD_PROBE_LOOKS_PEER || all_hung == MFD_PROBE_LOOKS;
	return own < MFD_PROBE_LOOKS_PEER ? found : NULL;
}

/* Take a place, until `end`; NULL: there is none. */
static struct place *begin(unsigned peer, uint64_t end)
{
	struct place *p;
	int never;

	for (;;) {
		pthread_mutex_lock(&lock);
		reap();
		p = find(peer, &never);
		if (p) {
			mfd_assert(p->state == FREE);
			*p = (struct place){ .state = LOOKING, .peer = peer };
		}
		pthread_mutex_unlock(&lock);
		if (p || never || mfd_io_now_ms() >= end)
			return p;
		usleep(AGAIN_MS * 1000);
	}
}

/* pid: of one that does not die; 0: none. */
static void leave(struct place *p, pid_t pid)
{
	pthread_mutex_lock(&lock);
	mfd_assert(p->state == LOOKING);
	p->state = pid > 0 ? HUNG : FREE;
	p->pid = pid;
	pthread_mutex_unlock(&lock);
}

/* ---- the process ---- */

/* A descriptor of what it is asked, or -errno. */
static int question(const Mfd__Probe *m)
{
	size_t len = mfd__probe__get_packed_size(m);
	int fd = memfd_create("probe", MFD_CLOEXEC), ret;
	uint8_t *bytes = malloc(len + 1);

	if (fd < 0 || !bytes) {
		ret = fd < 0 ? -errno : -ENOMEM;
		mfd_io_close(&fd);
		free(bytes);
		return ret;
	}
	mfd__probe__pack(m, bytes);
	ret = mfd_io_pwrite_all(fd, bytes, len, 0); /* it is read from the beginning */
	free(bytes);
	if (ret)
		mfd_io_close(&fd);
	return ret ? ret : fd;
}

static int spawn(int in, int out, pid_t *pid)
{
	char *argv[] = { "criu-multifd", "serve", MFD_PROBE_LOOK_WORD, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int ret;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&fa, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&fa, out, STDOUT_FILENO);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	ret = -posix_spawn(pid, "/proc/self/exe", &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return ret;
}

/* As many answers as come until `end`. */
static size_t collect(int fd, uint8_t *faults, size_t n, uint64_t end)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;
	ssize_t got = 1;

	while (have < n && got > 0) {
		uint64_t now = mfd_io_now_ms();

		if (now >= end)
			break;
		got = poll(&p, 1, (int)(end - now));
		if (got > 0)
			got = read(fd, faults + have, n - have);
		have += got > 0 ? (size_t)got : 0;
		got = got < 0 && errno == EINTR ? 1 : got;
	}
	return have;
}

/* 0: it is dead; or its pid. */
static pid_t end_it(pid_t pid)
{
	uint64_t end = mfd_io_now_ms() + DIE_MS;

	kill(pid, SIGKILL);
	while (!waitpid(pid, NULL, WNOHANG)) {
		if (mfd_io_now_ms() >= end) {
			mfd_log_warn("a file system does not answer: process %d hangs in it", pid);
			return pid;
		}
		usleep(1000);
	}
	return 0;
}

size_t mfd_probe_look(const Mfd__Probe *m, unsigned peer, uint8_t *faults)
{
	uint64_t end = mfd_io_now_ms() + MFD_PROBE_LOOK_MS;
	struct place *place = m->n_file ? begin(peer, end) : NULL;
	int in, p[2] = { -1, -1 };
	pid_t pid = 0;
	size_t n = 0;

	if (!place)
		return 0;
	in = question(m);
	if (in >= 0 && !pipe2(p, O_CLOEXEC) && !spawn(in, p[1], &pid)) {
		mfd_io_close(&p[1]);
		n = collect(p[0], faults, m->n_file, end);
		pid = end_it(pid);
	}
	leave(place, pid);
	mfd_io_close(&in);
	mfd_io_close(&p[0]);
	mfd_io_close(&p[1]);
	return n;
}
