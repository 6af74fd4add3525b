// SPDX-License-Identifier: GPL-2.0-only
/* The host's clock against the time that passes; see calendar.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "calendar.h"
#include "evidence_file.h"
#include "io.h"
#include "life.h"
#include "log.h"

#define FILE_MAX  256
#define SLACK_S	  60 /* a clock that is set right by so much is no jump */
#define TEMPORARY MFD_CALENDAR_FILE ".tmp"

struct mark {
	char boot[MFD_LIFE_BOOT];
	int64_t clock, since; /* seconds: CLOCK_REALTIME, CLOCK_BOOTTIME */
};

static int64_t seconds(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return t.tv_sec;
}

static int take(struct mark *m)
{
	int ret = mfd_life_boot(m->boot);

	m->clock = seconds(CLOCK_REALTIME);
	m->since = seconds(CLOCK_BOOTTIME);
	return ret;
}

/* -ENOENT: there is none, or none that says anything. */
static int read_mark(int dirfd, struct mark *m)
{
	char *text = NULL;
	int ret = mfd_io_read_file(dirfd, MFD_CALENDAR_FILE, FILE_MAX, &text, NULL);

	if (!ret && sscanf(text, "%63s %" SCNd64 " %" SCNd64, m->boot, &m->clock, &m->since) != 3)
		ret = -ENOENT;
	free(text);
	return ret;
}

static int write_mark(int dirfd, const struct mark *m)
{
	char text[FILE_MAX];
	int fd = openat(dirfd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600),
	    ret;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* no session has ended */
	snprintf(text, sizeof(text), "%s %" PRId64 " %" PRId64 "\n", m->boot, m->clock, m->since);
	ret = mfd_io_write_all(fd, text, strlen(text));
	close(fd);
	if (!ret && renameat(dirfd, TEMPORARY, dirfd, MFD_CALENDAR_FILE))
		ret = -errno;
	return ret;
}

static int64_t jump(const struct mark *then, const struct mark *now)
{
	int same = !strcmp(then->boot, now->boot);

	return now->clock - then->clock - (same ? now->since - then->since : now->since);
}

int mfd_calendar_keep(int dirfd)
{
	struct mark now, then;
	int64_t s;
	int ret = take(&now);

	ret = ret ? ret : read_mark(dirfd, &then);
	if (ret)
		return ret == -ENOENT ? write_mark(dirfd, &now) : ret;
	s = jump(&then, &now);
	if (s <= SLACK_S && s >= -SLACK_S)
		return write_mark(dirfd, &now);
	mfd_log_info("the clock has moved by %" PRId64 " s beyond the time that has passed: "
		     "evidence of ended sessions does not age by that",
		     s);
	ret = mfd_evidence_file_shift(dirfd, s);
	return ret ? ret : write_mark(dirfd, &now);
}
