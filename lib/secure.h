/* SPDX-License-Identifier: GPL-2.0-only */
/* TLS as the options ask for it. */
#ifndef MFD_SECURE_H
#define MFD_SECURE_H

#include "conn.h"
#include "options.h"

/*
 * Load certificates or the key once, before the worker is forked; *security is NULL where TLS is
 * not asked for.  Files that change later are not read again: a session ends with what it began
 * with.  0, or -errno with err filled.
 */
int mfd_secure_load(const struct mfd_options *o, const struct mfd_conn_security **security,
		    struct mfd_error *err);

#endif
