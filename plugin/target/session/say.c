// SPDX-License-Identifier: GPL-2.0-only
/* Messages of a session to its source. */
#include <stdio.h>
#include <sys/utsname.h>

#include "assert.h"
#include "memory.h"
#include "say.h"
#include "session.h"

void mfd_say_hello_ok(struct mfd_session *s)
{
	Mfd__HelloOk ok = MFD__HELLO_OK__INIT;
	struct utsname u;

	ok.session_id.data = s->id;
	ok.session_id.len = sizeof(s->id);
	ok.secret.data = s->secret;
	ok.secret.len = sizeof(s->secret);
	ok.channels = s->limits.channels;
	ok.packet_size = s->limits.packet_size;
	ok.has_compress = 1;
	ok.compress = (uint32_t)s->limits.compress;
	ok.has_move_addresses = s->asked.n_move_addresses > 0;
	ok.move_addresses = (uint32_t)s->asked.n_move_addresses;
	ok.has_settings = ok.settings = 1;
	ok.has_early_restore = ok.early_restore = s->plan->early;
	ok.has_precopy = ok.precopy = s->limits.precopy;
	ok.memory_limit = mfd_memory_limit(s);
	ok.has_memory_limit = ok.memory_limit > 0;
	ok.room = mfd_memory_room(s);
	ok.has_room = ok.room != UINT64_MAX;
	if (!uname(&u))
		ok.target = u.nodename;
#ifdef MFD_VERSION
	ok.program_version = (char *)MFD_VERSION;
#endif
	mfd_session_send(s, MFD_WIRE_HELLO_OK, &ok.base);
}

void mfd_say_joined(struct mfd_session *s)
{
	Mfd__Joined m = MFD__JOINED__INIT;

	mfd_session_send(s, MFD_WIRE_JOINED, &m.base);
}

void mfd_say_round_ok(struct mfd_session *s, uint32_t n)
{
	Mfd__RoundOk m = MFD__ROUND_OK__INIT;

	m.n = n;
	mfd_session_send(s, MFD_WIRE_ROUND_OK, &m.base);
}

void mfd_say_images_ok(struct mfd_session *s)
{
	Mfd__ImagesOk m = MFD__IMAGES_OK__INIT;

	mfd_session_send(s, MFD_WIRE_IMAGES_OK, &m.base);
}

void mfd_say_ready(struct mfd_session *s)
{
	Mfd__Ready m = MFD__READY__INIT;

	m.pages = s->lazy_pages;
	mfd_session_send(s, MFD_WIRE_READY, &m.base);
}

void mfd_say_started(struct mfd_session *s)
{
	Mfd__Started m = MFD__STARTED__INIT;

	mfd_session_send(s, MFD_WIRE_STARTED, &m.base);
}

void mfd_say_restored(struct mfd_session *s, uint64_t resumed_us)
{
	Mfd__Restored m = MFD__RESTORED__INIT;

	m.has_pid = s->restore.root > 0;
	m.pid = (uint32_t)s->restore.root;
	m.has_resumed_us = resumed_us > 0;
	m.resumed_us = resumed_us;
	mfd_session_send(s, MFD_WIRE_RESTORED, &m.base);
}

static Mfd__Latency *fill_latency(Mfd__Latency *m, struct mfd_latency_sum *l)
{
	mfd__latency__init(m);
	return mfd_latency_fill(m, l);
}

void mfd_say_committed(struct mfd_session *s, uint64_t resumed_us)
{
	Mfd__Committed m = MFD__COMMITTED__INIT;
	struct mfd_pager_stats *st = mfd_figures_pager(s);
	Mfd__Latency waited, network;

	m.has_resumed_us = resumed_us > 0;
	m.resumed_us = resumed_us;
	m.waited = fill_latency(&waited, &st->waited);
	m.network = fill_latency(&network, &st->network);
	mfd_session_send(s, MFD_WIRE_COMMITTED, &m.base);
}

void mfd_say_resume_ok(struct mfd_session *s)
{
	Mfd__ResumeOk ok = MFD__RESUME_OK__INIT;

	ok.state = (char *)mfd_session_state_text(s);
	ok.has_channels = ok.has_packet_size = 1;
	ok.channels = s->limits.channels;
	ok.packet_size = s->limits.packet_size;
	ok.has_settings = ok.settings = 1;
	ok.room = mfd_memory_room(s);
	ok.has_room = ok.room != UINT64_MAX;
	mfd_session_send(s, MFD_WIRE_RESUME_OK, &ok.base);
}

void mfd_say_abort(struct mfd_session *s, int code, const char *reason)
{
	Mfd__Abort m = MFD__ABORT__INIT;

	m.reason = (char *)reason;
	m.has_code = 1;
	m.code = code;
	m.has_ended_id = s->end.buried;
	m.ended_id.data = s->id;
	m.ended_id.len = m.has_ended_id ? sizeof(s->id) : 0;
	m.has_ran = m.has_by_person = m.has_ended_id;
	m.ran = s->restore.hold.ran || s->times.running_us || s->times.committed_us;
	m.by_person = s->end.by_person;
	mfd_session_send(s, MFD_WIRE_ABORT, &m.base);
}

void mfd_say_ping(struct mfd_session *s)
{
	Mfd__Ping m = MFD__PING__INIT;

	mfd_session_send(s, MFD_WIRE_PING, &m.base);
}

void mfd_say_limit(struct mfd_session *s)
{
	Mfd__Set m = MFD__SET__INIT;
	char value[24];
	uint64_t now;
	int known;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->link.state == MFD_LINK_JOINED);
	if (!s->pace)
		return;
	pthread_mutex_lock(&s->lock);
	now = s->setting.max_bandwidth;
	known = s->setting.offered;
	pthread_mutex_unlock(&s->lock);
	if (!known || (now && now <= s->owner.right->max_bandwidth))
		return;
	snprintf(value, sizeof(value), "%llu", (unsigned long long)s->owner.right->max_bandwidth);
	m.name = (char *)"max-bandwidth";
	m.value = value; /* id 0: no person waits for the answer */
	mfd_session_send(s, MFD_WIRE_SET, &m.base);
}
