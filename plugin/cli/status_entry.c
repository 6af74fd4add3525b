// SPDX-License-Identifier: GPL-2.0-only
/* What status computes from a session's entry, for the table and for the JSON. */
#include "status.h"
#include "words.h"

uint64_t mfd_status_span(uint64_t from, uint64_t to)
{
	return from && to > from ? to - from : 0;
}

uint64_t mfd_status_transfer_us(const Mfd__SessionEntry *e)
{
	/* ready_us of a postcopy session comes before its pages */
	int arriving = e->state <= MFD__SESSION_STATE__RUNNING;

	return mfd_status_span(e->started_us, !arriving && e->has_ready_us && !e->postcopy ?
						      e->ready_us :
						      e->updated_us);
}

uint64_t mfd_status_received(const Mfd__SessionEntry *e)
{
	return e->pages + e->zero_pages;
}

double mfd_status_percent(uint64_t part, uint64_t whole)
{
	return part >= whole ? 100 : 100.0 * part / whole;
}

int mfd_status_orphaned(const struct mfd_session_file *f)
{
	return !f->ended && f->entry->has_server_pid && !mfd_words_final(f->entry) &&
	       !mfd_words_server_runs(f->entry);
}
