// SPDX-License-Identifier: GPL-2.0-only
/* One session_entry in a file; see entry_file.h. */
#include <errno.h>

#include "entry_file.h"
#include "image.h"
#include "why.h"

/*
 * What an older program would do with an early session that is under way is wrong: it may let its
 * tasks run.  It would take a journal with rounds for a damaged one, and cut it.
 */
static uint32_t format_of(const Mfd__SessionEntry *e)
{
	if (e->state == MFD__SESSION_STATE__DONE || e->state == MFD__SESSION_STATE__ABORTED)
		return 1;
	return e->precopy ? 3 : e->early_restore ? 2 : 1;
}

int mfd_entry_file_write(int dirfd, const char *file, Mfd__SessionEntry *e, int sync)
{
	const ProtobufCMessage *msg = &e->base;

	e->format = format_of(e);
	return mfd_image_replace(dirfd, file, MFD_IMAGE_SERVICE_MAGIC, MFD_IMAGE_SESSION, &msg, 1,
				 sync);
}

static int check_entry(const Mfd__SessionEntry *e, const char *file, const char **why)
{
	if (e->format > MFD_ENTRY_FILE_FORMAT)
		return mfd_image_why(why, -EPROTO, "%s: format %u, this program knows up to %u",
				     file, e->format, MFD_ENTRY_FILE_FORMAT);
	if (!protobuf_c_enum_descriptor_get_value(&mfd__session_state__descriptor, e->state))
		return mfd_image_why(why, -EBADMSG, "%s: unknown state %d", file, (int)e->state);
	return 0;
}

int mfd_entry_file_is_strange(int ret)
{
	return ret == -EBADMSG || ret == -EPROTO || ret == -ELOOP || ret == -EISDIR;
}

int mfd_entry_file_read(int dirfd, const char *file, Mfd__SessionEntry **e, const char **why)
{
	ProtobufCMessage *msg = NULL;
	struct mfd_image *img;
	int ret = mfd_image_open(dirfd, file, MFD_IMAGE_SESSION, &img, why);
	uint64_t end;

	*e = NULL;
	if (ret)
		return ret;
	ret = mfd_image_next(img, &mfd__session_entry__descriptor, &msg, why);
	if (ret == 1)
		ret = check_entry((Mfd__SessionEntry *)msg, file, why);
	else if (!ret)
		ret = mfd_image_why(why, -EBADMSG, "%s: no entry", file);
	end = mfd_image_offset(img);
	if (!ret && end != mfd_image_size(img))
		ret = mfd_image_why(why, -EBADMSG, "%s: something follows its entry at offset %llu",
				    file, (unsigned long long)end);
	mfd_image_close(img);
	if (!ret)
		*e = (Mfd__SessionEntry *)msg;
	else if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}
