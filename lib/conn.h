/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A connection between the two hosts.  It alone knows its descriptor and its transport: callers
 * connect or accept, wait, send, receive and close through the functions below and never ask
 * whether the bytes go in the clear.
 *
 *	source					target
 *	mfd_conn_connect			mfd_conn_accept		main thread; never blocks
 *	  TCP, socket options			mfd_conn_configure	socket options
 *	  handshake				mfd_conn_handshake	own thread of the connection
 *	              send, recv, wait, gone, zero-copy, shutdown, close
 *
 * A connection begins with the operations of plain TCP.  A handshake (struct mfd_conn_security)
 * swaps them; conn_ops.h is the page for the author of another transport.
 *
 * What a transport has received and not yet handed out lies where poll() does not see it.  So every
 * wait for a connection goes through mfd_conn_wait or mfd_conn_watch, which count those bytes
 * first.  test/checks/conn finds any other place that uses a connection's descriptor.
 *
 * Threads: one may send while another receives; two may not do the same direction at once.
 * mfd_conn_shutdown may be called by any thread at any time between opening and closing and makes
 * both directions fail soon.  Closing is for the owner, when no other thread uses the connection.
 *
 * A zeroed struct is a connection that is not open: close, shutdown and is_open are fine with it,
 * the other functions return -ENOTCONN.
 */
#ifndef MFD_CONN_H
#define MFD_CONN_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "congestion.h"
#include "error.h"
#include "sock.h"
#include "tcppath.h"
#include "zerocopy.h"

struct mfd_conn_ops;

/* Its fields belong to lib/conn*.c.  The struct may move in memory (mfd_conn_move). */
struct mfd_conn {
	const struct mfd_conn_ops *ops; /* changed by the handshake alone */
	int open;			/* set before other threads know the connection */
	int conn_fd;			/* valid while open */
	struct mfd_zerocopy *zerocopy;	/* NULL: not asked for */
	int prompt;			/* bool: mfd_conn_prompt */
	void *transport;		/* private to ops */
};

enum mfd_conn_end { MFD_CONN_SOURCE, MFD_CONN_TARGET };

#define MFD_CONN_IDENTITY 160  /* bytes of a peer's identity, with its NUL */
#define MFD_CONN_NAMES	  2048 /* bytes of all its names, with the NUL */
#define MFD_CONN_BINDING  32   /* bytes */

struct mfd_conn_config;

/*
 * Credentials, and the handshake that uses them.  An implementation puts this struct first in its
 * own; the object is constant and is shared by all connections.
 */
struct mfd_conn_security {
	/*
	 * Prove the identity of both ends and swap the operations of `c` (mfd_conn_swap).  0 or
	 * -errno with err filled; the caller closes the connection after a failure.
	 */
	int (*handshake)(struct mfd_conn *c, enum mfd_conn_end end,
			 const struct mfd_conn_config *cfg, struct mfd_error *err);
};

/* What one end wants of its connections. */
struct mfd_conn_config {
	const struct mfd_conn_security *security; /* NULL: plain TCP, the peer is not proved */
	/* time to connect, and again for the handshake; 0 = no limit */
	unsigned connect_ms;
	/* an end that does not move for so long counts as dead, 0 = never; see mfd_sock_tune */
	unsigned stall_ms;
	int silence_is_normal;	/* receiving has no limit: another thread watches the session */
	const char *congestion; /* option "congestion"; NULL: as the system has it */
};

/*
 * Connect to `to`.  `bound`: a socket from mfd_sock_bound, taken over whatever happens, or -1.
 * `like`: an open connection to the same target, by whose path congestion control is chosen, or
 * NULL: it is left alone.  0, or -errno with err filled and *c not open.
 */
int mfd_conn_connect(struct mfd_conn *c, const struct mfd_sock_addr *to, int bound,
		     const struct mfd_conn *like, const struct mfd_conn_config *cfg,
		     struct mfd_error *err);
/* What TCP knows of the connection's path: 0 or -errno, also once it has failed. */
int mfd_conn_path(const struct mfd_conn *c, struct mfd_tcppath *path);
/*
 * Set what `want` (option "congestion") asks for, once something has been received, and write what
 * is used to `name`.  0, or -errno with err filled.
 */
int mfd_conn_congestion(struct mfd_conn *c, const char *want, char name[MFD_CONGESTION_NAME],
			struct mfd_error *err);

/* Accept one connection, plain so far, from a listening socket: 0, or -errno of accept4(2). */
int mfd_conn_accept(struct mfd_conn *c, int listener);
int mfd_conn_configure(struct mfd_conn *c, const struct mfd_conn_config *cfg);
/* 0, or -errno with err filled.  May block for as long as the peer likes: see mfd_conn_shutdown. */
int mfd_conn_handshake(struct mfd_conn *c, enum mfd_conn_end end, const struct mfd_conn_config *cfg,
		       struct mfd_error *err);

/* Take over the descriptor of a connected socket, plain. */
void mfd_conn_plain(struct mfd_conn *c, int fd);
/* Make *to what *from is, before anything else has been asked of it; *from is not open then. */
void mfd_conn_move(struct mfd_conn *to, struct mfd_conn *from);
void mfd_conn_shutdown(struct mfd_conn *c);
/*
 * Shut down, and let the close that follows reset the connection, so that a peer's thread which is
 * blocked in sending fails at once.  What was sent to the peer and not yet read there may be lost.
 *
 * Without the reset that thread may stay blocked for its whole stall time: after shutdown(2) the
 * kernel opens a closed receive window no more (tcp_cleanup_rbuf in Linux's net/ipv4/tcp.c), and
 * when all received bytes were read before the close, the kernel answers the peer's window probes
 * for the closed socket with that same closed window, and not with a reset.
 */
void mfd_conn_reset(struct mfd_conn *c);
void mfd_conn_close(struct mfd_conn *c);
int mfd_conn_is_open(const struct mfd_conn *c);
int mfd_conn_peer_text(const struct mfd_conn *c, char *buf, size_t len);
/* What the handshake has proved that the peer is, "x509:db1.example.org"; "" on a plain one. */
const char *mfd_conn_identity(const struct mfd_conn *c);
/*
 * All that it has proved to be, the identity first, one line each: every DNS name of a certificate,
 * or its common name if it has none, and its public key as "spki:HEX".  "" on a plain one.
 */
const char *mfd_conn_names(const struct mfd_conn *c);
/*
 * Bytes that both ends of this connection, and no other connection, have for `context`: 0, or
 * -EOPNOTSUPP on a plain one.
 */
int mfd_conn_bind(const struct mfd_conn *c, const char *label, const void *context, size_t len,
		  uint8_t out[MFD_CONN_BINDING]);

/*
 * Send everything, or receive exactly len bytes.  0, or -errno: -ECONNRESET at a clean end before
 * the first byte, -EPIPE at an end inside, -ETIMEDOUT when nothing moved for the stall time.
 * `more`: more follows at once.  sendv modifies iov.
 */
int mfd_conn_send(struct mfd_conn *c, const void *buf, size_t len, int more);
int mfd_conn_sendv(struct mfd_conn *c, struct iovec *iov, int n, int more);
int mfd_conn_recv(struct mfd_conn *c, void *buf, size_t len);
/* The same into n pieces, one behind the other; modifies iov. */
int mfd_conn_recvv(struct mfd_conn *c, struct iovec *iov, int n);
/* The first bytes of what is sent from now on are of use before its last: gather nothing. */
void mfd_conn_prompt(struct mfd_conn *c);
/*
 * Send everything within ms, whatever the peer reads, or fail with -ETIMEDOUT: a part may be sent
 * then, and the connection is of no use any more.  0: only what needs no waiting.
 */
int mfd_conn_sendv_within(struct mfd_conn *c, struct iovec *iov, int n, unsigned ms);

/*
 * Wait up to ms (-1 = without limit) until receiving would not block.  1 = it would not: there is
 * something, or the connection has ended; 0 = the time is over; -errno (-EINTR).
 */
int mfd_conn_wait(struct mfd_conn *c, int ms);
/*
 * Fill *p with what poll(2) shall look for beside other descriptors.  Nonzero: received bytes are
 * buffered in the connection already, so the caller must not wait.
 */
int mfd_conn_watch(const struct mfd_conn *c, struct pollfd *p);
/* From now on mfd_conn_watch waits for so many bytes, or the end. */
void mfd_conn_want(struct mfd_conn *c, int bytes);
/* Any thread, as mfd_conn_shutdown: receiving ends, sending goes on. */
void mfd_conn_stop_reading(struct mfd_conn *c);
/*
 * Wait up to ms until the peer has closed the connection or it has failed, whatever may still be
 * read from it.  1 = it has, 0 = it has not, -errno.
 */
int mfd_conn_gone(const struct mfd_conn *c, int ms);
/* For how long receiving waits at most, in ms; 0 = without limit. -errno. */
int mfd_conn_stall_ms(const struct mfd_conn *c);

/*
 * Zero-copy, which a transport offers or not; semantics and counters in zerocopy.h.  `z` is the
 * caller's, outlives the connection's use and stays readable after it.  mfd_conn_zerocopy returns
 * 0, or with mode `on` -errno if the transport or the kernel refuses; z->mode says what it is then.
 */
int mfd_conn_zerocopy(struct mfd_conn *c, struct mfd_zerocopy *z, enum mfd_tristate mode);
int mfd_conn_zerocopy_send(struct mfd_conn *c, const void *buf, size_t len, uint32_t *ticket);
int mfd_conn_zerocopy_wait(struct mfd_conn *c, uint32_t ticket, unsigned timeout_ms);
int mfd_conn_zerocopy_flush(struct mfd_conn *c, unsigned timeout_ms);

#endif
