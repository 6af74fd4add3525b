// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "thp.h"

#define SETTINGS "/sys/kernel/mm/transparent_hugepage/"

static int first_line(const char *path, char *line, size_t len)
{
	FILE *f = fopen(path, "re");
	int there = f && fgets(line, (int)len, f);

	if (f)
		fclose(f);
	return there;
}

int mfd_thp_here(void)
{
	char line[128];

	return first_line(SETTINGS "hpage_pmd_size", line, sizeof(line)) &&
	       strtoull(line, NULL, 10) == MFD_THP_SIZE &&
	       first_line(SETTINGS "enabled", line, sizeof(line)) && !strstr(line, "[never]");
}

/*
 * "start-end rw?p offset 00:00 0": fills a, in whole huge pages; 0: it is something else, or too
 * small.
 */
static int parse_mapping(const char *line, struct mfd_thp_area *a)
{
	unsigned long long start, end, inode;
	unsigned major, minor;
	char flags[5];

	if (sscanf(line, "%llx-%llx %4s %*x %x:%x %llu", &start, &end, flags, &major, &minor,
		   &inode) != 6 ||
	    strncmp(flags, "rw", 2) || flags[3] != 'p' || major || minor || inode)
		return 0;
	a->start = (start + MFD_THP_SIZE - 1) & ~(MFD_THP_SIZE - 1);
	a->end = end & ~(MFD_THP_SIZE - 1);
	return a->start < a->end;
}

static int add(struct mfd_thp_areas *out, size_t *room, const struct mfd_thp_area *a)
{
	if (out->n == *room) {
		size_t more = *room ? *room * 2 : 16;
		struct mfd_thp_area *v = reallocarray(out->v, more, sizeof(*v));

		if (!v)
			return -ENOMEM;
		out->v = v;
		*room = more;
	}
	out->v[out->n++] = *a;
	return 0;
}

/* VmFlags is the last line of a mapping: lo locked, ht hugetlb, dp droppable, ss shadow stack. */
static int parse(FILE *f, struct mfd_thp_areas *out)
{
	struct mfd_thp_area a = { 0 };
	char *line = NULL;
	size_t len = 0, room = 0;
	int mine = 0, eligible = 0, ret = 0;

	while (!ret && getline(&line, &len, f) > 0) {
		if (!strncmp(line, "THPeligible:", 12)) {
			eligible = strtoul(line + 12, NULL, 10) > 0;
		} else if (!strncmp(line, "VmFlags:", 8)) {
			if (mine && eligible && !strstr(line, " lo") && !strstr(line, " ht") &&
			    !strstr(line, " dp") && !strstr(line, " ss"))
				ret = add(out, &room, &a);
			mine = eligible = 0;
		} else if (line[0] < 'A' || line[0] > 'Z') {
			mine = parse_mapping(line, &a);
		}
	}
	free(line);
	return ret;
}

int mfd_thp_areas(pid_t pid, struct mfd_thp_areas *out)
{
	char path[64];
	FILE *f;
	int ret;

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	ret = parse(f, out);
	fclose(f);
	if (ret)
		mfd_thp_free(out);
	return ret;
}

void mfd_thp_free(struct mfd_thp_areas *areas)
{
	free(areas->v);
	memset(areas, 0, sizeof(*areas));
}
