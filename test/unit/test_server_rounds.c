// SPDX-License-Identifier: GPL-2.0-only
/*
 * Precopy on the server: rounds that replace what came before, what is stale or left over, the sum
 * that END compares, and sources that do not keep to the order.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"

static void open_precopy(struct source *s, const char *name)
{
	Mfd__HelloOk *ok;
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, 2);
	h.has_precopy = h.precopy = 1;
	source_send_hello(s, &h);
	ok = (Mfd__HelloOk *)source_expect(s, MFD_WIRE_HELLO_OK);
	assert_true(ok->precopy);
	source_keep(s, ok);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	source_join_all(s, 0);
}

static void expect_round_ok(struct source *s, uint32_t n)
{
	Mfd__RoundOk *ok = (Mfd__RoundOk *)source_expect(s, MFD_WIRE_ROUND_OK);

	assert_int_equal(ok->n, n);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
}

static void test_rounds(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	source_pages(&s, 0, 7, BASE, 8);
	source_run(&s, 1, 7, BASE + 8 * PAGE, 8, 1, 0);
	source_round(&s, 1, 16);
	expect_round_ok(&s, 1);
	source_pages(&s, 1, 7, BASE + 4 * PAGE, 8);
	source_round(&s, 2, 8);
	expect_round_ok(&s, 2);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static void test_round_that_may_not_come(void **state)
{
	static const struct {
		int precopy;
		uint32_t n;
		uint64_t pages;
		const char *why;
	} bad[] = {
		{ 0, 1, 1, "rounds were not negotiated" },
		{ 1, 0, 1, "not the number that comes next" },
		{ 1, 2, 1, "not the number that comes next" },
		{ 1, UINT32_MAX, 1, "not the number that comes next" },
		{ 1, 1, 2, "the source sent 2 pages, 1 came" },
	};
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (bad[i].precopy)
			open_precopy(&s, "one");
		else
			source_open(&s, "one", 0);
		source_pages(&s, 0, 7, BASE, 1);
		source_round(&s, bad[i].n, bad[i].pages);
		source_expect_abort(&s, bad[i].why);
		source_close(&s);
		disk_expect_gone("one", bad[i].why);
		disk_wait_free("one");
	}
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_rounds),
		SERVER_TEST(test_round_that_may_not_come),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_rounds", tests, NULL, NULL);
}
