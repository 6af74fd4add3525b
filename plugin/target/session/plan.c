// SPDX-License-Identifier: GPL-2.0-only
/* The rows of plan.h, and the flags of HELLO and session.img that choose one. */
#include <stddef.h>

#include "plan.h"

#define T(phase) MFD_TURN_PHASE(MFD_PHASE_##phase)

#define BEFORE_READY (T(QUEUED) | T(STREAMING) | T(IMAGES) | T(SETTLING) | T(RESTORABLE))
#define UNDECIDED    (T(READY) | T(RESTORED))

static const struct mfd_plan plans[] = {
	[MFD_PLAN_SAFE] = {
		.id = MFD_PLAN_SAFE,
		.name = "safe",
		.whole = 1,
		.abortable = BEFORE_READY,
		.restore_from = T(COMMITTED),
	},
	[MFD_PLAN_SAFE_CONFIRM] = {
		.id = MFD_PLAN_SAFE_CONFIRM,
		.name = "safe+confirm",
		.whole = 1,
		.confirm = 1,
		.abortable = BEFORE_READY,
		.restore_from = UNDECIDED | T(COMMITTED),
	},
	[MFD_PLAN_EARLY] = {
		.id = MFD_PLAN_EARLY,
		.name = "early",
		.confirm = 1,
		.early = 1,
		.follow = 1,
		.abortable = BEFORE_READY,
		.unconfirmed = T(READY),
		.precious = UNDECIDED,
		.restore_from = T(IMAGES) | T(SETTLING) | UNDECIDED | T(COMMITTED),
	},
	[MFD_PLAN_POSTCOPY] = {
		.id = MFD_PLAN_POSTCOPY,
		.name = "postcopy",
		.postcopy = 1,
		.follow = 1,
		.abortable = BEFORE_READY,
		.precious = UNDECIDED,
		.restore_from = T(RESTORABLE) | T(RUNNING) | UNDECIDED | T(COMMITTED),
	},
	[MFD_PLAN_POSTCOPY_CONFIRM] = {
		.id = MFD_PLAN_POSTCOPY_CONFIRM,
		.name = "postcopy+confirm",
		.postcopy = 1,
		.confirm = 1,
		.follow = 1,
		.abortable = BEFORE_READY,
		.precious = UNDECIDED,
		.restore_from = T(RESTORABLE) | T(RUNNING) | UNDECIDED | T(COMMITTED),
	},
};
_Static_assert(sizeof(plans) / sizeof(*plans) == MFD_PLANS, "each plan has a row");

/* With rounds, few pages are left to follow the images: the restore is as that of safe+confirm. */
static const struct mfd_plan early_precopy = {
	.id = MFD_PLAN_EARLY,
	.name = "early",
	.confirm = 1,
	.early = 1,
	.follow = 1,
	.whole = 1,
	.abortable = BEFORE_READY,
	.restore_from = T(IMAGES) | UNDECIDED | T(COMMITTED),
};

const struct mfd_plan *mfd_plan(enum mfd_plan_id id)
{
	return &plans[id];
}

static const struct mfd_plan *find(int postcopy, int confirm, int early, int precopy)
{
	if (early && precopy && confirm && !postcopy)
		return &early_precopy;
	for (size_t i = 0; i < MFD_PLANS; i++)
		if (plans[i].postcopy == !!postcopy && plans[i].confirm == !!confirm &&
		    plans[i].early == !!early)
			return &plans[i];
	return NULL;
}

const struct mfd_plan *mfd_plan_granted(const Mfd__Hello *h, int may_early)
{
	int early = h->early_restore && h->confirm_restore && !h->postcopy && may_early;

	return find(h->postcopy, h->confirm_restore, early, h->precopy);
}

const struct mfd_plan *mfd_plan_loaded(const Mfd__SessionEntry *e)
{
	return find(e->postcopy, e->confirm_restore, e->early_restore, e->precopy);
}

void mfd_plan_entry(const struct mfd_plan *plan, Mfd__SessionEntry *e)
{
	e->has_postcopy = e->has_confirm_restore = 1;
	e->postcopy = plan->postcopy;
	e->confirm_restore = plan->confirm;
	e->has_early_restore = e->early_restore = plan->early;
}
