// SPDX-License-Identifier: GPL-2.0-only
/*
 * A restore loads cpr-fds.img into a CPR table, and what CRIU asks for is answered from it.
 *
 * The hooks are compiled in here, so that their table can be seen.  CRIU is played; the keeper is
 * real.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "../../plugin/hooks/cpr_restore.c"
#include "../../plugin/hooks/cpr_inherit.h"
#include "../../plugin/hooks/cpr_tty.h"

#include "keeperproc.h"
#include "tmpdir.h"

/* ---- CRIU ---- */

static int image_dir = -1;
static uint32_t rewritten_to;
static char passed[256];

void mfd_host_error(const char *fmt, ...) {}

void mfd_host_warn(const char *fmt, ...) {}

void mfd_host_info(const char *fmt, ...) {}

int mfd_host_image_dir(void)
{
	return image_dir;
}

int mfd_cpr_rewrite(int dir, struct mfd_cpr_rewrite *list, size_t n, struct mfd_error *err)
{
	for (size_t i = 0; i < n; i++) {
		list[i].criu_id = 100 + list[i].fd;
		rewritten_to = list[i].type;
	}
	return 0;
}

int mfd_tty_own(int dir, const char *name)
{
	return -ENOENT;
}

int mfd_inherit_given(const char *inherit_id)
{
	return 0;
}

int mfd_inherit_pass(int fd, char *key, struct mfd_error *err)
{
	snprintf(passed + strlen(passed), sizeof(passed) - strlen(passed), "%s;", key);
	close(fd);
	return 0;
}

/* ---- a keeper and an image ---- */

static pid_t keeper;
static int sock, event_fd, pair[2];

static void start_keeper(struct dir *d)
{
	keeper = fork();
	if (!keeper) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(9);
		_exit(mfd_keeper_run(d->path, -1, 0));
	}
	for (int i = 0; i < 500; i++) {
		sock = mfd_keeper_connect_at(d->fd, MFD_KEEPER_SOCKET);
		if (sock >= 0)
			return;
		usleep(10000);
	}
	fail_msg("the keeper does not listen");
}

static int set_up(void **state)
{
	struct dir *d;

	if (tmpdir_setup(state))
		return -1;
	d = *state;
	if (mkdirat(d->fd, "web", 0700))
		return -1;
	image_dir = openat(d->fd, "web", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	event_fd = eventfd(7, EFD_CLOEXEC | EFD_NONBLOCK);
	passed[0] = 0;
	rewritten_to = 0;
	start_keeper(d);
	return image_dir < 0 || event_fd < 0 ||
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state)
{
	mfd_cpr_restore_end(-1);
	mfd_loaded_free(&rst.loaded);
	free(closing.path);
	closing.path = NULL;
	kill(keeper, SIGTERM);
	waitpid(keeper, NULL, 0);
	close(sock);
	close(event_fd);
	close(pair[0]);
	close(pair[1]);
	close(image_dir);
	return tmpdir_teardown(state);
}

static void add(struct mfd_cpr *t, const char *name, uint64_t id, struct mfd_cpr_record r)
{
	struct mfd_cpr_image_item item = { .name = name, .id = id, .record = r };

	assert_int_equal(mfd_cpr_save_item(t, &item), 0);
}

static void write_image(struct mfd_cpr *t)
{
	struct mfd_cpr_image_header h;
	const char *why = NULL;

	assert_int_equal(mfd_cpr_header_now(&h, "web"), 0);
	assert_int_equal(mfd_cpr_store(t, image_dir, &h, &why), 0);
	mfd_cpr_header_release(&h);
	mfd_cpr_free(t);
}

/*
 * An eventfd and a unix socket of one id, which CRIU asks for through different hooks, and a path.
 */
static void three_entries(void)
{
	static const struct mfd_cpr_socket s = { .family = AF_UNIX, .type = SOCK_STREAM };
	static const struct mfd_cpr_owner owner = { 12, 3 };
	struct mfd_cpr *t = mfd_cpr_new(NULL);

	add(t, "anon_inode:x", 5,
	    (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__ANON_INODE,
				     .how = MFD__CPR_HOW__KEPT,
				     .has = MFD_CPR_HAS_CRIU_ID,
				     .criu_id = 5 });
	add(t, "unix-stream:/x", 5,
	    (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__UNIX_STREAM,
				     .how = MFD__CPR_HOW__KEPT,
				     .has = MFD_CPR_HAS_CRIU_ID | MFD_CPR_HAS_SOCKET,
				     .socket = &s,
				     .n_owners = 1,
				     .owners = &owner,
				     .criu_id = 5 });
	add(t, "/dev/zero", 9,
	    (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__CHARDEV,
				     .how = MFD__CPR_HOW__REOPEN,
				     .has = MFD_CPR_HAS_CRIU_ID | MFD_CPR_HAS_FLAGS,
				     .flags = O_RDONLY,
				     .path = "/dev/zero",
				     .criu_id = 9 });
	write_image(t);
	assert_int_equal(mfd_keeper_put(sock, "web", "anon_inode:x", 5, event_fd), 0);
	assert_int_equal(mfd_keeper_put(sock, "web", "unix-stream:/x", 5, pair[0]), 0);
}

static int begin(struct mfd_error *err)
{
	struct mfd_options o;
	int ret;

	mfd_options_init(&o);
	assert_true(mfd_cpr_restore_wanted());
	ret = mfd_cpr_restore_begin(&o, err);
	mfd_options_free(&o);
	return ret;
}

static int ask(bool is_unix, int id)
{
	struct mfd_error err = { 0 };

	return mfd_cpr_restore_fd(is_unix, id, &err);
}

static void assert_same_file(int a, int b)
{
	struct stat x, y;

	assert_true(a >= 0 && !fstat(a, &x) && !fstat(b, &y));
	assert_true(x.st_ino == y.st_ino && x.st_dev == y.st_dev);
}

/* ---- tests ---- */

static void test_answers(void **state)
{
	struct mfd_error err = { 0 };
	uint64_t value = 0;
	int fd;

	three_entries();
	assert_int_equal(begin(&err), 0);
	fd = ask(false, 5);
	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 7);
	close(fd);
	fd = ask(true, 5);
	assert_same_file(fd, pair[0]);
	close(fd);
	fd = ask(false, 9);
	assert_int_equal(read(fd, &value, 1), 1);
	close(fd);
	assert_int_equal(ask(false, 6), -ENOTSUP);
	assert_int_equal(ask(true, 9), -ENOTSUP);
}

/* (name, id) finds what the image said; without the table there is no answer. */
static void test_answers_come_from_the_table(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_cpr_entry e;
	int fd;

	three_entries();
	assert_int_equal(begin(&err), 0);
	assert_int_equal(mfd_cpr_count(rst.loaded.table), 3);
	assert_int_equal(mfd_cpr_get(rst.loaded.table, "/dev/zero", 9, &e), 0);
	assert_ptr_equal(mfd_loaded_asked(&rst.loaded, false, 9)->record, e.record);
	assert_int_equal(mfd_cpr_get(rst.loaded.table, "/dev/zero", 5, &e), -ENOENT);
	/* the image is not looked at again */
	assert_int_equal(unlinkat(image_dir, MFD_CPR_IMAGE_NAME, 0), 0);
	fd = ask(true, 5);
	assert_same_file(fd, pair[0]);
	close(fd);
	assert_int_equal(mfd_cpr_clear(rst.loaded.index), 0);
	assert_int_equal(ask(true, 5), -ENOTSUP);
	assert_int_equal(ask(false, 9), -ENOTSUP);
}

/*
 * CRIU dumped it by itself; its images are changed so that CRIU asks for it by a number of theirs.
 */
static void test_rewritten(void **state)
{
	static const struct mfd_cpr_owner owner = { 12, 3 };
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	struct mfd_error err = { 0 };
	int fd;

	add(t, "anon_inode:[eventfd]", 3,
	    (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__EVENTFD,
				     .how = MFD__CPR_HOW__KEPT,
				     .n_owners = 1,
				     .owners = &owner });
	write_image(t);
	assert_int_equal(mfd_keeper_put(sock, "web", "anon_inode:[eventfd]", 3, event_fd), 0);
	assert_int_equal(begin(&err), 0);
	assert_int_equal(rewritten_to, MFD_CRIU_EXT);
	fd = ask(false, 103);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(ask(false, 3), -ENOTSUP);
}

static void test_not_to_be_had(void **state)
{
	struct mfd_error err = { 0 };

	three_entries();
	assert_int_equal(mfd_keeper_drop(sock, "web", "anon_inode:x", 5, MFD_KEEPER_KEPT), 0);
	assert_int_equal(begin(&err), -ENOENT);
	assert_non_null(strstr(mfd_error_text(&err), "anon_inode:x (5) cannot be restored"));
}

/* /dev/tty is found to be the terminal of the same id, and gets what was offered for that. */
static void test_dev_tty_is_its_terminal(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	struct mfd_cpr_record r = { .kind = MFD__CPR_KIND__TTY,
				    .how = MFD__CPR_HOW__INHERITED,
				    .has = MFD_CPR_HAS_DEVICE,
				    .major = 136,
				    .inherit_id = "tty[8800:1a]" };
	struct mfd_keeper_msg m;
	struct mfd_error err = { 0 };

	add(t, "tty[8800:1a]", 44, r);
	r.major = 5;
	r.inherit_id = "tty[500:6]";
	add(t, "tty[500:6]", 44, r);
	write_image(t);
	assert_int_equal(begin(&err), -ENOENT);
	mfd_loaded_free(&rst.loaded);
	err = (struct mfd_error){ 0 };
	mfd_keeper_fill(&m, MFD_KEEPER_OFFER, "web", "tty[8800:1a]", MFD_KEEPER_ANY_ID);
	assert_int_equal(mfd_keeper_call(sock, &m, event_fd, NULL), 0);
	/* an offer that no entry asks for is CRIU's, by its path without the first slash */
	mfd_keeper_fill(&m, MFD_KEEPER_OFFER, "web", "/srv/other", MFD_KEEPER_ANY_ID);
	assert_int_equal(mfd_keeper_call(sock, &m, event_fd, NULL), 0);
	assert_int_equal(begin(&err), 0);
	assert_string_equal(passed, "tty[500:6];tty[8800:1a];srv/other;");
}

static void test_no_image(void **state)
{
	struct mfd_error err = { 0 };

	assert_int_equal(begin(&err), 0);
	assert_int_equal(mfd_cpr_count(rst.loaded.table), 0);
	assert_int_equal(ask(false, 5), -ENOTSUP);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_answers),   test(test_answers_come_from_the_table),
		test(test_rewritten), test(test_not_to_be_had),
		test(test_no_image),  test(test_dev_tty_is_its_terminal),
	};

	return cmocka_run_group_tests_name("cpr_restore", tests, NULL, NULL);
}
