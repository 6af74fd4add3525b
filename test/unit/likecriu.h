/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A child that comes to the gate as CRIU does at the end of a lazy dump.
 *
 * plugin/hooks is not linked into unit tests, since it needs CRIU's headers; the files that make
 * the gate do not, and are part of the program that includes this.
 */
#ifndef MFD_TEST_LIKECRIU_H
#define MFD_TEST_LIKECRIU_H

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../plugin/hooks/gate_pair.c"
#include "../../plugin/hooks/interpose.c"

/* What the child saw at the gate; its exit status. */
enum { LIKECRIU_COMMITTED = 10, LIKECRIU_FAILED, LIKECRIU_BROKEN };

/* Serve one connection: CRIU waits for whole requests of 24 bytes or more. */
static inline int likecriu_serve(int fd)
{
	char request[24];
	ssize_t n;

	if (fd < 0)
		return LIKECRIU_BROKEN;
	do
		n = recv(fd, request, sizeof(request), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	return n ? LIKECRIU_FAILED : LIKECRIU_COMMITTED;
}

/* --ps-socket 512. */
static inline int likecriu_ps_socket(void)
{
	return likecriu_serve(MFD_LINK_GATE_CRIU);
}

/* Without it: one connection is accepted, and its peer's address is looked at. */
static inline int likecriu_accept(int listener)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	int fd = accept(listener, (struct sockaddr *)&sa, &len);

	if (sa.ss_family != AF_INET)
		return LIKECRIU_BROKEN;
	return likecriu_serve(fd);
}

#endif
