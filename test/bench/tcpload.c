// SPDX-License-Identifier: GPL-2.0-only
/*
 * tcpload: plain TCP flows, for what a link gives to any program.
 *
 *	tcpload --sink ADDR:PORT	takes connections and throws away what comes, until it
 *					is killed
 *	tcpload ADDR:PORT FLOWS MIB	sends that much, over so many connections from ports in
 *					a row
 *
 * Each flow takes the next piece when it can, as channels do. It ends when the other side has had
 * everything.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io.h"
#include "ports.h"
#include "sock.h"

#define PIECE (1U << 20)

static char piece[PIECE];
static atomic_long pieces_left; /* relaxed: only the number matters */

static void __attribute__((noreturn)) die(const struct mfd_error *err)
{
	fprintf(stderr, "tcpload: %s\n", err->text);
	exit(1);
}

static void *drain(void *arg)
{
	static _Thread_local char buf[PIECE];
	int fd = (int)(long)arg;

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
	return NULL;
}

static void in_thread(pthread_t *t, void *(*what)(void *), int fd)
{
	if (pthread_create(t, NULL, what, (void *)(long)fd)) {
		fprintf(stderr, "tcpload: no thread\n");
		exit(1);
	}
}

static int sink(struct mfd_sock_addr *addr)
{
	struct mfd_error err = { 0 };
	int l = mfd_sock_listen(addr, &err), fd;
	pthread_t t;

	if (l < 0)
		die(&err);
	fprintf(stderr, "listening on %s\n", addr->text);
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		in_thread(&t, drain, fd);
		pthread_detach(t);
	}
	return 1;
}

static void *pour(void *arg)
{
	int fd = (int)(long)arg;
	char c;

	while (atomic_fetch_sub_explicit(&pieces_left, 1, memory_order_relaxed) > 0) {
		if (mfd_io_write_all(fd, piece, sizeof(piece)))
			exit(1);
	}
	shutdown(fd, SHUT_WR);
	if (read(fd, &c, 1)) /* the end comes when all has been read */
		exit(1);
	return NULL;
}

static int load(const struct mfd_sock_addr *addr, unsigned flows)
{
	pthread_t t[MFD_PORTS_MAX];
	struct mfd_error err = { 0 };
	struct mfd_ports ports;

	mfd_ports_reserve(&ports, addr->sa.ss_family, flows);
	for (size_t i = 0; i < PIECE; i++)
		piece[i] = (char)(i * 2654435761U >> 13);
	for (unsigned i = 0; i < flows; i++) {
		int fd = mfd_sock_connect(addr, mfd_ports_take(&ports, i), 5000, &err);

		if (fd < 0)
			die(&err);
		in_thread(&t[i], pour, fd);
	}
	for (unsigned i = 0; i < flows; i++)
		pthread_join(t[i], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	int is_sink = argc == 3 && !strcmp(argv[1], "--sink");
	struct mfd_error err = { 0 };
	struct mfd_sock_addr addr;
	long flows;

	if (!is_sink && argc != 4) {
		fprintf(stderr, "usage: tcpload --sink ADDR:PORT | tcpload ADDR:PORT FLOWS MIB\n");
		return 2;
	}
	if (mfd_sock_parse(argv[is_sink ? 2 : 1], is_sink, &addr, &err))
		die(&err);
	if (is_sink)
		return sink(&addr);
	flows = atol(argv[2]);
	atomic_store_explicit(&pieces_left, atol(argv[3]), memory_order_relaxed);
	if (flows < 1 || flows > MFD_PORTS_MAX) {
		fprintf(stderr, "tcpload: from 1 to %d flows\n", MFD_PORTS_MAX);
		return 2;
	}
	return load(&addr, (unsigned)flows);
}
