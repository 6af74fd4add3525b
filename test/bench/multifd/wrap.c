// SPDX-License-Identifier: GPL-2.0-only
/* Meters and the exchangeable zero-copy engine, put in by the linker.  See wrap.h. */
#include <poll.h>
#include <sys/socket.h>

#include "bench.h"
#include "wrap.h"

struct wrap_meter wrap_sending, wrap_reaping;
const struct wrap_engine *wrap_engine;

struct wrap_lap wrap_begin(void)
{
	return (struct wrap_lap){ bench_ns(), bench_thread_ns() };
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

void wrap_end(struct wrap_meter *m, struct wrap_lap l)
{
	add(&m->cpu_ns, bench_thread_ns() - l.cpu);
	add(&m->wall_ns, bench_ns() - l.wall);
	add(&m->calls, 1);
}

void wrap_reset(void)
{
	for (struct wrap_meter *m = &wrap_sending;; m = &wrap_reaping) {
		atomic_store(&m->calls, 0);
		atomic_store(&m->wall_ns, 0);
		atomic_store(&m->cpu_ns, 0);
		if (m == &wrap_reaping)
			return;
	}
}

/* The names are the linker's. */
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
int __real_poll(struct pollfd *p, nfds_t n, int timeout);
int __real_mfd_zerocopy_init(struct mfd_zerocopy *z, int fd, enum mfd_tristate mode);
int __real_mfd_zerocopy_send(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket);
int __real_mfd_zerocopy_wait(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms);
int __real_mfd_zerocopy_flush(struct mfd_zerocopy *z, unsigned timeout_ms);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout);
int __wrap_mfd_zerocopy_init(struct mfd_zerocopy *z, int fd, enum mfd_tristate mode);
int __wrap_mfd_zerocopy_send(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket);
int __wrap_mfd_zerocopy_wait(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms);
int __wrap_mfd_zerocopy_flush(struct mfd_zerocopy *z, unsigned timeout_ms);

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	struct wrap_lap l = wrap_begin();
	ssize_t ret = __real_send(fd, buf, len, flags);

	wrap_end(&wrap_sending, l);
	return ret;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct wrap_lap l = wrap_begin();
	ssize_t ret = __real_sendmsg(fd, msg, flags);

	wrap_end(&wrap_sending, l);
	return ret;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct wrap_lap l = wrap_begin();
	ssize_t ret = __real_recvmsg(fd, msg, flags);

	wrap_end(&wrap_reaping, l);
	return ret;
}

int __wrap_poll(struct pollfd *p, nfds_t n, int timeout)
{
	struct wrap_lap l = wrap_begin();
	int ret = __real_poll(p, n, timeout);

	wrap_end(&wrap_reaping, l);
	return ret;
}

int __wrap_mfd_zerocopy_init(struct mfd_zerocopy *z, int fd, enum mfd_tristate mode)
{
	if (!wrap_engine)
		return __real_mfd_zerocopy_init(z, fd, mode);
	*z = (struct mfd_zerocopy){ .fd = fd, .mode = MFD_ON };
	return wrap_engine->init(z, fd);
}

int __wrap_mfd_zerocopy_send(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket)
{
	return (wrap_engine ? wrap_engine->send : __real_mfd_zerocopy_send)(z, buf, len, ticket);
}

int __wrap_mfd_zerocopy_wait(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms)
{
	return (wrap_engine ? wrap_engine->wait : __real_mfd_zerocopy_wait)(z, ticket, timeout_ms);
}

int __wrap_mfd_zerocopy_flush(struct mfd_zerocopy *z, unsigned timeout_ms)
{
	if (!wrap_engine)
		return __real_mfd_zerocopy_flush(z, timeout_ms);
	return z->done == z->next ? 0 : wrap_engine->wait(z, z->next - 1, timeout_ms);
}
