/* SPDX-License-Identifier: GPL-2.0-only */
/* Partial reads and writes, interrupted calls, descriptors over unix sockets, small files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io.h"

int mfd_io_read_all(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET && done ? -EPIPE : -errno;
		if (n == 0)
			return done ? -EPIPE : -ECONNRESET;
		done += (size_t)n;
	}
	return 0;
}

/* A socket must not raise SIGPIPE; anything else has no flag for that. */
static ssize_t writev_once(int fd, struct iovec *iov, int n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)n };
	ssize_t ret = sendmsg(fd, &msg, MSG_NOSIGNAL);

	if (ret < 0 && errno == ENOTSOCK)
		ret = writev(fd, iov, n);
	return ret;
}

int mfd_io_writev_all(int fd, struct iovec *iov, int n)
{
	for (;;) {
		ssize_t ret;

		while (n > 0 && iov->iov_len == 0) {
			iov++;
			n--;
		}
		if (n <= 0)
			return 0;

		ret = writev_once(fd, iov, n < IOV_MAX ? n : IOV_MAX);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0)
			return -errno;
		if (ret == 0)
			return -EIO; /* never loop on a call that makes no progress */

		for (; n > 0 && (size_t)ret >= iov->iov_len; n--, iov++)
			ret -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + ret;
			iov->iov_len -= (size_t)ret;
		}
	}
}

int mfd_io_write_all(int fd, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return mfd_io_writev_all(fd, &iov, 1);
}

static int offset_ok(size_t len, uint64_t offset)
{
	return len <= INT64_MAX && offset <= INT64_MAX - (uint64_t)len;
}

int mfd_io_pread_all(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	if (!offset_ok(len, offset))
		return -EOVERFLOW;
	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

int mfd_io_pwrite_all(int fd, const void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	if (!offset_ok(len, offset))
		return -EOVERFLOW;
	while (done < len) {
		ssize_t n =
			pwrite(fd, (const char *)buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

union fds_control {
	char buf[CMSG_SPACE(sizeof(int) * MFD_IO_MAX_FDS)];
	struct cmsghdr align;
};

ssize_t mfd_io_send_fds(int sock, const void *buf, size_t len, const int *fds, int nfds)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fds_control control;
	struct cmsghdr *cmsg;
	ssize_t ret;

	/* An empty message could not be told from the end of the connection. */
	if (nfds < 0 || nfds > MFD_IO_MAX_FDS || !len)
		return -EINVAL;

	if (nfds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * (size_t)nfds);
	}
	do
		ret = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

/*
 * Take every descriptor of the message: into fds as far as there is room, the others are closed.
 * Nonzero if some did not fit.
 */
static int take_fds(struct msghdr *msg, int *fds, int room, int *count)
{
	struct cmsghdr *cmsg;
	int lost = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n, i;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (*count < room) {
				fds[(*count)++] = fd;
			} else {
				close(fd);
				lost = 1;
			}
		}
	}
	return lost;
}

ssize_t mfd_io_recv_fds(int sock, void *buf, size_t len, int *fds, int *nfds)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	union fds_control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	int room = fds && nfds ? *nfds : 0, count = 0;
	ssize_t ret;

	if (nfds)
		*nfds = 0;
	do
		ret = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return errno == ECONNRESET ? 0 : -errno;

	if (take_fds(&msg, fds, room, &count) || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (count)
			close(fds[--count]);
		return -EMSGSIZE;
	}
	if (nfds)
		*nfds = count;
	return ret;
}

/* Read to the end; sizes are not asked for since files of /proc have none. */
static int read_growing(int fd, size_t max, char **text, size_t *len)
{
	size_t room = 0, used = 0;
	char *buf = NULL, *bigger;
	ssize_t n;

	for (;;) {
		if (used + 1 >= room) {
			room = room ? room * 2 : 4096;
			bigger = realloc(buf, room);
			if (!bigger) {
				free(buf);
				return -ENOMEM;
			}
			buf = bigger;
		}
		n = read(fd, buf + used, room - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || used + (size_t)n > max) {
			int ret = n < 0 ? -errno : -EFBIG;

			free(buf);
			return ret;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	buf[used] = '\0';
	*text = buf;
	if (len)
		*len = used;
	return 0;
}

/* A pipe is read only if it is ours; then it may be waited for. */
static int may_read(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISFIFO(st.st_mode) && st.st_uid && st.st_uid != geteuid())
		return -EPERM;
	return fcntl(fd, F_SETFL, 0) ? -errno : 0;
}

int mfd_io_read_file(int dirfd, const char *path, size_t max, char **text, size_t *len)
{
	int fd, ret;

	/* A FIFO that another user has put there would be waited for. */
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = may_read(fd);
	ret = ret ? ret : read_growing(fd, max, text, len);
	close(fd);
	return ret;
}

/* Open the folder of `path`; *name is its last part. */
static int open_folder(int dirfd, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	int fd;

	*name = path + len;
	if (!**name)
		return -EISDIR;
	if (len >= sizeof(folder))
		return -ENAMETOOLONG;
	memcpy(folder, path, len);
	folder[len] = '\0';
	fd = openat(dirfd, len ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The temporary name is short on its own: one made from the file's name could be too long for the
 * file system.
 */
static int open_temporary(int folder, char *name, size_t size, mode_t mode)
{
	static atomic_uint counter; /* relaxed: only has to differ between threads */
	int fd;

	snprintf(name, size, ".mfd-%ld-%u.tmp", (long)getpid(),
		 atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed));
	unlinkat(folder, name, 0); /* left by a process of the same pid that died */
	fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

static int write_synced(int fd, const void *buf, size_t len, mode_t mode)
{
	int ret;

	if (fchmod(fd, mode)) /* whatever the umask says */
		return -errno;
	ret = mfd_io_write_all(fd, buf, len);
	if (!ret && fsync(fd))
		ret = -errno;
	return ret;
}

int mfd_io_replace_file(int dirfd, const char *path, const void *buf, size_t len, mode_t mode)
{
	const char *name;
	char temporary[64];
	int folder, fd, ret;

	folder = open_folder(dirfd, path, &name);
	if (folder < 0)
		return folder;
	fd = open_temporary(folder, temporary, sizeof(temporary), mode);
	if (fd < 0) {
		ret = fd;
		goto out;
	}
	ret = write_synced(fd, buf, len, mode);
	if (close(fd) && !ret)
		ret = -errno;
	if (!ret && renameat(folder, temporary, folder, name))
		ret = -errno;
	if (ret)
		unlinkat(folder, temporary, 0);
	else if (fsync(folder))
		ret = -errno;
out:
	close(folder);
	return ret;
}

void mfd_io_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

uint64_t mfd_io_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t mfd_io_now_ms(void)
{
	return mfd_io_now_us() / 1000;
}
