// SPDX-License-Identifier: GPL-2.0-only
/* What --deadline takes: a span, a time of day, a date, seconds since 1970. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drain.h"

#define YEAR_S (366LL * 86400)

/* Digits to the end, or up to one of `units`; -1: something else. */
static int64_t number(const char *text, const char **end)
{
	int64_t v = 0;

	for (*end = text; isdigit((unsigned char)**end) && v <= INT64_MAX / 100; (*end)++)
		v = v * 10 + (**end - '0');
	return *end == text ? -1 : v;
}

static int span(const char *text, int64_t *seconds)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	const char *end;
	int64_t v = number(*text == '+' ? text + 1 : text, &end);

	for (size_t i = 0; v >= 0 && v <= YEAR_S && i < sizeof(units) / sizeof(*units); i++)
		if (*end == units[i].unit && !end[1]) {
			*seconds = v * units[i].seconds;
			return *seconds <= YEAR_S;
		}
	return 0;
}

/* One of the forms that strptime() knows, to the end of the text. */
static int point(const char *text, const char *form, struct tm *tm)
{
	const char *end = strptime(text, form, tm);

	return end && !*end;
}

static int clock_time(const char *text, int64_t now, int64_t *when)
{
	static const char *const days[] = { "%H:%M", "%H:%M:%S" };
	static const char *const dates[] = { "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
					     "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S" };
	time_t base = (time_t)now;
	struct tm today, tm;

	localtime_r(&base, &today);
	today.tm_sec = 0;
	for (size_t i = 0; i < sizeof(days) / sizeof(*days); i++) {
		tm = today;
		if (!point(text, days[i], &tm))
			continue;
		tm.tm_isdst = -1;
		*when = mktime(&tm);
		if (*when <= now) {
			tm.tm_mday++;
			tm.tm_isdst = -1;
			*when = mktime(&tm);
		}
		return 1;
	}
	for (size_t i = 0; i < sizeof(dates) / sizeof(*dates); i++) {
		memset(&tm, 0, sizeof(tm));
		if (!point(text, dates[i], &tm))
			continue;
		tm.tm_isdst = -1;
		*when = mktime(&tm);
		return 1;
	}
	return 0;
}

int mfd_drain_time(const char *text, int64_t now, int64_t *when, struct mfd_error *err)
{
	const char *end;
	int64_t v = 0;

	if (*text == '@') {
		v = number(text + 1, &end);
		*when = v;
		if (v < 0 || *end)
			v = -1;
	} else if (span(text, &v)) {
		*when = now + v;
	} else if (!clock_time(text, now, when)) {
		v = -1;
	}
	if (v < 0)
		return mfd_error_set(err, -EINVAL,
				     "'%s' is no time: expected 30m (s, m, h, d), 23:30, "
				     "'2026-12-01 06:00' or @SECONDS since 1970",
				     text);
	if (*when <= now)
		return mfd_error_set(err, -EINVAL, "'%s' is over already", text);
	if (*when > now + YEAR_S)
		return mfd_error_set(err, -EINVAL, "'%s' is more than a year from now", text);
	return 0;
}
