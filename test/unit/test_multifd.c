// SPDX-License-Identifier: GPL-2.0-only
/*
 * The multifd core: nothing lost, nothing twice, syncs are barriers, failures never leave the
 * producer waiting.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "multifd.h"
#include "pair.h"

#define MAX_CHANNELS 16
#define PAYLOADS     100000
#define RUNS	     4

struct bed {
	struct channel {
		struct bed *bed;
		unsigned id;
		uint64_t sent; /* plain on purpose: TSan sees whether sync orders it */
		uint64_t last_sync;
		uint64_t random;
		int fail_send_at, fail_sync_at, code; /* 0 = never */
	} chan[MAX_CHANNELS];
	struct mfd_multifd *m;
	unsigned channels, delays;
	atomic_uchar seen[PAYLOADS];
	atomic_uint processed, bad, failures;
	atomic_int failed_channel, failed_code;
	atomic_uint gate; /* channels wait in send while set */
};

static struct bed bed;

static void maybe_wait(struct channel *c)
{
	c->random = c->random * 6364136223846793005ULL + 1442695040888963407ULL;
	switch (c->random >> 54) {
	case 0:
		usleep((unsigned)(c->random >> 40 & 127));
		break;
	case 1 ... 30:
		sched_yield();
		break;
	}
}

static int send_one(void *arg, struct mfd_payload *p)
{
	struct channel *c = arg;
	struct bed *b = c->bed;

	while (atomic_load(&b->gate))
		usleep(100);
	if (p->type != MFD_PAYLOAD_PAGES || p->sequence >= PAYLOADS ||
	    p->pages.npages != (uint32_t)p->sequence)
		atomic_fetch_add(&b->bad, 1);
	else if (p->pages.runs[p->sequence % RUNS].vaddr != p->sequence << 12 ||
		 atomic_fetch_add(&b->seen[p->sequence], 1))
		atomic_fetch_add(&b->bad, 1);
	if (b->delays)
		maybe_wait(c);
	c->sent++;
	atomic_fetch_add(&b->processed, 1);
	return c->fail_send_at && c->sent >= (uint64_t)c->fail_send_at ? c->code : 0;
}

static int sync_one(void *arg, uint64_t number)
{
	struct channel *c = arg;

	if (number != c->last_sync + 1)
		atomic_fetch_add(&c->bed->bad, 1);
	c->last_sync = number;
	if (c->bed->delays)
		maybe_wait(c);
	return c->fail_sync_at && number >= (uint64_t)c->fail_sync_at ? c->code : 0;
}

static void one_failed(void *arg, unsigned channel, int code)
{
	struct bed *b = arg;

	atomic_fetch_add(&b->failures, 1);
	atomic_store(&b->failed_channel, (int)channel);
	atomic_store(&b->failed_code, code);
}

static void prepare(unsigned channels)
{
	memset(&bed, 0, sizeof(bed));
	bed.channels = channels;
	bed.delays = 1;
	for (unsigned i = 0; i < channels; i++)
		bed.chan[i] = (struct channel){
			.bed = &bed, .id = i, .random = i * 77 + 1, .code = -1000 - (int)i
		};
}

static void begin(void)
{
	struct mfd_multifd_ops ops = {
		.send = send_one, .sync = sync_one, .failed = one_failed, .arg = &bed
	};
	void *priv[MAX_CHANNELS];

	for (unsigned i = 0; i < bed.channels; i++)
		priv[i] = &bed.chan[i];
	assert_int_equal(mfd_multifd_start(&bed.m, bed.channels, priv, &ops, RUNS), 0);
	assert_int_equal(mfd_multifd_payload(bed.m)->type, MFD_PAYLOAD_NONE);
}

static int put(uint64_t sequence)
{
	struct mfd_payload *p = mfd_multifd_payload(bed.m);

	p->type = MFD_PAYLOAD_PAGES;
	p->sequence = sequence;
	p->pages.npages = (uint32_t)sequence;
	p->pages.runs = p->runs_memory;
	p->pages.runs[sequence % RUNS].vaddr = sequence << 12;
	return mfd_multifd_send(bed.m);
}

static uint64_t sent_by_all(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < bed.channels; i++)
		sum += bed.chan[i].sent;
	return sum;
}

static void transfer(unsigned channels, unsigned payloads)
{
	uint64_t number = 0, syncs = 0;
	unsigned used = 0;

	prepare(channels);
	begin();
	for (unsigned i = 0; i < payloads; i++) {
		assert_int_equal(put(i), 0);
		assert_int_equal(mfd_multifd_payload(bed.m)->type, MFD_PAYLOAD_NONE);
		if (i % 9973 == 9972) {
			assert_int_equal(mfd_multifd_sync(bed.m, &number), 0);
			assert_int_equal(number, ++syncs);
			assert_int_equal(sent_by_all(), i + 1);
			for (unsigned c = 0; c < channels; c++)
				assert_int_equal(bed.chan[c].last_sync, number);
		}
	}
	assert_int_equal(mfd_multifd_sync(bed.m, &number), 0);
	assert_int_equal(number, syncs + 1);
	assert_int_equal(sent_by_all(), payloads);
	for (unsigned c = 0; c < channels; c++)
		used += bed.chan[c].sent > 0;
	mfd_multifd_stop(bed.m);
	assert_int_equal(atomic_load(&bed.bad), 0);
	for (unsigned i = 0; i < payloads; i++)
		assert_int_equal(atomic_load(&bed.seen[i]), 1);
	assert_int_equal(used, channels);
	assert_int_equal(atomic_load(&bed.failures), 0);
}

static void test_exactly_once(void **state)
{
	(void)state;
	transfer(4, PAYLOADS);
	for (unsigned n = 1; n <= MAX_CHANNELS; n++)
		transfer(n, PAYLOADS / 10);
}

static void test_drain(void **state)
{
	(void)state;
	prepare(5);
	begin();
	assert_int_equal(mfd_multifd_drain(bed.m), 0);
	for (unsigned i = 0; i < 3000; i++) {
		assert_int_equal(put(i), 0);
		if (i % 7 == 0) {
			assert_int_equal(mfd_multifd_drain(bed.m), 0);
			assert_int_equal(sent_by_all(), i + 1);
		}
	}
	for (unsigned i = 0; i < bed.channels; i++)
		assert_int_equal(bed.chan[i].last_sync, 0);
	mfd_multifd_stop(bed.m);
	assert_int_equal(sent_by_all(), 3000);
}

static void test_syncs_alone(void **state)
{
	uint64_t number;

	(void)state;
	prepare(16);
	begin();
	for (unsigned i = 1; i <= 500; i++) {
		assert_int_equal(mfd_multifd_sync(bed.m, &number), 0);
		assert_int_equal(number, i);
	}
	mfd_multifd_stop(bed.m);
	assert_int_equal(atomic_load(&bed.bad), 0);
}

/* Send until it fails; the producer must get there whatever the channel does. */
static int put_until_error(unsigned *put_n)
{
	int ret = 0;

	for (*put_n = 0; !ret && *put_n < PAYLOADS; ++*put_n)
		ret = put(*put_n);
	return ret;
}

static void check_failed(int code)
{
	uint64_t number;
	unsigned before;

	assert_int_equal(mfd_multifd_error(bed.m), code);
	assert_int_equal(mfd_multifd_drain(bed.m), code);
	before = atomic_load(&bed.processed);
	assert_int_equal(put(0), code);
	assert_int_equal(mfd_multifd_sync(bed.m, &number), code);
	assert_int_equal(put(0), code);
	assert_int_equal(atomic_load(&bed.processed), before); /* nothing is sent after a failure */
	assert_int_equal(atomic_load(&bed.failures), 1);
	assert_int_equal(atomic_load(&bed.failed_code), code);
	assert_int_equal(mfd_multifd_failed_channel(bed.m), atomic_load(&bed.failed_channel));
}

static void test_one_fails(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 8; n++)
		for (unsigned which = 0; which < n; which++) {
			unsigned sent;

			prepare(n);
			bed.chan[which].fail_send_at = 10 + (int)which;
			begin();
			assert_int_equal(put_until_error(&sent), -1000 - (int)which);
			check_failed(-1000 - (int)which);
			assert_int_equal(mfd_multifd_failed_channel(bed.m), which);
			mfd_multifd_stop(bed.m);
			assert_int_equal(atomic_load(&bed.bad), 0);
		}
}

static void test_all_fail(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		unsigned sent;
		int ret;

		prepare(8);
		for (unsigned i = 0; i < 8; i++)
			bed.chan[i].fail_send_at = 5;
		begin();
		ret = put_until_error(&sent);
		assert_true(ret <= -1000 && ret > -1008);
		check_failed(ret);
		mfd_multifd_stop(bed.m);
	}
}

/*
 * Every channel is held up in send when the first one fails: those behind it are taken and dropped.
 */
static void test_fail_while_full(void **state)
{
	uint64_t number;

	(void)state;
	prepare(4);
	for (unsigned i = 0; i < 4; i++)
		bed.chan[i].fail_send_at = 1;
	atomic_store(&bed.gate, 1);
	begin();
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(put(i), 0);
	atomic_store(&bed.gate, 0);
	while (put(5) == 0)
		;
	assert_true(mfd_multifd_sync(bed.m, &number) < 0);
	assert_int_equal(atomic_load(&bed.failures), 1);
	mfd_multifd_stop(bed.m);
}

static void test_fail_in_sync(void **state)
{
	uint64_t number;

	(void)state;
	prepare(6);
	bed.chan[4].fail_sync_at = 2;
	begin();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(put(i), 0);
	assert_int_equal(mfd_multifd_sync(bed.m, &number), 0);
	for (unsigned i = 100; i < 200; i++)
		assert_int_equal(put(i), 0);
	assert_int_equal(mfd_multifd_sync(bed.m, &number), -1004);
	check_failed(-1004);
	mfd_multifd_stop(bed.m);
	assert_int_equal(sent_by_all(), 200);
}

static pthread_t opener;

static void *open_gate(void *arg)
{
	usleep(50000);
	atomic_store(&bed.gate, 0);
	return arg;
}

/* The producer's stalls are those sends for which no channel was idle. */
static void test_stalls(void **state)
{
	struct mfd_multifd_stats st;

	(void)state;
	prepare(2);
	bed.delays = 0;
	atomic_store(&bed.gate, 1);
	begin();
	assert_int_equal(put(0), 0);
	assert_int_equal(put(1), 0);
	mfd_multifd_get_stats(bed.m, &st);
	assert_int_equal(st.sends, 2);
	assert_int_equal(st.stalls, 0);
	assert_int_equal(st.stall_us, 0);
	assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
	assert_int_equal(put(2), 0);
	pthread_join(opener, NULL);
	mfd_multifd_get_stats(bed.m, &st);
	assert_int_equal(st.sends, 3);
	assert_int_equal(st.stalls, 1);
	assert_in_range(st.stall_us, 40000, 60000000);
	assert_int_equal(mfd_multifd_drain(bed.m), 0);
	assert_int_equal(put(3), 0);
	mfd_multifd_get_stats(bed.m, &st);
	assert_int_equal(st.stalls, 1);
	mfd_multifd_stop(bed.m);
}

static void test_stop_at_once(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= MAX_CHANNELS; n++) {
		prepare(n);
		begin();
		mfd_multifd_stop(bed.m);
	}
	mfd_multifd_stop(NULL);
}

/* What has been handed over is processed before the threads end. */
static void test_stop_in_flight(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		prepare(7);
		begin();
		for (unsigned i = 0; i < 50 + round; i++)
			assert_int_equal(put(i), 0);
		mfd_multifd_stop(bed.m);
		assert_int_equal(sent_by_all(), 50 + round);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exactly_once),   cmocka_unit_test(test_drain),
		cmocka_unit_test(test_syncs_alone),    cmocka_unit_test(test_one_fails),
		cmocka_unit_test(test_all_fail),       cmocka_unit_test(test_fail_while_full),
		cmocka_unit_test(test_fail_in_sync),   cmocka_unit_test(test_stop_at_once),
		cmocka_unit_test(test_stop_in_flight), cmocka_unit_test(test_stalls),
	};

	pair_time_limit(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
