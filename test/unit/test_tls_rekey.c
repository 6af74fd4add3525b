// SPDX-License-Identifier: GPL-2.0-only
/* Keys of a connection that carries very much: changed by the end that sends, not too early. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "conn_tls.h"
#include "tlsbed.h"
#include "tmpdir.h"

#define LIMIT 8

struct bed {
	struct dir *dir;
	struct mfd_tls *source, *target;
	struct tlsbed_ends e;
	uint64_t limit;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	struct mfd_tls_config cfg = { .end = MFD_CONN_SOURCE, .hostname = "localhost" };

	if (tmpdir_setup(state))
		return -1;
	b->dir = *state;
	b->limit = mfd_conn_tls_key_records;
	cfg.dir = tlsbed_good(b->dir->path, "good");
	b->source = tlsbed_load(&cfg);
	cfg.end = MFD_CONN_TARGET;
	cfg.hostname = NULL;
	b->target = tlsbed_load(&cfg);
	tlsbed_shake(&b->e, b->source, b->target);
	*state = b;
	return b->e.source_ret || b->e.target_ret;
}

static int teardown(void **state)
{
	struct bed *b = *state;

	mfd_conn_tls_key_records = b->limit;
	tlsbed_close(&b->e);
	mfd_tls_free(b->source);
	mfd_tls_free(b->target);
	*state = b->dir;
	free(b);
	return tmpdir_teardown(state);
}

/* The source asks GnuTLS for other keys, and sends one byte more. */
static void is_refused(struct bed *b, unsigned how)
{
	struct mfd_conn_tls *s = b->e.source.transport;
	char c;

	assert_int_equal(gnutls_session_key_update(s->gnutls, how), 0);
	mfd_conn_send(&b->e.source, "x", 1, 0);
	assert_int_equal(mfd_conn_recv(&b->e.target, &c, 1), -EPROTO);
}

/* 0, or what the target's receiving has returned. */
static int carry(struct bed *b, unsigned records)
{
	for (unsigned i = 0; i < records; i++) {
		unsigned came;
		int ret;

		assert_int_equal(mfd_conn_send(&b->e.source, &i, sizeof(i), 0), 0);
		ret = mfd_conn_recv(&b->e.target, &came, sizeof(came));
		if (ret)
			return ret;
		assert_int_equal(came, i);
	}
	return 0;
}

/* Both directions of such a connection may be busy, and in two threads. */
static void test_none_for_little(void **state)
{
	is_refused(*state, 0);
}

/* The receiving thread would have to write. */
static void test_none_that_is_asked_for(void **state)
{
	struct bed *b = *state;

	mfd_conn_tls_key_records = 4 * LIMIT;
	assert_int_equal(carry(b, LIMIT), 0);
	is_refused(b, GNUTLS_KU_PEER);
}

/* GnuTLS takes at most eight changes a second. */
static void test_a_long_channel_goes_on(void **state)
{
	struct bed *b = *state;
	struct mfd_conn_tls *s = b->e.source.transport, *t = b->e.target.transport;

	mfd_conn_tls_key_records = LIMIT;
	assert_int_equal(carry(b, 6 * LIMIT + 1), 0);
	assert_int_equal(s->sent, 1);
	assert_int_equal(t->received, 1);
}

/* What it is for: without a change there is no end, but too much with one key. */
static void test_before_the_cipher_wears_out(void **state)
{
	(void)state;
	/* RFC 8446, 5.5: 2^24.5 full records with AES-GCM */
	assert_true(mfd_conn_tls_key_records <= 1ULL << 24);
	assert_true(MFD_CONN_TLS_PEER_RECORDS >= 1ULL << 21);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_none_for_little),
		TEST(test_none_that_is_asked_for),
		TEST(test_a_long_channel_goes_on),
		cmocka_unit_test(test_before_the_cipher_wears_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
