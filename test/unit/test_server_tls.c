// SPDX-License-Identifier: GPL-2.0-only
/*
 * A restore server with TLS: a session belongs to the identity that opened it, and to a source that
 * proves the secret on each connection anew.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <endian.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "joinproof.h"
#include "players/criu.h"
#include "players/disk.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"
#include "tlsbed.h"

static struct mfd_tls *source, *other;

static struct mfd_tls *load(const char *folder)
{
	const struct mfd_tls_config cfg = { .end = MFD_CONN_SOURCE,
					    .dir = folder,
					    .hostname = "127.0.0.1" };

	return tlsbed_load(&cfg);
}

/* Two sources, with certificates of the same CA. */
static int setup(void **state)
{
	const char *folder;

	if (server_setup(state))
		return -1;
	folder = tlsbed_good(server_tmp, "tls");
	source = load(folder);
	tlsbed_pair(folder, MFD_CONN_SOURCE, "other.example", MFD_TLS_FOR_CLIENT, -1, 10);
	other = load(folder);
	source_security = mfd_tls_security(source);
	server_start("--tls-dir", folder);
	return 0;
}

static int teardown(void **state)
{
	source_security = NULL;
	mfd_tls_free(source);
	mfd_tls_free(other);
	return server_teardown(state);
}

static void wait_log(const char *what)
{
	for (int i = 0; i < 500 && !server_log_has(what); i++)
		usleep(10000);
	assert_true(server_log_has(what));
}

static unsigned status_of(struct mfd_conn *c)
{
	struct mfd_wire_joined j;

	assert_int_equal(mfd_conn_recv(c, &j, sizeof(j)), 0);
	return le16toh(j.status);
}

/* A session whose channels have not joined. */
static void begin(struct source *s)
{
	Mfd__Hello h;

	source_init(s, "one");
	source_hello_init(&h, "one", 2);
	source_send_hello(s, &h);
	source_take_hello_ok(s);
}

static void test_join_needs_the_identity(void **state)
{
	struct source s;

	(void)state;
	begin(&s);
	source_security = mfd_tls_security(other);
	source_join_refused(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_SESSION);
	source_security = mfd_tls_security(source);
	source_join_all(&s, 0);
	source_close(&s);
}

/* What is not the proof of this very connection is refused; *from: where it was made. */
static void refused_with(struct source *s, struct mfd_conn *from)
{
	struct mfd_wire_greeting g = { .role = MFD_WIRE_ROLE_DATA };
	struct mfd_joinproof j;
	struct mfd_conn c;

	source_dial(&c);
	memcpy(g.session, s->id, sizeof(g.session));
	if (from)
		assert_int_equal(mfd_joinproof_begin(&j, from, &g), 0);
	else
		j = (struct mfd_joinproof){ 0 }; /* the secret itself */
	mfd_joinproof_make(&j, s->secret, g.secret);
	source_send_greeting(&c, &g);
	assert_int_equal(status_of(&c), MFD_WIRE_JOIN_SESSION);
	mfd_conn_close(&c);
}

static void test_join_needs_a_proof(void **state)
{
	struct source s;

	(void)state;
	begin(&s);
	refused_with(&s, NULL);
	refused_with(&s, &s.c.conn); /* of another connection */
	source_join_all(&s, 0);
	source_close(&s);
}

/* The identity is in session.img: another worker, and another source, change nothing about it. */
static void test_resume_needs_the_identity(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	pid = source_to_running(&s, "one", 0);
	server_kill_worker();
	disk_wait_doubt("one", 1);
	source_security = mfd_tls_security(other);
	source_resume(&s, "abort");
	source_expect_abort(&s, "no such session");
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	source_close(&s);
	source_security = mfd_tls_security(source);
	source_come_back(&s);
	criu_expect_done(pid, "one");
	assert_int_equal(server_stop(), 0);
}

/* What became of it: also by its id, after another session had its name. */
static void test_evidence_needs_the_identity(void **state)
{
	struct source s, next;

	(void)state;
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	disk_wait_free("one");
	for (int i = 0; i < 2; i++) {
		source_security = mfd_tls_security(other);
		source_resume(&s, "commit");
		source_expect_abort(&s, "no such session");
		source_security = mfd_tls_security(source);
		source_resume(&s, "commit");
		source_expect_abort(&s, "discarded by resolve");
		source_close(&s);
		if (!i)
			source_to_ready(&next, "one");
	}
	source_close(&next);
}

/* A certificate that is revoked while the server runs. */
static void test_read_again(void **state)
{
	struct mfd_conn_config cfg = { .security = source_security, .connect_ms = 5000 };
	struct mfd_error err = { 0 };
	struct mfd_conn c = { 0 };
	struct source s;
	char path[96];

	(void)state;
	begin(&s);
	snprintf(path, sizeof(path), "%s/tls/" MFD_TLS_SERVER_KEY, server_tmp);
	assert_int_equal(chmod(path, 0644), 0);
	kill(server_pid, SIGHUP);
	wait_log("SIGHUP: certificates and keys stay as they were: ");
	assert_int_equal(chmod(path, 0600), 0);
	source_join_all(&s, 0);
	/* Another CA: neither end believes the other any more. */
	snprintf(path, sizeof(path), "rm -r %s/tls", server_tmp);
	assert_int_equal(system(path), 0);
	tlsbed_good(server_tmp, "tls");
	kill(server_pid, SIGHUP);
	wait_log("SIGHUP: certificates and keys were read again");
	assert_int_not_equal(mfd_conn_connect(&c, &server_addr, -1, NULL, &cfg, &err), 0);
	assert_true(strstr(err.text, "not signed by") != NULL);
	source_pages(&s, 0, 7, BASE, 1); /* what is connected goes on */
	source_simple(&s, MFD_WIRE_PING);
	source_close(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_join_needs_the_identity),	TEST(test_join_needs_a_proof),
		TEST(test_resume_needs_the_identity),	TEST(test_read_again),
		TEST(test_evidence_needs_the_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
