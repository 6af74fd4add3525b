// SPDX-License-Identifier: GPL-2.0-only
/* The host's setting of transparent huge pages, and the mappings that get them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"
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

struct list {
	struct mfd_thp_areas *out;
	size_t room;
};

static int add(struct list *l, const struct mfd_thp_area *a)
{
	struct mfd_thp_areas *out = l->out;

	if (out->n == l->room) {
		size_t more = l->room ? l->room * 2 : 16;
		struct mfd_thp_area *v = reallocarray(out->v, more, sizeof(*v));

		if (!v)
			return -ENOMEM;
		out->v = v;
		l->room = more;
	}
	out->v[out->n++] = *a;
	return 0;
}

static int add_if_eligible(const struct mfd_map *m, void *list)
{
	struct mfd_thp_area a = {
		.start = (m->start + MFD_THP_SIZE - 1) & ~(MFD_THP_SIZE - 1),
		.end = m->end & ~(MFD_THP_SIZE - 1),
	};

	if (!mfd_maps_is_private_anonymous(m) || !m->read || !m->write || !m->thp_eligible ||
	    m->locked || m->hugetlb || m->droppable || m->shadow_stack || a.start >= a.end)
		return 0;
	return add(list, &a);
}

int mfd_thp_areas(pid_t pid, struct mfd_thp_areas *out)
{
	struct list list = { .out = out };
	int ret;

	memset(out, 0, sizeof(*out));
	ret = mfd_maps_each(pid, MFD_SMAPS, add_if_eligible, &list);
	if (ret)
		mfd_thp_free(out);
	return ret;
}

void mfd_thp_free(struct mfd_thp_areas *areas)
{
	free(areas->v);
	memset(areas, 0, sizeof(*areas));
}
