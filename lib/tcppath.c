// SPDX-License-Identifier: GPL-2.0-only
/* What TCP knows of a connection's path. */
#include <errno.h>
#include <ifaddrs.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tcppath.h"

#define AGAIN 2 /* one packet alone may be lost on any path */

static int is_same(const struct sockaddr *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in6 *six = (const void *)a, *other6 = (const void *)b;
	const struct sockaddr_in *four = (const void *)a, *other4 = (const void *)b;

	if (!a || a->sa_family != b->ss_family)
		return 0;
	if (a->sa_family == AF_INET)
		return four->sin_addr.s_addr == other4->sin_addr.s_addr;
	return a->sa_family == AF_INET6 &&
	       !memcmp(&six->sin6_addr, &other6->sin6_addr, sizeof(six->sin6_addr));
}

static void find_device(int fd, char device[IFNAMSIZ])
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	struct ifaddrs *all;

	device[0] = 0;
	if (getsockname(fd, (void *)&own, &len) || getifaddrs(&all))
		return;
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		if (is_same(i->ifa_addr, &own))
			snprintf(device, IFNAMSIZ, "%s", i->ifa_name);
	freeifaddrs(all);
}

int mfd_tcppath_look(int fd, struct mfd_tcppath *path)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	*path = (struct mfd_tcppath){ 0 };
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len))
		return -errno;
	path->mtu = i.tcpi_pmtu;
	path->mss = i.tcpi_snd_mss;
	path->advmss = i.tcpi_advmss;
	path->sent_again = i.tcpi_total_retrans;
	path->acked = i.tcpi_bytes_acked;
	path->received = i.tcpi_bytes_received;
	find_device(fd, path->device);
	return 0;
}

int mfd_tcppath_loses(const struct mfd_tcppath *from, const struct mfd_tcppath *to)
{
	return to->sent_again >= from->sent_again + AGAIN && to->acked < from->acked + from->mss;
}

int mfd_tcppath_starves(const struct mfd_tcppath *from, const struct mfd_tcppath *to)
{
	return to->received < from->received + from->advmss;
}
