/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first bytes of a connection to a server with TLS: the input is all that the peer sends.
 * Whatever it is, the handshake ends with an error and a sentence, and the peer has no identity.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

/* A server with one pre-shared key. */
static const struct mfd_conn_security *security(void)
{
	static struct mfd_tls *tls;
	char path[] = "/tmp/mfd-fuzz-XXXXXX";
	const struct mfd_tls_config cfg = { .end = MFD_CONN_TARGET, .psk_file = path };
	struct mfd_error err = { .code = 0 };
	int fd;

	if (tls)
		return mfd_tls_security(tls);
	fd = mkstemp(path);
	must(fd >= 0 && dprintf(fd, "web:%064d\n", 7) > 0);
	close(fd);
	must(!mfd_tls_load(&tls, &cfg, &err));
	unlink(path);
	return mfd_tls_security(tls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mfd_conn_config cfg = { .security = security(), .connect_ms = 2000 };
	struct mfd_error err = { .code = 0 };
	struct mfd_conn c = { .open = 0 };
	int pair[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	must(send(pair[1], data, size, MSG_DONTWAIT) == (ssize_t)size || !size);
	shutdown(pair[1], SHUT_WR);
	mfd_conn_plain(&c, pair[0]);
	must(mfd_conn_handshake(&c, MFD_CONN_TARGET, &cfg, &err) < 0);
	must(err.code && err.text[0]);
	must(!*mfd_conn_identity(&c) && !*mfd_conn_names(&c));
	mfd_conn_close(&c);
	close(pair[1]);
	return 0;
}
