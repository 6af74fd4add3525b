// SPDX-License-Identifier: GPL-2.0-only
/* When precopy stops, and what it compares in the stop. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "criterion.h"
#include "pair.h"
#include "sentpages.h"
#include "suspects.h"

#define MIB  (1ULL << 20)
#define GIB  (1ULL << 30)
#define PAGE 4096ULL

static struct mfd_criterion make(void)
{
	return (struct mfd_criterion){ .limit_ms = 300,
				       .max_rounds = 8,
				       .timeout_ms = 60000,
				       .memory = GIB,
				       .tasks = 1,
				       .threads = 1 };
}

static void stops_when_the_rest_fits(void **state)
{
	struct mfd_criterion c = make();

	/* 1 GiB/s: a floor of 35 + 150 + 3 ms, 15 of verifying; 97 remain, that is 97 MiB. */
	assert_int_equal(mfd_criterion_round(&c, GIB, 1000000, 200 * MIB, 1000),
			 MFD_CRITERION_GO_ON);
	assert_in_range(c.expected_ms, 380, 410);
	assert_int_equal(mfd_criterion_round(&c, 200 * MIB, 200000, 90 * MIB, 1200),
			 MFD_CRITERION_REACHED);
	assert_in_range(c.expected_ms, 270, 300);
}

static void a_floor_above_the_limit_still_ends(void **state)
{
	struct mfd_criterion c = make();

	c.memory = 8 * GIB;
	assert_int_equal(mfd_criterion_round(&c, 8 * GIB, 8000000, 64 * MIB, 8000),
			 MFD_CRITERION_GO_ON);
	assert_int_equal(mfd_criterion_round(&c, 64 * MIB, 64000, 15 * MIB, 8100),
			 MFD_CRITERION_REACHED);
}

/* Measured, from the freeze to the end of the dump: 57 ms of 1 GiB, 71 of 2, 94 of 4. */
static void what_the_sender_lists_costs_criu_little(void **state)
{
	static const struct {
		uint64_t memory;
		uint32_t least, most;
	} all[] = { { GIB, 45, 70 }, { 2 * GIB, 57, 85 }, { 4 * GIB, 80, 115 } };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct mfd_criterion c = make();

		c.listed = 1;
		c.memory = all[i].memory;
		mfd_criterion_round(&c, c.memory, 1000000, 0, 1000);
		assert_in_range(c.floor_ms, all[i].least, all[i].most);
	}
}

static void tasks_that_write_as_fast_as_pages_are_sent(void **state)
{
	struct mfd_criterion c = make();

	assert_int_equal(mfd_criterion_round(&c, GIB, 1000000, GIB, 1000), MFD_CRITERION_GO_ON);
	assert_int_equal(mfd_criterion_round(&c, GIB, 1000000, GIB, 2000), MFD_CRITERION_GO_ON);
	assert_int_equal(mfd_criterion_round(&c, GIB, 1000000, GIB, 3000), MFD_CRITERION_UNBOUNDED);
}

static void rounds_and_time_are_limited(void **state)
{
	struct mfd_criterion c = make();

	c.max_rounds = 1;
	assert_int_equal(mfd_criterion_round(&c, GIB, 1000000, GIB, 1000), MFD_CRITERION_ROUNDS);
	c = make();
	assert_int_equal(mfd_criterion_round(&c, GIB, 1000000, GIB, 60000), MFD_CRITERION_TIMEOUT);
	c = make();
	c.limit_ms = 1;
	assert_int_equal(mfd_criterion_round(&c, 0, 0, 0, 0), MFD_CRITERION_REACHED);
	assert_string_equal(mfd_criterion_word(MFD_CRITERION_REACHED), "reached");
}

/* ---- suspects ---- */

static char *memory;
#define PAGES 300ULL

static struct mfd_run all_of_it(void)
{
	return (struct mfd_run){ (uintptr_t)memory, PAGES };
}

static void what_differs_from_what_was_sent_is_found(void **state)
{
	struct mfd_pagetable *sent = mfd_pagetable_new();
	struct mfd_suspects_count count = { 0 };
	struct mfd_run runs[8] = { all_of_it() };
	struct mfd_pageread r;
	int n;

	assert_int_equal(mfd_pageread_open(&r, getpid(), NULL), 0);
	assert_int_equal(mfd_sentpages_note(sent, (uintptr_t)memory, PAGES, 3, memory), 0);
	assert_int_equal(mfd_sentpages_round(mfd_pagetable_get(sent, (uintptr_t)memory / PAGE)), 3);
	assert_int_equal(mfd_suspects_differ(&r, sent, runs, 1, 8, &count), 0);
	assert_int_equal(count.compared, PAGES);
	memory[7 * PAGE + 4095] ^= 1;
	memory[8 * PAGE] ^= 1;
	memory[200 * PAGE] ^= 1;
	runs[0] = all_of_it();
	n = mfd_suspects_differ(&r, sent, runs, 1, 8, &count);
	assert_int_equal(n, 2);
	assert_int_equal(runs[0].vaddr, (uintptr_t)memory + 7 * PAGE);
	assert_int_equal(runs[0].pages, 2);
	assert_int_equal(runs[1].vaddr, (uintptr_t)memory + 200 * PAGE);
	assert_int_equal(count.different, 3);
	/* without room for each run: one that holds them */
	runs[0] = all_of_it();
	assert_int_equal(mfd_suspects_differ(&r, sent, runs, 1, 1, &count), 1);
	assert_int_equal(runs[0].vaddr, (uintptr_t)memory + 7 * PAGE);
	assert_int_equal(runs[0].pages, 194);
	mfd_pageread_close(&r);
	mfd_pagetable_free(sent);
}

static void a_process_that_reads_past_the_cache_is_a_suspect(void **state)
{
	char path[] = "/var/tmp/mfd-direct-XXXXXX";
	int fd = mkstemp(path), direct;

	assert_true(fd >= 0);
	assert_int_equal(mfd_suspects_is_one(getpid()), 0);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	unlink(path);
	close(fd);
	if (direct < 0)
		skip();
	assert_int_equal(mfd_suspects_is_one(getpid()), 1);
	close(direct);
	assert_int_equal(mfd_suspects_is_one(getpid()), 0);
}

static int group_setup(void **state)
{
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	pair_pattern(memory, PAGES * PAGE, 1);
	return memory == MAP_FAILED;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stops_when_the_rest_fits),
		cmocka_unit_test(a_floor_above_the_limit_still_ends),
		cmocka_unit_test(what_the_sender_lists_costs_criu_little),
		cmocka_unit_test(tasks_that_write_as_fast_as_pages_are_sent),
		cmocka_unit_test(rounds_and_time_are_limited),
		cmocka_unit_test(what_differs_from_what_was_sent_is_found),
		cmocka_unit_test(a_process_that_reads_past_the_cache_is_a_suspect),
	};

	pair_time_limit(30);
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
