// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests of the command line on DIR/.serve.sock (SOCK_SEQPACKET, root only): one message, one
 * answer.
 *
 *	exec			go on in the program that lies at our path now
 *	abort NAME		before READY: as if the source had gone; ended sessions: removed
 *	set NAME SETTING VALUE	ask the source to change it: "ok SETTING OLD NEW"
 *	resolve NAME run	in doubt and complete: as if the source had sent COMMIT
 *	resolve NAME discard	in doubt (or committed and broken): removed, its tasks are killed
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "session_file.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "session.h"

#define REQUEST_SOCKET ".serve.sock"
#define MAX_REQUEST    512
#define MAX_WORDS      4

struct caller {
	struct mfd_server *sv;
	int fd;
};

/* One request, in words. */
struct call {
	struct mfd_server *sv;
	char *word[MAX_WORDS];
	char *answer;
	size_t len;
};

int mfd_requests_listen(struct mfd_server *sv, int *fd, struct mfd_error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int ret;

	/* Through the descriptor, since DIR may be longer than sun_path. */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" REQUEST_SOCKET, sv->dirfd);
	unlinkat(sv->dirfd, REQUEST_SOCKET, 0);
	*fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return mfd_error_sys(err, -errno, "socket");
	mask = umask(0177);
	ret = bind(*fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	umask(mask);
	if (!ret && listen(*fd, 16))
		ret = -errno;
	return ret ? mfd_error_sys(err, ret, "%s/" REQUEST_SOCKET, sv->dir) : 0;
}

static void ask_live(struct mfd_session *s, struct mfd_request *r, char *answer, size_t len)
{
	mfd_session_request(s, r);
	snprintf(answer, len, "%s", r->answer);
}

/*
 * May what lies on disk under this name, with no live session, be thrown away by `kind`? NULL or
 * why not.
 */
static const char *removable(const struct mfd_session_file *f, enum mfd_request_kind kind)
{
	int committed = !f->ended && f->entry && f->entry->state == MFD__SESSION_STATE__COMMITTED;

	if (kind == MFD_REQUEST_SET)
		return "error: too late: everything has been sent already";
	if (kind == MFD_REQUEST_RUN)
		return "error: the session cannot run any more";
	if (kind == MFD_REQUEST_DISCARD)
		return committed ? NULL : "error: the session is not in doubt";
	return committed ?
		       "error: the session is committed: the source is gone (`resolve NAME discard` gives it up)" :
		       NULL;
}

/* NULL or why not. */
static const char *remove_ended(struct mfd_server *sv, const char *name)
{
	int ret = mfd_clean_session(sv->dirfd, name);

	if (ret == -EEXIST)
		return "error: the folder of that name is no session, it is left alone";
	if (ret)
		return "error: its folder cannot be removed (the log of the kernel may say why)";
	mfd_session_file_exhume(sv->dirfd, name);
	return NULL;
}

/* The claim keeps connections from opening a session of this name meanwhile. */
static void ask_disk(struct mfd_server *sv, const char *name, enum mfd_request_kind kind,
		     char *answer, size_t len)
{
	struct mfd_session_file f;
	struct mfd_session *claim;
	const char *no;

	if (mfd_session_claim(sv, name, &claim)) {
		snprintf(answer, len, "error: session %.255s is busy, try again", name);
		return;
	}
	if (mfd_session_file_find(sv->dirfd, name, &f)) {
		snprintf(answer, len, "error: no session %.255s", name);
	} else {
		no = removable(&f, kind);
		mfd_session_file_release(&f);
		if (!no)
			no = remove_ended(sv, name);
		snprintf(answer, len, "%s", no ? no : "ok");
	}
	mfd_session_unclaim(claim);
}

static void ask(struct call *c, enum mfd_request_kind kind, char *setting, char *value)
{
	struct mfd_request r = { .kind = kind, .name = setting, .value = value };
	const char *name = c->word[1];
	struct mfd_session *s = mfd_session_find(c->sv, name);

	if (s)
		ask_live(s, &r, c->answer, c->len);
	else
		ask_disk(c->sv, name, kind, c->answer, c->len);
	mfd_session_put(s);
}

/* ---- the verbs ---- */

static int do_exec(struct call *c)
{
	int ret = mfd_guard_exec(&c->sv->guard);

	snprintf(c->answer, c->len,
		 ret ? "error: the program is not replaced: %s (the log says more)" : "ok",
		 strerror(-ret));
	return 0;
}

static int do_abort(struct call *c)
{
	ask(c, MFD_REQUEST_ABORT, NULL, NULL);
	return 0;
}

static int do_resolve(struct call *c)
{
	if (!strcmp(c->word[2], "run"))
		ask(c, MFD_REQUEST_RUN, NULL, NULL);
	else if (!strcmp(c->word[2], "discard"))
		ask(c, MFD_REQUEST_DISCARD, NULL, NULL);
	else
		return -EINVAL;
	return 0;
}

static int do_set(struct call *c)
{
	ask(c, MFD_REQUEST_SET, c->word[2], c->word[3]);
	return 0;
}

/* word[0] is the verb; word[1], if there is one, the name of a session. */
static const struct verb {
	const char *name, *usage;
	unsigned words;
	int (*act)(struct call *c); /* fills in the answer; -EINVAL: not a request */
} verbs[] = {
	{ "exec", "exec", 1, do_exec },
	{ "abort", "abort NAME", 2, do_abort },
	{ "resolve", "resolve NAME run, resolve NAME discard", 3, do_resolve },
	{ "set", "set NAME SETTING VALUE", 4, do_set },
};
#define N_VERBS (sizeof(verbs) / sizeof(*verbs))

/* As many words as there are, which may be more than have room. */
static unsigned split(char *text, char *word[MAX_WORDS])
{
	unsigned n = 0;
	char *save, *w;

	for (w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save), n++)
		if (n < MAX_WORDS)
			word[n] = w;
	return n;
}

static int find_and_act(struct call *c, unsigned n)
{
	for (size_t i = 0; n && i < N_VERBS; i++) {
		if (strcmp(verbs[i].name, c->word[0]) || n != verbs[i].words)
			continue;
		if (n > 1 && !mfd_wire_name_ok(c->word[1], strlen(c->word[1])))
			return -EINVAL;
		return verbs[i].act(c);
	}
	return -EINVAL;
}

static void say_usage(char *answer, size_t len)
{
	size_t n = (size_t)snprintf(answer, len, "error: the requests are: ");

	for (size_t i = 0; i < N_VERBS && n < len; i++)
		n += (size_t)snprintf(answer + n, len - n, "%s%s", i ? ", " : "", verbs[i].usage);
}

static void answer_request(struct mfd_server *sv, char *text, char *answer, size_t len)
{
	struct call c = { .sv = sv, .answer = answer, .len = len };

	if (find_and_act(&c, split(text, c.word)))
		say_usage(answer, len);
}

static void request_thread(void *arg)
{
	struct caller *c = arg;
	char text[MAX_REQUEST + 1], answer[512] = "";
	ssize_t n = recv(c->fd, text, MAX_REQUEST, 0);

	if (n > 0) {
		text[n] = 0;
		answer_request(c->sv, text, answer, sizeof(answer));
		if (send(c->fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			mfd_log_debug("request: %s", strerror(errno));
	}
	close(c->fd);
	free(c);
}

static int is_root(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       (u.uid == 0 || u.uid == geteuid());
}

void mfd_requests_accept(struct mfd_server *sv, int listener)
{
	struct timeval t = { .tv_sec = 5 };
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct caller *c;

	if (fd < 0)
		return;
	c = is_root(fd) ? calloc(1, sizeof(*c)) : NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	if (c) {
		c->sv = sv;
		c->fd = fd;
	}
	if (!c || mfd_threads_start(&sv->pool, request_thread, c)) {
		free(c);
		close(fd);
	}
}
