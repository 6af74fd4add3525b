/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A request to the server that serves DIR, or to the sender of the criu dump that works in DIR: one
 * text message over a unix SOCK_SEQPACKET socket there, one back: "ok", "ok TEXT" or
 * "error: TEXT".  Requests to a server: "abort NAME", "resolve NAME run", "resolve NAME discard",
 * "set NAME SETTING VALUE" (plugin/target/requests.c); to a sender: "abort", "run", "discard", "set
 * SETTING VALUE", "status" (plugin/source/desk.c).
 */
#ifndef MFD_REQUEST_H
#define MFD_REQUEST_H

#include <stddef.h>

#include "error.h"

#define MFD_REQUEST_SOCKET	  ".serve.sock"
#define MFD_REQUEST_SENDER_SOCKET ".multifd-send.sock"
/* bytes of a message: a sender with 64 channels tells its status */
#define MFD_REQUEST_MAX 65536

/*
 * 0: `answer` (may be NULL) holds what followed "ok"; -ECONNREFUSED: no server serves DIR;
 * -EREMOTEIO: the server's own error; -ETIMEDOUT after timeout_ms.  The sentence is in err.
 */
int mfd_request_call(const char *dir, const char *request, unsigned timeout_ms, char *answer,
		     size_t len, struct mfd_error *err);
/* The same for a sender. */
int mfd_request_call_sender(const char *dir, const char *request, unsigned timeout_ms, char *answer,
			    size_t len, struct mfd_error *err);
/* Print "session NAME: SENTENCE", what came from the server cleaned; MFD_EXIT_FAILED. */
int mfd_request_failed(const char *session, struct mfd_error *err);

#endif
