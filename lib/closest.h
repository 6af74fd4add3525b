/* SPDX-License-Identifier: GPL-2.0-only */
/* Which name a person meant: for "did you mean" after an unknown verb, flag or option. */
#ifndef MFD_CLOSEST_H
#define MFD_CLOSEST_H

#include <stddef.h>

/*
 * Return of n names the one that `word` is most likely a misspelling of, or NULL.  `stride` is the
 * distance of two names in bytes, as they are often the first member of a table's entries; a name
 * may be NULL.
 */
const char *mfd_closest(const char *word, const void *names, size_t n, size_t stride);

#endif
