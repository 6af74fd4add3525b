/* SPDX-License-Identifier: GPL-2.0-only */
/* What a session's state means, in words for people. */
#ifndef MFD_WORDS_H
#define MFD_WORDS_H

#include <limits.h>
#include <stddef.h>

#include "images/session.pb-c.h"

/* "receiving", "ready, the source decides" ...: a constant. */
/* Precopy: pages come in rounds, while its tasks run on the source (or have just stopped). */
int mfd_words_in_rounds(const Mfd__SessionEntry *e);
const char *mfd_words_state(const Mfd__SessionEntry *e);
/* Bytes that are always enough for an advice: a command that is cut off does harm. */
#define MFD_WORDS_ADVICE (2 * PATH_MAX + 1024)
/*
 * Write into `buf` what to do about a session that is in doubt: lines, the last one without an end.
 * What came from the other host is cleaned.  Return `buf`, or NULL if there is nothing to do.
 */
const char *mfd_words_advice(const Mfd__SessionEntry *e, const char *dir, char *buf, size_t len);
/* The process that wrote the entry last still runs here, and is one of ours. */
int mfd_words_server_runs(const Mfd__SessionEntry *e);
/* Nothing more can happen to it. */
int mfd_words_final(const Mfd__SessionEntry *e);

/*
 * "3.4 GiB", "12 KiB"; "1.25 GB/s" per second in decimal units; "12s", "3m10s", "2h05m", "4d03h".
 */
const char *mfd_words_bytes(uint64_t bytes, char *buf, size_t len);
const char *mfd_words_rate(uint64_t bytes, uint64_t us, char *buf, size_t len);
const char *mfd_words_age(uint64_t us, char *buf, size_t len);

#endif
