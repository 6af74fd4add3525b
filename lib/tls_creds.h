/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What one end proves itself by, and what it believes: certificates, pre-shared keys, and the
 * algorithms.  Loaded as a whole and constant from then on; for lib/tls*.c and lib/conn_tls.c.
 */
#ifndef MFD_TLS_CREDS_H
#define MFD_TLS_CREDS_H

#include <gnutls/gnutls.h>
#include <stdatomic.h>

#include "tls.h"
#include "tls_psk.h"

struct mfd_tls_creds {
	atomic_uint refs;		       /* the object's own, and one for each connection */
	gnutls_certificate_credentials_t x509; /* NULL: no certificates */
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	struct mfd_tls_psks psks;
	gnutls_priority_t priority;
	char ca[4200]; /* path of the CA's certificate, for messages */
};

/* What GnuTLS asks for a connection's key; its session's pointer (gnutls_session_set_ptr). */
struct mfd_tls_asked {
	struct mfd_tls_creds *creds;   /* of this connection */
	const struct mfd_tls_psk *psk; /* target: the key of the peer's identity, if there is one */
};

/* 0, or -errno with err filled; *creds has one reference. */
int mfd_tls_creds_load(struct mfd_tls_creds **creds, const struct mfd_tls_config *cfg,
		       struct mfd_error *err);
void mfd_tls_creds_put(struct mfd_tls_creds *creds); /* fine with NULL */

#endif
