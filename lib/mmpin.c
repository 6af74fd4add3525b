// SPDX-License-Identifier: GPL-2.0-only
/* Reads of other processes' memory that wait for a page of this process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"
#include "mmpin.h"
#include "threadname.h"
#include "uffd.h"

#define PAGE  4096UL
#define STACK (64UL << 10)

struct reader {
	pthread_t thread;
	pid_t pid;
	uint64_t addr;
	char *page;	 /* of ours, missing until the release */
	unsigned number; /* for its name */
	atomic_int tid;
	atomic_int over; /* the read has returned */
	int told;	 /* the userfaultfd has told of it: it waits */
};

struct mfd_mmpin {
	int uffd;
	unsigned n, room, waiting; /* readers, and how many of them wait */
	char *pages;		   /* room of them */
	struct reader reader[];
};

static void *pin(void *arg)
{
	struct reader *r = arg;
	struct iovec here = { r->page, 1 }, there = { (void *)(uintptr_t)r->addr, 1 };

	mfd_threadname_set("pin", r->number);
	atomic_store(&r->tid, gettid());
	process_vm_readv(r->pid, &here, 1, &there, 1, 0);
	atomic_store(&r->over, 1);
	return NULL;
}

static int open_pages(struct mfd_mmpin *h)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t len = h->room * PAGE;

	h->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h->uffd < 0 || ioctl(h->uffd, UFFDIO_API, &api))
		return -errno;
	h->pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h->pages == MAP_FAILED)
		return -errno;
	/* a reader must not go on with the page of another one */
	madvise(h->pages, len, MADV_NOHUGEPAGE);
	reg.range = (struct uffdio_range){ (uintptr_t)h->pages, len };
	return ioctl(h->uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static void free_pin(struct mfd_mmpin *h)
{
	if (h->pages != MAP_FAILED)
		munmap(h->pages, h->room * PAGE);
	mfd_io_close(&h->uffd);
	free(h);
}

struct mfd_mmpin *mfd_mmpin_open(unsigned room)
{
	struct mfd_mmpin *h = room ? calloc(1, sizeof(*h) + room * sizeof(struct reader)) : NULL;

	if (!h)
		return NULL;
	h->room = room;
	h->pages = MAP_FAILED;
	if (open_pages(h)) {
		free_pin(h);
		return NULL;
	}
	return h;
}

/* No signal may come while it waits: the kernel would try the same fault again and again. */
static int start_reader(struct reader *r)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&r->thread, &attr, pin, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

void mfd_mmpin_take(struct mfd_mmpin *h, pid_t pid, uint64_t addr)
{
	struct reader *r;

	if (!h || h->n == h->room)
		return;
	r = &h->reader[h->n];
	*r = (struct reader){
		.pid = pid, .addr = addr, .page = h->pages + h->n * PAGE, .number = h->n
	};
	if (!start_reader(r))
		h->n++;
}

static unsigned count_over(const struct mfd_mmpin *h)
{
	unsigned over = 0;

	for (unsigned i = 0; i < h->n; i++)
		over += atomic_load(&h->reader[i].over) != 0;
	return over;
}

/* A reader that was stopped and goes on reports its page again. */
static void note(struct mfd_mmpin *h, const struct uffd_msg *m)
{
	uint64_t i = (m->arg.pagefault.address - (uintptr_t)h->pages) / PAGE;

	if (m->event == UFFD_EVENT_PAGEFAULT && i < h->n && !h->reader[i].told) {
		h->reader[i].told = 1;
		h->waiting++;
	}
}

unsigned mfd_mmpin_await(struct mfd_mmpin *h, unsigned timeout_ms)
{
	uint64_t end = mfd_io_now_ms() + timeout_ms;

	if (!h)
		return 0;
	while (h->waiting + count_over(h) < h->n && mfd_io_now_ms() < end) {
		struct pollfd p = { .fd = h->uffd, .events = POLLIN };
		struct uffd_msg msgs[64];
		int n = poll(&p, 1, 1) > 0 ? mfd_uffd_read(h->uffd, msgs, 64) : 0;

		for (int i = 0; i < n; i++)
			note(h, &msgs[i]);
	}
	return h->waiting;
}

static void set_policy(struct mfd_mmpin *h, int policy)
{
	struct sched_param none = { 0 };

	for (unsigned i = 0; i < h->n; i++)
		if (!atomic_load(&h->reader[i].over) && atomic_load(&h->reader[i].tid))
			sched_setscheduler(atomic_load(&h->reader[i].tid), policy, &none);
}

static void let_go(struct mfd_mmpin *h)
{
	uint64_t done;

	if (h->uffd >= 0 && mfd_uffd_zero(h->uffd, (uintptr_t)h->pages, h->room * PAGE, &done))
		mfd_io_close(&h->uffd); /* then the kernel fills the pages in */
}

void mfd_mmpin_release(struct mfd_mmpin *h)
{
	if (!h)
		return;
	set_policy(h, SCHED_IDLE);
	let_go(h);
}

int mfd_mmpin_wait(struct mfd_mmpin *h, unsigned timeout_ms)
{
	uint64_t end = mfd_io_now_ms() + timeout_ms;

	if (!h)
		return 1;
	while (count_over(h) < h->n && mfd_io_now_ms() < end)
		usleep(2000);
	return count_over(h) == h->n;
}

void mfd_mmpin_close(struct mfd_mmpin *h)
{
	if (!h)
		return;
	set_policy(h, SCHED_OTHER);
	let_go(h);
	for (unsigned i = 0; i < h->n; i++)
		pthread_join(h->reader[i].thread, NULL);
	free_pin(h);
}
