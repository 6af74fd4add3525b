// SPDX-License-Identifier: GPL-2.0-only
/* The other end of a unix socket, as NETLINK_SOCK_DIAG tells it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "unixpeer.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

struct answer {
	uint32_t state, peer;
};

static int on_message(struct nl_msg *msg, void *arg)
{
	const struct unix_diag_msg *m = nlmsg_data(nlmsg_hdr(msg));
	struct nlattr *tb[UNIX_DIAG_MAX + 1];
	struct answer *a = arg;

	if (nlmsg_parse(nlmsg_hdr(msg), sizeof(*m), tb, UNIX_DIAG_MAX, NULL) < 0)
		return NL_OK;
	a->state = m->udiag_state;
	if (tb[UNIX_DIAG_PEER])
		a->peer = nla_get_u32(tb[UNIX_DIAG_PEER]);
	return NL_OK;
}

static int ask(uint32_t inode, struct answer *a)
{
	struct unix_diag_req req = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0U,
		.udiag_ino = inode,
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
		nl_socket_modify_cb(nl, NL_CB_VALID, NL_CB_CUSTOM, on_message, a);
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

int mfd_unixpeer(int fd, uint32_t inode, uint32_t *state, uint32_t *peer)
{
	struct answer a = { *state, *peer };
	int theirs = ioctl(fd, SIOCGSKNS), ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
	    ret = -EPERM;

	if (theirs < 0 || ours < 0 || same_file(theirs, ours)) {
		ret = ask(inode, &a);
	} else if (!setns(theirs, CLONE_NEWNET)) {
		ret = ask(inode, &a);
		if (setns(ours, CLONE_NEWNET))
			ret = -EPERM;
	}
	mfd_io_close(&theirs);
	mfd_io_close(&ours);
	*state = a.state;
	*peer = a.peer;
	return ret;
}
