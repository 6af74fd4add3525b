// SPDX-License-Identifier: GPL-2.0-only
/* Requests to the sender. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "desk.h"
#include "io.h"

int mfd_desk_open(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = MFD_DESK_SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return -errno;
	unlink(MFD_DESK_SOCKET);
	/* Linux makes the file with the socket's mode. */
	if (!fchmod(fd, 0600) && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 8))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

void mfd_desk_close(int *desk)
{
	if (*desk >= 0)
		unlink(MFD_DESK_SOCKET);
	mfd_io_close(desk);
}

static int is_root(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) && (u.uid == 0 || u.uid == geteuid());
}

static enum mfd_desk_verb parse(const char *text)
{
	static const char *const verbs[] = {
		[MFD_DESK_ABORT] = "abort",
		[MFD_DESK_RUN] = "run",
		[MFD_DESK_DISCARD] = "discard",
	};

	for (int i = MFD_DESK_ABORT; i <= MFD_DESK_DISCARD; i++)
		if (!strcmp(text, verbs[i]))
			return (enum mfd_desk_verb)i;
	return MFD_DESK_NOTHING;
}

enum mfd_desk_verb mfd_desk_next(int desk, int *caller)
{
	struct timeval t = { .tv_usec = 200000 }; /* pages wait meanwhile */
	enum mfd_desk_verb verb;
	char text[64];
	ssize_t n;

	*caller = accept4(desk, NULL, NULL, SOCK_CLOEXEC);
	if (*caller < 0)
		return MFD_DESK_NOTHING;
	if (!is_root(*caller)) {
		close(*caller);
		return MFD_DESK_NOTHING;
	}
	setsockopt(*caller, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(*caller, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	n = recv(*caller, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	verb = parse(text);
	if (verb == MFD_DESK_NOTHING)
		mfd_desk_answer(*caller, "the requests are: abort, run, discard");
	return verb;
}

void mfd_desk_answer(int caller, const char *error)
{
	char text[256];
	int n = error ? snprintf(text, sizeof(text), "error: %s", error) : snprintf(text, sizeof(text), "ok");

	/* Whoever asked may be gone. */
	(void)!send(caller, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, MSG_NOSIGNAL);
	close(caller);
}
