// SPDX-License-Identifier: GPL-2.0-only
/*
 * The root of a restored user namespace may read its own images, and no others.
 *
 * CRIU's tasks open most images when they are root in the new namespace already, which outside is
 * some unprivileged id: a folder of mode 0700 and files of mode 0600 are closed to it.  Its group,
 * as the images say it will be, is let in.  The rest of the folder (the page store, session.img
 * with the secret) stays closed.  What the host's settings do not allow is said while the source
 * still runs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "session.h"
#include "session_file.h"

#define MAGIC_USERNS 0x55474906U
#define USERFAULTFD  "/proc/sys/vm/unprivileged_userfaultfd"

/* The group outside that is 0 inside; 0: there is none, or no need. */
static gid_t outer_group(int dir, const char *name)
{
	struct mfd_image *img;
	ProtobufCMessage *m;
	gid_t group = 0;

	if (mfd_image_open(dir, name, MAGIC_USERNS, &img, NULL))
		return 0;
	if (mfd_image_next(img, &mfd_criu__userns_entry__descriptor, &m, NULL) == 1) {
		const MfdCriu__UsernsEntry *e = (void *)m;

		for (size_t i = 0; i < e->n_gid_map; i++) {
			if (!e->gid_map[i]->first && e->gid_map[i]->count)
				group = e->gid_map[i]->lower_first;
		}
		protobuf_c_message_free_unpacked(m, NULL);
	}
	mfd_image_close(img);
	return group;
}

static int open_to(int dir, const char *name, gid_t group, mode_t add)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), ret = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || fchown(fd, (uid_t)-1, group) || fchmod(fd, (st.st_mode & 0700) | add))
		ret = -errno;
	close(fd);
	return ret;
}

static int each_image(int dir, int (*each)(int dir, const char *name, gid_t *group), gid_t *group)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	while (!ret && (e = readdir(d))) {
		if (!fnmatch("*.img", e->d_name, FNM_PERIOD) &&
		    strcmp(e->d_name, MFD_SESSION_FILE_NAME))
			ret = each(dir, e->d_name, group);
	}
	closedir(d);
	return ret;
}

static int look(int dir, const char *name, gid_t *group)
{
	if (!*group && !strncmp(name, "userns-", 7))
		*group = outer_group(dir, name);
	return 0;
}

static int let_in(int dir, const char *name, gid_t *group)
{
	return open_to(dir, name, *group, 0040);
}

/*
 * CRIU asks for the userfaultfd from inside. Kernels before 5.2 have no such switch, and let
 * every process.
 */
static int may_fault(void)
{
	char *text = NULL;
	int may = mfd_io_read_file(AT_FDCWD, USERFAULTFD, 16, &text, NULL) || *text != '0';

	free(text);
	return may;
}

int mfd_userns_admit(struct mfd_session *s, char *text, size_t len)
{
	gid_t group = 0;
	int ret = each_image(s->dirfd, look, &group);

	if (!ret && group && !may_fault()) {
		snprintf(
			text, len,
			"a user namespace cannot be restored with lazy pages here: that needs sysctl "
			"vm.unprivileged_userfaultfd=1");
		return -EPERM;
	}
	if (!ret && group) {
		ret = each_image(s->dirfd, let_in, &group);
		ret = ret ? ret : open_to(s->dirfd, ".", group, 0010);
	}
	if (ret)
		snprintf(text, len,
			 "the images cannot be opened to group %u, the user namespace's: %s", group,
			 strerror(-ret));
	return ret;
}
