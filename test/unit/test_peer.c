// SPDX-License-Identifier: GPL-2.0-only
/* Deadlines of connections: for what a peer does, not for what the server does. */
/* LDFLAGS: -Wl,--wrap=mfd_io_now_ms */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>

#include "peer.h"
#include "server.h"

static uint64_t now = 1000;

uint64_t __wrap_mfd_io_now_ms(void);
uint64_t __wrap_mfd_io_now_ms(void)
{
	return now;
}

static struct mfd_peer *dial(struct mfd_server *sv)
{
	struct mfd_conn c;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	mfd_conn_plain(&c, pair[0]);
	return mfd_peer_open(sv, &c);
}

static struct mfd_server *server(void)
{
	struct mfd_server *sv = calloc(1, sizeof(*sv));

	mfd_peers_init(&sv->peers, MFD_PEER_MAX_WAITING);
	return sv;
}

static void test_slow_server(void **state)
{
	struct mfd_server *sv = server();
	struct mfd_peer *silent = dial(sv), *honest = dial(sv);

	(void)state;
	assert_true(mfd_peers_begin(silent) && mfd_peers_begin(honest));
	now += MFD_PEER_GREETING_TIMEOUT - 1;
	mfd_peer_serve(honest);
	now += 100000; /* the disk */
	mfd_peers_expire(&sv->peers);
	assert_true(mfd_peer_has_expired(silent));
	assert_false(mfd_peer_has_expired(honest));
	mfd_peer_answered(honest);
	now += MFD_PEER_GREETING_TIMEOUT - 1;
	mfd_peers_expire(&sv->peers);
	assert_false(mfd_peer_has_expired(honest));
	now += 2;
	mfd_peers_expire(&sv->peers);
	assert_true(mfd_peer_has_expired(honest));
	mfd_peer_close(silent);
	mfd_peer_close(honest);
	free(sv);
}

/* Too many at once: one that waits for the server does not go in the place of one that is slow. */
static void test_too_many(void **state)
{
	struct mfd_peer *p[MFD_PEER_MAX_PENDING], *next;
	struct mfd_server *sv = server();
	unsigned i, gone = 0;

	(void)state;
	for (i = 0; i < MFD_PEER_MAX_PENDING; i++) {
		p[i] = dial(sv);
		assert_true(mfd_peers_begin(p[i]));
		if (i != 7)
			mfd_peer_serve(p[i]);
	}
	next = dial(sv);
	now += MFD_PEER_GREETING_GRACE;
	assert_false(mfd_peers_begin(next));
	for (i = 0; i < MFD_PEER_MAX_PENDING; i++)
		gone += (unsigned)mfd_peer_has_expired(p[i]);
	assert_true(gone == 1 && mfd_peer_has_expired(p[7]));
	mfd_peer_serve(p[7]);
	assert_false(mfd_peers_begin(next)); /* there is none that could go */
	for (i = 0; i < MFD_PEER_MAX_PENDING; i++)
		mfd_peer_close(p[i]);
	assert_true(mfd_peers_begin(next));
	mfd_peer_close(next);
	free(sv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_server),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
