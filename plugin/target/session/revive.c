// SPDX-License-Identifier: GPL-2.0-only
/* A session as its folder says, once more alive; see revive.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask_setting.h"
#include "assert.h"
#include "hello.h"
#include "life.h"
#include "log.h"
#include "memory.h"
#include "own_restore.h"
#include "pager_ops.h"
#include "revive.h"
#include "session.h"
#include "take_address.h"
#include "takeover.h"

static int add_record(void *arg, const struct mfd_pagestore_record *r)
{
	struct mfd_session *s = arg;
	struct mfd_pagetable *t;
	uint64_t pages = r->pages_flags >> 8;
	int ret = mfd_tables_get(&s->tables, r->task, &t);

	if (ret)
		return ret;
	if (r->vaddr >= MFD_WIRE_MAX_VADDR ||
	    pages > (MFD_WIRE_MAX_VADDR - r->vaddr) >> MFD_WIRE_PAGE_SHIFT)
		return -EBADMSG;
	return mfd_pagetable_set(t, r->vaddr >> MFD_WIRE_PAGE_SHIFT, pages,
				 mfd_pagestore_record_is(r));
}

static void from_entry(struct mfd_session *s, const Mfd__SessionEntry *e)
{
	mfd_assert(s->plan && s->phase != MFD_PHASE_NONE);
	mfd_assert(!atomic_load(&s->thread));
	s->limits.channels = e->channels && e->channels <= MFD_WIRE_MAX_CHANNELS ? e->channels : 1;
	s->limits.packet_size = e->packet_size;
	/* a source that comes back uses what it did */
	s->limits.compress = MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4;
	s->limits.checksum = 1;
	mfd_rounds_load(s, e);
	mfd_figures_load(s, e);
	mfd_setting_offered(s, 0, e->has_max_bandwidth, e->max_bandwidth);
	snprintf(s->source, sizeof(s->source), "%s", e->source ? e->source : "");
	memcpy(s->id, e->session_id.data, sizeof(s->id));
	memcpy(s->secret, e->secret.data, sizeof(s->secret));
	s->link.rounds = 1; /* what the source says at the END counts from its return on */
	s->end.both_run = e->both_run;
	s->end.source_gone = e->source_gone;
	atomic_store(&s->sealed, e->state != MFD__SESSION_STATE__RUNNING);
}

static int fill(struct mfd_session *s, int dirfd, const Mfd__SessionEntry *e, struct mfd_error *err)
{
	int ret;

	mfd_assert(!s->plan && s->phase == MFD_PHASE_NONE);
	mfd_assert(!s->store);
	if (e->session_id.len != sizeof(s->id) || e->secret.len != sizeof(s->secret))
		return mfd_error_set(err, -EBADMSG, "session.img has no id");
	s->plan = mfd_plan_loaded(e);
	if (!s->plan)
		return mfd_error_set(err, -EBADMSG,
				     "session.img: early_restore without confirm_restore, or with "
				     "postcopy, is no plan of a session");
	s->dirfd = dup(dirfd);
	if (s->dirfd < 0)
		return mfd_error_sys(err, -errno, "dup");
	s->files.dirfd = s->dirfd;
	if (mfd_tables_init(&s->tables))
		return mfd_error_set(err, -ENOMEM, "no memory");
	if (mfd_session_phase_of(e->state) == MFD_PHASE_NONE)
		return mfd_error_set(err, -EBADMSG,
				     "session.img: a session in this state has ended");
	mfd_session_load(s, mfd_session_phase_of(e->state));
	from_entry(s, e);
	mfd_session_set_aside(s, MFD_CLAIM_OLD, NULL);
	mfd_filesink_close(&s->files);
	if (mfd_hello_restore_options(s, e->restore_option, e->n_restore_option) ||
	    mfd_address_keep(s, e->move_address, e->n_move_address))
		return mfd_error_set(err, -ENOMEM, "no memory");
	ret = mfd_pagestore_open(s->dirfd, &s->store, add_record, s, err);
	return ret;
}

static int find_restored(struct mfd_session *s, struct mfd_error *err)
{
	int ret = mfd_own_restore_adopt(s);

	mfd_assert(!atomic_load(&s->thread) && !atomic_load(&s->pager));
	mfd_assert(s->plan && s->dirfd >= 0);
	if (mfd_life_cannot_tell(ret))
		return mfd_error_sys(err, ret, "the restored tasks cannot be looked for");
	return ret ? mfd_error_set(err, ret, "the restored tasks are gone") : 0;
}

/*
 * The restored tasks lack no page: what is left to do is to let them go on, or to kill them, when
 * that is decided.
 */
static int stand_by(struct mfd_session *s, struct mfd_error *err)
{
	int ret = find_restored(s, err);

	mfd_assert(!atomic_load(&s->thread));
	mfd_assert(s->copy == MFD_COPY_COMING && !atomic_load(&s->pager));
	if (ret)
		return ret;
	mfd_own_restore_adopted(s);
	atomic_store(&s->restored, 1);
	s->copy = MFD_COPY_ALONE;
	mfd_address_adopt(s);
	mfd_takeover_needless(&s->server->takeover, s->dirfd, s->name);
	return 0;
}

static int restart_pager(struct mfd_session *s, enum mfd_notes_left take_over,
			 struct mfd_error *err)
{
	int wanted = s->phase == MFD_PHASE_COMMITTED || s->plan->id != MFD_PLAN_SAFE, ret;

	if (take_over == MFD_NOTES_COMPLETE)
		return stand_by(s, err);
	if (take_over && find_restored(s, err))
		return err->code;
	if (take_over && mfd_pager_ops_take_over(s, err)) /* the last that can fail */
		return err->code;
	if (take_over)
		mfd_own_restore_adopted(s);
	ret = wanted ? mfd_pager_ops_start(s) : 0;
	if (ret)
		return mfd_error_set(err, ret, "%s", s->error);
	if (s->phase == MFD_PHASE_RUNNING)
		mfd_pager_ops_leave(s);
	if (s->phase != MFD_PHASE_COMMITTED)
		return 0;
	mfd_pager_ops_leave(s);
	mfd_pager_ops_complete(s);
	return 0;
}

int mfd_revive(struct mfd_server *sv, int dirfd, const char *name, const Mfd__SessionEntry *e,
	       enum mfd_notes_left take_over, struct mfd_error *err)
{
	struct mfd_owner owner = { .rights = NULL };
	struct mfd_thread *thread;
	struct mfd_session *s;
	char what[64];
	int ret = mfd_threads_reserve(&sv->pool, &thread);

	if (ret)
		return mfd_error_sys(err, ret, "a thread for the session");
	mfd_owner_load(&owner, e);
	ret = mfd_session_claim(sv, name, MFD_CLAIM_OLD, &owner, &s, err);
	if (ret) {
		mfd_threads_use(thread, NULL, NULL);
		return mfd_error_sys(err, ret, "session");
	}
	ret = fill(s, dirfd, e, err);
	ret = ret ? ret : restart_pager(s, take_over, err);
	if (!ret && mfd_session_broken_invariant(s))
		ret = mfd_error_set(err, -EBADMSG, "session.img does not hold together: %s",
				    mfd_session_broken_invariant(s));
	if (!ret)
		mfd_memory_adopt(s);
	if (!ret && s->phase != MFD_PHASE_COMMITTED) {
		mfd_session_doubt(s, 1);
		snprintf(s->error, sizeof(s->error),
			 "the restore server was restarted, the source has not come back yet");
	}
	if (!ret)
		mfd_session_store(s, 1);
	snprintf(what, sizeof(what), "%s%s", mfd_session_state_text(s),
		 s->in_doubt ? ", in doubt" : "");
	if (!ret) {
		s->presence = MFD_PRESENCE_LIVE;
		mfd_session_start(s, thread); /* takes over our reference */
		mfd_log_info("%s: reloaded, %s", name, what);
	} else {
		struct mfd_pager *p = atomic_exchange(&s->pager, NULL);

		mfd_threads_use(thread, NULL, NULL);
		/*
		 * its threads know the session; userfaultfds that it closes are held by the
		 * supervisor, too
		 */
		if (p)
			mfd_pager_stop(p);
		mfd_budget_leave(&sv->budget, &s->memory.claim, 0);
		mfd_session_unclaim(s);
	}
	return ret;
}
