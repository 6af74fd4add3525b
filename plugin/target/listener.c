// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker's main thread: accepts, gives each connection a deadline for its greeting and, when
 * that has come, a thread, and joins threads that have ended.  It never blocks on a connection.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "by_ssh.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "nofile.h"
#include "memory_server.h"
#include "reread.h"
#include "session.h"

#define N_OWN	     7	/* descriptors of the main thread's own */
#define MAX_ACCEPTED 64 /* in one turn */

/*
 * Silence on a connection is normal (a channel may rest): the session's thread watches over all
 * connections of the session together.
 */
static struct mfd_conn_config config(const struct mfd_server *sv)
{
	return (struct mfd_conn_config){ .security = sv->security,
					 .connect_ms = MFD_PEER_GREETING_TIMEOUT,
					 .stall_ms = sv->stall_ms,
					 .silence_is_normal = 1 };
}

/* The first bytes of a handshake where a greeting should be. */
static int is_tls(const struct mfd_server *sv, const struct mfd_wire_greeting *g)
{
	return !sv->security && !memcmp(g, "\x16\x03", 2);
}

static void greet(struct mfd_peer *p)
{
	struct mfd_wire_greeting g;
	const char *why = NULL;
	int ret = mfd_conn_recv(&p->control.conn, &g, sizeof(g));

	if (ret) {
		mfd_log_warn("%s: no greeting: %s", p->text,
			     mfd_peer_has_expired(p) ? "its time was over" :
			     ret == -ECONNRESET	     ? "closed" :
						       strerror(-ret));
		return;
	}
	if (is_tls(p->server, &g))
		why = "the source uses TLS, this server does not (serve --tls-dir, --tls-psk)";
	ret = why ? -EPROTO : mfd_wire_greeting_open(&g, &why);
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
	struct mfd_peer *p = arg;
	const struct mfd_conn_config cfg = config(p->server);
	struct mfd_error err = { 0 };

	if (mfd_conn_handshake(&p->control.conn, MFD_CONN_TARGET, &cfg, &err)) {
		mfd_log_warn("%s: refused: %s", p->text, mfd_error_text(&err));
	} else {
		mfd_peer_identified(p);
		greet(p);
	}
	mfd_peer_close(p);
}

static void take_connection(struct mfd_server *sv, struct mfd_conn *conn)
{
	const struct mfd_conn_config cfg = config(sv);
	struct mfd_peer *p = mfd_peer_open(sv, conn);
	int ret;

	if (!p)
		return;
	ret = mfd_conn_configure(&p->control.conn, &cfg);
	if (ret) {
		mfd_log_error("%s: %s", p->text, strerror(-ret));
		mfd_peer_close(p);
	}
}

/* What it has sent is a greeting, or its end.  Nonzero: too many are at that just now. */
static int begin(struct mfd_peer *p)
{
	int ret;

	if (!mfd_peers_begin(p))
		return 1;
	ret = mfd_threads_start(&p->server->pool, connection_thread, p);
	if (ret) {
		mfd_log_error("%s: %s", p->text, strerror(-ret));
		mfd_peer_close(p);
	}
	return 0;
}

static int accept_one(struct mfd_listener *l)
{
	struct mfd_conn conn = { 0 };
	int ret = mfd_conn_accept(&conn, l->listen_fd);

	if (!ret) {
		mfd_peers_make_room(&l->server.peers);
		take_connection(&l->server, &conn);
	} else if (ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM) {
		mfd_log_error("accept: %s", strerror(-ret));
		/* The connection stays in the queue, and poll() would come back at once. */
		usleep(100000);
	}
	return ret;
}

static void accept_some(struct mfd_listener *l)
{
	for (int i = 0; i < MAX_ACCEPTED && !accept_one(l); i++)
		;
}

/*
 * Tasks wait for a session that could not be looked at.  The supervisor would kill them; without
 * it, its standby has what they need.
 */
static int is_awaited(struct mfd_listener *l)
{
	return l->stopping == 1 && l->stop_fd >= 0 && atomic_load(&l->server.reload.spares);
}

static void stop(struct mfd_listener *l, unsigned level)
{
	l->stopping = level;
	if (l->listen_fd >= 0)
		mfd_io_close(&l->listen_fd);
	mfd_log_info("ending%s", level > 1 ? " at once" : "");
	if (is_awaited(l))
		mfd_log_warn("restored tasks wait for a session that cannot be loaded; a second "
			     "SIGTERM kills them");
	mfd_session_stop_all(&l->server, level);
}

static void asked_to_stop(struct mfd_listener *l)
{
	uint64_t n = 0;

	if (read(l->stop_fd, &n, sizeof(n)) == sizeof(n))
		stop(l, l->stopping + (unsigned)n);
}

static void told_to_reread(struct mfd_listener *l)
{
	uint64_t n = 0;

	if (read(l->reread_fd, &n, sizeof(n)) == sizeof(n))
		mfd_reread(&l->server, MFD_REREAD_TELL);
}

/*
 * The supervisor is dead: end as if it had asked for it.  Sessions whose restored tasks lack pages
 * keep this process alive until the tasks have them.
 */
static void supervisor_died(struct mfd_listener *l)
{
	mfd_log_error("the supervisor died");
	mfd_io_close(&l->stop_fd);
	if (!l->stopping)
		stop(l, 1);
}

/* --ssh.  A session goes on without it. */
static void migration_ended(struct mfd_listener *l)
{
	struct mfd_server *sv = &l->server;
	int none;

	if (!mfd_by_ssh_has_ended(l->ssh))
		return;
	pthread_mutex_lock(&sv->lock);
	none = !sv->n_sessions && !sv->ended;
	pthread_mutex_unlock(&sv->lock);
	if (!none || l->stopping)
		return;
	mfd_log_info("the migration that has started this server ended before it had a session");
	stop(l, 1);
}

static int finished(struct mfd_listener *l)
{
	struct mfd_server *sv = &l->server;
	int yes;

	pthread_mutex_lock(&sv->lock);
	yes = l->stopping ? !sv->n_sessions && !is_awaited(l) : sv->once && sv->ended;
	pthread_mutex_unlock(&sv->lock);
	return yes;
}

static void turn(struct mfd_listener *l)
{
	struct mfd_server *sv = &l->server;
	struct mfd_peer *waiting[MFD_PEER_MAX_WAITING];
	struct pollfd fds[N_OWN + MFD_PEER_MAX_WAITING] = {
		{ .fd = l->stopping ? -1 : l->listen_fd, .events = POLLIN },
		{ .fd = l->request_fd, .events = POLLIN },
		{ .fd = sv->pool.wake, .events = POLLIN },
		{ .fd = l->stop_fd, .events = POLLIN },
		/* Only its end: answers on it are read under guard.lock. */
		{ .fd = l->stop_fd >= 0 ? sv->guard.fd : -1, .events = 0 },
		{ .fd = l->reread_fd, .events = POLLIN },
		{ .fd = l->ssh ? l->ssh->life : -1, .events = POLLIN },
	};
	unsigned i, n;

	/* Those that were held back are ready all the time: look at them after a while. */
	n = l->held_back ? 0 :
			   mfd_peers_watch(&sv->peers, fds + N_OWN, waiting, MFD_PEER_MAX_WAITING);
	if (poll(fds, N_OWN + n, l->stopping || l->held_back ? 50 : 500) < 0)
		return;
	/* Before any of them is closed. */
	l->held_back = 0;
	for (i = n; i-- > 0;) /* the oldest first */
		if (fds[N_OWN + i].revents)
			l->held_back |= begin(waiting[i]);
	mfd_peers_expire(&sv->peers);
	mfd_threads_reap(&sv->pool);
	mfd_memory_server_publish(sv);
	if (!l->stopping)
		mfd_reload_tick(sv);
	if (fds[3].revents & POLLIN)
		asked_to_stop(l);
	else if (fds[4].revents & (POLLHUP | POLLERR))
		supervisor_died(l);
	if (fds[5].revents & POLLIN)
		told_to_reread(l);
	if (fds[6].revents)
		migration_ended(l);
	if (fds[1].revents & POLLIN)
		mfd_requests_accept(sv, l->request_fd);
	if (fds[0].revents & POLLIN && l->listen_fd >= 0)
		accept_some(l);
}

static int set_up(struct mfd_listener *l)
{
	struct mfd_server *sv = &l->server;
	struct mfd_error err = { 0 };
	int ret = mfd_threads_init(&sv->pool);

	pthread_mutex_init(&sv->lock, NULL);
	mfd_peers_init(&sv->peers, mfd_nofile_for_greetings());
	if (!ret)
		ret = mfd_requests_listen(sv, &l->request_fd, &err);
	if (ret)
		mfd_log_error("%s", err.code ? mfd_error_text(&err) : strerror(-ret));
	return ret;
}

int mfd_listener_run(struct mfd_listener *l)
{
	struct mfd_server *sv = &l->server;

	if (set_up(l))
		return 1;
	mfd_memory_server_begin(sv);
	mfd_reload_all(sv);
	mfd_pagestore_tidy();
	mfd_clean_ended(sv);
	if (mfd_guard_ready(&sv->guard))
		return 1;
	mfd_takeover_free(&sv->takeover);
	while (!finished(l))
		turn(l);
	/* --once: other sessions, still at work, end as if the supervisor had asked for it. */
	if (!l->stopping)
		stop(l, 1);
	while (!finished(l))
		turn(l);
	mfd_peers_shutdown(&sv->peers);
	mfd_threads_join(&sv->pool);
	mfd_memory_server_unpublish(sv);
	mfd_budget_fini(&sv->budget);
	if (l->ssh && sv->ended && !sv->result)
		mfd_by_ssh_done(l->ssh);
	return sv->once ? sv->result : 0;
}
