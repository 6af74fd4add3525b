/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a greeting proves that its sender knows the session's secret.
 *
 * On a plain connection the greeting carries the secret itself.  Inside TLS it carries a HMAC,
 * keyed by the secret, of bytes that this connection alone has: what is seen on one connection
 * opens no other, not even at a peer that has a certificate of its own.
 */
#ifndef MFD_JOINPROOF_H
#define MFD_JOINPROOF_H

#include "conn.h"
#include "wire.h"

struct mfd_joinproof {
	int bound; /* bool: to a connection; else the secret itself is the proof */
	uint8_t bytes[MFD_CONN_BINDING];
};

/* For a greeting in host order whose session, role and channel are set.  0 or -errno. */
int mfd_joinproof_begin(struct mfd_joinproof *j, const struct mfd_conn *c,
			const struct mfd_wire_greeting *g);
/* What the greeting carries as its `secret`. */
void mfd_joinproof_make(const struct mfd_joinproof *j, const uint8_t secret[MFD_WIRE_SECRET_LEN],
			uint8_t proof[MFD_WIRE_SECRET_LEN]);
/* Nonzero if `proof` is that of `secret`; in constant time. */
int mfd_joinproof_fits(const struct mfd_joinproof *j, const uint8_t secret[MFD_WIRE_SECRET_LEN],
		       const uint8_t proof[MFD_WIRE_SECRET_LEN]);

#endif
