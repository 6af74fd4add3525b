// SPDX-License-Identifier: GPL-2.0-only
/* The list of connections, and which of them are still pending. */
#include <stdio.h>
#include <stdlib.h>

#include "io.h"
#include "peer.h"
#include "server.h"

void mfd_peers_init(struct mfd_peers *l)
{
	pthread_mutex_init(&l->lock, NULL);
}

static void enlist(struct mfd_peers *l, struct mfd_peer *p)
{
	pthread_mutex_lock(&l->lock);
	p->deadline = mfd_io_now_ms() + MFD_PEER_GREETING_TIMEOUT;
	p->next = l->all;
	l->all = p;
	l->pending++;
	pthread_mutex_unlock(&l->lock);
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
	mfd_conn_move(&p->control.conn, conn);
	if (mfd_conn_peer_text(&p->control.conn, p->text, sizeof(p->text)))
		snprintf(p->text, sizeof(p->text), "?");
	enlist(&sv->peers, p);
	return p;
}

/* peers.lock held. */
static void no_longer_pending(struct mfd_peers *l, struct mfd_peer *p)
{
	if (p->deadline)
		l->pending--;
	p->deadline = 0;
}

/* Before it is closed: the main thread shuts down only what is on the list, and that is open. */
static void delist(struct mfd_peers *l, struct mfd_peer *p)
{
	struct mfd_peer **q;

	pthread_mutex_lock(&l->lock);
	for (q = &l->all; *q != p; q = &(*q)->next)
		;
	*q = p->next;
	no_longer_pending(l, p);
	pthread_mutex_unlock(&l->lock);
}

void mfd_peer_close(struct mfd_peer *p)
{
	delist(&p->server->peers, p);
	mfd_control_close(&p->control);
	free(p);
}

void mfd_peer_admit(struct mfd_peer *p)
{
	struct mfd_peers *l = &p->server->peers;

	pthread_mutex_lock(&l->lock);
	no_longer_pending(l, p);
	pthread_mutex_unlock(&l->lock);
	mfd_threads_wake(&p->server->pool); /* one more may be accepted */
}

void mfd_peers_expire(struct mfd_peers *l)
{
	uint64_t now = mfd_io_now_ms();
	struct mfd_peer *p;

	pthread_mutex_lock(&l->lock);
	for (p = l->all; p; p = p->next)
		if (p->deadline && now > p->deadline)
			mfd_conn_shutdown(&p->control.conn);
	pthread_mutex_unlock(&l->lock);
}

void mfd_peers_shutdown(struct mfd_peers *l)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&l->lock);
	for (p = l->all; p; p = p->next)
		mfd_conn_shutdown(&p->control.conn);
	pthread_mutex_unlock(&l->lock);
}

/* peers.lock held. */
static struct mfd_peer *oldest_pending(const struct mfd_peers *l)
{
	struct mfd_peer *p, *oldest = NULL;

	for (p = l->all; p; p = p->next)
		if (p->deadline)
			oldest = p;
	return oldest;
}

/*
 * When there are too many, the oldest has to go, so that connections that say nothing cannot keep
 * out one that would; but each has some time.
 */
int mfd_peers_have_room(struct mfd_peers *l)
{
	int yes;

	pthread_mutex_lock(&l->lock);
	yes = l->pending < MFD_PEER_MAX_PENDING ||
	      mfd_io_now_ms() + MFD_PEER_GREETING_TIMEOUT >=
		      oldest_pending(l)->deadline + MFD_PEER_GREETING_GRACE;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

void mfd_peers_make_room(struct mfd_peers *l)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&l->lock);
	p = l->pending >= MFD_PEER_MAX_PENDING ? oldest_pending(l) : NULL;
	if (p) {
		no_longer_pending(l, p);
		mfd_conn_shutdown(&p->control.conn);
	}
	pthread_mutex_unlock(&l->lock);
}
