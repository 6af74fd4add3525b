// SPDX-License-Identifier: GPL-2.0-only
/* What session.img says, and when it is written. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "evidence_file.h"
#include "figures.h"
#include "log.h"
#include "memory.h"
#include "record.h"
#include "session.h"
#include "session_file.h"

/* What session.img calls each phase. */
static const Mfd__SessionState states[] = {
	[MFD_PHASE_QUEUED] = MFD__SESSION_STATE__RECEIVING,
	[MFD_PHASE_STREAMING] = MFD__SESSION_STATE__RECEIVING,
	[MFD_PHASE_IMAGES] = MFD__SESSION_STATE__RECEIVING,
	[MFD_PHASE_SETTLING] = MFD__SESSION_STATE__RECEIVING,
	[MFD_PHASE_RESTORABLE] = MFD__SESSION_STATE__RESTORABLE,
	[MFD_PHASE_RUNNING] = MFD__SESSION_STATE__RUNNING,
	[MFD_PHASE_READY] = MFD__SESSION_STATE__READY,
	[MFD_PHASE_RESTORED] = MFD__SESSION_STATE__RESTORED,
	[MFD_PHASE_COMMITTED] = MFD__SESSION_STATE__COMMITTED,
	[MFD_PHASE_DONE] = MFD__SESSION_STATE__DONE,
	[MFD_PHASE_ABORTED] = MFD__SESSION_STATE__ABORTED,
};
_Static_assert(sizeof(states) / sizeof(*states) == MFD_PHASES, "each phase has a state");

const char *mfd_session_state_text(const struct mfd_session *s)
{
	return mfd_session_file_state(states[s->phase]);
}

/*
 * A restored session whose server has died is READY: what was restored is dead or is taken over,
 * and nothing has left the store.
 */
enum mfd_phase mfd_session_phase_of(Mfd__SessionState state)
{
	switch (state) {
	case MFD__SESSION_STATE__RUNNING:
		return MFD_PHASE_RUNNING;
	case MFD__SESSION_STATE__READY:
	case MFD__SESSION_STATE__RESTORED:
		return MFD_PHASE_READY;
	case MFD__SESSION_STATE__COMMITTED:
		return MFD_PHASE_COMMITTED;
	default:
		return MFD_PHASE_NONE;
	}
}

void mfd_session_entry(struct mfd_session *s, Mfd__SessionEntry *e)
{
	mfd_assert(s->plan);
	mfd_assert(s->phase > MFD_PHASE_NONE && s->phase < MFD_PHASES);
	mfd__session_entry__init(e);
	e->name = s->name;
	e->format = MFD_SESSION_FILE_FORMAT;
	e->state = states[s->phase];
	e->error = s->error[0] ? s->error : NULL;
	e->has_in_doubt = 1;
	e->in_doubt = s->in_doubt;
	e->source = s->source[0] ? s->source : NULL;
	mfd_owner_entry(&s->owner, e);
	e->has_session_id = e->has_secret = 1;
	e->session_id.data = s->id;
	e->session_id.len = sizeof(s->id);
	e->secret.data = s->secret;
	e->secret.len = sizeof(s->secret);
	mfd_plan_entry(s->plan, e);
	mfd_rounds_entry(s, e);
	e->has_channels = e->has_packet_size = e->has_server_pid = 1;
	e->channels = s->limits.channels;
	e->packet_size = s->limits.packet_size;
	e->restore_option = s->asked.restore_options;
	e->n_restore_option = s->asked.n_restore_options;
	e->move_address = s->asked.move_addresses;
	e->n_move_address = s->asked.n_move_addresses;
	e->has_restored_pid = s->restore.root > 0;
	e->restored_pid = (uint32_t)s->restore.root;
	e->has_both_run = e->both_run = s->end.both_run;
	e->has_source_gone = e->source_gone = s->end.source_gone;
	e->held_by = s->held_by[0] ? s->held_by : NULL;
	e->has_ran_held = s->restore.hold.ran > 0;
	e->ran_held = (uint32_t)s->restore.hold.ran;
	e->server_pid = (uint32_t)getppid(); /* the supervisor: what a person would signal */
	pthread_mutex_lock(&s->lock);
	e->has_max_bandwidth = s->setting.max_bandwidth != MFD_SETTING_UNKNOWN;
	e->max_bandwidth = s->setting.max_bandwidth;
	s->inbox.events &= ~MFD_INBOX_NEWS;
	pthread_mutex_unlock(&s->lock);
	mfd_figures_entry(s, e);
	mfd_memory_entry(s, e);
}

/* From here on the name stands for this session; if that fails, it is tried by the next store. */
static void displace(struct mfd_session *s)
{
	int ret = s->has_name ? 0 : mfd_record_displace(s->server->dirfd, s->name);

	mfd_assert(s->dirfd >= 0);
	mfd_assert(s->phase > MFD_PHASE_NONE);
	s->has_name = !ret;
	if (ret)
		mfd_log_warn("%s: the record of the session before of that name stays: %s", s->name,
			     strerror(-ret));
}

const char *mfd_session_unwritten(const struct mfd_session *s, char text[MFD_SPACE_TEXT + 64])
{
	char full[MFD_SPACE_TEXT] = "";

	if (mfd_space_is_full(s->dirfd))
		mfd_space_text(-ENOSPC, s->dirfd, 0, full);
	snprintf(text, MFD_SPACE_TEXT + 64, "session.img cannot be written%s%s", *full ? ": " : "",
		 full);
	return text;
}

static int store_as(struct mfd_session *s, enum mfd_phase phase, int sync)
{
	char text[MFD_SPACE_TEXT + 64];
	Mfd__SessionEntry e;
	int ret;

	mfd_session_entry(s, &e);
	e.state = states[phase];
	ret = mfd_session_file_store(s->dirfd, &e, sync);
	if (ret)
		mfd_log_error("%s: %s", s->name, mfd_session_unwritten(s, text));
	else if (mfd_evidence_file_is_needed(&e))
		displace(s);
	return ret;
}

int mfd_session_store(struct mfd_session *s, int sync)
{
	return store_as(s, s->phase, sync);
}

int mfd_session_advance(struct mfd_session *s, enum mfd_phase to)
{
	int ret;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(mfd_phase_legal(s->phase, to, s->plan->id));
	ret = store_as(s, to, 1);
	if (!ret)
		mfd_session_enter(s, to);
	return ret;
}

void mfd_session_store_moving(struct mfd_session *s)
{
	Mfd__SessionEntry e;
	uint64_t moved;

	if (s->link.state != MFD_LINK_JOINED && states[s->phase] == MFD__SESSION_STATE__RECEIVING)
		return;
	mfd_session_entry(s, &e);
	moved = e.wire_bytes + e.installed_pages + e.faults;
	if (moved != s->figures.moved)
		mfd_session_file_store(s->dirfd, &e, 0);
	s->figures.moved = moved;
}
