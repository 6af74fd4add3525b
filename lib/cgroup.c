// SPDX-License-Identifier: GPL-2.0-only
/* Control groups; see cgroup.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cgroup.h"
#include "io.h"

static int open_mounted(void)
{
	static const char *const usual[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++) {
		int fd = open(usual[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

/* A mount of its own without a mount point, which ends with the descriptor. */
static int mount_hierarchy(void)
{
	int fs = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC), mnt = -1, root = -1;

	if (fs >= 0 && !syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mnt >= 0)
		root = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mfd_io_close(&mnt);
	mfd_io_close(&fs);
	return root;
}

/* `group` as /proc/PID/cgroup has it, relative to root. */
static int open_file(int root, const char *group, const char *file, int flags)
{
	char path[MFD_CGROUP_PATH + 32];

	snprintf(path, sizeof(path), ".%s/%s", group, file);
	return openat(root, path, flags | O_CLOEXEC);
}

int mfd_cgroup_write(int root, const char *group, const char *file, const char *text)
{
	int fd = open_file(root, group, file, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int move(int root, const char *group, const char *file, pid_t id)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%d", id);
	ret = mfd_cgroup_write(root, group, file, text);
	return ret == -ESRCH ? 0 : ret;
}

int mfd_cgroup_move(int root, const char *group, pid_t pid)
{
	return move(root, group, "cgroup.procs", pid);
}

int mfd_cgroup_move_thread(int root, const char *group, pid_t tid)
{
	return move(root, group, "cgroup.threads", tid);
}

/* At the beginning of a line, or behind the number and the other controllers of it. */
static const char *line_of(const char *text, const char *hierarchy)
{
	const char *at = text;

	while ((at = strstr(at, hierarchy)) && hierarchy[0] != ':' && at != text && at[-1] != '\n')
		at++;
	return at ? at + strlen(hierarchy) : NULL;
}

int mfd_cgroup_path(pid_t pid, pid_t tid, const char *hierarchy, char **path)
{
	char file[64], *text;
	const char *at;
	int ret;

	*path = NULL;
	snprintf(file, sizeof(file), "/proc/%d/task/%d/cgroup", pid, tid);
	ret = mfd_io_read_file(AT_FDCWD, file, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	at = line_of(text, hierarchy);
	if (!at || *at != '/' || !strchr(at, '\n'))
		ret = -ENODEV;
	else if (!(*path = strndup(at, strcspn(at, "\n"))))
		ret = -ENOMEM;
	free(text);
	return ret;
}

int mfd_cgroup_of(pid_t pid, pid_t tid, char *group)
{
	char *path;
	int ret = mfd_cgroup_path(pid, tid, "0::", &path);

	if (ret)
		return ret == -ENODEV ? -EXDEV : ret;
	/* "/..": outside of this process's cgroup namespace */
	if (strlen(path) >= MFD_CGROUP_PATH - 64 || !strncmp(path, "/..", 3))
		ret = -EXDEV;
	else
		strcpy(group, path);
	free(path);
	return ret;
}

int mfd_cgroup_is_threaded(int root, const char *group)
{
	char text[32] = "";
	int fd = open_file(root, group, "cgroup.type", O_RDONLY);

	if (fd < 0) /* the root has no such file */
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		*text = 0;
	close(fd);
	return !strncmp(text, "threaded", 8);
}

int mfd_cgroup_up(char *group)
{
	char *slash = strrchr(group, '/');

	if (!slash || !group[1])
		return 0;
	slash[slash == group] = 0;
	return 1;
}

/*
 * Root of the hierarchy.  The mounted one, if it shows this process's own group: a new mount would
 * set the options (nsdelegate ...) of the whole hierarchy anew.
 */
int mfd_cgroup_open(void)
{
	int root = open_mounted();
	char own[MFD_CGROUP_PATH];

	if (root >= 0 && !mfd_cgroup_of(getpid(), getpid(), own)) {
		int file = open_file(root, own, "cgroup.procs", O_RDONLY);

		if (file >= 0) {
			close(file);
			return root;
		}
	}
	mfd_io_close(&root);
	return mount_hierarchy();
}
