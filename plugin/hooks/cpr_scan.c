// SPDX-License-Identifier: GPL-2.0-only
/* Descriptors that cannot be kept, and those that are shared with processes outside the tree. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpr_scan.h"
#include "outside.h"
#include "unmovable.h"
#include "walk.h"

static int refuse(void *arg, const struct mfd_unmovable *u)
{
	struct mfd_error *err = arg;

	if (u->fd >= 0)
		return mfd_error_set(err, -EOPNOTSUPP, "process %d, descriptor %d is %s", u->pid,
				     u->fd, u->why);
	return mfd_error_set(err, -EOPNOTSUPP, "process %d has mapped at %#" PRIx64 " %s", u->pid,
			     u->address, u->why);
}

int mfd_scan_refuse(int root, struct mfd_error *err)
{
	struct mfd_walk_pids pids = { 0 };
	int ret = mfd_walk_tree(root, &pids);

	for (size_t i = 0; i < pids.n && !ret; i++)
		ret = mfd_unmovable_each(pids.v[i], refuse, err);
	free(pids.v);
	return ret;
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
static int deliver(const struct mfd_outside *s,
		   int (*each)(void *ctx, int fd, struct mfd_cpr_described *d), void *ctx)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	int fd = mfd_walk_get(s->pid, s->fd), ret;

	if (fd < 0)
		return fd;
	if (s->what == MFD_OUTSIDE_SOCKET && !is_listening(fd)) {
		close(fd);
		return 0;
	}
	ret = mfd_cpr_describe(fd, &d);
	d.item.id = s->others ? (uint64_t)mfd_walk_inner_pid(s->pid) << 32 | (uint32_t)s->fd :
				s->ino;
	d.owner =
		(struct mfd_cpr_owner){ .pid = mfd_walk_inner_pid(s->pid), .fd = (uint32_t)s->fd };
	d.item.record.owners = &d.owner;
	d.item.record.n_owners = 1;
	ret = ret ? ret : each(ctx, fd, &d);
	close(fd);
	return ret;
}

struct taker {
	int (*each)(void *ctx, int fd, struct mfd_cpr_described *d);
	void *ctx;
};

static int take(void *ctx, const struct mfd_outside *s)
{
	const struct taker *t = ctx;

	return deliver(s, t->each, t->ctx);
}

int mfd_scan_shared(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d),
		    void *ctx)
{
	struct taker t = { each, ctx };

	return mfd_outside_each(root, take, &t);
}
