/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an ABORT of the target proves.
 *
 * Once the restored tasks may have run, or the tasks here are dead, "it does not run there" is
 * believed only from the session itself or from its tombstone: both name the session's id
 * (ABORT.ended_id).  Every other refusal (no such session, an error of a look-up, a limit, a server
 * with another folder, one that cannot load the session, a server that is too old to say) proves
 * nothing: the source asks again, less and less often, and is in doubt until there is a proof or a
 * person decides.
 */
#ifndef MFD_PROOF_H
#define MFD_PROOF_H

#include <stdint.h>

#include "proto/control.pb-c.h"

enum mfd_proof {
	MFD_PROOF_NONE,
	MFD_PROOF_NEVER_RAN, /* it has ended there, and never had leave to run */
	MFD_PROOF_DISCARDED, /* a person has discarded it there */
	MFD_PROOF_RAN,	     /* it has ended there, it may have run, and is dead */
};

/* `id`: the session's, MFD_WIRE_SESSION_ID_LEN bytes. */
enum mfd_proof mfd_proof_of(const Mfd__Abort *m, const uint8_t *id);
/* Nonzero: the tasks here may go on. */
int mfd_proof_frees(enum mfd_proof proof);

#endif
