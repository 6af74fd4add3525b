// SPDX-License-Identifier: GPL-2.0-only
/* Settings that change while a session runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "live_setting.h"
#include "rate.h"

#define MAX_BANDWIDTH "max-bandwidth"

/*
 * Two threads may do this at once.  Each goes on until the limit is what shared memory says after
 * it has been set, so the last one leaves both the same.
 */
static uint64_t set_bandwidth(struct mfd_uplink *s, struct mfd_shared *sh, uint64_t rate)
{
	uint64_t old = atomic_exchange(&sh->max_bandwidth, rate), now;

	do {
		now = atomic_load(&sh->max_bandwidth);
		mfd_ratelimit_set(&s->limit, now);
	} while (atomic_load(&sh->max_bandwidth) != now);
	return old;
}

static void write_rate(char *text, uint64_t rate)
{
	snprintf(text, MFD_SETTING_TEXT, "%llu", (unsigned long long)rate);
}

int mfd_setting_change(struct mfd_uplink *s, struct mfd_shared *sh, const char *name,
		       const char *value, struct mfd_setting *c, struct mfd_error *err)
{
	char before[32], after[32];
	uint64_t rate, old;

	c->old[0] = 0;
	write_rate(c->now, atomic_load(&sh->max_bandwidth));
	if (strcmp(name, MAX_BANDWIDTH))
		return mfd_error_set(err, -EINVAL,
				     "unknown setting '%.40s': what can be set is " MAX_BANDWIDTH,
				     name);
	if (mfd_rate_parse(value, &rate))
		return mfd_error_set(err, -EINVAL,
				     "bad value '%.40s' for " MAX_BANDWIDTH ": " MFD_RATE_EXPECTED,
				     value);
	old = set_bandwidth(s, sh, rate);
	write_rate(c->old, old);
	write_rate(c->now, rate);
	mfd_log_info(MAX_BANDWIDTH ": %s -> %s", mfd_rate_text(old, before, sizeof(before)),
		     mfd_rate_text(rate, after, sizeof(after)));
	return 0;
}

int mfd_setting_answer(struct mfd_uplink *s, struct mfd_shared *sh, const Mfd__Set *set)
{
	Mfd__Setting m = MFD__SETTING__INIT;
	struct mfd_error err = { 0 };
	struct mfd_setting change;
	int ret = mfd_setting_change(s, sh, set->name, set->value, &change, &err);

	m.name = set->name;
	m.value = change.now;
	m.has_id = 1;
	m.id = set->id;
	if (ret)
		m.error = err.text;
	else
		m.old = change.old;
	return mfd_control_send(&s->control, MFD_WIRE_SETTING, &m.base);
}

void mfd_setting_tell(struct mfd_uplink *s, const struct mfd_shared *sh, const char *name,
		      const struct mfd_setting *change)
{
	Mfd__Setting m = MFD__SETTING__INIT;

	if (!sh->settings || !mfd_conn_is_open(&s->control.conn))
		return;
	m.name = (char *)name;
	m.value = (char *)change->now;
	m.old = (char *)change->old;
	/* A connection that is broken is noticed by the inbox thread. */
	if (mfd_control_send(&s->control, MFD_WIRE_SETTING, &m.base))
		mfd_log_debug("SETTING not sent");
}

void mfd_setting_catch_up(struct mfd_uplink *s, const struct mfd_shared *sh)
{
	uint64_t now = atomic_load(&sh->max_bandwidth);
	struct mfd_setting change;

	if (now == s->hello_bandwidth)
		return;
	write_rate(change.old, s->hello_bandwidth);
	write_rate(change.now, now);
	mfd_setting_tell(s, sh, MAX_BANDWIDTH, &change);
}
