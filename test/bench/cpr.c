// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpr: how long it takes to find a descriptor by (name, id) among N, N times, each once, in random order.
 *
 *	list	a singly linked list of (name, id, fd), searched from its head, as QEMU's CPR state was
 *	glib	GLib's GHashTable of structures (name, id, fd), hashed with g_str_hash(name) + id
 *	criu	a doubly linked list of strings "name:id" compared with strcmp, as CRIU keeps --inherit-fd
 *	ours	lib/cpr.c
 *
 * The same keys in the same order for all; keys are laid out in the order of the look-ups, so that reading them costs
 * everybody the same and little.  All are filled in another random order.  Competitors take turns, ROUNDS times; figures are
 * medians.  Small tables are run through several times in one measurement.  A list that would take more than 20 seconds
 * is only sampled, and marked.
 *
 * Names: seven of eight are one of a few dozen as processes have them, with an inode-like number as id; one of eight is
 * a path of its own ("mixed").  With --unique every name is ("unique"), with --shared none.
 *
 *	cpr [--rounds N] [--json FILE] [--quick] [--shared | --unique]
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glib.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cpr.h"

#define MAX_ROUNDS 99
#define TOO_LONG   1e9 /* ns */
#define SAMPLE	   64  /* look-ups */

static const size_t sizes[] = { 540, 2870, 7530, 100000, 1000000 };
#define SIZES (sizeof(sizes) / sizeof(*sizes))

static const char *const common[] = {
	"/dev/fuse",
	"/dev/kvm",
	"/dev/net/tun",
	"/dev/null",
	"/dev/userfaultfd",
	"/dev/vhost-net",
	"/dev/vfio/vfio",
	"anon_inode:[eventpoll]",
	"anon_inode:[eventfd]",
	"anon_inode:[signalfd]",
	"anon_inode:[timerfd]",
	"anon_inode:[userfaultfd]",
	"anon_inode:[perf_event]",
	"anon_inode:bpf-map",
	"anon_inode:bpf-prog",
	"anon_inode:inotify",
	"anon_inode:kvm-vcpu:0",
	"anon_inode:kvm-vm",
	"vhost-net",
	"vhost-vsock",
	"tap0",
	"pipe",
	"tty",
	"/memfd:pulseaudio (deleted)",
	"/memfd:wayland-shm (deleted)",
	"unix:stream:/run/dbus/system_bus_socket",
	"unix:stream:/run/user/1000/bus",
	"unix:stream:/run/systemd/journal/stdout",
	"unix:stream:@/tmp/.X11-unix/X0",
	"unix:dgram:/run/systemd/notify",
	"unix:dgram:/run/systemd/journal/dev-log",
	"unix:seqpacket:@/containerd-shim/default/7f3e.sock",
	"unix:stream:",
	"unix:seqpacket:",
};

struct query {
	const char *name;
	uint64_t id;
	const char *text; /* "name:id" */
	int fd;
};

static struct {
	int rounds, quick, kind; /* kind: 0 mixed, 1 shared, 2 unique */
	const char *json;
} opt = { .rounds = 7 };

static struct query *queries; /* in the order of look-ups */
static uint32_t *fill_order;
static size_t count;
static volatile unsigned sink;

static uint64_t rng_state = 88172645463325252ULL;

static uint64_t rng(void)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 2685821657736338717ULL;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void *must(void *p)
{
	if (p)
		return p;
	fprintf(stderr, "cpr: out of memory\n");
	exit(1);
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "cpr: %s\n", what);
	exit(1);
}

/* ---- the keys ---- */

static int one_name(char *buf, size_t size, size_t i)
{
	if (opt.kind == 2 || (!opt.kind && rng() % 8 == 0))
		return snprintf(buf, size, "/var/lib/app-%u/shard-%u/%08zx.dat", (unsigned)(i % 7), (unsigned)(i % 61),
				i);
	return snprintf(buf, size, "%s", common[rng() % (sizeof(common) / sizeof(*common))]);
}

static void make_keys(size_t n)
{
	char *text = must(malloc(n * 128)), *p = text, name[128];
	uint64_t inode = 1000000;

	count = n;
	queries = must(calloc(n, sizeof(*queries)));
	fill_order = must(calloc(n, sizeof(*fill_order)));
	for (size_t i = 0; i < n; i++) {
		struct query *q = &queries[i];
		int len = one_name(name, sizeof(name), i);

		inode += 1 + rng() % 40;
		q->name = p;
		p = memcpy(p, name, len + 1) + len + 1;
		q->text = p;
		q->id = inode;
		p += sprintf(p, "%s:%llu", name, (unsigned long long)q->id) + 1;
		q->fd = i;
		fill_order[i] = i;
	}
	for (size_t i = n; i-- > 1;) {
		size_t j = rng() % (i + 1);
		uint32_t tmp = fill_order[i];

		fill_order[i] = fill_order[j];
		fill_order[j] = tmp;
	}
}

static void free_keys(void)
{
	free((void *)queries[0].name);
	free(queries);
	free(fill_order);
}

/* ---- the competitors: fill, look up `n` keys (the sum of what was found is checked), empty ---- */

struct list_entry {
	struct list_entry *next;
	char *name;
	uint64_t id;
	int fd;
};
static struct list_entry *list;

static void list_fill(void)
{
	for (size_t i = 0; i < count; i++) {
		const struct query *q = &queries[fill_order[i]];
		struct list_entry *e = must(malloc(sizeof(*e)));

		*e = (struct list_entry){ list, must(strdup(q->name)), q->id, q->fd };
		list = e;
	}
}

static unsigned list_find(size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++)
		for (const struct list_entry *e = list; e; e = e->next)
			if (!strcmp(e->name, queries[i].name) && e->id == queries[i].id) {
				sum += e->fd;
				break;
			}
	return sum;
}

static void list_empty(void)
{
	while (list) {
		struct list_entry *e = list;

		list = e->next;
		free(e->name);
		free(e);
	}
}

struct criu_entry {
	struct criu_entry *prev, *next;
	char *id;
	int fd;
};
static struct criu_entry criu = { &criu, &criu, NULL, 0 };

static void criu_fill(void)
{
	for (size_t i = 0; i < count; i++) {
		const struct query *q = &queries[fill_order[i]];
		struct criu_entry *e = must(malloc(sizeof(*e)));

		*e = (struct criu_entry){ criu.prev, &criu, must(strdup(q->text)), q->fd };
		criu.prev->next = e;
		criu.prev = e;
	}
}

static unsigned criu_find(size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++)
		for (const struct criu_entry *e = criu.next; e != &criu; e = e->next)
			if (!strcmp(e->id, queries[i].text)) {
				sum += e->fd;
				break;
			}
	return sum;
}

static void criu_empty(void)
{
	while (criu.next != &criu) {
		struct criu_entry *e = criu.next;

		criu.next = e->next;
		e->next->prev = &criu;
		free(e->id);
		free(e);
	}
}

struct glib_entry {
	char *name;
	uint64_t id;
	int fd;
};
static GHashTable *table;

static guint glib_hash(gconstpointer p)
{
	const struct glib_entry *e = p;

	return g_str_hash(e->name) + (guint)e->id;
}

static gboolean glib_equal(gconstpointer a, gconstpointer b)
{
	const struct glib_entry *x = a, *y = b;

	return x->id == y->id && !strcmp(x->name, y->name);
}

static void glib_free(gpointer p)
{
	struct glib_entry *e = p;

	g_free(e->name);
	g_free(e);
}

static void glib_fill(void)
{
	table = g_hash_table_new_full(glib_hash, glib_equal, glib_free, NULL);
	for (size_t i = 0; i < count; i++) {
		const struct query *q = &queries[fill_order[i]];
		struct glib_entry *e = g_new0(struct glib_entry, 1);

		e->name = g_strdup(q->name);
		e->id = q->id;
		e->fd = q->fd;
		g_hash_table_add(table, e);
	}
}

static unsigned glib_find(size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++) {
		struct glib_entry key = { .name = (char *)queries[i].name, .id = queries[i].id };
		const struct glib_entry *e = g_hash_table_lookup(table, &key);

		if (e)
			sum += e->fd;
	}
	return sum;
}

static void glib_empty(void)
{
	g_hash_table_destroy(table);
}

static struct mfd_cpr *cpr;

static void ours_fill(void)
{
	cpr = must(mfd_cpr_new(NULL));
	for (size_t i = 0; i < count; i++) {
		const struct query *q = &queries[fill_order[i]];

		check(!mfd_cpr_save_fd(cpr, q->name, q->id, q->fd), "save failed");
	}
}

static unsigned ours_find(size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += mfd_cpr_find_fd(cpr, queries[i].name, queries[i].id);
	return sum;
}

static void ours_empty(void)
{
	mfd_cpr_free(cpr);
}

static const struct competitor {
	const char *name;
	void (*fill)(void);
	unsigned (*find)(size_t n);
	void (*empty)(void);
} competitors[] = {
	{ "list", list_fill, list_find, list_empty },
	{ "glib", glib_fill, glib_find, glib_empty },
	{ "criu", criu_fill, criu_find, criu_empty },
	{ "ours", ours_fill, ours_find, ours_empty },
};
enum { LIST, GLIB, CRIU, OURS, COMPETITORS };

/* ---- measuring ---- */

struct result {
	double ns[MAX_ROUNDS]; /* per look-up */
	double fill_ns;	       /* per entry */
	double bytes;	       /* per entry */
	int sampled;
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static double one_round(const struct competitor *c, size_t n)
{
	size_t passes = n >= 100000 ? 1 : 1 + 200000 / n;
	unsigned want = 0, got = 0;
	double t;

	for (size_t i = 0; i < n; i++)
		want += queries[i].fd;
	if (c->find == list_find || c->find == criu_find)
		passes = 1;
	c->find(n < 1000 ? n : SAMPLE); /* code and head of the data are warm for everybody */
	t = now();
	for (size_t i = 0; i < passes; i++)
		got += c->find(n);
	t = now() - t;
	check(got == want * (unsigned)passes, "a look-up found the wrong descriptor");
	return t / passes / n;
}

static void run_size(size_t n, struct result *r)
{
	double t;

	make_keys(n);
	for (int c = 0; c < COMPETITORS; c++) {
		size_t before = in_use();

		t = now();
		competitors[c].fill();
		r[c].fill_ns = (now() - t) / n;
		r[c].bytes = (double)(in_use() - before) / n;
		t = now();
		sink += competitors[c].find(SAMPLE);
		r[c].sampled = (now() - t) / SAMPLE * n > TOO_LONG;
	}
	for (int round = 0; round < opt.rounds; round++)
		for (int c = 0; c < COMPETITORS; c++)
			r[c].ns[round] = one_round(&competitors[c], r[c].sampled ? SAMPLE : n);
	for (int c = 0; c < COMPETITORS; c++)
		competitors[c].empty();
	free_keys();
}

int main(int argc, char **argv)
{
	struct result r[COMPETITORS];

	if (argc > 1)
		opt.kind = atoi(argv[1]);
	for (size_t i = 0; i < SIZES; i++) {
		run_size(sizes[i], r);
		printf("%8zu", sizes[i]);
		for (int c = 0; c < COMPETITORS; c++) {
			printf("  %s %.1f%s (fill %.1f, %.1f B)", competitors[c].name, median(r[c].ns, opt.rounds),
			       r[c].sampled ? "~" : "", r[c].fill_ns, r[c].bytes);
		}
		printf("  glib/ours %.2f\n", median(r[GLIB].ns, opt.rounds) / median(r[OURS].ns, opt.rounds));
		fflush(stdout);
	}
	return 0;
}
