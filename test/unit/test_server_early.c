// SPDX-License-Identifier: GPL-2.0-only
/* Early restore: when the server offers it to a source that confirms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <unistd.h>

#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"

/*
 * What HELLO_OK says to a source that offers, or does not offer, to be restored while its pages
 * come.
 */
static int early_of(struct source *s, const char *name, int offer, int confirm, int postcopy)
{
	Mfd__HelloOk *ok;
	Mfd__Hello h;
	int early;

	source_init(s, name);
	source_hello_init(&h, name, 1);
	h.has_early_restore = h.early_restore = offer;
	h.confirm_restore = confirm;
	h.postcopy = postcopy;
	source_send_hello(s, &h);
	ok = (Mfd__HelloOk *)source_expect(s, MFD_WIRE_HELLO_OK);
	source_keep(s, ok);
	early = ok->early_restore;
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	return early;
}

static void not_early(const char *name, int offer, int confirm, int postcopy)
{
	struct source s;

	assert_false(early_of(&s, name, offer, confirm, postcopy));
	if (!postcopy)
		source_join_refused(&s, MFD_WIRE_ROLE_URGENT, 0, MFD_WIRE_JOIN_ROLE);
	source_join_all(&s, postcopy);
	source_close(&s);
	disk_expect_gone(name, "lost");
}

static void test_early_restore(void **state)
{
	struct source s;

	(void)state;
	server_start("--restore", NULL);
	not_early("old", 0, 1, 0);	/* a source that does not know of it */
	not_early("separate", 1, 0, 0); /* the server does not restore */
	not_early("postcopy", 1, 1, 1); /* there it is so anyway */
	assert_true(early_of(&s, "early", 1, 1, 0));
	source_join_all(&s, 1); /* JOINED counts the urgent connection */
	source_close(&s);
	disk_expect_gone("early", "lost");
	assert_int_equal(server_stop(), 0);
}

static void test_early_restore_durable(void **state)
{
	(void)state;
	server_start("--restore", "--durable");
	not_early("durable", 1, 1, 0);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_early_restore),
		SERVER_TEST(test_early_restore_durable),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_early", tests, NULL, NULL);
}
