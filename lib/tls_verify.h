/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is a certificate the one that is expected?  And sentences for what is wrong with it, which
 * name the certificate and what to do.  For lib/tls*.c and
 * lib/conn_tls.c.
 */
#ifndef MFD_TLS_VERIFY_H
#define MFD_TLS_VERIFY_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tls.h"

/* What GnuTLS has found. */
struct mfd_tls_verified {
	unsigned status; /* gnutls_certificate_status_t, not 0 */
	gnutls_x509_crt_t crt;
	const char *whose;     /* "/etc/.../client-cert.pem", "the target's certificate" */
	const char *ca;	       /* path of the CA's */
	const char *hostname;  /* that was expected, or NULL */
	enum mfd_conn_end end; /* whose certificate it is */
};

/* The purpose that the certificate of `end` must permit. */
gnutls_typed_vdata_st mfd_tls_verify_purpose(enum mfd_conn_end end);
/* Fill err with -EACCES; returns the alert that tells the peer. */
gnutls_alert_description_t mfd_tls_verify_say(const struct mfd_tls_verified *v,
					      struct mfd_error *err);
/*
 * The peer's certificate, in its handshake.  `end` is the peer's; hostname NULL: any.  0, or
 * -EACCES with err and *alert filled.
 */
int mfd_tls_verify_peer(gnutls_session_t g, enum mfd_conn_end end, const char *hostname,
			const char *ca, gnutls_alert_description_t *alert, struct mfd_error *err);
/*
 * "x509:db1.example.org" or "spki:HEX": what the peer of a finished handshake is called.  `names`:
 * as mfd_conn_names; what has no room there is left out.
 */
int mfd_tls_verify_identity(gnutls_session_t g, char *buf, size_t len, char *names, size_t room);
/* What an alert of the peer's tells `end`. */
const char *mfd_tls_verify_alert(gnutls_alert_description_t alert, enum mfd_conn_end end);

#endif
