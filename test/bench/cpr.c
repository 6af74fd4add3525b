// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpr: how long it takes to find a descriptor by (name, id) among N, N times, each once, in random
 * order.
 *
 *	list	a singly linked list of (name, id, fd), searched from its head, as QEMU's CPR state
 *		was
 *	criu	a doubly linked list of strings "name:id" compared with strcmp, as CRIU keeps
 *		--inherit-fd
 *	glib	GLib's GHashTable of structures (name, id, fd), hashed with g_str_hash(name) + id,
 *		compared by id and strcmp
 *	ours	lib/cpr.c and cpr_hash.c
 *
 * The same keys in the same order for all; they are laid out in the order of the look-ups, so that
 * reading them costs each competitor the same and little.  All tables are filled in another random
 * order and exist side by side.  Competitors take turns, ROUNDS times, and figures are medians.
 * Each turn begins with a pass that is not timed and repeats the N look-ups until at least a
 * million were made.  The lists do N look-ups once a turn, one turn only where that takes more than
 * a second; where it would take more than 20 seconds, a sample is timed and marked with "~".
 *
 * Names: seven of eight are one of a few dozen as processes have them, with an inode-like number as
 * id; one of eight is a path of its own ("mixed").  With --shared no name is, with --unique every
 * one.
 *
 *	cpr [--rounds N] [--json FILE] [--max N] [--shared | --unique]
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

#include "cpr_store.h"

#define MAX_ROUNDS 99
#define TOO_LONG   20e9 /* ns */
#define LONG	   1e9
#define MILLION	   1000000
#define SAMPLE	   64 /* look-ups */

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
	int rounds;
	enum { MIXED, SHARED, UNIQUE } kind;
	size_t max;
	const char *json;
} opt = { .rounds = 9, .max = SIZE_MAX };

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
	if (opt.kind == UNIQUE || (opt.kind == MIXED && rng() % 8 == 0))
		return snprintf(buf, size, "/var/lib/app-%u/shard-%u/%08zx.dat", (unsigned)(i % 7),
				(unsigned)(i % 61), i);
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

/*
 * ---- the competitors: fill, look up `n` keys (the sum of what was found is checked), empty ----
 */

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
	int is_list;
	void (*fill)(void);
	unsigned (*find)(size_t n);
	void (*empty)(void);
} competitors[] = {
	{ "list", 1, list_fill, list_find, list_empty },
	{ "criu", 1, criu_fill, criu_find, criu_empty },
	{ "glib", 0, glib_fill, glib_find, glib_empty },
	{ "ours", 0, ours_fill, ours_find, ours_empty },
};
enum { LIST, CRIU, GLIB, OURS, COMPETITORS };

/* ---- measuring ---- */

struct series {
	double v[MAX_ROUNDS];
	int n;
};

struct result {
	size_t size;
	struct series find[COMPETITORS]; /* ns per look-up */
	double bytes[COMPETITORS];	 /* per entry */
	int sampled[COMPETITORS];
	/* ours, ns per entry */
	struct series save, glib_save, miss, del, store, load;
	double image; /* bytes per entry */
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(struct series *s)
{
	qsort(s->v, s->n, sizeof(*s->v), by_value);
	return s->n % 2 ? s->v[s->n / 2] : (s->v[s->n / 2 - 1] + s->v[s->n / 2]) / 2;
}

static void add(struct series *s, double v)
{
	s->v[s->n++] = v;
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void one_turn(const struct competitor *c, struct series *s, size_t n)
{
	size_t passes = c->is_list || n >= MILLION ? 1 : (MILLION + n - 1) / n;
	unsigned want = 0, got = 0;
	double t;

	for (size_t i = 0; i < n; i++)
		want += queries[i].fd;
	sink += c->find(c->is_list ? SAMPLE : n);
	t = now();
	for (size_t i = 0; i < passes; i++)
		got += c->find(n);
	t = now() - t;
	check(got == want * (unsigned)passes, "a look-up found the wrong descriptor");
	add(s, t / passes / n);
}

static void fill_all(struct result *r)
{
	for (int c = 0; c < COMPETITORS; c++) {
		size_t before = in_use();
		double t = now();

		competitors[c].fill();
		t = now() - t;
		r->bytes[c] = (double)(in_use() - before) / count;
		if (c == GLIB)
			add(&r->glib_save, t / count);
		if (c == OURS)
			add(&r->save, t / count);
		t = now();
		sink += competitors[c].find(SAMPLE);
		t = (now() - t) / SAMPLE * count;
		r->sampled[c] = t > TOO_LONG ? 2 : t > LONG;
	}
}

/* The look-ups above end with a hit each; here none does: ids that do not exist. */
static void misses(struct series *s)
{
	size_t passes = (MILLION + count - 1) / count;
	unsigned sum = 0;
	double t = now();

	for (size_t p = 0; p < passes; p++)
		for (size_t i = 0; i < count; i++)
			sum += mfd_cpr_find_fd(cpr, queries[i].name, queries[i].id << 32) ==
			       -ENOENT;
	add(s, (now() - t) / passes / count);
	check(sum == passes * count, "found what is not there");
}

/* Save, delete, serialise and parse; with a record each, of a kind that most have. */
static void other_operations(struct result *r)
{
	struct mfd_cpr_record record = { .kind = MFD__CPR_KIND__ANON_INODE,
					 .how = MFD__CPR_HOW__KEPT,
					 .has = MFD_CPR_HAS_FLAGS | MFD_CPR_HAS_CRIU_ID,
					 .flags = O_RDWR,
					 .criu_id = 17,
					 .n_owners = 1,
					 .owners = &(struct mfd_cpr_owner){ 4711, 17 } };
	static char dir[] = "/dev/shm/bench-cpr.XXXXXX";
	struct mfd_cpr *full = must(mfd_cpr_new(NULL)), *back;
	const char *why = "";
	struct stat st;
	int dirfd;
	double t;

	strcpy(strrchr(dir, '.'), ".XXXXXX");
	must(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < count; i++)
		check(!mfd_cpr_add(full, queries[i].name, queries[i].id, queries[i].fd,
				   must(mfd_cpr_record_new(&record))),
		      "add failed");
	t = now();
	check(!mfd_cpr_store(full, dirfd, NULL, &why), why);
	add(&r->store, (now() - t) / count);
	check(!fstatat(dirfd, MFD_CPR_IMAGE_NAME, &st, 0), "no image");
	r->image = (double)st.st_size / count;
	t = now();
	check(!mfd_cpr_load(dirfd, MFD_CPR_IMAGE_NAME, NULL, &back, NULL, &why), why);
	add(&r->load, (now() - t) / count);
	mfd_cpr_free(back);
	mfd_cpr_free(full);
	unlinkat(dirfd, MFD_CPR_IMAGE_NAME, 0);
	close(dirfd);
	rmdir(dir);

	mfd_cpr_free(cpr);
	t = now();
	ours_fill();
	add(&r->save, (now() - t) / count);
	misses(&r->miss);
	t = now();
	for (size_t i = 0; i < count; i++)
		check(!mfd_cpr_delete_fd(cpr, queries[i].name, queries[i].id), "delete failed");
	add(&r->del, (now() - t) / count);
	ours_empty();
	t = now();
	ours_fill();
	add(&r->save, (now() - t) / count);
}

static void run_size(struct result *r, size_t n)
{
	r->size = n;
	make_keys(n);
	fill_all(r);
	for (int round = 0; round < opt.rounds; round++)
		for (int c = 0; c < COMPETITORS; c++)
			if (!round || r->sampled[c] != 1)
				one_turn(&competitors[c], &r->find[c],
					 r->sampled[c] == 2 ? SAMPLE : n);
	for (int round = 0; round < 3; round++)
		other_operations(r);
	for (int c = 0; c < COMPETITORS; c++)
		competitors[c].empty();
	free_keys();
}

/* ---- results ---- */

static const char *const kinds[] = { "mixed", "shared", "unique" };

static void print_table(struct result *r, size_t n)
{
	printf("\nns per look-up, names %s, %d rounds (~: too long, a sample of %d look-ups)\n\n",
	       kinds[opt.kind], opt.rounds, SAMPLE);
	printf("%8s %11s %11s %9s %9s   %9s %9s %9s\n", "N", "list", "criu", "glib", "ours",
	       "list/ours", "criu/ours", "glib/ours");
	for (size_t i = 0; i < n; i++) {
		double ours = median(&r[i].find[OURS]);

		printf("%8zu %10.0f%s %10.0f%s %9.1f %9.1f   %9.0f %9.0f %9.2f\n", r[i].size,
		       median(&r[i].find[LIST]), r[i].sampled[LIST] == 2 ? "~" : " ",
		       median(&r[i].find[CRIU]), r[i].sampled[CRIU] == 2 ? "~" : " ",
		       median(&r[i].find[GLIB]), ours, median(&r[i].find[LIST]) / ours,
		       median(&r[i].find[CRIU]) / ours, median(&r[i].find[GLIB]) / ours);
	}
	printf("\nbytes per entry, the rest of ours in ns per entry\n\n");
	printf("%8s %7s %7s %7s %7s   %7s %9s %7s %7s %10s %7s %12s\n", "N", "list", "criu", "glib",
	       "ours", "save", "glib save", "miss", "delete", "serialise", "parse", "image bytes");
	for (size_t i = 0; i < n; i++)
		printf("%8zu %7.0f %7.0f %7.0f %7.0f   %7.0f %9.0f %7.1f %7.0f %10.0f %7.0f %12.0f\n",
		       r[i].size, r[i].bytes[LIST], r[i].bytes[CRIU], r[i].bytes[GLIB],
		       r[i].bytes[OURS], median(&r[i].save), median(&r[i].glib_save),
		       median(&r[i].miss), median(&r[i].del), median(&r[i].store),
		       median(&r[i].load), r[i].image);
}

static void write_one(FILE *f, struct result *r)
{
	fprintf(f, "{ \"n\": %zu", r->size);
	for (int c = 0; c < COMPETITORS; c++)
		fprintf(f, ", \"%s_ns\": %.2f, \"%s_sampled\": %s, \"%s_bytes\": %.1f",
			competitors[c].name, median(&r->find[c]), competitors[c].name,
			r->sampled[c] == 2 ? "true" : "false", competitors[c].name, r->bytes[c]);
	fprintf(f, ", \"glib_over_ours\": %.2f, \"list_over_ours\": %.1f",
		median(&r->find[GLIB]) / median(&r->find[OURS]),
		median(&r->find[LIST]) / median(&r->find[OURS]));
	fprintf(f,
		", \"save_ns\": %.1f, \"glib_save_ns\": %.1f, \"miss_ns\": %.2f, \"delete_ns\": %.1f, "
		"\"serialise_ns\": %.1f, \"parse_ns\": %.1f, \"image_bytes\": %.1f }",
		median(&r->save), median(&r->glib_save), median(&r->miss), median(&r->del),
		median(&r->store), median(&r->load), r->image);
}

static void write_json(struct result *r, size_t n)
{
	FILE *f = fopen(opt.json, "w");

	check(f != NULL, "cannot write the JSON file");
	fprintf(f, "{ \"names\": \"%s\", \"rounds\": %d, \"sizes\": [", kinds[opt.kind],
		opt.rounds);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ",\n  " : "\n  ", f);
		write_one(f, &r[i]);
	}
	fprintf(f, "\n] }\n");
	check(!fclose(f), "cannot write the JSON file");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "json", required_argument, NULL, 'j' },
		{ "max", required_argument, NULL, 'm' },
		{ "shared", no_argument, NULL, 's' },
		{ "unique", no_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	static struct result r[SIZES];
	size_t n = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			opt.rounds = atoi(optarg);
			break;
		case 'j':
			opt.json = optarg;
			break;
		case 'm':
			opt.max = strtoul(optarg, NULL, 0);
			break;
		case 's':
			opt.kind = SHARED;
			break;
		case 'u':
			opt.kind = UNIQUE;
			break;
		default:
			return 2;
		}
	}
	check(opt.rounds > 0 && opt.rounds <= MAX_ROUNDS, "--rounds is 1 to 99");
	for (; n < SIZES && sizes[n] <= opt.max; n++) {
		fprintf(stderr, "cpr: %zu ...\n", sizes[n]);
		run_size(&r[n], sizes[n]);
	}
	print_table(r, n);
	if (opt.json)
		write_json(r, n);
	return 0;
}
