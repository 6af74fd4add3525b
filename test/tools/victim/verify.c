// SPDX-License-Identifier: GPL-2.0-only
/* Compares all memory of this process with what it must hold. */
#include <setjmp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "victim.h"

/* Set while a fault is an answer and not an accident. */
static __thread sigjmp_buf probe_env;
static __thread volatile sig_atomic_t probing;

void verify_on_fault(int sig, siginfo_t *si, void *context)
{
	(void)context;
	if (probing)
		siglongjmp(probe_env, sig);
	say("exit signal %d (%s) at %p pid=%d rank=%d", sig, sig == SIGBUS ? "SIGBUS" : "SIGSEGV",
	    si->si_addr, getpid(), rank);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* True when the byte cannot be read (or written, with the value it has). */
bool verify_faults(volatile uint8_t *p, bool writing)
{
	bool faulted = true;

	if (!sigsetjmp(probe_env, 1)) {
		probing = 1;
		if (writing)
			*p = *p;
		else
			(void)*p;
		faulted = false;
	}
	probing = 0;
	return faulted;
}

void verify_bad(struct result *res, const char *name, size_t page, size_t offset, const void *addr,
		const char *why)
{
	if (res->bad++ < MAX_LINES)
		say("verify BAD mapping=%s page=%zu offset=%zu addr=%p pid=%d rank=%d %s", name,
		    page, offset, addr, getpid(), rank, why);
}

static void verify_page(const struct region *r, size_t i, struct result *res)
{
	const uint8_t *p = r->addr + i * PAGE;
	enum fill fill = page_fill(r, i);
	uint64_t seed = page_seed(r, i);
	size_t from = r->code ? CODE_WORDS : 0;

	if (!page_equal(seed, fill, (const uint64_t *)p, from)) {
		size_t at = page_difference(seed, fill, p, from);
		const char *why = "content differs";

		if (at == PAGE)
			why = "changed while compared";
		else if (page_equal(0, FILL_ZERO, (const uint64_t *)p, 0))
			why = "page is zero";
		verify_bad(res, r->name, r->first + i, at, p + at, why);
	} else if (r->code && !page_code_right(seed, p)) {
		verify_bad(res, r->name, r->first + i, 0, p, "code differs");
	}
}

void verify_region(struct region *r, struct result *res)
{
	volatile size_t i = 0;
	int sig;

	if (r->prot == PROT_NONE) {
		if (!verify_faults(r->addr, false))
			verify_bad(res, r->name, 0, 0, r->addr, "PROT_NONE is readable");
		if (mprotect(r->addr, r->pages * PAGE, PROT_READ))
			verify_bad(res, r->name, 0, 0, r->addr, "cannot be made readable");
	} else if (!(r->prot & PROT_WRITE) && !r->mixed && !verify_faults(r->addr, true)) {
		verify_bad(res, r->name, 0, 0, r->addr, "read-only is writable");
	}
	sig = sigsetjmp(probe_env, 1);
	if (sig) {
		if (r->owner[i] != OWNER_NONE)
			verify_bad(res, r->name, r->first + i, 0, r->addr + i * PAGE,
				   sig == SIGBUS ? "SIGBUS" : "SIGSEGV");
		i = i + 1;
	}
	probing = 1;
	for (; i < r->pages; i = i + 1) {
		if (r->owner[i] == OWNER_UNUSED)
			continue;
		if (r->owner[i] != OWNER_NONE) {
			verify_page(r, i, res);
		} else {
			(void)*(volatile uint8_t *)(r->addr + i * PAGE);
			verify_bad(res, r->name, r->first + i, 0, r->addr + i * PAGE,
				   "must not be accessible");
		}
	}
	probing = 0;
	res->pages += r->pages;
	if (r->prot == PROT_NONE && mprotect(r->addr, r->pages * PAGE, PROT_NONE))
		verify_bad(res, r->name, 0, 0, r->addr, "cannot be made PROT_NONE");
}

/* Grow the stack below what was touched before; 16 KiB a frame. */
static bool __attribute__((noinline)) verify_stack_growth(int depth)
{
	uint64_t data[4][WORDS];
	bool ok = true;
	int i;

	for (i = 0; i < 4; i++)
		page_write(mix(depth * 4 + i), FILL_RANDOM, data[i]);
	if (depth > 1)
		ok = verify_stack_growth(depth - 1);
	for (i = 0; i < 4; i++)
		ok = ok && page_equal(mix(depth * 4 + i), FILL_RANDOM, data[i], 0);
	return ok;
}

struct result verify_all(void)
{
	uint64_t start = now_us(CLOCK_MONOTONIC);
	struct result res = { 0 };
	uint32_t k;

	if (table.sum != table_sum()) {
		verify_bad(&res, "table", 0, 0, &table, "the table of regions itself was damaged");
		return res;
	}
	for (k = 0; k < table.nr; k++)
		verify_region(&table.r[k], &res);
	threads_verify_dirty(&res);
	threads_verify(&res);
	if (!verify_stack_growth(32))
		verify_bad(&res, "stack-growth", 0, 0, &res, "content differs");
	if (!res.bad)
		say("verify OK pages=%lu us=%lu pid=%d rank=%d", res.pages,
		    now_us(CLOCK_MONOTONIC) - start, getpid(), rank);
	else if (res.bad > MAX_LINES)
		say("verify more BAD pages=%lu pid=%d rank=%d", res.bad - MAX_LINES, getpid(),
		    rank);
	return res;
}
