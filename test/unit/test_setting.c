// SPDX-License-Identifier: GPL-2.0-only
/*
 * Settings of a running session on the source: what SET and the desk change, what they refuse, what
 * the target hears.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "pair.h"
#include "log.h"
#include "live_setting.h"

static struct mfd_uplink *up;
static struct mfd_shared *sh;
static struct mfd_control target;
static int target_fd;

static int setup(void **state)
{
	int fd[2];

	(void)state;
	up = aligned_alloc(64, sizeof(*up));
	sh = calloc(1, sizeof(*sh));
	if (!up || !sh || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	memset(up, 0, sizeof(*up));
	mfd_control_init(&up->control);
	mfd_control_init(&target);
	mfd_conn_plain(&up->control.conn, fd[0]);
	target_fd = fd[1];
	mfd_conn_plain(&target.conn, fd[1]);
	atomic_store(&sh->max_bandwidth, 25000000);
	mfd_ratelimit_set(&up->limit, 25000000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mfd_control_close(&up->control);
	mfd_control_close(&target);
	free(up);
	free(sh);
	return 0;
}

static void test_change(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_setting c;

	(void)state;
	assert_int_equal(mfd_setting_change(up, sh, "max-bandwidth", "2Gbit", &c, &err), 0);
	assert_string_equal(c.old, "25000000");
	assert_string_equal(c.now, "250000000");
	assert_int_equal(atomic_load(&sh->max_bandwidth), 250000000);
	assert_int_equal(atomic_load(&up->limit.bytes_per_s), 250000000);
	assert_int_equal(mfd_setting_change(up, sh, "max-bandwidth", "unlimited", &c, &err), 0);
	assert_string_equal(c.old, "250000000");
	assert_string_equal(c.now, "0");
	assert_int_equal(atomic_load(&up->limit.bytes_per_s), 0);
	/* Next to nothing is not nothing, which would be no limit at all. */
	assert_int_equal(mfd_setting_change(up, sh, "max-bandwidth", "1bit", &c, &err), 0);
	assert_string_equal(c.now, "1");
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "", "-1", "fast", "1Mbyte", "nan", "1e30" };
	struct mfd_error err = { 0 };
	struct mfd_setting c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		mfd_error_clear(&err);
		assert_int_equal(mfd_setting_change(up, sh, "max-bandwidth", bad[i], &c, &err),
				 -EINVAL);
		assert_non_null(strstr(err.text, "max-bandwidth: expected bytes per second"));
	}
	mfd_error_clear(&err);
	assert_int_equal(mfd_setting_change(up, sh, "channels", "8", &c, &err), -EINVAL);
	assert_non_null(
		strstr(err.text, "unknown setting 'channels': what can be set is max-bandwidth"));
	assert_string_equal(c.now, "25000000");
	assert_int_equal(atomic_load(&up->limit.bytes_per_s), 25000000);
}

static Mfd__Setting *hear(void)
{
	ProtobufCMessage *msg;
	unsigned type;

	assert_int_equal(mfd_control_recv(&target, &type, &msg, NULL), 0);
	assert_int_equal(type, MFD_WIRE_SETTING);
	return (Mfd__Setting *)msg;
}

static void test_answer(void **state)
{
	Mfd__Set set = MFD__SET__INIT;
	Mfd__Setting *m;

	(void)state;
	set.id = 7;
	set.name = "max-bandwidth";
	set.value = "8M";
	assert_int_equal(mfd_setting_answer(up, sh, &set), 0);
	m = hear();
	assert_int_equal(m->id, 7);
	assert_string_equal(m->value, "8000000");
	assert_string_equal(m->old, "25000000");
	assert_null(m->error);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	set.id = 8;
	set.value = "eight";
	assert_int_equal(mfd_setting_answer(up, sh, &set), 0);
	m = hear();
	assert_int_equal(m->id, 8);
	assert_string_equal(m->value, "8000000");
	assert_null(m->old);
	assert_non_null(strstr(m->error, "bad value 'eight'"));
	protobuf_c_message_free_unpacked(&m->base, NULL);
}

/* Only a target that has said that it takes SETTING is told. */
static void test_tell(void **state)
{
	struct mfd_setting c = { .old = "1", .now = "2" };
	Mfd__Setting *m;
	char byte;

	(void)state;
	mfd_setting_tell(up, sh, "max-bandwidth", &c);
	assert_int_equal(recv(target_fd, &byte, 1, MSG_DONTWAIT), -1);
	sh->settings = 1;
	mfd_setting_tell(up, sh, "max-bandwidth", &c);
	m = hear();
	assert_false(m->has_id);
	assert_string_equal(m->value, "2");
	assert_string_equal(m->old, "1");
	protobuf_c_message_free_unpacked(&m->base, NULL);
}

/* Changed while the target kept us waiting for HELLO_OK. */
static void test_catch_up(void **state)
{
	Mfd__Setting *m;
	char byte;

	(void)state;
	sh->settings = 1;
	up->hello_bandwidth = atomic_load(&sh->max_bandwidth);
	mfd_setting_catch_up(up, sh);
	assert_int_equal(recv(target_fd, &byte, 1, MSG_DONTWAIT), -1);
	atomic_store(&sh->max_bandwidth, 3);
	mfd_setting_catch_up(up, sh);
	m = hear();
	assert_string_equal(m->name, "max-bandwidth");
	assert_string_equal(m->old, "25000000");
	assert_string_equal(m->value, "3");
	protobuf_c_message_free_unpacked(&m->base, NULL);
}

static void *change_main(void *arg)
{
	struct mfd_error err = { 0 };
	struct mfd_setting c;
	char value[24];

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(value, sizeof(value), "%u", (unsigned)(uintptr_t)arg + i);
		mfd_setting_change(up, sh, "max-bandwidth", value, &c, &err);
	}
	return NULL;
}

/* The target and a person here at once: what counts afterwards is one value, in both places. */
static void test_both_sides(void **state)
{
	pthread_t t[2];

	(void)state;
	mfd_log_level_set(MFD_LOG_WARN); /* each change is told */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, change_main,
						(void *)(uintptr_t)((i + 1) * 1000000)),
				 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&sh->max_bandwidth), atomic_load(&up->limit.bytes_per_s));
	assert_in_range(atomic_load(&sh->max_bandwidth) % 1000000, 19999, 19999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tell, setup, teardown),
		cmocka_unit_test_setup_teardown(test_catch_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_sides, setup, teardown),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
