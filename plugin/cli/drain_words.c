// SPDX-License-Identifier: GPL-2.0-only
/* The states of what is drained: words, and the exit code that follows from them. */
#include <stdarg.h>

#include "command.h"
#include "drain.h"
#include "text.h"

const struct mfd_drain_state_words mfd_drain_states[MFD_DRAIN_STATES] = {
	[MFD_DRAIN_WAITING] = { "waiting", "waits", MFD_EXIT_FAILED },
	[MFD_DRAIN_MOVING] = { "moving", "is on its way", MFD_EXIT_FAILED },
	[MFD_DRAIN_MOVED] = { "moved", "moved", MFD_EXIT_OK },
	[MFD_DRAIN_STORED] = { "stored", "complete there, runs nowhere yet", MFD_EXIT_OK },
	[MFD_DRAIN_GONE] = { "gone", "has ended by itself", MFD_EXIT_OK },
	[MFD_DRAIN_LATE] = { "not-begun", "not begun, runs on here", MFD_EXIT_TIMEOUT },
	[MFD_DRAIN_CANNOT] = { "cannot-move", "cannot move, runs on here", MFD_EXIT_FAILED },
	[MFD_DRAIN_FAILED] = { "failed", "failed, runs on here", MFD_EXIT_FAILED },
	[MFD_DRAIN_DIED] = { "died", "died while it was moved", MFD_EXIT_FAILED },
	[MFD_DRAIN_NEW] = { "new", "began meanwhile, runs here", MFD_EXIT_FAILED },
	[MFD_DRAIN_BUSY] = { "busy", "an earlier move is at work", MFD_EXIT_DOUBT },
	[MFD_DRAIN_DOUBT] = { "in-doubt", "IN DOUBT", MFD_EXIT_DOUBT },
	[MFD_DRAIN_BOTH] = { "both-run", "BOTH RUN", MFD_EXIT_BOTH },
};

int mfd_drain_is_left(enum mfd_drain_state state)
{
	return mfd_drain_states[state].code != MFD_EXIT_OK;
}

int mfd_drain_is_there(enum mfd_drain_state state)
{
	return state == MFD_DRAIN_MOVED || state == MFD_DRAIN_STORED;
}

int mfd_drain_code(const struct mfd_drain *d)
{
	enum mfd_drain_state worst = MFD_DRAIN_MOVED;

	for (size_t i = 0; i < d->n; i++) {
		enum mfd_drain_state s = d->items[i].state;

		if (mfd_drain_is_left(s) && (s > worst || !mfd_drain_is_left(worst)))
			worst = s;
	}
	return mfd_drain_states[worst].code;
}

size_t mfd_drain_count(const struct mfd_drain *d, enum mfd_drain_state state, uint64_t *bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++) {
		if (d->items[i].state != state)
			continue;
		n++;
		if (bytes)
			*bytes += d->items[i].bytes;
	}
	return n;
}

void mfd_drain_set(struct mfd_drain_item *it, enum mfd_drain_state state, const char *fmt, ...)
{
	va_list ap;

	it->state = state;
	va_start(ap, fmt);
	vsnprintf(it->why, sizeof(it->why), fmt, ap);
	va_end(ap);
	mfd_image_text_clean(it->why);
}
