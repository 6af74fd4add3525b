// SPDX-License-Identifier: GPL-2.0-only
/* Settings of the source that a person changes from here. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "ask_setting.h"
#include "session.h"

#define MAX_BANDWIDTH "max-bandwidth"
#define ANSWER_MS     5000

/* lock held */
static void finish(struct mfd_session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void finish(struct mfd_session *s, const char *fmt, ...)
{
	struct mfd_request *r = s->setting.request;
	va_list ap;

	mfd_assert(r && !r->done);
	mfd_assert(s->setting.id);
	va_start(ap, fmt);
	vsnprintf(r->answer, sizeof(r->answer), fmt, ap);
	va_end(ap);
	r->done = 1;
	s->setting.request = NULL;
	pthread_cond_broadcast(&s->cond);
}

/* lock held */
static const char *refusal(struct mfd_session *s)
{
	if (!mfd_session_in(s, MFD_PHASES_UNVERIFIED))
		return "error: too late: everything has been sent already";
	if (s->phase == MFD_PHASE_QUEUED)
		return "error: it waits for memory, its channels are not connected yet";
	if (s->link.state != MFD_LINK_JOINED)
		return "error: its source is not connected";
	if (!s->setting.offered)
		return "error: the criu-multifd of its source is too old to change settings of a running session";
	if (s->setting.request)
		return "error: another change is on its way to the source, try again";
	return NULL;
}

const char *mfd_setting_ask(struct mfd_session *s, struct mfd_request *r)
{
	Mfd__Set m = MFD__SET__INIT;
	const char *no;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!r->done);
	pthread_mutex_lock(&s->lock);
	no = refusal(s);
	if (!no) {
		s->setting.request = r;
		s->setting.end_ms = mfd_io_now_ms() + ANSWER_MS;
		if (!++s->setting.id)
			s->setting.id++;
		m.id = s->setting.id;
	}
	pthread_mutex_unlock(&s->lock);
	if (no)
		return no;
	m.name = r->name;
	m.value = r->value;
	/* A broken connection is noticed by its reader, which ends the wait. */
	mfd_session_send(s, MFD_WIRE_SET, &m.base);
	return NULL;
}

void mfd_setting_tick(struct mfd_session *s, const char *over)
{
	pthread_mutex_lock(&s->lock);
	if (s->setting.request && over)
		finish(s, "error: %s", over);
	else if (s->setting.request && mfd_io_now_ms() > s->setting.end_ms)
		finish(s,
		       "error: the source has not answered within %u s; it may change the setting yet",
		       ANSWER_MS / 1000);
	pthread_mutex_unlock(&s->lock);
}

void mfd_setting_came(struct mfd_session *s, const Mfd__Setting *m)
{
	uint64_t rate = strtoull(m->value, NULL, 10);

	pthread_mutex_lock(&s->lock);
	mfd_assert(!s->setting.request || s->setting.id);
	mfd_assert(!s->setting.request || !s->setting.request->done);
	if (!strcmp(m->name, MAX_BANDWIDTH)) {
		s->setting.max_bandwidth = rate;
		s->inbox.events |= MFD_INBOX_NEWS;
		pthread_cond_broadcast(&s->cond);
	}
	if (s->setting.request && m->has_id && m->id == s->setting.id) {
		if (m->error)
			finish(s, "error: the source says: %.400s", m->error);
		else
			finish(s, "ok %.80s %.80s %.80s", m->name, m->old ? m->old : "?", m->value);
	}
	pthread_mutex_unlock(&s->lock);
}

void mfd_setting_offered(struct mfd_session *s, int settings, int has_bandwidth, uint64_t bandwidth)
{
	mfd_assert(s->plan);
	pthread_mutex_lock(&s->lock);
	mfd_assert(!s->setting.request || s->setting.id);
	s->setting.offered = settings;
	if (has_bandwidth)
		s->setting.max_bandwidth = bandwidth;
	pthread_mutex_unlock(&s->lock);
}
