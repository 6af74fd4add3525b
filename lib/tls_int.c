// SPDX-License-Identifier: GPL-2.0-only
/* What connections ask of the object that they share. */
#include "tls_int.h"

struct mfd_tls_creds *mfd_tls_now(struct mfd_tls *tls)
{
	struct mfd_tls_creds *c;

	pthread_mutex_lock(&tls->lock);
	c = tls->creds;
	atomic_fetch_add(&c->refs, 1);
	pthread_mutex_unlock(&tls->lock);
	return c;
}
