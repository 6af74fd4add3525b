// SPDX-License-Identifier: GPL-2.0-only
/* What sessions take of the server's memory; the theory is in memory.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "size.h"

#define MIB	 (1ULL << 20)
#define RECEIVER (128ULL << 10) /* of a channel, beside its buffers: thread, tables */
#define BLOCK	 (2 * MIB)	/* the store grows by huge pages */
/* images of a small process; session, page tables' roots, journal */
#define SMALL	    MIB
#define URGENT_ROOM (8 * MIB) /* postcopy: answers to faults and images, beside the window */
/* postcopy: pages that may come before the restore, at least */
#define WINDOW	      (16 * MIB)
#define TELL_MS	      1000
#define SWEEP_MS      1000  /* between two looks at ended sessions, when memory is short */
#define SWEEP_IDLE_MS 30000 /* ... and when it is not */
#define HOLD_MS	      20
#define DIRECT_US     200
#define DIRECT_TRIES  2500
#define FILE_ROUND    4096ULL

/* ---- how much is promised ---- */

struct promise {
	uint64_t base, least, want;
};

static uint64_t base_of(const struct mfd_wire_limits *lim, int urgent)
{
	uint64_t packets = lim->compress ? 2 : 1;
	uint64_t channels = lim->channels + (urgent ? 1U : 0U);

	return channels * (packets * lim->packet_size + RECEIVER) + BLOCK;
}

/*
 * Pages, and for each 16 bytes of journal and tables on an average; a session whose pages lie all
 * apart takes twice that.
 */
static uint64_t content_of(const struct mfd_server *sv, uint64_t need)
{
	return (sv->store_in_memory ? need : 0) + need / 64 + SMALL;
}

static struct promise promise_for(const struct mfd_server *sv, const struct mfd_wire_limits *lim,
				  const struct mfd_plan *plan, int hold_ok, uint64_t need)
{
	struct promise p = { .base = base_of(lim, plan->follow) };
	uint64_t urgent = plan->postcopy ? URGENT_ROOM : 0;

	p.want = p.base + urgent + content_of(sv, need);
	p.least = p.want;
	if (plan->postcopy && hold_ok && sv->store_in_memory) {
		p.least = p.base + urgent + WINDOW;
		if (need && p.want < p.least)
			p.least = p.want;
		if (p.want < p.least)
			p.want = p.least;
	}
	return p;
}

static struct promise promise_of(struct mfd_session *s)
{
	struct promise p = promise_for(s->server, &s->limits, s->plan,
				       atomic_load(&s->memory.hold_ok),
				       atomic_load(&s->memory.need));

	/* A session that was reloaded has more that is not for packets. */
	p.least += s->memory.base - p.base;
	p.want += s->memory.base - p.base;
	p.base = s->memory.base;
	return p;
}

static int elastic(struct mfd_session *s)
{
	return s->plan->postcopy && atomic_load(&s->memory.hold_ok) && s->server->store_in_memory;
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

	while (old < now && !atomic_compare_exchange_weak(&s->memory.granted, &old, now))
		;
}

/* ---- sentences ---- */

static int say_too_much(struct mfd_server *sv, const char *name, uint64_t least,
			struct mfd_error *err)
{
	char need[MFD_SIZE_TEXT], limit[MFD_SIZE_TEXT];

	return mfd_error_set(
		err, -E2BIG,
		"session %.255s needs %s of memory here, more than the limit of %s for all sessions "
		"(criu-multifd serve --max-memory)",
		name, mfd_size_text(least, need), mfd_size_text(sv->max_memory, limit));
}

static int say_not_now(struct mfd_server *sv, const char *name, uint64_t least,
		       struct mfd_error *err)
{
	char need[MFD_SIZE_TEXT], room[MFD_SIZE_TEXT], limit[MFD_SIZE_TEXT], left[MFD_SIZE_TEXT];
	struct mfd_budget_figures f;

	mfd_budget_look(&sv->budget, NULL, &f);
	return mfd_error_set(
		err, -ENOSPC,
		"session %.255s needs %s of memory here, %s of the limit of %s are free (criu-multifd serve "
		"--max-memory; images of ended sessions hold %s)",
		name, mfd_size_text(least, need), mfd_size_text(f.free, room),
		mfd_size_text(sv->max_memory, limit), mfd_size_text(f.left, left));
}

static int fail_short(struct mfd_session *s, uint64_t least)
{
	struct mfd_error err = { 0 };

	if (least > s->server->max_memory)
		say_too_much(s->server, s->name, least, &err);
	else
		say_not_now(s->server, s->name, least, &err);
	return mfd_session_fail(s, err.code, "%s", mfd_error_text(&err));
}

/* ---- what lies about ---- */

static int is_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Memory that a session's folder takes when no thread serves it. */
static uint64_t folder_bytes(const struct mfd_server *sv, int dirfd)
{
	uint64_t sum = mfd_pagestore_left(dirfd);
	DIR *d = sv->dir_in_memory ?
			 fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) :
			 NULL;
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, "pages.store") &&
		    !fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	}
	if (d)
		closedir(d);
	return sum;
}

static int is_live(struct mfd_server *sv, const char *name)
{
	struct mfd_session *s = mfd_session_find(sv, name);

	mfd_session_put(s);
	return s != NULL;
}

/*
 * An operator removes folders of ended sessions, and new sessions of the same name do, without a
 * word to this server.  Nonzero: looked.
 */
static int sweep(struct mfd_server *sv)
{
	unsigned seen = mfd_budget_left_begin(&sv->budget);
	uint64_t sum = 0, now = mfd_io_now_ms(), then = atomic_load(&sv->swept_ms);
	int dirfd, fd = -1;
	struct dirent *e;
	DIR *d;

	if ((then && now - then < SWEEP_MS) ||
	    !atomic_compare_exchange_strong(&sv->swept_ms, &then, now))
		return 0;
	dirfd = openat(sv->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = dirfd < 0 ? NULL : fdopendir(dirfd);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || is_live(sv, e->d_name))
			continue;
		fd = openat(sv->dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		sum += folder_bytes(sv, fd);
		close(fd);
	}
	if (!d)
		return 0;
	closedir(d);
	mfd_budget_left_set(&sv->budget, seen, sum);
	return 1;
}

/* The session's thread, or the only thread that has the session. */
static uint64_t used_now(struct mfd_session *s)
{
	uint64_t store = 0, journal = 0, pages = 0, bytes = 0;
	unsigned i;

	for (i = 0; i <= MFD_SESSION_URGENT; i++) {
		const struct mfd_totals *past = &s->figures.past[i];
		const struct mfd_counts *n = &s->link.channels[i].n;

		pages += past->pages + mfd_counter_get(&n->pages);
		pages += past->zero_pages + mfd_counter_get(&n->zero_pages);
		bytes += past->file_bytes + mfd_counter_get(&n->file_bytes);
	}
	if (s->store)
		mfd_pagestore_memory(s->store, &store, &journal);
	if (!s->server->dir_in_memory)
		bytes = 0;
	else
		bytes += mfd_filesink_files(&s->files) * FILE_ROUND;
	return store + journal + bytes + pages * sizeof(uint64_t) +
	       (atomic_load(&s->sealed) ? 0 : base_of(&s->limits, s->plan->follow) - BLOCK);
}

/* ---- coming in ---- */

int mfd_memory_check(struct mfd_server *sv, const struct mfd_wire_limits *lim, const Mfd__Hello *h,
		     struct mfd_error *err)
{
	struct promise p = promise_for(sv, lim, mfd_plan_granted(h, mfd_server_restores_early(sv)),
				       h->has_wait_ms, h->memory);
	struct mfd_budget_figures f;

	if (!sv->max_memory)
		return 0;
	if (p.least > sv->max_memory)
		return say_too_much(sv, h->session, p.least, err);
	mfd_budget_look(&sv->budget, NULL, &f);
	if (p.least > f.free)
		sweep(sv);
	mfd_budget_look(&sv->budget, NULL, &f);
	return h->wait_ms || (p.least <= f.free && !f.waiting) ?
		       0 :
		       say_not_now(sv, h->session, p.least, err);
}

int mfd_memory_enter(struct mfd_session *s, const Mfd__Hello *h, struct mfd_error *err)
{
	struct mfd_server *sv = s->server;
	struct promise p;
	int ret;

	if (!sv->max_memory)
		return 1;
	s->memory.base = base_of(&s->limits, s->plan->follow);
	atomic_store(&s->memory.hold_ok, h->has_wait_ms);
	atomic_store(&s->memory.need, h->memory);
	p = promise_of(s);
	ret = mfd_budget_enter(&sv->budget, &s->memory.claim, p.least, p.want);
	if (ret == 1)
		update_granted(s);
	else if (!ret && !h->wait_ms)
		ret = say_not_now(sv, s->name, p.least, err);
	else if (ret)
		ret = say_too_much(sv, s->name, p.least, err);
	if (ret < 0)
		mfd_budget_leave(&sv->budget, &s->memory.claim, 0);
	return ret;
}

void mfd_memory_adopt(struct mfd_session *s)
{
	if (!s->server->max_memory)
		return;
	s->memory.base = used_now(s);
	atomic_store(&s->memory.need, s->lazy_pages << MFD_WIRE_PAGE_SHIFT);
	if (atomic_load(&s->restored))
		atomic_store(&s->memory.open, 1);
	if (!atomic_load(&s->sealed))
		s->memory.base += BLOCK;
	mfd_budget_settle(&s->server->budget, &s->memory.claim, s->memory.base);
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
	if (atomic_load(&s->memory.granted) > before && atomic_load(&s->memory.hold_ok))
		tell_room(s);
}

void mfd_memory_size(struct mfd_session *s, uint64_t bytes)
{
	struct mfd_budget *b = &s->server->budget;
	struct promise p;
	int ret;

	if (!s->server->max_memory || atomic_load(&s->sealed) || atomic_load(&s->memory.open))
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

	if (!s->server->max_memory || !elastic(s) || atomic_load(&s->memory.open) ||
	    atomic_load(&s->sealed))
		return UINT64_MAX;
	not_for_pages += URGENT_ROOM;
	/* The reverse of content_of. */
	return granted > not_for_pages ?
		       (granted - not_for_pages) / 65 * 64 & ~(uint64_t)(MFD_WIRE_PAGE_SIZE - 1) :
		       0;
}

/* ---- receivers ---- */

uint64_t mfd_memory_cost_pages(const struct mfd_session *s, uint64_t raw, uint64_t pages,
			       uint32_t runs)
{
	return (s->server->store_in_memory ? raw : 0) + pages * sizeof(uint64_t) +
	       (s->server->dir_in_memory ? runs * sizeof(struct mfd_pagestore_record) : 0);
}

uint64_t mfd_memory_cost_file(const struct mfd_session *s, uint64_t bytes)
{
	return s->server->dir_in_memory ?
		       (bytes + FILE_ROUND - 1) / FILE_ROUND * FILE_ROUND + FILE_ROUND / 4 :
		       0;
}

/*
 * Nothing is read from this connection until pages need no store, or there is room; a connection
 * that has ended is noticed.
 */
static int hold(struct mfd_session *s, struct mfd_conn *c, uint32_t task, uint64_t now)
{
	struct mfd_pager *pager;

	for (;;) {
		pager = atomic_load_explicit(&s->pager, memory_order_acquire);
		if (pager && mfd_pager_direct(pager, task))
			return 1;
		if (now + URGENT_ROOM <= atomic_load(&s->memory.granted))
			return 0;
		if (mfd_conn_gone(c, HOLD_MS) > 0)
			return -ECONNRESET;
	}
}

int mfd_memory_take(struct mfd_session *s, struct mfd_conn *c, uint32_t task, uint64_t bytes,
		    enum mfd_memory_what what)
{
	uint64_t now, keep = s->plan->postcopy && what == MFD_MEMORY_PAGES ? URGENT_ROOM : 0;
	int ret;

	if (!s->server->max_memory)
		return 0;
	now = atomic_fetch_add(&s->memory.taken, bytes) + bytes;
	if (now + keep <= atomic_load(&s->memory.granted) || what == MFD_MEMORY_URGENT)
		return 0;
	/* Once there is a pager the images are in: what stands behind these pages can wait. */
	if (keep && (elastic(s) || atomic_load(&s->pager))) {
		ret = hold(s, c, task, now);
		if (ret)
			atomic_fetch_sub(&s->memory.taken, bytes);
		return ret;
	}
	if (mfd_budget_raise(&s->server->budget, &s->memory.claim, s->memory.base + keep + now))
		return fail_short(s, s->memory.base + keep + now);
	update_granted(s);
	return 0;
}

/* ---- the session's thread ---- */

static void tell_queued(struct mfd_session *s)
{
	Mfd__Queued m = MFD__QUEUED__INIT;
	struct mfd_budget_figures f;

	s->memory.told_ms = mfd_io_now_ms();
	mfd_budget_look(&s->server->budget, &s->memory.claim, &f);
	m.need = promise_of(s).least;
	m.free = f.free;
	m.limit = f.limit;
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
		int swept = sweep(s->server), admitted = mfd_budget_admit(b, &s->memory.claim);

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

	if (!s->server->max_memory || s->phase == MFD_PHASE_QUEUED)
		return;
	used = used_now(s);
	if (atomic_load(&s->sealed) || atomic_load(&s->memory.open))
		mfd_budget_settle(&s->server->budget, &s->memory.claim, used);
	else
		mfd_budget_note(&s->server->budget, &s->memory.claim, used);
	if (elastic(s) && !atomic_load(&s->sealed) && !atomic_load(&s->memory.open))
		widen(s);
}

int mfd_memory_may_open(const struct mfd_session *s)
{
	return s->server->max_memory && s->plan->postcopy && atomic_load(&s->restored) &&
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
	await_direct(s);
	atomic_store(&s->memory.open, 1);
	if (atomic_load(&s->memory.hold_ok) && !atomic_load(&s->sealed))
		tell_room(s);
}

void mfd_memory_resumed(struct mfd_session *s)
{
	atomic_store(&s->memory.taken_before, atomic_load(&s->memory.taken));
}

static int is_held(struct mfd_session *s)
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
	if (!s->server->max_memory)
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
	else if (is_held(s))
		e->held = "pages";
}

void mfd_memory_end(struct mfd_session *s)
{
	uint64_t left = 0;

	if (!s->server->max_memory)
		return;
	if (s->over != MFD_OVER_ABORTED)
		left = folder_bytes(s->server, s->dirfd);
	mfd_budget_leave(&s->server->budget, &s->memory.claim, left);
}

/* ---- the server ---- */

void mfd_memory_begin(struct mfd_server *sv)
{
	mfd_budget_init(&sv->budget, sv->max_memory);
	sv->dir_in_memory = is_memory(sv->dirfd);
	sv->store_in_memory = !sv->durable || sv->dir_in_memory;
	mfd_memory_unpublish(sv);
}

/*
 * Without the fsync of session.img: it is of no use after a crash, and the main thread must not
 * wait for a disk.
 */
static void replace(struct mfd_server *sv, const char *text)
{
	int fd = openat(sv->dirfd, MFD_SERVER_MEMORY ".tmp",
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret = fd < 0 ? -errno : mfd_io_write_all(fd, text, strlen(text));

	mfd_io_close(&fd);
	if (!ret && renameat(sv->dirfd, MFD_SERVER_MEMORY ".tmp", sv->dirfd, MFD_SERVER_MEMORY))
		ret = -errno;
	if (ret)
		mfd_log_debug("%s/" MFD_SERVER_MEMORY ": %s", sv->dir, strerror(-ret));
}

void mfd_memory_publish(struct mfd_server *sv)
{
	uint64_t now = mfd_io_now_ms();
	struct mfd_budget_figures f;
	char text[sizeof(sv->published)];

	if (!sv->max_memory || now - sv->published_ms < TELL_MS)
		return;
	sv->published_ms = now;
	if (now - atomic_load(&sv->swept_ms) > SWEEP_IDLE_MS)
		sweep(sv);
	mfd_budget_look(&sv->budget, NULL, &f);
	snprintf(
		text, sizeof(text),
		"{\"limit\":%llu,\"used\":%llu,\"promised\":%llu,\"free\":%llu,\"ended\":%llu,\"sessions\":%u,"
		"\"waiting\":%u,\"server_pid\":%d}\n",
		(unsigned long long)f.limit, (unsigned long long)f.used,
		(unsigned long long)f.promised, (unsigned long long)f.free,
		(unsigned long long)f.left, f.claims, f.waiting, getppid());
	if (!strcmp(text, sv->published))
		return;
	snprintf(sv->published, sizeof(sv->published), "%s", text);
	replace(sv, text);
}

void mfd_memory_unpublish(struct mfd_server *sv)
{
	unlinkat(sv->dirfd, MFD_SERVER_MEMORY, 0);
}
