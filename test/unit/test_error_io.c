/* SPDX-License-Identifier: GPL-2.0-only */
/* Errors, log lines, partial I/O, descriptors over sockets, files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "error.h"
#include "io.h"
#include "log.h"

static void test_error_first_wins(void **state)
{
	struct mfd_error err = { .code = 0 };

	(void)state;
	assert_int_equal(mfd_error_set(&err, -EINVAL, "first %d", 1), -EINVAL);
	assert_int_equal(mfd_error_set(&err, -EIO, "second"), -EIO);
	assert_int_equal(mfd_error_sys(&err, -EPIPE, "third"), -EPIPE);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(mfd_error_text(&err), "first 1");
	mfd_error_clear(&err);
	assert_int_equal(err.code, 0);
	assert_int_equal(mfd_error_sys(&err, -ENOENT, "cannot open %s", "x"), -ENOENT);
	assert_string_equal(mfd_error_text(&err), "cannot open x: No such file or directory");
	assert_int_equal(mfd_error_set(NULL, -EIO, "unread"), -EIO);
	assert_int_equal(mfd_error_sys(NULL, -EIO, "unread"), -EIO);
}

static void test_error_long_and_empty(void **state)
{
	struct mfd_error err = { .code = 0 };
	char text[2048];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	mfd_error_sys(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err = (struct mfd_error){ .code = -EIO };
	assert_string_equal(mfd_error_text(&err), "Input/output error");
}

/* The log into a pipe, what came out. */
static void log_capture(int *rd, int *wr)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	*rd = p[0];
	*wr = p[1];
	mfd_log_fd_set(p[1]);
}

static const char *log_got(int rd, char *buf, size_t size)
{
	ssize_t n = read(rd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void test_log(void **state)
{
	char buf[8192], text[4096];
	struct stat st;
	int rd, wr;

	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_capture(&rd, &wr);
	mfd_log_info("plain");
	assert_string_equal(log_got(rd, buf, sizeof(buf)), "criu-multifd: info: plain\n");
	mfd_log_tag_set("serve");
	errno = EXDEV;
	mfd_log_error("bad name '%s'", "a\nb\033[1m\x7f");
	assert_int_equal(errno, EXDEV);
	assert_string_equal(log_got(rd, buf, sizeof(buf)),
			    "criu-multifd[serve]: error: bad name 'a?b?[1m?'\n");
	mfd_log_debug("hidden");
	assert_string_equal(log_got(rd, buf, sizeof(buf)), "");
	mfd_log_level_set(MFD_LOG_DEBUG);
	mfd_log_debug("shown");
	assert_string_equal(log_got(rd, buf, sizeof(buf)), "criu-multifd[serve]: debug: shown\n");
	mfd_log_level_set(MFD_LOG_ERROR);
	mfd_log_warn("hidden");
	assert_string_equal(log_got(rd, buf, sizeof(buf)), "");
	mfd_log_level_set(MFD_LOG_INFO);

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	mfd_log_warn("%s", text);
	log_got(rd, buf, sizeof(buf));
	assert_true(strlen(buf) <= 2048 && strlen(buf) > 2000 && buf[strlen(buf) - 1] == '\n');

	assert_int_equal(fstat(wr, &st), 0);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
	mfd_log_warn("to the journal");
	assert_string_equal(log_got(rd, buf, sizeof(buf)), "<4>to the journal\n");
	setenv("JOURNAL_STREAM", "1:1", 1);
	mfd_log_warn("not to the journal");
	assert_string_equal(log_got(rd, buf, sizeof(buf)),
			    "criu-multifd[serve]: warning: not to the journal\n");
	unsetenv("JOURNAL_STREAM");
	mfd_log_tag_set("0123456789012345678901234567890123456789");
	mfd_log_info("x");
	assert_string_equal(log_got(rd, buf, sizeof(buf)),
			    "criu-multifd[0123456789012345678901234567890]: info: x\n");
	mfd_log_tag_set(NULL);
	mfd_log_fd_set(STDERR_FILENO);
	close(rd);
	close(wr);
}

#define BIG (3U << 20)

struct slow {
	int fd;
	int stop_at; /* bytes to write before closing */
};

/* Writes in odd pieces, so that the reader gets partial reads. */
static void *slow_writer(void *arg)
{
	struct slow *s = arg;
	unsigned char buf[7919];
	int done, i, n;

	for (done = 0; done < s->stop_at; done += n) {
		n = s->stop_at - done < (int)sizeof(buf) ? s->stop_at - done : (int)sizeof(buf);
		for (i = 0; i < n; i++)
			buf[i] = (unsigned char)((done + i) * 31 >> 3);
		if (write(s->fd, buf, (size_t)n) != n)
			break;
	}
	close(s->fd);
	return NULL;
}

static int read_from_slow(int stop_at, unsigned char *buf, size_t want)
{
	struct slow s = { .stop_at = stop_at };
	pthread_t t;
	int p[2], ret;

	assert_int_equal(pipe(p), 0);
	s.fd = p[1];
	assert_int_equal(pthread_create(&t, NULL, slow_writer, &s), 0);
	ret = mfd_io_read_all(p[0], buf, want);
	pthread_join(t, NULL);
	close(p[0]);
	return ret;
}

static void test_read_all(void **state)
{
	unsigned char *buf = malloc(BIG);
	unsigned i;

	(void)state;
	assert_int_equal(read_from_slow(BIG, buf, BIG), 0);
	for (i = 0; i < BIG; i++)
		assert_int_equal(buf[i], (unsigned char)((int)i * 31 >> 3));
	assert_int_equal(read_from_slow(0, buf, 10), -ECONNRESET);
	assert_int_equal(read_from_slow(9, buf, 10), -EPIPE);
	assert_int_equal(mfd_io_read_all(-1, buf, 1), -EBADF);
	assert_int_equal(mfd_io_read_all(-1, buf, 0), 0);
	free(buf);
}

static void *drain(void *arg)
{
	unsigned char *all = malloc(BIG);
	int fd = *(int *)arg;

	if (mfd_io_read_all(fd, all, BIG)) {
		free(all);
		return NULL;
	}
	return all;
}

static void writev_to(int wr, int rd)
{
	unsigned char *data = malloc(BIG), *got;
	struct iovec iov[3000];
	unsigned i, n = sizeof(iov) / sizeof(iov[0]), off = 0;
	pthread_t t;
	void *res;

	for (i = 0; i < BIG; i++)
		data[i] = (unsigned char)(i * 131 >> 5);
	for (i = 0; i < n; i++) { /* more than IOV_MAX pieces, some empty */
		size_t len = i == n - 1 ? BIG - off : i % 7 ? i % 1500 : 0;

		iov[i] = (struct iovec){ data + off, len };
		off += (unsigned)len;
	}
	assert_int_equal(pthread_create(&t, NULL, drain, &rd), 0);
	assert_int_equal(mfd_io_writev_all(wr, iov, (int)n), 0);
	pthread_join(t, &res);
	got = res;
	assert_non_null(got);
	assert_memory_equal(got, data, BIG);
	free(got);
	free(data);
}

static void test_writev_all(void **state)
{
	int p[2], s[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	writev_to(p[1], p[0]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	writev_to(s[1], s[0]);
	close(s[0]);
	/* No SIGPIPE here: the test would die. */
	assert_int_equal(mfd_io_write_all(s[1], "x", 1), -EPIPE);
	assert_int_equal(mfd_io_write_all(s[1], "", 0), 0);
	close(s[1]);
	close(p[0]);
	close(p[1]);
}

static void test_pread_pwrite(void **state)
{
	char buf[16];
	int fd = memfd_create("t", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(mfd_io_pwrite_all(fd, "hello", 5, 100), 0);
	assert_int_equal(mfd_io_pread_all(fd, buf, 5, 100), 0);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(mfd_io_pread_all(fd, buf, 6, 100), -ENODATA);
	assert_int_equal(mfd_io_pread_all(fd, buf, 1, UINT64_MAX), -EOVERFLOW);
	assert_int_equal(mfd_io_pwrite_all(fd, buf, 1, INT64_MAX), -EOVERFLOW);
	mfd_io_close(&fd);
	assert_int_equal(fd, -1);
	mfd_io_close(&fd);
}

static int count_fds(void)
{
	int n = 0, fd;

	for (fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_fds_round_trip(void **state)
{
	int s[2], out[2], in[4], n = 4, before;
	char buf[8] = "";

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(pipe(out), 0);
	before = count_fds();
	assert_int_equal(mfd_io_send_fds(s[0], "abc", 3, out, 2), 3);
	assert_int_equal(mfd_io_recv_fds(s[1], buf, sizeof(buf), in, &n), 3);
	assert_int_equal(n, 2);
	assert_memory_equal(buf, "abc", 3);
	assert_true(fcntl(in[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(in[1], "q", 1), 1);
	assert_int_equal(read(out[0], buf, 1), 1);
	close(in[0]);
	close(in[1]);

	/* No descriptors, no room asked for. */
	assert_int_equal(mfd_io_send_fds(s[0], "x", 1, NULL, 0), 1);
	assert_int_equal(mfd_io_recv_fds(s[1], buf, sizeof(buf), NULL, NULL), 1);
	assert_int_equal(count_fds(), before);
	close(s[0]);
	n = 4;
	assert_int_equal(mfd_io_recv_fds(s[1], buf, sizeof(buf), in, &n), 0);
	assert_int_equal(n, 0);
	close(s[1]);
	close(out[0]);
	close(out[1]);
}

static void test_fds_refused(void **state)
{
	int s[2], many[MFD_IO_MAX_FDS], in[MFD_IO_MAX_FDS], n, i, before;
	char buf[4];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	for (i = 0; i < MFD_IO_MAX_FDS; i++)
		many[i] = s[0];
	before = count_fds();

	/* Too many descriptors for the room: none leaks. */
	n = 3;
	assert_int_equal(mfd_io_send_fds(s[0], "abc", 3, many, MFD_IO_MAX_FDS), 3);
	assert_int_equal(mfd_io_recv_fds(s[1], buf, sizeof(buf), in, &n), -EMSGSIZE);
	assert_int_equal(n, 0);
	assert_int_equal(count_fds(), before);
	/* A message longer than the buffer. */
	n = MFD_IO_MAX_FDS;
	assert_int_equal(mfd_io_send_fds(s[0], "abcde", 5, many, 2), 5);
	assert_int_equal(mfd_io_recv_fds(s[1], buf, sizeof(buf), in, &n), -EMSGSIZE);
	assert_int_equal(count_fds(), before);
	/* As many as there may be. */
	n = MFD_IO_MAX_FDS;
	assert_int_equal(mfd_io_send_fds(s[0], "abc", 3, many, MFD_IO_MAX_FDS), 3);
	assert_int_equal(mfd_io_recv_fds(s[1], buf, sizeof(buf), in, &n), 3);
	assert_int_equal(n, MFD_IO_MAX_FDS);
	while (n)
		close(in[--n]);

	assert_int_equal(mfd_io_send_fds(s[0], "abc", 3, many, MFD_IO_MAX_FDS + 1), -EINVAL);
	assert_int_equal(mfd_io_send_fds(s[0], "abc", 3, many, -1), -EINVAL);
	assert_int_equal(mfd_io_send_fds(s[0], "", 0, many, 1), -EINVAL);
	close(s[0]);
	close(s[1]);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/mfd-io-XXXXXX", *text, name[300];
	int dirfd;
	size_t len;
	struct stat st;
	mode_t old = umask(077);

	(void)state;
	assert_non_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mfd_io_replace_file(dirfd, "a", "one", 3, 0644), 0);
	assert_int_equal(fstatat(dirfd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(mfd_io_replace_file(dirfd, "a", "two!", 4, 0600), 0);
	assert_int_equal(mfd_io_read_file(dirfd, "a", 4, &text, &len), 0);
	assert_int_equal(len, 4);
	assert_string_equal(text, "two!");
	free(text);
	assert_int_equal(mfd_io_read_file(dirfd, "a", 3, &text, &len), -EFBIG);
	assert_int_equal(mfd_io_read_file(dirfd, "b", 3, &text, &len), -ENOENT);

	assert_int_equal(mkdirat(dirfd, "sub", 0700), 0);
	assert_int_equal(mfd_io_replace_file(dirfd, "sub/c", "", 0, 0600), 0);
	assert_int_equal(mfd_io_read_file(dirfd, "sub/c", 0, &text, NULL), 0);
	assert_string_equal(text, "");
	free(text);
	snprintf(name, sizeof(name), "%s/sub/d", dir);
	assert_int_equal(mfd_io_replace_file(AT_FDCWD, name, "x", 1, 0600), 0);
	/* The longest name there is. */
	memset(name, 'n', 255);
	name[255] = '\0';
	assert_int_equal(mfd_io_replace_file(dirfd, name, "x", 1, 0600), 0);
	unlinkat(dirfd, name, 0);

	assert_int_equal(mfd_io_replace_file(dirfd, "nowhere/x", "x", 1, 0600), -ENOENT);
	assert_int_equal(mfd_io_replace_file(dirfd, "sub/", "x", 1, 0600), -EISDIR);
	/* and nothing is left behind */
	assert_int_equal(mfd_io_replace_file(dirfd, "sub", "x", 1, 0600), -EISDIR);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, "/proc/self/maps", 1 << 20, &text, &len), 0);
	assert_true(len > 100);
	free(text);

	assert_int_equal(unlinkat(dirfd, "sub/c", 0), 0);
	assert_int_equal(unlinkat(dirfd, "sub/d", 0), 0);
	assert_int_equal(unlinkat(dirfd, "sub", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(dirfd, "a", 0), 0);
	close(dirfd);
	assert_int_equal(rmdir(dir), 0);
	umask(old);
}

static void test_clock(void **state)
{
	uint64_t a = mfd_io_now_us(), b = mfd_io_now_ms();

	(void)state;
	assert_true(b >= a / 1000 && b <= a / 1000 + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_first_wins),
		cmocka_unit_test(test_error_long_and_empty),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_read_all),
		cmocka_unit_test(test_writev_all),
		cmocka_unit_test(test_pread_pwrite),
		cmocka_unit_test(test_fds_round_trip),
		cmocka_unit_test(test_fds_refused),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
