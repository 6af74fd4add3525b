// SPDX-License-Identifier: GPL-2.0-only
/* An item of a drain, one process tree: its name, its group, and that of its session. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "drain.h"
#include "io.h"
#include "procfile.h"
#include "text.h"

#define SESSION 64 /* bytes of a session's name that are a host's, and a process's */

static int is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

void mfd_drain_item_session(char *to, size_t len, const char *prefix, const char *name, pid_t pid)
{
	snprintf(to, len, "%.*s.%.*s.%d", SESSION, prefix, SESSION, name, pid);
	for (char *p = to; *p; p++)
		if (!is_plain(*p))
			*p = '-';
	if (*to == '.' || *to == '-')
		*to = '_';
}

static void read_name(struct mfd_drain_item *it)
{
	char path[48], *text = NULL, group[MFD_CGROUP_PATH];

	snprintf(path, sizeof(path), "/proc/%d/comm", it->pid);
	if (!mfd_io_read_file(AT_FDCWD, path, 64, &text, NULL))
		snprintf(it->name, sizeof(it->name), "%.*s", (int)strcspn(text, "\n"), text);
	free(text);
	mfd_image_text_clean(it->name);
	if (!mfd_cgroup_of(it->pid, it->pid, group))
		snprintf(it->group, sizeof(it->group), "%.127s", strrchr(group, '/') + 1);
	mfd_image_text_clean(it->group);
}

struct mfd_drain_item *mfd_drain_item_add(struct mfd_drain *d, pid_t pid)
{
	struct mfd_drain_item *it;

	if (d->n == d->room) {
		size_t room = d->room ? d->room * 2 : 16;
		struct mfd_drain_item *more = realloc(d->items, room * sizeof(*more));

		if (!more)
			return NULL;
		d->items = more;
		d->room = room;
	}
	it = &d->items[d->n++];
	*it = (struct mfd_drain_item){ .pid = pid,
				       .start = mfd_procfile_start_time(pid),
				       .target = -1,
				       .events = -1,
				       .pause_ms = -1 };
	read_name(it);
	mfd_drain_item_session(it->session, sizeof(it->session), d->session, it->name, pid);
	return it;
}
