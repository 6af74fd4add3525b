// SPDX-License-Identifier: GPL-2.0-only
/* Requests to the sender. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
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

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       (u.uid == 0 || u.uid == geteuid());
}

/* "set NAME VALUE": cut the text up. */
static int parse_set(struct mfd_desk_request *r)
{
	r->name = r->text + strlen("set ");
	r->value = strchr(r->name, ' ');
	if (!r->value || r->value == r->name || !r->value[1] || strchr(r->value + 1, ' '))
		return 0;
	*r->value++ = 0;
	return 1;
}

static const struct {
	enum mfd_desk_verb verb;
	const char *word;
	int (*parse)(struct mfd_desk_request *r); /* what follows the word; NULL: nothing may */
} verbs[] = {
	{ MFD_DESK_ABORT, "abort", NULL },     { MFD_DESK_RUN, "run", NULL },
	{ MFD_DESK_DISCARD, "discard", NULL }, { MFD_DESK_SET, "set", parse_set },
	{ MFD_DESK_STATUS, "status", NULL },   { MFD_DESK_RETRY, "retry", NULL },
};

static enum mfd_desk_verb parse(struct mfd_desk_request *r)
{
	size_t word = strcspn(r->text, " ");

	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strlen(verbs[i].word) != word || strncmp(r->text, verbs[i].word, word))
			continue;
		if (verbs[i].parse ? r->text[word] && verbs[i].parse(r) : !r->text[word])
			return verbs[i].verb;
	}
	return MFD_DESK_NOTHING;
}

enum mfd_desk_verb mfd_desk_next(int desk, struct mfd_desk_request *r)
{
	struct timeval t = { .tv_usec = 200000 }; /* pages wait meanwhile */
	ssize_t n;

	*r = (struct mfd_desk_request){ .caller = accept4(desk, NULL, NULL, SOCK_CLOEXEC) };
	if (r->caller < 0)
		return MFD_DESK_NOTHING;
	if (!is_root(r->caller)) {
		close(r->caller);
		return MFD_DESK_NOTHING;
	}
	setsockopt(r->caller, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(r->caller, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	n = recv(r->caller, r->text, sizeof(r->text) - 1, 0);
	r->text[n > 0 ? n : 0] = 0;
	r->verb = parse(r);
	if (r->verb == MFD_DESK_NOTHING)
		mfd_desk_answer(
			r->caller,
			"the requests are: abort, run, discard, retry, set NAME VALUE, status");
	return r->verb;
}

/* The caller may be gone by now. */
static void answer(int caller, const char *how, const char *text)
{
	struct iovec iov[2] = { { (void *)how, strlen(how) }, { (void *)text, strlen(text) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	(void)!sendmsg(caller, &msg, MSG_NOSIGNAL);
	close(caller);
}

void mfd_desk_answer(int caller, const char *error)
{
	answer(caller, error ? "error: " : "ok", error ? error : "");
}

void mfd_desk_say(int caller, const char *text)
{
	answer(caller, "ok ", text);
}
