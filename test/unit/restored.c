// SPDX-License-Identifier: GPL-2.0-only
/* A session made by hand, and a child that plays CRIU and the restored task. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "pagetable.h"
#include "restored.h"

struct steps *steps;
int world_dense;

int restored_needs_root(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("SKIP: needs root\n");
		exit(77);
	}
	return 0;
}

/* ---- the session ---- */

static struct mfd_pagetable *on_table(void *arg, uint32_t task)
{
	struct world *w = arg;

	return task == TASK ? w->table : NULL;
}

static int on_started(void *arg)
{
	struct world *w = arg;

	atomic_fetch_add(&w->started, 1);
	return w->refuse ? -EPERM : 0;
}

static int on_want(void *arg, uint32_t task, uint64_t vaddr, uint64_t pages)
{
	struct world *w = arg;

	assert_int_equal(task, TASK);
	pthread_mutex_lock(&w->lock);
	assert_true(w->nwants < WANTS);
	w->wants[w->nwants++] = (struct want){ (vaddr - (uintptr_t)w->area) / PAGE, pages };
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static int on_deposit(void *arg, struct mfd_pager_deposit *h)
{
	struct world *w = arg;

	if (w->deposit)
		return w->deposit(w, h);
	pthread_mutex_lock(&w->lock);
	assert_true(w->nheld < sizeof(w->held) / sizeof(*w->held));
	w->numbers[w->nheld] = h->uffd;
	w->held[w->nheld++] = fcntl(h->uffd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static void on_withdraw(void *arg, int uffd)
{
	struct world *w = arg;
	unsigned i;

	if (w->withdraw) {
		w->withdraw(w, uffd);
		return;
	}
	pthread_mutex_lock(&w->lock);
	for (i = 0; i < w->nheld && w->numbers[i] != uffd;)
		i++;
	if (i < w->nheld) {
		close(w->held[i]);
		w->held[i] = w->held[--w->nheld];
		w->numbers[i] = w->numbers[w->nheld];
	} else if (!w->abandoned) { /* a thread may just have found one of its tasks gone */
		die("%d is let go and was not held", uffd);
	}
	pthread_mutex_unlock(&w->lock);
}

static void release_held(struct world *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->nheld)
		close(w->held[--w->nheld]);
	pthread_mutex_unlock(&w->lock);
}

/* The supervisor kills its tasks before. */
static void on_abandon(void *arg)
{
	struct world *w = arg;

	w->abandoned = 1;
	if (!w->withdraw)
		release_held(w);
}

static void on_restored(void *arg)
{
	struct world *w = arg;

	atomic_fetch_add(&w->restored, 1);
}

static void on_done(void *arg, int code, const char *text)
{
	struct world *w = arg;

	if (code)
		print_message("pager failed: %d %s\n", code, text);
	else if (w->nheld)
		die("%u userfaultfds are held, and everything is done", w->nheld);
	w->done_code = code;
	atomic_fetch_add(&w->done, 1);
}

static void write_image(struct world *w, const char *name, uint32_t magic,
			const ProtobufCMessage **msgs, size_t n)
{
	assert_int_equal(mfd_image_write(w->dirfd, name, MFD_IMAGE_COMMON_MAGIC, magic, msgs, n),
			 0);
}

static void write_images(struct world *w)
{
	MfdCriu__PagemapHead head = MFD_CRIU__PAGEMAP_HEAD__INIT;
	MfdCriu__PagemapEntry lazy = MFD_CRIU__PAGEMAP_ENTRY__INIT;
	MfdCriu__VmaEntry vma = MFD_CRIU__VMA_ENTRY__INIT, *vmas = &vma;
	MfdCriu__MmEntry mm = MFD_CRIU__MM_ENTRY__INIT;
	const ProtobufCMessage *pagemap[] = { &head.base, &lazy.base }, *mms[] = { &mm.base };

	head.pages_id = 1;
	lazy.vaddr = (uintptr_t)w->area;
	lazy.compat_nr_pages = (uint32_t)w->pages;
	lazy.has_nr_pages = lazy.has_flags = 1;
	lazy.nr_pages = w->pages;
	lazy.flags = MFD_PE_LAZY;
	vma.start = (uintptr_t)w->area;
	vma.end = vma.start + w->span * PAGE;
	vma.fd = -1;
	mm.vmas = &vmas;
	mm.n_vmas = 1;
	write_image(w, "pagemap-77.img", MFD_IMAGE_PAGEMAP, pagemap, 2);
	write_image(w, "mm-77.img", MFD_IMAGE_MM, mms, 1);
}

void world_open(struct world *w, uint64_t pages, uint64_t span, int postcopy)
{
	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "/tmp/mfd-pager-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->dirfd >= 0);
	pthread_mutex_init(&w->lock, NULL);
	w->pages = pages;
	w->span = span;
	w->postcopy = postcopy;
	w->area = mmap(NULL, span * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	assert_true(w->area != MAP_FAILED);
	w->table = mfd_pagetable_new();
	assert_int_equal(mfd_pagestore_create(w->dirfd, 0, &w->store, NULL), 0);
	write_images(w);
	if (!steps)
		steps = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	steps_reset();
}

static const struct mfd_pager_ops world_ops = {
	.table = on_table,
	.started = on_started,
	.want = on_want,
	.deposit = on_deposit,
	.withdraw = on_withdraw,
	.abandon = on_abandon,
	.restored = on_restored,
	.done = on_done,
};

struct mfd_pager_config world_config(struct world *w, unsigned threads)
{
	return (struct mfd_pager_config){
		.dirfd = w->dirfd,
		.store = w->store,
		.postcopy = w->postcopy,
		.threads = threads,
		.ops = &world_ops,
		.arg = w,
	};
}

void world_start(struct world *w, unsigned threads)
{
	struct mfd_pager_config config = world_config(w, threads);
	struct mfd_error err = { 0 };

	if (mfd_pager_start(&config, &w->pager, &err))
		fail_msg("%s", err.text);
}

void world_close(struct world *w)
{
	mfd_pager_stop(w->pager);
	release_held(w);
	mfd_pagestore_close(w->store);
	assert_int_equal(mfd_pagestore_remove(w->dirfd), 0);
	mfd_pagetable_free(w->table);
	munmap(w->area, w->span * PAGE);
	unlinkat(w->dirfd, "pagemap-77.img", 0);
	unlinkat(w->dirfd, "mm-77.img", 0);
	close(w->dirfd);
	assert_int_equal(rmdir(w->dir), 0); /* the pager has removed its socket */
	pthread_mutex_destroy(&w->lock);
}

void world_arrived(struct world *w, uint64_t vaddr, uint64_t n, int zero, const void *pages)
{
	struct mfd_wire_run run = { .vaddr = vaddr,
				    .pages = (uint32_t)n,
				    .flags = zero ? MFD_WIRE_RUN_ZERO : 0 };

	if (mfd_pager_arrived(w->pager, TASK, &run, 1, pages))
		die("arrived");
}

/* As a packet has them; *kept = pages that are not zero. */
static unsigned runs_of(const struct world *w, uint64_t page, uint64_t n, struct mfd_wire_run *runs,
			uint64_t *kept)
{
	unsigned count = 0;

	*kept = 0;
	for (uint64_t i = page; i < page + n; i++) {
		uint32_t flags = page_is_zero(i) ? MFD_WIRE_RUN_ZERO : 0;

		*kept += !flags;
		if (i == page || runs[count - 1].flags != flags)
			runs[count++] =
				(struct mfd_wire_run){ .vaddr = (uintptr_t)w->area + i * PAGE,
						       .flags = flags };
		runs[count - 1].pages++;
	}
	return count;
}

static void fill_runs(const struct world *w, const struct mfd_wire_run *runs, unsigned count,
		      int direct, uint64_t index, char *mem)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t vpage = runs[i].vaddr / PAGE,
			 word = direct ? MFD_PAGE_DIRECT : mfd_page_word(MFD_PAGE_STORED, index);
		int zero = runs[i].flags & MFD_WIRE_RUN_ZERO;

		for (uint32_t k = 0; !zero && k < runs[i].pages; k++, mem += PAGE)
			page_fill(mem, vpage + k - (uintptr_t)w->area / PAGE);
		assert_int_equal(mfd_pagetable_set(w->table, vpage, runs[i].pages,
						   zero ? MFD_PAGE_ZERO : word),
				 0);
		index += zero ? 0 : runs[i].pages;
	}
}

void world_bring(struct world *w, uint64_t page, uint64_t n)
{
	int direct = w->pager && !w->feed && mfd_pager_direct(w->pager, TASK);
	struct mfd_wire_run *runs = calloc(n, sizeof(*runs));
	uint64_t index = 0, kept;
	unsigned count = runs_of(w, page, n, runs, &kept);
	void *buf = direct ? aligned_alloc(PAGE, kept * PAGE + PAGE) : NULL, *mem = buf;

	if (!direct && kept)
		assert_int_equal(mfd_pagestore_reserve(w->store, (uint32_t)kept, &index, &mem), 0);
	fill_runs(w, runs, count, direct, index, mem);
	if (w->pager)
		assert_int_equal(mfd_pager_arrived(w->pager, TASK, runs, count, buf), 0);
	free(buf);
	free(runs);
}

int world_next_want(struct world *w, struct want *x)
{
	int got;

	pthread_mutex_lock(&w->lock);
	got = w->taken < w->nwants;
	if (got)
		*x = w->wants[w->taken++];
	pthread_mutex_unlock(&w->lock);
	return got;
}

void world_wait(atomic_int *what, int value)
{
	for (int i = 0; i < 60000 && atomic_load(what) < value; i++)
		usleep(1000);
	assert_true(atomic_load(what) >= value);
}

void world_wait_done(struct world *w)
{
	world_wait(&w->done, 1);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->done_code, 0);
}

/* ---- the child ---- */

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "child %d: ", getpid());
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, " (errno %d)\n", errno);
	va_end(ap);
	_exit(1);
}

int page_is_zero(uint64_t i)
{
	return i % (world_dense ? 4096 : 8) == 3;
}

static uint64_t word_of(uint64_t i, uint64_t k)
{
	return page_is_zero(i) ? 0 : (i + 1) * 0x9e3779b97f4a7c15ULL + k * 0x100000001b3ULL;
}

void page_fill(char *mem, uint64_t i)
{
	for (uint64_t k = 0; k < PAGE / 8; k++) {
		uint64_t v = word_of(i, k);

		memcpy(mem + k * 8, &v, 8);
	}
}

void page_check(const volatile char *mem, uint64_t i)
{
	const volatile uint64_t *v = (const volatile uint64_t *)mem;

	for (uint64_t k = 0; k < PAGE / 8; k++)
		if (v[k] != word_of(i, k))
			die("page %lu at %p: word %lu is %lx, not %lx", i, (const void *)mem, k,
			    v[k], word_of(i, k));
}

void page_check_zero(const volatile char *mem)
{
	for (uint64_t k = 0; k < PAGE; k++)
		if (mem[k])
			die("page at %p is not zero", (const void *)mem);
}

int task_connect(struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/lazy-pages.socket", w->dir);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	return fd;
}

int task_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
					      UFFD_FEATURE_EVENT_REMOVE |
					      UFFD_FEATURE_EVENT_UNMAP };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		die("userfaultfd");
	return fd;
}

void task_send(int sock, int pid, int uffd)
{
	if (send(sock, &pid, sizeof(pid), MSG_NOSIGNAL) != sizeof(pid))
		die("send pid");
	if (uffd >= 0 && mfd_io_send_fds(sock, "x", 1, &uffd, 1) != 1)
		die("send uffd");
}

void task_finished(int sock)
{
	uint32_t word = 0x52535446;

	if (send(sock, &word, sizeof(word), MSG_NOSIGNAL) != sizeof(word))
		die("send finished");
	close(sock);
}

void task_register(int uffd, void *at, uint64_t pages)
{
	struct uffdio_register r = { .range = { (uintptr_t)at, pages * PAGE },
				     .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (ioctl(uffd, UFFDIO_REGISTER, &r))
		die("register");
}

int task_restore(struct world *w, int *uffd)
{
	int sock = task_connect(w), fd = task_uffd();

	task_send(sock, -78, -1); /* a zombie */
	task_send(sock, TASK, fd);
	if (mmap(w->area, w->span * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap");
	task_register(fd, w->area, w->span);
	if (uffd)
		*uffd = fd;
	else
		close(fd);
	return sock;
}

void task_check_all(struct world *w)
{
	for (uint64_t i = 0; i < w->pages; i++)
		page_check(w->area + i * PAGE, i);
	for (uint64_t i = w->pages; i < w->span; i++)
		page_check_zero(w->area + i * PAGE);
}

void child_is_through(void)
{
	atomic_store(&steps->through[getpid() % STEPS_PIDS], getpid());
}

pid_t child_start(struct world *w, void (*fn)(struct world *w))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(100);
	fn(w);
	child_is_through();
	_exit(0);
}

/*
 * The pager traces a task for a moment.  Since this process is the parent, too, it may see that
 * stop, and the thread that traces may have its end.
 */
void child_end(pid_t pid)
{
	int status = 0;
	pid_t ret;

	do
		ret = waitpid(pid, &status, 0);
	while (ret == pid && WIFSTOPPED(status));
	if (ret < 0 && errno == ECHILD)
		assert_int_equal(atomic_load(&steps->through[pid % STEPS_PIDS]), pid);
	else
		assert_int_equal(ret, pid);
	assert_int_equal(status, 0);
}

void steps_reset(void)
{
	atomic_store(&steps->child, 0);
	atomic_store(&steps->test, 0);
}

void step_done(atomic_int *side, int n)
{
	atomic_store(side, n);
}

void step_wait(atomic_int *side, int n)
{
	for (int i = 0; i < 600000; i++) {
		if (atomic_load(side) >= n)
			return;
		usleep(100);
	}
	die("step %d did not come", n);
}

void task_move(char *from, char *to, uint64_t old, uint64_t new, int flags)
{
	if (mremap(from, old * PAGE, new *PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != to)
		die("mremap %p -> %p", (void *)from, (void *)to);
}

/* ---- a task that does everything at random, with a model of what it must see ---- */

enum { UNMAPPED = -1, ZERO = -2, OWN = -3 }; /* else the page as dumped */

struct wild {
	char *at; /* WILD_AREA pages of address space */
	int page[WILD_AREA], vma[WILD_AREA];
	int next_vma;
	unsigned seed;
	pid_t kids[16];
	int nkids;
};

static void wild_check(struct wild *x, unsigned i)
{
	if (x->page[i] >= 0)
		page_check(x->at + i * PAGE, (uint64_t)x->page[i]);
	else if (x->page[i] == ZERO)
		page_check_zero(x->at + i * PAGE);
	else if (x->page[i] == OWN && x->at[i * PAGE] != (char)(i % 100 + 1))
		die("own page %u is lost", i);
}

static int wild_same(struct wild *x, unsigned a, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (x->page[a + i] == UNMAPPED || x->vma[a + i] != x->vma[a])
			return 0;
	return 1;
}

static void wild_cut(struct wild *x, unsigned a, unsigned n)
{
	int old = x->vma[a];

	for (unsigned i = 0; i < n; i++)
		x->vma[a + i] = x->next_vma;
	x->next_vma++;
	for (unsigned i = a + n; i < WILD_AREA && x->vma[i] == old; i++)
		x->vma[i] = x->next_vma;
	x->next_vma++;
}

static void wild_remap(struct wild *x, unsigned a, unsigned b, unsigned n, int keep)
{
	if (a < b + n && b < a + n)
		return;
	task_move(x->at + a * PAGE, x->at + b * PAGE, n, n, keep ? MREMAP_DONTUNMAP : 0);
	wild_cut(x, a, n);
	for (unsigned i = 0; i < n; i++) {
		x->page[b + i] = x->page[a + i];
		x->page[a + i] = keep ? ZERO : UNMAPPED;
		x->vma[b + i] = x->next_vma;
	}
	x->next_vma++;
}

static void wild_fork(struct wild *x)
{
	pid_t kid;

	if (x->nkids == 16)
		return;
	kid = fork();
	if (!kid) {
		for (unsigned i = WILD_AREA; i--;)
			wild_check(x, i);
		_exit(0);
	}
	x->kids[x->nkids++] = kid;
}

static void wild_step(struct wild *x)
{
	unsigned n = 1 + (unsigned)rand_r(&x->seed) % 30,
		 a = (unsigned)rand_r(&x->seed) % (WILD_AREA - n);
	unsigned b = (unsigned)rand_r(&x->seed) % (WILD_AREA - n),
		 op = (unsigned)rand_r(&x->seed) % 40;

	if (op >= 10) {
		wild_check(x, a);
	} else if (op == 0) {
		wild_fork(x);
	} else if (!wild_same(x, a, n)) {
		return;
	} else if (op == 1) {
		if (munmap(x->at + a * PAGE, n / 4 * PAGE + PAGE))
			die("munmap");
		wild_cut(x, a, n / 4 + 1);
		for (unsigned i = 0; i <= n / 4; i++)
			x->page[a + i] = UNMAPPED;
	} else if (op == 2) {
		if (madvise(x->at + a * PAGE, n * PAGE, MADV_DONTNEED))
			die("madvise");
		for (unsigned i = 0; i < n; i++)
			x->page[a + i] = ZERO;
	} else if (op == 3) {
		if (mprotect(x->at + a * PAGE, n * PAGE, PROT_READ) ||
		    mprotect(x->at + a * PAGE, n * PAGE, PROT_READ | PROT_WRITE))
			die("mprotect");
	} else if (op == 4) {
		memset(x->at + a * PAGE, (int)(a % 100 + 1), PAGE);
		x->page[a] = OWN;
	} else if (op < 8) {
		/* A page of the task's own must keep its number, so only others move. */
		for (unsigned i = 0; i < n; i++)
			if (x->page[a + i] == OWN)
				return;
		wild_remap(x, a, b, n, op == 5);
	}
}

void task_wild(struct world *w, unsigned seed, int actions)
{
	struct wild x = { .at = w->area, .seed = seed, .next_vma = 1 };
	int sock, status;

	for (unsigned i = 0; i < WILD_AREA; i++)
		x.page[i] = i < w->pages ? (int)i : ZERO;
	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	task_finished(sock);
	step_done(&steps->child, 1);
	for (int i = 0; i < actions; i++)
		wild_step(&x);
	step_done(&steps->child, 2);
	for (unsigned i = 0; i < WILD_AREA; i++)
		wild_check(&x, i);
	while (x.nkids)
		if (waitpid(x.kids[--x.nkids], &status, 0) < 0 || status)
			die("a child failed");
}
