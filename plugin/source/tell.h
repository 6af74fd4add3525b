/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Telling the target how it ended over a new connection, when the session's own is lost or its
 * worker dead.  Worker and supervisor both do.
 */
#ifndef MFD_TELL_H
#define MFD_TELL_H

#include <limits.h>

#include "error.h"
#include "options.h"
#include "shared.h"

#define MFD_TELL_MS 60000 /* for so long a target that is out of reach is tried */

enum mfd_outcome_told {
	MFD_TELL_ABORT,	 /* the tasks run on here */
	MFD_TELL_COMMIT, /* the tasks are dead here */
};

#define MFD_TELL_FOREVER UINT_MAX

/*
 * Try until the target answers or give_up_ms have passed.  0; -ECANCELED: it proves that the
 * session has ended there (proof.h); -EEXIST, of MFD_TELL_ABORT: the session is committed there, so
 * that both copies run; other -errno: it could not be told.  err is filled then.
 */
int mfd_tell(const struct mfd_options *o, struct mfd_shared *sh, enum mfd_outcome_told outcome,
	     unsigned give_up_ms, struct mfd_error *err);
/* Nonzero: with that result the target knows how it ended. */
int mfd_tell_is_heard(int ret);

#endif
