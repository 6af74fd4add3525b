// SPDX-License-Identifier: GPL-2.0-only
/* The deposits that a worker inherits, and what becomes of each. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "holder.h"
#include "io.h"
#include "log.h"
#include "takeover.h"

/* Found in the dead worker by its heir: the supervisor had not been told whose it is. */
static int is_unclaimed(const struct mfd_deposit *h)
{
	return h->owner == MFD_DEPOSIT_UNCLAIMED;
}

static int has_task(const struct mfd_takeover *t, const char *session)
{
	const struct mfd_deposit *h;

	for (h = t->inherited; h && !(mfd_deposit_is_of(h, session) && h->task);)
		h = h->next;
	return h != NULL;
}

int mfd_takeover_expected(const struct mfd_takeover *t, const char *session)
{
	return t->after == MFD_TAKEOVER_WORKER ||
	       (t->after == MFD_TAKEOVER_SERVER && has_task(t, session));
}

int mfd_takeover_list(const struct mfd_takeover *t, const char *session,
		      struct mfd_pager_deposit **list, size_t *n, size_t *own)
{
	const struct mfd_deposit *h;
	size_t all = 0;

	*n = *own = 0;
	for (h = t->inherited; h; h = h->next)
		all++;
	*list = calloc(all + 1, sizeof(**list));
	if (!*list)
		return -ENOMEM;
	for (h = t->inherited; h; h = h->next) {
		if (!mfd_deposit_is_of(h, session) && !is_unclaimed(h))
			continue;
		*own += mfd_deposit_is_of(h, session);
		(*list)[(*n)++] = (struct mfd_pager_deposit){ .task = h->task,
							      .uffd = h->uffd,
							      .book = h->book,
							      .forked = h->forked,
							      .writer = h->writer,
							      .number = h->number };
	}
	return 0;
}

/* The descriptors that are open still are the pager's from now on. */
static void forget(struct mfd_deposit *h)
{
	mfd_assert(h->owner != MFD_DEPOSIT_LOST);
	h->uffd = h->book = h->pidfd = -1;
	h->task = 0;
	h->spared = 0;
	mfd_deposit_disown(h, MFD_DEPOSIT_LOST);
}

static void close_all(struct mfd_takeover *t, const char *session)
{
	for (struct mfd_deposit *h = t->inherited; h; h = h->next) {
		if (!mfd_deposit_is_of(h, session))
			continue;
		mfd_deposit_close(h);
		forget(h);
	}
}

static int is_taken(const struct mfd_deposit *h, const struct mfd_pager_deposit *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].taken && list[i].uffd == h->uffd)
			return 1;
	return 0;
}

void mfd_takeover_done(struct mfd_takeover *t, const char *session,
		       const struct mfd_pager_deposit *list, size_t n)
{
	for (struct mfd_deposit *h = t->inherited; h; h = h->next) {
		if (is_unclaimed(h) && is_taken(h, list, n))
			forget(h);
		if (!mfd_deposit_is_of(h, session))
			continue;
		if (!h->task) { /* the connection of the restore */
			mfd_guard_withdraw_conn(t->guard, session, h->uffd);
			mfd_io_close(&h->uffd);
		}
		mfd_io_close(&h->book);
		mfd_io_close(&h->pidfd);
		forget(h);
	}
}

void mfd_takeover_kill(struct mfd_takeover *t, const char *session)
{
	mfd_guard_kill(t->guard, session);
	close_all(t, session);
}

void mfd_takeover_needless(struct mfd_takeover *t, int dirfd, const char *session)
{
	struct mfd_warden_link warden;
	int ret;

	mfd_warden_link_init(&warden);
	ret = mfd_warden_link_find(&warden, dirfd);
	if (ret)
		mfd_log_error(
			"%s: the warden cannot be looked for (%s): a task may wait until it ends",
			session, strerror(-ret));
	mfd_guard_withdraw_all(t->guard, &warden, session);
	mfd_warden_link_close(&warden);
	close_all(t, session);
}

void mfd_takeover_spare(struct mfd_takeover *t, const char *session)
{
	for (struct mfd_deposit *h = t->inherited; h; h = h->next)
		if (h->owner == MFD_DEPOSIT_SESSION && (!session || mfd_deposit_is_of(h, session)))
			h->spared = 1;
}

int mfd_takeover_spares(const struct mfd_takeover *t, const char *session)
{
	for (const struct mfd_deposit *h = t->inherited; h; h = h->next) {
		mfd_assert(!h->spared || h->owner == MFD_DEPOSIT_SESSION);
		if (h->spared && (!session || mfd_deposit_is_of(h, session)))
			return 1;
	}
	return 0;
}

int mfd_takeover_again(struct mfd_takeover *t, const char *session)
{
	int was = mfd_takeover_spares(t, session);

	for (struct mfd_deposit *h = t->inherited; h; h = h->next)
		if (mfd_deposit_is_of(h, session))
			h->spared = 0;
	return was;
}

/*
 * A userfaultfd that CRIU had just handed over: its restore fails, since its connection is closed.
 * But a task that has its own copy open still is killed here, in case it does not.  Others are of
 * tasks that lack nothing: the worker died between letting go and closing.
 */
static void end_unclaimed(struct mfd_deposit *h)
{
	int sure, pid = mfd_holder_find(0, h->uffd, 0, &sure);

	if (pid > 1) {
		mfd_log_warn("killing process %d, which was being restored when the worker died",
			     pid);
		kill(pid, SIGKILL);
	}
}

void mfd_takeover_end(struct mfd_takeover *t)
{
	int spares = mfd_takeover_spares(t, NULL);
	struct mfd_deposit *h;
	char session[256];

	for (h = t->inherited; h; h = h->next) {
		if (is_unclaimed(h) && !spares)
			end_unclaimed(h);
		if (h->owner != MFD_DEPOSIT_SESSION || h->spared)
			continue;
		memcpy(session, h->session, sizeof(session));
		mfd_log_error("%s: its restored tasks belong to no session that could be reloaded",
			      session);
		mfd_takeover_kill(t, session);
	}
}

/* What the supervisor has as LOST stays open here as well. */
void mfd_takeover_free(struct mfd_takeover *t)
{
	int spares = mfd_takeover_spares(t, NULL);
	struct mfd_deposit **p = &t->inherited, *h;

	while ((h = *p)) {
		if (h->spared || (spares && is_unclaimed(h))) {
			p = &h->next;
			continue;
		}
		mfd_assert(h->owner != MFD_DEPOSIT_SESSION);
		if (is_unclaimed(h))
			mfd_deposit_close(h);
		*p = h->next;
		free(h);
	}
}
