// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading the file of rights, which says what peers may do here as root: it must be root's (or of
 * the user that this program runs as), with mode 0600, no link, and with no second name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "ours.h"
#include "rights.h"

/* The folder, which other users cannot change; *name is the file in it. */
static int open_folder(const char *path, const char **name, struct mfd_error *err)
{
	const char *slash = strrchr(path, '/');
	char *folder;
	int fd;

	*name = slash ? slash + 1 : path;
	if (!slash)
		return mfd_ours_path(".", err);
	folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!folder)
		return mfd_error_sys(err, -ENOMEM, "%s", path);
	fd = mfd_ours_path(folder, err);
	free(folder);
	return fd;
}

static int refuse(struct mfd_error *err, const char *path)
{
	return mfd_error_set(err, -EPERM,
			     "%s: it must be a file of root's that only root may read and change, "
			     "and no link: 'chown root %s; chmod 600 %s'",
			     path, path, path);
}

static int read_open(int fd, const char *path, char **text, size_t *len, struct mfd_error *err)
{
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return mfd_error_sys(err, -errno, "%s", path);
	if (st.st_mode & 077)
		return refuse(err, path);
	if (st.st_size > (off_t)MFD_RIGHTS_MAX)
		return mfd_error_set(err, -EFBIG, "%s: larger than %u bytes", path, MFD_RIGHTS_MAX);
	*len = (size_t)st.st_size;
	*text = calloc(1, *len + 1);
	if (!*text)
		return mfd_error_sys(err, -ENOMEM, "%s", path);
	ret = mfd_io_read_all(fd, *text, *len);
	return ret ? mfd_error_sys(err, ret, "%s", path) : 0;
}

int mfd_rights_read(struct mfd_rights **out, const char *path, struct mfd_error *err)
{
	const char *name;
	int folder = open_folder(path, &name, err), fd, ret;
	char *text = NULL;
	size_t len = 0;

	if (folder < 0)
		return folder;
	fd = mfd_ours_file(folder, name, O_RDONLY, 0);
	close(folder);
	if (fd == -EPERM)
		return refuse(err, path);
	if (fd < 0)
		return mfd_error_sys(err, fd, "%s", path);
	ret = read_open(fd, path, &text, &len, err);
	close(fd);
	if (!ret)
		ret = mfd_rights_parse(out, text, len, path, err);
	free(text);
	return ret;
}
