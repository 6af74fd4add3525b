// SPDX-License-Identifier: GPL-2.0-only
/* MSG_ZEROCOPY sends and their completions. */
#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "assert.h"
#include "io.h"
#include "zerocopy.h"

static void fall_back(struct mfd_zerocopy *z, const char *why)
{
	z->mode = MFD_OFF;
	if (!z->fell_back)
		z->fell_back = why;
}

int mfd_zerocopy_init(struct mfd_zerocopy *z, int fd, enum mfd_tristate mode)
{
	int one = 1;

	*z = (struct mfd_zerocopy){ .fd = fd, .mode = mode };
	if (mode == MFD_OFF || !setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		return 0;
	if (mode == MFD_ON)
		return -errno;
	fall_back(z, "the kernel has no SO_ZEROCOPY for this socket");
	return 0;
}

void mfd_zerocopy_none(struct mfd_zerocopy *z, enum mfd_tristate mode)
{
	*z = (struct mfd_zerocopy){ .fd = -1, .mode = MFD_OFF };
	if (mode == MFD_AUTO)
		fall_back(z, "the connection's transport has no zero-copy");
}

void mfd_zerocopy_complete(struct mfd_zerocopy *z, uint32_t lo, uint32_t hi, int copied)
{
	uint32_t n = hi - lo + 1;

	mfd_assert(z->next - z->done <= MFD_ZEROCOPY_WINDOW);
	mfd_assert(hi - z->done < z->next - z->done && lo - z->done <= hi - z->done);
	mfd_counter_add(&z->completions, n);
	if (copied)
		mfd_counter_add(&z->copied, n);
	for (uint32_t i = lo; i != hi + 1; i++)
		z->seen[i % MFD_ZEROCOPY_WINDOW / 8] |= 1u << i % 8;
	while (z->done != z->next &&
	       z->seen[z->done % MFD_ZEROCOPY_WINDOW / 8] & 1u << z->done % 8) {
		z->seen[z->done % MFD_ZEROCOPY_WINDOW / 8] &= ~(1u << z->done % 8);
		z->done++;
	}
	/*
	 * The path copies all the same (loopback, veth, no checksum offload): pinning pages on top
	 * only costs.
	 */
	if (copied && z->mode == MFD_AUTO)
		fall_back(z, "the kernel copies on this path all the same");
}

static int take_notice(struct mfd_zerocopy *z, struct cmsghdr *cm)
{
	struct sock_extended_err *e = (struct sock_extended_err *)CMSG_DATA(cm);

	if (!(cm->cmsg_level == SOL_IP && cm->cmsg_type == IP_RECVERR) &&
	    !(cm->cmsg_level == SOL_IPV6 && cm->cmsg_type == IPV6_RECVERR))
		return 0;
	if (e->ee_origin != SO_EE_ORIGIN_ZEROCOPY)
		return e->ee_errno ? -(int)e->ee_errno : 0;
	/* A range that was never sent would be a kernel bug; it must not walk the window. */
	if (e->ee_info - z->done > e->ee_data - z->done ||
	    e->ee_data - z->done >= z->next - z->done)
		return -EPROTO;
	mfd_zerocopy_complete(z, e->ee_info, e->ee_data, e->ee_code & SO_EE_CODE_ZEROCOPY_COPIED);
	return 0;
}

/* Take all completions that are there: 0, -EAGAIN if there were none, or an error of the socket. */
static int reap(struct mfd_zerocopy *z)
{
	union {
		char buf[256];
		struct cmsghdr align;
	} u;
	int ret = -EAGAIN;

	for (;;) {
		struct msghdr msg = { .msg_control = u.buf, .msg_controllen = sizeof(u.buf) };

		if (recvmsg(z->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? ret : -errno;
		}
		for (struct cmsghdr *cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
			int r = take_notice(z, cm);

			if (r)
				return r;
		}
		ret = 0;
	}
}

/*
 * Wait for a completion or the socket's end.  poll() reports the error queue as POLLERR, which
 * needs no asking for; a dead socket reports it, too.
 */
static int wait_notice(struct mfd_zerocopy *z, uint64_t deadline)
{
	struct pollfd p = { .fd = z->fd };
	int err = 0, timeout = -1;
	socklen_t len = sizeof(err);

	if (deadline) {
		uint64_t now = mfd_io_now_ms();

		if (now >= deadline)
			return -ETIMEDOUT;
		timeout = (int)(deadline - now);
	}
	if (poll(&p, 1, timeout) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p.revents & (POLLHUP | POLLNVAL)) {
		getsockopt(z->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		return err ? -err : -EPIPE;
	}
	return 0;
}

/* Bytes that the peer has not acknowledged. */
static int unacked(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) ? 0 : n;
}

/*
 * One completion may stand for a megabyte, whose bytes are acknowledged one after the other on a
 * slow link.  So a wait that is over begins again if any were acknowledged meanwhile.
 */
int mfd_zerocopy_wait(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms)
{
	uint64_t deadline = timeout_ms ? mfd_io_now_ms() + timeout_ms : 0;
	int waited = 0, left = unacked(z->fd), now_left;

	mfd_assert((int32_t)(z->next - ticket) > 0 || z->done == z->next);
	mfd_assert(z->next - z->done <= MFD_ZEROCOPY_WINDOW);
	while ((int32_t)(z->done - ticket) <= 0 && z->done != z->next) {
		int ret = reap(z);

		if (ret == -EAGAIN) {
			mfd_counter_add(&z->flush_waits, !waited);
			waited = 1;
			ret = wait_notice(z, deadline);
			if (ret == -ETIMEDOUT && (now_left = unacked(z->fd)) < left) {
				left = now_left;
				deadline = mfd_io_now_ms() + timeout_ms;
				continue;
			}
			/*
			 * A dead socket may still have completions queued: look once more before
			 * giving up.
			 */
			if (ret && !reap(z))
				continue;
		}
		if (ret)
			return ret;
	}
	return 0;
}

int mfd_zerocopy_flush(struct mfd_zerocopy *z, unsigned timeout_ms)
{
	return z->done == z->next ? 0 : mfd_zerocopy_wait(z, z->next - 1, timeout_ms);
}

/*
 * -ENOBUFS: the pages cannot be locked (RLIMIT_MEMLOCK) or the completions' memory (optmem_max) is
 * used up.
 */
static int send_once(struct mfd_zerocopy *z, const void *buf, size_t len, int zc, size_t *sent)
{
	ssize_t n = send(z->fd, buf, len, MSG_NOSIGNAL | (zc ? MSG_ZEROCOPY : 0));

	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	*sent = (size_t)n;
	return 0;
}

int mfd_zerocopy_send(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket)
{
	mfd_assert(z->next - z->done <= MFD_ZEROCOPY_WINDOW);
	mfd_assert(len > 0);
	*ticket = z->next - 1;
	while (len) {
		int zc = z->mode != MFD_OFF;
		size_t sent = 0;
		int ret;

		if (zc && z->next - z->done >= MFD_ZEROCOPY_WINDOW) {
			ret = mfd_zerocopy_wait(z, z->done, 0);
			if (ret)
				return ret;
		}
		ret = send_once(z, buf, len, zc, &sent);
		if (ret == -EINTR)
			continue;
		if (ret == -ENOBUFS && zc) {
			/*
			 * Completions not yet taken hold option memory: take them and try once
			 * more before giving up.
			 */
			if (z->done != z->next) {
				ret = mfd_zerocopy_flush(z, 0);
				if (ret)
					return ret;
				continue;
			}
			if (z->mode == MFD_ON)
				return ret;
			fall_back(
				z,
				"the memory cannot be locked (RLIMIT_MEMLOCK or net.core.optmem_max)");
			continue;
		}
		if (ret)
			return ret;
		if (zc) {
			*ticket = z->next++;
			mfd_counter_add(&z->sends, 1);
		}
		buf = (const char *)buf + sent;
		len -= sent;
	}
	if (z->done != z->next) {
		int ret = reap(z);

		if (ret && ret != -EAGAIN)
			return ret;
	}
	return 0;
}
