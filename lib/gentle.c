// SPDX-License-Identifier: GPL-2.0-only
/* Threads that give way. On Linux a nice value is a thread's own. */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gentle.h"

#define BEHIND 19
#define ASIDE  10
#define AHEAD  10 /* of where it was */

static int set(int nice)
{
	return setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}

/*
 * One step away and back tells whether there is a way back, and costs next to nothing where there
 * is none.
 */
static void look(struct mfd_gentle *g)
{
	g->known = 1;
	g->base = getpriority(PRIO_PROCESS, (id_t)gettid());
	g->refused = g->base >= BEHIND || set(g->base + 1) || set(g->base);
}

static int nice_of(const struct mfd_gentle *g, enum mfd_gentle_degree gentle)
{
	if (gentle == MFD_GENTLE_NOT)
		return g->base;
	if (gentle == MFD_GENTLE_ASIDE && g->base + ASIDE < BEHIND)
		return g->base + ASIDE;
	return BEHIND;
}

void mfd_gentle_be(struct mfd_gentle *g, enum mfd_gentle_degree gentle)
{
	if (gentle == g->is)
		return;
	if (!g->known)
		look(g);
	g->is = gentle;
	if (!g->refused)
		set(nice_of(g, gentle));
}

void mfd_gentle_first(void)
{
	set(getpriority(PRIO_PROCESS, (id_t)gettid()) - AHEAD);
}

void mfd_gentle_session(int gentle)
{
	int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, gentle ? "19" : "0", gentle ? 2 : 1);
	close(fd);
}
