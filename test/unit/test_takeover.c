// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pager's process dies while restored tasks lack pages, and another one goes on.
 *
 * The test plays the supervisor: it holds what the pager's process asks it to hold.  That process
 * is forked anew each time and finds its way as a worker does: the journal says what is in the
 * store, the books say the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "heir.h"
#include "io.h"
#include "life.h"
#include "log.h"
#include "restored.h"
#include "guard.h"

enum { RESTORED = 100, DONE, REFUSED };
#define MAX_HELD 512

static struct world world;

/* ---- the supervisor's part ---- */

static struct held {
	struct mfd_pager_deposit h;
	int open;
} held[MAX_HELD];
static unsigned nheld;
static int sock, restored, done, refused, silent; /* silent: what the heir says is not heard */
static pid_t pager;

static int number_of(const struct held *x)
{
	return x->h.writer == pager ? x->h.number : x->h.uffd;
}

static struct held *find(int number)
{
	for (unsigned i = 0; i < nheld; i++)
		if (held[i].open && number_of(&held[i]) == number)
			return &held[i];
	return NULL;
}

static void add(const struct mfd_guard_msg *m, int *fds, int n)
{
	struct held *x = find(m->number);

	if (m->kind == MFD_GUARD_FOUND && (x || silent)) {
		close(fds[0]);
		return;
	}
	if (x) {
		close(fds[0]);
	} else {
		assert_true(nheld < MAX_HELD);
		x = &held[nheld++];
		x->h = (struct mfd_pager_deposit){
			.uffd = fds[0], .book = -1, .writer = pager, .number = m->number
		};
		x->open = 1;
	}
	x->h.task = m->task;
	x->h.forked = !!(m->flags & MFD_GUARD_FORKED);
	if (n > 1)
		x->h.book = fds[1];
}

static void drop(struct held *x)
{
	close(x->h.uffd);
	if (x->h.book >= 0)
		close(x->h.book);
	x->open = 0;
}

static void act(const struct mfd_guard_msg *m, int *fds, int n)
{
	switch (m->kind) {
	case MFD_GUARD_DEPOSIT:
	case MFD_GUARD_FOUND:
		add(m, fds, n);
		break;
	case MFD_GUARD_WITHDRAW:
		drop(find(m->number));
		break;
	case RESTORED:
		restored = 1;
		break;
	case DONE:
		done = 1;
		assert_int_equal(m->code, 0);
		for (unsigned i = 0; i < nheld; i++)
			if (held[i].open)
				drop(&held[i]);
		break;
	case REFUSED:
		refused = 1;
		break;
	}
}

/* For so many ms: 1 = the pager's process and its heir are gone. */
static int serve(int ms)
{
	uint64_t end = mfd_io_now_ms() + (uint64_t)ms;
	struct mfd_guard_msg m;
	int fds[3], n;

	for (;;) {
		uint64_t now = mfd_io_now_ms();
		struct pollfd p = { .fd = sock, .events = POLLIN };

		if (poll(&p, 1, now < end ? (int)(end - now) : 0) != 1)
			return 0;
		n = 3;
		if (mfd_io_recv_fds(sock, &m, sizeof(m), fds, &n) <= 0)
			return 1;
		act(&m, fds, n);
		m.kind = MFD_GUARD_ACK;
		mfd_io_send_fds(sock, &m, sizeof(m), NULL, 0);
		if (now >= end)
			return 0;
	}
}

/* ---- the process of the pager ---- */

static pthread_mutex_t ask_lock = PTHREAD_MUTEX_INITIALIZER;
static int ask_fd;
static void (*at_fork)(int held_already); /* instead of just holding a child */

static int ask(unsigned kind, const struct mfd_pager_deposit *h)
{
	struct mfd_guard_msg m = { .kind = kind }, ack;
	int fds[2], n = 0, none = 0;

	if (h) {
		m.task = h->task;
		m.number = h->uffd;
		m.flags = h->forked ? MFD_GUARD_FORKED : 0;
	}
	if (kind == MFD_GUARD_DEPOSIT) {
		fds[n++] = h->uffd;
		if (h->book >= 0)
			fds[n++] = h->book;
	}
	pthread_mutex_lock(&ask_lock);
	if (mfd_io_send_fds(ask_fd, &m, sizeof(m), fds, n) < 0 ||
	    mfd_io_recv_fds(ask_fd, &ack, sizeof(ack), NULL, &none) <= 0)
		_exit(3);
	pthread_mutex_unlock(&ask_lock);
	return 0;
}

static int remote_deposit(struct world *w, const struct mfd_pager_deposit *h)
{
	if (h->forked && at_fork)
		at_fork(0);
	ask(MFD_GUARD_DEPOSIT, h);
	if (h->forked && at_fork)
		at_fork(1);
	return 0;
}

static void remote_withdraw(struct world *w, int uffd)
{
	struct mfd_pager_deposit h = { .uffd = uffd };

	ask(MFD_GUARD_WITHDRAW, &h);
}

static int from_journal(void *arg, const struct mfd_pagestore_record *r)
{
	struct world *w = arg;
	unsigned state = r->pages_flags & 0xff;

	return mfd_pagetable_set(w->table, r->vaddr / PAGE, r->pages_flags >> 8,
				 mfd_page_word(state, state == MFD_PAGE_STORED ? r->index : 0));
}

static void reopen(struct world *w)
{
	mfd_pagestore_close(w->store);
	mfd_pagetable_free(w->table);
	w->table = mfd_pagetable_new();
	if (mfd_pagestore_open(w->dirfd, &w->store, from_journal, w, NULL))
		die("the store cannot be opened");
}

static void journal(struct world *w, uint64_t page, enum mfd_page_state state, uint64_t index)
{
	struct mfd_pagestore_record r;

	mfd_pagestore_record_fill(&r, TASK, (uintptr_t)w->area + page * PAGE, 1, state, index);
	if (mfd_pagestore_append(w->store, &r, 1))
		die("journal");
}

/* As a receiver does: table, journal, pager. */
static void bring(struct world *w, uint64_t page)
{
	uint64_t index = 0, at = (uintptr_t)w->area + page * PAGE;
	enum mfd_page_state state = page_is_zero(page) ? MFD_PAGE_ZERO : MFD_PAGE_STORED;
	int direct = w->pager && mfd_pager_direct(w->pager, TASK);
	void *mem = NULL;
	char buf[PAGE];

	if (direct && state == MFD_PAGE_STORED) {
		state = MFD_PAGE_DIRECT;
		page_fill(buf, page);
	} else if (state == MFD_PAGE_STORED) {
		if (mfd_pagestore_reserve(w->store, 1, &index, &mem))
			die("reserve");
		page_fill(mem, page);
	}
	if (mfd_pagetable_set(w->table, at / PAGE, 1, mfd_page_word(state, index)))
		die("table");
	journal(w, page, state, index);
	if (w->pager)
		world_arrived(w, at, 1, page_is_zero(page), direct ? buf : NULL);
}

static int is_absent(struct world *w, uint64_t page)
{
	return mfd_page_state(mfd_pagetable_get(w->table, (uintptr_t)w->area / PAGE + page)) ==
	       MFD_PAGE_ABSENT;
}

/* Slowly, what is asked for first. */
static void feed(struct world *w)
{
	struct want x;

	for (uint64_t i = 0; i < w->pages; i++) {
		while (world_next_want(w, &x)) {
			usleep(4000);
			for (uint64_t k = x.page; k < x.page + x.n; k++)
				if (is_absent(w, k))
					bring(w, k);
		}
		if (is_absent(w, i)) {
			bring(w, i);
			usleep(300);
		}
	}
	mfd_pager_complete(w->pager);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAY_STARVE 0 /* a sanitizer reserves address space by itself */
#else
#define MAY_STARVE 1
#endif
#define MORE (4 << 20) /* half a thread's stack */

static void must_be_open(const struct mfd_pager_config *config)
{
	for (size_t i = 0; i < config->n_deposits; i++)
		if (fcntl(config->deposits[i].uffd, F_GETFD) < 0)
			die("a userfaultfd is closed");
}

/* With ever more address space, so that it fails at each of its threads. */
static int adopt_without_memory(struct world *w, const struct mfd_pager_config *config,
				struct mfd_error *err)
{
	struct rlimit few, was;
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	uint64_t again;
	int ret = -ENOMEM, failed = 0;

	if (!f || fscanf(f, "%lu", &pages) != 1)
		die("statm");
	fclose(f);
	getrlimit(RLIMIT_AS, &was);
	few = was;
	few.rlim_cur = pages * PAGE;
	for (; mfd_life_cannot_tell(ret); failed++, few.rlim_cur += MORE) {
		must_be_open(config);
		setrlimit(RLIMIT_AS, &few);
		mfd_error_clear(err);
		ret = mfd_pager_adopt(config, &w->pager, &again, err);
		setrlimit(RLIMIT_AS, &was);
	}
	if (failed < 3)
		die("it did not need memory");
	return ret;
}

/*
 * Adopt, at first with too few descriptors, ever more: none that is deposited is closed then, and
 * the next try finds all as it was.  The try that succeeds has enough also for what its threads do.
 */
#define TOO_FEW 5

static int adopt_starving(struct world *w, const struct mfd_pager_config *config,
			  struct mfd_error *err)
{
	int first = fcntl(0, F_DUPFD_CLOEXEC, 0), ret = 0;
	struct rlimit few, was;
	uint64_t again;

	close(first);
	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	for (int more = 0; more < TOO_FEW; more++) {
		few.rlim_cur = (rlim_t)(first + more);
		setrlimit(RLIMIT_NOFILE, &few);
		mfd_error_clear(err);
		ret = mfd_pager_adopt(config, &w->pager, &again, err);
		setrlimit(RLIMIT_NOFILE, &was);
		if (!ret)
			die("it did not need a descriptor");
		if (!mfd_life_cannot_tell(ret))
			return ret;
		must_be_open(config);
	}
	if (MAY_STARVE)
		return adopt_without_memory(w, config, err);
	mfd_error_clear(err);
	return mfd_pager_adopt(config, &w->pager, &again, err);
}

static void adopt(struct world *w)
{
	static struct mfd_pager_deposit list[MAX_HELD];
	struct mfd_pager_config config = world_config(w, 2);
	struct mfd_error err = { 0 };
	size_t n = 0;

	for (unsigned i = 0; i < nheld; i++)
		if (held[i].open)
			list[n++] = held[i].h;
	config.deposits = list;
	config.n_deposits = n;
	if (adopt_starving(w, &config, &err)) {
		fprintf(stderr, "refused: %s\n", mfd_error_text(&err));
		ask(REFUSED, NULL);
		_exit(0);
	}
	for (size_t i = 0; i < n; i++)
		if (!list[i].task && !list[i].taken) {
			remote_withdraw(w, list[i].uffd); /* the connection */
			close(list[i].uffd);
		}
}

static void be_pager(struct world *w, int with_heir)
{
	reopen(w);
	w->deposit = remote_deposit;
	w->withdraw = remote_withdraw;
	if (with_heir && mfd_heir_start(ask_fd, -1))
		die("no heir");
	if (restored) {
		adopt(w);
	} else {
		world_start(w, 2);
		while (!atomic_load(&w->restored))
			usleep(500);
		ask(RESTORED, NULL);
	}
	if (w->postcopy)
		feed(w);
	while (!atomic_load(&w->done))
		usleep(500);
	ask(DONE, NULL);
	mfd_pager_stop(w->pager);
	_exit(0);
}

static void start_pager(struct world *w, int with_heir)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	sock = pair[0];
	fflush(NULL);
	pager = fork();
	if (!pager) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		close(pair[0]);
		ask_fd = pair[1];
		be_pager(w, with_heir);
	}
	close(pair[1]);
	while (!restored && faccessat(w->dirfd, "lazy-pages.socket", F_OK, 0))
		usleep(500);
}

static void end_pager(int sig)
{
	int status;

	if (sig)
		kill(pager, sig);
	while (!serve(1000))
		;
	assert_int_equal(waitpid(pager, &status, 0), pager);
	if (!WIFSIGNALED(status))
		assert_int_equal(status, 0);
	close(sock);
}

/* Kill it at intervals of about `ms`, at most `kills` times, until one comes to the end. */
static unsigned kill_often(struct world *w, unsigned kills, int ms)
{
	unsigned seed = 11, n = 0;

	start_pager(w, 1);
	step_done(&steps->test, 1);
	while (!restored)
		serve(10);
	while (!done && !refused) {
		int over = serve(1 + rand_r(&seed) % (2 * ms));

		if (done || refused)
			break;
		if (n < kills || over) {
			end_pager(SIGKILL);
			assert_true(n++ < kills);
			if (!done)
				start_pager(w, 1);
		}
	}
	assert_false(refused);
	return n;
}

static void begin(uint64_t pages, uint64_t span, int postcopy)
{
	memset(held, 0, sizeof(held));
	nheld = 0;
	restored = done = refused = silent = 0;
	at_fork = NULL;
	world_open(&world, pages, span, postcopy);
	for (uint64_t i = 0; !postcopy && i < pages; i++)
		bring(&world, i);
}

static void finish(void)
{
	for (unsigned i = 0; i < nheld; i++)
		if (held[i].open)
			drop(&held[i]);
	world.pager = NULL;
	unlinkat(world.dirfd, "lazy-pages.socket", 0);
	world_close(&world);
}

/* ---- tests ---- */

static void wild(struct world *w)
{
	task_wild(w, 5, 20000);
}

static void test_wild(void **state)
{
	pid_t task;
	unsigned n;

	begin(WILD_AREA - 100, WILD_AREA, 1);
	task = child_start(&world, wild);
	n = kill_often(&world, 12, 15);
	print_message("killed %u times\n", n);
	assert_true(n >= 5);
	child_end(task);
	end_pager(0);
	finish();
}

/* Large, with threads of reading, forks and moves. */
static void *read_all(void *arg)
{
	struct world *w = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int k = 0; k < 20000; k++) {
		uint64_t i = w->pages / 2 + (unsigned)rand_r(&seed) % (w->pages / 2);

		page_check(w->area + i * PAGE, i);
	}
	return NULL;
}

static void busy(struct world *w)
{
	char *far = mmap(NULL, 4096 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t id[3];
	int conn, status;
	pid_t kids[8];

	step_wait(&steps->test, 1);
	conn = task_restore(w, NULL);
	task_finished(conn);
	for (int i = 0; i < 3; i++)
		pthread_create(&id[i], NULL, read_all, w);
	for (uint64_t i = 0; i < 8; i++) {
		task_move(w->area + i * 500 * PAGE, far + i * 500 * PAGE, 200, 200, 0);
		if (madvise(w->area + (i * 500 + 200) * PAGE, 100 * PAGE, MADV_DONTNEED) ||
		    munmap(w->area + (i * 500 + 300) * PAGE, 100 * PAGE))
			die("change");
		kids[i] = fork();
		if (kids[i]) {
			usleep(3000);
			continue;
		}
		for (uint64_t k = 4000; k < w->pages; k++)
			page_check(w->area + k * PAGE, k);
		for (uint64_t k = 0; k < 200; k++)
			page_check(far + (i * 500 + k) * PAGE, i * 500 + k);
		_exit(0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(id[i], NULL);
	for (uint64_t i = 0; i < 8; i++) {
		for (uint64_t k = 0; k < 200; k++)
			page_check(far + (i * 500 + k) * PAGE, i * 500 + k);
		for (uint64_t k = 200; k < 300; k++)
			page_check_zero(w->area + (i * 500 + k) * PAGE);
		for (uint64_t k = 400; k < 500; k++)
			page_check(w->area + (i * 500 + k) * PAGE, i * 500 + k);
		if (waitpid(kids[i], &status, 0) != kids[i] || status)
			die("a child failed");
	}
	for (uint64_t k = 4000; k < w->pages; k++)
		page_check(w->area + k * PAGE, k);
}

static void test_safe(void **state)
{
	pid_t task;

	begin(40000, 40000, 0);
	task = child_start(&world, busy);
	print_message("killed %u times\n", kill_often(&world, 12, 10));
	child_end(task);
	end_pager(0);
	finish();
}

/* ---- death at the worst moments of a fork ---- */

static void die_before(int held_already)
{
	if (!held_already)
		kill(getpid(), SIGKILL);
}

static void die_after(int held_already)
{
	if (held_already)
		kill(getpid(), SIGKILL);
}

static void *moves(void *arg)
{
	struct world *w = arg;

	task_move(w->area, w->area + 900 * PAGE, 50, 50, 0);
	return NULL;
}

/*
 * A fork and a move at once: the pager, stopped meanwhile, reads both together, and dies at the
 * fork.
 */
static void forks_and_moves(struct world *w)
{
	pthread_t id;
	int conn, status;
	pid_t kid;

	step_wait(&steps->test, 1);
	conn = task_restore(w, NULL);
	task_finished(conn);
	step_wait(&steps->test, 2);
	pthread_create(&id, NULL, moves, w);
	kid = fork();
	if (kid)
		pthread_join(id, NULL);
	for (uint64_t i = 50; i < w->pages; i++)
		page_check(w->area + i * PAGE, i);
	if (!kid)
		_exit(0);
	for (uint64_t i = 0; i < 50; i++)
		page_check(w->area + (900 + i) * PAGE, i);
	if (waitpid(kid, &status, 0) != kid || status)
		die("the child failed");
}

static void until_restored(void)
{
	start_pager(&world, !silent);
	step_done(&steps->test, 1);
	while (!restored)
		serve(10);
}

static void fork_window(void (*how)(int))
{
	pid_t task;

	begin(800, 1000, 1);
	task = child_start(&world, forks_and_moves);
	at_fork = how;
	until_restored();
	kill(pager, SIGSTOP);
	step_done(&steps->test, 2);
	serve(50);
	kill(pager, SIGCONT);
	end_pager(0);
	at_fork = NULL;
	start_pager(&world, 1);
	while (!done && !refused)
		serve(10);
	assert_true(done);
	child_end(task);
	end_pager(0);
	finish();
}

static void test_fork_not_held(void **state)
{
	fork_window(die_before);
}

static void test_fork_held(void **state)
{
	fork_window(die_after);
}

/* Without an heir no process has the child's userfaultfd: this is noticed. */
static void test_fork_lost(void **state)
{
	pid_t task;
	int status;

	begin(800, 1000, 1);
	silent = 1;
	task = child_start(&world, forks_and_moves);
	at_fork = die_before;
	until_restored();
	step_done(&steps->test, 2);
	end_pager(0);
	at_fork = NULL;
	start_pager(&world, 1);
	while (!refused)
		serve(10);
	end_pager(0);
	kill(task, SIGKILL);
	waitpid(task, &status, 0);
	finish();
}

/* What is not what a dead pager leaves is refused, and nothing happens to the task. */
static void damage(off_t at, uint64_t value)
{
	uint64_t old;

	for (unsigned i = 0; i < nheld; i++) {
		if (!held[i].open || held[i].h.book < 0)
			continue;
		assert_int_equal(pread(held[i].h.book, &old, 8, at), 8);
		assert_int_equal(pwrite(held[i].h.book, &value, 8, at), 8);
		refused = 0;
		start_pager(&world, 1);
		while (!refused)
			serve(10);
		end_pager(0);
		assert_int_equal(pwrite(held[i].h.book, &old, 8, at), 8);
	}
}

static void reads(struct world *w)
{
	int conn;

	step_wait(&steps->test, 1);
	conn = task_restore(w, NULL);
	task_finished(conn);
	page_check(w->area + 17 * PAGE, 17);
	step_wait(&steps->test, 2);
	task_check_all(w);
}

static void test_damaged(void **state)
{
	/*
	 * The head; and the list in force, which is the second one of a task that has changed
	 * nothing yet.
	 */
	enum {
		MAGIC = 0,
		VERSION = 8,
		SERIAL = 16,
		BITS = 32,
		ROOM = 40,
		N = 64,
		COMMIT = 72,
		LIST = 36864
	};
	static const struct {
		off_t at;
		uint64_t value;
	} wrong[] = {
		{ MAGIC, 1 },
		{ VERSION, 2 },
		{ SERIAL, 0 },
		{ BITS, 801 },
		{ BITS, ~0ULL },
		{ ROOM, 7 },
		{ N, 1ULL << 33 },
		{ N, 0 },
		{ N, 2 },
		{ COMMIT, 5ULL << 32 },
		{ COMMIT, 1ULL << 32 | 33 },
		{ LIST, 4097 },
		{ LIST + 8, PAGE },
		{ LIST + 16, 3 },
		{ LIST + 24, 1 << 20 },
		{ LIST + 24, 0 },
		{ LIST + 24, 799 },
	};
	pid_t task;

	begin(800, 1000, 1);
	task = child_start(&world, reads);
	until_restored();
	serve(20);
	end_pager(SIGKILL);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		print_message("%lu at %ld\n", wrong[i].value, (long)wrong[i].at);
		damage(wrong[i].at, wrong[i].value);
	}
	refused = 0;
	start_pager(&world, 1);
	step_done(&steps->test, 2);
	while (!done && !refused)
		serve(10);
	assert_true(done);
	child_end(task);
	end_pager(0);
	finish();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fork_not_held), cmocka_unit_test(test_fork_held),
		cmocka_unit_test(test_fork_lost),     cmocka_unit_test(test_wild),
		cmocka_unit_test(test_safe),	      cmocka_unit_test(test_damaged),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, restored_needs_root, NULL);
}
