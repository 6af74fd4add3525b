// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keeper goes on in a new program.  Its state is lines of text; numbers of descriptors stay
 * what they are:
 *
 *	keeper 1
 *	own DIRFD LOCK LISTENER LINK KEEP_MS
 *	dir LENGTH PATH
 *	session IMAGE_DIR SOCKET USED_MS LENGTH NAME
 *	fd kept|offered NUMBER ID SINCE_MS LENGTH NAME		of the session above
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "keeperproc.h"
#include "log.h"
#include "reexec.h"

struct writing {
	FILE *f;
	struct mfd_reexec *r;
	const char *which;
};

static int write_fd(void *ctx, const struct mfd_cpr_entry *e)
{
	const struct mfd_kept_since *since = e->record;
	struct writing *w = ctx;

	fprintf(w->f, "fd %s %d %" PRIu64 " %" PRIu64 " %zu %s\n", w->which, e->fd, e->id,
		since->ms, strlen(e->name), e->name);
	return mfd_reexec_keep(w->r, e->fd);
}

static int write_session(struct writing *w, const struct mfd_kept *s)
{
	int ret;

	fprintf(w->f, "session %d %d %" PRIu64 " %zu %s\n", s->image_dir, s->sock, s->used_ms,
		strlen(s->name), s->name);
	ret = mfd_reexec_keep(w->r, s->image_dir);
	ret = ret ? ret : mfd_reexec_keep(w->r, s->sock);
	w->which = "kept";
	ret = ret ? ret : mfd_cpr_walk_fd(s->kept, write_fd, w);
	w->which = "offered";
	return ret ? ret : mfd_cpr_walk_fd(s->offered, write_fd, w);
}

static int write_state(const struct mfd_keeper *k, struct writing *w)
{
	const int own[] = { k->dirfd, k->lock, k->listen_fd, k->link };
	const struct mfd_kept *s;
	size_t i;
	int ret = 0;

	fprintf(w->f, "keeper 1\nown %d %d %d %d %" PRIu64 "\ndir %zu %s\n", k->dirfd, k->lock,
		k->listen_fd, k->link, k->keep_ms, strlen(k->dir), k->dir);
	for (i = 0; i < sizeof(own) / sizeof(*own) && !ret; i++)
		ret = mfd_reexec_keep(w->r, own[i]);
	for (s = k->sessions; s && !ret; s = s->next)
		ret = write_session(w, s);
	return ret;
}

/*
 * Clients are not taken along: each has had the answer to its last request and may connect again.
 */
int mfd_keeper_exec(struct mfd_keeper *k)
{
	char *argv[] = { NULL, "keeper", "--dir", (char *)k->dir, "--state-fd", "@STATE", NULL };
	struct mfd_reexec r;
	struct writing w = { .r = &r };
	struct mfd_error err = { 0 };
	char *text = NULL;
	size_t len = 0;
	int ret = mfd_reexec_begin(&r, NULL, &err);

	if (!ret) {
		w.f = open_memstream(&text, &len);
		ret = w.f ? write_state(k, &w) : -ENOMEM;
		if (w.f && fclose(w.f) && !ret)
			ret = -ENOMEM;
		if (!ret)
			ret = mfd_reexec_exec(&r, argv, text, len, &err);
	}
	mfd_log_error("the program was not replaced: %s",
		      err.code ? mfd_error_text(&err) : strerror(-ret));
	free(text);
	mfd_reexec_end(&r);
	return ret;
}

/* "LENGTH TEXT\n" at *p, which may hold anything; the copy is to be freed. */
static char *take_text(char **p)
{
	size_t len;
	char *copy, *end;

	len = strtoul(*p, &end, 10);
	if (*end != ' ' || strnlen(end + 1, len + 1) < len + 1 || end[1 + len] != '\n')
		return NULL;
	copy = strndup(end + 1, len);
	*p = end + 1 + len + 1;
	return copy;
}

static int load_own(struct mfd_keeper *k, char **p)
{
	int used = 0;

	if (sscanf(*p, "keeper 1\nown %d %d %d %d %" SCNu64 "\ndir %n", &k->dirfd, &k->lock,
		   &k->listen_fd, &k->link, &k->keep_ms, &used) != 5 ||
	    !used)
		return -EPROTO;
	*p += used;
	k->dir = take_text(p); /* for the rest of our life */
	if (!k->dir)
		return -EPROTO;
	if (k->link >= 0)
		mfd_reexec_adopt(k->link);
	return mfd_reexec_adopt(k->dirfd) || mfd_reexec_adopt(k->lock) ||
			       mfd_reexec_adopt(k->listen_fd) ?
		       -EBADF :
		       0;
}

static int load_session(struct mfd_keeper *k, char **p, struct mfd_kept **s)
{
	int image_dir, sock, used = 0, ret;
	uint64_t used_ms;
	char *name;

	if (sscanf(*p, "session %d %d %" SCNu64 " %n", &image_dir, &sock, &used_ms, &used) != 3 ||
	    !used)
		return -EPROTO;
	*p += used;
	name = take_text(p);
	if (!name)
		return -EPROTO;
	ret = mfd_keeper_make(k, name, s);
	free(name);
	if (ret)
		return ret;
	(*s)->used_ms = used_ms;
	(*s)->image_dir = image_dir;
	(*s)->sock = sock;
	return (image_dir >= 0 && mfd_reexec_adopt(image_dir)) ||
			       (sock >= 0 && mfd_reexec_adopt(sock)) ?
		       -EBADF :
		       0;
}

static int load_fd(struct mfd_kept *s, char **p)
{
	uint64_t id, since;
	int fd, used = 0, ret;
	char which[16], *name;

	if (!s ||
	    sscanf(*p, "fd %15s %d %" SCNu64 " %" SCNu64 " %n", which, &fd, &id, &since, &used) !=
		    4 ||
	    !used)
		return -EPROTO;
	*p += used;
	name = take_text(p);
	if (!name)
		return -EPROTO;
	ret = mfd_reexec_adopt(fd);
	if (!ret)
		ret = mfd_keeper_add(strcmp(which, "kept") ? s->offered : s->kept, name, id, fd,
				     since);
	free(name);
	return ret;
}

int mfd_keeper_state_load(struct mfd_keeper *k, int state, struct mfd_error *err)
{
	struct mfd_kept *s = NULL;
	char *text, *p;
	int ret = mfd_reexec_state(state, &text, err);

	if (ret)
		return ret;
	p = text;
	ret = load_own(k, &p);
	while (!ret && *p)
		ret = *p == 's' ? load_session(k, &p, &s) : load_fd(s, &p);
	if (ret)
		mfd_error_sys(err, ret, "state from the program before, at byte %zu",
			      (size_t)(p - text));
	else
		mfd_log_info("new program (%s): %zu descriptors taken over", MFD_VERSION,
			     mfd_keeper_held(k));
	free(text);
	return ret;
}
