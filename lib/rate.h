/* SPDX-License-Identifier: GPL-2.0-only */
/* Rates as people write and read them. */
#ifndef MFD_RATE_H
#define MFD_RATE_H

#include <stddef.h>
#include <stdint.h>

/* "500M", "4Gbit", "0", "unlimited" as bytes per second, 0 = no limit; -EINVAL. */
int mfd_rate_parse(const char *value, uint64_t *bytes_per_s);
#define MFD_RATE_EXPECTED "expected bytes per second, as 500M or 4Gbit; 0 or unlimited = no limit"
/* "200 Mbit/s", "unlimited": fill buf (32 bytes are enough) and return it. */
const char *mfd_rate_text(uint64_t bytes_per_s, char *buf, size_t len);

#endif
