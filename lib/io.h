/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one place for partial reads and writes, interrupted calls and descriptors passed over unix
 * sockets. All functions return 0 or a count on success and -errno on failure.
 */
#ifndef MFD_IO_H
#define MFD_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Read or write exactly len bytes.  -ECONNRESET if the other side ends before the first byte,
 * -EPIPE if it ends inside.
 */
int mfd_io_read_all(int fd, void *buf, size_t len);
int mfd_io_write_all(int fd, const void *buf, size_t len); /* sockets: without SIGPIPE */
/* Write all of iov[0..n-1]; the array is modified. */
int mfd_io_writev_all(int fd, struct iovec *iov, int n);
/* -ENODATA at the end of the file. */
int mfd_io_pread_all(int fd, void *buf, size_t len, uint64_t offset);
int mfd_io_pwrite_all(int fd, const void *buf, size_t len, uint64_t offset);

/*
 * Send or receive one message with up to MFD_IO_MAX_FDS descriptors on a unix SEQPACKET or DGRAM
 * socket (or the first bytes of a stream).  Received descriptors are close-on-exec and the
 * caller's; *nfds holds the room before and the count after the call.  Return the length of the
 * message, 0 if the peer is gone, -EMSGSIZE if it or its descriptors did not fit.
 */
#define MFD_IO_MAX_FDS 64
ssize_t mfd_io_send_fds(int sock, const void *buf, size_t len, const int *fds, int nfds);
ssize_t mfd_io_recv_fds(int sock, void *buf, size_t len, int *fds, int *nfds);

/*
 * Read a whole small file (at most max bytes) into a NUL-terminated string, which the caller frees.
 * -EFBIG if it is larger, -EPERM for another user's FIFO; *len (may be NULL) is its length.
 */
int mfd_io_read_file(int dirfd, const char *path, size_t max, char **text, size_t *len);
/* Write through a temporary name, fsync and rename; the file's folder is synced, too. */
int mfd_io_replace_file(int dirfd, const char *path, const void *buf, size_t len, mode_t mode);

void mfd_io_close(int *fd);   /* close and set to -1; fine on -1 */
uint64_t mfd_io_now_ms(void); /* CLOCK_MONOTONIC */
uint64_t mfd_io_now_us(void);

#endif
