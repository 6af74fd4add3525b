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

static void set_dirty(char *arg)
{
	unsigned long mbps = 100;
	char *rate = arg ? strchr(arg, ':') : NULL;

	opt.dirty_mb = arg ? strtoul(arg, NULL, 10) : 16;
	if (rate)
		mbps = strtoul(rate + 1, NULL, 10);
	dirty.per_ms = mbps * MB_PAGES / 1000;
	if (!dirty.per_ms)
		dirty.per_ms = 1;
	if (!opt.dirty_mb)
		usage(1);
}

static void set_fill(char *arg)
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

static void set_size(char *arg)
{
	opt.size_mb = strtoul(arg, NULL, 10);
}
static void set_huge(char *arg)
{
	opt.huge = !arg;
}
static void set_tree(char *arg)
{
	opt.tree = atoi(arg);
}
static void set_depth(char *arg)
{
	opt.depth = atoi(arg);
}
static void set_zombie(char *arg)
{
	opt.zombie = !arg;
}
static void set_threads(char *arg)
{
	opt.threads = atoi(arg);
}
static void set_tick(char *arg)
{
	opt.tick_us = atof(arg) * 1000;
}
static void set_gap(char *arg)
{
	opt.gap_us = atof(arg) * 1000;
}
static void set_actions(char *arg)
{
	opt.actions = arg;
}
static void set_seed(char *arg)
{
	opt.seed = strtoull(arg, NULL, 0);
}
static void set_keep_stdio(char *arg)
{
	opt.keep_stdio = !arg;
}

static void show_usage(char *arg)
{
	(void)arg;
	usage(0);
}

static const struct {
	const char *name;
	int has_arg;
	void (*set)(char *arg); /* NULL without an argument */
} rows[] = {
	{ "size", required_argument, set_size },   { "fill", required_argument, set_fill },
	{ "huge", no_argument, set_huge },	   { "map", required_argument, add_map },
	{ "tree", required_argument, set_tree },   { "depth", required_argument, set_depth },
	{ "zombie", no_argument, set_zombie },	   { "threads", required_argument, set_threads },
	{ "dirty", optional_argument, set_dirty }, { "tick", required_argument, set_tick },
	{ "gap", required_argument, set_gap },	   { "on-restore", required_argument, set_actions },
	{ "seed", required_argument, set_seed },   { "keep-stdio", no_argument, set_keep_stdio },
	{ "help", no_argument, show_usage },
};

#define NR_ROWS (sizeof(rows) / sizeof(*rows))

void options_parse(int argc, char **argv)
{
	struct option longs[NR_ROWS + 1] = { { 0 } };
	int c, row, level, width;

	for (size_t i = 0; i < NR_ROWS; i++) {
		longs[i].name = rows[i].name;
		longs[i].has_arg = rows[i].has_arg;
	}
	while ((c = getopt_long(argc, argv, "h", longs, &row)) != -1) {
		if (c)
			usage(c != 'h');
		rows[row].set(optarg);
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
