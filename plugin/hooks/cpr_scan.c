// SPDX-License-Identifier: GPL-2.0-only
/* Descriptors that cannot be kept, and those that are shared with processes outside the tree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpr_scan.h"
#include "cpr_walk.h"
#include "io.h"
#include "maps.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

/* ---- what cannot be kept ---- */

struct refusal {
	int pid;
	struct mfd_error *err;
};

static const char *why_not_link(const char *link)
{
	if (!strcmp(link, "anon_inode:[io_uring]"))
		return "an io_uring instance: its rings live in the kernel and cannot be handed over";
	if (!strcmp(link, "/secretmem (deleted)") || !strcmp(link, "/secretmem") ||
	    !strcmp(link, "anon_inode:[secretmem]"))
		return "memory of memfd_secret: only the process itself may read it";
	return NULL;
}

static ino_t net_namespace(int pid)
{
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat(path, &st) ? 0 : st.st_ino;
}

static int is_foreign(int pid, int sock)
{
	int ns = ioctl(sock, SIOCGSKNS);
	ino_t ours = net_namespace(pid);
	struct stat st;
	int foreign;

	if (ns < 0)
		return 0;
	foreign = ours && !fstat(ns, &st) && st.st_ino != ours;
	close(ns);
	return foreign;
}

static const char *why_not_socket(int pid, int fd)
{
	int sock = mfd_walk_get(pid, fd), family = 0;
	socklen_t len = sizeof(family);
	const char *why = NULL;

	if (sock < 0)
		return NULL;
	getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &family, &len);
	if (family == AF_VSOCK)
		why = "a vsock socket: CRIU does not know them and they belong to this machine";
	else if (family == AF_UNIX && is_foreign(pid, sock))
		why = "a unix socket of another network namespace than its process's: CRIU cannot find it";
	close(sock);
	return why;
}

static int refuse_fd(void *ctx, int fd)
{
	struct refusal *r = ctx;
	char link[PATH_MAX];
	const char *why;

	if (mfd_walk_link(r->pid, fd, link, sizeof(link)))
		return 0;
	why = strncmp(link, "socket:[", 8) ? why_not_link(link) : why_not_socket(r->pid, fd);
	return why ? mfd_error_set(r->err, -EOPNOTSUPP, "process %d, descriptor %d is %s", r->pid,
				   fd, why) :
		     0;
}

/* The descriptor may be closed and the mapping be left. */
static int refuse_map(const struct mfd_map *m, void *arg)
{
	struct refusal *r = arg;
	const char *why = why_not_link(m->name);

	return why ? mfd_error_set(r->err, -EOPNOTSUPP, "process %d has mapped at %#" PRIx64 " %s",
				   r->pid, m->start, why) :
		     0;
}

/* A process whose mappings cannot be read is CRIU's to judge. */
static int refuse_maps(struct refusal *r)
{
	return mfd_maps_each(r->pid, MFD_MAPS, refuse_map, r) == -EOPNOTSUPP ? -EOPNOTSUPP : 0;
}

int mfd_scan_refuse(int root, struct mfd_error *err)
{
	struct refusal r = { .err = err };
	struct mfd_walk_pids pids = { 0 };
	int ret = mfd_walk_tree(root, &pids);
	char path[40];

	for (size_t i = 0; i < pids.n && !ret; i++) {
		r.pid = pids.v[i];
		snprintf(path, sizeof(path), "/proc/%d/fd", r.pid);
		ret = mfd_walk_numbers(path, refuse_fd, &r);
		ret = ret ? ret : refuse_maps(&r);
	}
	free(pids.v);
	return ret;
}

/* ---- what is shared with others ---- */

enum { PIPES, EVENTFDS, MEMFDS, SOCKETS };

/* One descriptor that may be shared. */
struct shared {
	int what, pid, fd, outside;
	uint64_t dev, ino;
};

struct sharing {
	struct mfd_walk_pids tree;
	int pid;     /* whose descriptors are looked at */
	int collect; /* in the tree; else outside */
	struct shared *v;
	size_t n, room;
};

static int eventfd_id(int pid, int fd, uint64_t *id)
{
	char path[64], *text, *at;
	unsigned value;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	at = strstr(text, "eventfd-id:");
	ret = at && sscanf(at + 11, "%u", &value) == 1 ? 0 : -ENOENT;
	free(text);
	*id = ret ? 0 : value;
	return ret;
}

static int inode_of(int pid, int fd, struct shared *s)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (stat(path, &st))
		return -errno;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

/* 0 when it is one that can be shared. */
static int identify(int pid, int fd, struct shared *s)
{
	char link[PATH_MAX];

	*s = (struct shared){ .pid = pid, .fd = fd };
	if (mfd_walk_link(pid, fd, link, sizeof(link)))
		return -ENOENT;
	if (!strncmp(link, "pipe:[", 6)) {
		s->what = PIPES;
		s->ino = strtoull(link + 6, NULL, 10);
		return 0;
	}
	if (!strcmp(link, "anon_inode:[eventfd]")) {
		s->what = EVENTFDS;
		return eventfd_id(pid, fd, &s->ino);
	}
	if (!strncmp(link, "socket:[", 8)) {
		s->what = SOCKETS;
		s->ino = strtoull(link + 8, NULL, 10);
		return 0;
	}
	s->what = MEMFDS;
	return strncmp(link, "/memfd:", 7) ? -ENOENT : inode_of(pid, fd, s);
}

/* By object; one object's in the order of their owners. */
static int compare(const void *x, const void *y)
{
	const struct shared *a = x, *b = y;

	if (a->what != b->what)
		return a->what < b->what ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->dev < b->dev ? -1 : a->dev > b->dev;
}

static int compare_all(const void *x, const void *y)
{
	const struct shared *a = x, *b = y;
	int d = compare(x, y);

	d = d ? d : a->pid - b->pid;
	return d ? d : a->fd - b->fd;
}

/* A process outside the tree has the object of `s` open. */
static void mark(struct sharing *sh, const struct shared *s)
{
	struct shared *found = bsearch(s, sh->v, sh->n, sizeof(*s), compare);

	if (!found || found->outside)
		return;
	while (found > sh->v && !compare(found - 1, s))
		found--;
	for (; found < sh->v + sh->n && !compare(found, s); found++)
		found->outside = 1;
}

static int look_at(void *ctx, int fd)
{
	struct sharing *sh = ctx;
	struct shared s;

	if (identify(sh->pid, fd, &s))
		return 0;
	if (!sh->collect) {
		mark(sh, &s);
		return 0;
	}
	if (sh->n == sh->room) {
		size_t room = sh->room ? sh->room * 2 : 64;
		struct shared *more = realloc(sh->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		sh->v = more;
		sh->room = room;
	}
	sh->v[sh->n++] = s;
	return 0;
}

static int look_at_process(struct sharing *sh, int pid)
{
	char path[40];

	sh->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return mfd_walk_numbers(path, look_at, sh);
}

static int look_outside(void *ctx, int pid)
{
	struct sharing *sh = ctx;

	return pid == getpid() || mfd_walk_has(&sh->tree, pid) ? 0 : look_at_process(sh, pid);
}

static int same_description(const struct shared *a, const struct shared *b)
{
	return !syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, a->fd, b->fd);
}

/*
 * Delivered already: another descriptor of the same description. *others: of those before, how many
 * are of the same object.
 */
static int seen(const struct sharing *sh, size_t i, unsigned *others)
{
	const struct shared *s = &sh->v[i], *t;

	*others = 0;
	for (size_t j = i; j > 0 && !compare(&sh->v[j - 1], s); j--) {
		t = &sh->v[j - 1];
		if (same_description(t, s))
			return 1;
		(*others)++;
	}
	return 0;
}

/*
 * A connection that others have open, too, ends with the dump in any case: CRIU takes its state out
 * of the kernel.
 */
static int is_listening(int fd)
{
	int yes = 0;
	socklen_t len = sizeof(yes);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) && yes;
}

/*
 * (name, id) must be unique: the object's own number for its first description, owner and
 * descriptor for each further one.
 */
static int deliver(const struct shared *s, unsigned others,
		   int (*each)(void *ctx, int fd, struct mfd_cpr_described *d), void *ctx)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	int fd = mfd_walk_get(s->pid, s->fd), ret;

	if (fd < 0)
		return fd;
	if (s->what == SOCKETS && !is_listening(fd)) {
		close(fd);
		return 0;
	}
	ret = mfd_cpr_describe(fd, &d);
	d.item.id = others ? (uint64_t)mfd_walk_inner_pid(s->pid) << 32 | (uint32_t)s->fd : s->ino;
	d.owner =
		(struct mfd_cpr_owner){ .pid = mfd_walk_inner_pid(s->pid), .fd = (uint32_t)s->fd };
	d.item.record.owners = &d.owner;
	d.item.record.n_owners = 1;
	ret = ret ? ret : each(ctx, fd, &d);
	close(fd);
	return ret;
}

int mfd_scan_shared(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d),
		    void *ctx)
{
	struct sharing sh = { .collect = 1 };
	unsigned others;
	int ret = mfd_walk_tree(root, &sh.tree);

	for (size_t i = 0; i < sh.tree.n && !ret; i++)
		ret = look_at_process(&sh, sh.tree.v[i]);
	sh.collect = 0;
	if (sh.n)
		qsort(sh.v, sh.n, sizeof(*sh.v), compare_all);
	if (!ret && sh.n)
		ret = mfd_walk_numbers("/proc", look_outside, &sh);
	for (size_t i = 0; i < sh.n && !ret; i++) {
		if (sh.v[i].outside && !seen(&sh, i, &others))
			ret = deliver(&sh.v[i], others, each, ctx);
	}
	free(sh.tree.v);
	free(sh.v);
	return ret;
}
