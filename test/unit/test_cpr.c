// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPR table: what each call promises, and the same as a naive list after any sequence of calls.
 *
 * The table is compiled in here and not linked, so that its order can be checked and keys can be
 * made to collide.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "../../lib/cpr.c"

/* ---- helpers ---- */

static uint64_t rng_state = 88172645463325252ULL;

static uint64_t rng(void)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 2685821657736338717ULL;
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/*
 * Sorted, at or behind its home with no gap in between, counted right, and nothing in the last
 * line.
 */
static void check_index(const struct index *ix)
{
	uint64_t last = 0;
	size_t n = 0;

	for (size_t i = 0; i < ix->limit; i++) {
		if (!ix->slots[i].ref) {
			assert_true(ix->slots[i].key == EMPTY);
			continue;
		}
		n++;
		assert_true(ix->slots[i].key >= last && home(ix, ix->slots[i].key) <= i);
		for (size_t j = home(ix, ix->slots[i].key); j < i; j++)
			assert_int_not_equal(ix->slots[j].ref, 0);
		last = ix->slots[i].key;
	}
	assert_int_equal(n, ix->used);
	for (size_t i = ix->limit; i < ix->limit + LINE; i++)
		assert_true(!ix->slots[i].ref && ix->slots[i].key == EMPTY);
}

static void check_table(const struct mfd_cpr *t)
{
	uint64_t refs = 0;

	check_index(&t->entries);
	check_index(&t->names.index);
	for (size_t i = 0; i < t->names.index.limit; i++)
		if (t->names.index.slots[i].ref) {
			const struct name *n = name_at(&t->names, t->names.index.slots[i].ref);

			assert_true(n->refs && scramble(n->hash) == t->names.index.slots[i].key &&
				    n->len == strlen(n->text));
			refs += n->refs;
		}
	assert_int_equal(refs, t->entries.used);
}

/* ---- promises ---- */

static void test_basic(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	struct mfd_cpr_entry e;

	assert_int_equal(mfd_cpr_find_fd(t, "a", 1), -ENOENT);
	assert_int_equal(mfd_cpr_delete_fd(t, "a", 1), -ENOENT);
	assert_int_equal(mfd_cpr_count(t), 0);
	assert_int_equal(mfd_cpr_save_fd(t, "a", 1, 10), 0);
	assert_int_equal(mfd_cpr_save_fd(t, "a", 2, 11), 0);
	assert_int_equal(mfd_cpr_save_fd(t, "b", 1, 0), 0);
	assert_int_equal(mfd_cpr_save_fd(t, "b", UINT64_MAX, INT32_MAX), 0);
	assert_int_equal(mfd_cpr_count(t), 4);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 1), 10);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 2), 11);
	assert_int_equal(mfd_cpr_find_fd(t, "b", 1), 0);
	assert_int_equal(mfd_cpr_find_fd(t, "b", UINT64_MAX), INT32_MAX);
	assert_int_equal(mfd_cpr_find_fd(t, "b", 2), -ENOENT);
	assert_int_equal(mfd_cpr_find_fd(t, "", 1), -ENOENT);
	assert_int_equal(mfd_cpr_get(t, "b", UINT64_MAX, &e), 0);
	assert_string_equal(e.name, "b");
	assert_true(e.id == UINT64_MAX && e.fd == INT32_MAX && !e.record);
	assert_int_equal(mfd_cpr_delete_fd(t, "a", 1), 0);
	assert_int_equal(mfd_cpr_delete_fd(t, "a", 1), -ENOENT);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 1), -ENOENT);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 2), 11);
	check_table(t);
	assert_int_equal(mfd_cpr_clear(t), 0);
	assert_int_equal(mfd_cpr_count(t), 0);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 2), -ENOENT);
	check_table(t);
	mfd_cpr_free(t);
	mfd_cpr_free(NULL);
}

static void test_errors(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	char name[MFD_CPR_NAME_MAX + 2];

	assert_int_equal(mfd_cpr_save_fd(t, "a", 1, -1), -EBADF);
	assert_int_equal(mfd_cpr_resave_fd(t, "a", 1, -1), -EBADF);
	assert_int_equal(mfd_cpr_add(t, "a", 1, -2, NULL), -EBADF);
	assert_int_equal(mfd_cpr_save_fd(t, "", 1, 1), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[MFD_CPR_NAME_MAX + 1] = 0;
	assert_int_equal(mfd_cpr_save_fd(t, name, 1, 1), -ENAMETOOLONG);
	assert_int_equal(mfd_cpr_find_fd(t, name, 1), -ENOENT);
	name[MFD_CPR_NAME_MAX] = 0;
	assert_int_equal(mfd_cpr_save_fd(t, name, 1, 7), 0);
	assert_int_equal(mfd_cpr_find_fd(t, name, 1), 7);
	assert_int_equal(mfd_cpr_save_fd(t, name, 1, 7), -EEXIST);
	assert_int_equal(mfd_cpr_resave_fd(t, name, 1, 8), -EEXIST);
	assert_int_equal(mfd_cpr_resave_fd(t, name, 1, 7), 0);
	assert_int_equal(mfd_cpr_find_fd(t, name, 1), 7);
	assert_int_equal(mfd_cpr_reserve(t, SIZE_MAX), -ENOMEM);
	assert_int_equal(mfd_cpr_count(t), 1);
	mfd_cpr_free(t);
}

static void test_without_fd(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);

	assert_int_equal(mfd_cpr_add(t, "a", 1, MFD_CPR_NO_FD, NULL), 0);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 1), -EBADF);
	assert_int_equal(mfd_cpr_save_fd(t, "a", 1, 3), -EEXIST);
	assert_int_equal(mfd_cpr_resave_fd(t, "a", 1, 3), 0);
	assert_int_equal(mfd_cpr_resave_fd(t, "a", 1, 4), -EEXIST);
	assert_int_equal(mfd_cpr_find_fd(t, "a", 1), 3);
	mfd_cpr_free(t);
}

static void test_ownership(void **state)
{
	struct mfd_cpr_options o = { .flags = MFD_CPR_OWNS_FDS };
	struct mfd_cpr *owner = mfd_cpr_new(&o), *other = mfd_cpr_new(NULL);
	int a = open_null(), b = open_null(), c = open_null(), d = open_null();

	assert_int_equal(mfd_cpr_save_fd(owner, "a", 1, a), 0);
	assert_int_equal(mfd_cpr_save_fd(owner, "b", 1, b), 0);
	assert_int_equal(mfd_cpr_save_fd(owner, "b", 1, c), -EEXIST);
	assert_int_equal(mfd_cpr_save_fd(owner, "c", 1, c), 0);
	assert_int_equal(mfd_cpr_save_fd(other, "d", 1, d), 0);
	assert_int_equal(mfd_cpr_delete_fd(owner, "a", 1), 0);
	assert_false(is_open(a));
	assert_true(is_open(b) && is_open(c));
	mfd_cpr_free(owner);
	assert_false(is_open(b) || is_open(c));
	assert_int_equal(mfd_cpr_delete_fd(other, "d", 1), 0);
	mfd_cpr_free(other);
	assert_true(is_open(d));
	close(d);
}

static void test_open(void **state)
{
	struct mfd_cpr_options o = { .flags = MFD_CPR_OWNS_FDS };
	struct mfd_cpr *t = mfd_cpr_new(&o);
	int fd = mfd_cpr_open_fd(t, "/dev/null", O_RDWR, "/dev/null", 0), again;

	assert_true(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	again = mfd_cpr_open_fd(t, "/nowhere", O_RDWR, "/dev/null", 0);
	assert_int_equal(fd, again);
	assert_int_equal(mfd_cpr_open_fd(t, "/nowhere", O_RDWR, "x", 0), -ENOENT);
	assert_int_equal(mfd_cpr_open_fd(t, "/dev/null", O_RDWR, "", 0), -EINVAL);
	assert_int_equal(mfd_cpr_count(t), 1);
	assert_int_equal(mfd_cpr_add(t, "promised", 0, MFD_CPR_NO_FD, NULL), 0);
	again = mfd_cpr_open_fd(t, "/dev/null", O_RDWR, "promised", 0);
	assert_true(again >= 0 && again != fd);
	assert_int_equal(mfd_cpr_find_fd(t, "promised", 0), again);
	mfd_cpr_free(t);
	assert_false(is_open(fd) || is_open(again));
}

static int released;

static void release(void *record)
{
	released++;
	free(record);
}

static void test_records(void **state)
{
	struct mfd_cpr_options o = { .release = release };
	struct mfd_cpr *t = mfd_cpr_new(&o);
	void *a = malloc(1), *b = malloc(1), *c = malloc(1);

	released = 0;
	assert_int_equal(mfd_cpr_add(t, "a", 1, 1, a), 0);
	assert_int_equal(mfd_cpr_add(t, "a", 1, 1, b), -EEXIST);
	assert_int_equal(released, 0);
	assert_int_equal(mfd_cpr_add(t, "b", 1, 1, b), 0);
	assert_int_equal(mfd_cpr_add(t, "c", 1, 1, c), 0);
	assert_int_equal(mfd_cpr_add(t, "d", 1, 1, NULL), 0);
	assert_int_equal(mfd_cpr_delete_fd(t, "c", 1), 0);
	assert_int_equal(released, 1);
	assert_int_equal(mfd_cpr_delete_fd(t, "d", 1), 0);
	assert_int_equal(released, 1);
	mfd_cpr_free(t);
	assert_int_equal(released, 3);
}

static void test_has_name(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);

	assert_false(mfd_cpr_has_name(t, "a"));
	assert_int_equal(mfd_cpr_save_fd(t, "a", 1, 1), 0);
	assert_int_equal(mfd_cpr_save_fd(t, "a", 2, 1), 0);
	assert_true(mfd_cpr_has_name(t, "a") && !mfd_cpr_has_name(t, "b"));
	assert_int_equal(mfd_cpr_delete_fd(t, "a", 1), 0);
	assert_true(mfd_cpr_has_name(t, "a"));
	assert_int_equal(mfd_cpr_delete_fd(t, "a", 2), 0);
	assert_false(mfd_cpr_has_name(t, "a"));
	mfd_cpr_free(t);
}

/* Different names with one key: the id makes up for the difference of their hashes. */
static void test_collisions(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(&(struct mfd_cpr_options){ .seed = 42 });
	const uint64_t keys[] = { 0, 1, UINT64_MAX, UINT64_MAX - 1, 1ULL << 63 };
	uint64_t id[5][40];
	char name[32];

	for (int k = 0; k < 5; k++)
		assert_true(scramble(unscramble(keys[k])) == keys[k]);
	for (int i = 0; i < 40; i++)
		for (int k = 0; k < 5; k++) {
			snprintf(name, sizeof(name), "name-%d", i);
			id[k][i] = unscramble(keys[k]) ^ hash_name(&t->names, name, strlen(name));
			assert_int_equal(mfd_cpr_find_fd(t, name, id[k][i]), -ENOENT);
			assert_int_equal(mfd_cpr_save_fd(t, name, id[k][i], 100 * k + i), 0);
			check_table(t);
		}
	for (int i = 0; i < 40; i += 2)
		for (int k = 0; k < 5; k++) {
			snprintf(name, sizeof(name), "name-%d", i);
			assert_int_equal(mfd_cpr_delete_fd(t, name, id[k][i]), 0);
			check_table(t);
		}
	for (int i = 0; i < 40; i++)
		for (int k = 0; k < 5; k++) {
			snprintf(name, sizeof(name), "name-%d", i);
			assert_int_equal(mfd_cpr_find_fd(t, name, id[k][i]),
					 i % 2 ? 100 * k + i : -ENOENT);
		}
	mfd_cpr_free(t);
}

/* More of one home than a run at the end has room for: the table grows until they part. */
static void test_tail(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(&(struct mfd_cpr_options){ .seed = 42 });
	uint64_t hash = hash_name(&t->names, "x", 1);

	assert_int_equal(mfd_cpr_reserve(t, 2000), 0);
	for (uint64_t i = 0; i < 600; i++)
		assert_int_equal(
			mfd_cpr_save_fd(t, "x", unscramble(UINT64_MAX - (i << 40)) ^ hash, i), 0);
	check_table(t);
	for (uint64_t i = 0; i < 600; i++)
		assert_int_equal(mfd_cpr_find_fd(t, "x", unscramble(UINT64_MAX - (i << 40)) ^ hash),
				 i);
	mfd_cpr_free(t);
}

/* ---- against a naive list ---- */

struct item {
	char name[40];
	uint64_t id;
	int fd;
	int *record;
	int seen;
};

struct model {
	struct mfd_cpr *t;
	struct item items[3000];
	int n;
	int names, ids; /* how many different ones come up */
};

static void pick_key(const struct model *m, char *name, size_t size, uint64_t *id)
{
	unsigned n = rng() % m->names;

	/* of all lengths */
	snprintf(name, size, "%.*s%u", (int)(n % 29), "anon_inode:[userfaultfd]-of-task", n);
	*id = rng() % m->ids * 0x100000001ULL;
}

static int in_model(const struct model *m, const char *name, uint64_t id)
{
	for (int i = 0; i < m->n; i++)
		if (m->items[i].id == id && !strcmp(m->items[i].name, name))
			return i;
	return -1;
}

static void model_put(struct model *m, const char *name, uint64_t id, int fd, int *record)
{
	struct item *it = &m->items[m->n++];

	snprintf(it->name, sizeof(it->name), "%s", name);
	it->id = id;
	it->fd = fd;
	it->record = record;
}

static void op_add(struct model *m, const char *name, uint64_t id, int at)
{
	int fd = (int)(rng() % 1000) - 1, *record = rng() % 2 ? malloc(sizeof(int)) : NULL;
	int ret = mfd_cpr_add(m->t, name, id, fd, record);

	assert_int_equal(ret, at >= 0 ? -EEXIST : 0);
	if (at >= 0)
		free(record);
	else
		model_put(m, name, id, fd, record);
}

static void op_delete(struct model *m, const char *name, uint64_t id, int at)
{
	assert_int_equal(mfd_cpr_delete_fd(m->t, name, id), at >= 0 ? 0 : -ENOENT);
	if (at >= 0)
		m->items[at] = m->items[--m->n];
}

static void op_resave(struct model *m, const char *name, uint64_t id, int at)
{
	int fd = at >= 0 && m->items[at].fd >= 0 && rng() % 2 ? m->items[at].fd :
								(int)(rng() % 1000);
	int ret = mfd_cpr_resave_fd(m->t, name, id, fd);

	if (at < 0) {
		assert_int_equal(ret, 0);
		model_put(m, name, id, fd, NULL);
	} else if (m->items[at].fd >= 0 && m->items[at].fd != fd) {
		assert_int_equal(ret, -EEXIST);
	} else {
		assert_int_equal(ret, 0);
		m->items[at].fd = fd;
	}
}

static void op_find(struct model *m, const char *name, uint64_t id, int at)
{
	int fd = mfd_cpr_find_fd(m->t, name, id);
	struct mfd_cpr_entry e;

	assert_int_equal(fd, at < 0 ? -ENOENT : m->items[at].fd < 0 ? -EBADF : m->items[at].fd);
	assert_int_equal(mfd_cpr_get(m->t, name, id, &e), at < 0 ? -ENOENT : 0);
	if (at < 0)
		return;
	assert_string_equal(e.name, name);
	assert_true(e.id == id && e.fd == m->items[at].fd && e.record == m->items[at].record);
}

static int see(void *ctx, const struct mfd_cpr_entry *e)
{
	struct model *m = ctx;
	int at = in_model(m, e->name, e->id);

	assert_true(at >= 0 && e->fd == m->items[at].fd && e->record == m->items[at].record);
	m->items[at].seen++;
	return 0;
}

static void compare(struct model *m)
{
	check_table(m->t);
	assert_int_equal(mfd_cpr_count(m->t), m->n);
	for (int i = 0; i < m->n; i++)
		m->items[i].seen = 0;
	assert_int_equal(mfd_cpr_walk_fd(m->t, see, m), 0);
	for (int i = 0; i < m->n; i++)
		assert_int_equal(m->items[i].seen, 1);
}

static void random_op(struct model *m, int grow)
{
	static void (*const ops[])(struct model * m, const char *name, uint64_t id, int at) = {
		op_delete, op_delete, op_resave, op_find, op_find, op_add, op_add,
	};
	unsigned n = sizeof(ops) / sizeof(*ops);
	char name[40];
	uint64_t id;

	pick_key(m, name, sizeof(name), &id);
	/*
	 * deletes come up half as often while it is to grow, and twice as often while it is to
	 * shrink
	 */
	n = grow ? 1 + rng() % (n - 1) : rng() % n;
	ops[grow ? n : rng() % 2 ? n : n % 2](m, name, id, in_model(m, name, id));
}

static void run_model(int names, int ids, int ops)
{
	struct model *m = calloc(1, sizeof(*m));

	m->t = mfd_cpr_new(NULL);
	m->names = names;
	m->ids = ids;
	for (int i = 0; i < ops; i++) {
		random_op(m, i / (ops / 6) % 2 == 0);
		if (i % 97 == 0)
			compare(m);
	}
	compare(m);
	mfd_cpr_free(m->t);
	free(m);
}

static void test_model(void **state)
{
	run_model(1, 1, 200);
	run_model(3, 20, 2000);
	run_model(1, 2500, 8000);
	run_model(2500, 1, 8000);
	run_model(50, 50, 12000);
	run_model(200, 3, 8000);
}

/* ---- walks ---- */

struct deleting {
	struct model *m;
	int chance; /* per cent, of deleting something in a call */
	int depth, calls, inner_calls, stop_after;
};

static int count_one(void *ctx, const struct mfd_cpr_entry *e)
{
	struct deleting *d = ctx;

	d->inner_calls++;
	return 0;
}

static int nested(void *ctx, const struct mfd_cpr_entry *e)
{
	struct deleting *d = ctx;

	if (rng() % 20 == 0 && d->m->n) {
		struct item it = d->m->items[rng() % d->m->n];

		op_delete(d->m, it.name, it.id, in_model(d->m, it.name, it.id));
	}
	return 0;
}

static int delete_some(void *ctx, const struct mfd_cpr_entry *e)
{
	struct deleting *d = ctx;
	int at = in_model(d->m, e->name, e->id);
	struct item it;

	d->calls++;
	assert_true(at >= 0); /* what was deleted before its turn is not visited */
	assert_int_equal(d->m->items[at].seen++, 0);
	assert_int_equal(mfd_cpr_add(d->m->t, "another", 77, 1, NULL), -EBUSY);
	assert_int_equal(mfd_cpr_open_fd(d->m->t, "/dev/null", O_RDONLY, "another", 77), -EBUSY);
	assert_int_equal(mfd_cpr_reserve(d->m->t, 100000), -EBUSY);
	assert_int_equal(mfd_cpr_clear(d->m->t), -EBUSY);
	for (int i = 0; i < 3 && d->m->n && (int)(rng() % 100) < d->chance; i++) {
		it = d->m->items[rng() % 3 ? rng() % d->m->n : (unsigned)at % d->m->n];
		op_delete(d->m, it.name, it.id, in_model(d->m, it.name, it.id));
	}
	if (rng() % 40 == 0)
		assert_int_equal(mfd_cpr_walk_fd(d->m->t, nested, d), 0);
	return d->stop_after && d->calls == d->stop_after ? 5 : 0;
}

static void test_walk_deleting(void **state)
{
	struct model *m = calloc(1, sizeof(*m));

	m->names = 40;
	m->ids = 60;
	for (int round = 0; round < 60; round++) {
		struct deleting d = { .m = m, .chance = round % 4 * 33 };

		m->t = mfd_cpr_new(NULL);
		m->n = 0;
		for (int i = 0; i < 10 + round * 20; i++)
			random_op(m, 1);
		for (int i = 0; i < m->n; i++)
			m->items[i].seen = 0;
		assert_int_equal(mfd_cpr_walk_fd(m->t, delete_some, &d), 0);
		for (int i = 0; i < m->n; i++)
			assert_int_equal(m->items[i].seen, 1);
		compare(m);
		mfd_cpr_free(m->t);
	}
	free(m);
}

static int delete_it(void *ctx, const struct mfd_cpr_entry *e)
{
	return mfd_cpr_delete_fd(ctx, e->name, e->id);
}

static void test_walk_ends(void **state)
{
	struct model m = { .t = mfd_cpr_new(NULL), .names = 1, .ids = 1 };
	struct deleting d = { .m = &m, .stop_after = 3 };

	assert_int_equal(mfd_cpr_walk_fd(m.t, delete_it, m.t), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(mfd_cpr_save_fd(m.t, "a", i, i), 0);
		model_put(&m, "a", i, i, NULL);
	}
	assert_int_equal(mfd_cpr_walk_fd(m.t, delete_some, &d), 5);
	assert_int_equal(d.calls, 3);
	assert_int_equal(mfd_cpr_save_fd(m.t, "a", 10, 10), 0); /* no walk is left behind */
	assert_int_equal(mfd_cpr_walk_fd(m.t, delete_it, m.t), 0);
	assert_int_equal(mfd_cpr_count(m.t), 0);
	assert_int_equal(mfd_cpr_walk_fd(m.t, count_one, &d), 0);
	assert_int_equal(d.inner_calls, 0);
	mfd_cpr_free(m.t);
}

/* ---- memory ---- */

struct heap {
	long left; /* allocations that succeed; < 0 = all */
	size_t bytes, blocks;
	unsigned failed;
};

static void *heap_alloc(void *ctx, size_t size)
{
	struct heap *h = ctx;

	if (!h->left) {
		h->failed++;
		return NULL;
	}
	h->left--;
	h->bytes += size;
	h->blocks++;
	return malloc(size);
}

static void heap_free(void *ctx, void *p, size_t size)
{
	struct heap *h = ctx;

	assert_true(p && h->bytes >= size && h->blocks);
	h->bytes -= size;
	h->blocks--;
	free(p);
}

/*
 * The largest key is that of empty slots, too: it is looked up where there is nothing at all, or
 * almost nothing.
 */
static void test_largest_key(void **state)
{
	struct heap h = { .left = 1 };
	struct mfd_cpr_options o = { .alloc = heap_alloc, .free = heap_free, .ctx = &h, .seed = 1 };
	struct mfd_cpr *t = mfd_cpr_new(&o);
	uint64_t id = unscramble(UINT64_MAX) ^ hash_name(&t->names, "x", 1);

	for (long left = 0; left < 4; left++) { /* slots, list of chunks, chunk, slots of names */
		assert_int_equal(mfd_cpr_find_fd(t, "x", id), -ENOENT);
		h.left = 1;
		assert_int_equal(mfd_cpr_save_fd(t, "y", 1, 1), left < 3 ? -ENOMEM : 0);
		assert_int_equal(mfd_cpr_find_fd(t, "x", id), -ENOENT);
		assert_int_equal(mfd_cpr_delete_fd(t, "x", id), -ENOENT);
	}
	h.left = -1;
	assert_int_equal(mfd_cpr_save_fd(t, "x", id, 2), 0);
	assert_int_equal(mfd_cpr_find_fd(t, "x", id), 2);
	check_table(t);
	mfd_cpr_free(t);
	assert_int_equal(h.blocks, 0);
}

/*
 * With every allocation failing in turn: the table is as it was, and the same call succeeds when
 * there is memory again.
 */
static void test_no_memory(void **state)
{
	struct heap h = { .left = 0 };
	struct mfd_cpr_options o = { .alloc = heap_alloc, .free = heap_free, .ctx = &h, .seed = 1 };
	struct model *m = calloc(1, sizeof(*m));
	unsigned refused = 0;
	char name[40];

	assert_null(mfd_cpr_new(&o));
	h.left = 1;
	m->t = mfd_cpr_new(&o);
	assert_non_null(m->t);
	for (int i = 0; i < 2500; i++) {
		int *record = malloc(sizeof(int)), ret;

		snprintf(name, sizeof(name), "a name of some length %d", i);
		for (long allowed = 0;; allowed++) { /* one more allocation than last time */
			h.left = allowed;
			ret = mfd_cpr_add(m->t, name, 7, i, record);
			if (ret != -ENOMEM)
				break;
			refused++;
			assert_int_equal(mfd_cpr_find_fd(m->t, name, 7), -ENOENT);
			assert_int_equal(mfd_cpr_count(m->t), i);
			compare(m);
		}
		assert_int_equal(ret, 0);
		model_put(m, name, 7, i, record);
		assert_int_equal(mfd_cpr_memory(m->t), h.bytes);
	}
	assert_true(refused > 12);
	h.left = 0;
	assert_int_equal(mfd_cpr_reserve(m->t, 100000), -ENOMEM);
	compare(m);
	while (m->n) /* no memory is needed for that */
		op_delete(m, m->items[0].name, m->items[0].id, 0);
	compare(m);
	mfd_cpr_free(m->t);
	assert_int_equal(h.bytes, 0);
	assert_int_equal(h.blocks, 0);
	free(m);
}

/* Names come and go for ever, of all lengths: memory does not grow with their number. */
static void test_churn(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	static char name[MFD_CPR_NAME_MAX + 1];
	size_t after = 0;

	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 300; i++) {
			size_t len = i % 5 ? 8 + i % 60 : 8 + i * 13;

			memset(name, 'n', len);
			name[len] = 0;
			name[snprintf(name, sizeof(name), "%d-%d-", round, i)] = '.';
			assert_int_equal(mfd_cpr_save_fd(t, name, round, i), 0);
		}
		check_table(t);
		assert_int_equal(mfd_cpr_walk_fd(t, delete_it, t), 0);
		if (!round)
			after = mfd_cpr_memory(t);
	}
	assert_int_equal(mfd_cpr_memory(t), after);
	mfd_cpr_free(t);
}

static void test_reserve(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	const struct slot *slots;

	assert_int_equal(mfd_cpr_reserve(t, 10000), 0);
	slots = t->entries.slots;
	for (int i = 0; i < 10000; i++)
		assert_int_equal(mfd_cpr_save_fd(t, "x", i, i), 0);
	assert_ptr_equal(t->entries.slots, slots);
	assert_int_equal(mfd_cpr_reserve(t, 100), 0);
	assert_ptr_equal(t->entries.slots, slots);
	check_table(t);
	mfd_cpr_free(t);
}

#define MILLION 1000000

static void million_name(char *name, size_t size, int i)
{
	if (i % 8)
		snprintf(name, size, "anon_inode:[eventpoll]-%d", i % 40);
	else
		snprintf(name, size, "/var/lib/app/%d", i);
}

static void test_million(void **state)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	char name[64];

	for (int i = 0; i < MILLION; i++) {
		million_name(name, sizeof(name), i);
		assert_int_equal(mfd_cpr_save_fd(t, name, i, i), 0);
	}
	assert_int_equal(mfd_cpr_count(t), MILLION);
	assert_true(mfd_cpr_memory(t) / MILLION < 100);
	check_table(t);
	for (int i = 0; i < MILLION; i++) {
		million_name(name, sizeof(name), i);
		assert_int_equal(mfd_cpr_find_fd(t, name, i), i);
		assert_int_equal(mfd_cpr_find_fd(t, name, i + MILLION), -ENOENT);
		if (i % 3 == 0)
			assert_int_equal(mfd_cpr_delete_fd(t, name, i), 0);
	}
	check_table(t);
	for (int i = 0; i < MILLION; i++) {
		million_name(name, sizeof(name), i);
		assert_int_equal(mfd_cpr_find_fd(t, name, i), i % 3 ? i : -ENOENT);
	}
	mfd_cpr_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_basic),	      cmocka_unit_test(test_errors),
		cmocka_unit_test(test_without_fd),    cmocka_unit_test(test_ownership),
		cmocka_unit_test(test_open),	      cmocka_unit_test(test_records),
		cmocka_unit_test(test_has_name),      cmocka_unit_test(test_collisions),
		cmocka_unit_test(test_tail),	      cmocka_unit_test(test_model),
		cmocka_unit_test(test_walk_deleting), cmocka_unit_test(test_walk_ends),
		cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_largest_key),
		cmocka_unit_test(test_churn),	      cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_million),
	};

	return cmocka_run_group_tests_name("cpr", tests, NULL, NULL);
}
