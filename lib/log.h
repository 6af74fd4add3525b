/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Log lines on standard error: "criu-multifd[tag]: level: text", or with <N> priorities when the
 * journal reads them (JOURNAL_STREAM).  Thread-safe: one write() per line.
 */
#ifndef MFD_LOG_H
#define MFD_LOG_H

enum mfd_log_level { MFD_LOG_ERROR, MFD_LOG_WARN, MFD_LOG_INFO, MFD_LOG_DEBUG };

void mfd_log_level_set(enum mfd_log_level level);
void mfd_log_tag_set(const char *tag); /* copied; e.g. "serve", "send"; at most 31 bytes are kept */
/*
 * Another place than standard error, e.g. a log file beside CRIU's; the descriptor stays the
 * caller's.
 */
void mfd_log_fd_set(int fd);
void mfd_log_line(enum mfd_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define mfd_log_error(...) mfd_log_line(MFD_LOG_ERROR, __VA_ARGS__)
#define mfd_log_warn(...)  mfd_log_line(MFD_LOG_WARN, __VA_ARGS__)
#define mfd_log_info(...)  mfd_log_line(MFD_LOG_INFO, __VA_ARGS__)
#define mfd_log_debug(...) mfd_log_line(MFD_LOG_DEBUG, __VA_ARGS__)

#endif
