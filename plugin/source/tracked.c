// SPDX-License-Identifier: GPL-2.0-only
/* The table of tracked processes. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "procfile.h"
#include "tracked.h"
#include "walk.h"
#include "wire.h"

struct mfd_tracked_task *mfd_tracked_find(const struct mfd_tracked *t, pid_t pid)
{
	uint64_t start = mfd_procfile_start_time(pid);

	for (unsigned i = 0; i < t->n; i++)
		if (t->task[i]->track.pid == pid && t->task[i]->track.start_time == start)
			return t->task[i];
	return NULL;
}

static int make_room(struct mfd_tracked *t)
{
	unsigned room = t->room ? 2 * t->room : 16;
	struct mfd_tracked_task **more;

	if (t->n < t->room)
		return 0;
	more = reallocarray(t->task, room, sizeof(struct mfd_tracked_task *));
	if (!more)
		return -ENOMEM;
	t->task = more;
	t->room = room;
	return 0;
}

static struct mfd_tracked_task *make(pid_t pid)
{
	struct mfd_tracked_task *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	*k = (struct mfd_tracked_task){ .track = { .pid = pid,
						   .fd = -1,
						   .start_time = mfd_procfile_start_time(pid),
						   .why = "it did not live for a round" },
					.reader = { .mem_fd = -1, .pagemap_fd = -1 },
					.vpid = mfd_procfile_inner_pid(pid),
					.sent = mfd_pagetable_new() };
	if (k->sent)
		return k;
	free(k);
	return NULL;
}

static int add(struct mfd_tracked *t, pid_t pid, struct mfd_tracked_task **out)
{
	int ret = make_room(t);

	if (ret)
		return ret;
	*out = make(pid);
	if (!*out)
		return -ENOMEM;
	t->task[t->n++] = *out;
	return 0;
}

/* In how many pid namespaces it is. */
static unsigned levels(pid_t pid)
{
	const char *at = NULL;
	char *text = NULL;
	unsigned n = 0;

	if (!mfd_procfile_status(pid, &text))
		at = strstr(text, "\nNSpid:");
	for (at = at ? at + 1 : NULL; at && *at && *at != '\n'; at++)
		n += *at == '\t';
	free(text);
	return n;
}

/*
 * Pages are sent under the number of the innermost namespace: a child in one of its own may have
 * the number of another task, its parent's for one.
 */
static void attach(struct mfd_tracked_task *k, pid_t root)
{
	if (levels(k->track.pid) > levels(root))
		snprintf(k->track.why, sizeof(k->track.why), "it is in a pid namespace of its own");
	else
		mfd_track_attach(&k->track, k->track.pid);
}

/* The tree's first process is there to stay; others may be over in a moment. */
static int meet(struct mfd_tracked *t, pid_t pid, pid_t root, int first)
{
	struct mfd_tracked_task *k = mfd_tracked_find(t, pid);
	int ret = k ? 0 : add(t, pid, &k);

	if (ret)
		return ret;
	if ((first || k->met) && !k->tried) {
		k->tried = 1;
		attach(k, root);
	}
	k->met = 1;
	return 0;
}

int mfd_tracked_meet(struct mfd_tracked *t, pid_t root)
{
	struct mfd_walk_pids pids = { 0 };
	int first = t->n == 0, ret = mfd_walk_tree(root, &pids);

	mfd_assert(root > 0);
	for (size_t i = 0; i < pids.n && !ret; i++)
		ret = meet(t, pids.v[i], root, first);
	free(pids.v);
	return ret;
}

int mfd_tracked_has_sent(const struct mfd_tracked *t, uint32_t vpid)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->task[i]->vpid == vpid && t->task[i]->track.rounds)
			return 1;
	return 0;
}

int mfd_tracked_sent_by_another(const struct mfd_tracked *t, uint32_t vpid,
				const struct mfd_pagetable *own, uint64_t vaddr)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->task[i]->vpid == vpid && t->task[i]->sent != own &&
		    mfd_pagetable_get(t->task[i]->sent, vaddr / MFD_WIRE_PAGE_SIZE))
			return 1;
	return 0;
}

void mfd_tracked_end_round(struct mfd_tracked *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct mfd_tracked_task *k = t->task[i];

		if (atomic_exchange(&k->unread, 0) && k->track.fd >= 0)
			mfd_track_give_up(&k->track, -EIO, "reading its memory");
	}
}

void mfd_tracked_count(const struct mfd_tracked *t, unsigned *tracked, unsigned *untracked)
{
	*tracked = *untracked = 0;
	for (unsigned i = 0; i < t->n; i++) {
		const struct mfd_track *k = &t->task[i]->track;

		if (mfd_procfile_start_time(k->pid) == k->start_time)
			++*(k->fd >= 0 ? tracked : untracked);
	}
}

void mfd_tracked_fini(struct mfd_tracked *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		mfd_track_detach(&t->task[i]->track);
		mfd_pageread_close(&t->task[i]->reader);
		mfd_pagetable_free(t->task[i]->sent);
		free(t->task[i]);
	}
	free(t->task);
	*t = (struct mfd_tracked){ 0 };
}
