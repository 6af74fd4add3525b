// SPDX-License-Identifier: GPL-2.0-only
/* The list of connections, and which of them have to go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "peer.h"
#include "server.h"
#include "wire.h"

#define SHARES	256   /* different peers may share a number: then they share a fate */
#define TELL_MS 10000 /* between two lines about connections that were turned away */
#define LAST_MS 1000  /* for the last words to a peer whose time is over */

void mfd_peers_init(struct mfd_peers *l, unsigned max_waiting)
{
	pthread_mutex_init(&l->lock, NULL);
	l->max_waiting = max_waiting < MFD_PEER_MAX_WAITING ? max_waiting : MFD_PEER_MAX_WAITING;
}

static unsigned *count_of(struct mfd_peers *l, const struct mfd_peer *p)
{
	static unsigned none;

	return p->state == MFD_PEER_WAITING ? &l->waiting :
	       p->state == MFD_PEER_PENDING ? &l->pending :
					      &none;
}

/* peers.lock held. */
static void enter(struct mfd_peers *l, struct mfd_peer *p, enum mfd_peer_state state)
{
	mfd_assert(state > p->state || state == MFD_PEER_WAITING);
	if (p->state != MFD_PEER_ADMITTED && state != MFD_PEER_WAITING)
		--*count_of(l, p);
	p->state = state;
	if (state != MFD_PEER_ADMITTED)
		++*count_of(l, p);
}

static void enlist(struct mfd_peers *l, struct mfd_peer *p)
{
	pthread_mutex_lock(&l->lock);
	p->deadline = mfd_io_now_ms() + MFD_PEER_GREETING_TIMEOUT;
	p->next = l->all;
	l->all = p;
	enter(l, p, MFD_PEER_WAITING);
	pthread_mutex_unlock(&l->lock);
}

static unsigned share_of(const char *text, size_t len)
{
	unsigned h = 5381;

	while (len--)
		h = h * 33 + (unsigned char)*text++;
	return h % SHARES;
}

size_t mfd_peer_address_len(const struct mfd_peer *p)
{
	const char *port = strrchr(p->where, ':');

	return port ? (size_t)(port - p->where) : strlen(p->where);
}

struct mfd_peer *mfd_peer_open(struct mfd_server *sv, struct mfd_conn *conn)
{
	struct mfd_peer *p = calloc(1, sizeof(*p));

	if (!p) {
		mfd_conn_close(conn);
		return NULL;
	}
	p->server = sv;
	mfd_control_init(&p->control);
	p->control.max_body = MFD_PEER_MAX_BODY;
	mfd_conn_move(&p->control.conn, conn);
	mfd_conn_want(&p->control.conn, sizeof(struct mfd_wire_greeting));
	if (mfd_conn_peer_text(&p->control.conn, p->where, sizeof(p->where)))
		snprintf(p->where, sizeof(p->where), "?");
	snprintf(p->text, sizeof(p->text), "%s", p->where);
	p->share = share_of(p->where, mfd_peer_address_len(p));
	enlist(&sv->peers, p);
	return p;
}

/* Before it is closed: the main thread shuts down only what is on the list, and that is open. */
static void delist(struct mfd_peers *l, struct mfd_peer *p)
{
	struct mfd_peer **q;

	pthread_mutex_lock(&l->lock);
	for (q = &l->all; *q != p; q = &(*q)->next)
		;
	*q = p->next;
	if (p->state != MFD_PEER_ADMITTED)
		enter(l, p, MFD_PEER_ADMITTED);
	pthread_mutex_unlock(&l->lock);
}

void mfd_peer_close(struct mfd_peer *p)
{
	delist(&p->server->peers, p);
	mfd_control_close(&p->control);
	free(p);
}

void mfd_peer_identified(struct mfd_peer *p)
{
	const char *identity = mfd_conn_identity(&p->control.conn);
	struct mfd_peers *l = &p->server->peers;

	mfd_assert(p->state == MFD_PEER_PENDING);
	if (!*identity)
		return;
	snprintf(p->text, sizeof(p->text), "%s, %s", p->where, identity);
	pthread_mutex_lock(&l->lock);
	p->share = share_of(identity, strlen(identity));
	pthread_mutex_unlock(&l->lock);
}

void mfd_peer_admit(struct mfd_peer *p)
{
	struct mfd_peers *l = &p->server->peers;

	pthread_mutex_lock(&l->lock);
	enter(l, p, MFD_PEER_ADMITTED);
	pthread_mutex_unlock(&l->lock);
	mfd_threads_wake(&p->server->pool); /* one more may begin */
}

static void set_served(struct mfd_peer *p, int served)
{
	struct mfd_peers *l = &p->server->peers;

	pthread_mutex_lock(&l->lock);
	mfd_assert(p->state != MFD_PEER_WAITING);
	mfd_assert(p->served != served);
	p->served = served;
	if (!p->expired)
		p->deadline = mfd_io_now_ms() + MFD_PEER_GREETING_TIMEOUT;
	pthread_mutex_unlock(&l->lock);
}

void mfd_peer_serve(struct mfd_peer *p)
{
	set_served(p, 1);
}

void mfd_peer_answered(struct mfd_peer *p)
{
	set_served(p, 0);
}

int mfd_peer_has_expired(struct mfd_peer *p)
{
	struct mfd_peers *l = &p->server->peers;
	int yes;

	pthread_mutex_lock(&l->lock);
	yes = p->expired;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

unsigned mfd_peers_watch(struct mfd_peers *l, struct pollfd *fds, struct mfd_peer **of,
			 unsigned max)
{
	struct mfd_peer *p;
	unsigned n = 0;

	pthread_mutex_lock(&l->lock);
	for (p = l->all; p && n < max; p = p->next) {
		if (p->state != MFD_PEER_WAITING)
			continue;
		mfd_conn_watch(&p->control.conn, &fds[n]);
		of[n++] = p;
	}
	pthread_mutex_unlock(&l->lock);
	return n;
}

/* It is the peer that keeps the server waiting. */
static int is_in(const struct mfd_peer *p, enum mfd_peer_state state)
{
	return p->state == state && !p->served;
}

/* peers.lock held: the oldest in this state of the peer that has most in it. */
static struct mfd_peer *one_too_many(const struct mfd_peers *l, enum mfd_peer_state state)
{
	unsigned n[SHARES] = { 0 }, most = 0;
	struct mfd_peer *p, *one = NULL;

	for (p = l->all; p; p = p->next)
		if (is_in(p, state) && ++n[p->share] > most)
			most = n[p->share];
	for (p = l->all; p; p = p->next)
		if (is_in(p, state) && n[p->share] == most)
			one = p;
	return one;
}

/*
 * peers.lock held.  Its thread says why, and closes it.  What a peer goes on sending can still be
 * read after mfd_conn_stop_reading: LAST_MS later both ways are shut.
 */
static void end_pending(struct mfd_peer *p, uint64_t now)
{
	if (!p->expired) {
		p->expired = 1;
		p->deadline = now;
		mfd_conn_stop_reading(&p->control.conn);
	} else if (now > p->deadline + LAST_MS) {
		mfd_conn_shutdown(&p->control.conn);
	}
}

int mfd_peers_begin(struct mfd_peer *p)
{
	struct mfd_peers *l = &p->server->peers;
	struct mfd_peer *other;
	int yes;

	pthread_mutex_lock(&l->lock);
	yes = l->pending < MFD_PEER_MAX_PENDING;
	other = yes ? NULL : one_too_many(l, MFD_PEER_PENDING);
	if (other && mfd_io_now_ms() + MFD_PEER_GREETING_TIMEOUT >=
			     other->deadline + MFD_PEER_GREETING_GRACE)
		end_pending(other, mfd_io_now_ms());
	if (yes)
		enter(l, p, MFD_PEER_PENDING);
	pthread_mutex_unlock(&l->lock);
	if (yes)
		mfd_conn_want(&p->control.conn, 1);
	return yes;
}

/* The next one that waits and must go, off the list; NULL: none. */
static struct mfd_peer *next_to_go(struct mfd_peers *l, uint64_t now)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&l->lock);
	for (p = l->all; p && (p->state != MFD_PEER_WAITING || now <= p->deadline);)
		p = p->next;
	pthread_mutex_unlock(&l->lock);
	return p;
}

static void end_all_pending(struct mfd_peers *l, uint64_t now)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&l->lock);
	for (p = l->all; p; p = p->next)
		if (is_in(p, MFD_PEER_PENDING) && now > p->deadline)
			end_pending(p, now);
	pthread_mutex_unlock(&l->lock);
}

/* A line for each would be a way to fill the log. */
static void tell_turned_away(struct mfd_peers *l, uint64_t now)
{
	if (!l->turned_away || (l->told_ms && now - l->told_ms < TELL_MS))
		return;
	mfd_log_warn("%u connections were closed because they had sent no greeting",
		     l->turned_away);
	l->told_ms = now;
	l->turned_away = 0;
}

void mfd_peers_expire(struct mfd_peers *l)
{
	uint64_t now = mfd_io_now_ms();
	struct mfd_peer *p;

	while ((p = next_to_go(l, now))) {
		mfd_log_debug("%s: no greeting within %u ms: closed", p->text,
			      MFD_PEER_GREETING_TIMEOUT);
		l->turned_away++;
		mfd_peer_close(p);
	}
	end_all_pending(l, now);
	tell_turned_away(l, now);
}

void mfd_peers_make_room(struct mfd_peers *l)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&l->lock);
	p = l->waiting >= l->max_waiting ? one_too_many(l, MFD_PEER_WAITING) : NULL;
	pthread_mutex_unlock(&l->lock);
	if (!p)
		return;
	l->turned_away++;
	mfd_peer_close(p);
}

void mfd_peers_shutdown(struct mfd_peers *l)
{
	struct mfd_peer *p;

	while ((p = next_to_go(l, UINT64_MAX)))
		mfd_peer_close(p);
	pthread_mutex_lock(&l->lock);
	for (p = l->all; p; p = p->next)
		mfd_conn_shutdown(&p->control.conn);
	pthread_mutex_unlock(&l->lock);
}
