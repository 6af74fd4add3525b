// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restore: everything cpr-fds.img names is found before CRIU makes a task, and fetched inside the
 * tasks.
 *
 * What is read at the beginning is inherited by the restored tasks with CRIU's memory; descriptors
 * are not, so each fetch makes a connection of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criu/criu-plugin.h>

#include "cpr.h"
#include "cpr_describe.h"
#include "cpr_image.h"
#include "cpr_inherit.h"
#include "cpr_rewrite.h"
#include "cpr_tty.h"
#include "host.h"
#include "io.h"
#include "keeper_client.h"

/*
 * CRIU's own, as every release this loads into exports it; a plain call unless a user namespace is
 * restored.
 */
#define USERNS_CALL_FDOUT 2 /* the result is a descriptor */
extern int __userns_call(const char *what, int (*call)(void *arg, int fd, pid_t pid), int flags,
			 void *arg, size_t size, int fd) __attribute__((weak));

enum way { NOWHERE, FETCH, REOPEN, INHERIT, ANY_TERMINAL, OWN_TERMINAL, SAME_TERMINAL, LEAVE };

struct entry {
	char *name, *path, *inherit_id;
	uint64_t id, position;
	uint32_t criu_id, flags, pid, fd;
	Mfd__CprKind kind;
	Mfd__CprHow how;
	bool has_id, is_unix, is_inet, is_dev_tty, has_position;
	bool rewritten; /* CRIU's images say now that a plugin restores it */
	enum way way;
};

static struct {
	struct entry *v;
	size_t n, room;
	int keeper; /* -1 = none */
	char session[256];
	bool same_boot, attached, of_server;
	char *path; /* of the keeper, for the end */
	pid_t pid;
} rst = { .keeper = -1 };

/* ---- the image ---- */

static int take_header(void *ctx, const struct mfd_cpr_image_header *h)
{
	char *boot = NULL;

	(void)ctx;
	if (h->session)
		snprintf(rst.session, sizeof(rst.session), "%s", h->session);
	if (h->boot_id &&
	    !mfd_io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 63, &boot, NULL)) {
		boot[strcspn(boot, "\n")] = 0;
		rst.same_boot = !strcmp(boot, h->boot_id);
	}
	free(boot);
	rst.room = h->count;
	rst.v = calloc(rst.room ? rst.room : 1, sizeof(*rst.v));
	return rst.v ? 0 : -ENOMEM;
}

static char *copy(const char *text, int *ret)
{
	char *c = text ? strdup(text) : NULL;

	if (text && !c)
		*ret = -ENOMEM;
	return c;
}

static int take_entry(void *ctx, const struct mfd_cpr_image_item *item)
{
	const struct mfd_cpr_record *r = &item->record;
	struct entry *e = &rst.v[rst.n];
	int ret = 0;

	(void)ctx;
	if (rst.n == rst.room)
		return -EBADMSG;
	rst.n++;
	e->name = copy(item->name, &ret);
	e->path = copy(r->path, &ret);
	e->inherit_id = copy(r->inherit_id, &ret);
	e->id = item->id;
	e->kind = r->kind;
	e->how = r->how;
	e->flags = r->flags;
	e->position = r->position;
	e->has_position = r->has & MFD_CPR_HAS_POSITION;
	e->has_id = r->has & MFD_CPR_HAS_CRIU_ID;
	e->criu_id = r->criu_id;
	e->is_unix = r->has & MFD_CPR_HAS_SOCKET && r->socket->family == AF_UNIX;
	e->is_inet = r->has & MFD_CPR_HAS_SOCKET &&
		     (r->socket->family == AF_INET || r->socket->family == AF_INET6);
	e->is_dev_tty = e->kind == MFD__CPR_KIND__TTY && r->has & MFD_CPR_HAS_DEVICE &&
			r->major == 5 && !r->minor;
	if (r->n_owners) {
		e->pid = r->owners[0].pid;
		e->fd = r->owners[0].fd;
	}
	return ret;
}

static int read_image(struct mfd_error *err)
{
	const char *why = NULL;
	int ret = mfd_cpr_image_read(criu_get_image_dir(), MFD_CPR_IMAGE_NAME, take_header,
				     take_entry, NULL, &why);

	return ret ? mfd_error_set(err, ret, "%s", why && ret != -ENOMEM ? why : strerror(-ret)) :
		     0;
}

/* ---- the keeper ---- */

static int try_keeper(const char *path)
{
	rst.keeper = mfd_keeper_connect(path);
	if (rst.keeper < 0)
		return 0;
	rst.path = strdup(path);
	return 1;
}

/*
 * The configured one; the one the dump used; the one of the restore server in whose folder the
 * session lies.
 */
static void find_keeper(const struct mfd_options *o)
{
	char path[PATH_MAX], dir[40];
	ssize_t n = readlinkat(criu_get_image_dir(), MFD_KEEPER_LINK, path, sizeof(path) - 1);

	if (o->keeper && try_keeper(o->keeper))
		return;
	if (n > 0) {
		path[n] = 0;
		if (try_keeper(path))
			return;
	}
	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", criu_get_image_dir());
	n = readlink(dir, path, sizeof(path) - sizeof("/../" MFD_KEEPER_SOCKET));
	if (n > 0) {
		strcpy(path + n, "/../" MFD_KEEPER_SOCKET);
		try_keeper(path);
	}
}

/* MFD_KEEPER_KEPT, MFD_KEEPER_OFFERED or 0. */
static int keeper_has(const struct entry *e)
{
	int ret = rst.keeper < 0 ? 0 : mfd_keeper_has(rst.keeper, rst.session, e->name, e->id);

	return ret > 0 ? ret : 0;
}

/* ---- how each is had ---- */

/* A path in the tasks' mounts: whether it is there shows inside the task. */
static int may_reopen(const struct entry *e)
{
	return e->path && !e->inherit_id && !(e->how == MFD__CPR_HOW__KEPT && rst.same_boot);
}

/* An offered end of a pipe may be either one: CRIU opens it again the way that is needed. */
static enum way find_pipe_way(const struct entry *e)
{
	int has = keeper_has(e);

	if (mfd_inherit_given(e->inherit_id))
		return LEAVE;
	return has == MFD_KEEPER_KEPT ? FETCH : has ? INHERIT : NOWHERE;
}

/* /dev/tty has the id of the terminal it is. */
static const struct entry *terminal_of(const struct entry *e)
{
	for (size_t i = 0; i < rst.n; i++) {
		const struct entry *t = &rst.v[i];

		if (e->is_dev_tty && !t->is_dev_tty && t->kind == MFD__CPR_KIND__TTY &&
		    t->id == e->id)
			return t;
	}
	return NULL;
}

/*
 * Kept or offered under its name, offered for all, or ours as with --shell-job.  Never one of the
 * same path: that is somebody else's.
 */
static enum way find_terminal_way(const struct entry *e)
{
	int own;

	if (mfd_inherit_given(e->inherit_id))
		return LEAVE;
	if (keeper_has(e))
		return INHERIT;
	if (terminal_of(e) && !mfd_inherit_given(terminal_of(e)->inherit_id))
		return SAME_TERMINAL;
	if (rst.keeper >= 0 &&
	    mfd_keeper_has(rst.keeper, rst.session, MFD_KEEPER_TERMINAL, e->id) > 0)
		return ANY_TERMINAL;
	own = mfd_tty_own(criu_get_image_dir(), e->inherit_id);
	if (own == -EPERM)
		mfd_host_warn(
			"%s is the terminal of a whole session; this one has a session already and is not taken for it",
			e->name);
	if (own < 0)
		return NOWHERE;
	close(own);
	return OWN_TERMINAL;
}

static enum way find_way(const struct entry *e)
{
	if (e->inherit_id && e->kind == MFD__CPR_KIND__TTY)
		return find_terminal_way(e);
	if (e->inherit_id)
		return find_pipe_way(e);
	if (keeper_has(e))
		return FETCH;
	if (!e->has_id)
		return LEAVE; /* CRIU's own image of it serves, though nobody else shares the copy */
	return may_reopen(e) ? REOPEN : NOWHERE;
}

static void explain(const struct entry *e, struct mfd_error *err)
{
	if (e->kind == MFD__CPR_KIND__TTY)
		mfd_error_set(
			err, -ENOENT,
			"terminal %s of process %u, descriptor %u, cannot be restored: nobody keeps or offers one for session %s, and "
			"standard input does not serve (criu-multifd cpr offer %s '%s' <TERMINAL)",
			e->name, e->pid, e->fd, rst.session, rst.session, e->name);
	else if (rst.keeper < 0)
		mfd_error_set(
			err, -ENOENT,
			"descriptor %s (%llu) of process %u cannot be restored: there is no keeper that holds it",
			e->name, (unsigned long long)e->id, e->pid);
	else
		mfd_error_set(
			err, -ENOENT,
			"descriptor %s (%llu) cannot be restored: the keeper has none of that name for session %s "
			"(criu-multifd cpr offer %s '%s' <descriptor)",
			e->name, (unsigned long long)e->id, rst.session, rst.session, e->name);
}

static int find_ways(struct mfd_error *err)
{
	unsigned missing = 0;

	for (size_t i = 0; i < rst.n; i++) {
		struct entry *e = &rst.v[i];

		e->way = find_way(e);
		if (e->way == NOWHERE) {
			explain(e, err); /* the first is the error; each is in CRIU's log */
			if (missing++ < 20)
				mfd_host_error("nobody has %s (%llu)", e->name,
					       (unsigned long long)e->id);
		} else if (e->way == LEAVE && !e->inherit_id) {
			mfd_host_warn(
				"%s is restored as CRIU does; no other process shares it any more",
				e->name);
		}
	}
	return missing ? err->code : 0;
}

struct others {
	char **v;
	size_t n;
};

static int inherit(const char *name, uint64_t id, char *key, struct mfd_error *err)
{
	int fd = mfd_keeper_get(rst.keeper, rst.session, name, id);

	return fd < 0 ? mfd_error_sys(err, fd, "%s from the keeper", name) :
			mfd_inherit_pass(fd, key, err);
}

static int inherit_own(const struct entry *e, char *key, struct mfd_error *err)
{
	int fd = mfd_tty_own(criu_get_image_dir(), e->inherit_id);

	if (fd < 0)
		return mfd_error_sys(err, fd, "%s from standard input", e->name);
	mfd_host_info("%s becomes this restore's own terminal", e->name);
	return mfd_inherit_pass(fd, key, err);
}

/* Under `key`, its own inherit_id or that of another name for the same. */
static int inherit_entry(const struct entry *e, char *key, struct mfd_error *err)
{
	switch (e->way) {
	case INHERIT:
		return inherit(e->name, e->id, key, err);
	case ANY_TERMINAL:
		return inherit(MFD_KEEPER_TERMINAL, MFD_KEEPER_ANY_ID, key, err);
	case OWN_TERMINAL:
		return inherit_own(e, key, err);
	case SAME_TERMINAL:
		return inherit_entry(terminal_of(e), key, err);
	default:
		return 0;
	}
}

/* What CRIU calls it, of those that it can dump. */
static uint32_t own_type(const struct entry *e)
{
	if (e->has_id && !e->rewritten)
		return 0;
	switch (e->kind) {
	case MFD__CPR_KIND__UNIX_STREAM:
	case MFD__CPR_KIND__UNIX_SEQPACKET:
		return MFD_CRIU_UNIXSK;
	case MFD__CPR_KIND__SOCKET:
		return e->is_inet ? MFD_CRIU_INETSK : 0;
	case MFD__CPR_KIND__PIPE:
		return MFD_CRIU_PIPE;
	case MFD__CPR_KIND__EVENTFD:
		return MFD_CRIU_EVENTFD;
	case MFD__CPR_KIND__MEMFD:
		return MFD_CRIU_MEMFD;
	default:
		return 0;
	}
}

static int is_shared(const struct entry *e)
{
	return own_type(e) && e->how == MFD__CPR_HOW__KEPT && e->pid;
}

/*
 * CRIU's images say pipe, eventfd or memfd; they have to say that a plugin restores it, or again
 * that none does.
 */
static int rewrite(struct mfd_error *err)
{
	struct mfd_cpr_rewrite *list = calloc(rst.n + 1, sizeof(*list));
	size_t n = 0;
	int ret;

	if (!list)
		return mfd_error_set(err, -ENOMEM, "no memory");
	for (size_t i = 0; i < rst.n; i++) {
		const struct entry *e = &rst.v[i];
		uint32_t own = own_type(e);

		if (is_shared(e))
			list[n++] = (struct mfd_cpr_rewrite){ .vpid = e->pid,
							      .fd = e->fd,
							      .own = own,
							      .type = e->way == FETCH ?
									      MFD_CRIU_EXT :
									      own };
	}
	ret = n ? mfd_cpr_rewrite(criu_get_image_dir(), list, n, err) : 0;
	n = 0;
	for (size_t i = 0; i < rst.n && !ret; i++) {
		struct entry *e = &rst.v[i];

		if (!is_shared(e))
			continue;
		e->criu_id = list[n++].criu_id;
		e->has_id = e->rewritten = e->way == FETCH;
	}
	free(list);
	return ret;
}

static int attach(struct mfd_error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < rst.n && rst.v[i].way != FETCH; i++)
		;
	if (i == rst.n)
		return 0;
	ret = mfd_keeper_attach(rst.keeper, rst.session, criu_get_image_dir());
	if (ret)
		return mfd_error_sys(err, ret, "%s in the image folder", MFD_KEEPER_SESSION_SOCKET);
	rst.attached = true;
	return 0;
}

/*
 * An offer that no entry asks for is meant for CRIU's --inherit-fd: a file under another path than
 * it had, a terminal.  CRIU knows paths without their first slash.
 */
static int inherit_other(void *ctx, const struct mfd_keeper_msg *m)
{
	struct others *o = ctx;
	char **more;

	for (size_t i = 0; i < rst.n; i++) {
		if (!strcmp(rst.v[i].name, m->name))
			return 0;
	}
	if (!(m->flags & MFD_KEEPER_OFFERED) || m->id != MFD_KEEPER_ANY_ID ||
	    !strcmp(m->name, MFD_KEEPER_TERMINAL))
		return 0;
	more = realloc(o->v, (o->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	o->v = more;
	o->v[o->n] = strdup(m->name);
	return o->v[o->n++] ? 0 : -ENOMEM;
}

static int inherit_others(struct mfd_error *err)
{
	struct others o = { 0 };
	int ret = rst.keeper < 0 ? 0 : mfd_keeper_list(rst.keeper, rst.session, inherit_other, &o);

	if (ret)
		mfd_error_sys(err, ret, "list of the keeper");
	for (size_t i = 0; i < o.n; i++) {
		char *key = o.v[i] + (*o.v[i] == '/');

		if (!ret) {
			ret = inherit(o.v[i], MFD_KEEPER_ANY_ID, key, err);
			if (!ret)
				mfd_host_info("%s is taken from what was offered", o.v[i]);
		}
		free(o.v[i]);
	}
	free(o.v);
	return ret;
}

/* The folder of a restore server's session is called as the session. */
static void name_session(const struct mfd_options *o)
{
	char dir[40], path[PATH_MAX], *slash;
	ssize_t n;

	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", criu_get_image_dir());
	n = readlink(dir, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	snprintf(rst.session, sizeof(rst.session), "%.255s",
		 o->session ? o->session :
		 slash	    ? slash + 1 :
			      path);
}

static int there(const char *name)
{
	return !faccessat(criu_get_image_dir(), name, F_OK, AT_SYMLINK_NOFOLLOW);
}

int mfd_cpr_restore_wanted(void)
{
	return there(MFD_CPR_IMAGE_NAME) || there(MFD_KEEPER_LINK) ||
	       there("../" MFD_KEEPER_SOCKET) || getenv("CRIU_MULTIFD_KEEPER");
}

int mfd_cpr_restore_begin(const struct mfd_options *o, struct mfd_error *err)
{
	int ret;

	name_session(o);
	ret = there(MFD_CPR_IMAGE_NAME) ? read_image(err) : 0;
	if (ret)
		return ret;
	rst.pid = getpid();
	rst.of_server = there("session.img");
	find_keeper(o);
	ret = find_ways(err);
	ret = ret ? ret : rewrite(err);
	for (size_t i = 0; i < rst.n && !ret; i++)
		ret = inherit_entry(&rst.v[i], rst.v[i].inherit_id, err);
	ret = ret ? ret : inherit_others(err);
	ret = ret ? ret : attach(err);
	if (!ret && rst.n)
		mfd_host_info("%zu descriptors of session %s are in reach", rst.n, rst.session);
	return ret;
}

/* ---- inside the restored task ---- */

static const struct entry *find(bool is_unix, uint32_t id)
{
	for (size_t i = 0; i < rst.n; i++) {
		if (rst.v[i].has_id && rst.v[i].criu_id == id &&
		    (rst.v[i].is_unix && !rst.v[i].rewritten) == is_unix)
			return &rst.v[i];
	}
	return NULL;
}

/* Of rst.v, which whoever does this has inherited. */
static int fetch_one(void *arg, int unused, pid_t asked_by)
{
	int sock = mfd_keeper_connect_in(criu_get_image_dir(), MFD_KEEPER_SESSION_SOCKET), fd;
	const struct entry *e;
	size_t i;

	(void)unused;
	(void)asked_by;
	memcpy(&i, arg, sizeof(i));
	e = &rst.v[i];
	fd = sock < 0 ? sock : mfd_keeper_get(sock, rst.session, e->name, e->id);
	if (fd < 0)
		mfd_host_error("%s (%llu): the keeper %s: %s", e->name, (unsigned long long)e->id,
			       sock < 0 ? "cannot be reached" : "does not give it", strerror(-fd));
	mfd_io_close(&sock);
	return fd;
}

/*
 * The root of a restored user namespace may neither enter the image folder nor is it anybody to the
 * keeper: then CRIU's daemon for such cases, which has stayed outside, does it and sends the
 * descriptor.
 */
static int fetch(const struct entry *e, struct mfd_error *err)
{
	size_t i = (size_t)(e - rst.v);
	int fd = __userns_call ? __userns_call("fetch_one", fetch_one, USERNS_CALL_FDOUT, &i,
					       sizeof(i), -1) :
				 fetch_one(&i, -1, 0);

	return fd < 0 ? mfd_error_set(err, -EIO, "%s (%llu) was not fetched", e->name,
				      (unsigned long long)e->id) :
			fd;
}

static int reopen(const struct entry *e, struct mfd_error *err)
{
	int keep = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC | O_DIRECTORY | O_NOATIME |
		   O_PATH;
	int fd = open(e->path, ((int)e->flags & keep) | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return mfd_error_sys(err, -errno, "%s cannot be opened again", e->path);
	if (e->has_position && lseek(fd, (off_t)e->position, SEEK_SET) < 0)
		mfd_host_warn("%s: position %llu: %s", e->path, (unsigned long long)e->position,
			      strerror(errno));
	return fd;
}

int mfd_cpr_restore_fd(bool is_unix, int id, struct mfd_error *err)
{
	const struct entry *e = find(is_unix, (uint32_t)id);

	if (!e)
		return -ENOTSUP;
	return e->way == REOPEN ? reopen(e, err) : fetch(e, err);
}

/*
 * The restored tasks have theirs: the keeper's copies would keep a FUSE file system or a peer's
 * connection alive after them.  A restore server may have to restore its session once more (confirm
 * = restore), and drops them itself when that is done.
 */
void mfd_cpr_restore_end(int ret)
{
	int sock;

	if (rst.path && rst.pid == getpid() && !ret && !rst.of_server) {
		sock = mfd_keeper_connect(rst.path);
		if (sock >= 0) {
			mfd_keeper_drop(sock, rst.session, NULL, 0,
					MFD_KEEPER_KEPT | MFD_KEEPER_OFFERED);
			close(sock);
		}
	}
	mfd_io_close(&rst.keeper);
}
