// SPDX-License-Identifier: GPL-2.0-only
/* Verify: pages that the images name and the store lacks are asked for again, once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <unistd.h>

#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"

static void ask_missing(struct source *s, const char *name)
{
	Mfd__Need *n;

	source_open(s, name, 0);
	source_pages(s, 0, 7, BASE, 4);
	source_pages(s, 1, 7, BASE + 6 * PAGE, 2);
	source_images(s, 7, BASE, 10);
	source_end(s);
	n = (Mfd__Need *)source_expect(s, MFD_WIRE_NEED);
	assert_int_equal(n->n_ranges, 2);
	assert_int_equal(n->ranges[0]->task, 7);
	assert_int_equal(n->ranges[0]->vaddr, BASE + 4 * PAGE);
	assert_int_equal(n->ranges[0]->pages, 2);
	assert_int_equal(n->ranges[1]->vaddr, BASE + 8 * PAGE);
	assert_int_equal(n->ranges[1]->pages, 2);
	assert_int_equal(n->pages, 4);
	protobuf_c_message_free_unpacked(&n->base, NULL);
}

static void test_missing(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	ask_missing(&s, "good");
	source_pages(&s, 0, 7, BASE + 4 * PAGE, 2);
	source_run(&s, 0, 7, BASE + 8 * PAGE, 2, 1, 0);
	source_end(&s);
	source_expect_free(&s, MFD_WIRE_READY);
	source_commit(&s);
	source_close(&s);
	ask_missing(&s, "bad");
	source_pages(&s, 0, 7, BASE + 4 * PAGE, 2);
	source_end(&s);
	source_expect_abort(&s, "task 7 address 0x10008000");
	source_close(&s);
	disk_expect_gone("bad", "2 lazy pages");
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_missing),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_verify", tests, NULL, NULL);
}
