// SPDX-License-Identifier: GPL-2.0-only
/* What an ABORT proves; see proof.h. */
#include <string.h>

#include "proof.h"
#include "wire.h"

enum mfd_proof mfd_proof_of(const Mfd__Abort *m, const uint8_t *id)
{
	if (!m->has_ended_id || m->ended_id.len != MFD_WIRE_SESSION_ID_LEN ||
	    memcmp(m->ended_id.data, id, MFD_WIRE_SESSION_ID_LEN))
		return MFD_PROOF_NONE;
	if (m->by_person)
		return MFD_PROOF_DISCARDED;
	return m->ran ? MFD_PROOF_RAN : MFD_PROOF_NEVER_RAN;
}

int mfd_proof_frees(enum mfd_proof proof)
{
	return proof == MFD_PROOF_NEVER_RAN || proof == MFD_PROOF_DISCARDED;
}
