/* SPDX-License-Identifier: GPL-2.0-only */
/* The inside of struct mfd_tls, for lib/tls*.c and lib/conn_tls*.c. */
#ifndef MFD_TLS_INT_H
#define MFD_TLS_INT_H

#include <pthread.h>
#include <semaphore.h>

#include "tls_creds.h"

struct mfd_tls {
	struct mfd_conn_security security; /* first: conn.h hands it back */
	struct mfd_tls_config cfg;	   /* constant; the texts are its own */
	/*
	 * A handshake computes only while it holds one of these; there is one for each processor.
	 * It is given back for the time of waiting for the peer.
	 */
	sem_t busy;
	pthread_mutex_t lock;
	struct mfd_tls_creds *creds; /* lock */
};

/* The credentials of the moment, with a reference. */
struct mfd_tls_creds *mfd_tls_now(struct mfd_tls *tls);
/* conn_tls_handshake.c */
int mfd_conn_tls_handshake(struct mfd_conn *c, enum mfd_conn_end end,
			   const struct mfd_conn_config *cfg, struct mfd_error *err);

#endif
