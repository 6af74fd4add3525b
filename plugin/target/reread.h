/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SIGHUP: certificates, keys, the CRL, pre-shared keys and the file of rights are read again.  What
 * cannot be read leaves in force what was; connections and sessions that are there go on.
 */
#ifndef MFD_REREAD_H
#define MFD_REREAD_H

#include "server.h"

/* The worker says what came of it; the supervisor, which does the same, does not. */
enum mfd_reread { MFD_REREAD_SILENT, MFD_REREAD_TELL };
void mfd_reread(struct mfd_server *sv, enum mfd_reread how);

#endif
