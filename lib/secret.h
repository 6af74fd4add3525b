/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Comparing what a peer must not learn by trying: the time tells nothing about where two values
 * differ.
 */
#ifndef MFD_SECRET_H
#define MFD_SECRET_H

#include <stddef.h>

/* Nonzero if both have the same length and bytes.  The lengths are no secret. */
int mfd_secret_equal(const void *a, size_t a_len, const void *b, size_t b_len);

#endif
