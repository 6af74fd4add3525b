// SPDX-License-Identifier: GPL-2.0-only
/* The phase of a pager: which transitions there are, and what must hold in each phase. */
#include "pager_int.h"

static const char *const names[PAGER_PHASES] = {
	[PAGER_NEW] = "new",
	[PAGER_LISTENING] = "listening",
	[PAGER_RESTORING] = "restoring",
	[PAGER_PROVISIONAL] = "provisional",
	[PAGER_OPENING] = "opening",
	[PAGER_AWAIT_STOP] = "await stop",
	[PAGER_STOPPED] = "stopped",
	[PAGER_FILLING] = "filling",
	[PAGER_DONE] = "done",
};

static const struct transition {
	enum pager_phase from, to;
	const char *by;
} transitions[] = {
	{ PAGER_NEW, PAGER_LISTENING, "mfd_pager_start" },
	{ PAGER_NEW, PAGER_FILLING, "mfd_pager_adopt" },
	{ PAGER_LISTENING, PAGER_RESTORING, "CRIU has connected" },
	{ PAGER_RESTORING, PAGER_LISTENING, "the restore was refused or died" },
	{ PAGER_RESTORING, PAGER_PROVISIONAL, "CRIU has finished a provisional restore" },
	{ PAGER_RESTORING, PAGER_OPENING, "CRIU has finished" },
	{ PAGER_PROVISIONAL, PAGER_LISTENING, "mfd_pager_undo" },
	{ PAGER_PROVISIONAL, PAGER_OPENING, "mfd_pager_keep" },
	{ PAGER_OPENING, PAGER_AWAIT_STOP, "mfd_pager_open, huge pages possible" },
	{ PAGER_OPENING, PAGER_FILLING, "mfd_pager_open" },
	{ PAGER_AWAIT_STOP, PAGER_STOPPED, "mfd_pager_tasks_stopped" },
	{ PAGER_AWAIT_STOP, PAGER_FILLING, "mfd_pager_make_whole" },
	{ PAGER_STOPPED, PAGER_FILLING, "mfd_pager_make_whole" },
	{ PAGER_AWAIT_STOP, PAGER_DONE, "nothing is pending" },
	{ PAGER_STOPPED, PAGER_DONE, "nothing is pending" },
	{ PAGER_FILLING, PAGER_DONE, "nothing is pending" },
};

const char *mfd_pager_phase_name(enum pager_phase phase)
{
	return (unsigned)phase < PAGER_PHASES ? names[phase] : "?";
}

const char *mfd_pager_transition(enum pager_phase from, enum pager_phase to)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(*transitions); i++)
		if (transitions[i].from == from && transitions[i].to == to)
			return transitions[i].by;
	return NULL;
}

void mfd_pager_enter(struct mfd_pager *p, enum pager_phase to)
{
	mfd_assert(mfd_pager_transition(mfd_pager_phase(p), to));
	atomic_store(&p->phase, to);
	mfd_pager_check(p);
}

void mfd_pager_enter_locked(struct mfd_pager *p, enum pager_phase to)
{
	pthread_mutex_lock(&p->lock);
	mfd_pager_enter(p, to);
	pthread_mutex_unlock(&p->lock);
}

static void check_no_task(const struct mfd_pager *p)
{
	mfd_assert(!p->tasks && !p->last_task && !p->turn);
	mfd_assert(!atomic_load(&p->pending));
	for (unsigned i = 0; i < PAGER_BUCKETS; i++)
		mfd_assert(!p->families[i]);
}

/* No chunk was handed out. */
static void check_no_bulk(const struct mfd_pager *p)
{
	mfd_assert(!p->turn);
	for (const struct pager_task *t = p->tasks; t; t = t->next)
		mfd_assert(!t->cursor && !t->redos);
}

void mfd_pager_check(const struct mfd_pager *p)
{
	mfd_assert(mfd_pager_phase(p) < PAGER_PHASES);
	mfd_assert(!p->tasks == !p->last_task);
	mfd_assert(mfd_pager_has_failed(p) == (p->error.code != 0));
	mfd_assert(p->postcopy || mfd_pager_all_here(p));
	switch (mfd_pager_phase(p)) {
	case PAGER_NEW: /* its threads, if there are any, wait at the gate */
		break;
	case PAGER_LISTENING:
		check_no_task(p);
		break;
	case PAGER_RESTORING:
	case PAGER_PROVISIONAL:
	case PAGER_OPENING:
	case PAGER_AWAIT_STOP:
		check_no_bulk(p);
		break;
	case PAGER_STOPPED:
	case PAGER_FILLING:
		break;
	case PAGER_DONE:
		mfd_assert(!atomic_load(&p->pending));
		mfd_assert(!mfd_pager_has_failed(p));
		break;
	case PAGER_PHASES:
		break;
	}
}

void mfd_pager_check_sock(const struct mfd_pager *p)
{
	enum pager_phase phase = mfd_pager_phase(p);

	mfd_assert(!p->conn_deposited || p->sock.conn >= 0);
	if (phase < PAGER_OPENING) {
		mfd_assert(phase != PAGER_RESTORING || p->sock.conn >= 0);
		mfd_assert(phase != PAGER_LISTENING || p->sock.conn < 0);
		mfd_assert(phase != PAGER_PROVISIONAL || p->expect == PAGER_EXPECT_DECISION);
		return;
	}
	/* PAGER_EXPECT_STOP says that tasks_stopped or make_whole has not come. */
	mfd_assert(phase != PAGER_AWAIT_STOP || p->expect == PAGER_EXPECT_STOP);
	mfd_assert(p->sock.listen < 0 && !p->conn_deposited);
}
