// SPDX-License-Identifier: GPL-2.0-only
/* Each tree as check sees it, with the options that every move has. */
#include <errno.h>
#include <string.h>

#include "drain.h"
#include "heldgroup.h"

static void add_note(struct mfd_drain_item *it, const struct mfd_check *c, enum mfd_check_id id)
{
	const struct mfd_check_kind *k = &mfd_check_kinds[id];
	size_t used = strlen(it->note);

	if (k->verdict == MFD_CHECK_SLOW || (k->option && !k->costs))
		return;
	snprintf(it->note + used, sizeof(it->note) - used, "%s%s: %s", used ? "; " : "",
		 mfd_check_verdict_texts[k->verdict], c->found[id].example[0]);
}

static void take(struct mfd_drain_item *it, const struct mfd_check *c)
{
	enum mfd_check_id no = mfd_check_impossible(c);

	it->bytes = c->memory;
	it->still_ms = c->still_ms;
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++)
		if (mfd_check_is_open(c, id) && id != no)
			add_note(it, c, id);
	if (no < MFD_CHECK_KINDS)
		mfd_drain_set(it, MFD_DRAIN_CANNOT, "%s; %s", c->found[no].example[0],
			      mfd_check_kinds[no].text);
}

void mfd_drain_look(struct mfd_drain *d, struct mfd_drain_item *it)
{
	struct mfd_migrate m = d->m; /* its options and words are looked at, not changed */
	struct mfd_check c = { 0 };
	struct mfd_error err = { 0 };

	m.pid = (uint32_t)it->pid;
	m.start = it->start;
	m.no_auto = 1; /* migrate adds them; here they would be another process's, too */
	m.o.max_bandwidth = d->bandwidth ? d->bandwidth / d->parallel : m.o.max_bandwidth;
	if (mfd_heldgroup_refuse(it->pid, &err)) {
		mfd_drain_set(it, MFD_DRAIN_DOUBT, "%s", mfd_error_text(&err));
		return;
	}
	if (mfd_migrate_check_start(&m, &err)) {
		mfd_drain_set(it, MFD_DRAIN_GONE, "%s", mfd_error_text(&err));
		return;
	}
	if (mfd_migrate_check_pid(m.pid, &err) || mfd_migrate_look_into(&m, &c, &err))
		mfd_drain_set(it, MFD_DRAIN_CANNOT, "%s", mfd_error_text(&err));
	else
		take(it, &c);
	mfd_check_free(&c);
}
