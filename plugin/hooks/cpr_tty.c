// SPDX-License-Identifier: GPL-2.0-only
/* Terminals whose other end is outside the tree. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "cpr_tty.h"
#include "host.h"
#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "terminals.h"

/* CRIU's own; exported by every release this loads into. */
extern int add_external(char *key) __attribute__((weak));
extern bool external_lookup_id(char *id) __attribute__((weak));

static int is_runtimes_console(const struct mfd_terminals_end *e)
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
static int choose(const struct mfd_terminals *l, const struct mfd_terminals_end *e,
		  const struct mfd_terminals_end **of)
{
	for (size_t i = 0; i < l->n; i++) {
		int fd = l->v[i].which == MFD_TERMINALS_SLAVE && mfd_terminals_same(&l->v[i], e) ?
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
	int has_dev_tty;
};

/* As CRIU calls it; both opened by `of`. */
static int hand_out(const struct taker *t, const struct mfd_terminals_end *of, int fd,
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
static int deliver_dev_tty(const struct mfd_terminals *l, const struct mfd_terminals_end *e,
			   uint64_t id, struct taker *t)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	const struct mfd_terminals_end *at = NULL;
	int fd, ret;

	for (size_t i = 0; i < l->n && !at; i++) {
		if (l->v[i].which == MFD_TERMINALS_DEV_TTY &&
		    mfd_terminals_controls(l->v[i].pid, e->rdev))
			at = &l->v[i];
	}
	if (!at)
		return 0;
	if (t->has_dev_tty++) {
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

static int deliver(const struct mfd_terminals *l, const struct mfd_terminals_end *e,
		   struct taker *t)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	const struct mfd_terminals_end *of;
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

static int wanted(const struct mfd_terminals *l, size_t i)
{
	const struct mfd_terminals_end *e = &l->v[i];
	int session;

	if (e->which != MFD_TERMINALS_SLAVE || mfd_terminals_done_before(l, i) ||
	    mfd_terminals_has_master(l, e))
		return 0;
	session = mfd_terminals_foreign_session(l, e);
	if (session)
		mfd_host_warn(
			"the terminal of process %d, descriptor %d, is that of session %d, whose leader does not come "
			"along: criu dump and restore want --shell-job for that",
			e->pid, e->fd, session);
	return !session && !is_runtimes_console(e);
}

int mfd_tty_scan(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d), void *ctx)
{
	struct taker t = { each, ctx, 0 };
	struct mfd_terminals l = { 0 };
	int ret;

	if (mfd_host_was_told("--shell-job") || mfd_host_was_told("-j"))
		return 0;
	ret = mfd_terminals_find(root, &l);
	for (size_t i = 0; i < l.n && !ret; i++) {
		if (wanted(&l, i))
			ret = deliver(&l, &l.v[i], &t);
	}
	mfd_terminals_free(&l);
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
