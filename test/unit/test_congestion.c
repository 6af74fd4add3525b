// SPDX-License-Identifier: GPL-2.0-only
/*
 * Congestion control of a connection: by name, the system's, and CUBIC instead of BBR on a path as
 * short as loopback.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "congestion.h"

struct pair {
	int a, b;
};

static void connect_pair(struct pair *p)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
	p->a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(p->a, (struct sockaddr *)&sa, sizeof(sa)), 0);
	p->b = accept(l, NULL, NULL);
	assert_true(p->b >= 0);
	close(l);
}

static void end_pair(struct pair *p)
{
	close(p->a);
	close(p->b);
}

static const char *used(int fd)
{
	static char name[MFD_CONGESTION_NAME + 1];
	socklen_t len = MFD_CONGESTION_NAME;

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	return name;
}

static void test_by_name(void **state)
{
	char name[MFD_CONGESTION_NAME];
	struct mfd_error err = { 0 };
	struct pair p;

	(void)state;
	connect_pair(&p);
	assert_int_equal(mfd_congestion_set(p.a, "reno", name, &err), 0); /* always there */
	assert_string_equal(name, "reno");
	assert_string_equal(used(p.a), "reno");
	assert_int_equal(mfd_congestion_set(p.a, "system", name, &err), 0);
	assert_string_equal(name, "reno");
	assert_int_equal(mfd_congestion_set(p.a, "no-such", name, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no-such"));
	assert_string_equal(used(p.a), "reno");
	end_pair(&p);
}

/* Neither is in every kernel; where BBR is not, there is nothing to choose. */
static void test_auto(void **state)
{
	char name[MFD_CONGESTION_NAME];
	struct mfd_error err = { 0 };
	struct pair p;
	int bbr;

	(void)state;
	connect_pair(&p);
	assert_int_equal(mfd_congestion_set(p.a, "reno", name, &err), 0);
	assert_int_equal(mfd_congestion_set(p.a, "auto", name, &err), 0);
	assert_string_equal(name, "reno"); /* chosen by the user, and does not pace */
	bbr = !setsockopt(p.a, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
	assert_int_equal(mfd_congestion_set(p.a, "auto", name, &err), 0);
	assert_string_equal(name, used(p.a));
	if (bbr && !setsockopt(p.b, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5))
		assert_string_equal(name, "cubic");
	end_pair(&p);
}

/* It is what it would be made later, and has never been anything else. */
static void test_prepare(void **state)
{
	struct pair p;
	int fd, bbr;

	(void)state;
	connect_pair(&p);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mfd_congestion_prepare(fd, p.a, "reno");
	assert_string_equal(used(fd), "reno");
	mfd_congestion_prepare(fd, p.a, "system");
	mfd_congestion_prepare(fd, p.a, "no-such");
	mfd_congestion_prepare(fd, p.a, "auto");
	assert_string_equal(used(fd), "reno");
	bbr = !setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
	mfd_congestion_prepare(fd, fd, NULL);
	if (bbr)
		assert_string_equal(used(fd), "bbr"); /* nothing is known of the path */
	mfd_congestion_prepare(fd, p.a, NULL);
	if (bbr && !setsockopt(p.b, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5))
		assert_string_equal(used(fd), "cubic");
	close(fd);
	end_pair(&p);
}

static void test_names(void **state)
{
	(void)state;
	assert_true(mfd_congestion_name_ok("cubic"));
	assert_true(mfd_congestion_name_ok("bbr2_x-1"));
	assert_false(mfd_congestion_name_ok(""));
	assert_false(mfd_congestion_name_ok("a b"));
	assert_false(mfd_congestion_name_ok("0123456789abcdef"));
	assert_true(mfd_congestion_name_ok("0123456789abcde"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_name),
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_prepare),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
