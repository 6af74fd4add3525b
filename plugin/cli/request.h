/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asking the server that serves DIR to do something: one text message over the unix SOCK_SEQPACKET socket
 * DIR/.serve.sock, one back: "ok", "ok TEXT" or "error: TEXT".  Requests: "abort NAME", "resolve NAME run", "resolve
 * NAME discard"; plugin/target/requests.c answers them.
 */
#ifndef MFD_REQUEST_H
#define MFD_REQUEST_H

#include <stddef.h>

#include "error.h"

#define MFD_REQUEST_SOCKET ".serve.sock"
#define MFD_REQUEST_MAX	   1024 /* bytes of a message */

/*
 * 0: `answer` (may be NULL) holds what followed "ok"; -ECONNREFUSED: nobody serves DIR; -EREMOTEIO: the server's own
 * error; -ETIMEDOUT after timeout_ms.  The sentence is in err.
 */
int mfd_request_call(const char *dir, const char *request, unsigned timeout_ms, char *answer, size_t len,
		     struct mfd_error *err);

#endif
