// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dead man's switch in a process that does what CRIU does: a link to the sender, and a gate
 * that it waits at without an end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "../../plugin/hooks/deadman.c"

#include "likecriu.h"
#include "pair.h"

enum { OTHER_CLOSED = 20 };

enum how {
	PLAIN,	   /* --ps-socket 512 */
	LISTENING, /* it comes to the gate by accept() */
	LATE,	   /* it does other things for a while before */
	OTHERS,	   /* it holds a listener of its tasks, too */
	DISARMED,
};

struct bed {
	pid_t criu;
	int link; /* the sender's end */
	int gate; /* a copy of the gate's end that the sender would have */
};

static struct bed bed;

static int listener(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return l < 0 || bind(l, (void *)&sa, sizeof(sa)) || listen(l, 4) ? -1 : l;
}

static int still_listens(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on;
}

static void busy_for(unsigned ms)
{
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += ms % 1000 * 1000000L;
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
}

static int like_criu(int link, enum how how)
{
	int other = how == OTHERS ? listener() : -1, l = how == LISTENING ? listener() : -1, ret;

	if (mfd_deadman_arm(link))
		return LIKECRIU_BROKEN;
	if (how == DISARMED)
		mfd_deadman_disarm();
	if (how == LATE || how == OTHERS)
		busy_for(300);
	ret = how == LISTENING ? likecriu_accept(l) : likecriu_ps_socket();
	if (other >= 0 && !still_listens(other))
		return OTHER_CLOSED;
	mfd_deadman_disarm();
	return ret;
}

static void begin(enum how how)
{
	struct mfd_error err = { 0 };
	int pair[2], ready[2];
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe(ready), 0);
	bed.criu = fork();
	assert_true(bed.criu >= 0);
	if (!bed.criu) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[1]);
		if (mfd_gate_pair_make(&err) || write(ready[1], "r", 1) != 1)
			_exit(LIKECRIU_BROKEN);
		_exit(like_criu(pair[0], how));
	}
	close(pair[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	bed.gate = (int)syscall(SYS_pidfd_getfd, (int)syscall(SYS_pidfd_open, bed.criu, 0),
				MFD_LINK_GATE_SENDER, 0);
	assert_true(bed.gate >= 0);
	bed.link = pair[1];
	usleep(50000);
}

static void say(enum mfd_link_type type)
{
	struct mfd_link_msg m = { .type = type };

	assert_int_equal(send(bed.link, &m, sizeof(m), MSG_NOSIGNAL), sizeof(m));
}

static void hang_up(void)
{
	close(bed.link);
	bed.link = -1;
}

static int end(void)
{
	int status = pair_status(bed.criu, 5000);

	if (bed.link >= 0)
		close(bed.link);
	close(bed.gate);
	return status;
}

/* It still waits; opening the gate lets it go, as the sender would. */
static void check_quiet(void)
{
	int status;

	usleep(200000);
	assert_int_equal(waitpid(bed.criu, &status, WNOHANG), 0);
	assert_int_equal(shutdown(bed.gate, SHUT_WR), 0);
	assert_int_equal(end(), LIKECRIU_COMMITTED);
}

static void __attribute__((unused)) test_closed(void **state)
{
	(void)state;
	begin(PLAIN);
	hang_up();
	assert_int_equal(end(), LIKECRIU_FAILED);
	begin(LISTENING);
	hang_up();
	assert_int_equal(end(), LIKECRIU_FAILED);
}

static void __attribute__((unused)) test_abort(void **state)
{
	(void)state;
	begin(PLAIN);
	say(MFD_LINK_ABORT);
	assert_int_equal(end(), LIKECRIU_FAILED);
}

static void test_quiet(void **state)
{
	(void)state;
	begin(PLAIN);
	check_quiet();
	begin(LISTENING);
	check_quiet();
	begin(PLAIN);
	say(MFD_LINK_COMMIT);
	check_quiet();
	begin(PLAIN);
	say(MFD_LINK_OK);
	check_quiet();
	/*
	 * An abort behind the commit: the sender, which is there, closes the gate by itself where
	 * that is still right.
	 */
	begin(PLAIN);
	say(MFD_LINK_COMMIT);
	say(MFD_LINK_ABORT);
	check_quiet();
}

/* Every process of the sender has ended before it opened the gate: the commit will never be. */
static void __attribute__((unused)) test_commit_then_closed(void **state)
{
	(void)state;
	begin(PLAIN);
	say(MFD_LINK_COMMIT);
	usleep(50000);
	hang_up();
	assert_int_equal(end(), LIKECRIU_FAILED);
}

/* The sender has opened the gate and died at once: the dump succeeds. */
static void test_opened_then_closed(void **state)
{
	(void)state;
	begin(LATE);
	say(MFD_LINK_COMMIT);
	assert_int_equal(shutdown(bed.gate, SHUT_WR), 0);
	hang_up();
	assert_int_equal(end(), LIKECRIU_COMMITTED);
}

/* Postcopy: the tasks may run on the other side. */
static void test_hold(void **state)
{
	(void)state;
	begin(PLAIN);
	say(MFD_LINK_LEAVE);
	hang_up();
	check_quiet();
	begin(PLAIN);
	say(MFD_LINK_LEAVE);
	say(MFD_LINK_COMMIT);
	hang_up();
	check_quiet();
}

static void __attribute__((unused)) test_late(void **state)
{
	(void)state;
	begin(LATE);
	hang_up();
	assert_int_equal(end(), LIKECRIU_FAILED);
	begin(LATE);
	say(MFD_LINK_ABORT);
	assert_int_equal(end(), LIKECRIU_FAILED);
}

/* While CRIU dumps files it holds the tasks' own listeners: those are not ours to close. */
static void __attribute__((unused)) test_others(void **state)
{
	(void)state;
	begin(OTHERS);
	hang_up();
	assert_int_equal(end(), LIKECRIU_FAILED);
}

static void test_disarmed(void **state)
{
	(void)state;
	begin(DISARMED);
	hang_up();
	check_quiet();
}

/* The host's own handler is back afterwards. */
static void test_restores_action(void **state)
{
	struct sigaction before = { .sa_handler = SIG_IGN }, after;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(sigaction(signal_number(), &before, NULL), 0);
	assert_int_equal(mfd_deadman_arm(pair[0]), 0);
	mfd_deadman_disarm();
	mfd_deadman_disarm();
	assert_int_equal(sigaction(signal_number(), NULL, &after), 0);
	assert_ptr_equal(after.sa_handler, SIG_IGN);
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_ASYNC, 0);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	/* TSan keeps a signal back until a call that it knows to block. */
#ifndef __SANITIZE_THREAD__
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_commit_then_closed),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_others),
#endif
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_opened_then_closed),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_disarmed),
		cmocka_unit_test(test_restores_action),
	};

	pair_time_limit(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
