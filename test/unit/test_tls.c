// SPDX-License-Identifier: GPL-2.0-only
/*
 * TLS as a transport: what it carries, how its ends wait and end, and what each end says of a peer
 * that it does not accept.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "conn_tls.h"
#include "pair.h"
#include "tlsbed.h"
#include "tmpdir.h"

#define PSK_A "alpha:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define PSK_B "beta:ff112233445566778899aabbccddeeff00112233445566778899aabbccddee00\n"
#define OTHER "alpha:ee112233445566778899aabbccddeeff00112233445566778899aabbccddee11\n"

struct bed {
	struct dir *dir;
	const char *folder;
	struct mfd_tls *source, *target;
	struct tlsbed_ends e;
};

static struct mfd_tls_config config(enum mfd_conn_end end, const char *folder)
{
	return (struct mfd_tls_config){ .end = end,
					.dir = folder,
					.hostname = end == MFD_CONN_SOURCE ? "localhost" : NULL };
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	if (tmpdir_setup(state))
		return -1;
	b->dir = *state;
	b->folder = strdup(tlsbed_good(b->dir->path, "good"));
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;

	tlsbed_close(&b->e);
	mfd_tls_free(b->source);
	mfd_tls_free(b->target);
	free((void *)(uintptr_t)b->folder);
	*state = b->dir;
	free(b);
	return tmpdir_teardown(state);
}

static void load(struct bed *b, const char *source, const char *target)
{
	struct mfd_tls_config s = config(MFD_CONN_SOURCE, source);
	struct mfd_tls_config t = config(MFD_CONN_TARGET, target);

	b->source = tlsbed_load(&s);
	b->target = tlsbed_load(&t);
}

static void connected(struct bed *b)
{
	load(b, b->folder, b->folder);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_string_equal(b->e.source_err.text, "");
	assert_string_equal(b->e.target_err.text, "");
}

/* ---- what it carries ---- */

#define BIG (5U << 20)

static void *send_big(void *arg)
{
	char *data = malloc(BIG);
	struct iovec iov[3];

	pair_pattern(data, BIG, 1);
	iov[0] = (struct iovec){ data, 64 };
	iov[1] = (struct iovec){ data + 64, 0 };
	iov[2] = (struct iovec){ data + 64, BIG - 64 };
	mfd_conn_sendv(arg, iov, 3, 1);
	mfd_conn_send(arg, "end", 3, 0);
	free(data);
	return NULL;
}

static void receive_big(struct mfd_conn *c)
{
	char *got = malloc(BIG), *want = malloc(BIG), end[3];

	pair_pattern(want, BIG, 1);
	assert_int_equal(mfd_conn_recv(c, got, BIG), 0);
	assert_int_equal(mfd_conn_recv(c, end, 3), 0);
	assert_memory_equal(got, want, BIG);
	assert_memory_equal(end, "end", 3);
	free(got);
	free(want);
}

/* One thread sends while another receives, at both ends. */
static void test_both_ways_at_once(void **state)
{
	struct bed *b = *state;
	pthread_t t[2];

	connected(b);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0); /* there are keys in this process */
	assert_string_equal(mfd_conn_identity(&b->e.source), "x509:localhost");
	assert_string_equal(mfd_conn_identity(&b->e.target), "x509:source.example");
	/* The identity, and behind the other names the key. */
	assert_int_equal(strncmp(mfd_conn_names(&b->e.target), "x509:source.example\n", 20), 0);
	assert_int_equal(strlen(strstr(mfd_conn_names(&b->e.target), "\nspki:")), 1 + 5 + 64);
	for (int i = 0; i < 3; i++) {
		pthread_create(&t[0], NULL, send_big, &b->e.source);
		pthread_create(&t[1], NULL, send_big, &b->e.target);
		receive_big(&b->e.target);
		receive_big(&b->e.source);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
	}
}

/* Records that have been read from the socket, or decrypted, count before poll() does. */
static void test_buffered_counts(void **state)
{
	struct bed *b = *state;
	struct pollfd p;
	char buf[8];

	connected(b);
	assert_int_equal(mfd_conn_wait(&b->e.target, 0), 0);
	assert_int_equal(mfd_conn_send(&b->e.source, "abcd", 4, 0), 0);
	assert_int_equal(mfd_conn_send(&b->e.source, "efgh", 4, 0), 0);
	usleep(50000);
	assert_int_equal(mfd_conn_wait(&b->e.target, 5000), 1);
	assert_int_equal(mfd_conn_recv(&b->e.target, buf, 1), 0);
	assert_int_not_equal(mfd_conn_watch(&b->e.target, &p), 0); /* decrypted */
	assert_int_equal(mfd_conn_recv(&b->e.target, buf + 1, 3), 0);
	assert_int_not_equal(mfd_conn_watch(&b->e.target, &p), 0); /* a whole record */
	assert_int_equal(mfd_conn_wait(&b->e.target, -1), 1);
	assert_int_equal(mfd_conn_recv(&b->e.target, buf + 4, 4), 0);
	assert_memory_equal(buf, "abcdefgh", 8);
	assert_int_equal(mfd_conn_wait(&b->e.target, 0), 0);
}

static int bytes_waiting(const struct mfd_conn *c)
{
	char buf[64 << 10];
	ssize_t n = recv(c->conn_fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);

	return n < 0 ? 0 : (int)n;
}

/* `more` gathers; a prompt connection does not. */
static void test_gathering(void **state)
{
	struct bed *b = *state;
	char block[40000] = "";

	connected(b);
	assert_int_equal(mfd_conn_send(&b->e.source, block, sizeof(block), 1), 0);
	usleep(20000);
	assert_int_equal(bytes_waiting(&b->e.target), 0);
	assert_int_equal(mfd_conn_send(&b->e.source, "x", 1, 0), 0);
	usleep(20000);
	assert_true(bytes_waiting(&b->e.target) > 40000);
	mfd_conn_prompt(&b->e.target);
	assert_int_equal(mfd_conn_send(&b->e.target, block, sizeof(block), 1), 0);
	usleep(20000);
	assert_true(bytes_waiting(&b->e.source) > 40000);
}

static void *recv_one(void *arg)
{
	char c;

	return (void *)(intptr_t)mfd_conn_recv(arg, &c, 1);
}

static void test_ends(void **state)
{
	struct bed *b = *state;
	pthread_t t;
	void *ret;
	char c;

	connected(b);
	pthread_create(&t, NULL, recv_one, &b->e.source); /* another thread wakes it */
	usleep(50000);
	mfd_conn_shutdown(&b->e.source);
	pthread_join(t, &ret);
	assert_int_not_equal((intptr_t)ret, 0);
	assert_int_not_equal(mfd_conn_send(&b->e.source, "x", 1, 0), 0);
	/* shutdown(2) says no close_notify: that is a broken connection */
	assert_int_equal(mfd_conn_recv(&b->e.target, &c, 1), -EPIPE);
	tlsbed_close(&b->e);

	tlsbed_shake(&b->e, b->source, b->target);
	assert_int_equal(mfd_conn_gone(&b->e.target, 0), 0);
	mfd_conn_close(&b->e.source);
	assert_int_equal(mfd_conn_gone(&b->e.target, 5000), 1);
	assert_int_equal(mfd_conn_wait(&b->e.target, 0), 1);
	assert_int_equal(mfd_conn_recv(&b->e.target, &c, 1), -ECONNRESET);
	tlsbed_close(&b->e);

	tlsbed_shake(&b->e, b->source, b->target);
	assert_int_equal(mfd_conn_recv(&b->e.target, &c, 1), -ETIMEDOUT); /* the stall time */
}

/* What is closed while the peer reads nothing must not wait for it. */
static void test_close_does_not_wait(void **state)
{
	struct bed *b = *state;
	char block[16 << 10] = "";
	int small = 4096, fd;

	connected(b);
	fd = b->e.source.conn_fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (int i = 0; i < 4096; i++) {
		ssize_t n = send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break;
	}
	mfd_conn_close(&b->e.source);
}

static void test_binding(void **state)
{
	struct bed *b = *state;
	uint8_t s[MFD_CONN_BINDING], t[MFD_CONN_BINDING], other[MFD_CONN_BINDING];
	struct mfd_conn plain;
	int fd[2];

	connected(b);
	assert_int_equal(mfd_conn_bind(&b->e.source, "EXPORTER-mfd-join", "abc", 3, s), 0);
	assert_int_equal(mfd_conn_bind(&b->e.target, "EXPORTER-mfd-join", "abc", 3, t), 0);
	assert_memory_equal(s, t, sizeof(s));
	assert_int_equal(mfd_conn_bind(&b->e.target, "EXPORTER-mfd-join", "abd", 3, other), 0);
	assert_memory_not_equal(s, other, sizeof(s));
	tlsbed_close(&b->e);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_int_equal(mfd_conn_bind(&b->e.target, "EXPORTER-mfd-join", "abc", 3, other), 0);
	assert_memory_not_equal(s, other, sizeof(s)); /* of another connection */
	pair_tcp(fd, 0);
	mfd_conn_plain(&plain, fd[0]);
	assert_int_equal(mfd_conn_bind(&plain, "EXPORTER-mfd-join", "abc", 3, t), -EOPNOTSUPP);
	assert_string_equal(mfd_conn_identity(&plain), "");
	assert_string_equal(mfd_conn_names(&plain), "");
	mfd_conn_close(&plain);
	close(fd[1]);
}

static void test_zerocopy_is_not_offered(void **state)
{
	struct bed *b = *state;
	struct mfd_zerocopy z = { 0 };

	connected(b);
	assert_int_equal(mfd_conn_zerocopy(&b->e.source, &z, MFD_ON), -EOPNOTSUPP);
	assert_int_equal(mfd_conn_zerocopy(&b->e.source, &z, MFD_AUTO), 0);
	assert_int_equal(z.mode, MFD_OFF);
}

/* ---- peers that are refused ---- */

static void both_say(struct bed *b, const char *source, const char *target)
{
	tlsbed_shake(&b->e, b->source, b->target);
	assert_int_not_equal(b->e.source_ret, 0);
	assert_int_not_equal(b->e.target_ret, 0);
	if (!strstr(b->e.source_err.text, source))
		fail_msg("source: '%s', not '%s'", b->e.source_err.text, source);
	if (!strstr(b->e.target_err.text, target))
		fail_msg("target: '%s', not '%s'", b->e.target_err.text, target);
	tlsbed_close(&b->e);
	mfd_tls_free(b->source);
	mfd_tls_free(b->target);
	b->source = b->target = NULL;
}

static void test_wrong_ca(void **state)
{
	struct bed *b = *state;
	const char *other = tlsbed_good(b->dir->path, "other");

	load(b, b->folder, other);
	both_say(b, "the target's certificate (localhost) is not signed by the CA in ",
		 "the source refuses this server's certificate: it is not signed");
}

/* The source believes the target, but not the reverse. */
static void test_wrong_ca_of_the_source(void **state)
{
	struct bed *b = *state;
	const char *other = tlsbed_good(b->dir->path, "other");
	char both[8192];
	FILE *f = fopen(tlsbed_path(other, MFD_TLS_CA_CERT), "a");
	int fd = open(tlsbed_path(b->folder, MFD_TLS_CA_CERT), O_RDONLY);
	ssize_t n = read(fd, both, sizeof(both));

	assert_true(n > 0 && fwrite(both, (size_t)n, 1, f) == 1);
	fclose(f);
	close(fd);
	load(b, other, b->folder);
	both_say(b,
		 "the target refuses this host's certificate: it is not signed by the target's CA",
		 "the source's certificate (source.example) is not signed by the CA in ");
}

static void test_wrong_name(void **state)
{
	struct bed *b = *state;

	tlsbed_pair(b->folder, MFD_CONN_TARGET, "elsewhere", MFD_TLS_FOR_SERVER, -1, 10);
	load(b, b->folder, b->folder);
	both_say(b, "the target's certificate (elsewhere) is not for the name 'localhost'",
		 "the source refuses this server's certificate: its name");
}

static void test_address_as_name(void **state)
{
	struct bed *b = *state;
	struct mfd_tls_config s = config(MFD_CONN_SOURCE, b->folder);
	struct mfd_tls_config t = config(MFD_CONN_TARGET, b->folder);

	s.hostname = "127.0.0.1";
	b->source = tlsbed_load(&s);
	b->target = tlsbed_load(&t);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_string_equal(b->e.source_err.text, "");
}

/* Certificates that were good when the server began: its own file is not looked at again. */
static void after_load(struct bed *b, enum mfd_conn_end end, int purposes, int from, int until)
{
	load(b, b->folder, b->folder);
	tlsbed_pair(b->folder, end, end == MFD_CONN_SOURCE ? "source.example" : "localhost",
		    purposes, from, until);
}

static void own_is_refused(struct bed *b, enum mfd_conn_end end, const char *text)
{
	struct mfd_tls_config cfg = config(end, b->folder);
	struct mfd_tls *tls = NULL;
	struct mfd_error err = { 0 };

	assert_int_not_equal(mfd_tls_load(&tls, &cfg, &err), 0);
	assert_null(tls);
	if (!strstr(err.text, text))
		fail_msg("'%s', not '%s'", err.text, text);
}

static void test_own_certificate(void **state)
{
	struct bed *b = *state;

	after_load(b, MFD_CONN_SOURCE, MFD_TLS_FOR_CLIENT, -9, -2);
	own_is_refused(b, MFD_CONN_SOURCE,
		       "client-cert.pem (source.example) has expired: it was valid until 20");
	tlsbed_pair(b->folder, MFD_CONN_SOURCE, "x", MFD_TLS_FOR_CLIENT, 2, 9);
	own_is_refused(b, MFD_CONN_SOURCE, "is not valid yet: it is from 20");
	tlsbed_pair(b->folder, MFD_CONN_SOURCE, "x", MFD_TLS_FOR_SERVER, -1, 9);
	own_is_refused(b, MFD_CONN_SOURCE, "is not for a TLS client");
	tlsbed_pair(b->folder, MFD_CONN_TARGET, "x", MFD_TLS_FOR_CLIENT, -1, 9);
	own_is_refused(b, MFD_CONN_TARGET, "is not for a TLS server");
	/* connections go on with what was loaded; reading again fails and changes nothing */
	assert_int_not_equal(mfd_tls_reload(b->source, &(struct mfd_error){ 0 }), 0);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_string_equal(b->e.source_err.text, "");
}

static void test_own_files(void **state)
{
	struct bed *b = *state;
	const char *key = tlsbed_path(b->folder, MFD_TLS_CLIENT_KEY);

	assert_int_equal(chmod(key, 0640), 0);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem: others may read this key: ");
	assert_int_equal(chmod(key, 0600), 0);
	assert_int_equal(chown(key, 12345, 0), 0);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem: others may read this key: ");
	assert_int_equal(unlink(key), 0);
	assert_int_equal(symlink("server-key.pem", key), 0);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem: a symbolic link");
	assert_int_equal(unlink(key), 0);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem: No such file");
	assert_int_equal(mkfifo(key, 0600), 0);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem: not a file");
	assert_int_equal(unlink(key), 0);
	tlsbed_write(b->folder, MFD_TLS_CLIENT_KEY, "nonsense\n", 0600);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem: not a key");
	assert_int_equal(unlink(key), 0);
	assert_int_equal(link(tlsbed_path(b->folder, MFD_TLS_SERVER_KEY), key), 0);
	own_is_refused(b, MFD_CONN_SOURCE, "client-key.pem is not the key of ");
	assert_int_equal(chmod(b->folder, 0777), 0);
	own_is_refused(b, MFD_CONN_TARGET, ": others may write there");
	assert_int_equal(chmod(b->folder, 0770), 0);
	assert_int_equal(chown(b->folder, 0, 12345), 0);
	own_is_refused(b, MFD_CONN_TARGET, ": others may write there");
	assert_int_equal(chmod(b->folder, 0700), 0);
	assert_int_equal(unlink(tlsbed_path(b->folder, MFD_TLS_CA_CERT)), 0);
	own_is_refused(b, MFD_CONN_TARGET, "ca-cert.pem: No such file");
}

/* ---- revocation: by certtool, which is another implementation of the formats ---- */

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char cmd[2000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd))
		fail_msg("%s", cmd);
}

static void test_revoked(void **state)
{
	struct bed *b = *state;

	if (system("command -v certtool >/dev/null"))
		skip();
	load(b, b->folder, b->folder);
	run("cd %s && printf 'expiration_days = 9\\ncrl_next_update = 9\\ncrl_number = 1\\n' >t && "
	    "certtool --generate-crl --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem "
	    "--load-certificate client-cert.pem --template t --outfile ca-crl.pem 2>log || "
	    "{ cat log; exit 1; }",
	    b->folder);
	own_is_refused(b, MFD_CONN_SOURCE, "client-cert.pem (source.example) has been revoked");
	assert_int_equal(mfd_tls_reload(b->target, &(struct mfd_error){ 0 }), 0);
	both_say(b, "the target refuses this host's certificate: it has been revoked",
		 "the source's certificate (source.example) has been revoked");
}

static void client_of(struct bed *b, const char *const *names, size_t n, int seconds)
{
	struct mfd_tls_make m = { .names = names,
				  .n_names = n,
				  .purposes = MFD_TLS_FOR_CLIENT,
				  .from = time(NULL) - 10,
				  .until = time(NULL) + seconds };
	int fd = open(b->folder, O_RDONLY | O_DIRECTORY);
	struct mfd_error err = { 0 };

	unlinkat(fd, MFD_TLS_CLIENT_CERT, 0);
	unlinkat(fd, MFD_TLS_CLIENT_KEY, 0);
	assert_int_equal(
		mfd_tls_make_pair(fd, fd, MFD_TLS_CLIENT_CERT, MFD_TLS_CLIENT_KEY, &m, &err), 0);
	close(fd);
}

static void client_is(struct bed *b, const char *name, const char *more, const char *names)
{
	client_of(b, (const char *[]){ name, more }, more ? 2 : 1, 100);
	connected(b);
	assert_int_equal(strncmp(mfd_conn_names(&b->e.target), names, strlen(names)), 0);
	assert_int_equal(strlen(mfd_conn_names(&b->e.target)), strlen(names) + 5 + 64);
	tlsbed_close(&b->e);
	mfd_tls_free(b->source);
	mfd_tls_free(b->target);
	b->source = b->target = NULL;
}

/* A common name counts only where there is no DNS name, not even one that is of no use. */
static void test_common_name(void **state)
{
	char longer[201] = { 0 };

	client_is(*state, "127.0.0.9", NULL, "x509:127.0.0.9\n");
	client_is(*state, "127.0.0.9", "db.example", "x509:db.example\n");
	client_is(*state, "127.0.0.9", memset(longer, 'a', 200), "");
}

/* Good when it was loaded. */
static void test_expires_later(void **state)
{
	struct bed *b = *state;

	client_of(b, (const char *[]){ "source.example" }, 1, 2);
	load(b, b->folder, b->folder);
	sleep(3);
	both_say(b, "by its clock it has expired",
		 "the source's certificate (source.example) has expired: it was valid until");
}

/* ---- pre-shared keys ---- */

static struct mfd_tls *psk(enum mfd_conn_end end, const char *path, const char *id)
{
	struct mfd_tls_config cfg = { .end = end, .psk_file = path, .psk_id = id };

	return tlsbed_load(&cfg);
}

static void test_psk(void **state)
{
	struct bed *b = *state;
	const char *keys = tlsbed_path(b->dir->path, "keys");

	tlsbed_write(b->dir->path, "keys", "# comment\n" PSK_A "\n" PSK_B, 0600);
	b->source = psk(MFD_CONN_SOURCE, keys, "beta");
	b->target = psk(MFD_CONN_TARGET, keys, NULL);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_string_equal(b->e.source_err.text, "");
	assert_string_equal(b->e.target_err.text, "");
	assert_string_equal(mfd_conn_identity(&b->e.target), "psk:beta");
	assert_string_equal(mfd_conn_names(&b->e.target), "psk:beta");
	assert_int_equal(gnutls_kx_get(((struct mfd_conn_tls *)b->e.target.transport)->gnutls),
			 GNUTLS_KX_ECDHE_PSK);
	assert_int_equal(mfd_conn_send(&b->e.source, "x", 1, 0), 0);
}

static void test_wrong_psk(void **state)
{
	struct bed *b = *state;
	const char *dir = b->dir->path, *wrong = "the target does not know this pre-shared key";

	tlsbed_write(dir, "keys", PSK_A, 0600);
	tlsbed_write(dir, "wrong", OTHER PSK_B, 0600);
	b->source = psk(MFD_CONN_SOURCE, tlsbed_path(dir, "wrong"), "alpha");
	b->target = psk(MFD_CONN_TARGET, tlsbed_path(dir, "keys"), NULL);
	both_say(b, wrong, "another key for identity 'alpha'");
	/* the source cannot tell an identity that is not known from this */
	b->source = psk(MFD_CONN_SOURCE, tlsbed_path(dir, "wrong"), "beta");
	b->target = psk(MFD_CONN_TARGET, tlsbed_path(dir, "keys"), NULL);
	both_say(b, wrong, "an identity that is not in ");
}

static void test_psk_and_certificates(void **state)
{
	struct bed *b = *state;
	struct mfd_tls_config both = config(MFD_CONN_TARGET, b->folder);
	struct mfd_tls_config s = config(MFD_CONN_SOURCE, b->folder);

	tlsbed_write(b->dir->path, "keys", PSK_A, 0600);
	both.psk_file = tlsbed_path(b->dir->path, "keys");
	b->target = tlsbed_load(&both);
	b->source = psk(MFD_CONN_SOURCE, both.psk_file, NULL);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_string_equal(b->e.source_err.text, "");
	assert_string_equal(mfd_conn_identity(&b->e.target), "psk:alpha");
	tlsbed_close(&b->e);
	mfd_tls_free(b->source);
	b->source = tlsbed_load(&s);
	tlsbed_shake(&b->e, b->source, b->target);
	assert_string_equal(b->e.source_err.text, "");
	assert_string_equal(mfd_conn_identity(&b->e.target), "x509:source.example");
	tlsbed_close(&b->e);
	mfd_tls_free(b->target);
	/* one end has certificates, the other a key */
	b->target = psk(MFD_CONN_TARGET, both.psk_file, NULL);
	both_say(b, "the target has no key of the kind", "no key of the kind");
}

static void psk_file_is_refused(struct bed *b, const char *content, unsigned mode, const char *id,
				const char *text)
{
	struct mfd_tls_config cfg = { .end = MFD_CONN_SOURCE,
				      .psk_file = tlsbed_path(b->dir->path, "keys"),
				      .psk_id = id };
	struct mfd_error err = { 0 };
	struct mfd_tls *tls;

	tlsbed_write(b->dir->path, "keys", content, mode);
	assert_int_not_equal(mfd_tls_load(&tls, &cfg, &err), 0);
	if (!strstr(err.text, text))
		fail_msg("'%s', not '%s'", err.text, text);
}

static void test_psk_files(void **state)
{
	struct bed *b = *state;

	psk_file_is_refused(b, PSK_A, 0644, NULL, "keys: others may read this key");
	psk_file_is_refused(b, "", 0600, NULL, "keys: no key in it");
	psk_file_is_refused(b, PSK_A "alpha:1234\n", 0600, NULL,
			    "keys:2: identity 'alpha' is there");
	psk_file_is_refused(b, "alpha:1234\n", 0600, NULL, "keys:1: expected a key of 32");
	psk_file_is_refused(b, "al pha:1234\n", 0600, NULL, "keys:1: expected IDENTITY:HEX");
	psk_file_is_refused(b, PSK_A PSK_B, 0600, NULL, "2 identities in it");
	psk_file_is_refused(b, PSK_A PSK_B, 0600, "gamma", "no identity 'gamma'");
}

/* ---- peers that speak something else ---- */

struct talker {
	int fd;
	const char *say;
	size_t len;
};

static void *talk(void *arg)
{
	struct talker *t = arg;
	char buf[4096];

	if (t->len)
		send(t->fd, t->say, t->len, MSG_NOSIGNAL);
	while (recv(t->fd, buf, sizeof(buf), 0) > 0 && t->len)
		;
	return NULL;
}

static void target_says(struct bed *b, const char *bytes, size_t len, int cut, const char *text)
{
	const struct mfd_conn_config cfg = { .security = mfd_tls_security(b->target),
					     .connect_ms = 300 };
	struct mfd_error err = { 0 };
	struct talker t = { .say = bytes, .len = len };
	struct mfd_conn c;
	pthread_t thread;
	int fd[2];

	pair_tcp(fd, 0);
	t.fd = fd[0];
	mfd_conn_plain(&c, fd[1]);
	pthread_create(&thread, NULL, talk, &t);
	if (cut) {
		usleep(50000);
		shutdown(fd[0], SHUT_WR);
	}
	assert_int_not_equal(mfd_conn_handshake(&c, MFD_CONN_TARGET, &cfg, &err), 0);
	if (!strstr(err.text, text))
		fail_msg("'%s', not '%s'", err.text, text);
	mfd_conn_close(&c);
	pthread_join(thread, NULL);
	close(fd[0]);
}

static void test_not_tls(void **state)
{
	struct bed *b = *state;
	static const char begun[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

	load(b, b->folder, b->folder);
	target_says(b, "MUFD", 4, 0, "the source does not speak TLS: it needs tls-dir or tls-psk");
	target_says(b, "", 0, 1, "closed before the TLS handshake");
	target_says(b, begun, sizeof(begun) - 1, 1, "closed the connection in its TLS handshake");
	target_says(b, begun, sizeof(begun) - 1, 0, "does not finish its TLS handshake");
	target_says(b, "", 0, 0, "has not begun a TLS handshake");
	target_says(b, "\x16\x03\x01\x00\x05hello", 10, 0, "TLS handshake");
}

static void source_says(struct bed *b, const char *bytes, size_t len, const char *text)
{
	const struct mfd_conn_config cfg = { .security = mfd_tls_security(b->source),
					     .connect_ms = 300 };
	struct mfd_error err = { 0 };
	struct mfd_conn c;
	int fd[2];

	pair_tcp(fd, 0);
	mfd_conn_plain(&c, fd[0]);
	if (len)
		send(fd[1], bytes, len, 0);
	else
		shutdown(fd[1], SHUT_WR);
	assert_int_not_equal(mfd_conn_handshake(&c, MFD_CONN_SOURCE, &cfg, &err), 0);
	if (!strstr(err.text, text))
		fail_msg("'%s', not '%s'", err.text, text);
	mfd_conn_close(&c);
	close(fd[1]);
}

static void test_target_without_tls(void **state)
{
	struct bed *b = *state;

	load(b, b->folder, b->folder);
	source_says(b, "", 0, "does it use TLS");
	source_says(b, "MFCM\x0f\0\0\0\x10\0\0\0", 12, "does not speak TLS");
}

/* Foreign ends: another version, another protocol. */
static void foreign(struct bed *b, const char *priority, const char *protocol, const char *text)
{
	const struct mfd_conn_config cfg = { .security = mfd_tls_security(b->target),
					     .connect_ms = 2000 };
	gnutls_datum_t alpn = { (unsigned char *)(uintptr_t)protocol,
				protocol ? (unsigned)strlen(protocol) : 0 };
	struct mfd_error err = { 0 };
	struct mfd_conn c;
	gnutls_session_t g;
	pid_t child;
	int fd[2];

	pair_tcp(fd, 0);
	child = fork();
	if (!child) {
		gnutls_certificate_credentials_t x509;

		close(fd[1]);
		gnutls_certificate_allocate_credentials(&x509);
		gnutls_certificate_set_x509_key_file(x509,
						     tlsbed_path(b->folder, MFD_TLS_CLIENT_CERT),
						     tlsbed_path(b->folder, MFD_TLS_CLIENT_KEY),
						     GNUTLS_X509_FMT_PEM);
		gnutls_init(&g, GNUTLS_CLIENT);
		gnutls_priority_set_direct(g, priority, NULL);
		gnutls_credentials_set(g, GNUTLS_CRD_CERTIFICATE, x509);
		if (protocol)
			gnutls_alpn_set_protocols(g, &alpn, 1, 0);
		gnutls_transport_set_int(g, fd[0]);
		gnutls_handshake(g);
		gnutls_record_recv(g, &child, 1);
		_exit(0);
	}
	close(fd[0]);
	mfd_conn_plain(&c, fd[1]);
	assert_int_not_equal(mfd_conn_handshake(&c, MFD_CONN_TARGET, &cfg, &err), 0);
	if (!strstr(err.text, text))
		fail_msg("'%s', not '%s'", err.text, text);
	mfd_conn_close(&c);
	pair_reap(child);
}

static void test_foreign(void **state)
{
	struct bed *b = *state;

	load(b, b->folder, b->folder);
	foreign(b, "NORMAL:-VERS-ALL:+VERS-TLS1.2", MFD_TLS_ALPN, "does not speak TLS 1.3");
	foreign(b, "NORMAL:-VERS-ALL:+VERS-TLS1.3", "h2", "is no criu-multifd of this version");
	foreign(b, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, "is no criu-multifd of this version");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_ways_at_once),
		TEST(test_buffered_counts),
		TEST(test_gathering),
		TEST(test_ends),
		TEST(test_close_does_not_wait),
		TEST(test_binding),
		TEST(test_zerocopy_is_not_offered),
		TEST(test_wrong_ca),
		TEST(test_wrong_ca_of_the_source),
		TEST(test_wrong_name),
		TEST(test_address_as_name),
		TEST(test_own_certificate),
		TEST(test_own_files),
		TEST(test_revoked),
		TEST(test_common_name),
		TEST(test_expires_later),
		TEST(test_psk),
		TEST(test_wrong_psk),
		TEST(test_psk_and_certificates),
		TEST(test_psk_files),
		TEST(test_not_tls),
		TEST(test_target_without_tls),
		TEST(test_foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
