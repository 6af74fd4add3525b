// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restore: everything in cpr-fds.img is found before CRIU makes a task, and fetched inside the
 * tasks.
 *
 * The tasks inherit the loaded table with CRIU's memory.  They do not inherit descriptors, so each
 * fetch makes a connection of its own.
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

#include "cpr_hooks.h"
#include "cpr_pass.h"
#include "cpr_rewrite.h"
#include "cpr_ways.h"
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

/* CRIU's hooks have no context argument; one process makes one restore. */
static struct mfd_restoring rst = { .keeper = -1 };
/* The keeper that is to close what the session has there once the restore has succeeded. */
static struct {
	char *path; /* NULL: none */
	pid_t pid;  /* of CRIU; the restored tasks have a copy of all this */
} closing;

/* ---- the image ---- */

/* The folder of a restore server's session is called as the session. */
static void name_session(const struct mfd_options *o)
{
	char dir[40], path[PATH_MAX], *slash;
	ssize_t n;

	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", mfd_host_image_dir());
	n = readlink(dir, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	snprintf(rst.session, sizeof(rst.session), "%.255s",
		 o->session ? o->session :
		 slash	    ? slash + 1 :
			      path);
}

/* The image's own name of the session counts before any other. */
static int read_image(const struct mfd_options *o, struct mfd_error *err)
{
	const char *why = NULL;
	int ret = mfd_loaded_read(&rst.loaded, mfd_host_image_dir(), &why);

	if (ret)
		return mfd_error_set(err, ret, "%s", why && ret != -ENOMEM ? why : strerror(-ret));
	name_session(o);
	if (rst.loaded.header.session)
		snprintf(rst.session, sizeof(rst.session), "%s", rst.loaded.header.session);
	rst.same_boot = mfd_cpr_header_same_boot(&rst.loaded.header);
	return 0;
}

static int there(const char *name)
{
	return !faccessat(mfd_host_image_dir(), name, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* ---- the keeper ---- */

/*
 * A restore server may have to restore its session once more (confirm = restore), and has the
 * keeper close everything itself when the session is over.
 */
static int try_keeper(const char *path)
{
	rst.keeper = mfd_keeper_connect(path);
	if (rst.keeper < 0)
		return 0;
	if (!there("session.img")) {
		free(closing.path);
		closing.path = strdup(path);
	}
	closing.pid = getpid();
	return 1;
}

/*
 * The configured one; the one the dump used; the one of the restore server in whose folder the
 * session lies.
 */
static void find_keeper(const struct mfd_options *o)
{
	char path[PATH_MAX], dir[40];
	ssize_t n = readlinkat(mfd_host_image_dir(), MFD_KEEPER_LINK, path, sizeof(path) - 1);

	if (o->keeper && try_keeper(o->keeper))
		return;
	if (n > 0) {
		path[n] = 0;
		if (try_keeper(path))
			return;
	}
	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", mfd_host_image_dir());
	n = readlink(dir, path, sizeof(path) - sizeof("/../" MFD_KEEPER_SOCKET));
	if (n > 0) {
		strcpy(path + n, "/../" MFD_KEEPER_SOCKET);
		try_keeper(path);
	}
}

static int attach(struct mfd_error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < rst.loaded.n && mfd_ways_of(&rst.loaded.list[i]) != MFD_WAY_FETCH; i++)
		;
	if (i == rst.loaded.n)
		return 0;
	ret = mfd_keeper_attach(rst.keeper, rst.session, mfd_host_image_dir());
	return ret ? mfd_error_sys(err, ret, "%s in the image folder", MFD_KEEPER_SESSION_SOCKET) :
		     0;
}

/* ---- CRIU's images ---- */

static uint32_t type_of_socket(const struct mfd_cpr_record *r)
{
	int family = mfd_cpr_record_family(r);

	return family == AF_INET || family == AF_INET6 ? MFD_CRIU_INETSK : 0;
}

/* The type CRIU dumped it as by itself; 0: CRIU asked the plugin to dump it. */
static uint32_t own_type(const struct mfd_cpr_record *r)
{
	static const uint32_t types[] = {
		[MFD__CPR_KIND__UNIX_STREAM] = MFD_CRIU_UNIXSK,
		[MFD__CPR_KIND__UNIX_SEQPACKET] = MFD_CRIU_UNIXSK,
		[MFD__CPR_KIND__PIPE] = MFD_CRIU_PIPE,
		[MFD__CPR_KIND__EVENTFD] = MFD_CRIU_EVENTFD,
		[MFD__CPR_KIND__MEMFD] = MFD_CRIU_MEMFD,
	};

	if (r->has & MFD_CPR_HAS_CRIU_ID)
		return 0;
	if (r->kind == MFD__CPR_KIND__SOCKET)
		return type_of_socket(r);
	return (size_t)r->kind < sizeof(types) / sizeof(*types) ? types[r->kind] : 0;
}

/* Entries that CRIU dumped by itself and the keeper kept as well; `of` says which one each is. */
static size_t list_shared(struct mfd_cpr_rewrite *list, const struct mfd_cpr_entry **of)
{
	size_t n = 0;

	for (size_t i = 0; i < rst.loaded.n; i++) {
		const struct mfd_cpr_entry *e = &rst.loaded.list[i];
		const struct mfd_cpr_record *r = e->record;
		uint32_t own = own_type(r);

		if (!own || r->how != MFD__CPR_HOW__KEPT || !r->n_owners || !r->owners[0].pid)
			continue;
		list[n] = (struct mfd_cpr_rewrite){
			.vpid = r->owners[0].pid,
			.fd = r->owners[0].fd,
			.own = own,
			.type = mfd_ways_of(e) == MFD_WAY_FETCH ? MFD_CRIU_EXT : own,
		};
		of[n++] = e;
	}
	return n;
}

/*
 * CRIU's images say pipe, eventfd or memfd; they have to say that a plugin restores it, or again
 * that none does.
 */
static int rewrite(struct mfd_error *err)
{
	struct mfd_cpr_rewrite *list = calloc(rst.loaded.n + 1, sizeof(*list));
	const struct mfd_cpr_entry **of = calloc(rst.loaded.n + 1, sizeof(*of));
	int ret = list && of ? 0 : mfd_error_set(err, -ENOMEM, "no memory");
	size_t n = ret ? 0 : list_shared(list, of);

	if (n)
		ret = mfd_cpr_rewrite(mfd_host_image_dir(), list, n, err);
	for (size_t i = 0; i < n && !ret; i++) {
		if (list[i].type == MFD_CRIU_EXT &&
		    mfd_loaded_will_ask(&rst.loaded, of[i], list[i].criu_id))
			ret = mfd_error_set(err, -ENOMEM, "no memory");
	}
	free(list);
	free(of);
	return ret;
}

/* ---- before CRIU makes a task ---- */

int mfd_cpr_restore_wanted(void)
{
	return there(MFD_CPR_IMAGE_NAME) || there(MFD_KEEPER_LINK) ||
	       there("../" MFD_KEEPER_SOCKET) || getenv("CRIU_MULTIFD_KEEPER");
}

int mfd_cpr_restore_begin(const struct mfd_options *o, struct mfd_error *err)
{
	int ret = read_image(o, err);

	if (ret)
		return ret;
	find_keeper(o);
	ret = mfd_ways_find(&rst, err);
	ret = ret ? ret : rewrite(err);
	ret = ret ? ret : mfd_pass_entries(&rst, err);
	ret = ret ? ret : mfd_pass_offers(&rst, err);
	ret = ret ? ret : attach(err);
	if (!ret && rst.loaded.n)
		mfd_host_info("%zu descriptors of session %s are in reach", rst.loaded.n,
			      rst.session);
	return ret;
}

/* ---- inside the restored task ---- */

/* The key of an entry among those that CRIU asks for. */
struct asked {
	uint32_t id;
	bool is_unix;
};

/* In a process that has inherited the table: a restored task or CRIU's daemon. */
static int fetch_here(void *arg, int unused, pid_t asked_by)
{
	int sock = mfd_keeper_connect_in(mfd_host_image_dir(), MFD_KEEPER_SESSION_SOCKET), fd;
	const struct mfd_cpr_entry *e;
	struct asked asked;

	(void)unused;
	(void)asked_by;
	memcpy(&asked, arg, sizeof(asked));
	e = mfd_loaded_asked(&rst.loaded, asked.is_unix, asked.id);
	fd = sock < 0 ? sock : e ? mfd_keeper_get(sock, rst.session, e->name, e->id) : -ENOENT;
	if (fd < 0)
		mfd_host_error("%s (%u): the keeper %s: %s", e ? e->name : "descriptor", asked.id,
			       sock < 0 ? "cannot be reached" : "does not give it", strerror(-fd));
	mfd_io_close(&sock);
	return fd;
}

/*
 * The root of a restored user namespace may not enter the image folder, and the keeper does not
 * trust it.  There CRIU's daemon for such cases, which has stayed outside, fetches the descriptor
 * and sends it.
 */
static int fetch(const struct mfd_cpr_entry *e, struct asked asked, struct mfd_error *err)
{
	int fd = __userns_call ? __userns_call("fetch_here", fetch_here, USERNS_CALL_FDOUT, &asked,
					       sizeof(asked), -1) :
				 fetch_here(&asked, -1, 0);

	return fd < 0 ? mfd_error_set(err, -EIO, "%s (%llu) was not fetched", e->name,
				      (unsigned long long)e->id) :
			fd;
}

static int reopen(const struct mfd_cpr_record *r, struct mfd_error *err)
{
	int keep = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC | O_DIRECTORY | O_NOATIME |
		   O_PATH;
	int fd = open(r->path, ((int)r->flags & keep) | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return mfd_error_sys(err, -errno, "%s cannot be opened again", r->path);
	if (r->has & MFD_CPR_HAS_POSITION && lseek(fd, (off_t)r->position, SEEK_SET) < 0)
		mfd_host_warn("%s: position %llu: %s", r->path, (unsigned long long)r->position,
			      strerror(errno));
	return fd;
}

int mfd_cpr_restore_fd(bool is_unix, int id, struct mfd_error *err)
{
	const struct asked asked = { .id = (uint32_t)id, .is_unix = is_unix };
	const struct mfd_cpr_entry *e = mfd_loaded_asked(&rst.loaded, is_unix, asked.id);

	if (!e)
		return -ENOTSUP;
	return mfd_ways_of(e) == MFD_WAY_REOPEN ? reopen(e->record, err) : fetch(e, asked, err);
}

/* ---- the end ---- */

/*
 * The restored tasks have their descriptors: the keeper's copies would keep a FUSE file system or a
 * peer's connection alive after the tasks.
 */
void mfd_cpr_restore_end(int ret)
{
	int sock = closing.path && closing.pid == getpid() && !ret ?
			   mfd_keeper_connect(closing.path) :
			   -1;

	if (sock >= 0)
		mfd_keeper_drop(sock, rst.session, NULL, 0, MFD_KEEPER_KEPT | MFD_KEEPER_OFFERED);
	mfd_io_close(&sock);
	mfd_io_close(&rst.keeper);
}
