// SPDX-License-Identifier: GPL-2.0-only
/* What sessions take of the server's memory; the theory is in memory.h. */
#include <errno.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "memory_server.h"
#include "promise.h"
#include "session.h"
#include "share.h"
#include "size.h"

#define TELL_MS	     1000
#define HOLD_BACK_MS 20
#define DIRECT_US    200
#define DIRECT_TRIES 2500
#define FILE_ROUND   4096ULL

/* ---- how much is promised ---- */

static struct mfd_promise promise_of(struct mfd_session *s)
{
	struct mfd_promise p = mfd_promise_for(s->server, &s->limits, s->plan,
					       atomic_load(&s->memory.room_ok),
					       atomic_load(&s->memory.need));

	/* A session that was reloaded has more that is not for packets. */
	p.least += s->memory.base - p.base;
	p.want += s->memory.base - p.base;
	p.base = s->memory.base;
	return p;
}

static int elastic(struct mfd_session *s)
{
	return s->plan->postcopy && !s->limits.precopy && atomic_load(&s->memory.room_ok) &&
	       s->server->store_in_memory;
}

/*
 * Several threads may come from the budget with different answers: the largest is the latest, as
 * promises rise while packets come.
 */
static void update_granted(struct mfd_session *s)
{
	uint64_t promised = mfd_budget_promised(&s->server->budget, &s->memory.claim);
	uint64_t now = promised > s->memory.base ? promised - s->memory.base : 0;
	uint64_t old = atomic_load(&s->memory.granted);

	mfd_assert(s->plan);
	mfd_assert(s->memory.counted);
	while (old < now && !atomic_compare_exchange_weak(&s->memory.granted, &old, now))
		;
}

/* Its owner's limit (mfd_share_memory) is what is too small. */
static int is_own_limit(const struct mfd_session *s, uint64_t least)
{
	struct mfd_budget_figures f;

	mfd_budget_look(&s->server->budget, NULL, &f);
	return s->memory.most && least <= f.free;
}

static int say_own_limit(const struct mfd_owner *o, const char *name, uint64_t least, uint64_t most,
			 struct mfd_error *err)
{
	char need[MFD_SIZE_TEXT], limit[MFD_SIZE_TEXT];

	return mfd_error_set(
		err, -EDQUOT,
		"session %.80s needs %s of memory on the restore server, and %s may have %s for all "
		"its sessions: its operator can raise 'max-memory' in %.100s there",
		name, mfd_size_text(least, need), mfd_owner_text(o), mfd_size_text(most, limit),
		o->rights ? mfd_rights_path(o->rights) : MFD_RIGHTS_FILE);
}

static int fail_short(struct mfd_session *s, uint64_t least)
{
	struct mfd_error err = { 0 };

	if (is_own_limit(s, least))
		say_own_limit(&s->owner, s->name, least, s->memory.most, &err);
	else if (least > s->server->max_memory)
		mfd_promise_too_much(s->server, s->name, least, &err);
	else
		mfd_promise_not_now(s->server, s->name, least, &err);
	return mfd_session_fail(s, err.code, "%s", mfd_error_text(&err));
}

/* The session's thread, or the only thread that has the session. */
static uint64_t used_now(struct mfd_session *s)
{
	uint64_t store = 0, journal = 0, bytes = 0;
	unsigned i;

	for (i = 0; i <= MFD_SESSION_URGENT; i++) {
		const struct mfd_totals *past = &s->figures.past[i];
		const struct mfd_counts *n = &s->link.channels[i].n;

		bytes += past->file_bytes + mfd_counter_get(&n->file_bytes);
	}
	if (s->store)
		mfd_pagestore_memory(s->store, &store, &journal);
	if (!s->server->dir_in_memory)
		bytes = 0;
	else
		bytes += mfd_filesink_files(&s->files) * FILE_ROUND;
	return store + journal + bytes + mfd_tables_bytes(&s->tables) +
	       (atomic_load(&s->sealed) ?
			0 :
			mfd_promise_base(&s->limits, s->plan->follow) - MFD_PROMISE_BLOCK);
}

/* ---- coming in ---- */

int mfd_memory_check(struct mfd_server *sv, const struct mfd_owner *o,
		     const struct mfd_wire_limits *lim, const Mfd__Hello *h, struct mfd_error *err)
{
	struct mfd_promise p = mfd_promise_for(sv, lim,
					       mfd_plan_granted(h, mfd_server_restores_early(sv)),
					       h->has_wait_ms, h->memory);
	const uint64_t most = mfd_share_memory(sv, o);
	struct mfd_budget_figures f;

	if (!sv->max_memory)
		return 0;
	if (p.least > sv->max_memory)
		return mfd_promise_too_much(sv, h->session, p.least, err);
	if (most && p.least > most)
		return say_own_limit(o, h->session, p.least, most, err);
	mfd_budget_look(&sv->budget, NULL, &f);
	if (p.least > f.free)
		mfd_memory_server_sweep(sv);
	mfd_budget_look(&sv->budget, NULL, &f);
	return h->wait_ms || (p.least <= f.free && !f.waiting) ?
		       0 :
		       mfd_promise_not_now(sv, h->session, p.least, err);
}

static void own(struct mfd_session *s)
{
	mfd_assert(!s->memory.claim.in);
	mfd_assert(s->presence == MFD_PRESENCE_CLAIMED);
	s->memory.claim.owner = mfd_owner_text(&s->owner);
	s->memory.claim.most = s->memory.most;
}

int mfd_memory_enter(struct mfd_session *s, const Mfd__Hello *h, struct mfd_error *err)
{
	struct mfd_server *sv = s->server;
	struct mfd_promise p;
	int ret;

	mfd_assert(s->plan && s->phase == MFD_PHASE_NONE);
	mfd_assert(!s->memory.claim.in);
	s->memory.counted = sv->max_memory > 0;
	s->memory.most = mfd_share_memory(sv, &s->owner);
	if (!s->memory.counted)
		return 1;
	s->memory.base = mfd_promise_base(&s->limits, s->plan->follow);
	atomic_store(&s->memory.room_ok, h->has_wait_ms);
	atomic_store(&s->memory.need, h->memory);
	p = promise_of(s);
	own(s);
	ret = mfd_budget_enter(&sv->budget, &s->memory.claim, p.least, p.want);
	if (ret == 1)
		update_granted(s);
	else if (!ret && !h->wait_ms && is_own_limit(s, p.least))
		ret = say_own_limit(&s->owner, s->name, p.least, s->memory.most, err);
	else if (!ret && !h->wait_ms)
		ret = mfd_promise_not_now(sv, s->name, p.least, err);
	else if (ret)
		ret = mfd_promise_too_much(sv, s->name, p.least, err);
	if (ret < 0)
		mfd_budget_leave(&sv->budget, &s->memory.claim, 0);
	return ret;
}

void mfd_memory_adopt(struct mfd_session *s)
{
	mfd_assert(s->plan && s->phase != MFD_PHASE_NONE);
	mfd_assert(!atomic_load(&s->thread));
	s->memory.counted = s->server->max_memory > 0;
	if (!s->memory.counted)
		return;
	s->memory.base = used_now(s);
	atomic_store(&s->memory.need, s->lazy_pages << MFD_WIRE_PAGE_SHIFT);
	if (atomic_load(&s->restored))
		atomic_store(&s->memory.open, 1);
	if (!atomic_load(&s->sealed))
		s->memory.base += MFD_PROMISE_BLOCK;
	own(s);
	mfd_budget_finish(&s->server->budget, &s->memory.claim, s->memory.base);
}

uint64_t mfd_memory_limit(const struct mfd_session *s)
{
	uint64_t own = s->memory.most, all = s->memory.counted ? s->server->max_memory : 0;

	if (!all || all == MFD_MEMORY_COUNTED)
		return own;
	return own && own < all ? own : all;
}

static void tell_room(struct mfd_session *s)
{
	Mfd__Room m = MFD__ROOM__INIT;

	m.bytes = mfd_memory_room(s);
	mfd_session_send(s, MFD_WIRE_ROOM, &m.base);
}

/* Postcopy: a wider window, if there is more to be had by now. */
static void widen(struct mfd_session *s)
{
	uint64_t before = atomic_load(&s->memory.granted);

	mfd_budget_more(&s->server->budget, &s->memory.claim, promise_of(s).want);
	update_granted(s);
	if (atomic_load(&s->memory.granted) > before && atomic_load(&s->memory.room_ok))
		tell_room(s);
}

void mfd_memory_size(struct mfd_session *s, uint64_t bytes)
{
	struct mfd_budget *b = &s->server->budget;
	struct mfd_promise p;
	int ret;

	mfd_assert(s->plan);
	mfd_assert(s->server);
	if (!s->memory.counted || atomic_load(&s->sealed) || atomic_load(&s->memory.open))
		return;
	atomic_store(&s->memory.need, bytes);
	p = promise_of(s);
	ret = mfd_budget_change(b, &s->memory.claim, p.least, p.want);
	if (ret == -EALREADY && elastic(s)) {
		widen(s);
	} else if (ret == -EALREADY) {
		ret = mfd_budget_raise(b, &s->memory.claim, p.want);
		update_granted(s);
	}
	if (ret == -E2BIG || ret == -ENOSPC)
		fail_short(s, p.least);
}

uint64_t mfd_memory_room(struct mfd_session *s)
{
	uint64_t granted = atomic_load(&s->memory.granted),
		 not_for_pages = atomic_load(&s->memory.taken_before);

	if (!s->memory.counted || !elastic(s) || atomic_load(&s->memory.open) ||
	    atomic_load(&s->sealed))
		return UINT64_MAX;
	not_for_pages += MFD_PROMISE_URGENT;
	/* The reverse of content_of. */
	return granted > not_for_pages ?
		       (granted - not_for_pages) / 65 * 64 & ~(uint64_t)(MFD_WIRE_PAGE_SIZE - 1) :
		       0;
}

/* ---- receivers ---- */

uint64_t mfd_memory_cost_pages(const struct mfd_session *s, uint64_t raw, uint64_t table,
			       uint32_t runs)
{
	return (s->server->store_in_memory ? raw : 0) + table +
	       (s->server->dir_in_memory ? runs * sizeof(struct mfd_pagestore_record) : 0);
}

uint64_t mfd_memory_cost_file(const struct mfd_session *s, uint64_t bytes)
{
	/* Also of a file on a disk: its name, and which pieces of it have come. */
	return (s->server->dir_in_memory ? (bytes + FILE_ROUND - 1) / FILE_ROUND * FILE_ROUND : 0) +
	       FILE_ROUND / 4;
}

/*
 * Nothing is read from this connection until pages need no store, or there is room; a connection
 * that has ended is noticed.
 */
static int hold_back(struct mfd_session *s, struct mfd_conn *c, uint32_t task, uint64_t now)
{
	struct mfd_pager *pager;

	for (;;) {
		pager = atomic_load_explicit(&s->pager, memory_order_acquire);
		if (pager && mfd_pager_direct(pager, task))
			return 1;
		if (now + MFD_PROMISE_URGENT <= atomic_load(&s->memory.granted))
			return 0;
		if (mfd_conn_gone(c, HOLD_BACK_MS) > 0)
			return -ECONNRESET;
	}
}

int mfd_memory_take(struct mfd_session *s, struct mfd_conn *c, uint32_t task, uint64_t bytes,
		    enum mfd_memory_what what)
{
	uint64_t now, keep = s->plan->postcopy && what == MFD_MEMORY_PAGES ? MFD_PROMISE_URGENT : 0;
	int ret;

	mfd_assert(s->plan);
	mfd_assert(what <= MFD_MEMORY_URGENT);
	if (!s->memory.counted)
		return 0;
	now = atomic_fetch_add(&s->memory.taken, bytes) + bytes;
	if (now + keep <= atomic_load(&s->memory.granted) || what == MFD_MEMORY_URGENT)
		return 0;
	/* Once there is a pager the images are in: what stands behind these pages can wait. */
	if (keep && (elastic(s) || atomic_load(&s->pager))) {
		ret = hold_back(s, c, task, now);
		if (ret)
			atomic_fetch_sub(&s->memory.taken, bytes);
		return ret;
	}
	if (mfd_budget_raise(&s->server->budget, &s->memory.claim, s->memory.base + keep + now))
		return fail_short(s, s->memory.base + keep + now);
	update_granted(s);
	return 0;
}

void mfd_memory_give(struct mfd_session *s, uint64_t bytes)
{
	mfd_assert(s->plan);
	mfd_assert(!s->memory.counted || atomic_load(&s->memory.taken) >= bytes);
	if (s->memory.counted)
		atomic_fetch_sub(&s->memory.taken, bytes);
}

/* ---- the session's thread ---- */

static void tell_queued(struct mfd_session *s)
{
	Mfd__Queued m = MFD__QUEUED__INIT;
	struct mfd_budget_figures f;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->phase == MFD_PHASE_QUEUED);
	s->memory.told_ms = mfd_io_now_ms();
	mfd_budget_look(&s->server->budget, &s->memory.claim, &f);
	m.need = promise_of(s).least;
	m.free = f.room;
	m.limit = mfd_memory_limit(s);
	m.has_ahead = 1;
	m.ahead = f.ahead;
	mfd_session_send(s, MFD_WIRE_QUEUED, &m.base);
}

/* No other session has anything that could be given back: this one would wait for ever. */
static int is_hopeless(struct mfd_session *s)
{
	struct mfd_budget_figures f;

	mfd_budget_look(&s->server->budget, &s->memory.claim, &f);
	return !f.ahead && f.promised == f.left;
}

int mfd_memory_admitted(struct mfd_session *s)
{
	struct mfd_budget *b = &s->server->budget;

	if (!mfd_budget_admit(b, &s->memory.claim)) {
		int swept = mfd_memory_server_sweep(s->server),
		    admitted = mfd_budget_admit(b, &s->memory.claim);

		if (!admitted && swept && is_hopeless(s))
			fail_short(s, promise_of(s).least);
		else if (!admitted && mfd_io_now_ms() - s->memory.told_ms >= TELL_MS)
			tell_queued(s);
		if (!admitted)
			return 0;
	}
	update_granted(s);
	return 1;
}

void mfd_memory_tick(struct mfd_session *s)
{
	uint64_t used;

	if (!s->memory.counted || s->phase == MFD_PHASE_QUEUED)
		return;
	used = used_now(s);
	if (atomic_load(&s->sealed) || atomic_load(&s->memory.open))
		mfd_budget_finish(&s->server->budget, &s->memory.claim, used);
	else
		mfd_budget_note(&s->server->budget, &s->memory.claim, used);
	if (elastic(s) && !atomic_load(&s->sealed) && !atomic_load(&s->memory.open))
		widen(s);
}

int mfd_memory_may_open(const struct mfd_session *s)
{
	return s->memory.counted && s->plan->postcopy && atomic_load(&s->restored) &&
	       !atomic_load(&s->memory.open);
}

/*
 * The pager says that it has finished a moment before it takes pages: until then they would want
 * the store.
 */
static void await_direct(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_acquire);
	unsigned i;

	for (i = 0; p && i < DIRECT_TRIES && !mfd_pager_direct(p, 0); i++)
		usleep(DIRECT_US);
}

void mfd_memory_open(struct mfd_session *s)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->plan->postcopy && atomic_load(&s->restored));
	await_direct(s);
	atomic_store(&s->memory.open, 1);
	if (atomic_load(&s->memory.room_ok) && !atomic_load(&s->sealed))
		tell_room(s);
}

void mfd_memory_resumed(struct mfd_session *s)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->plan->postcopy);
	atomic_store(&s->memory.taken_before, atomic_load(&s->memory.taken));
}

static int is_held_back(struct mfd_session *s)
{
	uint64_t room = mfd_memory_room(s), need = atomic_load(&s->memory.need), came;
	struct mfd_totals t;

	if (room == UINT64_MAX || (need && need <= room))
		return 0;
	mfd_session_totals(s, &t);
	came = (t.pages + t.zero_pages) << MFD_WIRE_PAGE_SHIFT;
	return came + s->limits.packet_size > room;
}

void mfd_memory_entry(struct mfd_session *s, Mfd__SessionEntry *e)
{
	if (!s->memory.counted)
		return;
	e->has_memory_used = e->has_memory_promised = 1;
	e->memory_used = s->phase == MFD_PHASE_QUEUED ? 0 : used_now(s);
	e->memory_promised = mfd_budget_promised(&s->server->budget, &s->memory.claim);
	e->has_memory_need = atomic_load(&s->memory.need) > 0;
	e->memory_need = atomic_load(&s->memory.need);
	if (s->over)
		return;
	if (s->phase == MFD_PHASE_QUEUED)
		e->held = "queued";
	else if (is_held_back(s))
		e->held = "pages";
}

void mfd_memory_end(struct mfd_session *s)
{
	uint64_t left = 0;

	if (!s->memory.counted)
		return;
	if (s->over != MFD_OVER_ABORTED)
		left = mfd_memory_server_left(s->server, s->dirfd);
	mfd_budget_leave(&s->server->budget, &s->memory.claim, left);
}
