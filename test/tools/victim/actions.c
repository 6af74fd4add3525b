// SPDX-License-Identifier: GPL-2.0-only
/* What a restored process does with its memory; each action says what each page must hold then. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "victim.h"

#define MAX_FORKED 16
static pid_t forked[MAX_FORKED];
static int nr_forked;

/* The largest piece of plain private memory, or -1. */
static int largest(void)
{
	int best = -1;
	uint32_t k;

	for (k = 0; k < table.nr; k++) {
		const struct region *r = &table.r[k];

		if (strcmp(r->name, "main") && strcmp(r->name, "plain"))
			continue;
		if (best < 0 || r->pages > table.r[best].pages)
			best = k;
	}
	return best >= 0 && table.r[best].pages >= 32 ? best : -1;
}

/* Not waited for: the child reads all memory while its parent goes on with the other actions. */
static int action_fork(struct result *res)
{
	pid_t pid;

	(void)res;
	if (nr_forked == MAX_FORKED)
		return -EAGAIN;
	pthread_mutex_lock(&dirty.lock);
	pid = fork();
	pthread_mutex_unlock(&dirty.lock);
	if (pid < 0)
		return -EAGAIN;
	if (pid) {
		forked[nr_forked++] = pid;
		return 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(!!verify_all().bad);
}

static int action_remap(struct result *res)
{
	int k = largest();
	struct region *r, *grown;
	uint32_t middle;
	uint8_t *to, *old;
	size_t n;

	if (k < 0)
		return -ENOMEM;
	n = table.r[k].pages / 3;
	middle = region_split(k, n);
	region_split(middle, n);
	r = &table.r[middle];
	old = r->addr;
	to = region_map(n + 16, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
	if (mremap(r->addr, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return -errno;
	r->addr = to;
	if (!verify_faults(old, false))
		verify_bad(res, r->name, r->first, 0, old, "still there after mremap");
	munmap(to + n * PAGE, 16 * PAGE);
	verify_region(r, res);
	if (mremap(to, n * PAGE, (n + 16) * PAGE, 0) != to)
		return -errno;
	grown = region_add("grown", to + n * PAGE, 16);
	region_set_owner(grown, 0, 16, OWNER_ZERO, false);
	verify_region(grown, res);
	return 0;
}

static int action_remove(struct result *res)
{
	int k = largest();
	size_t n, half;
	struct region *r, part;

	if (k < 0)
		return -ENOMEM;
	r = &table.r[k];
	n = r->pages / 4;
	half = n + n / 2;
	if (madvise(r->addr + n * PAGE, n * PAGE, MADV_DONTNEED))
		return -errno;
	region_set_owner(r, half, 2 * n, OWNER_AGAIN, true);
	region_set_owner(r, n, half, OWNER_ZERO, false);
	part = *r;
	part.addr += n * PAGE;
	part.owner += n;
	part.first += n;
	part.pages = n;
	verify_region(&part, res);
	return 0;
}

static int action_unmap(struct result *res)
{
	struct region *fresh;
	int k = largest();
	uint32_t hole;
	uint8_t *addr;
	size_t n;

	if (k < 0)
		return -ENOMEM;
	n = table.r[k].pages / 4;
	addr = table.r[k].addr + 2 * n * PAGE;
	hole = region_split(k, 2 * n);
	region_split(hole, n);
	region_drop(hole);
	if (munmap(addr, n * PAGE))
		return -errno;
	if (!verify_faults(addr, false) || !verify_faults(addr + (n - 1) * PAGE, false))
		verify_bad(res, "unmapped", 0, 0, addr, "still there after munmap");
	/* A new mapping in the same place has nothing to do with the old one. */
	if (mmap(addr, n / 2 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != addr)
		return -errno;
	fresh = region_add("fresh", addr, n / 2);
	region_set_owner(fresh, 0, n / 2, OWNER_ZERO, false);
	verify_region(fresh, res);
	region_set_owner(fresh, 0, n / 4, OWNER_AGAIN, true);
	verify_region(fresh, res);
	return 0;
}

static int action_verify(struct result *res)
{
	*res = verify_all();
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct result *res);
} actions[] = {
	{ "fork", action_fork },   { "remap", action_remap },	{ "remove", action_remove },
	{ "unmap", action_unmap }, { "verify", action_verify },
};

/* Return 0, or -errno; what was found wrong is added to `res`. */
static int run_one(const char *name, struct result *res)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (!strcmp(name, actions[i].name))
			return actions[i].run(res);
	return -ENOSYS;
}

static void reap_forked(struct result *total)
{
	int i, status;

	for (i = 0; i < nr_forked; i++) {
		if (waitpid(forked[i], &status, 0) != forked[i] || status) {
			say("verify BAD mapping=forked-child page=0 offset=0 pid=%d rank=%d status %#x",
			    forked[i], rank, status);
			total->bad++;
		}
	}
}

struct result actions_run(const char *list)
{
	char copy[128], *save = NULL, *name;
	struct result total = { 0 }, one;
	int err;

	if (table.sum != table_sum())
		return verify_all();
	nr_forked = 0;
	snprintf(copy, sizeof(copy), "%s", list);
	for (name = strtok_r(copy, ", \n", &save); name; name = strtok_r(NULL, ", \n", &save)) {
		uint64_t start = now_us(CLOCK_MONOTONIC);

		memset(&one, 0, sizeof(one));
		err = run_one(name, &one);
		table_seal();
		total.bad += one.bad + !!err;
		say("action %s %s us=%lu pid=%d rank=%d%s%s", name, one.bad || err ? "BAD" : "OK",
		    now_us(CLOCK_MONOTONIC) - start, getpid(), rank, err ? " " : "",
		    err ? strerror(-err) : "");
	}
	one = verify_all();
	total.pages = one.pages;
	total.bad += one.bad;
	reap_forked(&total);
	return total;
}
