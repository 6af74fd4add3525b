// SPDX-License-Identifier: GPL-2.0-only
/* The end of a safe session: lost links, an abort of the source, and doubt about COMMIT. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "players/criu.h"
#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"
#include "session_file.h"

static void test_disconnects(void **state)
{
	struct source s;
	Mfd__Hello h;
	int step;

	(void)state;
	server_start(NULL, NULL);
	for (step = 0; step < 8; step++) {
		/* when nothing was waited for, the session may not even have begun */
		source_init(&s, step ? "one" : "zero");
		source_hello_init(&h, s.name, 2);
		source_send_hello(&s, &h);
		if (step > 0)
			source_take_hello_ok(&s);
		if (step > 1)
			source_join(&s, &s.ch[0], MFD_WIRE_ROLE_DATA, 0);
		if (step > 2) {
			source_join(&s, &s.ch[1], MFD_WIRE_ROLE_DATA, 1);
			source_expect_free(&s, MFD_WIRE_JOINED);
		}
		if (step > 3)
			source_pages(&s, 0, 7, BASE, 4);
		if (step > 4)
			source_images(&s, 7, BASE, 8);
		if (step > 5) {
			source_end(&s);
			source_expect_free(&s, MFD_WIRE_NEED);
		}
		if (step == 7)
			mfd_conn_close(&s.ch[1]); /* a data channel alone */
		if (step == 7)
			source_expect_abort(&s, "channel 1");
		source_close(&s);
		if (step > 0)
			disk_expect_gone("one", "lost");
		/* so that the next round sees its own tombstone */
		mfd_session_file_exhume(server_root, "one");
	}
	assert_int_equal(server_stop(), 0);
}

static void test_source_aborts(void **state)
{
	struct source s;

	(void)state;
	server_start("--once", NULL);
	source_to_ready(&s, "one");
	mfd_control_send_abort(&s.c, -EINTR, "changed my mind");
	source_expect_end(&s);
	source_close(&s);
	disk_expect_gone("one", "changed my mind");
	assert_int_equal(server_wait(), 1);
}

static void test_doubt_commit(void **state)
{
	struct source s, other;
	Mfd__ResumeOk *ok;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__READY);
	source_hello_refused("one", 1, PAGE, NULL, "in use");
	/* a peer that does not know the secret */
	other = s;
	other.secret[0] ^= 1;
	source_resume(&other, "commit");
	source_expect_abort(&other, "no such session");
	mfd_control_close(&other.c);
	mfd_control_init(&s.c);
	source_resume(&s, "commit");
	ok = (Mfd__ResumeOk *)source_expect(&s, MFD_WIRE_RESUME_OK);
	assert_string_equal(ok->state, "READY");
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	disk_wait_state("one", MFD__SESSION_STATE__COMMITTED);
	assert_false(disk_in_doubt("one"));
	/* and again: the same answer */
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	source_close(&s);
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	mfd_control_init(&s.c);
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static void test_doubt_abort(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	/* the old connections are still open when the source comes back */
	{
		struct source t = s;

		mfd_control_init(&t.c);
		for (unsigned i = 0; i <= MAXCH; i++)
			t.ch[i] = (struct mfd_conn){ 0 };
		source_resume(&t, "abort");
		source_expect_free(&t, MFD_WIRE_RESUME_OK);
		source_expect_end(&t);
		source_close(&t);
	}
	source_close(&s);
	disk_expect_gone("one", "by the source");
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_disconnects),
		SERVER_TEST(test_source_aborts),
		SERVER_TEST(test_doubt_commit),
		SERVER_TEST(test_doubt_abort),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_commit", tests, NULL, NULL);
}
