// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker's main thread: accepts, gives each connection a thread and a deadline for its
 * greeting, and joins what has ended. It never blocks on a peer.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "takeover.h"

void mfd_listener_wake(struct mfd_server *sv)
{
	uint64_t one = 1;

	if (write(sv->pool.wake, &one, sizeof(one)) < 0)
		errno = 0;
}

void mfd_listener_settled(struct mfd_peer *p)
{
	struct mfd_server *sv = p->server;

	pthread_mutex_lock(&sv->lock);
	if (p->deadline) {
		p->deadline = 0;
		sv->pending--;
	}
	pthread_mutex_unlock(&sv->lock);
	mfd_listener_wake(sv); /* there may be room again */
}

static void enlist(struct mfd_peer *p)
{
	struct mfd_server *sv = p->server;

	pthread_mutex_lock(&sv->lock);
	p->deadline = mfd_io_now_ms() + MFD_SERVER_GREETING_TIMEOUT;
	p->next = sv->peers;
	sv->peers = p;
	sv->pending++;
	pthread_mutex_unlock(&sv->lock);
}

/* Off the list before it is closed: whoever shuts connections down finds only open ones. */
static void delist(struct mfd_peer *p)
{
	struct mfd_server *sv = p->server;
	struct mfd_peer **q;

	pthread_mutex_lock(&sv->lock);
	for (q = &sv->peers; *q != p; q = &(*q)->next)
		;
	*q = p->next;
	if (p->deadline)
		sv->pending--;
	pthread_mutex_unlock(&sv->lock);
}

static void close_peer(struct mfd_peer *p)
{
	delist(p);
	mfd_control_close(&p->control);
	free(p);
}

/*
 * Silence on a connection is normal (a channel may rest); the session's thread watches over all of
 * them together.
 */
static struct mfd_conn_config config(const struct mfd_server *sv)
{
	return (struct mfd_conn_config){ .stall_ms = sv->stall_ms, .silence_is_normal = 1 };
}

static void greet(struct mfd_peer *p)
{
	struct mfd_wire_greeting g;
	const char *why = NULL;
	int ret = mfd_conn_recv(&p->control.conn, &g, sizeof(g));

	if (ret) {
		mfd_log_warn("%s: no greeting: %s", p->text,
			     ret == -ECONNRESET ? "closed" : strerror(-ret));
		return;
	}
	ret = mfd_wire_greeting_open(&g, &why);
	if (ret == -EPROTONOSUPPORT && g.role == MFD_WIRE_ROLE_CONTROL) {
		mfd_control_send_abort(
			&p->control, ret,
			"the restore server does not speak this version of the protocol");
	} else if (ret == -EPROTONOSUPPORT) {
		mfd_receive_answer(p, MFD_WIRE_JOIN_VERSION);
	}
	if (ret)
		mfd_log_warn("%s: refused: %s", p->text, why ? why : "bad greeting");
	else if (g.role == MFD_WIRE_ROLE_CONTROL)
		mfd_control_main(p, &g);
	else
		mfd_receive_main(p, &g);
}

static void connection_thread(void *arg)
{
	const struct mfd_conn_config cfg = config(((struct mfd_peer *)arg)->server);
	struct mfd_error err = { 0 };
	struct mfd_peer *p = arg;

	if (mfd_conn_handshake(&p->control.conn, MFD_CONN_TARGET, &cfg, &err))
		mfd_log_warn("%s: refused: %s", p->text, mfd_error_text(&err));
	else
		greet(p);
	close_peer(p);
}

static void take_connection(struct mfd_server *sv, struct mfd_conn *conn)
{
	const struct mfd_conn_config cfg = config(sv);
	struct mfd_peer *p = calloc(1, sizeof(*p));
	int ret;

	if (!p) {
		mfd_conn_close(conn);
		return;
	}
	p->server = sv;
	mfd_control_init(&p->control);
	mfd_conn_move(&p->control.conn, conn);
	if (mfd_conn_peer_text(&p->control.conn, p->text, sizeof(p->text)))
		snprintf(p->text, sizeof(p->text), "?");
	enlist(p);
	ret = mfd_conn_configure(&p->control.conn, &cfg);
	if (!ret)
		ret = mfd_threads_start(&sv->pool, connection_thread, p);
	if (ret) {
		mfd_log_error("%s: %s", p->text, strerror(-ret));
		close_peer(p);
	}
}

static void accept_all(struct mfd_server *sv)
{
	struct mfd_conn conn = { 0 };
	int ret = mfd_conn_accept(&conn, sv->listen_fd);

	if (!ret) {
		take_connection(sv, &conn);
	} else if (ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM) {
		mfd_log_error("accept: %s", strerror(-ret));
		/* the connection stays in the queue and poll() would come back at once */
		usleep(100000);
	}
}

static void expire(struct mfd_server *sv)
{
	uint64_t now = mfd_io_now_ms();
	struct mfd_peer *p;

	pthread_mutex_lock(&sv->lock);
	for (p = sv->peers; p; p = p->next) {
		if (p->deadline && now > p->deadline)
			mfd_conn_shutdown(&p->control.conn);
	}
	pthread_mutex_unlock(&sv->lock);
}

static void shutdown_peers(struct mfd_server *sv)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&sv->lock);
	for (p = sv->peers; p; p = p->next)
		mfd_conn_shutdown(&p->control.conn);
	pthread_mutex_unlock(&sv->lock);
}

/* sv->lock; the newest is first in the list. */
static struct mfd_peer *oldest_pending(struct mfd_server *sv)
{
	struct mfd_peer *p, *oldest = NULL;

	for (p = sv->peers; p; p = p->next) {
		if (p->deadline)
			oldest = p;
	}
	return oldest;
}

/*
 * Room for one more connection whose peer has not said who it is?  When there are too many the
 * oldest has to go, so that those that say nothing cannot keep out one that would; but each has
 * some time.
 */
static int room(struct mfd_server *sv)
{
	int yes;

	pthread_mutex_lock(&sv->lock);
	yes = !sv->stopping && (sv->pending < MFD_SERVER_MAX_PENDING ||
				mfd_io_now_ms() + MFD_SERVER_GREETING_TIMEOUT >=
					oldest_pending(sv)->deadline + MFD_SERVER_GREETING_GRACE);
	pthread_mutex_unlock(&sv->lock);
	return yes;
}

static void make_room(struct mfd_server *sv)
{
	struct mfd_peer *p;

	pthread_mutex_lock(&sv->lock);
	if (sv->pending >= MFD_SERVER_MAX_PENDING && (p = oldest_pending(sv))) {
		p->deadline = 0;
		sv->pending--;
		mfd_conn_shutdown(&p->control.conn);
	}
	pthread_mutex_unlock(&sv->lock);
}

static void stop(struct mfd_server *sv, unsigned level)
{
	pthread_mutex_lock(&sv->lock);
	sv->stopping = level;
	pthread_mutex_unlock(&sv->lock);
	if (sv->listen_fd >= 0)
		mfd_io_close(&sv->listen_fd);
	mfd_log_info("ending%s", level > 1 ? " at once" : "");
	mfd_session_stop_all(sv, level);
}

static void asked_to_stop(struct mfd_server *sv)
{
	uint64_t n = 0;

	if (read(sv->stop_fd, &n, sizeof(n)) == sizeof(n))
		stop(sv, sv->stopping + (unsigned)n);
}

/*
 * The supervisor is gone: as if it had asked.  Restored tasks that lack pages keep us alive until
 * they have them.
 */
static void supervisor_died(struct mfd_server *sv)
{
	mfd_log_error("the supervisor died");
	mfd_io_close(&sv->stop_fd);
	if (!sv->stopping)
		stop(sv, 1);
}

static int finished(struct mfd_server *sv)
{
	int yes;

	pthread_mutex_lock(&sv->lock);
	yes = sv->stopping ? !sv->n_sessions : sv->once && sv->ended;
	pthread_mutex_unlock(&sv->lock);
	return yes;
}

static void turn(struct mfd_server *sv)
{
	int may_accept = room(sv);
	struct pollfd fds[] = {
		{ .fd = may_accept ? sv->listen_fd : -1, .events = POLLIN },
		{ .fd = sv->request_fd, .events = POLLIN },
		{ .fd = sv->pool.wake, .events = POLLIN },
		{ .fd = sv->stop_fd, .events = POLLIN },
		/* Only its end: answers on it are read under guard_lock. */
		{ .fd = sv->stop_fd >= 0 ? sv->guard_fd : -1, .events = 0 },
	};

	if (poll(fds, sizeof(fds) / sizeof(fds[0]), may_accept ? 500 : 50) < 0)
		return;
	expire(sv);
	mfd_threads_reap(&sv->pool);
	mfd_memory_publish(sv);
	if (fds[3].revents & POLLIN)
		asked_to_stop(sv);
	else if (fds[4].revents & (POLLHUP | POLLERR))
		supervisor_died(sv);
	if (fds[1].revents & POLLIN)
		mfd_requests_accept(sv);
	if (fds[0].revents & POLLIN && sv->listen_fd >= 0) {
		make_room(sv);
		accept_all(sv);
	}
}

int mfd_listener_run(struct mfd_server *sv)
{
	struct mfd_error err = { 0 };
	int ret = mfd_threads_init(&sv->pool);

	pthread_mutex_init(&sv->lock, NULL);
	pthread_mutex_init(&sv->guard_lock, NULL);
	if (!ret)
		ret = mfd_requests_listen(sv, &err);
	if (ret) {
		mfd_log_error("%s", err.code ? mfd_error_text(&err) : strerror(-ret));
		return 1;
	}
	mfd_memory_begin(sv);
	mfd_reload_all(sv);
	if (mfd_guard_ready(sv))
		return 1;
	mfd_takeover_free(sv);
	while (!finished(sv))
		turn(sv);
	/* --once: others that are still at work end as if the server was asked to. */
	if (!sv->stopping)
		stop(sv, 1);
	while (!finished(sv))
		turn(sv);
	shutdown_peers(sv);
	mfd_threads_join(&sv->pool);
	mfd_memory_unpublish(sv);
	mfd_budget_fini(&sv->budget);
	return sv->once ? sv->result : 0;
}
