// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSG_ZEROCOPY: the accounting of completions, and real sends over loopback TCP (where the kernel
 * copies in the end).
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "pair.h"
#include "zerocopy.h"

#define CHUNK (64U << 10)

/* ---- accounting ---- */

static void test_complete(void **state)
{
	struct mfd_zerocopy z = { .mode = MFD_ON, .next = 10 };

	(void)state;
	mfd_zerocopy_complete(&z, 3, 5, 0);
	assert_int_equal(z.done, 0);
	mfd_zerocopy_complete(&z, 8, 8, 0);
	mfd_zerocopy_complete(&z, 1, 2, 1);
	assert_int_equal(z.done, 0);
	mfd_zerocopy_complete(&z, 0, 0, 0);
	assert_int_equal(z.done, 6);
	mfd_zerocopy_complete(&z, 6, 7, 0);
	assert_int_equal(z.done, 9);
	mfd_zerocopy_complete(&z, 9, 9, 0);
	assert_int_equal(z.done, 10);
	assert_int_equal(z.completions, 10);
	assert_int_equal(z.copied, 2);
	assert_int_equal(z.mode, MFD_ON);
	assert_null(z.fell_back);
}

/*
 * Any order of completions of a full window, wherever the 32-bit counter stands: nothing is left
 * over for the next round.
 */
static void window_at(uint32_t start, unsigned stride)
{
	struct mfd_zerocopy z = { .mode = MFD_ON, .next = start, .done = start };

	for (unsigned round = 0; round < 3; round++) {
		uint32_t base = z.done;

		z.next = base + MFD_ZEROCOPY_WINDOW;
		for (unsigned i = 1; i <= MFD_ZEROCOPY_WINDOW; i++) {
			uint32_t n =
				base +
				i * stride %
					MFD_ZEROCOPY_WINDOW; /* an odd stride meets each number */

			assert_int_equal(z.done, base);
			mfd_zerocopy_complete(&z, n, n, 0);
		}
		assert_int_equal(z.done, z.next);
	}
	for (unsigned i = 0; i < sizeof(z.seen); i++)
		assert_int_equal(z.seen[i], 0);
}

static void test_wrap(void **state)
{
	struct mfd_zerocopy z = { .mode = MFD_ON, .next = 3, .done = UINT32_MAX - 2 };

	(void)state;
	mfd_zerocopy_complete(&z, UINT32_MAX, 1, 0);
	assert_int_equal(z.done, UINT32_MAX - 2);
	assert_int_equal(z.completions, 3);
	mfd_zerocopy_complete(&z, UINT32_MAX - 2, UINT32_MAX - 1, 0);
	assert_int_equal(z.done, 2);
	mfd_zerocopy_complete(&z, 2, 2, 0);
	assert_int_equal(z.done, 3);
	for (unsigned stride = 1; stride < 4000; stride += 1234) {
		window_at(0, stride);
		window_at(UINT32_MAX, stride);
		window_at(UINT32_MAX - 100, stride);
		window_at(0x80000000U - 100, stride);
		window_at(12345, stride);
	}
}

static void test_copied_turns_auto_off(void **state)
{
	struct mfd_zerocopy z = { .mode = MFD_AUTO, .next = 4 };

	(void)state;
	mfd_zerocopy_complete(&z, 0, 1, 0);
	assert_int_equal(z.mode, MFD_AUTO);
	mfd_zerocopy_complete(&z, 2, 3, 1);
	assert_int_equal(z.mode, MFD_OFF);
	assert_non_null(z.fell_back);
}

/* ---- over TCP ---- */

struct receiver {
	pthread_t thread;
	int fd;
	unsigned chunks, pause_us; /* before every chunk */
	unsigned wrong;
	int ret;
};

static void *receive(void *arg)
{
	struct receiver *r = arg;
	char *got = malloc(CHUNK), *want = malloc(CHUNK);

	for (unsigned i = 0; i < r->chunks && !r->ret; i++) {
		if (r->pause_us && i % 8 == 0)
			usleep(r->pause_us);
		r->ret = mfd_io_read_all(r->fd, got, CHUNK);
		pair_pattern(want, CHUNK, i);
		r->wrong += !!memcmp(got, want, CHUNK);
	}
	free(got);
	free(want);
	return NULL;
}

static void begin(struct receiver *r, int fd, unsigned chunks, unsigned pause_us)
{
	*r = (struct receiver){ .fd = fd, .chunks = chunks, .pause_us = pause_us };
	assert_int_equal(pthread_create(&r->thread, NULL, receive, r), 0);
}

static void check_received(struct receiver *r)
{
	pthread_join(r->thread, NULL);
	assert_int_equal(r->ret, 0);
	assert_int_equal(r->wrong, 0);
}

/*
 * Few buffers, written again as soon as their ticket allows it: a completion believed too early
 * shows at the receiver.
 */
static void send_chunks(struct mfd_zerocopy *z, unsigned chunks, unsigned buffers)
{
	char *memory = mmap(NULL, (size_t)buffers * CHUNK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t *ticket = calloc(buffers, sizeof(*ticket));

	assert_ptr_not_equal(memory, MAP_FAILED);
	for (unsigned i = 0; i < chunks; i++) {
		unsigned b = i % buffers;

		if (i >= buffers)
			assert_int_equal(mfd_zerocopy_wait(z, ticket[b], 10000), 0);
		pair_pattern(memory + (size_t)b * CHUNK, CHUNK, i);
		assert_int_equal(
			mfd_zerocopy_send(z, memory + (size_t)b * CHUNK, CHUNK, &ticket[b]), 0);
	}
	assert_int_equal(mfd_zerocopy_flush(z, 10000), 0);
	assert_int_equal(z->done, z->next);
	assert_int_equal(z->completions, z->sends);
	munmap(memory, (size_t)buffers * CHUNK);
	free(ticket);
}

static void transfer(enum mfd_tristate mode, unsigned buffers, unsigned pause_us,
		     struct mfd_zerocopy *z)
{
	struct receiver r;
	int fd[2];

	pair_tcp(fd, pause_us != 0);
	assert_int_equal(mfd_zerocopy_init(z, fd[0], mode), 0);
	begin(&r, fd[1], 400, pause_us);
	send_chunks(z, 400, buffers);
	check_received(&r);
	close(fd[0]);
	close(fd[1]);
}

static void test_on(void **state)
{
	struct mfd_zerocopy z;

	(void)state;
	transfer(MFD_ON, 3, 0, &z);
	assert_int_equal(z.mode, MFD_ON);
	assert_null(z.fell_back);
	assert_true(z.sends >= 400);
	transfer(MFD_ON, 1, 0, &z);
	transfer(MFD_ON, 4, 3000, &z); /* a slow receiver keeps sends in flight */
	assert_true(z.flush_waits > 0);
}

static void test_auto(void **state)
{
	struct mfd_zerocopy z;

	(void)state;
	transfer(MFD_AUTO, 3, 0, &z);
	assert_int_equal(z.mode, MFD_OFF); /* loopback copies */
	assert_non_null(z.fell_back);
	assert_true(z.copied > 0);
	assert_true(z.sends < 400);
	transfer(MFD_AUTO, 4, 3000, &z);
}

static void test_off(void **state)
{
	struct mfd_zerocopy z;

	(void)state;
	transfer(MFD_OFF, 2, 0, &z);
	assert_int_equal(z.sends, 0);
	assert_null(z.fell_back);
}

/* More sends than the window holds. */
static void test_many_small(void **state)
{
	static char data[CHUNK];
	struct mfd_zerocopy z;
	struct receiver r;
	uint32_t ticket;
	int fd[2];

	(void)state;
	pair_tcp(fd, 0);
	assert_int_equal(mfd_zerocopy_init(&z, fd[0], MFD_ON), 0);
	begin(&r, fd[1], 4, 100000);
	for (unsigned i = 0; i < 4; i++) {
		pair_pattern(data, CHUNK, i);
		for (unsigned at = 0; at < CHUNK; at += 8)
			assert_int_equal(mfd_zerocopy_send(&z, data + at, 8, &ticket), 0);
		assert_int_equal(mfd_zerocopy_wait(&z, ticket, 10000), 0);
	}
	assert_int_equal(z.sends, 4 * CHUNK / 8);
	assert_int_equal(z.completions, z.sends);
	check_received(&r);
	close(fd[0]);
	close(fd[1]);
}

/* ---- refusals and failures ---- */

static void test_refused(void **state)
{
	struct mfd_zerocopy z;
	struct receiver r;
	int fd[2];

	(void)state;
	for (int mode = MFD_OFF; mode <= MFD_AUTO; mode++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		if (mode == MFD_ON) {
			assert_int_equal(mfd_zerocopy_init(&z, fd[0], MFD_ON), -EOPNOTSUPP);
		} else {
			assert_int_equal(mfd_zerocopy_init(&z, fd[0], mode), 0);
			assert_int_equal(z.mode, MFD_OFF);
			assert_int_equal(!!z.fell_back, mode == MFD_AUTO);
			begin(&r, fd[1], 40, 0);
			send_chunks(&z, 40, 1);
			check_received(&r);
		}
		close(fd[0]);
		close(fd[1]);
	}
}

/*
 * In a child without CAP_IPC_LOCK and with nothing left to lock; the exit status names the line
 * that went wrong.
 */
#define want(cond)                                 \
	do {                                       \
		if (!(cond))                       \
			_exit(__LINE__ % 251 + 1); \
	} while (0)

static void cannot_lock(enum mfd_tristate mode, int fd[2])
{
	struct rlimit none = { 0, 0 };
	struct mfd_zerocopy z;
	char data[4 * 4096], got[sizeof(data)];
	uint32_t ticket;
	int ret;

	want(!setrlimit(RLIMIT_MEMLOCK, &none));
	want(!geteuid() ? !setuid(65534) : 1);
	want(!mfd_zerocopy_init(&z, fd[0], mode));
	pair_pattern(data, sizeof(data), 1);
	ret = mfd_zerocopy_send(&z, data, sizeof(data), &ticket);
	if (mode == MFD_ON) {
		want(ret == -ENOBUFS);
		want(z.mode == MFD_ON);
		_exit(0);
	}
	want(!ret);
	want(z.mode == MFD_OFF);
	want(z.fell_back && strstr(z.fell_back, "RLIMIT_MEMLOCK"));
	want(z.sends == 0);
	want(!mfd_zerocopy_wait(&z, ticket, 1000));
	want(!mfd_zerocopy_flush(&z, 1000));
	want(!mfd_io_read_all(fd[1], got, sizeof(got)));
	want(!memcmp(got, data, sizeof(data)));
	_exit(0);
}

static void test_cannot_lock(void **state)
{
	(void)state;
	for (int mode = MFD_ON; mode <= MFD_AUTO; mode++) {
		int fd[2];
		pid_t pid;

		pair_tcp(fd, 0);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			cannot_lock(mode, fd);
		assert_int_equal(pair_status(pid, 20000), 0);
		close(fd[0]);
		close(fd[1]);
	}
}

static void *reset_peer(void *arg)
{
	struct linger now = { .l_onoff = 1 };
	char buf[4096];
	int fd = *(int *)arg;

	(void)!read(fd, buf, sizeof(buf));
	usleep(50000);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	return NULL;
}

static void *shut_ours(void *arg)
{
	usleep(100000);
	shutdown(*(int *)arg, SHUT_RDWR);
	return NULL;
}

/* Send until something fails. */
static int send_on(struct mfd_zerocopy *z)
{
	static char data[CHUNK];
	uint32_t ticket;
	int ret = 0;

	for (unsigned i = 0; i < 1000 && !ret; i++) {
		ret = mfd_zerocopy_send(z, data, CHUNK, &ticket);
		if (!ret)
			ret = mfd_zerocopy_wait(z, ticket, 0);
	}
	return ret;
}

static void test_peer_gone(void **state)
{
	(void)state;
	for (int mode = MFD_OFF; mode <= MFD_AUTO; mode++)
		for (int ours = 0; ours < 2; ours++) {
			struct mfd_zerocopy z;
			pthread_t t;
			int fd[2], ret;

			pair_tcp(fd, 1);
			assert_int_equal(mfd_zerocopy_init(&z, fd[0], mode), 0);
			assert_int_equal(pthread_create(&t, NULL, ours ? shut_ours : reset_peer,
							&fd[!ours]),
					 0);
			ret = send_on(&z);
			assert_true(ret == -EPIPE || ret == -ECONNRESET);
			pthread_join(t, NULL);
			close(fd[0]);
			if (ours)
				close(fd[1]);
		}
}

/* All of it is in the socket's buffer and stays there. */
static void test_wait_timeout(void **state)
{
	static char data[CHUNK * 4];
	int fd[2], size = 4 << 20;
	struct mfd_zerocopy z;
	uint32_t ticket;
	uint64_t start;

	(void)state;
	pair_tcp(fd, 1);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	assert_int_equal(mfd_zerocopy_init(&z, fd[0], MFD_ON), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(mfd_zerocopy_send(&z, data, sizeof(data), &ticket), 0);
	start = mfd_io_now_ms();
	assert_int_equal(mfd_zerocopy_wait(&z, ticket, 100), -ETIMEDOUT);
	assert_in_range(mfd_io_now_ms() - start, 99, 2000);
	assert_int_equal(mfd_zerocopy_flush(&z, 100), -ETIMEDOUT);
	close(fd[1]); /* with unread bytes: a reset */
	assert_true(mfd_zerocopy_flush(&z, 0) <= 0);
	close(fd[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_copied_turns_auto_off),
		cmocka_unit_test(test_on),
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_many_small),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cannot_lock),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_wait_timeout),
	};

	pair_time_limit(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
