// SPDX-License-Identifier: GPL-2.0-only
/* The process that looks at paths: one byte for each, as it has looked. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buildid.h"
#include "command.h"
#include "fskind.h"
#include "peer.h"
#include "probe_look.h"

/* Not through /proc/PID/fd and the like, which lead elsewhere than paths do. */
static int open_path(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

/* Reading some of these does something. */
static int is_kernels(int fd)
{
	static const unsigned long kinds[] = { PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC,
					       TRACEFS_MAGIC };

	return mfd_fskind_may_be(fd, kinds, sizeof(kinds) / sizeof(*kinds));
}

/* Open it again for reading, by what is open already: nothing has taken its place. */
static int has_another_id(int path_fd, const Mfd__ProbeFile *want)
{
	uint8_t id[MFD_BUILDID_MAX];
	char path[40];
	size_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0;
	len = mfd_buildid_read(fd, id);
	close(fd);
	if (!len) /* CRIU is content with the size then */
		return 0;
	return len != want->build_id.len || memcmp(id, want->build_id.data, len);
}

static int has_another_size(const struct stat *st, const Mfd__ProbeFile *want)
{
	uint64_t size = (uint64_t)st->st_size;

	if (!want->has_size)
		return 0;
	return want->grows ? size < want->size : size != want->size;
}

/* 0: as it should be; or what is wrong (control.proto). */
static int look_at_file(const Mfd__ProbeFile *want)
{
	struct stat st;
	int fd, ret = 0;

	if (want->path[0] != '/')
		return 0;
	fd = open_path(want->path);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? MFD__PROBE_FAULT__MISSING : 0;
	if (fstat(fd, &st) || is_kernels(fd)) {
		close(fd);
		return 0;
	}
	if (want->folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		ret = MFD__PROBE_FAULT__KIND;
	else if (want->folder)
		ret = 0;
	else if (has_another_size(&st, want)) /* as CRIU: the size first, then the build id */
		ret = MFD__PROBE_FAULT__SIZE;
	else if (want->has_build_id && want->build_id.len)
		ret = has_another_id(fd, want) ? MFD__PROBE_FAULT__BUILD : 0;
	close(fd);
	return ret;
}

/* Whatever it holds of the server's it would hold for as long as a file system likes. */
static void let_go(void)
{
	close_range(STDERR_FILENO, ~0U, 0);
	(void)!chdir("/");
}

int mfd_probe_look_main(void)
{
	static uint8_t bytes[MFD_PEER_MAX_BODY];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	Mfd__Probe *m = n > 0 ? mfd__probe__unpack(NULL, (size_t)n, bytes) : NULL;

	let_go();
	for (size_t i = 0; m && i < m->n_file; i++) {
		uint8_t fault = (uint8_t)look_at_file(m->file[i]);

		if (write(STDOUT_FILENO, &fault, 1) != 1)
			return MFD_EXIT_FAILED;
	}
	return m ? MFD_EXIT_OK : MFD_EXIT_FAILED;
}
