// SPDX-License-Identifier: GPL-2.0-only
/*
 * Zero-copy sends through io_uring, one ring for each channel, made by the channel's own thread (so
 * that the kernel may know that no other thread submits).  A send is one io_uring_enter that
 * submits and waits for the first completion: bytes of a stream must stay in order, so nothing else
 * could be sent on this socket meanwhile.  The second completion, the notification, says that the
 * buffer is free and whether the kernel has copied all the same.
 */
#include "uring.h"

#ifdef HAVE_LIBURING
#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/socket.h>

#include "bench.h"

#ifndef IORING_SEND_ZC_REPORT_USAGE /* Linux 6.2; liburing 2.3 does not know it */
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#define ENTRIES	  64 /* buffers of a channel are fewer, and so are the sends in flight */
#define MAX_RINGS 64

static struct engine {
	int fd;
	int up; /* the channel's thread has made the ring */
	struct iovec buffers;
	struct io_uring ring;
} engines[MAX_RINGS];
static unsigned used;
static enum uring_kind kind;

static struct engine *engine_of(int fd)
{
	for (unsigned i = 0; i < used; i++)
		if (engines[i].fd == fd)
			return &engines[i];
	bench_die("io_uring: no such channel");
}

static int ring_init(struct io_uring *ring)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };
	int ret = io_uring_queue_init_params(ENTRIES, ring, &p);

	return ret == -EINVAL ? io_uring_queue_init(ENTRIES, ring, 0) : ret;
}

static int ring_up(struct engine *e)
{
	int ret = e->up ? 0 : ring_init(&e->ring);

	if (e->up || ret)
		return ret;
	e->up = 1;
	return kind == URING_SEND_FIXED ? io_uring_register_buffers(&e->ring, &e->buffers, 1) : 0;
}

static int init(struct mfd_zerocopy *z, int fd)
{
	if (used == MAX_RINGS)
		return -ENOSPC;
	engines[used++] = (struct engine){ .fd = fd };
	return 0;
}

/*
 * Take what has completed.  1 when the send itself was among it, with *res; a notification's
 * user_data is its ticket.
 */
static int reap(struct mfd_zerocopy *z, struct engine *e, int *res, int *more)
{
	struct io_uring_cqe *cqe;
	int sent = 0;

	while (!io_uring_peek_cqe(&e->ring, &cqe)) {
		if (cqe->flags & IORING_CQE_F_NOTIF) {
			uint32_t n = (uint32_t)cqe->user_data;

			mfd_zerocopy_complete(
				z, n, n, ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0);
		} else {
			sent = 1;
			*res = cqe->res;
			*more = (cqe->flags & IORING_CQE_F_MORE) != 0;
		}
		io_uring_cqe_seen(&e->ring, cqe);
	}
	return sent;
}

static void prepare(struct engine *e, struct msghdr *msg, uint32_t number)
{
	const int flags = MSG_WAITALL | MSG_NOSIGNAL;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
	struct iovec *v = msg->msg_iov;

	if (kind == URING_SENDMSG) {
		io_uring_prep_sendmsg_zc(sqe, e->fd, msg, flags);
		sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
	} else if (kind == URING_SEND_FIXED) {
		io_uring_prep_send_zc_fixed(sqe, e->fd, v->iov_base, v->iov_len, flags,
					    IORING_SEND_ZC_REPORT_USAGE, 0);
	} else {
		io_uring_prep_send_zc(sqe, e->fd, v->iov_base, v->iov_len, flags,
				      IORING_SEND_ZC_REPORT_USAGE);
	}
	sqe->user_data = number;
}

static int send_all(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket)
{
	struct engine *e = engine_of(z->fd);
	struct iovec v = { (void *)(uintptr_t)buf, len };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1 };
	int ret = ring_up(e), res = 0, more = 0;
	struct wrap_lap l;

	if (ret)
		return ret;
	*ticket = z->next - 1;
	prepare(e, &msg, z->next);
	/*
	 * Notifications may come before the send's own completion of the kernel's later ones: the
	 * number must exist.
	 */
	z->next++;
	l = wrap_begin();
	for (int done = 0; ret >= 0 && !done;) {
		ret = io_uring_submit_and_wait(&e->ring, 1);
		done = reap(z, e, &res, &more);
	}
	wrap_end(&wrap_sending, l);
	if (ret < 0)
		return ret;
	if (!more) /* nothing of the buffer is in use, and no notification will say so */
		mfd_zerocopy_complete(z, z->next - 1, z->next - 1, 0);
	if (res < 0 || (size_t)res != len)
		return res < 0 ? res : -EPIPE; /* MSG_WAITALL: all or an error */
	*ticket = z->next - 1;
	z->sends++;
	return 0;
}

static int wait_for(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms)
{
	struct engine *e = engine_of(z->fd);
	struct io_uring_cqe *cqe;
	int res, more, ret = 0;

	while (!ret && (int32_t)(z->done - ticket) <= 0 && z->done != z->next) {
		struct wrap_lap l = wrap_begin();

		ret = io_uring_wait_cqe(&e->ring, &cqe);
		reap(z, e, &res, &more);
		wrap_end(&wrap_reaping, l);
		if (ret == -EINTR)
			ret = 0;
	}
	return ret;
}

const char *uring_use(enum uring_kind k)
{
	static const struct wrap_engine engine = { init, send_all, wait_for };
	static const int ops[] = { IORING_OP_SEND_ZC, IORING_OP_SEND_ZC, IORING_OP_SENDMSG_ZC };
	struct io_uring ring;
	struct io_uring_probe *probe;
	int ok;

	if (ring_init(&ring))
		return "the kernel refuses io_uring (sysctl kernel.io_uring_disabled?)";
	probe = io_uring_get_probe_ring(&ring);
	ok = probe && io_uring_opcode_supported(probe, ops[k]);
	io_uring_free_probe(probe);
	io_uring_queue_exit(&ring);
	if (!ok)
		return "the kernel has no such zero-copy send";
	kind = k;
	wrap_engine = &engine;
	return NULL;
}

void uring_buffers(int fd, void *memory, size_t len)
{
	engine_of(fd)->buffers = (struct iovec){ memory, len };
}

void uring_close(void)
{
	for (unsigned i = 0; i < used; i++)
		if (engines[i].up)
			io_uring_queue_exit(&engines[i].ring);
	used = 0;
	wrap_engine = NULL;
}

#else
const char *uring_use(enum uring_kind kind)
{
	return "built without liburing";
}

void uring_buffers(int fd, void *memory, size_t len) {}

void uring_close(void) {}
#endif
