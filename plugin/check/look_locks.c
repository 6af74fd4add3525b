// SPDX-License-Identifier: GPL-2.0-only
/* Locks and leases of open files, by what /proc/PID/fdinfo says. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "io.h"
#include "looks.h"

/* Storage that is on another host, and may be seen by both. */
static const struct {
	unsigned long type;
	const char *name;
} storages[] = {
	{ NFS_SUPER_MAGIC, "NFS" },   { 0xff534d42UL, "CIFS" }, { 0xfe534d42UL, "SMB" },
	{ 0x00c36400UL, "CephFS" },   { 0x01161970UL, "GFS2" }, { 0x7461636fUL, "OCFS2" },
	{ 0x0bd00bd0UL, "Lustre" },   { 0x01021997UL, "9p" },	{ 0x65735546UL, "FUSE" },
	{ 0x6a656a63UL, "virtiofs" },
};

static const char *storage_of(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs))
		return NULL;
	for (size_t i = 0; i < sizeof(storages) / sizeof(*storages); i++)
		if ((unsigned long)fs.f_type == storages[i].type)
			return storages[i].name;
	return NULL;
}

static int look_at(const struct mfd_look_fd *at)
{
	char path[64], task[MFD_LOOK_NAME], *text, *lock;
	const char *storage;

	if (at->link[0] != '/')
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", at->pid, at->fd);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
		return 0;
	lock = strstr(text, "\nlock:");
	if (lock) {
		mfd_look_name(at->pid, task);
		mfd_check_add(at->c, MFD_FOUND_LOCK, 0, "process %s, descriptor %d: %.200s", task,
			      at->fd, at->link);
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", at->pid, at->fd);
		storage = storage_of(path);
		if (storage && at->c->with_restore)
			mfd_check_add(at->c, MFD_FOUND_LOCK_SHARED, 0,
				      "process %s, descriptor %d: %.200s (%s)", task, at->fd,
				      at->link, storage);
	}
	free(text);
	return 0;
}

int mfd_look_locks(struct mfd_check *c)
{
	return mfd_look_each_fd(c, look_at, NULL);
}
