// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task's book: what another process must know to go on with its userfaultfd, at whatever moment
 * this one dies.
 *
 * It is a file in memory (memfd) that is deposited together with the userfaultfd (images/FORMAT.md
 * describes it):
 *
 *	- which pages are settled: task->settled points into it;
 *	- the inbox: read(2) of the userfaultfd puts its messages here and nowhere else.  The
 *	  kernel lets a task go on when it has handed a message over, so a message in the private
 *	  memory of a process that dies would be lost;
 *	- the intervals, twice: the list that is in force and room for the next.
 *
 * One store of `commit` moves from one list to the other and past the messages that made the
 * difference.  What is done between reading a message and that store (bits of pages that are gone)
 * may be done again without harm, except for a fork: see mfd_pager_task_fork.
 *
 * The sizes are those of the worst case, an interval for each page, but only what is used takes
 * memory: 1 bit for each page and 64 bytes for each interval.  All of it is changed under
 * task->lock for writing, except for the bits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pager_int.h"

#define BOOK_MAGIC   0x6b6f6f62444d464dULL
#define BOOK_VERSION 1U
#define LISTS	     2U

/* The first page; then the bits, then the lists, each at a whole page. */
struct pager_book {
	uint64_t magic;
	uint32_t version, task;
	uint64_t serial, parent; /* in the order in which tasks appeared; parent 0: CRIU's */
	uint64_t bits, room;	 /* lazy pages; intervals per list */
	int32_t writer;		 /* process whose descriptor numbers the inbox means */
	_Atomic uint32_t state;	 /* enum pager_book_state */
	_Atomic uint64_t n[LISTS];
	/* list in force << 32 | messages of the inbox that are done with */
	_Atomic uint64_t commit;
	struct uffd_msg inbox[PAGER_BATCH];
};
_Static_assert(sizeof(struct pager_book) <= PAGER_PAGE, "the head is one page");
_Static_assert(sizeof(struct uffd_msg) == 32 && sizeof(struct mfd_range) == 32, "as in FORMAT.md");

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGER_PAGE - 1) & ~(PAGER_PAGE - 1);
}

static uint64_t bits_len(uint64_t bits)
{
	return whole_pages((bits / 64 + 1) * 8);
}

static uint64_t list_len(uint64_t room)
{
	return whole_pages(room * sizeof(struct mfd_range));
}

static uint64_t book_len(uint64_t bits)
{
	return PAGER_PAGE + bits_len(bits) + LISTS * list_len(bits);
}

static struct mfd_range *list_of(const struct pager_task *t, unsigned which)
{
	char *at = (char *)t->book + PAGER_PAGE + bits_len(t->book->bits) +
		   which * list_len(t->book->room);

	return (struct mfd_range *)(void *)at;
}

static unsigned list_in_force(const struct pager_book *b)
{
	return (unsigned)(atomic_load_explicit(&b->commit, memory_order_relaxed) >> 32);
}

static int map(struct pager_task *t, int fd, uint64_t len)
{
	void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	mfd_assert(!t->book && !t->settled);
	mfd_assert(len > PAGER_PAGE);
	if (m == MAP_FAILED)
		return -errno;
	t->book = m;
	t->book_len = len;
	t->settled = (_Atomic uint64_t *)(void *)((char *)m + PAGER_PAGE);
	/*
	 * Locked: a dying process cannot fault its pages in again, not even for the kernel's copy
	 * of a message.
	 */
	(void)!mlock(m, PAGER_PAGE);
	return 0;
}

int mfd_book_make(struct pager_task *t, uint64_t parent, int *fd)
{
	uint64_t bits = t->fam->img.bits, len = book_len(bits);
	struct pager_book *b;
	int ret;

	mfd_assert(!t->book);
	mfd_assert(t->p && t->fam);
	*fd = memfd_create("criu-multifd-book", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return -errno;
	/* Sealed, so that it cannot shrink under a process that maps it later. */
	ret = ftruncate(*fd, (off_t)len) ||
			      fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ?
		      -errno :
		      0;
	ret = ret ? ret : map(t, *fd, len);
	if (ret) {
		close(*fd);
		*fd = -1;
		return ret;
	}
	b = t->book;
	b->magic = BOOK_MAGIC;
	b->version = BOOK_VERSION;
	b->task = t->fam->id;
	b->serial = atomic_fetch_add(&t->p->serial, 1) + 1;
	b->parent = parent;
	b->bits = b->room = bits;
	b->writer = getpid();
	return 0;
}

void mfd_book_close(struct pager_task *t)
{
	mfd_assert(!t->book == !t->settled);
	mfd_assert(!t->book || t->book_len);
	if (t->book)
		munmap(t->book, t->book_len);
	t->book = NULL;
	t->settled = NULL;
}

struct uffd_msg *mfd_book_inbox(struct pager_task *t)
{
	return t->book->inbox;
}

uint64_t mfd_book_serial(const struct pager_task *t)
{
	return t->book->serial;
}

uint64_t mfd_book_parent(const struct pager_task *t)
{
	return t->book->parent;
}

int mfd_book_writer(const struct pager_task *t)
{
	return t->book->writer;
}

unsigned mfd_book_done(const struct pager_task *t)
{
	return (unsigned)atomic_load_explicit(&t->book->commit, memory_order_relaxed);
}

void mfd_book_pass(struct pager_task *t, unsigned done)
{
	struct pager_book *b = t->book;

	mfd_assert(done <= PAGER_BATCH);
	atomic_store_explicit(&b->commit, (uint64_t)list_in_force(b) << 32 | done,
			      memory_order_release);
}

void mfd_book_commit(struct pager_task *t, unsigned done)
{
	struct pager_book *b = t->book;
	unsigned next = !list_in_force(b);

	mfd_assert(t->ranges.n <= b->room && done <= PAGER_BATCH);
	if (t->ranges.n)
		memcpy(list_of(t, next), t->ranges.by_bit, t->ranges.n * sizeof(struct mfd_range));
	atomic_store_explicit(&b->n[next], t->ranges.n, memory_order_relaxed);
	atomic_store_explicit(&b->commit, (uint64_t)next << 32 | done, memory_order_release);
}

void mfd_book_clear(struct pager_task *t, unsigned n)
{
	mfd_assert(t->book);
	mfd_assert(n <= PAGER_BATCH);
	/* A reader that finds some of them cleared finds none behind the last that is done with. */
	mfd_book_pass(t, n);
	for (unsigned i = 0; i < n; i++)
		memset(&t->book->inbox[i], 0, sizeof(t->book->inbox[i]));
	atomic_thread_fence(memory_order_release);
	mfd_book_pass(t, 0);
	t->book->writer = getpid();
}

void mfd_book_mark(struct pager_task *t, enum pager_book_state state)
{
	mfd_assert(t->book);
	mfd_assert(t->settled);
	atomic_store_explicit(&t->book->state, state, memory_order_release);
}

/* ---- taking over ---- */

static int head_wrong(const struct pager_book *b, uint64_t size, const char **why)
{
	*why = "its book is damaged";
	if (b->magic != BOOK_MAGIC || b->bits > MFD_RANGES_MAX_PAGES)
		return -EBADMSG;
	if (b->version != BOOK_VERSION) {
		*why = "its book is of another version";
		return -EPROTONOSUPPORT;
	}
	if (b->room != b->bits || size != book_len(b->bits) || !b->serial || b->parent >= b->serial)
		return -EBADMSG;
	if (list_in_force(b) >= LISTS || (uint32_t)b->commit > PAGER_BATCH ||
	    b->n[list_in_force(b)] > b->room)
		return -EBADMSG;
	return 0;
}

static int read_head(int fd, struct pager_book *head, const char **why)
{
	struct stat st;
	ssize_t n;

	*why = "its book cannot be read";
	if (fstat(fd, &st))
		return -errno;
	n = pread(fd, head, sizeof(*head), 0);
	if (n != (ssize_t)sizeof(*head))
		return n < 0 ? -errno : -EBADMSG;
	return head_wrong(head, (uint64_t)st.st_size, why);
}

int mfd_book_peek(int fd, uint32_t *task, enum pager_book_state *state, const char **why)
{
	struct pager_book head;
	int ret = read_head(fd, &head, why);

	if (ret)
		return ret;
	*task = head.task;
	*state = (enum pager_book_state)atomic_load(&head.state);
	return 0;
}

int mfd_book_open(struct pager_task *t, int fd, const char **why)
{
	struct pager_book head;
	unsigned list;
	int ret = read_head(fd, &head, why);

	if (!ret && (head.task != t->fam->id || head.bits != t->fam->img.bits)) {
		*why = "its book does not fit its images";
		ret = -EBADMSG;
	}
	ret = ret ? ret : map(t, fd, book_len(head.bits));
	if (ret)
		return ret;
	list = list_in_force(t->book);
	ret = mfd_ranges_load(&t->ranges, list_of(t, list), atomic_load(&t->book->n[list]),
			      &t->fam->img);
	if (ret)
		*why = ret == -ENOMEM ? "no memory" : "the intervals in its book are damaged";
	return ret;
}
