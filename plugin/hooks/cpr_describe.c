// SPDX-License-Identifier: GPL-2.0-only
/* Kind, name, path, device, position and flags of a descriptor. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cpr_describe.h"

static int read_link(int fd, char *link, size_t len)
{
	char path[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, len - 1);
	if (n < 0)
		return -errno;
	link[n] = 0;
	return 0;
}

static int ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

static Mfd__CprKind device_kind(const struct stat *st)
{
	unsigned major_nr = major(st->st_rdev);

	if (S_ISBLK(st->st_mode))
		return MFD__CPR_KIND__BLOCKDEV;
	/* tty, console, ptmx; pseudo-terminal slaves */
	return major_nr == 4 || major_nr == 5 || (major_nr >= 136 && major_nr <= 143) ?
		       MFD__CPR_KIND__TTY :
		       MFD__CPR_KIND__CHARDEV;
}

static Mfd__CprKind kind_of(const struct stat *st, const char *link)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		if (!strncmp(link, "/memfd:", 7))
			return MFD__CPR_KIND__MEMFD;
		return *link == '/' && !ends_with(link, " (deleted)") ? MFD__CPR_KIND__REG :
									MFD__CPR_KIND__OTHER;
	case S_IFDIR:
		return MFD__CPR_KIND__DIRECTORY;
	case S_IFCHR:
	case S_IFBLK:
		return device_kind(st);
	case S_IFIFO:
		return *link == '/' ? MFD__CPR_KIND__FIFO : MFD__CPR_KIND__PIPE;
	case S_IFSOCK:
		return MFD__CPR_KIND__SOCKET;
	default:
		break;
	}
	if (!strcmp(link, "anon_inode:[eventfd]"))
		return MFD__CPR_KIND__EVENTFD;
	return strncmp(link, "anon_inode:", 11) ? MFD__CPR_KIND__OTHER : MFD__CPR_KIND__ANON_INODE;
}

static void name_it(struct mfd_cpr_described *d, const struct stat *st, const char *link)
{
	struct mfd_cpr_record *r = &d->item.record;
	int gone = ends_with(link, " (deleted)");
	size_t len = strlen(link) - (gone ? strlen(" (deleted)") : 0);

	if (r->kind == MFD__CPR_KIND__MEMFD)
		snprintf(d->name, sizeof(d->name), "%.*s", (int)len - 1, link + 1);
	else if (gone && (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)))
		snprintf(d->name, sizeof(d->name), "%s:%u:%u",
			 S_ISCHR(st->st_mode) ? "char" : "block", major(st->st_rdev),
			 minor(st->st_rdev));
	else
		snprintf(d->name, sizeof(d->name), "%.*s", (int)len, link);
	d->name[MFD_CPR_MAX_NAME] = 0;
	if (*link == '/' && !gone && r->kind != MFD__CPR_KIND__MEMFD) {
		snprintf(d->path, sizeof(d->path), "%s", link);
		r->path = d->path;
	}
}

/* "tcp:0.0.0.0:80", "udp:[::1]:53": where it is bound to. */
static void name_inet(int fd, struct mfd_cpr_described *d)
{
	struct mfd_cpr_socket *s = &d->item.socket;
	struct sockaddr_storage a;
	char host[INET6_ADDRSTRLEN] = "?";
	const char *kind = s->type == SOCK_STREAM ? "tcp" : s->type == SOCK_DGRAM ? "udp" : "raw";
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) || len > sizeof(d->own))
		return;
	memcpy(d->own, &a, len);
	s->address = d->own;
	s->address_len = len;
	if (a.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&a;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(d->name, sizeof(d->name), "%s:%s:%u", kind, host, ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (const void *)&a;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(d->name, sizeof(d->name), "%s:[%s]:%u", kind, host, ntohs(in6->sin6_port));
	}
}

static void add_socket(int fd, struct mfd_cpr_described *d, const struct stat *st)
{
	struct mfd_cpr_socket *s = &d->item.socket;
	int value;
	socklen_t len = sizeof(value);

	s->inode = st->st_ino;
	if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len))
		s->family = (uint32_t)value;
	len = sizeof(value);
	if (!getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len))
		s->type = (uint32_t)value;
	len = sizeof(value);
	if (!getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len))
		s->protocol = (uint32_t)value;
	d->item.record.socket = s;
	d->item.record.has |= MFD_CPR_HAS_SOCKET;
	if (s->family == AF_INET || s->family == AF_INET6)
		name_inet(fd, d);
}

int mfd_cpr_describe(int fd, struct mfd_cpr_described *d)
{
	struct mfd_cpr_record *r = &d->item.record;
	char link[PATH_MAX];
	struct stat st;
	int flags, ret;

	memset(&d->item, 0, sizeof(d->item));
	d->item.name = d->name;
	ret = read_link(fd, link, sizeof(link));
	if (ret)
		return ret;
	flags = fcntl(fd, F_GETFL);
	if (fstat(fd, &st) || flags < 0)
		return -errno;
	r->kind = kind_of(&st, link);
	r->flags = (uint32_t)flags;
	r->has = MFD_CPR_HAS_FLAGS;
	d->item.id = st.st_ino;
	name_it(d, &st, link);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) || r->path) {
		dev_t dev = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;

		r->major = major(dev);
		r->minor = minor(dev);
		r->has |= MFD_CPR_HAS_DEVICE;
	}
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		r->position = (uint64_t)lseek(fd, 0, SEEK_CUR);
		r->has |= MFD_CPR_HAS_POSITION;
	}
	if (S_ISSOCK(st.st_mode))
		add_socket(fd, d, &st);
	return d->item.socket.family == AF_UNIX ? mfd_cpr_describe_unix(fd, d) : 0;
}
