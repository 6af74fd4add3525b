// SPDX-License-Identifier: GPL-2.0-only
/*
 * linkmeter: when bytes leave by a device of this network namespace.
 *
 *	linkmeter DEVICE MS
 *
 * A line "MICROSECONDS BYTES" (since 1970, sent so far) every MS milliseconds while the number
 * changes, and one for each edge of a pause, until it is killed. What waits in a queue of the
 * device has not left; a segment that is cut up behind the device counts with one header.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io.h"

static unsigned long long sent_by(int fd, const char *device)
{
	static char text[16384];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	size_t len = strlen(device);
	unsigned long long bytes;

	text[n > 0 ? n : 0] = '\0';
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += strspn(line, " \n");
		if (!strncmp(line, device, len) && line[len] == ':') {
			if (sscanf(line + len + 1, "%*s %*s %*s %*s %*s %*s %*s %*s %llu",
				   &bytes) == 1)
				return bytes;
			break;
		}
	}
	fprintf(stderr, "linkmeter: no device %s\n", device);
	exit(1);
}

static unsigned long long wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	int fd = open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC), held = 0;
	unsigned long long at = 0, before = 0, last = ~0ULL;
	struct timespec step = { 0 };

	if (argc != 3 || fd < 0) {
		fprintf(stderr, "usage: linkmeter DEVICE MS\n");
		return 2;
	}
	step.tv_sec = atol(argv[2]) / 1000;
	step.tv_nsec = atol(argv[2]) % 1000 * 1000000;
	for (;; nanosleep(&step, NULL), before = at) {
		unsigned long long bytes = sent_by(fd, argv[1]);
		int was_held = held;

		at = wall_us();
		held = bytes == last;
		if (held)
			continue;
		if (was_held)
			printf("%llu %llu\n", before, last);
		printf("%llu %llu\n", at, bytes);
		fflush(stdout);
		last = bytes;
	}
}
