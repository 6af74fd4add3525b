// SPDX-License-Identifier: GPL-2.0-only
/* The two answers at CRIU's gate. */
#include <errno.h>
#include <sys/socket.h>

#include "gate_end.h"

int mfd_gate_end_open(int fd)
{
	return shutdown(fd, SHUT_WR) ? -errno : 0;
}

/* CRIU reads a whole request: without the end of the stream it would wait for the rest. */
int mfd_gate_end_close(int fd)
{
	char no = '!';
	int ret = send(fd, &no, sizeof(no), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;

	shutdown(fd, SHUT_WR);
	return ret;
}
