// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session from HELLO to DONE as it should be: what is stored, two of them at once, files in
 * pieces, the figures, and that a hundred of them leave nothing in the worker.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "pagestore.h"
#include "players/criu.h"
#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"
#include "session_file.h"

static int stored_page(void *arg, const struct mfd_pagestore_record *r)
{
	uint64_t *sum = arg;

	*sum += r->pages_flags >> 8;
	return 0;
}

static void check_store(const char *name)
{
	int fd = openat(server_root, name, O_RDONLY | O_DIRECTORY);
	struct mfd_error err = { 0 };
	struct mfd_pagestore *st;
	uint8_t want[PAGE];
	uint64_t pages = 0;

	assert_int_equal(mfd_pagestore_open(fd, &st, stored_page, &pages, &err), 0);
	assert_int_equal(pages, 16);
	source_fill_page(want, 7, BASE);
	/* channel 0's eight pages or channel 1's four came first */
	if (memcmp(mfd_pagestore_at(st, 0), want, PAGE))
		assert_memory_equal(mfd_pagestore_at(st, 4), want, PAGE);
	mfd_pagestore_close(st);
	close(fd);
}

static void test_safe(void **state)
{
	struct source s;
	struct stat st;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	assert_true(disk_has_folder("one"));
	assert_int_equal(fstatat(server_root, "one/pstree.img", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	check_store("one");
	source_commit(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__COMMITTED);
}

static void test_safe_done(void **state)
{
	struct source s;
	struct stat st;

	(void)state;
	server_start("--once", NULL);
	source_to_ready(&s, "one");
	source_commit(&s);
	source_close(&s);
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	assert_int_equal(server_wait(), 0);
	assert_int_equal(fstatat(server_root, "one/pstree.img", &st, 0), 0);
	assert_int_not_equal(fstatat(server_root, "one/pages.store", &st, AT_SYMLINK_NOFOLLOW), 0);
}

static void test_two_sessions(void **state)
{
	struct source a, b;

	(void)state;
	server_start(NULL, NULL);
	source_open(&a, "a", 0);
	source_open(&b, "b", 0);
	source_pages(&a, 0, 7, BASE, 4);
	source_pages(&b, 0, 7, BASE, 4);
	source_images(&b, 7, BASE, 4);
	source_images(&a, 7, BASE, 4);
	source_end(&a);
	source_end(&b);
	source_expect_free(&a, MFD_WIRE_READY);
	source_expect_free(&b, MFD_WIRE_READY);
	source_commit(&a);
	source_commit(&b);
	source_close(&a);
	source_close(&b);
	assert_int_equal(server_stop(), 0);
}

static void test_file_in_pieces(void **state)
{
	uint8_t *data = malloc(3 << 20);
	struct source s;
	char *got;
	size_t len;
	int i;

	(void)state;
	for (i = 0; i < 3 << 20; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9));
	server_start(NULL, NULL);
	source_open(&s, "one", 0);
	source_file_part(&s, 1, "pages-1.img", data + (2 << 20), 1 << 20, 2 << 20, 3 << 20);
	source_file_part(&s, 0, "pages-1.img", data, 1 << 20, 0, 3 << 20);
	source_file_part(&s, 1, "pages-1.img", data + (1 << 20), 1 << 20, 1 << 20, 3 << 20);
	s.files++;
	source_file(&s, 0, "empty.img", "", 0);
	source_pages(&s, 0, 7, BASE, 2);
	source_images(&s, 7, BASE, 2);
	source_end(&s);
	source_expect_free(&s, MFD_WIRE_READY);
	assert_int_equal(mfd_io_read_file(server_root, "one/pages-1.img", 4 << 20, &got, &len), 0);
	assert_int_equal(len, 3 << 20);
	assert_memory_equal(got, data, 3 << 20);
	free(got);
	free(data);
	source_commit(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static void test_ping(void **state)
{
	struct mfd_error err = { 0 };
	ProtobufCMessage *m;
	struct source s;
	unsigned type;
	int pinged = 0;

	(void)state;
	server_start("--stall-timeout", "900");
	source_open(&s, "one", 0);
	source_simple(&s, MFD_WIRE_PING);
	assert_int_equal(mfd_control_recv(&s.c, &type, &m, &err), 0);
	protobuf_c_message_free_unpacked(m, NULL);
	assert_int_equal(type, MFD_WIRE_PONG);
	/* Then silence: the server asks, and gives up. */
	for (;;) {
		assert_int_equal(mfd_control_recv(&s.c, &type, &m, &err), 0);
		protobuf_c_message_free_unpacked(m, NULL);
		if (type == MFD_WIRE_ABORT)
			break;
		assert_int_equal(type, MFD_WIRE_PING);
		pinged++;
	}
	assert_true(pinged >= 1);
	source_close(&s);
	disk_expect_gone("one", "stall");
	assert_int_equal(server_stop(), 0);
}

/* The parts are the whole; times are in their order. */
static void check_sums(const Mfd__SessionEntry *e)
{
	uint64_t pages = 0, zero = 0, wire = 0, files = 0;

	for (size_t i = 0; i < e->n_channel; i++) {
		pages += e->channel[i]->pages;
		zero += e->channel[i]->zero_pages;
		wire += e->channel[i]->wire_bytes;
		files += e->channel[i]->file_bytes;
	}
	assert_int_equal(pages, e->pages);
	assert_int_equal(zero, e->zero_pages);
	assert_int_equal(wire, e->wire_bytes);
	assert_int_equal(files, e->file_bytes);
}

static void test_figures(void **state)
{
	struct mfd_session_file f;
	uint64_t put = 0;
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_open(&s, "one", 0);
	source_pages(&s, 0, 7, BASE, 8);
	source_pages(&s, 0, 7, BASE + 12 * PAGE, 4);
	usleep(50000);
	source_run(&s, 1, 7, BASE + 8 * PAGE, 2, 1, 0);
	usleep(50000);
	source_run(&s, 1, 7, BASE + 10 * PAGE, 2, 1, 0);
	source_images(&s, 7, BASE, 16);
	source_end(&s);
	source_expect_free(&s, MFD_WIRE_READY);
	disk_load("one", &f);
	assert_int_equal(f.entry->n_channel, 2);
	check_sums(f.entry);
	assert_int_equal(f.entry->channel[0]->pages, 12);
	assert_int_equal(f.entry->channel[1]->zero_pages, 4);
	/*
	 * What this channel had to wait for between its two packets, and not what it waited for the
	 * first.
	 */
	assert_in_range(f.entry->channel[1]->stalls, 1, f.entry->channel[1]->packets + 2);
	assert_in_range(f.entry->channel[1]->stall_us, 40000, f.entry->channel[1]->receive_us);
	assert_true(f.entry->started_us <= f.entry->joined_us &&
		    f.entry->joined_us <= f.entry->streaming_us);
	assert_true(f.entry->streaming_us <= f.entry->images_us &&
		    f.entry->images_us <= f.entry->sent_us);
	assert_true(f.entry->sent_us <= f.entry->ready_us);
	assert_int_equal(f.entry->restored_us + f.entry->installed_us, 0);
	mfd_session_file_release(&f);
	/* They survive a server that ends. */
	source_close(&s);
	disk_wait_doubt("one", 1);
	assert_int_equal(server_stop(), 0);
	server_start(NULL, NULL);
	disk_wait_doubt("one", 1);
	disk_load("one", &f);
	check_sums(f.entry);
	assert_int_equal(f.entry->channel[0]->pages, 12);
	assert_true(f.entry->streaming_us > 0);
	mfd_session_file_release(&f);
	server_ask("resolve one run", "ok");
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	disk_load("one", &f);
	check_sums(f.entry);
	for (size_t i = 0; i < f.entry->n_pager_thread; i++)
		put += f.entry->pager_thread[i]->pages;
	assert_true(f.entry->n_pager_thread >= 2);
	assert_int_equal(put + f.entry->direct_pages + f.entry->dropped_pages +
				 f.entry->left_zero_pages,
			 f.entry->installed_pages);
	assert_true(f.entry->committed_us <= f.entry->restored_us &&
		    f.entry->restored_us <= f.entry->installed_us);
	assert_true(f.entry->installed_us <= f.entry->done_us);
	mfd_session_file_release(&f);
	assert_int_equal(server_stop(), 0);
}

static unsigned threads_of(pid_t pid)
{
	char path[64], *text = NULL, *p;
	unsigned n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL), 0);
	p = strstr(text, "Threads:");
	n = p ? (unsigned)atoi(p + 8) : 0;
	free(text);
	return n;
}

static unsigned fds_of(pid_t pid)
{
	char path[64], cmd[96];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	snprintf(cmd, sizeof(cmd), "ls %s | wc -l", path);
	f = popen(cmd, "r");
	if (fscanf(f, "%u", &n) != 1)
		n = 0;
	pclose(f);
	return n;
}

static void test_many(void **state)
{
	unsigned before, fds;
	struct source s;
	char name[32];
	int i;

	(void)state;
	server_start(NULL, NULL);
	/* The first session makes what stays, a sanitizer's threads above all. */
	source_open(&s, "warm", 0);
	source_close(&s);
	disk_expect_gone("warm", "lost");
	usleep(500000);
	before = threads_of(server_worker());
	fds = fds_of(server_worker());
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		if (i % 4) {
			source_open(&s, name, 0);
			source_close(&s);
		} else {
			source_to_ready(&s, name);
			mfd_control_send_abort(&s.c, 0, "enough");
			source_close(&s);
		}
	}
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		disk_wait_state(name, MFD__SESSION_STATE__ABORTED);
	}
	for (i = 0;
	     i < 300 && (threads_of(server_worker()) > before || fds_of(server_worker()) > fds);
	     i++)
		usleep(10000);
	assert_int_equal(threads_of(server_worker()), before);
	assert_int_equal(fds_of(server_worker()), fds);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_safe),		SERVER_TEST(test_safe_done),
		SERVER_TEST(test_two_sessions), SERVER_TEST(test_file_in_pieces),
		SERVER_TEST(test_ping),		SERVER_TEST(test_figures),
		SERVER_TEST(test_many),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_streaming", tests, NULL, NULL);
}
