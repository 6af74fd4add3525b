/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of one TLS connection, for lib/conn_tls*.c.
 *
 * Records do not go to the socket one by one.  What GnuTLS has encrypted is gathered in `out` until
 * there is about 1 MiB of it or the caller's send has ended; what the socket has goes into `in` at
 * once and is handed out from there.  So a packet of 1 MiB is one write and a few reads, not 64.
 *
 * One thread may send while another receives: `out` is the one's, `in` the other's.  That holds as
 * long as no key is changed on the way.  A connection that carries very much changes the keys of
 * what it sends, as AES-GCM is not made for more with one key (RFC 8446, 5.5); one that has carried
 * little, as each on which both directions are busy, does not, and its peer may not.  Neither end
 * asks the other to change its own: the receiving thread would have to write.
 */
#ifndef MFD_CONN_TLS_H
#define MFD_CONN_TLS_H

#include <gnutls/gnutls.h>

#include "conn_ops.h"
#include "tls_int.h"

#define MFD_CONN_TLS_GATHER (1U << 20)
#define MFD_CONN_TLS_RECORD (16384U + 512) /* a record with all that is around it, at most */
#define MFD_CONN_TLS_AHEAD  (256U << 10)
#define MFD_CONN_TLS_FLAGS  (GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_REKEY | GNUTLS_NO_SIGNAL)

struct mfd_conn_tls_buffer {
	char *data;
	size_t size, at, n; /* bytes from `at` to `n` are waiting */
	int error;	    /* of the socket: -errno, or 0 */
	int ended;	    /* bool: the peer sends no more */
};

/* So many records with one key; 2^23 (128 GiB), which a test makes less. */
extern uint64_t mfd_conn_tls_key_records;
#define MFD_CONN_TLS_PEER_RECORDS (mfd_conn_tls_key_records / 4) /* not sooner may the peer */

struct mfd_conn_tls {
	struct mfd_tls_asked asked; /* first */
	gnutls_session_t gnutls;
	struct mfd_tls *tls;
	enum mfd_conn_end end; /* which one this is */
	int fd;		       /* the connection's */
	struct mfd_conn_tls_buffer in, out;
	uint64_t sent,
		received;    /* records since the last change of keys, of one's own, the peer's */
	int closing;	     /* no call may block any more */
	uint64_t send_until; /* ms, 0: none; of mfd_conn_sendv_within, the sending thread's */
	char identity[MFD_CONN_IDENTITY];
	char names[MFD_CONN_NAMES];

	/* Until the handshake is over. */
	int shaking;
	uint64_t deadline;		  /* ms, 0: none */
	struct mfd_error why;		  /* what this end has found wrong with the peer */
	gnutls_alert_description_t alert; /* ... and the peer is told */
};

/* NULL: no memory.  The functions for push and pull are set, the connection is not swapped yet. */
struct mfd_conn_tls *mfd_conn_tls_new(struct mfd_conn *c, enum mfd_conn_end end,
				      struct mfd_tls *tls);
/* Everything but the descriptor. */
void mfd_conn_tls_free(struct mfd_conn_tls *s);
int mfd_conn_tls_flush(struct mfd_conn_tls *s);

extern const struct mfd_conn_ops mfd_conn_tls_ops;

#endif
