// SPDX-License-Identifier: GPL-2.0-only
/* The end of a round; see rounds.h. */
#include <errno.h>

#include "assert.h"
#include "log.h"
#include "rounds.h"
#include "say.h"
#include "session.h"

static int refuse(struct mfd_trouble *t, const Mfd__Round *m, const char *why)
{
	return mfd_trouble(t, MFD_TROUBLE_LINK, -EPROTO, "ROUND %u: %s", m->n, why);
}

static int check(struct mfd_session *s, const Mfd__Round *m, struct mfd_trouble *t)
{
	uint32_t now = atomic_load(&s->rounds.now);
	uint64_t came = mfd_rounds_pages(s) - s->rounds.pages;

	if (!now)
		return refuse(t, m, "rounds were not negotiated");
	if (now > MFD_WIRE_MAX_ROUND)
		return refuse(t, m, "too many rounds");
	if (m->n != now)
		return refuse(t, m, "not the number that comes next");
	if (m->sync <= s->rounds.sync)
		return refuse(t, m, "its sync is not behind that of the round before");
	if (m->pages != came)
		return mfd_trouble(t, MFD_TROUBLE_LINK, -EPROTO,
				   "ROUND %u: the source sent %llu pages, %llu came", m->n,
				   (unsigned long long)m->pages, (unsigned long long)came);
	return 0;
}

int mfd_rounds_end(struct mfd_session *s, const Mfd__Round *m, struct mfd_trouble *t)
{
	int ret = check(s, m, t);

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->phase == MFD_PHASE_STREAMING);
	if (ret)
		return ret;
	s->rounds.pages = mfd_rounds_pages(s);
	s->rounds.sync = m->sync;
	/* Before ROUND_OK is out: the pages of the next round come behind it. */
	atomic_store(&s->rounds.now, m->n + 1);
	mfd_log_info("%s: round %u: %llu pages", s->name, m->n, (unsigned long long)m->pages);
	mfd_say_round_ok(s, m->n);
	return 0;
}
