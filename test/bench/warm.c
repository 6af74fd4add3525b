// SPDX-License-Identifier: GPL-2.0-only
/*
 * warm: touch as much memory as a timed run is going to need, and give it back.
 *
 *	warm [--hold] SMALL HUGE	(MiB of either)
 *
 * On a virtual machine the first touch of memory that the host has not backed yet costs several
 * times more than the copy that is measured. Two processes do it, so that both cores work: one with
 * pages of 4 KiB, as CRIU takes them, one with huge pages, as the page store does: the kernel has
 * lists for both, and what was warmed for one does not serve the other (measured: huge pages after
 * a warm-up with small ones 1.2-1.7 s per GiB, after one with huge ones 0.05).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUND_MS 2500 /* and a little more */
#define QUIET_MS 250
#define LOOK_MS	 5

static int touch(size_t len, int advice)
{
	volatile char *p =
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	madvise((void *)p, len, advice);
	for (size_t i = 0; i < len; i += 4096)
		p[i] = 1;
	return 0;
}

#define REPORTING "/sys/module/page_reporting/parameters/"

/* -1: there is no such thing. */
static long long parameter(const char *path)
{
	FILE *f = fopen(path, "re");
	long long value = -1;

	if (f && fscanf(f, "%lld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

/* Until the counter `path` has changed (1), or has not for so long. */
static int changes(const char *path, int ms)
{
	long long before = parameter(path);

	for (; ms > 0; ms -= LOOK_MS) {
		usleep(LOOK_MS * 1000);
		if (parameter(path) != before)
			return 1;
	}
	return 0;
}

/*
 * --hold, where free pages are reported to a hypervisor: it takes them away in rounds of 2 s, of
 * each a part, as long as there are any new ones (mm/page_reporting.c), and those that were freed
 * last go first: a round in the middle of a run takes what was warmed for it, and such runs took up
 * to three times as long.  So the memory is given back just after a round, which leaves the run 1.7
 * s or, if there was none for a while, 2 s.  Not every kernel counts its rounds.
 */
static int hold(int wanted)
{
	if (!wanted)
		return 0;
	if (parameter(REPORTING "passes") < 0)
		usleep(ROUND_MS * 1000);
	else if (changes(REPORTING "passes", ROUND_MS))
		while (changes(REPORTING "reported_kib", QUIET_MS))
			;
	return 0;
}

int main(int argc, char **argv)
{
	int wanted = argc == 4 && !strcmp(argv[1], "--hold");
	size_t small = argc == 3 + wanted ? strtoul(argv[1 + wanted], NULL, 10) << 20 : 0,
	       huge = small ? strtoul(argv[2 + wanted], NULL, 10) << 20 : 0;
	int both[2], status = 1;
	pid_t child;
	char c;

	if (!small || !huge) {
		fprintf(stderr, "usage: warm [--hold] MIB MIB\n");
		return 2;
	}
	/* Neither may free before both have touched: the second would get the first one's pages. */
	if (pipe(both))
		return 1;
	child = fork();
	if (child < 0)
		return 1;
	if (!child) {
		close(both[1]);
		_exit(touch(huge, MADV_HUGEPAGE) || read(both[0], &c, 1) < 0);
	}
	if (touch(small, MADV_NOHUGEPAGE) || hold(wanted))
		return 1;
	close(both[1]);
	return waitpid(child, &status, 0) < 0 || status;
}
