// SPDX-License-Identifier: GPL-2.0-only
/* The pager with real userfaultfds: a child plays CRIU and the restored task (restored.h). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>

#include "pager_int.h"
#include "restored.h"

static struct world world;

/*
 * ThreadSanitizer: the restored task starts threads although it was forked from a process that has
 * some.
 */
const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}

/* ---- safe mode ---- */

static void whole_restore(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	step_wait(&steps->test, 2);
	task_check_all(w);
}

/*
 * A world of the store alone, with every page there, whose restore is `fn` and waits for step 1 of
 * the test.
 */
static pid_t start_whole(uint64_t pages, uint64_t span, void (*fn)(struct world *w),
			 unsigned threads)
{
	pid_t pid;

	world_open(&world, pages, span, 0);
	world_bring(&world, 0, world.pages);
	pid = child_start(&world, fn);
	world_start(&world, threads);
	return pid;
}

static void test_safe(void **state)
{
	struct mfd_pager_stats st;
	struct stat sb;
	pid_t pid;

	pid = start_whole(3000, 3100, whole_restore, 0);
	assert_int_equal(fstatat(world.dirfd, "lazy-pages.socket", &sb, 0), 0);
	assert_int_equal(sb.st_mode & 0777, 0600);
	step_done(&steps->test, 1);
	world_wait_done(&world);
	step_done(&steps->test, 2);
	child_end(pid);
	assert_int_equal(world.started, 1);
	assert_int_equal(world.restored, 1);
	mfd_pager_get_stats(world.pager, &st);
	assert_int_equal(st.lazy_pages, 3000);
	assert_int_equal(st.installed_pages, 3000);
	assert_int_equal(st.tasks, 1);
	assert_int_equal(st.remote_faults, 0);
	assert_int_equal(mfd_pagestore_bytes(world.store), 0);
	world_close(&world);
}

/* Nothing but what is touched may be installed, and nothing released, before CRIU has finished. */
static void touch_then_finish(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	for (uint64_t i = 0; i < w->span; i += 97) {
		if (i < w->pages)
			page_check(w->area + i * PAGE, i);
		else
			page_check_zero(w->area + i * PAGE);
	}
	step_done(&steps->child, 1);
	step_wait(&steps->test, 2);
	task_finished(sock);
	task_check_all(w);
}

static void test_faults_before_finished(void **state)
{
	struct mfd_pager_stats st;
	uint64_t before;
	pid_t pid;

	world_open(&world, 4000, 4200, 0);
	world_bring(&world, 0, world.pages);
	before = mfd_pagestore_bytes(world.store);
	pid = child_start(&world, touch_then_finish);
	world_start(&world, 3);
	step_done(&steps->test, 1);
	step_wait(&steps->child, 1);
	assert_int_equal(mfd_pagestore_bytes(world.store), before);
	mfd_pager_get_stats(world.pager, &st);
	assert_true(st.faults >= 4000 / 97);
	assert_in_range(mfd_latency_count(&st.waited), 4000 / 97, st.faults);
	assert_int_equal(mfd_latency_count(&st.network), 0); /* all of it was here */
	assert_true(st.installed_pages >= 40 && st.installed_pages <= 42 * 16);
	assert_int_equal(world.restored, 0);
	step_done(&steps->test, 2);
	world_wait_done(&world);
	child_end(pid);
	world_close(&world);
}

/* A first restore dies after a few faults; the second finds everything. */
static void die_early(struct world *w)
{
	step_wait(&steps->test, 1);
	task_restore(w, NULL);
	for (uint64_t i = 0; i < 500; i++)
		page_check(w->area + i * PAGE, i);
}

static void second_restore(struct world *w)
{
	int sock;

	step_wait(&steps->test, 2);
	sock = task_restore(w, NULL);
	task_finished(sock);
	task_check_all(w);
}

static void test_dies_early(void **state)
{
	uint64_t before;
	pid_t first, second;

	world_open(&world, 1000, 1000, 0);
	world_bring(&world, 0, world.pages);
	before = mfd_pagestore_bytes(world.store);
	first = child_start(&world, die_early);
	second = child_start(&world, second_restore);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	child_end(first);
	assert_int_equal(mfd_pagestore_bytes(world.store), before);
	step_done(&steps->test, 2);
	world_wait_done(&world);
	child_end(second);
	assert_int_equal(world.started, 2);
	assert_int_equal(world.restored, 1);
	world_close(&world);
}

static void hang_after_finished(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	pause();
}

static void test_killed(void **state)
{
	pid_t pid;
	int status;

	pid = start_whole(60000, 60000, hang_after_finished, 0);
	step_done(&steps->test, 1);
	world_wait(&world.restored, 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	world_wait_done(&world);
	world_close(&world);
}

static void exec_after_finished(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	child_is_through();
	execl("/bin/true", "true", NULL);
}

static void test_exec(void **state)
{
	pid_t pid;

	world_open(&world, 1000, 1000, 1);
	pid = child_start(&world, exec_after_finished);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	child_end(pid);
	world_bring(&world, 0, world.pages);
	world_wait_done(&world);
	world_close(&world);
}

/*
 * Not CRIU's protocol, a foreign descriptor, a task without images: refused, and the next restore
 * works.
 */
static void bad_restores(struct world *w)
{
	int sock, fd;
	char c;

	step_wait(&steps->test, 1);
	sock = task_connect(w);
	task_send(sock, 0, -1);
	if (read(sock, &c, 1) > 0)
		die("answered");
	close(sock);
	sock = task_connect(w);
	task_send(sock, TASK, STDIN_FILENO);
	if (read(sock, &c, 1) > 0)
		die("answered");
	close(sock);
	sock = task_connect(w);
	fd = task_uffd();
	task_send(sock, 12345, fd);
	if (read(sock, &c, 1) > 0)
		die("answered");
	close(sock);
	close(fd);
	sock = task_restore(w, &fd);
	task_send(sock, TASK, fd); /* twice */
	if (read(sock, &c, 1) > 0)
		die("answered");
}

static void test_bad_restores(void **state)
{
	pid_t bad, good;

	world_open(&world, 100, 100, 0);
	world_bring(&world, 0, world.pages);
	bad = child_start(&world, bad_restores);
	good = child_start(&world, second_restore);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	child_end(bad);
	step_done(&steps->test, 2);
	child_end(good);
	world_wait_done(&world);
	assert_int_equal(world.started, 5);
	world_close(&world);
}

static void *touch_randomly(void *arg)
{
	struct world *w = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int k = 0; k < 3000; k++) {
		uint64_t i = (unsigned)rand_r(&seed) % w->pages;

		page_check(w->area + i * PAGE, i);
	}
	return NULL;
}

static void threaded(struct world *w)
{
	pthread_t id[6];
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	for (int i = 0; i < 6; i++)
		pthread_create(&id[i], NULL, touch_randomly, w);
	task_finished(sock);
	for (int i = 0; i < 6; i++)
		pthread_join(id[i], NULL);
	task_check_all(w);
}

/* Threads on call do nothing but what a task waits for, and no other thread does that. */
static void check_division_of_labour(const struct mfd_pager_stats *st)
{
	uint64_t chunks = 0;

	assert_int_equal(st->threads, 2 + 4);
	for (unsigned i = 0; i < st->threads; i++) {
		chunks += st->thread[i].chunks;
		if (i < 2)
			assert_int_equal(st->thread[i].chunks, 0);
		else
			assert_int_equal(st->thread[i].faults, 0);
	}
	assert_true(chunks > 0);
}

static void test_threads(void **state)
{
	struct mfd_pager_stats st;
	pid_t pid;

	pid = start_whole(20000, 20000, threaded, 4);
	step_done(&steps->test, 1);
	world_wait_done(&world);
	mfd_pager_get_stats(world.pager, &st);
	check_division_of_labour(&st);
	child_end(pid);
	world_close(&world);
}

/* Forks while pages are being installed; parent and children must see all. */
static void forking(struct world *w)
{
	pid_t kids[6];
	int sock, status;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	for (int i = 0; i < 6; i++) {
		kids[i] = fork();
		if (!kids[i]) {
			if (i % 2)
				w->area[i * PAGE] = 1;
			for (uint64_t k = i % 2 ? 10 : 0; k < w->pages; k++)
				page_check(w->area + k * PAGE, k);
			_exit(0);
		}
	}
	task_check_all(w);
	for (int i = 0; i < 6; i++)
		if (waitpid(kids[i], &status, 0) != kids[i] || status)
			die("a child failed");
}

static void test_fork(void **state)
{
	pid_t pid;

	pid = start_whole(20000, 20000, forking, 0);
	step_done(&steps->test, 1);
	child_end(pid);
	world_wait_done(&world);
	world_close(&world);
}

static void nothing_to_do(struct world *w)
{
	step_wait(&steps->test, 1);
	task_finished(task_connect(w));
}

/*
 * Takes the news that a task is whole from the pager's threads, and never gets to what is to be
 * done then.
 */
static void *take_untidy(void *arg)
{
	struct world *w = arg;

	while (!atomic_load(&w->done))
		atomic_store(&w->pager->untidy, 0);
	return NULL;
}

/* While any process holds a userfaultfd, a task waits at its next fault (on_done looks). */
static void test_nothing_held(void **state)
{
	pthread_t thief;
	pid_t pid;

	pid = start_whole(3000, 3100, whole_restore, 0);
	pthread_create(&thief, NULL, take_untidy, &world);
	step_done(&steps->test, 1);
	world_wait_done(&world);
	pthread_join(thief, NULL);
	step_done(&steps->test, 2);
	child_end(pid);
	world_close(&world);
}

static void test_no_tasks(void **state)
{
	pid_t pid;

	world_open(&world, 10, 10, 0);
	pid = child_start(&world, nothing_to_do);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	child_end(pid);
	world_wait_done(&world);
	world_close(&world);
}

static void test_stop_unused(void **state)
{
	world_open(&world, 10, 10, 0);
	world_start(&world, 0);
	world_close(&world);
}

/* ---- changes of the mappings while pages are absent: what arrives must follow them ---- */

static void changing(struct world *w)
{
	char *a = w->area,
	     *far = mmap(NULL, 4096 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	task_move(a + 100 * PAGE, far, 50, 80, 0); /* pages 100-149, and 30 new ones */
	task_move(a + 200 * PAGE, far + 200 * PAGE, 100, 100, MREMAP_DONTUNMAP);
	if (munmap(a + 400 * PAGE, 100 * PAGE) ||
	    madvise(a + 600 * PAGE, 100 * PAGE, MADV_DONTNEED) ||
	    mprotect(a + 800 * PAGE, 50 * PAGE, PROT_READ) ||
	    mprotect(a + 900 * PAGE, 10 * PAGE, PROT_NONE))
		die("change");
	/* once more, a part: pages 220-229 */
	task_move(far + 220 * PAGE, far + 400 * PAGE, 10, 10, 0);
	task_move(far + 230 * PAGE, far + 500 * PAGE, 70, 5, 0); /* shrunk: pages 230-234 */
	step_done(&steps->child, 1);
	for (uint64_t i = 0; i < 50; i++)
		page_check(far + i * PAGE, 100 + i);
	for (uint64_t i = 50; i < 80; i++)
		page_check_zero(far + i * PAGE);
	for (uint64_t i = 200; i < 300; i++)
		page_check_zero(a + i * PAGE);
	for (uint64_t i = 200; i < 220; i++)
		page_check(far + i * PAGE, i);
	for (uint64_t i = 0; i < 10; i++)
		page_check(far + (400 + i) * PAGE, 220 + i);
	for (uint64_t i = 0; i < 5; i++)
		page_check(far + (500 + i) * PAGE, 230 + i);
	for (uint64_t i = 600; i < 700; i++)
		page_check_zero(a + i * PAGE);
	if (mprotect(a + 900 * PAGE, 10 * PAGE, PROT_READ))
		die("mprotect");
	for (uint64_t i = 300; i < w->pages; i++)
		if (i / 100 != 4 && i / 100 != 6)
			page_check(a + i * PAGE, i);
	for (uint64_t i = 0; i < 100; i++)
		page_check(a + i * PAGE, i);
}

/* In what order and by which way the pages come: as asked for, then the rest. */
static void feed_all(struct world *w)
{
	struct want x;

	for (uint64_t i = 0; i < w->pages; i += 37) {
		while (world_next_want(w, &x))
			world_bring(w, x.page, x.n);
		world_bring(w, i, i + 37 < w->pages ? 37 : w->pages - i);
	}
}

static void changes(int feed)
{
	struct mfd_pager_stats st;
	pid_t pid;

	world_open(&world, 1000, 1100, 1);
	world.feed = feed;
	world_bring(&world, 40, 70);
	pid = child_start(&world, changing);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	step_wait(&steps->child, 1);
	feed_all(&world);
	mfd_pager_complete(world.pager);
	world_wait_done(&world);
	child_end(pid);
	mfd_pager_get_stats(world.pager, &st);
	assert_int_equal(st.installed_pages, 1000);
	world_close(&world);
}

static void test_changes_direct(void **state)
{
	changes(0);
}

static void test_changes_stored(void **state)
{
	changes(1);
}

/* ---- postcopy ---- */

static void test_postcopy(void **state)
{
	pid_t pid;
	struct want x;

	for (world.feed = 0; world.feed < 2; world.feed++) {
		int feed = world.feed;

		world_open(&world, 2000, 2050, 1);
		world.feed = feed;
		pid = child_start(&world, touch_then_finish);
		world_start(&world, 0);
		step_done(&steps->test, 1);
		/* Nothing is there: every touched window is asked for, before CRIU has finished. */
		while (atomic_load(&steps->child) < 1) {
			if (world_next_want(&world, &x)) {
				assert_true(x.n >= 1 && x.n <= 16);
				world_bring(&world, x.page, x.n);
			}
		}
		step_done(&steps->test, 2);
		feed_all(&world);
		world_wait_done(&world);
		child_end(pid);
		world_close(&world);
		world.feed = feed;
	}
}

/*
 * Two processes wait for the same page; it comes once. Asked again after a reconnect, not by
 * itself.
 */
static void wait_twice(struct world *w)
{
	int sock, status;
	pid_t kid;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	kid = fork();
	if (kid)
		step_done(&steps->child, 1);
	page_check(w->area + 500 * PAGE, 500);
	task_check_all(w);
	if (!kid)
		_exit(0);
	if (waitpid(kid, &status, 0) != kid || status)
		die("a child failed");
}

static void test_want_again(void **state)
{
	struct mfd_pager_stats st;
	struct want x;
	pid_t pid;

	world_open(&world, 1000, 1000, 1);
	pid = child_start(&world, wait_twice);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	do {
		usleep(1000);
		mfd_pager_get_stats(world.pager, &st);
	} while (st.remote_faults < 2);
	assert_int_equal(st.tasks, 2);
	while (!world_next_want(&world, &x)) /* counted a moment before it is asked */
		usleep(1000);
	assert_true(x.page <= 500 && 500 < x.page + x.n);
	assert_false(world_next_want(&world, &x)); /* the second process waits for the same */
	mfd_pager_want_again(world.pager);
	assert_true(world_next_want(&world, &x));
	assert_true(x.page <= 500 && 500 < x.page + x.n);
	assert_false(world_next_want(&world, &x));
	usleep(20000);
	feed_all(&world);
	world_wait_done(&world);
	child_end(pid);
	mfd_pager_get_stats(world.pager, &st);
	/* two tasks, each for its own page */
	assert_true(mfd_latency_count(&st.waited) >= 2 && mfd_latency_count(&st.network) >= 2);
	assert_true(st.waited.max_us >= 20000);
	assert_true(st.network.max_us >= 20000 && st.network.max_us <= st.waited.max_us);
	mfd_pager_want_again(world.pager);
	assert_false(world_next_want(&world, &x));
	world_close(&world);
}

static void read_missing(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	step_done(&steps->child, 1);
	page_check_zero(w->area + 20 * PAGE);
	task_finished(sock);
	for (uint64_t i = 0; i < w->pages; i++)
		page_check_zero(w->area + i * PAGE);
}

static void test_complete(void **state)
{
	struct mfd_pager_stats st;
	pid_t pid;

	world_open(&world, 300, 300, 1);
	pid = child_start(&world, read_missing);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	do {
		usleep(1000);
		mfd_pager_get_stats(world.pager, &st);
	} while (st.remote_faults < 1);
	mfd_pager_complete(world.pager);
	world_wait_done(&world);
	child_end(pid);
	world_close(&world);
}

static void refused(struct world *w)
{
	char c;
	int sock;

	step_wait(&steps->test, 1);
	sock = task_connect(w);
	if (read(sock, &c, 1) > 0)
		die("answered");
}

static void test_refused(void **state)
{
	pid_t first, second;

	world_open(&world, 100, 100, 1);
	world.refuse = 1;
	first = child_start(&world, refused);
	second = child_start(&world, second_restore);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	child_end(first);
	world.refuse = 0;
	step_done(&steps->test, 2);
	world_wait(&world.restored, 1);
	feed_all(&world);
	world_wait_done(&world);
	child_end(second);
	assert_int_equal(world.started, 2);
	world_close(&world);
}

static void test_stop_early(void **state)
{
	pid_t pid;
	int status;

	world_open(&world, 1000, 1000, 1);
	pid = child_start(&world, hang_after_finished);
	world_start(&world, 0);
	step_done(&steps->test, 1);
	world_wait(&world.restored, 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	world_close(&world);
	assert_int_equal(world.done, 0);
}

/* ---- a task that does everything at random (restored.c) ---- */

static void wild(struct world *w)
{
	task_wild(w, 7, 6000);
}

static void run_wild(int postcopy, int feed)
{
	struct want x;
	unsigned seed = 3;
	pid_t pid;

	world_open(&world, WILD_AREA - 100, WILD_AREA, postcopy);
	world.feed = feed;
	if (!postcopy)
		world_bring(&world, 0, world.pages);
	pid = child_start(&world, wild);
	world_start(&world, 3);
	step_done(&steps->test, 1);
	step_wait(&steps->child, 1);
	for (uint64_t i = 0; postcopy && i < world.pages;) {
		uint64_t n = 1 + (unsigned)rand_r(&seed) % 4;

		while (world_next_want(&world, &x))
			world_bring(&world, x.page, x.n);
		if (n > world.pages - i)
			n = world.pages - i;
		world_bring(&world, i, n);
		i += n;
		usleep(1000);
	}
	mfd_pager_complete(world.pager);
	child_end(pid);
	world_wait_done(&world);
	world_close(&world);
}

static void test_wild_safe(void **state)
{
	run_wild(0, 0);
}

static void test_wild_direct(void **state)
{
	run_wild(1, 0);
}

static void test_wild_stored(void **state)
{
	run_wild(1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_safe),
		cmocka_unit_test(test_faults_before_finished),
		cmocka_unit_test(test_dies_early),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_bad_restores),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_nothing_held),
		cmocka_unit_test(test_no_tasks),
		cmocka_unit_test(test_stop_unused),
		cmocka_unit_test(test_changes_direct),
		cmocka_unit_test(test_changes_stored),
		cmocka_unit_test(test_postcopy),
		cmocka_unit_test(test_want_again),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stop_early),
		cmocka_unit_test(test_wild_safe),
		cmocka_unit_test(test_wild_direct),
		cmocka_unit_test(test_wild_stored),
	};

	return cmocka_run_group_tests(tests, restored_needs_root, NULL);
}
