// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs a libFuzzer function without libFuzzer: over every given file, over an empty input, then
 * over random mutations of all of them. The mutations follow from the seed alone, so a failure can
 * be repeated; -t merely cuts the sequence short. It finds what sanitizers can see in a few seconds
 * with plain gcc. It does not look for new code paths: `make fuzz` does.
 *
 *	fuzz_NAME [-s SEED] [-n MUTATIONS (0 = no limit)] [-t SECONDS] [-o LAST] [FILE]...
 *
 * LAST always holds the input in hand, so after a crash it is the one to look at.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX    (64u << 10)
#define HANG_SECONDS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *data;
	size_t size;
};

static struct input *corpus;
static size_t corpus_len;
static uint64_t rng_state;
static int last_fd = -1;

/* xorshift64*: the same numbers everywhere, unlike rand(). */
static uint64_t rng(void)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 2685821657736338717ULL;
}

static size_t below(size_t n)
{
	return n ? rng() % n : 0;
}

static void *must(void *p)
{
	if (p)
		return p;
	fputs("fuzz driver: out of memory\n", stderr);
	_exit(2);
}

static void run(const uint8_t *data, size_t size)
{
	/* A copy of the exact size, so that ASan sees a read of one byte too many. */
	uint8_t *copy = must(malloc(size ? size : 1));

	if (size)
		memcpy(copy, data, size);
	if (last_fd >= 0 &&
	    (ftruncate(last_fd, 0) || pwrite(last_fd, data, size, 0) != (ssize_t)size))
		last_fd = -1;
	/* A hang ends with SIGALRM. */
	alarm(HANG_SECONDS);
	LLVMFuzzerTestOneInput(copy, size);
	alarm(0);
	free(copy);
}

static void add(const uint8_t *data, size_t size)
{
	struct input *in;

	corpus = must(realloc(corpus, (corpus_len + 1) * sizeof(*corpus)));
	in = &corpus[corpus_len++];
	in->data = must(malloc(size ? size : 1));
	in->size = size;
	if (size)
		memcpy(in->data, data, size);
}

static int add_file(const char *path)
{
	static uint8_t buf[INPUT_MAX];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	add(buf, n);
	return 0;
}

static size_t mutate_once(uint8_t *buf, size_t size)
{
	/* Values at which length and count checks break. */
	static const uint64_t edges[] = { 0,
					  1,
					  0x7f,
					  0x80,
					  0xff,
					  0x7fff,
					  0x8000,
					  0xffff,
					  0x1000,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  0x7fffffffffffffff,
					  ~0ULL };
	static const size_t widths[] = { 1, 2, 4, 8 };
	const struct input *other;
	size_t at, len, i;
	uint64_t v;

	switch (below(8)) {
	case 0: /* one bit */
		if (size)
			buf[below(size)] ^= 1u << below(8);
		break;
	case 1: /* one byte */
		if (size)
			buf[below(size)] = rng();
		break;
	case 2: /* an integer at its limits, either byte order */
		len = widths[below(4)];
		if (size < len)
			break;
		at = below(size - len + 1);
		v = edges[below(sizeof(edges) / sizeof(*edges))];
		if (below(2))
			v = __builtin_bswap64(v << (64 - 8 * len));
		memcpy(buf + at, &v, len);
		break;
	case 3: /* a small step, for counts off by one */
		if (size)
			buf[below(size)] += below(2) ? 1 : -1;
		break;
	case 4: /* cut short */
		size = below(size + 1);
		break;
	case 5: /* bytes go */
		at = below(size);
		len = below(size - at + 1);
		memmove(buf + at, buf + at + len, size - at - len);
		size -= len;
		break;
	case 6: /* bytes come */
		at = below(size + 1);
		len = 1 + below(16);
		if (size + len > INPUT_MAX)
			break;
		memmove(buf + at + len, buf + at, size - at);
		for (i = 0; i < len; i++)
			buf[at + i] = below(4) ? rng() : 0;
		size += len;
		break;
	case 7: /* a piece of another input */
		other = &corpus[below(corpus_len)];
		if (!other->size)
			break;
		i = below(other->size);
		len = 1 + below(other->size - i);
		at = below(size + 1);
		if (at + len > INPUT_MAX)
			break;
		memcpy(buf + at, other->data + i, len);
		if (at + len > size)
			size = at + len;
		break;
	}
	return size;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static uint8_t buf[INPUT_MAX];
	uint64_t seed = 1, limit = 20000, done = 0;
	double seconds = 5, start = now();
	size_t i, size;
	int opt, k;

	while ((opt = getopt(argc, argv, "s:n:t:o:")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			limit = strtoull(optarg, NULL, 0);
			break;
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		case 'o':
			last_fd = open(optarg, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
			break;
		default:
			fprintf(stderr,
				"usage: %s [-s SEED] [-n MUTATIONS] [-t SECONDS] [-o LAST] [FILE]...\n",
				argv[0]);
			return 2;
		}
	}
	/* 0 is the one state xorshift cannot leave. */
	rng_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	if (!rng_state)
		rng_state = 1;

	add(NULL, 0);
	for (k = optind; k < argc; k++)
		if (add_file(argv[k]))
			return 2;
	for (i = 0; i < corpus_len; i++)
		run(corpus[i].data, corpus[i].size);

	while ((!limit || done < limit) && now() - start < seconds) {
		const struct input *in = &corpus[below(corpus_len)];

		size = in->size;
		if (size)
			memcpy(buf, in->data, size);
		for (i = 1 + below(6); i; i--)
			size = mutate_once(buf, size);
		run(buf, size);
		done++;
	}
	printf("%zu inputs, %" PRIu64 " mutations, seed %" PRIu64 ", %.1f s\n", corpus_len, done,
	       seed, now() - start);
	for (i = 0; i < corpus_len; i++)
		free(corpus[i].data);
	free(corpus);
	return 0;
}
