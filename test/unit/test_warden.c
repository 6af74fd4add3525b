// SPDX-License-Identifier: GPL-2.0-only
/*
 * The warden as a process, and what workers tell it: what it holds, what it closes, and that no
 * message and no death of a worker ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>
#include <unistd.h>

#include "guard.h"
#include "io.h"
#include "log.h"
#include "restored_notes.h"
#include "warden.h"
#include "warden_link.h"

#define PATIENCE_MS 20000
#define PAGE	    4096UL
#define MINE	    3 /* the warden's end of a pipe to the test */

static struct bed {
	pid_t warden, criu;
	int news; /* from the warden: a byte when it can be reached, one when CRIU has ended */
	struct mfd_warden_link link;
} bed;

/* ---- the warden ---- */

static void criu_ended(int status)
{
	(void)!write(MINE, WIFSIGNALED(status) ? "k" : "e", 1);
}

static void be_warden(int news)
{
	pid_t criu;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (news != MINE)
		dup2(news, MINE);
	close_range(MINE + 1, ~0U, 0);
	if (mfd_warden_open())
		_exit(1);
	criu = fork();
	if (!criu) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(MINE);
		for (;;)
			pause();
	}
	(void)!write(MINE, &criu, sizeof(criu));
	_exit(mfd_warden_live(criu, criu_ended));
}

static void link_to(struct mfd_warden_link *l, pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);

	assert_true(pidfd >= 0);
	mfd_warden_link_init(l);
	assert_int_equal(mfd_warden_link_set(l, pidfd), 0);
	close(pidfd);
}

static int begin(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	bed.news = pair[0];
	bed.warden = fork();
	if (!bed.warden)
		be_warden(pair[1]);
	close(pair[1]);
	assert_int_equal(read(bed.news, &bed.criu, sizeof(bed.criu)), sizeof(bed.criu));
	link_to(&bed.link, bed.warden);
	return 0;
}

/* Its last child ends, and it does. */
static int end(void **state)
{
	int status;
	char c;

	(void)state;
	kill(bed.criu, SIGKILL);
	assert_int_equal(read(bed.news, &c, 1), 1);
	assert_int_equal(c, 'k');
	assert_int_equal(waitpid(bed.warden, &status, 0), bed.warden);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(bed.news);
	mfd_warden_link_close(&bed.link);
	return 0;
}

static int count(void)
{
	char path[64], text[64];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", bed.warden);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, text, sizeof(text) - 1);

		text[len > 0 ? len : 0] = 0;
		n += !strncmp(text, "anon_inode:", strlen("anon_inode:"));
	}
	closedir(d);
	return n;
}

static void holds(int n)
{
	uint64_t until = mfd_io_now_ms() + PATIENCE_MS;

	while (count() != n && mfd_io_now_ms() < until)
		usleep(1000);
	assert_int_equal(count(), n);
}

/* ---- words ---- */

static int keep(int fd)
{
	return mfd_warden_keep(&bed.link, "web", fd);
}

static int drop(int fd)
{
	return mfd_warden_drop(&bed.link, "web", fd);
}

static void test_keep_and_drop(void **state)
{
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC), c = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(keep(a) | keep(b) | keep(c), 0);
	holds(3);
	assert_int_equal(drop(b), 0);
	holds(2);
	assert_int_equal(drop(b), 0); /* no such one any more */
	assert_int_equal(keep(b), 0);
	holds(3);
	assert_int_equal(mfd_warden_drop_all(&bed.link, "web"), 0);
	holds(0);
	assert_int_equal(keep(c), 0);
	holds(1);
	close(a);
	close(b);
	close(c);
}

/* A worker that takes over has the file under another number, and may say again what was said. */
static void test_another_worker(void **state)
{
	int a = eventfd(0, EFD_CLOEXEC), again = fcntl(a, F_DUPFD_CLOEXEC, 100), status;
	pid_t worker = fork();

	(void)state;
	if (!worker) {
		struct mfd_warden_link mine;

		link_to(&mine, bed.warden);
		_exit(mfd_warden_keep(&mine, "web", a) || raise(SIGKILL));
	}
	assert_int_equal(waitpid(worker, &status, 0), worker);
	assert_true(WIFSIGNALED(status));
	holds(1);
	close(a);
	assert_int_equal(keep(again), 0);
	assert_int_equal(drop(again), 0);
	holds(0);
	close(again);
}

/* The warden that the session's folder names; nothing else is known after a server's death. */
static void test_by_notes(void **state)
{
	char dir[] = "/tmp/mfd-warden.XXXXXX";
	int a = eventfd(0, EFD_CLOEXEC), dirfd;
	struct mfd_warden_link l;

	(void)state;
	assert_non_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mfd_warden_link_init(&l);
	assert_int_equal(mfd_warden_link_find(&l, dirfd), 0);
	assert_int_equal(l.pidfd, -1);
	assert_int_equal(mfd_notes_mark(dirfd, 0, bed.warden), 0);
	assert_int_equal(mfd_warden_link_find(&l, dirfd), 0);
	assert_int_equal(keep(a), 0);
	holds(1);
	assert_int_equal(mfd_warden_drop_all(&l, "web"), 0);
	holds(0);
	mfd_warden_link_close(&l);
	unlinkat(dirfd, MFD_NOTES_FILE, 0);
	close(dirfd);
	rmdir(dir);
	close(a);
}

/* ---- with the supervisor ---- */

/* Its answer lies there before the question is asked. */
static void answers(int supervisor)
{
	const struct mfd_guard_msg ack = { .kind = MFD_GUARD_ACK };

	assert_int_equal(mfd_io_send_fds(supervisor, &ack, sizeof(ack), NULL, 0), sizeof(ack));
}

/* What is deposited the warden holds, but the connection of a restore. */
static void test_deposits(void **state)
{
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC), pair[2];
	struct mfd_guard g;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	mfd_guard_init(&g, pair[0], -1);
	for (int i = 0; i < 6; i++)
		answers(pair[1]);
	assert_int_equal(mfd_guard_deposit(&g, &bed.link, "web", 0, b, -1, -1, 0), 0);
	assert_int_equal(mfd_guard_deposit(&g, &bed.link, "web", 7, a, -1, -1, 0), 0);
	holds(1);
	assert_int_equal(mfd_guard_withdraw_conn(&g, "web", b), 0);
	assert_int_equal(mfd_guard_deposit(&g, &bed.link, "web", 7, b, -1, -1, 1), 0);
	holds(2);
	assert_int_equal(mfd_guard_withdraw(&g, &bed.link, "web", a), 0);
	holds(1);
	assert_int_equal(mfd_guard_withdraw_all(&g, &bed.link, "web"), 0);
	holds(0);
	/* Without a supervisor it is told all the same. */
	close(pair[1]);
	assert_int_equal(mfd_guard_deposit(&g, &bed.link, "web", 7, a, -1, -1, 0), -EPIPE);
	holds(1);
	mfd_guard_withdraw(&g, &bed.link, "web", a);
	holds(0);
	close(pair[0]);
	close(a);
	close(b);
}

/* ---- what must not end it ---- */

static int reach(void)
{
	int pidfd = pidfd_open(bed.warden, 0),
	    fd = (int)syscall(SYS_pidfd_getfd, pidfd, MFD_WARDEN_END, 0);

	assert_true(fd >= 0);
	close(pidfd);
	return fd;
}

static void test_foreign_words(void **state)
{
	const struct mfd_warden_msg strange = { .word = 77 }, no_fd = { .word = MFD_WARDEN_KEEP },
				    drop_none = { .word = MFD_WARDEN_DROP };
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC), c = eventfd(0, EFD_CLOEXEC),
	    two[2] = { b, b };
	char large[64] = { MFD_WARDEN_DROP_ALL };
	int sock = reach();

	(void)state;
	assert_int_equal(keep(a), 0);
	mfd_io_send_fds(sock, &strange, sizeof(strange), &b, 1);
	mfd_io_send_fds(sock, &no_fd, sizeof(no_fd), NULL, 0);
	mfd_io_send_fds(sock, &drop_none, sizeof(drop_none), NULL, 0);
	mfd_io_send_fds(sock, &no_fd, sizeof(no_fd), two, 2);
	mfd_io_send_fds(sock, large, sizeof(large), &b, 1);
	mfd_io_send_fds(sock, large, 1, &b, 1);
	assert_int_equal(keep(c), 0); /* read after all of them */
	holds(2);
	assert_int_equal(drop(a) | drop(c), 0);
	holds(0);
	close(a);
	close(b);
	close(c);
	close(sock);
}

/* It keeps what it has, and goes on without a word: its last child's end is its own. */
static void test_shut_down(void **state)
{
	int a = eventfd(0, EFD_CLOEXEC), sock = reach();

	(void)state;
	assert_int_equal(keep(a), 0);
	holds(1);
	assert_int_equal(shutdown(sock, SHUT_RDWR), 0);
	usleep(50000);
	holds(1);
	assert_int_equal(keep(a), 0); /* as of a warden that has ended */
	close(a);
	close(sock);
}

/* ---- a warden that holds nothing ---- */

static void test_no_warden(void **state)
{
	int a = eventfd(0, EFD_CLOEXEC);
	struct mfd_warden_link none, old;
	pid_t pid = fork();

	(void)state;
	mfd_warden_link_init(&none);
	assert_int_equal(mfd_warden_keep(&none, "web", a), 0);
	assert_int_equal(mfd_warden_drop(&none, "web", a), 0);
	assert_int_equal(mfd_warden_drop_all(&none, "web"), 0);
	mfd_warden_link_close(&none);
	/* Of an earlier version, without the socket; then dead. */
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close_range(MINE, ~0U, 0);
		for (;;)
			pause();
	}
	link_to(&old, pid);
	usleep(50000);
	assert_int_equal(mfd_warden_drop_all(&old, "web"), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(mfd_warden_keep(&old, "web", a), 0);
	mfd_warden_link_close(&old);
	close(a);
}

/* ---- what it is for ---- */

/* Sends its userfaultfd, keeps none, and tells what it reads in a page that was never filled. */
static void be_task(int sock)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY), ok;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)page, PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ok = !ioctl(uffd, UFFDIO_API, &api) && !ioctl(uffd, UFFDIO_REGISTER, &reg) &&
	     mfd_io_send_fds(sock, "u", 1, &uffd, 1) == 1;
	close(uffd);
	byte = *(volatile char *)page;
	_exit(ok && write(sock, &byte, 1) == 1 ? 0 : 1);
}

static void test_task_waits(void **state)
{
	int pair[2], uffd, n = 1;
	struct pollfd p;
	char c;
	pid_t task;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	task = fork();
	if (!task)
		be_task(pair[1]);
	close(pair[1]);
	assert_int_equal(mfd_io_recv_fds(pair[0], &c, 1, &uffd, &n), 1);
	assert_int_equal(keep(uffd), 0);
	close(uffd); /* the last one that is not the warden's */
	p = (struct pollfd){ .fd = pair[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 300), 0);
	assert_int_equal(mfd_warden_drop_all(&bed.link, "web"), 0);
	assert_int_equal(read(pair[0], &c, 1), 1);
	assert_int_equal(c, 0);
	assert_int_equal(waitpid(task, NULL, 0), task);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keep_and_drop, begin, end),
		cmocka_unit_test_setup_teardown(test_another_worker, begin, end),
		cmocka_unit_test_setup_teardown(test_by_notes, begin, end),
		cmocka_unit_test_setup_teardown(test_deposits, begin, end),
		cmocka_unit_test_setup_teardown(test_foreign_words, begin, end),
		cmocka_unit_test_setup_teardown(test_shut_down, begin, end),
		cmocka_unit_test_setup_teardown(test_task_waits, begin, end),
		cmocka_unit_test(test_no_warden),
	};

	mfd_log_level_set(MFD_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
