// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task whose memory is pinned is gone at once, descriptors and all, and its memory is there until
 * it is let go.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "mmpin.h"
#include "pair.h"

#define PAGE	  4096UL
#define SETTLE_MS 5000

/*
 * The child has a writable mapping of the memfd, by which its memory is seen, and the only writing
 * end of the pipe.
 */
struct seen {
	int memfd, pipe[2];
	char *page; /* private, with a byte to read */
};

static void map_memfd(void *arg)
{
	struct seen *s = arg;

	if (mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0) == MAP_FAILED)
		abort();
	*s->page = 2;
}

static pid_t start(struct seen *s)
{
	pid_t pid;

	s->memfd = memfd_create("seen", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	s->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(s->memfd >= 0);
	assert_ptr_not_equal(s->page, MAP_FAILED);
	assert_int_equal(ftruncate(s->memfd, PAGE), 0);
	assert_int_equal(pipe2(s->pipe, O_CLOEXEC), 0);
	*s->page = 1;
	pid = pair_frozen_after(map_memfd, s);
	close(s->pipe[1]);
	return pid;
}

static void end(struct seen *s)
{
	close(s->memfd);
	close(s->pipe[0]);
	munmap(s->page, PAGE);
}

/* A memfd that any process has mapped for writing cannot be sealed against writing. */
static int is_mapped(const struct seen *s)
{
	int ret = fcntl(s->memfd, F_ADD_SEALS, F_SEAL_WRITE);

	assert_true(!ret || errno == EBUSY);
	return ret != 0;
}

static int is_closed(const struct seen *s)
{
	struct pollfd p = { .fd = s->pipe[0], .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

static struct mfd_mmpin *open_pin(unsigned room)
{
	struct mfd_mmpin *h = mfd_mmpin_open(room);

	assert_non_null(h);
	return h;
}

/* A child, as `start`, and a pin of its memory alone. */
static struct mfd_mmpin *start_pinned(struct seen *s, pid_t *pid)
{
	struct mfd_mmpin *h = open_pin(1);

	*pid = start(s);
	mfd_mmpin_take(h, *pid, (uintptr_t)s->page);
	assert_int_equal(mfd_mmpin_await(h, SETTLE_MS), 1);
	return h;
}

static void test_outlives(void **state)
{
	struct seen s;
	pid_t pid;
	struct mfd_mmpin *h = start_pinned(&s, &pid);

	(void)state;
	pair_reap(pid);
	assert_true(is_closed(&s));
	assert_true(is_mapped(&s));
	assert_int_equal(mfd_mmpin_wait(h, 20), 0);
	mfd_mmpin_release(h);
	assert_int_equal(mfd_mmpin_wait(h, SETTLE_MS), 1);
	assert_false(is_mapped(&s));
	mfd_mmpin_close(h);
	end(&s);
}

/* A dump that fails after all: the task runs on with what it has. */
static void test_alive(void **state)
{
	struct seen s;
	pid_t pid;
	struct mfd_mmpin *h = start_pinned(&s, &pid);

	(void)state;
	mfd_mmpin_close(h); /* without a release before */
	assert_true(is_mapped(&s));
	assert_false(is_closed(&s));
	kill(pid, SIGCONT);
	assert_int_equal(pair_status(pid, SETTLE_MS), 0);
	assert_false(is_mapped(&s));
	end(&s);
}

/*
 * A task that cannot be pinned neither keeps the others waiting nor counts; nor does one that comes
 * when there is no room.
 */
static void test_some(void **state)
{
	struct mfd_mmpin *h = open_pin(3);
	struct seen s[2];
	pid_t pid[2] = { start(&s[0]), start(&s[1]) }, dead = pair_frozen_child();

	(void)state;
	pair_reap(dead);
	mfd_mmpin_take(h, dead, (uintptr_t)s[0].page);
	mfd_mmpin_take(h, pid[0], 8); /* nothing is mapped there */
	mfd_mmpin_take(h, pid[0], (uintptr_t)s[0].page);
	mfd_mmpin_take(h, pid[1], (uintptr_t)s[1].page);
	assert_int_equal(mfd_mmpin_await(h, SETTLE_MS), 1);
	pair_reap(pid[0]);
	pair_reap(pid[1]);
	assert_true(is_mapped(&s[0]));
	assert_false(is_mapped(&s[1]));
	mfd_mmpin_release(h);
	mfd_mmpin_close(h);
	assert_false(is_mapped(&s[0]));
	end(&s[0]);
	end(&s[1]);
}

/* A sender that is killed leaves nothing behind, and the task alone. */
static void test_holder_killed(void **state)
{
	struct seen s;
	pid_t task = start(&s), pinner;
	char pinned = 0;
	int tell[2];

	(void)state;
	assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
	pinner = fork();
	assert_true(pinner >= 0);
	if (!pinner) {
		struct mfd_mmpin *h = mfd_mmpin_open(1);

		mfd_mmpin_take(h, task, (uintptr_t)s.page);
		pinned = mfd_mmpin_await(h, SETTLE_MS) == 1;
		if (write(tell[1], &pinned, 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(tell[0], &pinned, 1), 1);
	assert_int_equal(pinned, 1);
	pair_reap(pinner);
	assert_true(is_mapped(&s));
	kill(task, SIGCONT);
	assert_int_equal(pair_status(task, SETTLE_MS), 0);
	assert_false(is_mapped(&s));
	close(tell[0]);
	close(tell[1]);
	end(&s);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_null(mfd_mmpin_open(0));
	mfd_mmpin_take(NULL, 1, 0);
	assert_int_equal(mfd_mmpin_await(NULL, SETTLE_MS), 0);
	assert_int_equal(mfd_mmpin_wait(NULL, SETTLE_MS), 1);
	mfd_mmpin_release(NULL);
	mfd_mmpin_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outlives), cmocka_unit_test(test_alive),
		cmocka_unit_test(test_some),	 cmocka_unit_test(test_holder_killed),
		cmocka_unit_test(test_nothing),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
