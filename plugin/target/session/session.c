// SPDX-License-Identifier: GPL-2.0-only
/* Session objects: the list of them, references, and how connections attach and let go. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "joinproof.h"
#include "log.h"
#include "pace.h"
#include "session.h"
#include "share.h"

static void take_ref(void *arg)
{
	struct mfd_session *s = arg;

	mfd_assert(s->server);
	mfd_assert(atomic_load(&s->refs));
	atomic_fetch_add(&s->refs, 1);
}

static void drop_ref(void *arg)
{
	mfd_session_put(arg);
}

static struct mfd_session *alloc(struct mfd_server *sv, const char *name)
{
	struct mfd_session *s = aligned_alloc(64, sizeof(*s)); /* the channels' counters are */
	pthread_condattr_t attr;

	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->server = sv;
	s->dirfd = -1;
	s->setting.max_bandwidth = MFD_SETTING_UNKNOWN;
	s->inbox.mail_end = &s->inbox.mail;
	snprintf(s->name, sizeof(s->name), "%s", name);
	atomic_init(&s->refs, 2);
	pthread_mutex_init(&s->send_lock, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_rwlock_init(&s->rounds.gate, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	mfd_filesink_init(&s->files, -1);
	mfd_restore_init(&s->restore, &(struct mfd_restore_what){ .name = s->name,
								  .host = &sv->criu,
								  .pool = &sv->pool,
								  .lock = &s->lock,
								  .cond = &s->cond,
								  .ref = take_ref,
								  .unref = drop_ref,
								  .arg = s });
	return s;
}

static struct mfd_session *find_locked(struct mfd_server *sv, const char *name)
{
	struct mfd_session *s;

	for (s = sv->sessions; s; s = s->next) {
		if (!strcmp(s->name, name))
			return s;
	}
	return NULL;
}

int mfd_session_claim(struct mfd_server *sv, const char *name, enum mfd_claim why,
		      struct mfd_owner *owner, struct mfd_session **out, struct mfd_error *err)
{
	struct mfd_session *s = NULL;
	int ret = 0;

	pthread_mutex_lock(&sv->lock);
	if (sv->ending)
		ret = -ESHUTDOWN;
	else if (find_locked(sv, name))
		ret = -EEXIST;
	else if (why == MFD_CLAIM_NEW)
		ret = mfd_share_place(sv, owner, err);
	if (!ret && !(s = alloc(sv, name)))
		ret = -ENOMEM;
	if (!ret) {
		if (owner) {
			s->owner = *owner;
			*owner = (struct mfd_owner){ .rights = NULL };
		}
		s->next = sv->sessions;
		sv->sessions = s;
		sv->n_sessions++;
	}
	pthread_mutex_unlock(&sv->lock);
	*out = s;
	return ret;
}

/* Folder, store, journal, images, the pager's own, a restore's. */
#define DESCRIPTORS 24U

static unsigned descriptors_of(const struct mfd_session *s)
{
	return DESCRIPTORS + s->limits.channels + 1U + (s->plan->follow ? 1U : 0U);
}

/* server->lock held */
static int fit(struct mfd_session *s, struct mfd_error *err)
{
	unsigned channels = mfd_share_channels(s->server, &s->owner);

	mfd_assert(!atomic_load(&s->thread));
	mfd_assert(channels || s->owner.right);
	if (!channels)
		return mfd_error_set(err, -EDQUOT,
				     "%s has all the channels on this restore server that it may "
				     "have: its operator can raise 'max-channels' in %.120s there",
				     mfd_owner_text(&s->owner), mfd_rights_path(s->owner.rights));
	if (s->limits.channels > channels)
		s->limits.channels = channels;
	return mfd_share_descriptors(s->server, &s->owner, descriptors_of(s), err);
}

int mfd_session_set_aside(struct mfd_session *s, enum mfd_claim why, struct mfd_error *err)
{
	struct mfd_server *sv = s->server;
	int ret = 0;

	mfd_assert(!s->descriptors && !s->channels);
	mfd_assert(s->plan && s->limits.channels);
	pthread_mutex_lock(&sv->lock);
	if (why == MFD_CLAIM_NEW)
		ret = fit(s, err);
	if (!ret) {
		s->channels = s->limits.channels;
		s->pace = mfd_pace_take(sv, s);
		sv->descriptors += s->descriptors = descriptors_of(s);
	}
	pthread_mutex_unlock(&sv->lock);
	return ret;
}

/* The list's reference goes. */
static void unlist(struct mfd_session *s)
{
	struct mfd_server *sv = s->server;
	struct mfd_session **p;

	pthread_mutex_lock(&sv->lock);
	for (p = &sv->sessions; *p != s; p = &(*p)->next)
		;
	*p = s->next;
	sv->n_sessions--;
	sv->n_doubt -= (unsigned)s->in_doubt;
	sv->descriptors -= s->descriptors;
	mfd_pace_put(sv, s->pace);
	pthread_mutex_unlock(&sv->lock);
	mfd_session_put(s);
}

void mfd_session_doubt(struct mfd_session *s, int in_doubt)
{
	struct mfd_server *sv = s->server;

	mfd_assert(in_doubt == 0 || in_doubt == 1);
	if (s->in_doubt != in_doubt)
		mfd_log_info("%s: %sin doubt, of %s", s->name, in_doubt ? "" : "no more ",
			     mfd_owner_text(&s->owner));
	pthread_mutex_lock(&sv->lock);
	mfd_assert(sv->n_doubt >= (unsigned)s->in_doubt);
	sv->n_doubt += (unsigned)in_doubt;
	sv->n_doubt -= (unsigned)s->in_doubt;
	s->in_doubt = in_doubt;
	pthread_mutex_unlock(&sv->lock);
}

void mfd_session_unclaim(struct mfd_session *s)
{
	unlist(s);
	mfd_session_put(s);
}

struct mfd_session *mfd_session_find(struct mfd_server *sv, const char *name)
{
	struct mfd_session *s;

	pthread_mutex_lock(&sv->lock);
	s = find_locked(sv, name);
	if (s)
		atomic_fetch_add(&s->refs, 1);
	pthread_mutex_unlock(&sv->lock);
	return s;
}

static int is(struct mfd_session *s, const struct mfd_peer *p, const struct mfd_joinproof *j,
	      const struct mfd_wire_greeting *g)
{
	int yes;

	pthread_mutex_lock(&s->lock);
	yes = s->presence == MFD_PRESENCE_LIVE && !memcmp(s->id, g->session, sizeof(s->id)) &&
	      mfd_joinproof_fits(j, s->secret, g->secret) &&
	      !strcmp(s->owner.identity, mfd_conn_identity(&p->control.conn));
	pthread_mutex_unlock(&s->lock);
	return yes;
}

struct mfd_session *mfd_session_find_id(struct mfd_peer *p, const struct mfd_wire_greeting *g)
{
	struct mfd_server *sv = p->server;
	struct mfd_joinproof j;
	struct mfd_session *s;

	if (mfd_joinproof_begin(&j, &p->control.conn, g))
		return NULL;
	pthread_mutex_lock(&sv->lock);
	for (s = sv->sessions; s; s = s->next) {
		if (is(s, p, &j, g)) {
			atomic_fetch_add(&s->refs, 1);
			break;
		}
	}
	pthread_mutex_unlock(&sv->lock);
	return s;
}

void mfd_session_drop_mail(struct mfd_session *s)
{
	mfd_assert(!s->inbox.mail == !s->inbox.n_mail);
	mfd_assert(s->inbox.n_mail <= MFD_INBOX_MAX_MAIL);
	while (s->inbox.mail) {
		struct mfd_mail *m = s->inbox.mail;

		s->inbox.mail = m->next;
		protobuf_c_message_free_unpacked(m->msg, NULL);
		free(m);
	}
	s->inbox.mail_end = &s->inbox.mail;
	s->inbox.n_mail = 0;
}

void mfd_session_put(struct mfd_session *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	mfd_assert(!atomic_load(&s->pager));
	mfd_assert(!s->link.control && !s->link.attached);
	mfd_session_drop_mail(s);
	mfd_restore_free(&s->restore);
	if (s->store)
		mfd_pagestore_close(s->store);
	while (s->asked.n_restore_options)
		free(s->asked.restore_options[--s->asked.n_restore_options]);
	free(s->asked.restore_options);
	while (s->asked.n_move_addresses)
		free(s->asked.move_addresses[--s->asked.n_move_addresses]);
	free(s->asked.move_addresses);
	mfd_tables_free(&s->tables);
	mfd_filesink_free(&s->files);
	mfd_io_close(&s->dirfd);
	mfd_owner_release(&s->owner);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	pthread_rwlock_destroy(&s->rounds.gate);
	pthread_mutex_destroy(&s->send_lock);
	explicit_bzero(s->secret, sizeof(s->secret));
	free(s);
}

void mfd_session_stop_all(struct mfd_server *sv, unsigned level)
{
	struct mfd_session *s;

	pthread_mutex_lock(&sv->lock);
	sv->ending = 1;
	for (s = sv->sessions; s; s = s->next) {
		pthread_mutex_lock(&s->lock);
		s->inbox.stopping = level;
		pthread_cond_broadcast(&s->cond);
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&sv->lock);
}

int mfd_session_fail(struct mfd_session *s, int code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&s->lock);
	mfd_error_set(&s->inbox.failure, code, "%s", text);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	return code;
}

int mfd_session_send(struct mfd_session *s, unsigned type, const ProtobufCMessage *msg)
{
	return mfd_session_send_within(s, type, msg, s->server->stall_ms);
}

int mfd_session_send_within(struct mfd_session *s, unsigned type, const ProtobufCMessage *msg,
			    unsigned ms)
{
	int ret = -ENOTCONN;

	pthread_mutex_lock(&s->send_lock);
	if (s->link.control)
		ret = mfd_control_send_within(&s->link.control->control, type, msg, ms);
	if (ret == -ETIMEDOUT) /* a part of the message may be sent: nothing can follow it */
		mfd_conn_shutdown(&s->link.control->control.conn);
	pthread_mutex_unlock(&s->send_lock);
	if (ret == -ETIMEDOUT)
		mfd_log_warn("%s: the source does not read what it is told: %s", s->name,
			     mfd_wire_msg_name(type));
	else if (ret)
		mfd_log_debug("%s: %s not sent: %s", s->name, mfd_wire_msg_name(type),
			      strerror(-ret));
	return ret;
}

/* ---- control connection ---- */

/* An earlier control connection that still seems alive gives way to one that knows the secret. */
static int oust(struct mfd_session *s)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 5;
	pthread_mutex_lock(&s->lock);
	if (s->link.control)
		mfd_conn_shutdown(&s->link.control->control.conn);
	while (s->link.control && s->presence != MFD_PRESENCE_ENDING) {
		if (pthread_cond_timedwait(&s->cond, &s->lock, &until))
			break;
	}
	/* The loss must have been dealt with, else it would hit the new connection. */
	while (s->inbox.lost && s->presence != MFD_PRESENCE_ENDING) {
		if (pthread_cond_timedwait(&s->cond, &s->lock, &until))
			break;
	}
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int mfd_session_attach_control(struct mfd_session *s, struct mfd_peer *p, enum mfd_outcome outcome)
{
	int ret = 0;

	mfd_assert(p);
	if (outcome != MFD_OUTCOME_NONE)
		oust(s);
	pthread_mutex_lock(&s->send_lock);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->link.control != p);
	if (s->presence == MFD_PRESENCE_ENDING)
		ret = -ENOENT;
	else if (s->link.control || s->inbox.lost)
		ret = -EBUSY;
	if (!ret) {
		s->link.control = p;
		s->inbox.resume = outcome;
		pthread_cond_broadcast(&s->cond);
	}
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->send_lock);
	mfd_session_heard(s, mfd_io_now_ms());
	return ret;
}

static void note_loss(struct mfd_session *s, enum mfd_lost lost, const char *what, const char *why)
{
	mfd_assert(lost != MFD_LOST_NOTHING);
	mfd_assert(why);
	if (!s->inbox.lost)
		snprintf(s->inbox.lost_text, sizeof(s->inbox.lost_text), "%s: %s", what, why);
	if (s->inbox.lost < lost)
		s->inbox.lost = lost;
}

void mfd_session_detach_control(struct mfd_session *s, struct mfd_peer *p, const char *why)
{
	mfd_assert(p && why);
	mfd_assert(s->server == p->server);
	pthread_mutex_lock(&s->send_lock);
	pthread_mutex_lock(&s->lock);
	if (s->link.control == p) {
		s->link.control = NULL;
		s->inbox.resume = MFD_OUTCOME_NONE;
		note_loss(s, MFD_LOST_CONTROL, "control connection", why);
		pthread_cond_broadcast(&s->cond);
	}
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->send_lock);
}

int mfd_session_post(struct mfd_session *s, unsigned type, uint64_t sync, ProtobufCMessage *msg)
{
	struct mfd_mail *m = calloc(1, sizeof(*m));
	int ret = 0;

	pthread_mutex_lock(&s->lock);
	mfd_assert(s->inbox.n_mail <= MFD_INBOX_MAX_MAIL);
	mfd_assert(!s->inbox.mail == !s->inbox.n_mail);
	if (!m || s->inbox.n_mail >= MFD_INBOX_MAX_MAIL) {
		ret = -EPROTO;
	} else {
		m->type = type;
		m->sync = sync;
		m->msg = msg;
		*s->inbox.mail_end = m;
		s->inbox.mail_end = &m->next;
		s->inbox.n_mail++;
		pthread_cond_broadcast(&s->cond);
	}
	pthread_mutex_unlock(&s->lock);
	if (ret) {
		protobuf_c_message_free_unpacked(msg, NULL);
		free(m);
	}
	return ret;
}

/* ---- data connections ---- */

unsigned mfd_session_join(struct mfd_session *s, struct mfd_peer *p, unsigned channel)
{
	unsigned status = MFD_WIRE_JOIN_OK;

	mfd_assert(p && s->server == p->server);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->link.attached <= MFD_WIRE_MAX_CHANNELS + 1);
	if (s->presence == MFD_PRESENCE_ENDING)
		status = MFD_WIRE_JOIN_SESSION;
	else if (channel == MFD_SESSION_URGENT ? !s->plan->follow : channel >= s->limits.channels)
		status = channel == MFD_SESSION_URGENT ? MFD_WIRE_JOIN_ROLE : MFD_WIRE_JOIN_CHANNEL;
	else if (s->link.channels[channel].peer)
		status = MFD_WIRE_JOIN_TWICE;
	else if (s->link.state != MFD_LINK_JOINING)
		status = MFD_WIRE_JOIN_ROLE;
	if (!status) {
		s->link.channels[channel].peer = p;
		s->link.attached++;
		pthread_cond_broadcast(&s->cond);
	}
	pthread_mutex_unlock(&s->lock);
	return status;
}

void mfd_session_leave(struct mfd_session *s, unsigned channel, const char *why)
{
	char what[32];

	mfd_assert(channel <= MFD_SESSION_URGENT);
	if (channel == MFD_SESSION_URGENT)
		snprintf(what, sizeof(what), "urgent channel");
	else
		snprintf(what, sizeof(what), "channel %u", channel);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->link.channels[channel].peer && s->link.attached);
	s->link.channels[channel].peer = NULL;
	s->link.attached--;
	if (why)
		note_loss(s, MFD_LOST_CHANNEL, what, why);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

void mfd_session_synced(struct mfd_session *s, unsigned channel, uint64_t sync)
{
	mfd_assert(channel <= MFD_SESSION_URGENT);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->link.channels[channel].peer);
	if (s->link.channels[channel].sync < sync)
		s->link.channels[channel].sync = sync;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

void mfd_session_request(struct mfd_session *s, struct mfd_request *r)
{
	mfd_assert(r && !r->done);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->inbox.request != r);
	while (s->inbox.request && s->presence != MFD_PRESENCE_ENDING)
		pthread_cond_wait(&s->cond, &s->lock);
	if (s->presence == MFD_PRESENCE_ENDING) {
		snprintf(r->answer, sizeof(r->answer), "error: session %s is just ending", s->name);
	} else {
		s->inbox.request = r;
		pthread_cond_broadcast(&s->cond);
		while (!r->done)
			pthread_cond_wait(&s->cond, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
}

int mfd_session_wait_until(struct mfd_session *s, uint64_t ms)
{
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000),
			       .tv_nsec = (long)(ms % 1000) * 1000000 };

	return -pthread_cond_timedwait(&s->cond, &s->lock, &ts);
}

void mfd_session_set_error(struct mfd_session *s, const char *text)
{
	if (s->error != text)
		snprintf(s->error, sizeof(s->error), "%s", text);
}

int mfd_session_has_deposits(struct mfd_session *s)
{
	int n;

	pthread_mutex_lock(&s->lock);
	n = s->deposits.all > 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}
