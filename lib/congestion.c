// SPDX-License-Identifier: GPL-2.0-only
/* Congestion control of a connection. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "congestion.h"

int mfd_congestion_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n && !name[n] && n < MFD_CONGESTION_NAME;
}

static int set(int fd, const char *name)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) ? -errno :
											    0;
}

static void get(int fd, char name[MFD_CONGESTION_NAME])
{
	socklen_t len = MFD_CONGESTION_NAME;

	memset(name, 0, MFD_CONGESTION_NAME);
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len))
		strcpy(name, "?");
	name[MFD_CONGESTION_NAME - 1] = 0;
}

static int is_short(int fd)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) && i.tcpi_rtt &&
	       i.tcpi_rtt < MFD_CONGESTION_SHORT;
}

static int is_auto(const char *want)
{
	return !want || !strcmp(want, "auto");
}

/* If the choice is not permitted, the system's stays. */
static void set_auto(int fd, int like)
{
	char name[MFD_CONGESTION_NAME];

	get(fd, name);
	if (!strncmp(name, "bbr", 3) && is_short(like))
		set(fd, "cubic");
}

void mfd_congestion_prepare(int fd, int like, const char *want)
{
	if (is_auto(want))
		set_auto(fd, like);
	else if (strcmp(want, "system"))
		set(fd, want);
}

int mfd_congestion_set(int fd, const char *want, char name[MFD_CONGESTION_NAME],
		       struct mfd_error *err)
{
	int ret = 0;

	if (is_auto(want)) {
		set_auto(fd, fd);
	} else if (strcmp(want, "system")) {
		ret = set(fd, want);
	}
	get(fd, name);
	if (ret == -ENOENT)
		return mfd_error_set(
			err, ret,
			"congestion = %s: the kernel does not have it (net.ipv4.tcp_available_congestion_control)",
			want);
	if (ret)
		return mfd_error_sys(err, ret, "congestion = %s", want);
	return 0;
}
