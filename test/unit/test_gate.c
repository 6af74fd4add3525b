// SPDX-License-Identifier: GPL-2.0-only
/* The gate, with a child that comes there as CRIU does at the end of a lazy dump. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "gate.h"
#include "io.h"
#include "likecriu.h"
#include "pair.h"

/* How the child gets its end: as a number, or from accept() on a listener of that family. */
enum way { PS_SOCKET, LISTEN_V4, LISTEN_V6, LISTEN_ANY, N_WAYS };

struct bed {
	struct mfd_gate g;
	pid_t criu;
	int go; /* a byte lets the child go on to the gate */
	struct sockaddr_storage addr;
	socklen_t len;
};

static struct bed bed;

static int tcp_listener(enum way way)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_addr.s_addr =
					  htonl(way == LISTEN_ANY ? INADDR_ANY : INADDR_LOOPBACK) };
	int l = socket(way == LISTEN_V6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	bed.len = sizeof(bed.addr);
	if (l < 0 ||
	    bind(l, way == LISTEN_V6 ? (void *)&v6 : (void *)&v4,
		 way == LISTEN_V6 ? sizeof(v6) : sizeof(v4)) ||
	    listen(l, 8) || getsockname(l, (void *)&bed.addr, &bed.len)) {
		if (l >= 0)
			close(l);
		return -1;
	}
	if (way == LISTEN_ANY)
		((struct sockaddr_in *)&bed.addr)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return l;
}

static int unix_listener(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "mfd-test-gate-%d", getpid());
	assert_int_equal(bind(l, (void *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(l, 1), 0);
	return l;
}

/* CRIU waits in accept() on a unix socket for something else before. */
static void wait_unix(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0 || fd == MFD_LINK_GATE_CRIU)
		_exit(LIKECRIU_BROKEN);
	close(fd);
	close(listener);
}

static void child(enum way way, int listener, int unix_first, int go, int ready)
{
	struct mfd_error err = { 0 };
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mfd_gate_pair_make(&err) || write(ready, "r", 1) != 1)
		_exit(LIKECRIU_BROKEN);
	if (unix_first >= 0)
		wait_unix(unix_first);
	if (read(go, &c, 1) != 1)
		_exit(LIKECRIU_BROKEN);
	_exit(way == PS_SOCKET ? likecriu_ps_socket() : likecriu_accept(listener));
}

static int begin_after(enum way way, int unix_first)
{
	struct mfd_error err = { 0 };
	int go[2], ready[2], l = -1;
	char c;

	memset(&bed, 0, sizeof(bed));
	if (way != PS_SOCKET && (l = tcp_listener(way)) < 0)
		return -1;
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(ready), 0);
	bed.criu = fork();
	assert_true(bed.criu >= 0);
	if (!bed.criu) {
		close(go[1]);
		child(way, l, unix_first, go[0], ready[1]);
	}
	if (l >= 0)
		close(l);
	close(go[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	bed.go = go[1];
	assert_int_equal(mfd_gate_init(&bed.g, bed.criu, &err), 0);
	return 0;
}

static int begin(enum way way)
{
	return begin_after(way, -1);
}

static void go_on(void)
{
	assert_int_equal(write(bed.go, "g", 1), 1);
}

static int poll_gate(unsigned ms)
{
	struct mfd_error err = { 0 };
	int ret;

	for (unsigned i = 0; !(ret = mfd_gate_poll(&bed.g, &err)) && i < ms; i++)
		usleep(1000);
	return ret;
}

static int end(void)
{
	int status = pair_status(bed.criu, 10000);

	close(bed.go);
	mfd_gate_fini(&bed.g);
	return status;
}

static int still_waits(void)
{
	return !mfd_gate_criu_ended(&bed.g, 100);
}

/* A stranger's connection: 0 = connected, -errno; *fd stays open. */
static int stranger(int *fd)
{
	*fd = socket(bed.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(*fd, (void *)&bed.addr, bed.len) ? -errno : 0;
}

static void test_commit(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	for (enum way way = 0; way < N_WAYS; way++) {
		if (begin(way)) {
			print_message("no IPv6 here: not tried\n");
			continue;
		}
		assert_int_equal(poll_gate(50), 0);
		go_on();
		assert_int_equal(poll_gate(10000), 1);
		assert_int_equal(poll_gate(0), 1); /* again, at no cost */
		assert_false(mfd_gate_criu_ended(&bed.g, 0));
		assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
		assert_true(mfd_gate_criu_ended(&bed.g, 5000));
		assert_int_equal(end(), LIKECRIU_COMMITTED);
	}
}

static void test_abort(void **state)
{
	(void)state;
	for (enum way way = 0; way < N_WAYS; way++) {
		if (begin(way))
			continue;
		go_on();
		assert_int_equal(poll_gate(10000), 1);
		assert_int_equal(mfd_gate_abort(&bed.g), 0);
		assert_int_equal(end(), LIKECRIU_FAILED);
	}
}

/* The gate can be closed before CRIU comes there: it finds it closed. */
static void test_abort_early(void **state)
{
	(void)state;
	for (enum way way = 0; way < N_WAYS; way++) {
		if (begin(way))
			continue;
		assert_int_equal(mfd_gate_abort(&bed.g), 0);
		mfd_gate_abort(&bed.g);
		assert_true(still_waits());
		go_on();
		assert_int_equal(end(), LIKECRIU_FAILED);
	}
}

/* The first of the two decides, whichever process makes it. */
static void test_first_decides(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	assert_int_equal(begin(PS_SOCKET), 0);
	assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
	assert_int_equal(mfd_gate_abort(&bed.g), -EPIPE);
	go_on();
	assert_int_equal(end(), LIKECRIU_COMMITTED);
	assert_int_equal(begin(PS_SOCKET), 0);
	assert_int_equal(mfd_gate_abort(&bed.g), 0);
	mfd_gate_commit(&bed.g, &err);
	go_on();
	assert_int_equal(end(), LIKECRIU_FAILED);
}

/* A sender that dies at the gate, its copy closed, has decided nothing; the next one decides. */
static void test_take_over(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	for (int commit = 0; commit < 2; commit++) {
		assert_int_equal(begin(LISTEN_V4), 0);
		go_on();
		assert_int_equal(poll_gate(10000), 1);
		mfd_gate_fini(&bed.g);
		assert_int_equal(mfd_gate_init(&bed.g, bed.criu, &err), 0);
		assert_true(still_waits());
		assert_int_equal(mfd_gate_poll(&bed.g, &err), 1);
		if (commit)
			assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
		else
			assert_int_equal(mfd_gate_abort(&bed.g), 0);
		assert_int_equal(end(), commit ? LIKECRIU_COMMITTED : LIKECRIU_FAILED);
	}
}

static void test_unix_first(void **state)
{
	struct sockaddr_un sa;
	struct mfd_error err = { 0 };
	socklen_t len = sizeof(sa);
	int fd, l = unix_listener();

	(void)state;
	assert_int_equal(begin_after(LISTEN_V4, l), 0);
	assert_int_equal(poll_gate(100), 0);
	assert_int_equal(getsockname(l, (void *)&sa, &len), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (void *)&sa, len), 0);
	close(fd);
	close(l);
	assert_int_equal(poll_gate(20), 0);
	go_on();
	assert_int_equal(poll_gate(10000), 1);
	assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
	assert_int_equal(end(), LIKECRIU_COMMITTED);
}

/*
 * Strangers that connect to CRIU's port, before it accepts and after, some of them closing at once,
 * some holding on, some sending: none of them decides, or delays, anything.
 */
static void test_strangers(void **state)
{
	struct mfd_error err = { 0 };
	int fd[4];

	(void)state;
	for (int commit = 0; commit < 2; commit++) {
		assert_int_equal(begin(LISTEN_ANY), 0);
		assert_int_equal(stranger(&fd[0]), 0);
		close(fd[0]);
		assert_int_equal(stranger(&fd[1]), 0);
		go_on();
		assert_int_equal(poll_gate(10000), 1);
		assert_int_equal(stranger(&fd[2]), 0);
		assert_int_equal(send(fd[2], "x", 1, MSG_NOSIGNAL), 1);
		assert_int_equal(stranger(&fd[3]), 0);
		close(fd[3]);
		assert_true(still_waits());
		if (commit)
			assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
		else
			assert_int_equal(mfd_gate_abort(&bed.g), 0);
		assert_int_equal(end(), commit ? LIKECRIU_COMMITTED : LIKECRIU_FAILED);
		close(fd[1]);
		close(fd[2]);
	}
}

static void test_criu_ends(void **state)
{
	struct mfd_error err = { 0 };
	pid_t gone;

	(void)state;
	assert_int_equal(begin(LISTEN_V4), 0);
	close(bed.go); /* the child ends without ever coming to the gate */
	bed.go = -1;
	assert_true(mfd_gate_criu_ended(&bed.g, 5000));
	assert_int_equal(mfd_gate_poll(&bed.g, &err), -ESRCH);
	gone = bed.criu;
	assert_int_equal(end(), LIKECRIU_BROKEN);
	mfd_error_clear(&err);
	assert_int_equal(mfd_gate_init(&bed.g, gone, &err), -ESRCH);
	mfd_gate_fini(&bed.g);
}

static void test_no_gate(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_gate g;

	(void)state;
	assert_int_equal(mfd_gate_init(&g, getpid(), &err), -EBADF);
	assert_non_null(strstr(err.text, "the gate"));
	assert_int_equal(g.pidfd, -1);
}

/* What CRIU was started with stays open; its dump fails before anything is frozen. */
static void test_number_taken(void **state)
{
	static const int number[] = { MFD_LINK_GATE_CRIU, MFD_LINK_GATE_SENDER };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct mfd_error err = { 0 };

		assert_int_equal(dup2(STDIN_FILENO, number[i]), number[i]);
		assert_int_equal(mfd_gate_pair_make(&err), -EBUSY);
		assert_true(fcntl(number[i], F_GETFD) >= 0);
		assert_true(fcntl(number[!i], F_GETFD) < 0);
		close(number[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit),	    cmocka_unit_test(test_abort),
		cmocka_unit_test(test_abort_early), cmocka_unit_test(test_first_decides),
		cmocka_unit_test(test_take_over),   cmocka_unit_test(test_unix_first),
		cmocka_unit_test(test_strangers),   cmocka_unit_test(test_criu_ends),
		cmocka_unit_test(test_no_gate),	    cmocka_unit_test(test_number_taken),
	};

	pair_time_limit(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
