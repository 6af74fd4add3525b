// SPDX-License-Identifier: GPL-2.0-only
/* The gate, with a child that waits in accept() as CRIU does at the end of a lazy dump. */
#include <errno.h>
#include <netinet/in.h>
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
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gate.h"
#include "io.h"
#include "pair.h"

/* What the child saw; its exit status. */
enum { COMMITTED = 10, BYTES, ACCEPT_FAILED, BROKEN };

struct bed {
	struct mfd_gate g;
	pid_t criu;
	int go; /* a byte lets the child go on to its listener */
	struct sockaddr_storage addr;
	socklen_t len;
};

static struct bed bed;

static int serve(int listener)
{
	int fd = accept(listener, NULL, NULL);
	ssize_t n;
	char c;

	if (fd < 0)
		return ACCEPT_FAILED;
	do
		n = read(fd, &c, 1);
	while (n < 0 && errno == EINTR);
	return n == 0 ? COMMITTED : n > 0 ? BYTES : BROKEN;
}

/*
 * With a unix listener first CRIU-like code waits there, and goes on when somebody has connected.
 */
static void wait_unix(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		_exit(BROKEN);
	close(fd);
	close(listener);
}

static int unix_listener(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len;

	snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "mfd-test-gate-%d", getpid());
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(sa.sun_path + 1));
	assert_int_equal(bind(l, (void *)&sa, len), 0);
	assert_int_equal(listen(l, 1), 0);
	return l;
}

static int tcp_listener(int family, int any)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_addr = any ? in6addr_any : in6addr_loopback };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK) };
	int l = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	bed.len = sizeof(bed.addr);
	if (l < 0 ||
	    bind(l, family == AF_INET ? (void *)&v4 : (void *)&v6,
		 family == AF_INET ? sizeof(v4) : sizeof(v6)) ||
	    listen(l, 8) || getsockname(l, (void *)&bed.addr, &bed.len)) {
		if (l >= 0)
			close(l);
		return -1;
	}
	/* The way there for a stranger. */
	if (any && family == AF_INET)
		((struct sockaddr_in *)&bed.addr)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (any)
		((struct sockaddr_in6 *)&bed.addr)->sin6_addr = in6addr_loopback;
	return l;
}

static int begin(int family, int any, int unix_first)
{
	struct mfd_error err = { 0 };
	int go[2], u = -1, l;

	memset(&bed, 0, sizeof(bed));
	l = tcp_listener(family, any);
	if (l < 0)
		return -1;
	if (unix_first)
		u = unix_listener();
	assert_int_equal(pipe(go), 0);
	bed.criu = fork();
	assert_true(bed.criu >= 0);
	if (!bed.criu) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		if (unix_first)
			wait_unix(u);
		if (read(go[0], &c, 1) != 1)
			_exit(BROKEN);
		_exit(serve(l));
	}
	close(l);
	if (u >= 0)
		close(u);
	close(go[0]);
	bed.go = go[1];
	assert_int_equal(mfd_gate_init(&bed.g, bed.criu, &err), 0);
	return 0;
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

/* A stranger's connection: 0 = connected, -errno; *fd stays open. */
static int stranger(int *fd, int ms)
{
	struct pollfd p = { .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	p.fd = *fd = socket(bed.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (!connect(*fd, (void *)&bed.addr, bed.len))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, ms) <= 0)
		return -ETIMEDOUT;
	getsockopt(*fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return -err;
}

static void test_commit(void **state)
{
	static const struct {
		int family, any;
	} how[] = { { AF_INET, 0 }, { AF_INET, 1 }, { AF_INET6, 0 }, { AF_INET6, 1 } };
	struct mfd_error err = { 0 };

	(void)state;
	for (unsigned i = 0; i < sizeof(how) / sizeof(*how); i++) {
		if (begin(how[i].family, how[i].any, 0)) {
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
		assert_int_equal(end(), COMMITTED);
	}
}

static void test_abort(void **state)
{
	(void)state;
	for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET) {
		if (begin(family, 1, 0))
			continue;
		assert_int_equal(mfd_gate_abort(&bed.g), 0); /* too early: nothing happens */
		go_on();
		assert_int_equal(poll_gate(10000), 1);
		assert_int_equal(mfd_gate_abort(&bed.g), 0);
		assert_int_equal(end(), ACCEPT_FAILED);
	}
}

/* CRIU waits in accept() on a unix socket for something else before. */
static void test_unix_first(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct mfd_error err = { 0 };
	int fd;

	(void)state;
	assert_int_equal(begin(AF_INET, 0, 1), 0);
	assert_int_equal(poll_gate(100), 0);
	snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "mfd-test-gate-%d", getpid());
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (void *)&sa,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
					     strlen(sa.sun_path + 1))),
			 0);
	close(fd);
	assert_int_equal(poll_gate(20), 0);
	go_on();
	assert_int_equal(poll_gate(10000), 1);
	assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
	assert_int_equal(end(), COMMITTED);
}

static void test_stranger_outside(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET)
		for (int commit = 0; commit < 2; commit++) {
			int fd[3];

			if (begin(family, 1, 0))
				continue;
			go_on();
			assert_int_equal(poll_gate(10000), 1);
			for (unsigned i = 0; i < 3; i++)
				assert_true(stranger(&fd[i], 100) < 0);
			assert_false(mfd_gate_criu_ended(&bed.g, 100));
			if (commit)
				assert_int_equal(mfd_gate_commit(&bed.g, &err), 0);
			else
				assert_int_equal(mfd_gate_abort(&bed.g), 0);
			assert_int_equal(end(), commit ? COMMITTED : ACCEPT_FAILED);
			for (unsigned i = 0; i < 3; i++)
				close(fd[i]);
		}
}

/*
 * Somebody is in the queue before our filter, and only CRIU's slowness has kept it from deciding:
 * the dump must fail.
 */
static void test_stranger_inside(void **state)
{
	struct mfd_error err = { 0 };
	int fd;

	(void)state;
	assert_int_equal(begin(AF_INET, 0, 0), 0);
	go_on();
	usleep(100000);
	assert_int_equal(kill(bed.criu, SIGSTOP), 0);
	assert_int_equal(waitpid(bed.criu, NULL, WUNTRACED), bed.criu);
	assert_int_equal(stranger(&fd, 1000), 0);
	assert_int_equal(mfd_gate_poll(&bed.g, &err), -EPERM);
	assert_non_null(strstr(err.text, "somebody else"));
	assert_int_equal(bed.g.listener, -1);
	assert_int_equal(kill(bed.criu, SIGCONT), 0);
	assert_int_equal(end(), ACCEPT_FAILED);
	close(fd);
}

static void test_criu_ends(void **state)
{
	struct mfd_error err = { 0 };
	pid_t gone;

	(void)state;
	assert_int_equal(begin(AF_INET, 0, 0), 0);
	close(bed.go); /* the child ends without ever listening */
	bed.go = -1;
	assert_true(mfd_gate_criu_ended(&bed.g, 5000));
	assert_int_equal(mfd_gate_poll(&bed.g, &err), -ESRCH);
	gone = bed.criu;
	assert_int_equal(end(), BROKEN);
	mfd_error_clear(&err);
	assert_int_equal(mfd_gate_init(&bed.g, gone, &err), -ESRCH);
	mfd_gate_fini(&bed.g);
}

/* A worker that died after its filter leaves it behind: the one that takes over replaces it. */
static void test_take_over(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_gate second;

	(void)state;
	for (int commit = 0; commit < 2; commit++) {
		assert_int_equal(begin(AF_INET, 0, 0), 0);
		go_on();
		assert_int_equal(poll_gate(10000), 1);
		mfd_io_close(&bed.g.knock);
		mfd_io_close(&bed.g.listener);
		assert_int_equal(mfd_gate_init(&second, bed.criu, &err), 0);
		assert_int_equal(mfd_gate_poll(&second, &err), 1);
		if (commit)
			assert_int_equal(mfd_gate_commit(&second, &err), 0);
		else
			assert_int_equal(mfd_gate_abort(&second), 0);
		assert_int_equal(end(), commit ? COMMITTED : ACCEPT_FAILED);
		mfd_gate_fini(&second);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit),		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_unix_first),	cmocka_unit_test(test_stranger_outside),
		cmocka_unit_test(test_stranger_inside), cmocka_unit_test(test_criu_ends),
		cmocka_unit_test(test_take_over),
	};

	pair_time_limit(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
