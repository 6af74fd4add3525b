// SPDX-License-Identifier: GPL-2.0-only
/* The client's side of the keeper's socket, and the message both sides use. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "io.h"
#include "keeper_client.h"

#define CALL_SECONDS 10

static int connect_sun(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval t = { .tv_sec = CALL_SECONDS };
	int sock, ret;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	if (!setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) &&
	    !setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) &&
	    !connect(sock, (struct sockaddr *)&a, sizeof(a)))
		return sock;
	ret = -errno;
	close(sock);
	return ret;
}

int mfd_keeper_connect_at(int dirfd, const char *name)
{
	char path[108];

	if (snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return connect_sun(path);
}

/* sun_path is short; the folder of a longer path is opened first. */
int mfd_keeper_connect(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[4096];
	int dirfd, sock;

	if (!slash || strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path))
		return connect_sun(path);
	if (snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path) + 1, path) >=
	    (int)sizeof(folder))
		return -ENAMETOOLONG;
	dirfd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	sock = mfd_keeper_connect_at(dirfd, slash + 1);
	close(dirfd);
	return sock;
}

int mfd_keeper_connect_in(int dirfd, const char *name)
{
	int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), sock;

	if (cwd < 0)
		return -errno;
	if (fchdir(dirfd))
		sock = -errno;
	else
		sock = connect_sun(name);
	if (fchdir(cwd) && sock >= 0) {
		close(sock);
		sock = -errno;
	}
	close(cwd);
	return sock;
}

int mfd_keeper_fill(struct mfd_keeper_msg *m, enum mfd_keeper_type type, const char *session,
		    const char *name, uint64_t id)
{
	memset(m, 0, offsetof(struct mfd_keeper_msg, name) + 1);
	m->version = MFD_KEEPER_VERSION;
	m->type = type;
	m->id = id;
	if ((session && strlen(session) >= sizeof(m->session)) ||
	    (name && strlen(name) >= sizeof(m->name)))
		return -ENAMETOOLONG;
	if (session)
		strcpy(m->session, session);
	if (name)
		strcpy(m->name, name);
	return 0;
}

int mfd_keeper_send(int sock, const struct mfd_keeper_msg *m, int fd)
{
	ssize_t n = mfd_io_send_fds(
		sock, m, offsetof(struct mfd_keeper_msg, name) + strlen(m->name) + 1, &fd, fd >= 0);

	return n < 0 ? (int)n : 0;
}

int mfd_keeper_recv(int sock, struct mfd_keeper_msg *m, int *fd)
{
	int got = -1, nfds = 1;
	ssize_t n = mfd_io_recv_fds(sock, m, sizeof(*m), &got, &nfds);
	size_t least = offsetof(struct mfd_keeper_msg, name) + 1;

	if (fd)
		*fd = -1;
	if (n <= 0)
		return (int)n;
	if (!nfds)
		got = -1;
	if ((size_t)n < least || m->version != MFD_KEEPER_VERSION ||
	    !memchr(m->session, 0, sizeof(m->session)) || ((char *)m)[n - 1] != 0) {
		mfd_io_close(&got);
		return -EPROTO;
	}
	if (fd)
		*fd = got;
	else
		mfd_io_close(&got);
	return 1;
}

int mfd_keeper_call(int sock, struct mfd_keeper_msg *m, int fd_out, int *fd_in)
{
	int ret = mfd_keeper_send(sock, m, fd_out);

	if (ret)
		return ret;
	ret = mfd_keeper_recv(sock, m, fd_in);
	if (ret == 1 && m->type == MFD_KEEPER_OK)
		return 0;
	if (fd_in)
		mfd_io_close(fd_in);
	if (ret == 1)
		return m->type == MFD_KEEPER_FAILED && m->code < 0 ? m->code : -EPROTO;
	return ret ? ret : -ECONNRESET;
}

static int simple(int sock, enum mfd_keeper_type type, const char *session, const char *name,
		  uint64_t id, uint32_t flags, int fd_out, int *fd_in)
{
	struct mfd_keeper_msg m;
	int ret = mfd_keeper_fill(&m, type, session, name, id);

	m.flags = flags;
	return ret ? ret : mfd_keeper_call(sock, &m, fd_out, fd_in);
}

int mfd_keeper_begin(int sock, const char *session)
{
	return simple(sock, MFD_KEEPER_BEGIN, session, NULL, 0, 0, -1, NULL);
}

int mfd_keeper_put(int sock, const char *session, const char *name, uint64_t id, int fd)
{
	return simple(sock, MFD_KEEPER_PUT, session, name, id, 0, fd, NULL);
}

int mfd_keeper_get(int sock, const char *session, const char *name, uint64_t id)
{
	int fd = -1, ret = simple(sock, MFD_KEEPER_GET, session, name, id, 0, -1, &fd);

	if (ret)
		return ret;
	return fd < 0 ? -EPROTO : fd;
}

int mfd_keeper_has(int sock, const char *session, const char *name, uint64_t id)
{
	struct mfd_keeper_msg m;
	int ret = mfd_keeper_fill(&m, MFD_KEEPER_HAS, session, name, id);

	ret = ret ? ret : mfd_keeper_call(sock, &m, -1, NULL);
	return ret ? ret : (int)m.flags;
}

int mfd_keeper_drop(int sock, const char *session, const char *name, uint64_t id, uint32_t which)
{
	return simple(sock, MFD_KEEPER_DROP, session, name, id, which, -1, NULL);
}

int mfd_keeper_list(int sock, const char *session,
		    int (*each)(void *ctx, const struct mfd_keeper_msg *m), void *ctx)
{
	struct mfd_keeper_msg m;
	int ret = mfd_keeper_fill(&m, MFD_KEEPER_LIST, session, NULL, 0);

	ret = ret ? ret : mfd_keeper_send(sock, &m, -1);
	while (!ret) {
		ret = mfd_keeper_recv(sock, &m, NULL);
		if (ret != 1)
			return ret ? ret : -ECONNRESET;
		if (m.type == MFD_KEEPER_OK)
			return 0;
		ret = m.type == MFD_KEEPER_ENTRY ? each(ctx, &m) : -EPROTO;
	}
	return ret;
}

int mfd_keeper_attach(int sock, const char *session, int image_dir)
{
	return simple(sock, MFD_KEEPER_ATTACH, session, NULL, 0, 0, image_dir, NULL);
}
