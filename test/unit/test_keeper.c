// SPDX-License-Identifier: GPL-2.0-only
/*
 * Talking to the keeper: what the client makes of answers, good and bad, and what the real one
 * answers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "keeper_client.h"
#include "keeperproc.h"
#include "tmpdir.h"

/* ---- a keeper that says whatever the test wants ---- */

struct talk {
	int client, keeper;
};

static void begin(struct talk *t)
{
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	t->client = s[0];
	t->keeper = s[1];
}

static void end(struct talk *t)
{
	mfd_io_close(&t->client);
	mfd_io_close(&t->keeper);
}

/* The answer lies there before the question is asked. */
static void say(struct talk *t, enum mfd_keeper_type type, int32_t code, uint32_t flags, int fd)
{
	struct mfd_keeper_msg m;

	assert_int_equal(mfd_keeper_fill(&m, type, "s", "n", 7), 0);
	m.code = code;
	m.flags = flags;
	assert_int_equal(mfd_keeper_send(t->keeper, &m, fd), 0);
}

static void heard(struct talk *t, enum mfd_keeper_type type, const char *session, const char *name,
		  uint64_t id, int with_fd)
{
	struct mfd_keeper_msg m;
	int fd;

	assert_int_equal(mfd_keeper_recv(t->keeper, &m, &fd), 1);
	assert_int_equal(m.type, type);
	assert_string_equal(m.session, session);
	assert_string_equal(m.name, name);
	assert_int_equal(m.id, id);
	assert_int_equal(fd >= 0, with_fd);
	mfd_io_close(&fd);
}

static void test_fill_limits(void **state)
{
	static char text[MFD_CPR_NAME_MAX + 2];
	struct mfd_keeper_msg m;

	memset(text, 'n', MFD_CPR_NAME_MAX + 1);
	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_PUT, "s", text, 1), -ENAMETOOLONG);
	text[MFD_CPR_NAME_MAX] = 0;
	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_PUT, "s", text, 1), 0);
	assert_string_equal(m.name, text);
	text[256] = 0;
	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_PUT, text, "n", 1), -ENAMETOOLONG);
	text[255] = 0;
	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_PUT, text, NULL, 1), 0);
	assert_string_equal(m.session, text);
	assert_string_equal(m.name, "");
}

static void test_requests(void **state)
{
	struct talk t;
	int fd, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	char b = 1;

	begin(&t);
	say(&t, MFD_KEEPER_OK, 0, 0, -1);
	assert_int_equal(mfd_keeper_begin(t.client, "web"), 0);
	heard(&t, MFD_KEEPER_BEGIN, "web", "", 0, 0);
	say(&t, MFD_KEEPER_OK, 0, 0, -1);
	assert_int_equal(mfd_keeper_put(t.client, "web", "/dev/zero", 5, zero), 0);
	heard(&t, MFD_KEEPER_PUT, "web", "/dev/zero", 5, 1);
	say(&t, MFD_KEEPER_OK, 0, 0, zero);
	fd = mfd_keeper_get(t.client, "web", "/dev/zero", 5);
	assert_true(fd >= 0 && fd != zero);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(read(fd, &b, 1), 1);
	assert_int_equal(b, 0);
	close(fd);
	heard(&t, MFD_KEEPER_GET, "web", "/dev/zero", 5, 0);
	say(&t, MFD_KEEPER_OK, 0, MFD_KEEPER_OFFERED, -1);
	assert_int_equal(mfd_keeper_has(t.client, "web", "x", 6), MFD_KEEPER_OFFERED);
	heard(&t, MFD_KEEPER_HAS, "web", "x", 6, 0);
	say(&t, MFD_KEEPER_OK, 0, 0, -1);
	assert_int_equal(mfd_keeper_attach(t.client, "web", zero), 0);
	heard(&t, MFD_KEEPER_ATTACH, "web", "", 0, 1);
	close(zero);
	end(&t);
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 100; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_refusals(void **state)
{
	struct talk t;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), before;

	begin(&t);
	before = open_descriptors();
	say(&t, MFD_KEEPER_FAILED, -ENOENT, 0, -1);
	assert_int_equal(mfd_keeper_get(t.client, "web", "x", 1), -ENOENT);
	say(&t, MFD_KEEPER_FAILED, 0, 0, -1); /* no failure at all */
	assert_int_equal(mfd_keeper_begin(t.client, "web"), -EPROTO);
	/* a descriptor that was not asked for is not left open */
	say(&t, MFD_KEEPER_FAILED, -ENOENT, 0, zero);
	assert_int_equal(mfd_keeper_get(t.client, "web", "x", 1), -ENOENT);
	assert_int_equal(open_descriptors(), before);
	say(&t, MFD_KEEPER_ENTRY, 0, 0, -1);
	assert_int_equal(mfd_keeper_begin(t.client, "web"), -EPROTO);
	say(&t, MFD_KEEPER_OK, 0, 0, -1); /* without the descriptor */
	assert_int_equal(mfd_keeper_get(t.client, "web", "x", 1), -EPROTO);
	close(zero);
	end(&t);
}

static void test_end_of_the_keeper(void **state)
{
	struct talk t;

	signal(SIGPIPE, SIG_IGN);
	begin(&t);
	mfd_io_close(&t.keeper);
	assert_int_equal(mfd_keeper_begin(t.client, "web"), -EPIPE);
	end(&t);
	begin(&t);
	shutdown(t.keeper, SHUT_WR);
	assert_int_equal(mfd_keeper_begin(t.client, "web"), -ECONNRESET);
	end(&t);
}

static void send_raw(struct talk *t, const void *data, size_t len, int expected)
{
	struct mfd_keeper_msg m;
	int fd = 99;

	assert_int_equal(send(t->keeper, data, len, 0), len);
	assert_int_equal(mfd_keeper_recv(t->client, &m, &fd), expected);
	assert_int_equal(fd, -1);
}

static void test_not_one_of_ours(void **state)
{
	struct mfd_keeper_msg m;
	struct talk t;
	size_t least = offsetof(struct mfd_keeper_msg, name) + 1;

	begin(&t);
	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_OK, "s", "", 0), 0);
	send_raw(&t, &m, least, 1);
	send_raw(&t, &m, least - 1, -EPROTO);
	send_raw(&t, &m, 1, -EPROTO);
	m.version++;
	send_raw(&t, &m, least, -EPROTO);
	m.version--;
	m.name[0] = 'x'; /* without its end */
	send_raw(&t, &m, least, -EPROTO);
	m.name[0] = 0;
	memset(m.session, 's', sizeof(m.session));
	send_raw(&t, &m, least, -EPROTO);
	end(&t);
}

static int first_two(void *ctx, const struct mfd_keeper_msg *m)
{
	return ++*(int *)ctx == 2 ? -ECANCELED : 0;
}

static void test_list(void **state)
{
	struct talk t;
	int n = 0;

	begin(&t);
	for (int i = 0; i < 3; i++)
		say(&t, MFD_KEEPER_ENTRY, 0, MFD_KEEPER_KEPT, -1);
	assert_int_equal(mfd_keeper_list(t.client, NULL, first_two, &n), -ECANCELED);
	assert_int_equal(n, 2);
	end(&t);
	begin(&t);
	say(&t, MFD_KEEPER_ENTRY, 0, MFD_KEEPER_KEPT, -1);
	shutdown(t.keeper, SHUT_WR);
	n = 0;
	assert_int_equal(mfd_keeper_list(t.client, NULL, first_two, &n), -ECONNRESET);
	assert_int_equal(n, 1);
	end(&t);
}

/* ---- the real one ---- */

struct real {
	struct dir *dir;
	pid_t pid;
	int sock;
};

static void start(struct real *r, void **state)
{
	char path[128];

	r->dir = *state;
	r->pid = fork();
	if (!r->pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(9);
		_exit(mfd_keeper_run(r->dir->path, -1, 0));
	}
	snprintf(path, sizeof(path), "%s/" MFD_KEEPER_SOCKET, r->dir->path);
	for (int i = 0; i < 500; i++) {
		r->sock = mfd_keeper_connect(path);
		if (r->sock >= 0)
			return;
		usleep(10000);
	}
	fail_msg("the keeper does not listen: %s", strerror(-r->sock));
}

static void stop(struct real *r)
{
	int status;

	mfd_io_close(&r->sock);
	kill(r->pid, SIGTERM);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_int_equal(status, 0);
	assert_int_equal(faccessat(r->dir->fd, MFD_KEEPER_SOCKET, F_OK, 0), -1);
}

static int offer(int sock, const char *name, uint64_t id, int fd)
{
	struct mfd_keeper_msg m;

	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_OFFER, "web", name, id), 0);
	return mfd_keeper_call(sock, &m, fd, NULL);
}

static void got_file(int sock, uint64_t id, int like)
{
	int fd = mfd_keeper_get(sock, "web", "n", id);
	struct stat a, b;

	assert_true(fd >= 0);
	assert_false(fstat(fd, &a) || fstat(like, &b));
	assert_int_equal(a.st_ino, b.st_ino);
	close(fd);
}

/* Kept goes before offered, an exact id before any. */
static void test_precedence(void **state)
{
	struct real r;
	int f[3];

	start(&r, state);
	for (int i = 0; i < 3; i++) {
		char name[2] = { (char)('a' + i), 0 };

		f[i] = openat(r.dir->fd, name, O_RDWR | O_CREAT, 0600);
		assert_true(f[i] >= 0);
	}
	assert_int_equal(mfd_keeper_has(r.sock, "web", "n", 1), -ENOENT);
	assert_int_equal(offer(r.sock, "n", MFD_KEEPER_ANY_ID, f[0]), 0);
	assert_int_equal(offer(r.sock, "n", MFD_KEEPER_ANY_ID, f[1]), -EEXIST);
	got_file(r.sock, 1, f[0]);
	assert_int_equal(offer(r.sock, "n", 1, f[1]), 0);
	got_file(r.sock, 1, f[1]);
	got_file(r.sock, 2, f[0]);
	assert_int_equal(mfd_keeper_has(r.sock, "web", "n", 1), MFD_KEEPER_OFFERED);
	assert_int_equal(mfd_keeper_put(r.sock, "web", "n", 1, f[2]), 0);
	assert_int_equal(mfd_keeper_has(r.sock, "web", "n", 1), MFD_KEEPER_KEPT);
	got_file(r.sock, 1, f[2]);
	/* a new dump: kept ones go, offers stay */
	assert_int_equal(mfd_keeper_begin(r.sock, "web"), 0);
	got_file(r.sock, 1, f[1]);
	assert_int_equal(mfd_keeper_drop(r.sock, "web", NULL, 0, MFD_KEEPER_OFFERED), 0);
	assert_int_equal(mfd_keeper_has(r.sock, "web", "n", 1), -ENOENT);
	for (int i = 0; i < 3; i++)
		close(f[i]);
	stop(&r);
}

/* By a path too long for a socket's address, through a folder, and from within one. */
static void test_ways_to_connect(void **state)
{
	char here[4096], path[4096], after[4096], deep[101];
	struct real r;
	int sock, dir;

	start(&r, state);
	memset(deep, 'd', 100);
	deep[100] = 0;
	assert_int_equal(mkdirat(r.dir->fd, deep, 0700), 0);
	snprintf(path, sizeof(path), "%s/%s/../" MFD_KEEPER_SOCKET, r.dir->path, deep);
	sock = mfd_keeper_connect(path);
	assert_true(sock >= 0);
	close(sock);
	snprintf(path, sizeof(path), "%s/%s/absent", r.dir->path, deep);
	assert_int_equal(mfd_keeper_connect(path), -ENOENT);
	sock = mfd_keeper_connect_at(r.dir->fd, MFD_KEEPER_SOCKET);
	assert_true(sock >= 0);
	close(sock);
	assert_non_null(getcwd(here, sizeof(here)));
	sock = mfd_keeper_connect_in(r.dir->fd, MFD_KEEPER_SOCKET);
	assert_true(sock >= 0);
	close(sock);
	assert_int_equal(mfd_keeper_connect_in(r.dir->fd, "absent"), -ENOENT);
	dir = open("/dev/null", O_RDONLY);
	assert_int_equal(mfd_keeper_connect_in(dir, MFD_KEEPER_SOCKET), -ENOTDIR);
	close(dir);
	assert_non_null(getcwd(after, sizeof(after)));
	assert_string_equal(here, after);
	stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill_limits),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_end_of_the_keeper),
		cmocka_unit_test(test_not_one_of_ours),
		cmocka_unit_test(test_list),
		cmocka_unit_test_setup_teardown(test_precedence, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_ways_to_connect, tmpdir_setup,
						tmpdir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
