// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests of the command line on DIR/.serve.sock (SOCK_SEQPACKET, root only): one message, one
 * answer.
 *
 *	exec			go on in the program that lies at our path now
 *	abort NAME		before READY: as if the source had gone; ended sessions: removed;
 *				refused for what may be the only copy
 *	set NAME SETTING VALUE	ask the source to change it: "ok SETTING OLD NEW"
 *	resolve NAME run	in doubt and complete: as if the source had sent COMMIT
 *	resolve NAME discard	in doubt, committed and broken, or not loadable: removed, its tasks
 *				are killed
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

#include "command.h"
#include "evidence.h"
#include "session_file.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "restored_notes.h"
#include "record.h"
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

/* It may be restored yet, or its state cannot be told. */
static int may_be_only_copy(const struct mfd_session_file *f)
{
	return !f->ended && (!f->entry || f->entry->unloadable ||
			     (f->entry->state != MFD__SESSION_STATE__DONE &&
			      f->entry->state != MFD__SESSION_STATE__ABORTED));
}

/*
 * May what lies on disk under this name, with no live session, be thrown away by `kind`?  Zero, and
 * why not.  Before this was asked, it was tried to load it.
 */
static int removable(const struct mfd_server *sv, const struct mfd_session_file *f,
		     enum mfd_request_kind kind, char *why, size_t len)
{
	int copy = may_be_only_copy(f);
	const char *error = !f->entry		 ? f->why :
			    f->entry->unloadable ? f->entry->unloadable :
						   f->entry->error;

	if (kind == MFD_REQUEST_SET)
		snprintf(why, len, "error: %s",
			 f->ended ? "too late: the session has ended" :
			 copy	  ? "the session is not at work" :
				    "too late: everything has been sent already");
	else if (kind == MFD_REQUEST_RUN && !copy && !f->ended)
		snprintf(why, len, "error: the session is done: its tasks run here already");
	else if (kind == MFD_REQUEST_RUN)
		snprintf(why, len, "error: the session cannot run%s%.200s",
			 error ? ": " : " any more", error ? error : "");
	else if (kind == MFD_REQUEST_DISCARD && !copy && !f->ended)
		snprintf(why, len, "error: the session is not in doubt");
	else if (kind == MFD_REQUEST_ABORT && copy)
		snprintf(why, len,
			 "error: %s it may be the only copy of its tasks%s%.120s; to give it up: "
			 "criu-multifd resolve --dir %.100s %.100s --discard",
			 f->entry && f->entry->state == MFD__SESSION_STATE__COMMITTED ?
				 "the session is committed: the source is gone, and" :
				 "the session is not loaded:",
			 error ? "; " : "", error ? error : "", sv->dir, f->name);
	else
		return 1;
	return 0;
}

/* NULL or why not. */
static const char *clean(struct mfd_server *sv, const char *name)
{
	int ret = mfd_record_remove(sv->dirfd, name);

	if (ret == -EEXIST)
		return "error: the folder of that name is no session, it is left alone";
	return ret ? "error: its folder cannot be removed (the log of the kernel may say why)" :
		     NULL;
}

static const char *remove_ended(struct mfd_server *sv, const char *name)
{
	const char *no = clean(sv, name);

	if (!no && mfd_session_file_exhume(sv->dirfd, name))
		no = "error: its tombstone cannot be removed";
	return no;
}

/*
 * A person gives up what may be the only copy: its source, should it be frozen still, hears of it
 * by the tombstone, and goes on.
 */
static int bury(struct mfd_server *sv, const struct mfd_session_file *f, int is_dead)
{
	Mfd__SessionEntry e = *f->entry; /* shallow */

	if (!is_dead) /* a tombstone with an id is evidence */
		e.has_session_id = 0;
	e.error = "discarded by resolve";
	e.has_in_doubt = 1;
	e.in_doubt = 0;
	e.has_by_person = e.by_person = 1;
	return mfd_session_file_bury(sv->dirfd, f->name, &e);
}

/* 1: all that was restored is dead; 0: a process that a task has left behind lives; or -errno. */
static int kill_restored(struct mfd_server *sv, const char *name)
{
	int fd = openat(sv->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), ret;

	if (fd < 0)
		return errno == ENOENT ? 1 : -errno;
	ret = mfd_notes_kill(fd, name);
	if (ret >= 0) {
		ret = mfd_notes_fate(fd) != MFD_NOTES_ALIVE;
		mfd_pagestore_remove(fd); /* a tombstone needs room */
	}
	close(fd);
	return ret;
}

/*
 * What keeps the notes from being read may stay for good: then only the person can know which
 * processes are of the session, and says so by taking the notes away.
 */
static const char *cannot_tell(struct mfd_server *sv, const char *name, char *text, size_t len)
{
	int fd = openat(sv->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int ret = fd < 0 ? 0 : mfd_notes_are_broken(fd);

	mfd_io_close(&fd);
	if (ret)
		snprintf(text, len,
			 "error: whether its restored tasks are dead cannot be told: nothing is "
			 "removed. %.120s/%.80s/" MFD_NOTES_FILE ", which names them, cannot be "
			 "read: %s. If that stays so: end what was restored of it here, move that "
			 "file away, and type this again",
			 sv->dir, name,
			 ret == -EBADMSG ? "a line of it makes no sense" : strerror(-ret));
	else
		snprintf(text, len,
			 "error: whether its restored tasks are dead cannot be told: nothing is "
			 "removed, try again");
	return text;
}

/* A tombstone is discarded: the person says that what ran here does not matter. */
static const char *discard(struct mfd_server *sv, const struct mfd_session_file *f, char *text,
			   size_t len)
{
	int is_dead = 1;

	if (!f->ended) {
		mfd_reload_give_up(sv, f->name);
		is_dead = kill_restored(sv, f->name);
	}
	if (is_dead < 0)
		return cannot_tell(sv, f->name, text, len);
	if (f->entry && bury(sv, f, is_dead))
		return "error: no tombstone can be written (is the disk full?), without which its "
		       "source hears of nothing: try again";
	return clean(sv, f->name);
}

/* What was thrown away, and what is left. */
static const char *lost(const struct mfd_session_file *f)
{
	const Mfd__SessionEntry *e = f->entry;

	if (!e)
		return "ok whose session it was cannot be told: if its source is frozen, it goes on by "
		       "criu-multifd resolve --source DIR --run there";
	if (f->ended)
		return mfd_evidence_ran(e) ?
			       "ok if the tasks of the source are frozen still, they go on from there" :
			       "ok";
	return e->source_gone || e->state == MFD__SESSION_STATE__COMMITTED ?
		       "ok it was committed: unless its tasks live on the source, nothing is left of "
		       "them" :
		       "ok what is left are the tasks of the source";
}

/* The claim keeps connections from opening a session of this name meanwhile. */
static void ask_disk(struct mfd_server *sv, const char *name, enum mfd_request_kind kind,
		     char *answer, size_t len)
{
	struct mfd_session_file f;
	struct mfd_session *claim;
	char text[512];
	const char *no;

	if (mfd_session_claim(sv, name, MFD_CLAIM_OLD, NULL, &claim, NULL)) {
		snprintf(answer, len, "error: session %.255s is busy, try again", name);
		return;
	}
	if (mfd_session_file_find(sv->dirfd, name, &f)) {
		snprintf(answer, len, "error: " MFD_NO_SESSION, name, sv->dir);
	} else {
		if (removable(sv, &f, kind, answer, len)) {
			no = kind == MFD_REQUEST_DISCARD ? discard(sv, &f, text, sizeof(text)) :
							   remove_ended(sv, name);
			snprintf(answer, len, "%s",
				 no			     ? no :
				 kind == MFD_REQUEST_DISCARD ? lost(&f) :
							       "ok");
		}
		mfd_session_file_release(&f);
	}
	mfd_session_unclaim(claim);
}

/* The session of this name, loaded if it can be. */
static struct mfd_session *find(struct mfd_server *sv, const char *name)
{
	struct mfd_session *s = mfd_session_find(sv, name);

	if (s)
		return s;
	mfd_reload_again(sv, name);
	return mfd_session_find(sv, name);
}

static void ask(struct call *c, enum mfd_request_kind kind, char *setting, char *value)
{
	struct mfd_request r = { .kind = kind, .name = setting, .value = value };
	const char *name = c->word[1];
	struct mfd_session *s = find(c->sv, name);

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
