// SPDX-License-Identifier: GPL-2.0-only
/* Parsing and printing of rates: units of 1000, bytes or bits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rate.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

int mfd_rate_parse(const char *value, uint64_t *bytes_per_s)
{
	static const struct {
		const char *suffix;
		double unit;
	} units[] = { { "", 1 },	{ "k", 1e3 },	 { "M", 1e6 },	    { "G", 1e9 },
		      { "bit", 0.125 }, { "kbit", 125 }, { "Mbit", 125e3 }, { "Gbit", 125e6 } };
	char *end;
	double n = strtod(value, &end);

	if (!strcmp(value, "unlimited")) {
		*bytes_per_s = 0;
		return 0;
	}
	if (end == value || !(n >= 0) || n > 1e15)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (!strcmp(end, units[i].suffix)) {
			n *= units[i].unit;
			/* Below 1 is little, but 0 would mean no limit. */
			*bytes_per_s = n > 0 && n < 1 ? 1 : (uint64_t)n;
			return 0;
		}
	}
	return -EINVAL;
}

const char *mfd_rate_text(uint64_t bytes_per_s, char *buf, size_t len)
{
	static const struct {
		const char *name;
		double unit;
	} units[] = { { "Gbit/s", 1e9 }, { "Mbit/s", 1e6 }, { "kbit/s", 1e3 }, { "bit/s", 1 } };
	double bits = 8 * (double)bytes_per_s;
	unsigned u = 0;

	while (bits < units[u].unit && u < ARRAY_LEN(units) - 1)
		u++;
	if (bytes_per_s)
		snprintf(buf, len, "%.4g %s", bits / units[u].unit, units[u].name);
	else
		snprintf(buf, len, "unlimited");
	return buf;
}
