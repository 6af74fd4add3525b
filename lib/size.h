/* SPDX-License-Identifier: GPL-2.0-only */
/* Amounts of memory as people write and read them: "300M" and "300.0 MiB". */
#ifndef MFD_SIZE_H
#define MFD_SIZE_H

#include <stddef.h>
#include <stdint.h>

#define MFD_SIZE_TEXT 32 /* room for mfd_size_text */

/* Digits and perhaps k, M, G or T (of 1024), in either case: 0, or -EINVAL (also beyond 2^63). */
int mfd_size_parse(const char *text, uint64_t *bytes);
/* "512 B", "300.0 MiB"; returns buf. */
const char *mfd_size_text(uint64_t bytes, char buf[MFD_SIZE_TEXT]);

#endif
