/* SPDX-License-Identifier: GPL-2.0-only */
/* Folders of certificates, and both ends of a handshake, for tests of TLS. */
#ifndef MFD_TEST_TLSBED_H
#define MFD_TEST_TLSBED_H

#include "tls.h"
#include "tls_make.h"

#define TLSBED_DAY (24 * 3600)

/* DIR/NAME as a path; the text belongs to the bed and is good for some calls. */
const char *tlsbed_path(const char *dir, const char *name);
void tlsbed_write(const char *dir, const char *name, const char *text, unsigned mode);
/* A folder DIR/NAME with a CA of its own. */
const char *tlsbed_ca(const char *dir, const char *name);
/* Another pair there: the old one is removed.  Days from now. */
void tlsbed_pair(const char *folder, enum mfd_conn_end end, const char *host, int purposes,
		 int from_days, int until_days);
/* A CA, and good pairs of both ends: "localhost" and 127.0.0.1; "source.example". */
const char *tlsbed_good(const char *dir, const char *name);
struct mfd_tls *tlsbed_load(const struct mfd_tls_config *cfg);

/* What each end says of a handshake between the two. */
struct tlsbed_ends {
	struct mfd_conn source, target;
	int source_ret, target_ret;
	struct mfd_error source_err, target_err;
};
void tlsbed_shake(struct tlsbed_ends *e, struct mfd_tls *source, struct mfd_tls *target);
void tlsbed_close(struct tlsbed_ends *e);

#endif
