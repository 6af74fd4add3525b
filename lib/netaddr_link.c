// SPDX-License-Identifier: GPL-2.0-only
/*
 * Addresses that move, and the kernel: rtnetlink through libnl, announcements through packet and
 * raw sockets, the block through nft(8).
 *
 * Not in netaddr.c, so that the plugin, which has options and their texts in it, is not linked
 * against all of this.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netpacket/packet.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "netaddr.h"

extern char **environ;

static size_t ip_len(const struct mfd_netaddr *a)
{
	return a->family == AF_INET6 ? 16 : 4;
}

static const char *host(const struct mfd_netaddr *a, char buf[INET6_ADDRSTRLEN])
{
	return inet_ntop(a->family, a->ip, buf, INET6_ADDRSTRLEN);
}

/* ---- rtnetlink ---- */

static int nl_failed(struct mfd_error *err, int ret, const char *what, const struct mfd_netaddr *a,
		     const char *dev)
{
	int code = ret == -NLE_PERM  ? -EPERM :
		   ret == -NLE_EXIST ? -EEXIST :
		   ret == -NLE_NOMEM ? -ENOMEM :
				       -EIO;

	return mfd_error_set(err, code, "%s %s on %s: %s", what, a->text, dev, nl_geterror(ret));
}

static struct nl_sock *open_nl(void)
{
	struct nl_sock *s = nl_socket_alloc();

	if (s && nl_connect(s, NETLINK_ROUTE)) {
		nl_socket_free(s);
		return NULL;
	}
	return s;
}

static int is_it(struct rtnl_addr *r, const struct mfd_netaddr *a, int index)
{
	struct nl_addr *local = rtnl_addr_get_local(r);

	return local && rtnl_addr_get_family(r) == a->family &&
	       (!index || rtnl_addr_get_ifindex(r) == index) &&
	       nl_addr_get_len(local) == ip_len(a) &&
	       !memcmp(nl_addr_get_binary_addr(local), a->ip, ip_len(a)) &&
	       (!index || rtnl_addr_get_prefixlen(r) == (int)a->len);
}

static int find_in(struct nl_sock *s, const struct mfd_netaddr *a, int index)
{
	struct nl_cache *cache;
	int found = 0, ret = rtnl_addr_alloc_cache(s, &cache);

	if (ret < 0)
		return ret;
	for (struct nl_object *o = nl_cache_get_first(cache); o && !found; o = nl_cache_get_next(o))
		found = is_it((struct rtnl_addr *)o, a, index);
	nl_cache_free(cache);
	return found;
}

static int device(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err)
{
	unsigned index = if_nametoindex(dev);

	return index ? (int)index :
		       mfd_error_set(err, -ENODEV, "%s: there is no device %s", a->text, dev);
}

int mfd_netaddr_has(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err)
{
	int index = dev ? device(a, dev, err) : 0, ret;
	struct nl_sock *s;

	if (index < 0)
		return index;
	s = open_nl();
	ret = s ? find_in(s, a, index) : -NLE_NOMEM;
	nl_socket_free(s);
	return ret < 0 ? nl_failed(err, ret, "looking for", a, dev ? dev : "any device") : ret;
}

static int change(const struct mfd_netaddr *a, int index, int add)
{
	struct nl_addr *local = nl_addr_build(a->family, a->ip, ip_len(a));
	struct rtnl_addr *r = rtnl_addr_alloc();
	struct nl_sock *s = open_nl();
	int ret = -NLE_NOMEM;

	if (local && r && s) {
		nl_addr_set_prefixlen(local, (int)a->len);
		rtnl_addr_set_ifindex(r, index);
		ret = rtnl_addr_set_local(r, local);
		/*
		 * The address is known to be free; a tentative one could not be used at
		 * once.
		 */
		if (a->family == AF_INET6)
			rtnl_addr_set_flags(r, IFA_F_NODAD);
		if (!ret)
			ret = add ? rtnl_addr_add(s, r, NLM_F_EXCL) : rtnl_addr_delete(s, r, 0);
	}
	rtnl_addr_put(r);
	nl_addr_put(local);
	nl_socket_free(s);
	return ret;
}

int mfd_netaddr_add(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err)
{
	int index = device(a, dev, err), ret;

	if (index < 0)
		return index;
	ret = change(a, index, 1);
	return ret && ret != -NLE_EXIST ? nl_failed(err, ret, "adding", a, dev) : 0;
}

int mfd_netaddr_delete(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err)
{
	int ret = mfd_netaddr_has(a, dev, err);

	if (ret <= 0)
		return ret;
	ret = change(a, (int)if_nametoindex(dev), 0);
	return ret && ret != -NLE_NOADDR ? nl_failed(err, ret, "removing", a, dev) : 0;
}

int mfd_netaddr_check_here(const char *list, struct mfd_error *err)
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(list, a, err), ret;

	for (int i = 0; i < n; i++) {
		ret = mfd_netaddr_has(&a[i], a[i].from, err);
		if (!ret)
			ret = mfd_error_set(err, -EADDRNOTAVAIL, "%s is not an address of %s here",
					    a[i].text, a[i].from);
		if (ret < 0)
			return ret;
	}
	return n < 0 ? n : 0;
}

/* ---- announcements ---- */

/* RFC 5944 4.6: an ARP request for the address itself, from it, to every host. */
static int send_arp(const struct mfd_netaddr *a, int index, const unsigned char *mac)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ARP),
				  .sll_ifindex = index,
				  .sll_halen = ETH_ALEN };
	struct ether_arp arp = { 0 };
	int s = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (s < 0)
		return -errno;
	arp.ea_hdr.ar_hrd = htons(ARPHRD_ETHER);
	arp.ea_hdr.ar_pro = htons(ETH_P_IP);
	arp.ea_hdr.ar_hln = ETH_ALEN;
	arp.ea_hdr.ar_pln = 4;
	memcpy(arp.arp_sha, mac, ETH_ALEN);
	memcpy(arp.arp_spa, a->ip, 4);
	memcpy(arp.arp_tpa, a->ip, 4);
	memset(to.sll_addr, 0xff, ETH_ALEN);
	/* Request and answer: some listen to the one, some to the other. */
	for (int i = 0; i < 2 && !ret; i++) {
		arp.ea_hdr.ar_op = htons(i ? ARPOP_REPLY : ARPOP_REQUEST);
		if (sendto(s, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			ret = -errno;
	}
	close(s);
	return ret;
}

/* RFC 4861 7.2.6: to all nodes, override; the hop limit must be 255. */
static int send_advertisement(const struct mfd_netaddr *a, int index, const unsigned char *mac)
{
	struct {
		struct nd_neighbor_advert na;
		struct nd_opt_hdr opt;
		unsigned char mac[ETH_ALEN];
	} __attribute__((packed)) m = { .opt = { ND_OPT_TARGET_LINKADDR, 1 } };
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 },
			    to = { .sin6_family = AF_INET6, .sin6_scope_id = (uint32_t)index };
	int s = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6), hops = 255, ret = 0;

	if (s < 0)
		return -errno;
	m.na.nd_na_type = ND_NEIGHBOR_ADVERT;
	m.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	memcpy(&m.na.nd_na_target, a->ip, 16);
	memcpy(m.mac, mac, ETH_ALEN);
	memcpy(&from.sin6_addr, a->ip, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&from.sin6_addr))
		from.sin6_scope_id = (uint32_t)index;
	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	if (setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) ||
	    setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) ||
	    bind(s, (struct sockaddr *)&from, sizeof(from)) ||
	    sendto(s, &m, sizeof(m), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		ret = -errno;
	close(s);
	return ret;
}

/* Return 0 if the device is no Ethernet: there is no host to announce an address to. */
static int hardware_address(const char *dev, unsigned char *mac)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct ifreq r = { 0 };

	if (s < 0)
		return -errno;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	ret = ioctl(s, SIOCGIFHWADDR, &r) ? -errno : r.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	memcpy(mac, r.ifr_hwaddr.sa_data, ETH_ALEN);
	close(s);
	return ret;
}

int mfd_netaddr_announce(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err)
{
	unsigned char mac[ETH_ALEN];
	int index = device(a, dev, err), ret;

	if (index < 0)
		return index;
	ret = hardware_address(dev, mac);
	if (ret < 0)
		return mfd_error_sys(err, ret, "announcing %s on %s", a->text, dev);
	if (ret)
		ret = a->family == AF_INET6 ? send_advertisement(a, index, mac) :
					      send_arp(a, index, mac);
	if (ret)
		return mfd_error_sys(err, ret, "announcing %s on %s", a->text, dev);
	return 0;
}

/* ---- the block ---- */

static int run_nft(const char *script)
{
	char *argv[] = { (char *)"nft", (char *)"-f", (char *)"-", NULL };
	posix_spawn_file_actions_t fa;
	int p[2], status, ret;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, p[0], STDIN_FILENO);
	posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	ret = -posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	close(p[0]);
	if (!ret)
		ret = mfd_io_write_all(p[1], script, strlen(script));
	close(p[1]);
	if (ret)
		return ret;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* A table that is there is no error for "add", and so what is deleted after that is there. */
static size_t put_table(char *buf, size_t len, const char *family, const char *name, int lift)
{
	int n = snprintf(buf, len, "add table %s %s\ndelete table %s %s\n", family, name, family,
			 name);

	if (!lift)
		n += snprintf(
			buf + n, len - (size_t)n,
			"add table %s %s\nadd chain %s %s out { type filter hook output priority -400; }\n",
			family, name, family, name);
	return (size_t)n;
}

int mfd_netaddr_block(const struct mfd_netaddr *a, int lift, struct mfd_error *err)
{
	const char *ip = a->family == AF_INET6 ? "ip6" : "ip";
	char name[64] = "criu_multifd_", text[INET6_ADDRSTRLEN], s[2048];
	size_t n = strlen(name);
	int ret;

	for (size_t i = 0; i < ip_len(a); i++, n += 2)
		snprintf(name + n, 3, "%02x", a->ip[i]);
	host(a, text);
	n = put_table(s, sizeof(s), ip, name, lift);
	if (!lift)
		n += (size_t)snprintf(
			s + n, sizeof(s) - n,
			"add rule %s %s out %s saddr %s oifname != \"lo\" drop\n"
			"add chain %s %s in { type filter hook input priority -400; }\n"
			"add rule %s %s in %s daddr %s iifname != \"lo\" drop\n",
			ip, name, ip, text, ip, name, ip, name, ip, text);
	if (a->family == AF_INET) {
		n += put_table(s + n, sizeof(s) - n, "arp", name, lift);
		if (!lift)
			snprintf(s + n, sizeof(s) - n, "add rule arp %s out arp saddr ip %s drop\n",
				 name, text);
	}
	ret = run_nft(s);
	return ret ? mfd_error_sys(err, ret, "%s: nft cannot %s packets for it", a->text,
				   lift ? "let pass" : "hold back") :
		     0;
}
