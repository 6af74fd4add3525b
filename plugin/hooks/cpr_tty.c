// SPDX-License-Identifier: GPL-2.0-only
/* Terminals whose other end is outside the tree. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "cpr_tty.h"
#include "cpr_walk.h"
#include "host.h"
#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "procfile.h"

#define FIRST_PTS_MAJOR 136U /* Unix98 slaves: eight majors of 256 minors each */
#define LAST_PTS_MAJOR	143U

/* CRIU's own; exported by every release this loads into. */
extern int add_external(char *key) __attribute__((weak));
extern bool external_lookup_id(char *id) __attribute__((weak));

enum which { SLAVE, MASTER, DEV_TTY };

/*
 * One descriptor of the tree that is an end of a pseudo terminal, or /dev/tty, which is the
 * terminal that the session has.
 */
struct end {
	enum which which;
	int pid, fd, at_devpts;
	unsigned index;
	/* of a master that was opened through /dev/ptmx, dev is not that of the devpts */
	dev_t rdev, dev;
};

struct ends {
	struct mfd_walk_pids tree;
	struct end *v;
	size_t n, room;
	int pid; /* of the process that is looked at */
	int has_dev_tty;
};

static unsigned pts_index(dev_t rdev)
{
	return (major(rdev) - FIRST_PTS_MAJOR) * 256 + minor(rdev);
}

static int master_index(int pid, int fd, unsigned *index)
{
	char path[64], *text, *at;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	at = strstr(text, "tty-index:");
	ret = at && sscanf(at + 10, "%u", index) == 1 ? 0 : -ENOENT;
	free(text);
	return ret;
}

/* 0 when it is one. */
static int identify(int pid, int fd, struct end *e)
{
	char path[64];
	struct statfs fs;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (stat(path, &st) || !S_ISCHR(st.st_mode))
		return -ENOENT;
	*e = (struct end){ .pid = pid, .fd = fd, .rdev = st.st_rdev, .dev = st.st_dev };
	if (major(st.st_rdev) >= FIRST_PTS_MAJOR && major(st.st_rdev) <= LAST_PTS_MAJOR) {
		e->index = pts_index(st.st_rdev);
		return 0;
	}
	e->which = st.st_rdev == makedev(5, 2) ? MASTER : DEV_TTY;
	if (st.st_rdev != makedev(5, 2))
		return st.st_rdev == makedev(5, 0) ? 0 : -ENOENT;
	e->at_devpts = !statfs(path, &fs) && fs.f_type == DEVPTS_SUPER_MAGIC;
	return master_index(pid, fd, &e->index);
}

static int collect(void *ctx, int fd)
{
	struct ends *l = ctx;
	struct end e;

	if (identify(l->pid, fd, &e))
		return 0;
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct end *more = realloc(l->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = e;
	return 0;
}

static int same(const struct end *a, const struct end *b)
{
	return a->rdev == b->rdev && a->dev == b->dev;
}

static int has_master(const struct ends *l, const struct end *slave)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct end *m = &l->v[i];

		if (m->which == MASTER && m->index == slave->index &&
		    (!m->at_devpts || m->dev == slave->dev))
			return 1;
	}
	return 0;
}

static int done_before(const struct ends *l, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (l->v[j].which == SLAVE && same(&l->v[j], &l->v[i]))
			return 1;
	}
	return 0;
}

/* The session whose controlling terminal it is, as that process sees it; 0 = it is not. */
static int controls(int pid, dev_t rdev)
{
	struct mfd_procfile_stat st;

	if (mfd_procfile_stat(pid, &st))
		return 0;
	return makedev(st.tty >> 8 & 0xfff, (st.tty & 0xff) | (st.tty >> 12 & 0xfff00)) == rdev ?
		       st.session :
		       0;
}

static int foreign_session(const struct ends *l, const struct end *e)
{
	for (size_t i = 0; i < l->n; i++) {
		int session = l->v[i].which == SLAVE && same(&l->v[i], e) ?
				      controls(l->v[i].pid, e->rdev) :
				      0;

		if (session && !mfd_walk_has(&l->tree, session))
			return session;
	}
	return 0;
}

static int is_runtimes_console(const struct end *e)
{
	struct stat ours;

	return mfd_host_is_service() && (stat("/dev/pts", &ours) || ours.st_dev != e->dev);
}

static int is_hung_up(int fd)
{
	struct termios t;

	return tcgetattr(fd, &t) && errno == EIO;
}

static int is_read_write(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
}

/*
 * One description for all that the tree has of the terminal, preferably one that can be read and
 * written.  *of: the end it comes from.
 */
static int choose(const struct ends *l, const struct end *e, const struct end **of)
{
	for (size_t i = 0; i < l->n; i++) {
		int fd = l->v[i].which == SLAVE && same(&l->v[i], e) ?
				 mfd_walk_get(l->v[i].pid, l->v[i].fd) :
				 -1;

		*of = &l->v[i];
		if (fd >= 0 && is_read_write(fd))
			return fd;
		mfd_io_close(&fd);
	}
	*of = e;
	return mfd_walk_get(e->pid, e->fd);
}

struct taker {
	int (*each)(void *ctx, int fd, struct mfd_cpr_described *d);
	void *ctx;
};

/* As CRIU calls it; both opened by `of`. */
static int hand_out(const struct taker *t, const struct end *of, int fd,
		    struct mfd_cpr_described *d)
{
	snprintf(d->name, sizeof(d->name), "tty[%llx:%llx]", (unsigned long long)of->rdev,
		 (unsigned long long)of->dev);
	d->item.record.inherit_id = d->name;
	d->owner = (struct mfd_cpr_owner){ .pid = mfd_walk_inner_pid(of->pid),
					   .fd = (uint32_t)of->fd };
	d->item.record.owners = &d->owner;
	d->item.record.n_owners = 1;
	return t->each(t->ctx, fd, d);
}

/*
 * A process of the tree has the terminal open as /dev/tty: that goes by a name of its own, and says
 * by its id which terminal it is.  All /dev/tty of a dump have one name, so it can be only one
 * terminal.
 */
static int deliver_dev_tty(struct ends *l, const struct end *e, uint64_t id, const struct taker *t)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	const struct end *at = NULL;
	int fd, ret;

	for (size_t i = 0; i < l->n && !at; i++) {
		if (l->v[i].which == DEV_TTY && controls(l->v[i].pid, e->rdev))
			at = &l->v[i];
	}
	if (!at)
		return 0;
	if (l->has_dev_tty++) {
		mfd_host_warn(
			"process %d, descriptor %d: /dev/tty is a second terminal, criu cannot tell them apart",
			at->pid, at->fd);
		return 0;
	}
	fd = mfd_walk_get(at->pid, at->fd);
	if (fd < 0)
		return fd;
	ret = mfd_cpr_describe(fd, &d);
	d.item.id = id;
	ret = ret ? ret : hand_out(t, at, fd, &d);
	close(fd);
	return ret;
}

static int deliver(struct ends *l, const struct end *e, const struct taker *t)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	const struct end *of;
	int fd = choose(l, e, &of), ret;

	if (fd < 0)
		return fd;
	ret = mfd_cpr_describe(fd, &d);
	if (!ret && !is_hung_up(fd)) {
		ret = hand_out(t, of, fd, &d);
		ret = ret ? ret : deliver_dev_tty(l, e, d.item.id, t);
	}
	close(fd);
	return ret;
}

static int wanted(const struct ends *l, size_t i)
{
	const struct end *e = &l->v[i];
	int session;

	if (e->which != SLAVE || done_before(l, i) || has_master(l, e))
		return 0;
	session = foreign_session(l, e);
	if (session)
		mfd_host_warn(
			"the terminal of process %d, descriptor %d, is that of session %d, whose leader does not come "
			"along: criu dump and restore want --shell-job for that",
			e->pid, e->fd, session);
	return !session && !is_runtimes_console(e);
}

int mfd_tty_scan(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d), void *ctx)
{
	const struct taker t = { each, ctx };
	struct ends l = { 0 };
	char path[40];
	int ret;

	if (mfd_host_was_told("--shell-job") || mfd_host_was_told("-j"))
		return 0;
	ret = mfd_walk_tree(root, &l.tree);
	for (size_t i = 0; i < l.tree.n && !ret; i++) {
		l.pid = l.tree.v[i];
		snprintf(path, sizeof(path), "/proc/%d/fd", l.pid);
		ret = mfd_walk_numbers(path, collect, &l);
	}
	for (size_t i = 0; i < l.n && !ret; i++) {
		if (wanted(&l, i))
			ret = deliver(&l, &l.v[i], &t);
	}
	free(l.tree.v);
	free(l.v);
	return ret;
}

int mfd_tty_declare(char *name, struct mfd_error *err)
{
	if (!add_external || !external_lookup_id)
		return mfd_error_set(err, -ENOSYS, "this CRIU needs --external '%s'", name);
	if (!external_lookup_id(name) && add_external(name))
		return mfd_error_set(err, -ENOMEM, "%s: CRIU does not take it as external", name);
	return 0;
}

/* ---- restore ---- */

static int is_master(int fd)
{
	unsigned index;

	return !ioctl(fd, TIOCGPTN, &index);
}

static int is_dev_tty(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_rdev == makedev(5, 0);
}

static int open_again(int fd)
{
	char path[40];
	int again;

	if (is_dev_tty(fd)) /* opened here it would be another one */
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

int mfd_tty_suit(int fd, const char *name, struct mfd_error *err)
{
	int again;

	if (!isatty(fd) || is_master(fd)) {
		mfd_error_set(err, -ENOTTY, "what was offered for %s is %s", name,
			      isatty(fd) ? "the master of a pseudo terminal: its slave is needed" :
					   "no terminal");
		close(fd);
		return err->code;
	}
	if (is_read_write(fd))
		return fd;
	again = open_again(fd);
	if (again < 0)
		mfd_error_sys(
			err, again,
			"the terminal that was offered for %s cannot be opened to read and write",
			name);
	close(fd);
	return again;
}

struct leading {
	const char *name;
	int yes;
};

static int find_session(void *ctx, ProtobufCMessage **msg)
{
	const MfdCriu__TtyInfoEntry *e = (void *)*msg;
	struct leading *l = ctx;
	char name[64];

	snprintf(name, sizeof(name), "tty[%x:%x]", e->rdev, e->dev);
	l->yes |= e->sid && !strcmp(name, l->name);
	return 0;
}

/* CRIU will make it the controlling terminal of a session; also if the image cannot be opened. */
static int takes_session(int image_dir, const char *name)
{
	struct leading l = { .name = name };
	int ret = mfd_image_each(image_dir, "tty-info.img", MFD_IMAGE_TTY_INFO, find_session, &l,
				 NULL);

	return l.yes || ret;
}

int mfd_tty_own(int image_dir, const char *name)
{
	int fd;

	if (!isatty(STDIN_FILENO) || is_master(STDIN_FILENO))
		return -ENOENT;
	if (takes_session(image_dir, name))
		return -EPERM;
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}
