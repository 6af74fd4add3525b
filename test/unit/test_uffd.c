// SPDX-License-Identifier: GPL-2.0-only
/* What the userfaultfd calls say where the kernel says no. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "restored.h"
#include "io.h"
#include "uffd.h"

#define N 64UL

static char *src;

static char *area(int uffd)
{
	char *m = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(m != MAP_FAILED);
	task_register(uffd, m, N);
	return m;
}

static int setup(void **state)
{
	src = aligned_alloc(PAGE, N * PAGE);
	for (uint64_t i = 0; i < N; i++)
		memset(src + i * PAGE, (int)(i + 1), PAGE);
	return 0;
}

static int teardown(void **state)
{
	free(src);
	return 0;
}

/* Pages that are there already are stepped over, whatever their pattern. */
static void test_present(void **state)
{
	int uffd = task_uffd();
	char *m = area(uffd);
	uint64_t done;

	for (uint64_t i = 0; i < N; i += 3) {
		assert_int_equal(mfd_uffd_zero(uffd, (uintptr_t)m + i * PAGE, PAGE, &done), 0);
		assert_int_equal(done, PAGE);
	}
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)m, src, N * PAGE, &done), 0);
	assert_int_equal(done, N * PAGE);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(m[i * PAGE + 5], i % 3 ? (char)(i + 1) : 0);
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)m, src, N * PAGE, &done), 0);
	assert_int_equal(done, N * PAGE);
	assert_int_equal(mfd_uffd_wake(uffd, (uintptr_t)m, N * PAGE), 0);
	assert_int_equal(mfd_uffd_unregister(uffd, (uintptr_t)m, N * PAGE), 0);
	close(uffd);
	munmap(m, N * PAGE);
}

/* One request over mappings that mprotect has split. */
static void test_split(void **state)
{
	int uffd = task_uffd();
	char *m = area(uffd);
	uint64_t done;

	assert_int_equal(mprotect(m + 7 * PAGE, 13 * PAGE, PROT_READ), 0);
	assert_int_equal(mprotect(m + 50 * PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)m, src, N * PAGE, &done), 0);
	assert_int_equal(done, N * PAGE);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(m[i * PAGE], (char)(i + 1));
	close(uffd);
	munmap(m, N * PAGE);
}

/* Memory that is not registered: -ENOENT exactly where it begins. */
static void test_unregistered(void **state)
{
	int uffd = task_uffd();
	char *m = area(uffd);
	uint64_t done;

	assert_int_equal(mfd_uffd_unregister(uffd, (uintptr_t)m + 23 * PAGE, 4 * PAGE), 0);
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)m, src, N * PAGE, &done), -ENOENT);
	assert_int_equal(done, 23 * PAGE);
	assert_int_equal(mfd_uffd_zero(uffd, (uintptr_t)m + 20 * PAGE, 10 * PAGE, &done), -ENOENT);
	assert_int_equal(done, 3 * PAGE);
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)m + 27 * PAGE, src, 37 * PAGE, &done), 0);
	close(uffd);
	munmap(m, N * PAGE);
}

static void test_read_nothing(void **state)
{
	struct uffd_msg msg[4];
	int uffd = task_uffd();

	assert_int_equal(mfd_uffd_read(uffd, msg, 4), 0);
	close(uffd);
	assert_int_equal(mfd_uffd_read(-1, msg, 4), -EBADF);
}

struct shared {
	int sock;
	char *m;
};

static pid_t start_child(struct shared *x, int *uffd, void (*fn)(struct shared *x))
{
	int pair[2], n = 1;
	pid_t pid;
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	x->m = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (!pid) {
		int fd = task_uffd();

		alarm(60);
		close(pair[0]);
		x->sock = pair[1];
		task_register(fd, x->m, N);
		if (mfd_io_send_fds(pair[1], "x", 1, &fd, 1) != 1)
			die("send");
		close(fd);
		fn(x);
		_exit(0);
	}
	close(pair[1]);
	x->sock = pair[0];
	assert_int_equal(mfd_io_recv_fds(pair[0], &c, 1, uffd, &n), 1);
	return pid;
}

static void just_wait(struct shared *x)
{
	pause();
}

static void test_gone(void **state)
{
	struct shared x;
	uint64_t done;
	int uffd;
	pid_t pid = start_child(&x, &uffd, just_wait);

	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)x.m, src, 3 * PAGE, &done), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)x.m + 3 * PAGE, src, PAGE, &done), -ESRCH);
	assert_int_equal(done, 0);
	assert_int_equal(mfd_uffd_zero(uffd, (uintptr_t)x.m + 3 * PAGE, PAGE, &done), -ESRCH);
	assert_int_equal(mfd_uffd_unregister(uffd, (uintptr_t)x.m, PAGE), -ESRCH);
	close(uffd);
	close(x.sock);
	munmap(x.m, N * PAGE);
}

static void unmap_part(struct shared *x)
{
	if (munmap(x->m + 8 * PAGE, 8 * PAGE))
		die("munmap");
	if (x->m[20 * PAGE] != 21)
		die("wrong page");
}

/*
 * While an event is not read nothing can be put in; afterwards it can, except for what was
 * unmapped.
 */
static void test_changing(void **state)
{
	struct uffd_msg msg;
	struct shared x;
	uint64_t done;
	int uffd, ret, status;
	pid_t pid = start_child(&x, &uffd, unmap_part);

	for (uint64_t i = 0;
	     (ret = mfd_uffd_zero(uffd, (uintptr_t)x.m + i % 8 * PAGE, PAGE, &done)) != -EAGAIN;
	     i++) {
		assert_int_equal(ret, 0);
		usleep(100);
	}
	assert_int_equal(done, 0);
	assert_int_equal(mfd_uffd_copy(uffd, (uintptr_t)x.m + 20 * PAGE, src + 20 * PAGE, PAGE,
				       &done),
			 -EAGAIN);
	assert_int_equal(mfd_uffd_read(uffd, &msg, 1), 1);
	assert_int_equal(msg.event, UFFD_EVENT_UNMAP);
	assert_int_equal(msg.arg.remove.start, (uintptr_t)x.m + 8 * PAGE);
	while ((ret = mfd_uffd_copy(uffd, (uintptr_t)x.m + 8 * PAGE, src, PAGE, &done)) == -EAGAIN)
		usleep(100);
	assert_int_equal(ret, -ENOENT);
	assert_int_equal(
		mfd_uffd_copy(uffd, (uintptr_t)x.m + 20 * PAGE, src + 20 * PAGE, PAGE, &done), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(uffd);
	close(x.sock);
	munmap(x.m, N * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_present),	     cmocka_unit_test(test_split),
		cmocka_unit_test(test_unregistered), cmocka_unit_test(test_read_nothing),
		cmocka_unit_test(test_gone),	     cmocka_unit_test(test_changing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
