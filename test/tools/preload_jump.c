// SPDX-License-Identifier: GPL-2.0-only
/*
 * LD_PRELOAD for criu-multifd and CRIU: a clock of the day that jumps.  The file that PRELOAD_JUMP
 * names holds seconds, a 64-bit number; they are added to CLOCK_REALTIME from the moment on at
 * which they are written there.  Only the clock that an administrator may set is touched.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t jump(void)
{
	static _Atomic(const volatile int64_t *) seconds;
	static const int64_t none;
	const char *file;
	void *map;
	int fd;

	if (seconds)
		return *seconds;
	file = getenv("PRELOAD_JUMP");
	fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(none), PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	seconds = map == MAP_FAILED ? &none : map;
	return *seconds;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int ret = (int)syscall(SYS_clock_gettime, id, t);

	if (!ret && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += jump();
	return ret;
}

time_t time(time_t *t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (t)
		*t = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}
