// SPDX-License-Identifier: GPL-2.0-only
/*
 * warm: touch as much memory as a timed run is going to need, and give it back.
 *
 *	warm SMALL HUGE	(MiB of either)
 *
 * On a virtual machine the first touch of memory that the host has not backed yet costs several times more than the copy
 * that is measured. Two processes do it, so that both cores work: one with pages of 4 KiB, as CRIU takes them, one with huge
 * pages, as the page store does: the kernel has lists for both, and what was warmed for one does not serve the other (measured: huge
 * pages after a warm-up with small ones 1.2-1.7 s per GiB, after one with huge ones 0.05).
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int touch(size_t len, int advice)
{
	volatile char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	madvise((void *)p, len, advice);
	for (size_t i = 0; i < len; i += 4096)
		p[i] = 1;
	return 0;
}

/*
 * Where free pages are reported to a hypervisor, it takes them away 2 s after the first of them was freed (mm/page_reporting.c), so what was
 * freed before must be over: else that comes in the middle of the timed run, and every second one took three times as long.
 */
static int hold(void)
{
	FILE *f = fopen("/sys/module/page_reporting/parameters/page_reporting_order", "re");
	long order = -1;

	if (f && fscanf(f, "%ld", &order) == 1 && order >= 0 && order < 32)
		usleep(2500000);
	if (f)
		fclose(f);
	return 0;
}

int main(int argc, char **argv)
{
	size_t small = argc == 3 ? strtoul(argv[1], NULL, 10) << 20 : 0,
	       huge = small ? strtoul(argv[2], NULL, 10) << 20 : 0;
	pid_t child;
	int status = 1;

	if (!small || !huge) {
		fprintf(stderr, "usage: warm MIB MIB\n");
		return 2;
	}
	child = fork();
	if (child < 0)
		return 1;
	if (!child)
		_exit(touch(huge, MADV_HUGEPAGE) || hold());
	/* Nobody may free before both have touched: the second would get the first one's pages. */
	if (touch(small, MADV_NOHUGEPAGE) || hold() || waitpid(child, &status, 0) < 0)
		return 1;
	return status != 0;
}
