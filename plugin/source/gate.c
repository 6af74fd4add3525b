// SPDX-License-Identifier: GPL-2.0-only
/* Seeing CRIU at its gate, and letting its dump succeed or fail. Theory in gate.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate.h"
#include "gate_end.h"
#include "io.h"
#include "pluginlink.h"
#include "procfile.h"

static int fetch_end(struct mfd_gate *g)
{
	if (g->end < 0 && g->pidfd >= 0)
		g->end = (int)syscall(SYS_pidfd_getfd, g->pidfd, MFD_LINK_GATE_SENDER, 0);
	if (g->end >= 0)
		return 0;
	return g->pidfd < 0 ? -ESRCH : -errno;
}

int mfd_gate_init(struct mfd_gate *g, pid_t criu, struct mfd_error *err)
{
	int ret;

	*g = (struct mfd_gate)MFD_GATE_NONE;
	g->criu = criu;
	g->pidfd = (int)syscall(SYS_pidfd_open, criu, 0);
	if (g->pidfd < 0)
		return mfd_error_sys(err, -errno, "CRIU's process %d", criu);
	ret = fetch_end(g);
	if (!ret)
		return 0;
	mfd_error_sys(err, ret, "the gate in CRIU's process %d", criu);
	mfd_gate_fini(g);
	return ret;
}

void mfd_gate_find(struct mfd_gate *g, pid_t criu, uint64_t start)
{
	*g = (struct mfd_gate)MFD_GATE_NONE;
	g->criu = criu;
	g->pidfd = (int)syscall(SYS_pidfd_open, criu, 0);
	if (mfd_procfile_start_time(criu) != start)
		mfd_io_close(&g->pidfd);
}

void mfd_gate_fini(struct mfd_gate *g)
{
	mfd_io_close(&g->pidfd);
	mfd_io_close(&g->end);
}

int mfd_gate_criu_ended(struct mfd_gate *g, int timeout_ms)
{
	struct pollfd p = { .fd = g->pidfd, .events = POLLIN };

	return g->pidfd < 0 || poll(&p, 1, timeout_ms) > 0;
}

int mfd_gate_left(struct mfd_gate *g, int timeout_ms)
{
	struct pollfd p[2] = { { g->pidfd, POLLIN, 0 }, { g->end, 0, 0 } };

	return g->pidfd < 0 || poll(p, 2, timeout_ms) > 0;
}

/* The descriptor of the recvfrom() that CRIU's main thread sleeps in, or -1. */
static int receiving_fd(pid_t criu)
{
	char path[40], text[128];
	long number;
	unsigned long arg;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/syscall", criu);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = 0;
	if (sscanf(text, "%ld %lx", &number, &arg) != 2) /* "running" */
		return -1;
	return number == SYS_recvfrom ? (int)arg : -1;
}

int mfd_gate_poll(struct mfd_gate *g, struct mfd_error *err)
{
	if (receiving_fd(g->criu) == MFD_LINK_GATE_CRIU)
		return 1;
	return mfd_gate_criu_ended(g, 0) ? mfd_error_set(err, -ESRCH, "CRIU has ended") : 0;
}

int mfd_gate_commit(struct mfd_gate *g, struct mfd_error *err)
{
	int ret = fetch_end(g);

	if (!ret)
		ret = mfd_gate_end_open(g->end);
	return ret ? mfd_error_sys(err, ret, "opening the gate") : 0;
}

int mfd_gate_abort(struct mfd_gate *g)
{
	int ret = fetch_end(g);

	return ret ? ret : mfd_gate_end_close(g->end);
}
