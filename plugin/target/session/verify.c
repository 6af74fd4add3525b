// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has everything come?  Counts against what the source says, pages against what the pagemap images
 * ask for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "cpr_reach.h"
#include "image.h"
#include "io.h"
#include "log.h"
#include "permit.h"
#include "session.h"
#include "verify.h"

struct missing {
	Mfd__PageRange *ranges; /* at most MFD_SESSION_MAX_NEED */
	size_t n, room;
	uint64_t pages, lazy; /* pages missing, pages asked for */
	uint64_t freshness;   /* precopy: of the pages that are here, as END has it */
	int cut;	      /* there are more ranges than fit */
};

static int add(struct missing *m, uint32_t task, uint64_t page, uint64_t n)
{
	Mfd__PageRange *r = m->n ? &m->ranges[m->n - 1] : NULL;

	m->pages += n;
	if (r && r->task == task &&
	    r->vaddr + (r->pages << MFD_WIRE_PAGE_SHIFT) == page << MFD_WIRE_PAGE_SHIFT) {
		r->pages += n;
		return 0;
	}
	if (m->n == MFD_SESSION_MAX_NEED) {
		m->cut = 1;
		return 0;
	}
	if (m->n == m->room) {
		m->room = m->room ? 2 * m->room : 64;
		r = reallocarray(m->ranges, m->room, sizeof(*r));
		if (!r)
			return -ENOMEM;
		m->ranges = r;
	}
	r = &m->ranges[m->n++];
	mfd__page_range__init(r);
	r->task = task;
	r->vaddr = page << MFD_WIRE_PAGE_SHIFT;
	r->pages = n;
	return 0;
}

static int check_range(struct missing *m, const struct mfd_pagetable *t, uint32_t task,
		       uint64_t page, uint64_t n)
{
	uint64_t word, run;
	int ret = 0;

	m->lazy += n;
	if (!t)
		return add(m, task, page, n);
	while (!ret && n) {
		run = mfd_pagetable_run(t, page, n, &word);
		if (mfd_page_state(word) == MFD_PAGE_ABSENT)
			ret = add(m, task, page, run);
		page += run;
		n -= run;
	}
	return ret;
}

/* The same with rounds: one walk for both. */
static int check_rounds(struct missing *m, const struct mfd_pagetable *t, uint32_t task,
			uint64_t page, uint64_t n)
{
	uint64_t word, run;
	int ret = 0;

	m->lazy += n;
	if (!t)
		return add(m, task, page, n);
	for (; !ret && n; page += run, n -= run) {
		run = mfd_pagetable_round(t, page, n, &word);
		if (mfd_page_state(word) == MFD_PAGE_ABSENT)
			ret = add(m, task, page, run);
		else
			m->freshness += mfd_wire_freshness(task, page << MFD_WIRE_PAGE_SHIFT, run,
							   mfd_page_round(word));
	}
	return ret;
}

static int check_task(struct mfd_session *s, struct missing *m, uint32_t task, const char **why)
{
	const struct mfd_pagetable *t = mfd_tables_find(&s->tables, task);
	struct mfd_lazy_range *r = NULL;
	size_t i, n = 0;
	int ret = mfd_image_lazy_ranges(s->dirfd, task, &r, &n, why);

	if (ret == -ENOENT) /* a zombie */
		return 0;
	for (i = 0; !ret && i < n; i++)
		ret = (s->limits.precopy ? check_rounds : check_range)(
			m, t, task, r[i].start >> MFD_WIRE_PAGE_SHIFT, r[i].pages);
	free(r);
	return ret;
}

/* 0 and *m (free m->ranges), or -errno with a sentence in text. */
static int find_missing(struct mfd_session *s, struct missing *m, char *text, size_t len)
{
	const char *why = NULL, *what = "pstree.img";
	uint32_t *tasks = NULL;
	size_t i, n = 0;
	char name[40];
	int ret;

	memset(m, 0, sizeof(*m));
	ret = mfd_image_tasks(s->dirfd, &tasks, &n, &why);
	for (i = 0; !ret && i < n; i++) {
		snprintf(name, sizeof(name), "pagemap-%u.img", tasks[i]);
		what = name;
		ret = check_task(s, m, tasks[i], &why);
	}
	free(tasks);
	if (ret) {
		free(m->ranges);
		m->ranges = NULL;
		snprintf(text, len, "%s: %s", what, ret == -EBADMSG && why ? why : strerror(-ret));
	}
	return ret;
}

static int check_files(struct mfd_session *s, uint64_t files, uint64_t bytes, char *text,
		       size_t len)
{
	uint64_t have = mfd_filesink_files(&s->files);
	struct mfd_error err = { 0 };
	struct mfd_totals t;

	mfd_session_totals(s, &t);
	if (have != files || t.file_bytes != bytes) {
		snprintf(text, len,
			 "the source sent %llu image files with %llu bytes, %llu with %llu came",
			 (unsigned long long)files, (unsigned long long)bytes,
			 (unsigned long long)have, (unsigned long long)t.file_bytes);
		return -EPROTO;
	}
	if (mfd_filesink_complete(&s->files, &err)) {
		snprintf(text, len, "%s", mfd_error_text(&err));
		return err.code;
	}
	return 0;
}

static int check_user_namespace(struct mfd_session *s, char *text, size_t len)
{
	if (!mfd_permit_wants_user_namespace(&s->owner) || mfd_userns_is_own(s->dirfd))
		return 0;
	snprintf(text, len,
		 "%s may move nothing there that has no user namespace of its own: the operator of "
		 "the restore server can permit it by 'user-namespace' in %.120s there",
		 mfd_owner_text(&s->owner), mfd_rights_path(s->owner.rights));
	return -EPERM;
}

int mfd_verify_images(struct mfd_session *s, const Mfd__Images *msg, struct mfd_trouble *t)
{
	struct missing m;
	char text[512];
	int ret;

	mfd_assert(s->phase == MFD_PHASE_STREAMING);
	mfd_assert(!atomic_load(&s->sealed));
	ret = check_files(s, msg->files, msg->bytes, text, sizeof(text));
	if (!ret)
		ret = mfd_cpr_reach_check(s, text, sizeof(text));
	if (!ret)
		ret = check_user_namespace(s, text, sizeof(text));
	if (!ret)
		ret = mfd_userns_admit(s, text, sizeof(text));
	if (!ret)
		ret = find_missing(s, &m, text, sizeof(text));
	if (ret)
		return mfd_trouble(t, MFD_TROUBLE_LINK, ret, "%s", text);
	free(m.ranges);
	s->lazy_pages = m.lazy;
	mfd_filesink_close(&s->files);
	return 0;
}

static int compare(const char *what, uint64_t said, uint64_t came, char *text, size_t len)
{
	if (said == came)
		return 0;
	snprintf(text, len, "%s: the source sent %llu, %llu came", what, (unsigned long long)said,
		 (unsigned long long)came);
	return -EPROTO;
}

static int check_counts(struct mfd_session *s, const Mfd__End *e, char *text, size_t len)
{
	struct mfd_totals t;
	int ret;

	mfd_session_totals(s, &t);
	ret = compare("packets", e->packets, t.packets, text, len);
	ret = ret ? ret : compare("pages", e->pages, t.pages, text, len);
	ret = ret ? ret : compare("zero pages", e->zero_pages, t.zero_pages, text, len);
	ret = ret ? ret : compare("checksum", e->checksum, t.checksum, text, len);
	/* After a resume the counts begin again, and no file comes twice. */
	if (!ret && !s->link.rounds)
		ret = check_files(s, e->files, e->file_bytes, text, len);
	return ret;
}

static int send_need(struct mfd_session *s, struct missing *m, struct mfd_trouble *t)
{
	Mfd__Need need = MFD__NEED__INIT;
	Mfd__PageRange **list = calloc(m->n ? m->n : 1, sizeof(*list));
	size_t i;

	if (!list)
		return mfd_trouble(t, MFD_TROUBLE_LINK, -ENOMEM, "no memory");
	for (i = 0; i < m->n; i++)
		list[i] = &m->ranges[i];
	need.n_ranges = m->n;
	need.ranges = list;
	need.has_pages = 1;
	need.pages = m->pages;
	mfd_log_info("%s: %llu pages in %zu ranges are missing", s->name,
		     (unsigned long long)m->pages, m->n);
	mfd_session_send(s, MFD_WIRE_NEED, &need.base);
	free(list);
	return 0;
}

/*
 * The source is asked once; again only for ranges that did not fit into the message before, and
 * only while fewer are missing.
 */
static int may_ask(struct mfd_session *s, const struct missing *m)
{
	int may = s->need.state == MFD_NEED_NONE ||
		  (s->need.state == MFD_NEED_CUT && m->pages < s->need.missing);

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(m->pages);
	s->need.state = m->cut ? MFD_NEED_CUT : MFD_NEED_ASKED;
	s->need.missing = m->pages;
	return may;
}

static int still_missing(const struct missing *m, struct mfd_trouble *t)
{
	return mfd_trouble(t, MFD_TROUBLE_LINK, -ENODATA,
			   "%llu lazy pages have not come, the first is task %u address 0x%llx",
			   (unsigned long long)m->pages, m->ranges[0].task,
			   (unsigned long long)m->ranges[0].vaddr);
}

/*
 * What goes straight into a task is in the table a moment before it is in the task.  On data
 * channels the sync comes behind it; the urgent one has none, so READY must wait: if this
 * worker died then, no other place would have the page.  First the door is closed: receive.c,
 * enter().
 */
static int close_door(struct mfd_session *s, char *text, size_t len)
{
	uint64_t end = mfd_io_now_ms() + s->server->stall_ms;
	int ret = 0;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(mfd_session_in(s, MFD_PHASES_UNVERIFIED));
	atomic_store(&s->sealed, 1);
	while (!ret && atomic_load(&s->arriving)) {
		if (mfd_io_now_ms() > end)
			ret = -ETIMEDOUT;
		usleep(200);
	}
	pthread_mutex_lock(&s->lock);
	if (!ret)
		ret = s->inbox.failure.code;
	snprintf(text, len, "%s",
		 s->inbox.failure.code ? mfd_error_text(&s->inbox.failure) :
					 "a page cannot be installed");
	pthread_mutex_unlock(&s->lock);
	if (ret)
		atomic_store(&s->sealed, 0);
	return ret;
}

/* A page that is older, or newer, than the source believes. */
static int check_freshness(const struct mfd_session *s, const Mfd__End *e, const struct missing *m,
			   char *text, size_t len)
{
	if (!s->limits.precopy || !e->has_freshness || e->freshness == m->freshness)
		return 0;
	snprintf(
		text, len,
		"the last copies of the pages are not those that the source has sent last: the sum "
		"over %llu lazy pages and their rounds is %016llx here and %016llx there",
		(unsigned long long)m->lazy, (unsigned long long)m->freshness,
		(unsigned long long)e->freshness);
	return -EPROTO;
}

/*
 * With rounds, what END must have, and what must have come before it.  A source whose worker has
 * died and that has come back does not know its rounds any more; what was out of date was void
 * before IMAGES.
 */
static int check_precopy(const struct mfd_session *s, const Mfd__End *e, char *text, size_t len)
{
	int has_sum = e->has_freshness || s->link.rounds;

	if (!s->limits.precopy || (has_sum && s->phase != MFD_PHASE_STREAMING))
		return 0;
	snprintf(text, len, "END %s",
		 e->has_freshness ? "before IMAGES, in a session with precopy" :
				    "without freshness, in a session with precopy");
	return -EPROTO;
}

int mfd_verify_end(struct mfd_session *s, const Mfd__End *e, struct mfd_trouble *t)
{
	struct missing m;
	char text[512];
	int ret;

	mfd_assert(mfd_session_in(s, MFD_PHASES_UNVERIFIED));
	mfd_assert(s->phase == MFD_PHASE_SETTLING || !atomic_load(&s->sealed));
	mfd_figures_time(&s->times.sent_us);
	ret = check_precopy(s, e, text, sizeof(text));
	ret = ret ? ret : check_counts(s, e, text, sizeof(text));
	if (!ret)
		ret = find_missing(s, &m, text, sizeof(text));
	if (!ret && !m.pages) {
		ret = check_freshness(s, e, &m, text, sizeof(text));
		ret = ret ? ret : close_door(s, text, sizeof(text));
		if (ret)
			free(m.ranges);
	}
	if (ret)
		return mfd_trouble(t, MFD_TROUBLE_LINK, ret, "%s", text);
	s->lazy_pages = m.lazy;
	if (!m.pages)
		ret = MFD_VERIFY_PASSED;
	else
		ret = may_ask(s, &m) ? send_need(s, &m, t) : still_missing(&m, t);
	free(m.ranges);
	return ret;
}

uint64_t mfd_verify_missing(struct mfd_session *s)
{
	struct missing m;
	char text[512];

	if (find_missing(s, &m, text, sizeof(text)))
		return s->lazy_pages;
	free(m.ranges);
	return m.pages;
}

int mfd_verify_need_all(struct mfd_session *s, struct mfd_trouble *t)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);
	struct missing m;
	char text[512];
	int ret = find_missing(s, &m, text, sizeof(text));

	mfd_assert(s->plan->postcopy);
	if (ret)
		return mfd_trouble(t, MFD_TROUBLE_LINK, ret, "%s", text);
	ret = send_need(s, &m, t);
	free(m.ranges);
	if (p)
		mfd_pager_want_again(p);
	return ret;
}
