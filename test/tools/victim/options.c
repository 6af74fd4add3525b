// SPDX-License-Identifier: GPL-2.0-only
/* The command line. */
#include <getopt.h>
#include <stdlib.h>

#include "victim.h"

#define GAP_MIN_US 20000 /* unless --gap says something else */

struct options opt = { .size_mb = 16,
		       .seed = 1,
		       .depth = 1,
		       .tick_us = 1000,
		       .gap_us = GAP_MIN_US,
		       .actions = "fork,remap,remove,unmap" };

static void __attribute__((noreturn)) usage(int ret)
{
	size_t i;

	fprintf(ret ? stderr : stdout,
		"usage: victim [options] DIR\n"
		"  --size MB          private memory, filled as told by --fill (default 16; 0 = none)\n"
		"  --fill HOW         random (incompressible), zero, half (every other page zero), text (compressible)\n"
		"  --huge             transparent huge pages for --size\n"
		"  --map KIND[:MB]    one more mapping, repeatable; KIND = all for each of:\n                    ");
	for (i = 0; i < nr_kinds; i++)
		fprintf(ret ? stderr : stdout, " %s%s", kinds[i].name,
			i % 10 == 9 ? "\n                    " : "");
	fprintf(ret ? stderr : stdout,
		"\n"
		"  --tree N           fork N children that share the memory and rewrite a tenth of it each\n"
		"  --depth D          each child forks N again, D levels (default 1)\n"
		"  --zombie           keep a dead child\n"
		"  --threads N        N more threads in each process, with data on their stacks\n"
		"  --dirty[=MB[:MBPS]]  keep writing MB (default 16) at MBPS (default 100)\n"
		"  --tick MS          look for gaps and commands every MS ms (default 1; fractions allowed)\n"
		"  --gap MS           the shortest gap that is told (default 20)\n"
		"  --on-restore LIST  what SIGUSR2 does: fork, remap, remove, unmap, verify (default: the first four)\n"
		"  --seed N           other content\n"
		"  --keep-stdio       do not point descriptors 0, 1 and 2 to /dev/null\n"
		"SIGUSR1 or DIR/cmd-verify verifies all memory of all processes, SIGUSR2 or DIR/cmd-actions (which may\n"
		"hold a LIST) runs the actions, SIGTERM or DIR/cmd-exit ends, DIR/cmd-ping answers.\n"
		"All answers go to DIR/victim.log\n");
	exit(ret);
}

static void add_map(char *arg)
{
	char *mb = strchr(arg, ':');
	const struct kind *kind;
	size_t pages = 0, i;

	if (mb) {
		*mb++ = 0;
		pages = strtoul(mb, NULL, 10) * MB_PAGES;
		if (!pages)
			usage(1);
	}
	for (i = 0; i < nr_kinds; i++) {
		kind = &kinds[i];
		if (strcmp(arg, "all") && strcmp(arg, kind->name))
			continue;
		if (opt.nr_maps == MAX_MAPS) {
			fprintf(stderr, "victim: too many --map\n");
			exit(1);
		}
		if (!strcmp(kind->name, "stack")) {
			opt.stack_pages = pages ? pages : kind->pages;
			if (opt.stack_pages > 6 * MB_PAGES) {
				fprintf(stderr, "victim: --map stack is limited to 6 MB\n");
				exit(1);
			}
		}
		opt.maps[opt.nr_maps].kind = kind->name;
		opt.maps[opt.nr_maps++].pages = pages;
		if (strcmp(arg, "all"))
			return;
	}
	if (strcmp(arg, "all")) {
		fprintf(stderr, "victim: no mapping kind is called %s\n", arg);
		exit(1);
	}
}

static void set_dirty(const char *arg)
{
	unsigned long mbps = 100;
	const char *rate = arg ? strchr(arg, ':') : NULL;

	opt.dirty_mb = arg ? strtoul(arg, NULL, 10) : 16;
	if (rate)
		mbps = strtoul(rate + 1, NULL, 10);
	dirty.per_ms = mbps * MB_PAGES / 1000;
	if (!dirty.per_ms)
		dirty.per_ms = 1;
	if (!opt.dirty_mb)
		usage(1);
}

static void set_fill(const char *arg)
{
	static const char *const names[] = { "random", "zero", "half", "text" };
	size_t i;

	for (i = 0; i < 4; i++) {
		if (!strcmp(arg, names[i])) {
			opt.fill = i;
			return;
		}
	}
	usage(1);
}

void options_parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "size", required_argument, NULL, 's' },
		{ "fill", required_argument, NULL, 'f' },
		{ "huge", no_argument, NULL, 'H' },
		{ "map", required_argument, NULL, 'm' },
		{ "tree", required_argument, NULL, 't' },
		{ "depth", required_argument, NULL, 'd' },
		{ "zombie", no_argument, NULL, 'z' },
		{ "threads", required_argument, NULL, 'T' },
		{ "dirty", optional_argument, NULL, 'D' },
		{ "tick", required_argument, NULL, 'k' },
		{ "gap", required_argument, NULL, 'g' },
		{ "on-restore", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 'S' },
		{ "keep-stdio", no_argument, NULL, 'K' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, level, width;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			opt.size_mb = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			set_fill(optarg);
			break;
		case 'H':
			opt.huge = true;
			break;
		case 'm':
			add_map(optarg);
			break;
		case 't':
			opt.tree = atoi(optarg);
			break;
		case 'd':
			opt.depth = atoi(optarg);
			break;
		case 'z':
			opt.zombie = true;
			break;
		case 'T':
			opt.threads = atoi(optarg);
			break;
		case 'D':
			set_dirty(optarg);
			break;
		case 'k':
			opt.tick_us = atof(optarg) * 1000;
			break;
		case 'g':
			opt.gap_us = atof(optarg) * 1000;
			break;
		case 'r':
			opt.actions = optarg;
			break;
		case 'S':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'K':
			opt.keep_stdio = true;
			break;
		case 'h':
			usage(0);
		default:
			usage(1);
		}
	}
	if (optind != argc - 1 || opt.tree < 0 || opt.depth < 1 || opt.tick_us < 1 ||
	    opt.threads < 0 || opt.threads > MAX_THREADS)
		usage(1);
	for (level = 0, width = 1; opt.tree && level < opt.depth && procs <= MAX_PROCS; level++) {
		width *= opt.tree;
		procs += width;
	}
	if (procs > MAX_PROCS) {
		fprintf(stderr, "victim: at most %d processes\n", MAX_PROCS);
		exit(1);
	}
}
