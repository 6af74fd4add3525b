/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making a CA, certificates of hosts and pre-shared keys: what `criu-multifd keys` does.
 *
 * Keys are of the curve P-384, which every TLS 1.3 has; signatures are with SHA-384.
 */
#ifndef MFD_TLS_MAKE_H
#define MFD_TLS_MAKE_H

#include <stddef.h>
#include <time.h>

#include "error.h"

#define MFD_TLS_CA_KEY "ca-key.pem" /* beside MFD_TLS_CA_CERT, on the machine that makes keys */

enum { MFD_TLS_FOR_SERVER = 1, MFD_TLS_FOR_CLIENT = 2 };

struct mfd_tls_make {
	/* The first is the common name; all are DNS names or IP addresses of the host. */
	const char *const *names;
	size_t n_names;
	int purposes; /* MFD_TLS_FOR_*; 0: a CA */
	time_t from, until;
};

/* A CA in the folder `dirfd`; -EEXIST if there is one.  0 or -errno with err filled. */
int mfd_tls_make_ca(int dirfd, const struct mfd_tls_make *m, struct mfd_error *err);
/*
 * A key and a certificate of the CA in the folder `ca`, as files of the folder `dirfd`, where
 * nothing of that name may be.
 */
int mfd_tls_make_pair(int ca, int dirfd, const char *cert_name, const char *key_name,
		      const struct mfd_tls_make *m, struct mfd_error *err);
/* A new file with this content: 0 or -errno (-EEXIST). */
int mfd_tls_make_file(int dirfd, const char *name, const void *data, size_t len, unsigned mode);
/* "NAME:HEX\n" with 32 random bytes; returns its length, 0 if there is no randomness. */
size_t mfd_tls_make_psk(char *buf, size_t room, const char *name);

#endif
