// SPDX-License-Identifier: GPL-2.0-only
/*
 * A restore server with a file of rights: what a peer may not do is refused at HELLO, in one line
 * for each side; and what one peer holds of the server leaves room for others.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "players/disk.h"
#include "players/images.h"
#include "players/server.h"
#include "players/source.h"
#include "tlsbed.h"

static char file[64];

static void write_rights(const char *text)
{
	int fd;

	snprintf(file, sizeof(file), "%s/peers", server_tmp);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(mfd_io_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void start_with(const char *text)
{
	write_rights(text);
	server_start("--peers", file);
}

/* ---- HELLO ---- */

static void refused(const Mfd__Hello *h, const char *why)
{
	struct source s;

	source_init(&s, h->session);
	source_send_hello(&s, h);
	source_expect_abort(&s, why);
	source_close(&s);
}

static void opened(struct source *s, const char *name, unsigned channels)
{
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, channels);
	source_send_hello(s, &h);
	source_take_hello_ok(s);
}

/* The same once a session has quite ended, which is a moment after its end is on disk. */
static void opened_soon(struct source *s, const char *name, unsigned channels)
{
	unsigned type = MFD_WIRE_ABORT;
	ProtobufCMessage *m = NULL;
	Mfd__Hello h;

	for (int i = 0; i < 500 && type == MFD_WIRE_ABORT; i++) {
		if (m) {
			protobuf_c_message_free_unpacked(m, NULL);
			source_close(s);
			usleep(10000);
		}
		source_init(s, name);
		source_hello_init(&h, name, channels);
		source_send_hello(s, &h);
		m = source_next(s, &type);
		assert_non_null(m);
	}
	assert_int_equal(type, MFD_WIRE_HELLO_OK);
	source_keep(s, (Mfd__HelloOk *)m);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void test_denied_by_default(void **state)
{
	Mfd__Hello h;
	struct source s;

	(void)state;
	start_with("peer x509:a sessions *\npeer insecure sessions web-*\n");
	source_hello_init(&h, "db", 1);
	refused(&h, "127.0.0.1 may not open a session of this name ('db')");
	refused(&h, "'sessions' in /tmp/mfd-serve-");
	source_hello_init(&h, "web-1", 1);
	h.postcopy = 1;
	refused(&h, "may not use mode postcopy");
	h.postcopy = 0;
	h.confirm_restore = 1;
	refused(&h, "may not have its sessions restored there");
	h.confirm_restore = 0;
	h.n_restore_option = 1;
	h.restore_option = (char *[]){ (char *)"tcp-established" };
	refused(&h, "may not use restore option 'tcp-established'");
	h.n_restore_option = 0;
	h.n_move_address = 1;
	h.move_address = (char *[]){ (char *)"192.0.2.1/24@lo" };
	refused(&h, "may not move address 192.0.2.1/24@lo there");
	opened(&s, "web-1", 1);
	assert_true(server_log_has("web-1: opened by 127.0.0.1:"));
	assert_true(server_log_has("web-1: none -> streaming, of 127.0.0.1"));
	source_close(&s);
}

static void test_no_block_no_right(void **state)
{
	Mfd__Hello h;

	(void)state;
	start_with("peer x509:* sessions *\n");
	source_hello_init(&h, "web", 1);
	refused(&h, "a source without an identity may do nothing on this restore server");
}

/* ---- by identity ---- */

static struct mfd_tls *load(const char *folder)
{
	const struct mfd_tls_config cfg = { .end = MFD_CONN_SOURCE,
					    .dir = folder,
					    .hostname = "127.0.0.1" };

	return tlsbed_load(&cfg);
}

static void test_by_identity(void **state)
{
	const char *folder;
	struct mfd_tls *tls;
	Mfd__Hello h;
	struct source s;

	(void)state;
	write_rights("peer x509:other.example sessions *\n"
		     "peer x509:source.example sessions mine\n");
	folder = tlsbed_good(server_tmp, "tls");
	tls = load(folder);
	source_security = mfd_tls_security(tls);
	server_start_with((const char *[]){ "--tls-dir", folder, "--peers", file }, 4);
	source_hello_init(&h, "yours", 1);
	refused(&h, "x509:source.example may not open a session of this name");
	assert_true(server_log_has(", x509:source.example: refused: x509:source.example may not"));
	opened(&s, "mine", 1);
	assert_true(server_log_has("mine: none -> streaming, of x509:source.example"));
	source_close(&s);
	source_security = NULL;
	mfd_tls_free(tls);
}

/* ---- shares ---- */

static void test_share_of_sessions(void **state)
{
	struct source s[4];
	Mfd__Hello h;

	(void)state;
	server_start("--max-sessions", "4");
	opened(&s[0], "a", 1);
	opened(&s[1], "b", 1);
	opened(&s[2], "c", 1);
	source_hello_init(&h, "d", 1);
	refused(&h, "127.0.0.1 has 3 sessions on this restore server, which is all that one peer");
	source_from = "127.0.0.2";
	opened(&s[3], "d", 1);
	source_hello_init(&h, "e", 1);
	refused(&h, "this server has 4 sessions already");
	source_from = NULL;
	for (int i = 0; i < 4; i++)
		source_close(&s[i]);
}

static void test_limits_of_a_block(void **state)
{
	struct source s[3];
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions * max-sessions 2 max-channels 3\n");
	opened(&s[0], "a", 2);
	assert_int_equal(s[0].channels, 2);
	opened(&s[1], "b", 2);
	assert_int_equal(s[1].channels, 1);
	source_hello_init(&h, "c", 2);
	refused(&h,
		"127.0.0.1 has 2 sessions on this restore server, which is all that it may have");
	source_from = "127.0.0.2"; /* the block holds for each peer by itself */
	opened(&s[2], "c", 2);
	assert_int_equal(s[2].channels, 2);
	source_from = NULL;
	for (int i = 0; i < 3; i++)
		source_close(&s[i]);
}

static void test_no_channel_left(void **state)
{
	struct source s;
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions * max-channels 2\n");
	opened(&s, "a", 2);
	source_hello_init(&h, "b", 1);
	refused(&h, "has all the channels on this restore server that it may have");
	source_close(&s);
	opened_soon(&s, "b", 2);
	assert_int_equal(s.channels, 2);
	source_close(&s);
}

static void test_limit_of_doubt(void **state)
{
	struct source s;
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions * max-in-doubt 1\n");
	source_to_ready(&s, "a");
	source_close(&s);
	disk_wait_doubt("a", 1);
	source_hello_init(&h, "b", 1);
	refused(&h, "has 1 sessions in doubt on this restore server");
	server_ask("resolve a discard", "ok");
	opened_soon(&s, "b", 1);
	source_close(&s);
}

static void with_memory(Mfd__Hello *h, const char *name, uint64_t bytes)
{
	source_hello_init(h, name, 1);
	h->has_memory = 1;
	h->memory = bytes;
}

/* Counted without --max-memory, too; another peer has a limit of its own. */
static void test_limit_of_memory(void **state)
{
	struct source s, t;
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions * max-memory 64M\n");
	with_memory(&h, "a", 1 << 30);
	refused(&h, "and 127.0.0.1 may have 64.0 MiB for all its sessions: its operator can raise");
	with_memory(&h, "a", 32 << 20);
	source_init(&s, "a");
	source_send_hello(&s, &h);
	source_take_hello_ok(&s);
	with_memory(&h, "b", 32 << 20);
	refused(&h, "'max-memory' in /tmp/mfd-serve-");
	source_from = "127.0.0.2";
	source_init(&t, "b");
	source_send_hello(&t, &h);
	source_take_hello_ok(&t);
	source_from = NULL;
	source_close(&s);
	source_close(&t);
}

static void opened_with(struct source *s, const char *name, uint64_t bytes)
{
	Mfd__Hello h;

	with_memory(&h, name, bytes);
	source_init(s, name);
	source_send_hello(s, &h);
	source_take_hello_ok(s);
}

/* A peer without a limit of its own cannot take all of the memory. */
static void test_share_of_memory(void **state)
{
	struct source s, t;
	Mfd__Hello h;

	(void)state;
	write_rights("peer insecure sessions *\n");
	server_start_with((const char *[]){ "--max-memory", "64M", "--peers", file }, 4);
	with_memory(&h, "a", 52 << 20);
	refused(&h, "and 127.0.0.1 may have 48.0 MiB for all its sessions: its operator can raise");
	opened_with(&s, "a", 32 << 20);
	with_memory(&h, "b", 16 << 20);
	refused(&h, "and 127.0.0.1 may have 48.0 MiB for all its sessions");
	source_from = "127.0.0.2";
	opened_with(&t, "b", 8 << 20);
	source_from = NULL;
	source_close(&s);
	source_close(&t);
}

/* A source that can be told is told; one that does not listen has to wait all the same. */
static void test_limit_of_bandwidth(void **state)
{
	struct source s;
	uint64_t start;
	Mfd__Set *set;
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions * max-bandwidth 2M\n");
	source_init(&s, "a");
	source_hello_init(&h, "a", 2);
	h.has_settings = h.settings = 1;
	source_send_hello(&s, &h);
	source_take_hello_ok(&s);
	source_join_all(&s, 0);
	set = (Mfd__Set *)source_expect(&s, MFD_WIRE_SET);
	assert_string_equal(set->name, "max-bandwidth");
	assert_string_equal(set->value, "2000000");
	protobuf_c_message_free_unpacked(&set->base, NULL);
	start = mfd_io_now_ms();
	for (unsigned i = 0; i < 4; i++)
		source_pages(&s, i % 2, 7, BASE + ((uint64_t)i << 20), 256);
	source_images(&s, 7, BASE, 1024);
	source_end(&s);
	source_until_ready(&s);
	assert_true(mfd_io_now_ms() - start > 1400);
	source_close(&s);
}

/* ---- what the images need ---- */

static void write_image(struct source *s, const char *name, uint32_t magic,
			const ProtobufCMessage *m)
{
	int fd = open(images_dir, O_RDONLY | O_DIRECTORY);

	assert_int_equal(mfd_image_write(fd, name,
					 magic == MFD_IMAGE_INVENTORY ? 0 : MFD_IMAGE_COMMON_MAGIC,
					 magic, &m, 1),
			 0);
	close(fd);
	source_image(s, 0, name);
}

/* A task in a user namespace whose root is `root` outside; same: it is the one of CRIU. */
static void send_namespace(struct source *s, uint32_t root, int same)
{
	MfdCriu__TaskKobjIdsEntry ids = MFD_CRIU__TASK_KOBJ_IDS_ENTRY__INIT, outer = ids;
	MfdCriu__InventoryEntry inventory = MFD_CRIU__INVENTORY_ENTRY__INIT;
	MfdCriu__UsernsEntry ns = MFD_CRIU__USERNS_ENTRY__INIT;
	MfdCriu__UidGidExtent e = MFD_CRIU__UID_GID_EXTENT__INIT, *map[] = { &e };

	images_make(7, BASE, 4);
	ids.has_user_ns_id = outer.has_user_ns_id = 1;
	ids.user_ns_id = 5;
	outer.user_ns_id = same ? 5 : 4;
	inventory.root_ids = &outer;
	e.lower_first = root;
	e.count = 65536;
	ns.n_uid_map = ns.n_gid_map = 1;
	ns.uid_map = ns.gid_map = map;
	write_image(s, "ids-7.img", MFD_IMAGE_IDS, &ids.base);
	write_image(s, "inventory.img", MFD_IMAGE_INVENTORY, &inventory.base);
	write_image(s, "userns-5.img", 0x55474906, &ns.base);
	source_pages(s, 0, 7, BASE, 4);
	source_images(s, 7, BASE, 4);
}

static void no_user_namespace(uint32_t root, int same)
{
	struct source s;

	source_open(&s, "a", 0);
	send_namespace(&s, root, same);
	source_expect_abort(&s, "may move nothing there that has no user namespace of its own");
	source_close(&s);
	disk_wait_free("a");
	server_stop();
	server_start("--peers", file);
}

static int forbids_userfaultfd(void)
{
	char *text = NULL;
	int yes = !mfd_io_read_file(AT_FDCWD, "/proc/sys/vm/unprivileged_userfaultfd", 16, &text,
				    NULL) &&
		  *text == '0';

	free(text);
	return yes;
}

static void test_user_namespace(void **state)
{
	struct source s;

	(void)state;
	start_with("peer insecure sessions * user-namespace required\n");
	no_user_namespace(0, 0);
	no_user_namespace(100000, 1); /* CRIU would not make one */
	source_open(&s, "a", 0);
	send_namespace(&s, 100000, 0);
	if (forbids_userfaultfd()) { /* the next thing that is looked at */
		source_expect_abort(&s, "that needs sysctl vm.unprivileged_userfaultfd=1");
	} else {
		source_end(&s);
		source_until_ready(&s);
	}
	source_close(&s);
}

/* ---- SIGHUP ---- */

static void tell_hangup(const char *answer)
{
	kill(server_pid, SIGHUP);
	for (int i = 0; i < 500 && !server_log_has(answer); i++)
		usleep(10000);
	assert_true(server_log_has(answer));
}

static void test_read_again(void **state)
{
	struct source s, t;
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions a\n");
	opened(&s, "a", 2);
	write_rights("peer insecure sessions b\nrestor yes\n");
	tell_hangup("what peers may do stays as it was: ");
	assert_true(server_log_has("/peers:2: unknown word 'restor'; is 'restore' meant?"));
	source_hello_init(&h, "b", 1);
	refused(&h, "may not open a session of this name");
	write_rights("peer insecure sessions b\n");
	tell_hangup("/peers was read again, for sessions from now on");
	source_hello_init(&h, "c", 1);
	refused(&h, "may not open a session of this name ('c')");
	opened(&t, "b", 1);
	source_join_all(&s, 0); /* what was opened goes on */
	/* The supervisor has read it, too, and so has what it starts. */
	server_kill_worker();
	source_close(&s);
	source_close(&t);
	source_hello_init(&h, "a", 1);
	refused(&h, "may not open a session of this name ('a')");
	assert_int_equal(unlink(file), 0);
	tell_hangup("/peers: No such file or directory");
	refused(&h, "may not open a session of this name ('a')");
}

/* What the file says of memory counts from then on, also if it said nothing before. */
static void test_memory_read_again(void **state)
{
	struct source s, t;
	Mfd__Hello h;

	(void)state;
	start_with("peer insecure sessions *\n");
	opened_with(&s, "a", 32 << 20);
	write_rights("peer insecure sessions * max-memory 64M\n");
	tell_hangup("/peers was read again, for sessions from now on");
	with_memory(&h, "b", 32 << 20);
	refused(&h, "and 127.0.0.1 may have 64.0 MiB for all its sessions");
	opened_with(&t, "b", 8 << 20);
	source_join_all(&s, 0); /* what was opened goes on */
	source_close(&s);
	source_close(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_denied_by_default), SERVER_TEST(test_no_block_no_right),
		SERVER_TEST(test_by_identity),	     SERVER_TEST(test_share_of_sessions),
		SERVER_TEST(test_limits_of_a_block), SERVER_TEST(test_no_channel_left),
		SERVER_TEST(test_limit_of_doubt),    SERVER_TEST(test_read_again),
		SERVER_TEST(test_limit_of_memory),   SERVER_TEST(test_limit_of_bandwidth),
		SERVER_TEST(test_user_namespace),    SERVER_TEST(test_share_of_memory),
		SERVER_TEST(test_memory_read_again),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
