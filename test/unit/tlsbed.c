// SPDX-License-Identifier: GPL-2.0-only
/* Folders of certificates, and both ends of a handshake. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "pair.h"
#include "tlsbed.h"

const char *tlsbed_path(const char *dir, const char *name)
{
	static char paths[16][200];
	static unsigned next;
	char *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

void tlsbed_write(const char *dir, const char *name, const char *text, unsigned mode)
{
	const char *path = tlsbed_path(dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

const char *tlsbed_ca(const char *dir, const char *name)
{
	const char *path = tlsbed_path(dir, name), *names[] = { "a CA of the test" };
	const struct mfd_tls_make m = { .names = names,
					.n_names = 1,
					.from = time(NULL) - 100 * TLSBED_DAY,
					.until = time(NULL) + 100 * TLSBED_DAY };
	struct mfd_error err = { 0 };
	int fd;

	assert_int_equal(mkdir(path, 0700), 0);
	fd = open_folder(path);
	if (mfd_tls_make_ca(fd, &m, &err))
		fail_msg("%s", err.text);
	close(fd);
	return path;
}

void tlsbed_pair(const char *folder, enum mfd_conn_end end, const char *host, int purposes,
		 int from_days, int until_days)
{
	const char *names[] = { host, "127.0.0.1" };
	const char *cert = end == MFD_CONN_SOURCE ? MFD_TLS_CLIENT_CERT : MFD_TLS_SERVER_CERT;
	const char *key = end == MFD_CONN_SOURCE ? MFD_TLS_CLIENT_KEY : MFD_TLS_SERVER_KEY;
	const struct mfd_tls_make m = { .names = names,
					.n_names = end == MFD_CONN_SOURCE ? 1 : 2,
					.purposes = purposes,
					.from = time(NULL) + from_days * TLSBED_DAY,
					.until = time(NULL) + until_days * TLSBED_DAY };
	struct mfd_error err = { 0 };
	int fd = open_folder(folder);

	unlinkat(fd, cert, 0);
	unlinkat(fd, key, 0);
	if (mfd_tls_make_pair(fd, fd, cert, key, &m, &err))
		fail_msg("%s", err.text);
	close(fd);
}

const char *tlsbed_good(const char *dir, const char *name)
{
	const char *folder = tlsbed_ca(dir, name);

	tlsbed_pair(folder, MFD_CONN_SOURCE, "source.example", MFD_TLS_FOR_CLIENT, -1, 10);
	tlsbed_pair(folder, MFD_CONN_TARGET, "localhost", MFD_TLS_FOR_SERVER, -1, 10);
	return folder;
}

struct mfd_tls *tlsbed_load(const struct mfd_tls_config *cfg)
{
	struct mfd_error err = { 0 };
	struct mfd_tls *tls = NULL;

	if (mfd_tls_load(&tls, cfg, &err))
		fail_msg("%s", err.text);
	return tls;
}

struct shaker {
	struct mfd_conn *conn;
	enum mfd_conn_end end;
	struct mfd_tls *tls;
	struct mfd_error *err;
	int *ret;
};

static void *shake(void *arg)
{
	struct shaker *s = arg;
	const struct mfd_conn_config cfg = { .security = mfd_tls_security(s->tls),
					     .connect_ms = 3000,
					     .stall_ms = 3000 };

	*s->ret = mfd_conn_configure(s->conn, &cfg);
	if (!*s->ret)
		*s->ret = mfd_conn_handshake(s->conn, s->end, &cfg, s->err);
	if (*s->ret)
		mfd_conn_close(s->conn); /* as each caller of ours does */
	return NULL;
}

void tlsbed_shake(struct tlsbed_ends *e, struct mfd_tls *source, struct mfd_tls *target)
{
	struct shaker s = { &e->source, MFD_CONN_SOURCE, source, &e->source_err, &e->source_ret };
	struct shaker t = { &e->target, MFD_CONN_TARGET, target, &e->target_err, &e->target_ret };
	pthread_t thread;
	int fd[2];

	*e = (struct tlsbed_ends){ 0 };
	pair_tcp(fd, 0);
	mfd_conn_plain(&e->source, fd[0]);
	mfd_conn_plain(&e->target, fd[1]);
	assert_int_equal(pthread_create(&thread, NULL, shake, &t), 0);
	shake(&s);
	pthread_join(thread, NULL);
}

void tlsbed_close(struct tlsbed_ends *e)
{
	mfd_conn_close(&e->source);
	mfd_conn_close(&e->target);
}
