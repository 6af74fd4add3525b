// SPDX-License-Identifier: GPL-2.0-only
/* One deposit, and finding it in a list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "deposit.h"
#include "io.h"

#define LOST_LABEL "/"

int mfd_deposit_is_of(const struct mfd_deposit *d, const char *session)
{
	return d->owner == MFD_DEPOSIT_SESSION && !strcmp(d->session, session);
}

void mfd_deposit_give(struct mfd_deposit *d, const char *session)
{
	d->owner = MFD_DEPOSIT_SESSION;
	snprintf(d->session, sizeof(d->session), "%s", session);
}

void mfd_deposit_disown(struct mfd_deposit *d, enum mfd_deposit_owner owner)
{
	mfd_assert(owner != MFD_DEPOSIT_SESSION);
	d->owner = owner;
	d->session[0] = 0;
}

int mfd_deposit_is_connection(const struct mfd_deposit *d)
{
	return !d->task && d->owner != MFD_DEPOSIT_UNCLAIMED;
}

const char *mfd_deposit_label(const struct mfd_deposit *d)
{
	return d->owner == MFD_DEPOSIT_LOST ? LOST_LABEL : d->session;
}

void mfd_deposit_set_label(struct mfd_deposit *d, const char *label)
{
	if (!label[0])
		mfd_deposit_disown(d, MFD_DEPOSIT_UNCLAIMED);
	else if (!strcmp(label, LOST_LABEL))
		mfd_deposit_disown(d, MFD_DEPOSIT_LOST);
	else
		mfd_deposit_give(d, label);
}

void mfd_deposit_close(struct mfd_deposit *d)
{
	mfd_io_close(&d->uffd);
	mfd_io_close(&d->book);
	mfd_io_close(&d->pidfd);
}

void mfd_deposit_drop(struct mfd_deposit **p)
{
	struct mfd_deposit *d = *p;

	*p = d->next;
	mfd_deposit_close(d);
	free(d);
}

struct mfd_deposit **mfd_deposit_find(struct mfd_deposit **list, uint64_t id)
{
	while (*list && (*list)->id != id)
		list = &(*list)->next;
	return list;
}

static int number_in(const struct mfd_deposit *d, pid_t worker, int in_standby)
{
	if (d->writer == worker)
		return d->number;
	return in_standby ? d->there : d->uffd;
}

struct mfd_deposit **mfd_deposit_find_number(struct mfd_deposit **list, pid_t worker, int number,
					     int in_standby)
{
	while (*list && number_in(*list, worker, in_standby) != number)
		list = &(*list)->next;
	return list;
}
