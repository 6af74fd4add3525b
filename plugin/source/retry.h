/* SPDX-License-Identifier: GPL-2.0-only */
/* How often the target was tried since it was lost, and when it is tried again. */
#ifndef MFD_RETRY_H
#define MFD_RETRY_H

#include <stdint.h>

/* Connections in a row that did not last: after more something else than the link is wrong. */
#define MFD_RETRY_SHORTS 20

/* Of the worker; all zero at the start. */
struct mfd_retry {
	uint64_t since_ms;  /* the connections were lost */
	uint64_t next_ms;   /* of the next try; 0: there is none */
	unsigned tries;	    /* since then */
	unsigned shorts;    /* connections in a row that did not last */
	uint64_t joined_ms; /* the latest connection; 0: none but the first */
};

/* Nonzero: connections were lost too often as soon as they were there. */
int mfd_retry_is_spent(const struct mfd_retry *d);
/* A person wants another try, at once and whatever it was. */
void mfd_retry_renew(struct mfd_retry *d);

#endif
