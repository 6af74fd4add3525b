// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the hooks of a dump find goes into the CPR table, and cpr-fds.img is that table: written by
 * the plugin, or by the sender from the table's journal.
 *
 * The hooks are compiled in here, so that their table can be seen; CRIU and what looks at its tree
 * are played.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/eventfd.h>
#include <sys/stat.h>

#include "../../plugin/hooks/cpr_dump.c"

#include "tmpdir.h"

/* ---- CRIU, and the tree ---- */

static int image_dir = -1, shared_pipe = -1;
static char said[1024];

static void keep_text(const char *fmt, va_list ap)
{
	vsnprintf(said, sizeof(said), fmt, ap);
}

#define PLAY(name)                      \
	void name(const char *fmt, ...) \
	{                               \
		va_list ap;             \
		va_start(ap, fmt);      \
		keep_text(fmt, ap);     \
		va_end(ap);             \
	}

PLAY(mfd_host_error)
PLAY(mfd_host_warn)
PLAY(mfd_host_info)

static int told; /* CRIU's command line has --ext-unix-sk */

int mfd_host_was_told(const char *word)
{
	return told && !strcmp(word, "--ext-unix-sk");
}

int mfd_host_image_dir(void)
{
	return image_dir;
}

int mfd_scan_refuse(int root, struct mfd_error *err)
{
	return 0;
}

int mfd_scan_shared(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d),
		    void *ctx)
{
	static struct mfd_cpr_described d;

	if (shared_pipe < 0)
		return 0;
	assert_int_equal(mfd_cpr_describe(shared_pipe, &d), 0);
	d.owner = (struct mfd_cpr_owner){ .pid = 4711, .fd = 7 };
	d.item.record.owners = &d.owner;
	d.item.record.n_owners = 1;
	return each(ctx, shared_pipe, &d);
}

int mfd_tty_scan(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d), void *ctx)
{
	return 0;
}

int mfd_tty_declare(char *name, struct mfd_error *err)
{
	return 0;
}

/* ---- a dump ---- */

static int null_fd, event_fd, pipe_fd[2], pair[2];

static int set_up(void **state)
{
	struct dir *d;

	if (tmpdir_setup(state))
		return -1;
	d = *state;
	image_dir = d->fd;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	event_fd = eventfd(0, EFD_CLOEXEC);
	return null_fd < 0 || event_fd < 0 || pipe2(pipe_fd, O_CLOEXEC) ||
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state)
{
	const int fds[] = { null_fd, event_fd, pipe_fd[0], pipe_fd[1], pair[0], pair[1] };

	mfd_cpr_dump_end(-1);
	shared_pipe = -1;
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		close(fds[i]);
	return tmpdir_teardown(state);
}

static void begin(void)
{
	struct mfd_options o;
	struct mfd_error err = { 0 };

	mfd_options_init(&o);
	o.target = strdup("127.0.0.1:1");
	o.session = strdup("web");
	assert_int_equal(mfd_cpr_dump_begin(&o, &err), 0);
	mfd_options_free(&o);
}

/* What CRIU and the scan of the tree come with: four entries. */
static void find_all(void)
{
	struct mfd_error err = { 0 };

	shared_pipe = pipe_fd[0];
	assert_int_equal(mfd_cpr_dump_running(1, &err), 0);
	assert_int_equal(mfd_cpr_dump_frozen(1, &err), 0);
	assert_int_equal(mfd_cpr_dump_ext(null_fd, 7, &err), 0);
	assert_int_equal(mfd_cpr_dump_ext(event_fd, 8, &err), 0);
	assert_int_equal(mfd_cpr_dump_unix(pair[0], 8, &err), 0);
	assert_int_equal(mfd_cpr_count(dump.table), 4);
}

static const struct mfd_cpr_record *record(const char *name, uint64_t id)
{
	struct mfd_cpr_entry e;

	assert_int_equal(mfd_cpr_get(dump.table, name, id, &e), 0);
	return e.record;
}

/* As long as the table lives. */
static struct mfd_cpr *copy_table(void)
{
	struct mfd_cpr *copy = mfd_cpr_new(NULL);
	struct mfd_cpr_entry *list;
	size_t n;

	assert_int_equal(mfd_cpr_sorted(dump.table, &list, &n), 0);
	for (size_t i = 0; i < n; i++) {
		struct mfd_cpr_image_item item = { .name = list[i].name, .id = list[i].id };

		item.record = *(struct mfd_cpr_record *)list[i].record;
		assert_int_equal(mfd_cpr_save_item(copy, &item), 0);
	}
	free(list);
	return copy;
}

static char *image(int fd, size_t *len)
{
	char *text;

	assert_int_equal(mfd_io_read_file(fd, MFD_CPR_IMAGE_NAME, 1 << 20, &text, len), 0);
	return text;
}

/* The image is `t` written out, byte for byte; frees `t`. */
static void assert_image_is(struct dir *d, struct mfd_cpr *t)
{
	struct mfd_cpr_image_header h;
	struct mfd_cpr *loaded;
	char *is, *should;
	size_t is_len, should_len;
	const char *why = NULL;
	int other;

	assert_int_equal(mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, NULL, &loaded, &h, &why), 0);
	assert_string_equal(h.session, "web");
	assert_int_equal(mfd_cpr_header_same_boot(&h), 1);
	mfd_cpr_free(loaded);
	assert_int_equal(mkdirat(d->fd, "other", 0700), 0);
	other = openat(d->fd, "other", O_RDONLY | O_DIRECTORY);
	assert_int_equal(mfd_cpr_store(t, other, &h, &why), 0);
	is = image(d->fd, &is_len);
	should = image(other, &should_len);
	assert_int_equal(is_len, should_len);
	assert_memory_equal(is, should, is_len);
	free(is);
	free(should);
	close(other);
	mfd_cpr_header_release(&h);
	mfd_cpr_free(t);
}

static int there(const char *name)
{
	return !faccessat(image_dir, name, F_OK, 0);
}

/* ---- tests ---- */

static void test_saved_by_name_and_id(void **state)
{
	char name[64];
	struct stat st;

	begin();
	find_all();
	assert_int_equal(record("/dev/null", 7)->how, MFD__CPR_HOW__REOPEN);
	assert_int_equal(record("anon_inode:[eventfd]", 8)->how, MFD__CPR_HOW__OFFERED);
	assert_int_equal(record("unix-stream:[unnamed]", 8)->kind, MFD__CPR_KIND__UNIX_STREAM);
	assert_int_equal(fstat(pipe_fd[0], &st), 0);
	snprintf(name, sizeof(name), "pipe:[%lu]", (unsigned long)st.st_ino);
	assert_int_equal(record(name, st.st_ino)->owners[0].pid, 4711);
	assert_string_equal(record(name, st.st_ino)->inherit_id, name);
}

static void test_plugin_writes_the_table(void **state)
{
	struct mfd_cpr *copy;

	begin();
	find_all();
	copy = copy_table();
	assert_false(there(MFD_CPR_IMAGE_NAME));
	mfd_cpr_dump_end(0);
	assert_false(there(MFD_CPR_LOG_NAME));
	assert_image_is(*state, copy);
}

/* The table, and not what was written down beside it, is what the image holds. */
static void test_image_follows_the_table(void **state)
{
	struct mfd_cpr_image_item item = {
		.name = "by hand",
		.record = { .kind = MFD__CPR_KIND__OTHER, .how = MFD__CPR_HOW__OFFERED },
	};
	struct mfd_cpr *copy;

	begin();
	find_all();
	assert_int_equal(mfd_cpr_save_item(dump.table, &item), 0);
	assert_int_equal(mfd_cpr_delete_fd(dump.table, "/dev/null", 7), 0);
	copy = copy_table();
	mfd_cpr_dump_end(0);
	assert_image_is(*state, copy);
}

static void test_sender_has_the_same_table(void **state)
{
	const char *why = NULL;
	struct mfd_cpr *copy;
	struct stat before, after;

	begin();
	find_all();
	copy = copy_table();
	assert_int_equal(mfd_cpr_log_seal(image_dir, &why), 0);
	assert_null(why);
	assert_false(there(MFD_CPR_LOG_NAME));
	assert_int_equal(fstatat(image_dir, MFD_CPR_IMAGE_NAME, &before, 0), 0);
	mfd_cpr_dump_end(0);
	assert_int_equal(fstatat(image_dir, MFD_CPR_IMAGE_NAME, &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino); /* the sender has shipped that one */
	assert_image_is(*state, copy);
}

static void test_one_key_one_descriptor(void **state)
{
	struct mfd_error err = { 0 };

	begin();
	find_all();
	assert_int_equal(mfd_cpr_dump_ext(event_fd, 8, &err), -EEXIST);
	assert_non_null(strstr(mfd_error_text(&err), "anon_inode:[eventfd] (8)"));
	assert_int_equal(mfd_cpr_count(dump.table), 4);
}

static void test_journal_with_a_key_twice(void **state)
{
	struct mfd_cpr_image_item item = {
		.name = "twice",
		.record = { .kind = MFD__CPR_KIND__OTHER, .how = MFD__CPR_HOW__OFFERED },
	};
	struct mfd_cpr_image_header h;
	const char *why = NULL;
	struct mfd_cpr *t;

	begin();
	assert_int_equal(mfd_cpr_log_add(dump.log, &item, &why), 0);
	assert_int_equal(mfd_cpr_log_add(dump.log, &item, &why), 0);
	assert_int_equal(mfd_cpr_log_load(image_dir, &t, &h, &why), -EBADMSG);
	assert_null(t);
	assert_int_equal(mfd_cpr_log_seal(image_dir, &why), -EBADMSG);
	assert_string_equal(why, MFD_CPR_LOG_NAME " is damaged");
	assert_true(there(MFD_CPR_LOG_NAME) && !there(MFD_CPR_IMAGE_NAME));
}

static void test_failed_dump_leaves_nothing(void **state)
{
	begin();
	find_all();
	mfd_cpr_dump_end(-EIO);
	assert_false(there(MFD_CPR_LOG_NAME) || there(MFD_CPR_IMAGE_NAME));
	assert_null(dump.table);
}

static void test_nothing_found(void **state)
{
	begin();
	mfd_cpr_dump_end(0);
	assert_false(there(MFD_CPR_LOG_NAME) || there(MFD_CPR_IMAGE_NAME));
}

/* With --ext-unix-sk CRIU connects a datagram socket again by the name of its peer. */
static void test_ext_unix_sk_wins(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "\0criu-multifd-test" };
	int peer = socket(AF_UNIX, SOCK_DGRAM, 0), s = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct mfd_error err = { 0 };

	assert_int_equal(bind(peer, (void *)&a, sizeof(a)), 0);
	assert_int_equal(connect(s, (void *)&a, sizeof(a)), 0);
	begin();
	told = 1;
	assert_int_equal(mfd_cpr_dump_unix(s, 8, &err), -ENOTSUP);
	assert_int_equal(mfd_cpr_dump_unix(pair[0], 9, &err), 0); /* which CRIU cannot */
	told = 0;
	assert_int_equal(mfd_cpr_dump_unix(s, 8, &err), 0);
	close(peer);
	close(s);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_saved_by_name_and_id),       test(test_plugin_writes_the_table),
		test(test_image_follows_the_table),    test(test_sender_has_the_same_table),
		test(test_one_key_one_descriptor),     test(test_journal_with_a_key_twice),
		test(test_failed_dump_leaves_nothing), test(test_nothing_found),
		test(test_ext_unix_sk_wins),
	};

	return cmocka_run_group_tests_name("cpr_dump", tests, NULL, NULL);
}
