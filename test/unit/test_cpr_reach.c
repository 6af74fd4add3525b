// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the server finds out about a session's images before it promises anything: which descriptors
 * can be had, and which processes may read them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpr_image.h"
#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "keeper_client.h"
#include "keeperproc.h"

#include "cpr_reach.h"
#include "session.h"
#include "tmpdir.h"

#define OTHER_BOOT "00000000-0000-0000-0000-000000000000"

static struct mfd_server server;
static struct mfd_session session = { .server = &server, .name = "web" };
static char text[512];
static const char *of_session; /* that the image names; NULL: none */

static int set_up(void **state)
{
	struct dir *d;

	if (tmpdir_setup(state))
		return -1;
	d = *state;
	server.dirfd = d->fd;
	session.plan = mfd_plan(MFD_PLAN_SAFE);
	text[0] = 0;
	of_session = NULL;
	if (mkdirat(d->fd, "web", 0700))
		return -1;
	session.dirfd = openat(d->fd, "web", O_RDONLY | O_DIRECTORY);
	return session.dirfd < 0;
}

static int tear_down(void **state)
{
	mfd_rights_put(session.owner.rights);
	session.owner = (struct mfd_owner){ 0 };
	close(session.dirfd);
	return tmpdir_teardown(state);
}

static int one(void *ctx, struct mfd_cpr_image_item *item)
{
	struct mfd_cpr_image_item **next = ctx;

	if (!*next)
		return 0;
	*item = **next;
	*next = NULL;
	return 1;
}

/* An image with that entry alone; boot: NULL = this one. */
static int reach(struct mfd_cpr_image_item item, const char *boot)
{
	struct mfd_cpr_image_item *next = &item;
	struct mfd_cpr_image_header h = { .count = 1, .session = of_session, .boot_id = boot };
	const char *why = NULL;
	char *ours = NULL;

	if (!boot) {
		assert_int_equal(mfd_io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 63,
						  &ours, NULL),
				 0);
		ours[strcspn(ours, "\n")] = 0;
		h.boot_id = ours;
	}
	assert_int_equal(mfd_cpr_image_write(session.dirfd, &h, one, &next, &why), 0);
	free(ours);
	text[0] = 0;
	return mfd_cpr_reach_check(&session, text, sizeof(text));
}

static pid_t start_keeper(struct dir *d, int *sock)
{
	pid_t pid = fork();

	if (!pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(9);
		_exit(mfd_keeper_run(d->path, -1, 0));
	}
	for (int i = 0; i < 500; i++) {
		*sock = mfd_keeper_connect_at(d->fd, MFD_KEEPER_SOCKET);
		if (*sock >= 0)
			return pid;
		usleep(10000);
	}
	fail_msg("the keeper does not listen");
	return 0;
}

static void stop_keeper(pid_t pid, int sock)
{
	close(sock);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

static void offer(int sock, const char *name)
{
	struct mfd_keeper_msg m;
	int fd = open("/dev/null", O_RDWR);

	assert_int_equal(mfd_keeper_fill(&m, MFD_KEEPER_OFFER, "web", name, MFD_KEEPER_ANY_ID), 0);
	assert_int_equal(mfd_keeper_call(sock, &m, fd, NULL), 0);
	close(fd);
}

static const struct mfd_cpr_image_item map = { .name = "anon_inode:bpf-map",
					       .id = 4,
					       .record = { .kind = MFD__CPR_KIND__ANON_INODE,
							   .how = MFD__CPR_HOW__KEPT,
							   .has = MFD_CPR_HAS_CRIU_ID } },
				       fuse = { .name = "/dev/fuse",
						.id = 5,
						.record = { .kind = MFD__CPR_KIND__CHARDEV,
							    .how = MFD__CPR_HOW__KEPT,
							    .has = MFD_CPR_HAS_CRIU_ID,
							    .path = "/dev/fuse" } },
				       eventfd = { .name = "anon_inode:[eventfd]",
						   .id = 6,
						   .record = { .kind = MFD__CPR_KIND__EVENTFD,
							       .how = MFD__CPR_HOW__KEPT } },
				       a_pipe = { .name = "pipe:[9]",
						  .id = 9,
						  .record = { .kind = MFD__CPR_KIND__PIPE,
							      .how = MFD__CPR_HOW__KEPT,
							      .inherit_id = "pipe:[9]" } },
				       terminal = { .name = "tty[8807:1a]",
						    .id = 10,
						    .record = { .kind = MFD__CPR_KIND__TTY,
								.how = MFD__CPR_HOW__KEPT,
								.has = MFD_CPR_HAS_DEVICE,
								.major = 136,
								.minor = 7,
								.path = "/dev/pts/7",
								.inherit_id = "tty[8807:1a]" } },
				       dev_tty = { .name = "tty[500:5]",
						   .id = 10,
						   .record = { .kind = MFD__CPR_KIND__TTY,
							       .how = MFD__CPR_HOW__KEPT,
							       .has = MFD_CPR_HAS_DEVICE,
							       .major = 5,
							       .path = "/dev/tty",
							       .inherit_id = "tty[500:5]" } };

/* The keeper that has them may be another one, which the restore will be told of. */
static void test_kept_on_this_boot(void **state)
{
	session.plan = mfd_plan(MFD_PLAN_SAFE_CONFIRM);
	assert_int_equal(reach(map, NULL), 0);
	assert_int_equal(reach(fuse, NULL), 0);
	assert_int_equal(reach(a_pipe, NULL), 0);
	assert_int_equal(reach(terminal, NULL), 0);
}

/*
 * Nothing of another host, or of this one before it was started again, is alive: a path, CRIU's own
 * image, or an offer.
 */
static void test_kept_elsewhere(void **state)
{
	int sock;
	pid_t keeper;

	assert_int_equal(reach(map, OTHER_BOOT), -ENOENT);
	assert_non_null(strstr(text, "anon_inode:bpf-map (4)"));
	assert_non_null(strstr(text, "cpr offer web anon_inode:bpf-map"));
	assert_int_equal(reach(a_pipe, OTHER_BOOT), -ENOENT);
	assert_non_null(strstr(text, "pipe:[9]"));
	assert_int_equal(reach(fuse, OTHER_BOOT), 0);
	assert_int_equal(reach(eventfd, OTHER_BOOT), 0);
	keeper = start_keeper(*state, &sock);
	assert_int_equal(reach(map, OTHER_BOOT), -ENOENT);
	offer(sock, "anon_inode:bpf-map");
	assert_int_equal(reach(map, OTHER_BOOT), 0);
	assert_int_equal(reach(a_pipe, OTHER_BOOT), -ENOENT);
	stop_keeper(keeper, sock);
}

/*
 * A terminal is not had by its path, which another process has here; a restore that is not the
 * server's own may bring one.
 */
static void test_terminals(void **state)
{
	int sock;
	pid_t keeper;

	assert_int_equal(reach(terminal, OTHER_BOOT), 0);
	session.plan = mfd_plan(MFD_PLAN_SAFE_CONFIRM);
	assert_int_equal(reach(terminal, OTHER_BOOT), -ENOENT);
	assert_non_null(strstr(text, "cpr offer web tty[8807:1a]"));
	assert_int_equal(reach(dev_tty, OTHER_BOOT), 0); /* the other entry's */
	keeper = start_keeper(*state, &sock);
	offer(sock, "tty[8808:1a]");
	assert_int_equal(reach(terminal, OTHER_BOOT), -ENOENT);
	offer(sock, "tty[8807:1a]");
	assert_int_equal(reach(terminal, OTHER_BOOT), 0);
	assert_int_equal(mfd_keeper_drop(sock, "web", NULL, 0, MFD_KEEPER_OFFERED), 0);
	assert_int_equal(reach(terminal, OTHER_BOOT), -ENOENT);
	offer(sock, MFD_KEEPER_TERMINAL);
	assert_int_equal(reach(terminal, OTHER_BOOT), 0);
	stop_keeper(keeper, sock);
}

/* ---- what the peer may have ---- */

static void with_rights(const char *block)
{
	struct mfd_error err = { 0 };

	mfd_rights_put(session.owner.rights);
	assert_int_equal(mfd_rights_parse(&session.owner.rights, block, strlen(block), "F", &err),
			 0);
	session.owner.right = mfd_rights_find(session.owner.rights, "");
	strcpy(session.owner.address, "192.0.2.1");
}

static void not_permitted(int ret, const char *name)
{
	char want[128];

	snprintf(want, sizeof(want), "192.0.2.1 may not have descriptor %s, which is offered",
		 name);
	assert_int_equal(ret, -EPERM);
	if (strncmp(text, want, strlen(want)) || !strstr(text, "'cpr-offers' in F there"))
		fail_msg("\"%s\"", text);
}

/*
 * Whatever else an entry could be restored from: a restore asks the keeper first.  It takes offers
 * without an entry, too.
 */
static void test_offers_need_a_right(void **state)
{
	int sock;
	pid_t keeper;

	with_rights("peer insecure cpr-offers pipe:*\n");
	assert_int_equal(reach(fuse, OTHER_BOOT), 0); /* there is no keeper */
	keeper = start_keeper(*state, &sock);
	assert_int_equal(reach(fuse, OTHER_BOOT), 0);
	offer(sock, "pipe:[9]");
	assert_int_equal(reach(a_pipe, OTHER_BOOT), 0);
	offer(sock, "/dev/fuse");
	not_permitted(reach(fuse, OTHER_BOOT), "/dev/fuse");
	not_permitted(reach(fuse, NULL), "/dev/fuse");
	not_permitted(reach(a_pipe, OTHER_BOOT), "/dev/fuse");
	assert_int_equal(unlinkat(session.dirfd, MFD_CPR_IMAGE_NAME, 0), 0);
	not_permitted(mfd_cpr_reach_check(&session, text, sizeof(text)), "/dev/fuse");
	assert_int_equal(mfd_keeper_drop(sock, "web", "/dev/fuse", MFD_KEEPER_ANY_ID,
					 MFD_KEEPER_OFFERED),
			 0);
	assert_int_equal(reach(fuse, OTHER_BOOT), 0);
	offer(sock, MFD_KEEPER_TERMINAL);
	not_permitted(reach(terminal, NULL), MFD_KEEPER_TERMINAL);
	with_rights("peer insecure cpr-offers pipe:* tty\n");
	assert_int_equal(reach(terminal, NULL), 0);
	with_rights("peer psk:a cpr-offers *\n"); /* it has no block */
	assert_int_equal(reach(terminal, NULL), -EPERM);
	stop_keeper(keeper, sock);
}

/* What the keeper has for another session is another peer's. */
static void test_image_of_another_session(void **state)
{
	(void)state;
	of_session = "db";
	assert_int_equal(reach(fuse, OTHER_BOOT), 0); /* without a file of rights */
	with_rights("peer insecure sessions web cpr-offers *\n");
	assert_int_equal(reach(fuse, OTHER_BOOT), -EPERM);
	assert_non_null(strstr(text, "is of session 'db', not of this one"));
	of_session = "web";
	assert_int_equal(reach(fuse, OTHER_BOOT), 0);
}

static void test_no_image_and_a_bad_one(void **state)
{
	int fd;

	assert_int_equal(mfd_cpr_reach_check(&session, text, sizeof(text)), 0);
	fd = openat(session.dirfd, MFD_CPR_IMAGE_NAME, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "nonsense", 8), 8);
	close(fd);
	assert_int_equal(mfd_cpr_reach_check(&session, text, sizeof(text)), -EBADMSG);
	assert_non_null(strstr(text, MFD_CPR_IMAGE_NAME));
}

/* ---- which processes may read them ---- */

static void put_file(const char *name)
{
	int fd = openat(session.dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void put_userns(uint32_t first, uint32_t lower)
{
	MfdCriu__UidGidExtent x = MFD_CRIU__UID_GID_EXTENT__INIT, *list[] = { &x };
	MfdCriu__UsernsEntry e = MFD_CRIU__USERNS_ENTRY__INIT;
	const ProtobufCMessage *m = &e.base;

	x.first = first;
	x.lower_first = lower;
	x.count = 1000;
	e.n_gid_map = 1;
	e.gid_map = list;
	assert_int_equal(mfd_image_write(session.dirfd, "userns-9.img", MFD_IMAGE_COMMON_MAGIC,
					 0x55474906, &m, 1),
			 0);
}

static void has_mode(const char *name, mode_t mode, gid_t group)
{
	struct stat st;

	assert_int_equal(fstatat(session.dirfd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_gid, group);
}

static void test_admit_nobody(void **state)
{
	put_file("core-1.img");
	assert_int_equal(mfd_userns_admit(&session, text, sizeof(text)), 0);
	has_mode("core-1.img", 0600, getegid());
	put_userns(0, 0); /* its root is the host's */
	assert_int_equal(mfd_userns_admit(&session, text, sizeof(text)), 0);
	put_userns(1, 5000); /* it has no root */
	assert_int_equal(mfd_userns_admit(&session, text, sizeof(text)), 0);
	has_mode("core-1.img", 0600, getegid());
	has_mode(".", 0700, getegid());
}

static void test_admit_the_root_inside(void **state)
{
	char *may = NULL;

	if (geteuid())
		skip();
	if (mfd_io_read_file(AT_FDCWD, "/proc/sys/vm/unprivileged_userfaultfd", 16, &may, NULL))
		skip();
	put_file("core-1.img");
	put_file("session.img");
	put_file("pages.journal");
	put_userns(0, 70000);
	if (*may == '0') {
		assert_int_equal(mfd_userns_admit(&session, text, sizeof(text)), -EPERM);
		assert_non_null(strstr(text, "vm.unprivileged_userfaultfd=1"));
		has_mode("core-1.img", 0600, getegid());
		has_mode(".", 0700, getegid());
	} else {
		assert_int_equal(mfd_userns_admit(&session, text, sizeof(text)), 0);
		has_mode("core-1.img", 0640, 70000);
		has_mode("userns-9.img", 0640, 70000);
		has_mode(".", 0710, 70000);
	}
	has_mode("session.img", 0600, getegid());
	has_mode("pages.journal", 0600, getegid());
	free(may);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept_on_this_boot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kept_elsewhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_terminals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_offers_need_a_right, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_image_of_another_session, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_image_and_a_bad_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_admit_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_admit_the_root_inside, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
