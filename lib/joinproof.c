// SPDX-License-Identifier: GPL-2.0-only
/* The proof of a join, or of RESUME: see PROTOCOL.md, "TLS". */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "joinproof.h"
#include "secret.h"

#define LABEL "EXPORTER-mfd-join"

struct context {
	uint8_t session[MFD_WIRE_SESSION_ID_LEN];
	uint8_t channel[2]; /* little-endian */
	uint8_t role;
} __attribute__((packed));
_Static_assert(sizeof(struct context) == 19, "as in PROTOCOL.md");

int mfd_joinproof_begin(struct mfd_joinproof *j, const struct mfd_conn *c,
			const struct mfd_wire_greeting *g)
{
	struct context ctx = { .channel = { (uint8_t)g->channel, (uint8_t)(g->channel >> 8) },
			       .role = g->role };
	int ret;

	memcpy(ctx.session, g->session, sizeof(ctx.session));
	*j = (struct mfd_joinproof){ 0 };
	ret = mfd_conn_bind(c, LABEL, &ctx, sizeof(ctx), j->bytes);
	j->bound = !ret;
	return ret == -EOPNOTSUPP ? 0 : ret;
}

void mfd_joinproof_make(const struct mfd_joinproof *j, const uint8_t secret[MFD_WIRE_SECRET_LEN],
			uint8_t proof[MFD_WIRE_SECRET_LEN])
{
	_Static_assert(MFD_WIRE_SECRET_LEN == 32, "a SHA-256");

	if (!j->bound)
		memcpy(proof, secret, MFD_WIRE_SECRET_LEN);
	else if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, MFD_WIRE_SECRET_LEN, j->bytes,
				  sizeof(j->bytes), proof))
		memset(proof, 0, MFD_WIRE_SECRET_LEN); /* no memory; fits nothing: see below */
}

int mfd_joinproof_fits(const struct mfd_joinproof *j, const uint8_t secret[MFD_WIRE_SECRET_LEN],
		       const uint8_t proof[MFD_WIRE_SECRET_LEN])
{
	static const uint8_t none[MFD_WIRE_SECRET_LEN];
	uint8_t expected[MFD_WIRE_SECRET_LEN];
	int same;

	mfd_joinproof_make(j, secret, expected);
	same = mfd_secret_equal(expected, sizeof(expected), proof, MFD_WIRE_SECRET_LEN);
	return same & !mfd_secret_equal(expected, sizeof(expected), none, sizeof(none));
}
