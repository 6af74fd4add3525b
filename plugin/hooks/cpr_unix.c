// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a unix socket is.  Addresses come from the socket itself, which works across network
 * namespaces; state and the peer's inode only NETLINK_SOCK_DIAG knows, and it knows the sockets of
 * its own namespace alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpr_describe.h"
#include "io.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

static int on_message(struct nl_msg *msg, void *arg)
{
	const struct unix_diag_msg *m = nlmsg_data(nlmsg_hdr(msg));
	struct nlattr *tb[UNIX_DIAG_MAX + 1];
	struct mfd_cpr_socket *s = arg;

	if (nlmsg_parse(nlmsg_hdr(msg), sizeof(*m), tb, UNIX_DIAG_MAX, NULL) < 0)
		return NL_OK;
	s->state = m->udiag_state;
	if (tb[UNIX_DIAG_PEER])
		s->peer_inode = nla_get_u32(tb[UNIX_DIAG_PEER]);
	return NL_OK;
}

static int ask(struct mfd_cpr_socket *s)
{
	struct unix_diag_req req = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0U,
		.udiag_ino = (uint32_t)s->inode,
		.udiag_show = UDIAG_SHOW_PEER,
		.udiag_cookie = { ~0U, ~0U },
	};
	struct nl_sock *nl = nl_socket_alloc();
	int ret;

	if (!nl)
		return -ENOMEM;
	ret = nl_connect(nl, NETLINK_SOCK_DIAG);
	if (!ret) {
		nl_socket_disable_auto_ack(nl);
		nl_socket_modify_cb(nl, NL_CB_VALID, NL_CB_CUSTOM, on_message, s);
		ret = nl_send_simple(nl, SOCK_DIAG_BY_FAMILY, 0, &req, sizeof(req));
	}
	if (ret >= 0)
		ret = nl_recvmsgs_default(nl);
	nl_socket_free(nl);
	return ret < 0 ? -EIO : 0;
}

static int same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* CRIU changes namespaces of its one thread all the time; the thread is left where it was. */
static int ask_in_namespace(int fd, struct mfd_cpr_socket *s)
{
	int theirs = ioctl(fd, SIOCGSKNS), ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
	    ret = -EPERM;

	if (theirs < 0 || ours < 0 || same_file(theirs, ours)) {
		ret = ask(s);
	} else if (!setns(theirs, CLONE_NEWNET)) {
		ret = ask(s);
		if (setns(ours, CLONE_NEWNET))
			ret = -EPERM;
	}
	mfd_io_close(&theirs);
	mfd_io_close(&ours);
	return ret;
}

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
	ask_in_namespace(fd,
			 s); /* no answer: the socket has no peer, or the kernel does not know */
	return 0;
}
