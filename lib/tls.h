/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TLS 1.3 for connections (conn.h), by certificates or pre-shared keys, always of both ends.
 *
 *	mfd_tls_load		once, before any connection: files are read and checked
 *	mfd_tls_security	goes into struct mfd_conn_config; conn_tls.c is the transport
 *	mfd_tls_reload		takes the files as they are now; connections keep what they have
 *
 * No plain connection is accepted where TLS is configured, and none is made: there is no step from
 * one to the other.  The target says in one byte, inside TLS, that it accepts the source
 * (PROTOCOL.md): so a source learns why it is refused from its handshake.
 *
 * Keys are in no core file: a process that has loaded some, and what it forks, makes none
 * (PR_SET_DUMPABLE), as only root can look into it.  A program that it starts is as always.
 */
#ifndef MFD_TLS_H
#define MFD_TLS_H

#include "conn.h"
#include "error.h"

#define MFD_TLS_ALPN "criu-multifd/1"

#define MFD_TLS_CA_CERT	    "ca-cert.pem"
#define MFD_TLS_CA_CRL	    "ca-crl.pem" /* may be absent */
#define MFD_TLS_SERVER_CERT "server-cert.pem"
#define MFD_TLS_SERVER_KEY  "server-key.pem"
#define MFD_TLS_CLIENT_CERT "client-cert.pem"
#define MFD_TLS_CLIENT_KEY  "client-key.pem"

/* Bytes of an identity: "x509:NAME", "spki:HEX", "psk:NAME". */
#define MFD_TLS_IDENTITY MFD_CONN_IDENTITY

/* At least one of dir and psk_file; a source takes one of them.  Copied by mfd_tls_load. */
struct mfd_tls_config {
	enum mfd_conn_end end;
	const char *dir;      /* folder with the files above, or NULL */
	const char *psk_file; /* IDENTITY:HEX lines, or NULL */
	const char *psk_id;   /* source: which of them; NULL: the only one */
	const char *hostname; /* source: the name that must be in the target's certificate */
};

struct mfd_tls;

/* 0, or -errno with err filled: one line that names the file. */
int mfd_tls_load(struct mfd_tls **tls, const struct mfd_tls_config *cfg, struct mfd_error *err);
/* The same files again.  After an error the old ones stay in force.  Any thread. */
int mfd_tls_reload(struct mfd_tls *tls, struct mfd_error *err);
const struct mfd_conn_security *mfd_tls_security(const struct mfd_tls *tls);
void mfd_tls_free(struct mfd_tls *tls); /* no connection may be in its handshake; fine with NULL */

#endif
