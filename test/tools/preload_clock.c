// SPDX-License-Identifier: GPL-2.0-only
/*
 * LD_PRELOAD for criu dump: breaks an invariant of the sender, so that its worker ends by an
 * assertion.  As soon as the file that PRELOAD_CLOCK_BACK names exists, CLOCK_MONOTONIC runs 20
 * seconds late for the main thread of the one process of criu-multifd that finds and removes it; a
 * worker asserts that its phases follow one another in time.  The program has no switch for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BACK_S 20

int clock_gettime(clockid_t id, struct timespec *t)
{
	static int late;
	const char *file = getenv("PRELOAD_CLOCK_BACK");
	int ret = (int)syscall(SYS_clock_gettime, id, t);

	if (ret || !file || id != CLOCK_MONOTONIC || getpid() != gettid() ||
	    strcmp(program_invocation_short_name, "criu-multifd"))
		return ret;
	if (!late)
		late = !unlink(file);
	if (late)
		t->tv_sec -= BACK_S;
	return 0;
}
