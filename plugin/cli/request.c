// SPDX-License-Identifier: GPL-2.0-only
/* One request to the server that serves DIR, or to the sender of the dump in DIR. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"
#include "request.h"
#include "text.h"

/* The path goes through /proc/self/fd, since sun_path is short and DIR need not be. */
static int connect_to(int dirfd, const char *name, unsigned timeout_ms)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (sock < 0)
		return -errno;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	if (!setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) &&
	    !setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) &&
	    !connect(sock, (struct sockaddr *)&sa, sizeof(sa)))
		return sock;
	ret = -errno;
	close(sock);
	return ret;
}

static int exchange(int sock, const char *request, char *reply, size_t len)
{
	ssize_t n = send(sock, request, strlen(request), MSG_NOSIGNAL);

	if (n >= 0)
		do
			n = recv(sock, reply, len - 1, 0);
		while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (!n)
		return -ECONNRESET;
	reply[n] = 0;
	return 0;
}

static int judge(const char *reply, char *answer, size_t len, struct mfd_error *err)
{
	if (!strncmp(reply, "error: ", 7))
		return mfd_error_set(err, -EREMOTEIO, "%s", reply + 7);
	if (strncmp(reply, "ok", 2) || (reply[2] && reply[2] != ' '))
		return mfd_error_set(err, -EPROTO, "the answer makes no sense");
	if (answer)
		snprintf(answer, len, "%s", reply[2] ? reply + 3 : "");
	return 0;
}

struct party {
	const char *socket, *absent, *name; /* absent: the words for an error, before the folder */
};

static int call(const struct party *party, const char *dir, const char *request,
		unsigned timeout_ms, char *answer, size_t len, struct mfd_error *err)
{
	int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), sock, ret;
	char reply[MFD_REQUEST_MAX];

	if (dirfd < 0)
		return mfd_error_sys(err, -errno, "%s", dir);
	sock = connect_to(dirfd, party->socket, timeout_ms);
	close(dirfd);
	if (sock == -ENOENT || sock == -ECONNREFUSED)
		return mfd_error_set(err, -ECONNREFUSED, "%s %s", party->absent, dir);
	if (sock < 0)
		return mfd_error_sys(err, sock, "cannot reach the %s of %s", party->name, dir);
	ret = exchange(sock, request, reply, sizeof(reply));
	close(sock);
	if (ret)
		return mfd_error_sys(err, ret, "no answer from the %s of %s", party->name, dir);
	return judge(reply, answer, len, err);
}

int mfd_request_call(const char *dir, const char *request, unsigned timeout_ms, char *answer,
		     size_t len, struct mfd_error *err)
{
	static const struct party server = { MFD_REQUEST_SOCKET, "no server serves", "server" };

	return call(&server, dir, request, timeout_ms, answer, len, err);
}

int mfd_request_call_sender(const char *dir, const char *request, unsigned timeout_ms, char *answer,
			    size_t len, struct mfd_error *err)
{
	static const struct party sender = { MFD_REQUEST_SENDER_SOCKET, "no sender is at work in",
					     "sender" };

	return call(&sender, dir, request, timeout_ms, answer, len, err);
}

int mfd_request_failed(const char *session, struct mfd_error *err)
{
	static const char none[] = "no session '"; /* MFD_NO_SESSION names it already */

	mfd_image_text_clean(err->text);
	if (strncmp(err->text, none, sizeof(none) - 1))
		fprintf(stderr, "session %s: %s\n", session, err->text);
	else
		fprintf(stderr, "criu-multifd: %s\n", err->text);
	return MFD_EXIT_FAILED;
}
