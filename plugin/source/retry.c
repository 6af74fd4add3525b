// SPDX-License-Identifier: GPL-2.0-only
/* The limit of tries, and its renewal; see retry.h. */
#include "io.h"
#include "retry.h"

int mfd_retry_is_spent(const struct mfd_retry *d)
{
	return d->shorts > MFD_RETRY_SHORTS;
}

void mfd_retry_renew(struct mfd_retry *d)
{
	d->shorts = 0;
	d->since_ms = d->next_ms = mfd_io_now_ms();
}
