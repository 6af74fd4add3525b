// SPDX-License-Identifier: GPL-2.0-only
/* Being in doubt, and telling a target for as long as it takes; see doubt.h. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "doubt.h"
#include "io.h"
#include "kept.h"
#include "log.h"
#include "person.h"
#include "summary.h"
#include "tell.h"
#include "worker.h"

#define PAUSE_MS     1000
#define MAX_PAUSE_MS 60000
#define FOREVER_MS   UINT64_MAX
#define LOOK_MS	     20

static const char *folder(char *buf, size_t len)
{
	return getcwd(buf, len) ? buf : "DIR";
}

/* What a person may type, once for each kind. */
static void advise(const struct mfd_worker *w)
{
	char buf[512];
	const char *dir = folder(buf, sizeof(buf));

	switch (w->doubt.kind) {
	case MFD_PROGRESS_DIED:
		mfd_log_error(
			"in doubt: the restored tasks ran on %s and are dead there: %s.  The tasks stay frozen here.  To "
			"let them go on from where they were frozen: criu-multifd resolve --source %s --run; to end them: "
			"criu-multifd resolve --source %s --discard",
			w->sh->target.text, w->doubt.why, dir, dir);
		break;
	case MFD_PROGRESS_UNKNOWN:
		mfd_log_error(
			"in doubt: %s does not say what became of session '%s': %s.  The tasks may run there, so they stay "
			"frozen here; asking on",
			w->sh->target.text, w->sh->session, w->doubt.why);
		break;
	default:
		break;
	}
}

int mfd_doubt_is_damage(const struct mfd_worker *w)
{
	return w->err.side == MFD_ERROR_OWN && mfd_shared_tasks_dying(w->sh);
}

static enum mfd_progress_doubt kind_of(const struct mfd_worker *w, enum mfd_proof proof)
{
	if (proof == MFD_PROOF_RAN)
		return MFD_PROGRESS_DIED;
	if (mfd_doubt_is_damage(w))
		return MFD_PROGRESS_DAMAGED;
	if (mfd_retry_is_spent(&w->retry))
		return MFD_PROGRESS_GIVEN_UP;
	return w->err.code == -ECANCELED ? MFD_PROGRESS_UNKNOWN : MFD_PROGRESS_LOST;
}

void mfd_doubt_begin(struct mfd_worker *w, enum mfd_proof proof)
{
	enum mfd_progress_doubt kind = kind_of(w, proof);
	int news = kind != w->doubt.kind;

	mfd_assert(!mfd_proof_frees(proof));
	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	/* A proof that they ran and died stays one, even if the target is out of reach later. */
	if (w->doubt.kind == MFD_PROGRESS_DIED)
		return;
	w->doubt.kind = kind;
	snprintf(w->doubt.why, sizeof(w->doubt.why), "%s", mfd_error_text(&w->err));
	atomic_store(&w->progress->lost, kind);
	if (news)
		advise(w);
}

void mfd_doubt_end(struct mfd_worker *w)
{
	mfd_assert(w->progress);
	mfd_assert(w->sh);
	w->doubt = (struct mfd_doubt){ 0 };
	atomic_store(&w->progress->lost, MFD_PROGRESS_SURE);
}

/* ---- the tasks here are dead ---- */

/* What the latest try has met: for status, from the first that has failed on. */
static void note_untold(struct mfd_worker *w, const struct mfd_error *err)
{
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_RELEASED);
	mfd_assert(err->code);
	w->doubt.kind = MFD_PROGRESS_UNTOLD;
	snprintf(w->doubt.why, sizeof(w->doubt.why), "%s", mfd_error_text(err));
}

static void say_untold(struct mfd_worker *w, const struct mfd_error *err)
{
	mfd_assert(w->progress);
	mfd_assert(err->code);
	if (w->times.ready_us)
		mfd_log_error(
			"the tasks are gone here, but %s could not be told: %s.  The target holds session '%s' "
			"complete and in doubt; let it run there with: criu-multifd resolve %s --run.  Telling it on",
			w->sh->target.text, mfd_error_text(err), w->sh->session, w->sh->session);
	else /* a person has ended them, or another worker has heard READY */
		mfd_log_error(
			"the tasks are gone here, but %s could not be told: %s.  Whether session '%s' is complete "
			"there 'criu-multifd status' there says, and what to type.  Telling it on",
			w->sh->target.text, mfd_error_text(err), w->sh->session);
	mfd_summary_write(w, "released");
	mfd_progress_phase(w->progress, MFD_PROGRESS_RELEASED); /* `migrate` ends */
}

/* One try, in a thread of its own: a target may take its time before it answers, or never does. */
struct telling {
	struct mfd_worker *w;
	struct mfd_error *err;
	int ret;
	atomic_int done;
};

static void *tell_thread(void *arg)
{
	struct telling *t = arg;

	t->ret = mfd_tell(t->w->o, t->w->sh, MFD_TELL_COMMIT, 0, t->err);
	atomic_store_explicit(&t->done, 1, memory_order_release); /* partner: tell_once */
	return NULL;
}

/* As mfd_tell; *rests is what mfd_person_rest has said meanwhile. */
static int tell_once(struct mfd_worker *w, struct mfd_error *err, int *rests)
{
	struct telling t = { .w = w, .err = err };
	pthread_t thread;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_RELEASED);
	mfd_error_clear(err);
	if (pthread_create(&thread, NULL, tell_thread, &t))
		tell_thread(&t);
	else {
		while (!*rests && !atomic_load_explicit(&t.done, memory_order_acquire))
			*rests = mfd_person_rest(w, LOOK_MS);
		pthread_join(thread, NULL);
	}
	mfd_assert(!t.ret || err->code); /* whatever the target answers: mfd_tell says it */
	return t.ret;
}

/*
 * Tell the target until it has heard, for `ms` at most, and answer what a person asks meanwhile.
 * 0, -ECANCELED: mfd_tell; -EINTR: not any more; -ESHUTDOWN: not by this process;
 * -ETIMEDOUT: err says why it could not be told.
 */
static int tell_for(struct mfd_worker *w, uint64_t ms, int rests, struct mfd_error *err)
{
	uint64_t start = mfd_io_now_ms();
	int pause = PAUSE_MS, ret;

	for (;;) {
		if (rests)
			return rests > 0 ? -EINTR : -ESHUTDOWN;
		ret = tell_once(w, err, &rests);
		if (!ret || ret == -ECANCELED)
			return ret;
		note_untold(w, err);
		if (rests)
			continue;
		if (mfd_io_now_ms() - start >= ms)
			return -ETIMEDOUT;
		rests = mfd_person_rest(w, pause);
		if (ms == FOREVER_MS)
			pause = pause * 2 < MAX_PAUSE_MS ? pause * 2 : MAX_PAUSE_MS;
	}
}

void mfd_doubt_tell(struct mfd_worker *w, unsigned first_ms, int rests)
{
	struct mfd_error err = { 0 };
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_RELEASED);
	w->progress->untold = 1;
	ret = tell_for(w, first_ms, rests, &err);
	if (ret == -ETIMEDOUT) {
		say_untold(w, &err);
		mfd_uplink_shutdown(&w->session);
		ret = tell_for(w, FOREVER_MS, mfd_person_rest(w, PAUSE_MS), &err);
	}
	w->progress->untold = ret != 0;
	if (ret == -ECANCELED)
		mfd_log_error("the tasks are gone here, and %s holds no session '%s' any more: %s",
			      w->sh->target.text, w->sh->session, mfd_error_text(&err));
	else if (ret == -ESHUTDOWN)
		mfd_log_warn("the tasks are gone here, and this process does not tell %s any more: "
			     "criu-multifd resolve --source DIR --retry tells it on",
			     w->sh->target.text);
	else if (ret)
		mfd_log_warn(
			"the tasks are gone here, and %s is not told any more, by request: what it "
			"holds of session '%s' runs by criu-multifd resolve %s --run there",
			w->sh->target.text, w->sh->session, w->sh->session);
	else
		mfd_log_info("%s knows that it was committed", w->sh->target.text);
	if (ret != -ESHUTDOWN)
		mfd_kept_save(w->sh, w->o, MFD_KEPT_NOTHING, NULL);
	mfd_doubt_end(w);
}
