// SPDX-License-Identifier: GPL-2.0-only
/* .multifd-send.img and the lock beside it; see source_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "source_file.h"
#include "why.h"

int mfd_source_file_store(int dirfd, Mfd__SourceEntry *e)
{
	const ProtobufCMessage *msg = &e->base;

	e->format = MFD_SOURCE_FILE_FORMAT;
	/* A crash of the host ends the tasks, too: that nothing is synced loses nothing. */
	return mfd_image_replace(dirfd, MFD_SOURCE_FILE_NAME, MFD_IMAGE_SERVICE_MAGIC,
				 MFD_IMAGE_SOURCE, &msg, 1, 0);
}

static int check(const Mfd__SourceEntry *e, const char **why)
{
	if (e->format > MFD_SOURCE_FILE_FORMAT)
		return mfd_image_why(why, -EPROTO,
				     MFD_SOURCE_FILE_NAME
				     ": format %u, this program knows up to %u",
				     e->format, MFD_SOURCE_FILE_FORMAT);
	if (!protobuf_c_enum_descriptor_get_value(&mfd__source_state__descriptor, (int)e->state))
		return mfd_image_why(why, -EPROTO,
				     MFD_SOURCE_FILE_NAME
				     ": state %d, which this program does not know",
				     (int)e->state);
	return 0;
}

int mfd_source_file_load(int dirfd, Mfd__SourceEntry **e, const char **why)
{
	ProtobufCMessage *msg = NULL;
	int ret = mfd_image_first(dirfd, MFD_SOURCE_FILE_NAME, MFD_IMAGE_SOURCE, &msg, why);

	*e = NULL;
	if (!ret)
		return mfd_image_why(why, -EBADMSG, MFD_SOURCE_FILE_NAME ": no entry");
	ret = ret < 0 ? ret : check((Mfd__SourceEntry *)msg, why);
	if (!ret)
		*e = (Mfd__SourceEntry *)msg;
	else if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

void mfd_source_file_free(Mfd__SourceEntry *e)
{
	if (e)
		mfd__source_entry__free_unpacked(e, NULL);
}

int mfd_source_file_lock(int lock)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(lock, F_OFD_SETLK, &l))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

int mfd_source_file_is_locked(int dirfd)
{
	int fd =
		openat(dirfd, MFD_SOURCE_FILE_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int held;

	if (fd < 0)
		return errno != ENOENT;
	held = fcntl(fd, F_OFD_GETLK, &l) || l.l_type != F_UNLCK;
	close(fd);
	return held;
}
