// SPDX-License-Identifier: GPL-2.0-only
/* The processes of the tree, and the mapping in which they talk. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "victim.h"

struct control *control;
int rank, procs = 1;
pid_t children[MAX_PROCS];
int nr_children;

/* About a tenth of the private pages, in runs of three, others than those of the neighbours. */
static void dirty_own_tenth(void)
{
	struct region *own;
	uint32_t k;
	size_t i;

	for (k = 0; k < table.nr; k++) {
		struct region *r = &table.r[k];

		if (r->shared || r->mixed || !(r->prot & PROT_WRITE))
			continue;
		for (i = 0; i < r->pages; i++)
			if ((i / 3 + rank) % 10 == 0 && r->owner[i] != OWNER_NONE &&
			    r->owner[i] != OWNER_UNUSED)
				region_set_owner(r, i, i + 1, rank, true);
	}
	/* Memory that no other process ever had. */
	own = region_private("own", 64);
	own->seed += rank * GOLDEN;
	region_fill(own);
	table_seal();
}

/* Children of process r are r * tree + 1 ... r * tree + tree. */
void tree_grow(int level)
{
	int i, me = rank;

	if (level >= opt.depth)
		return;
	for (i = 1; i <= opt.tree; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork: %s", strerror(errno));
		if (pid) {
			children[nr_children++] = pid;
			continue;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rank = me * opt.tree + i;
		nr_children = 0;
		dirty_own_tenth();
		tree_grow(level + 1);
		return;
	}
}

static void wait_ready(void)
{
	int i;

	for (i = 1; i < procs; i++) {
		/* pairs with tree_settle() */
		while (!__atomic_load_n(&control->slot[i].ready, __ATOMIC_ACQUIRE)) {
			if (waitpid(-1, NULL, WNOHANG) > 0)
				fail("a child died while the tree grew");
			nap(1000);
		}
	}
}

void tree_settle(void)
{
	struct slot *slot = &control->slot[rank];

	slot->pid = getpid();
	slot->dirty_count = dirty.count;
	threads_start();
	__atomic_store_n(&slot->ready, 1, __ATOMIC_RELEASE); /* pairs with wait_ready() */
	if (rank)
		return;
	wait_ready();
	if (opt.zombie && !fork())
		_exit(3);
	say("ready %d", getpid());
}
