/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Log lines: one write() each, so that lines of several threads and processes never mix.
 *
 * Texts may hold names that came from the other host, therefore control characters, also those of
 * 8 bits, never reach the terminal or the journal: each becomes '?'.  A line is cut at
 * LINE_MAX_BYTES.
 *
 * A reader that went away must not kill a process with frozen tasks in its care: programs that log
 * ignore SIGPIPE.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

#define LINE_MAX_BYTES 2048

static const struct {
	const char *name;
	int priority; /* as syslog(3) */
} levels[] = {
	[MFD_LOG_ERROR] = { "error", 3 },
	[MFD_LOG_WARN] = { "warning", 4 },
	[MFD_LOG_INFO] = { "info", 6 },
	[MFD_LOG_DEBUG] = { "debug", 7 },
};

/* Relaxed: each is a value of its own, nothing else is published through it. */
static atomic_int log_level = MFD_LOG_INFO;
static atomic_int log_fd = STDERR_FILENO;
static char log_tag[32]; /* set before a second thread runs */

void mfd_log_level_set(enum mfd_log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void mfd_log_tag_set(const char *tag)
{
	snprintf(log_tag, sizeof(log_tag), "%s", tag ? tag : "");
}

void mfd_log_fd_set(int fd)
{
	atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
}

/*
 * systemd.exec(5): JOURNAL_STREAM holds device and inode of the stream, which may have been
 * redirected since.
 */
static int is_journal(int fd)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

static size_t clamp_len(int n, size_t size)
{
	if (n < 0)
		return 0;
	return (size_t)n < size ? (size_t)n : size - 1;
}

static size_t line_prefix(char *buf, size_t size, enum mfd_log_level level, int fd)
{
	int n;

	if (is_journal(fd))
		n = snprintf(buf, size, "<%d>", levels[level].priority);
	else if (log_tag[0])
		n = snprintf(buf, size, "criu-multifd[%s]: %s: ", log_tag, levels[level].name);
	else
		n = snprintf(buf, size, "criu-multifd: %s: ", levels[level].name);
	return clamp_len(n, size);
}

static void line_write(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is no log */
		buf += n;
		len -= (size_t)n;
	}
}

void mfd_log_line(enum mfd_log_level level, const char *fmt, ...)
{
	int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
	int saved = errno;
	char buf[LINE_MAX_BYTES + 1];
	size_t len, i;
	va_list ap;

	if ((int)level < 0 || (int)level > atomic_load_explicit(&log_level, memory_order_relaxed) ||
	    level > MFD_LOG_DEBUG)
		return;

	len = line_prefix(buf, LINE_MAX_BYTES, level, fd);
	i = len;
	va_start(ap, fmt);
	len += clamp_len(vsnprintf(buf + len, LINE_MAX_BYTES - len, fmt, ap), LINE_MAX_BYTES - len);
	va_end(ap);
	mfd_image_text_clean(buf + i);
	buf[len++] = '\n';
	line_write(fd, buf, len);
	errno = saved;
}
