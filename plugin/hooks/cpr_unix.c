// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a unix socket is.  Addresses come from the socket itself, which works across network
 * namespaces; state and the peer's inode from the kernel (unixpeer.h).
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cpr_describe.h"
#include "unixpeer.h"

/* sun_path alone; 0 bytes when unnamed. */
static uint32_t address(int fd, int (*get)(int, struct sockaddr *, socklen_t *), char *path)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	if (get(fd, (struct sockaddr *)&a, &len) || len <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	len -= offsetof(struct sockaddr_un, sun_path);
	if (len > sizeof(a.sun_path))
		len = sizeof(a.sun_path);
	if (a.sun_path[0])
		len = (socklen_t)strnlen(a.sun_path, len);
	memcpy(path, a.sun_path, len);
	return len;
}

static int peer_name(int fd, struct sockaddr *a, socklen_t *len)
{
	return getpeername(fd, a, len);
}

static int own_name(int fd, struct sockaddr *a, socklen_t *len)
{
	return getsockname(fd, a, len);
}

static void name_it(struct mfd_cpr_described *d, const char *kind)
{
	const struct mfd_cpr_socket *s = &d->item.socket;
	const char *a = s->peer_address_len ? s->peer_address : s->address;
	uint32_t len = s->peer_address_len ? s->peer_address_len : s->address_len, i;
	int n = snprintf(d->name, sizeof(d->name), "unix-%s:%s", kind, len ? "" : "[unnamed]");

	for (i = 0; i < len; i++)
		d->name[n++] = a[i] ? a[i] : '@';
	d->name[n] = 0;
}

int mfd_cpr_describe_unix(int fd, struct mfd_cpr_described *d)
{
	struct mfd_cpr_socket *s = &d->item.socket;
	uint32_t state = s->state, peer = (uint32_t)s->peer_inode;
	const char *kind = s->type == SOCK_STREAM ? "stream" :
			   s->type == SOCK_DGRAM  ? "dgram" :
						    "seqpacket";

	d->item.record.kind = s->type == SOCK_STREAM ? MFD__CPR_KIND__UNIX_STREAM :
			      s->type == SOCK_DGRAM  ? MFD__CPR_KIND__UNIX_DGRAM :
						       MFD__CPR_KIND__UNIX_SEQPACKET;
	s->address = d->own;
	s->address_len = address(fd, own_name, d->own);
	s->peer_address = d->peer;
	s->peer_address_len = address(fd, peer_name, d->peer);
	name_it(d, kind);
	/* no answer: the socket has no peer, or the kernel does not know */
	mfd_unixpeer(fd, (uint32_t)s->inode, &state, &peer);
	s->state = state;
	s->peer_inode = peer;
	return 0;
}
