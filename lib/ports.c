// SPDX-License-Identifier: GPL-2.0-only
/* Rows of local ports: where they may be, and finding a free one.  The reason is in ports.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io.h"
#include "ports.h"
#include "sock.h"

#define RANGE	 "/proc/sys/net/ipv4/ip_local_port_range" /* IPv6 has none of its own */
#define RESERVED "/proc/sys/net/ipv4/ip_local_reserved_ports"
#define PORTS	 65536U
#define TRIES	 32
#define TEXT_MAX (512U << 10) /* every second port, listed singly */

/*
 * Where to look: rows of `step` ports (a power of two, at least n), the first at `first`, `rows` of
 * them.
 */
struct region {
	unsigned first, step, rows;
	/* one bit for each port that the administrator keeps for a service */
	uint8_t reserved[PORTS / 8];
};

/* Read "8080,9000-9100"; if that fails, nothing is reserved. */
static void read_reserved(struct region *r)
{
	char *text, *at;
	size_t len;

	if (mfd_io_read_file(AT_FDCWD, RESERVED, TEXT_MAX, &text, &len))
		return;
	for (at = text; *at >= '0' && *at <= '9'; at += *at == ',') {
		unsigned long from = strtoul(at, &at, 10),
			      to = *at == '-' ? strtoul(at + 1, &at, 10) : from;

		for (unsigned long i = from; i <= to && i < PORTS; i++)
			r->reserved[i / 8] |= (uint8_t)(1U << i % 8);
	}
	free(text);
}

static int is_reserved(const struct region *r, unsigned port)
{
	return r->reserved[port / 8] >> port % 8 & 1;
}

static int region_find(struct region *r, unsigned n)
{
	unsigned low = 32768, high = 60999;
	char *text = NULL;
	size_t len;

	*r = (struct region){ .step = 1 };
	while (r->step < n)
		r->step *= 2;
	if (!mfd_io_read_file(AT_FDCWD, RANGE, 4096, &text, &len))
		sscanf(text, "%u %u", &low, &high);
	free(text);
	r->first = (low + r->step - 1) / r->step * r->step;
	if (high >= PORTS || r->first + r->step > high + 1)
		return -ERANGE;
	r->rows = (high + 1 - r->first) / r->step;
	read_reserved(r);
	return 0;
}

/* A new place each time: a port just used may wait for late packets of its old connection. */
static unsigned random_row(const struct region *r)
{
	unsigned x = 0;

	if (getrandom(&x, sizeof(x), GRND_NONBLOCK) != sizeof(x))
		x = (unsigned)mfd_io_now_us();
	return r->first + x % r->rows * r->step;
}

static int bind_one(const struct region *r, int family, unsigned port)
{
	return is_reserved(r, port) ? -EADDRINUSE : mfd_sock_bound(family, port);
}

/* 0, -EADDRINUSE if another place may be better, or an error that every place has. */
static int bind_row(struct mfd_ports *p, const struct region *r, int family, unsigned n)
{
	unsigned port = random_row(r);

	for (p->n = 0; p->n < n; p->n++) {
		int fd = bind_one(r, family, port + p->n);

		if (fd < 0) {
			mfd_ports_release(p);
			return fd;
		}
		p->fd[p->n] = fd;
	}
	return 0;
}

/*
 * The range is crowded: find each port by itself, so that at least the low bits are as they would
 * be in a row.
 */
static void bind_singly(struct mfd_ports *p, const struct region *r, int family, unsigned n)
{
	for (p->n = 0; p->n < n; p->n++) {
		int fd = -EADDRINUSE;

		for (int i = 0; i < TRIES && fd == -EADDRINUSE; i++)
			fd = bind_one(r, family, random_row(r) + p->n);
		p->fd[p->n] = fd < 0 ? -1 : fd;
	}
}

void mfd_ports_reserve(struct mfd_ports *p, int family, unsigned n)
{
	struct region r;
	int ret = -EADDRINUSE;

	p->n = 0;
	if (n > MFD_PORTS_MAX || region_find(&r, n))
		return;
	for (int i = 0; i < TRIES && ret == -EADDRINUSE; i++)
		ret = bind_row(p, &r, family, n);
	if (ret == -EADDRINUSE)
		bind_singly(p, &r, family, n);
}

int mfd_ports_take(struct mfd_ports *p, unsigned i)
{
	int fd = i < p->n ? p->fd[i] : -1;

	if (fd >= 0)
		p->fd[i] = -1;
	return fd;
}

void mfd_ports_release(struct mfd_ports *p)
{
	for (unsigned i = 0; i < p->n; i++)
		mfd_io_close(&p->fd[i]);
	p->n = 0;
}
