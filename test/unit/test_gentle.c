// SPDX-License-Identifier: GPL-2.0-only
/* Threads that give way: there and back, and not at all where there is no way back. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>
#include <cmocka.h>

#include "gentle.h"

static int nice_now(void)
{
	return getpriority(PRIO_PROCESS, (id_t)gettid());
}

static void *on_a_thread(void *arg)
{
	struct mfd_gentle g = { 0 };
	int *seen = arg;

	mfd_gentle_be(&g, 0);
	seen[0] = nice_now();
	mfd_gentle_be(&g, 1);
	seen[1] = nice_now();
	mfd_gentle_be(&g, 1);
	mfd_gentle_be(&g, 0);
	seen[2] = nice_now();
	return NULL;
}

static void run(void *(*fn)(void *), int *seen)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, fn, seen), 0);
	pthread_join(t, NULL);
}

static void test_there_and_back(void **state)
{
	int own = nice_now(), seen[3];

	(void)state;
	run(on_a_thread, seen);
	assert_int_equal(seen[0], own);
	assert_int_equal(seen[1], 19);
	assert_int_equal(seen[2], own);
	assert_int_equal(nice_now(), own); /* other threads are not touched */
}

/* Capabilities and limits are a thread's and a process's. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	return (int)syscall(SYS_capset, &h, d);
}

static void *without_capability(void *arg)
{
	return drop_capabilities() ? NULL : on_a_thread(arg);
}

static void test_no_way_back(void **state)
{
	int own = nice_now(), seen[3] = { 99, 99, 99 };
	struct rlimit rl;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NICE, &rl), 0);
	rl.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NICE, &rl), 0);
	run(without_capability, seen);
	assert_int_equal(seen[0], own);
	assert_in_range(seen[1], own, own + 1);
	assert_in_range(seen[2], own, own + 1);
}

static void *go_first(void *arg)
{
	mfd_gentle_first();
	*(int *)arg = nice_now();
	return NULL;
}

static void *go_first_without_capability(void *arg)
{
	return drop_capabilities() ? NULL : go_first(arg);
}

static void test_first(void **state)
{
	int own = nice_now(), seen = 99;

	(void)state;
	run(go_first, &seen);
	assert_int_equal(seen, own - 10 < -20 ? -20 : own - 10);
	seen = 99;
	run(go_first_without_capability, &seen); /* test_no_way_back has set the limit */
	assert_int_equal(seen, own);
	assert_int_equal(nice_now(), own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_no_way_back),
		cmocka_unit_test(test_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
