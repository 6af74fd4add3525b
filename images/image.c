// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading and writing images: magic words, then entries of a 32-bit length and a protobuf message.
 *
 * Words are in host order, as CRIU writes them; images do not travel between architectures (HELLO
 * compares them). Reading goes through stdio and not through a mapping: a file that shrinks under a
 * mapping is a SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "why.h"

struct mfd_image {
	FILE *f;
	uint64_t offset; /* of the next byte to read */
	uint64_t size;	 /* of the file when it was opened */
	uint8_t *buf;	 /* the last entry */
	size_t room;	 /* bytes at buf */
	char name[];
};

static int open_file(int dirfd, const char *name, struct mfd_image **out, const char **why)
{
	struct mfd_image *img = calloc(1, sizeof(*img) + strlen(name) + 1);
	int fd, ret = -ENOMEM;
	struct stat st;

	if (!img)
		return ret;
	strcpy(img->name, name);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
	if (fd < 0) {
		ret = mfd_image_why(why, -errno, "%s: %s", name, strerror(errno));
		goto err;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		ret = mfd_image_why(why, -EBADMSG, "%s: not a regular file", name);
		goto err_fd;
	}
	img->size = st.st_size;
	img->f = fdopen(fd, "rb");
	if (!img->f)
		goto err_fd;
	*out = img;
	return 0;
err_fd:
	close(fd);
err:
	free(img);
	return ret;
}

void mfd_image_close(struct mfd_image *img)
{
	if (!img)
		return;
	fclose(img->f);
	free(img->buf);
	free(img);
}

uint64_t mfd_image_offset(const struct mfd_image *img)
{
	return img->offset;
}

uint64_t mfd_image_size(const struct mfd_image *img)
{
	return img->size;
}

static int read_part(struct mfd_image *img, void *to, size_t len, const char *what,
		     const char **why)
{
	size_t got = len ? fread(to, 1, len, img->f) : 0;

	if (got != len && ferror(img->f))
		return mfd_image_why(why, -EIO, "%s: cannot read at offset %llu: %s", img->name,
				     (unsigned long long)img->offset, strerror(errno));
	if (got != len)
		return mfd_image_why(why, -EBADMSG, "%s: the file ends inside %s at offset %llu",
				     img->name, what, (unsigned long long)img->offset);
	img->offset += len;
	return 0;
}

/* The inventory alone has no common magic before its own. */
static int read_magic(struct mfd_image *img, uint32_t *type, const char **why)
{
	uint32_t word;
	int ret = read_part(img, &word, sizeof(word), "its magic", why);

	if (!ret && (word == MFD_IMAGE_COMMON_MAGIC || word == MFD_IMAGE_SERVICE_MAGIC))
		ret = read_part(img, &word, sizeof(word), "its magic", why);
	else if (!ret && word != MFD_IMAGE_INVENTORY)
		ret = mfd_image_why(why, -EBADMSG, "%s: not an image (it begins with 0x%08x)",
				    img->name, word);
	*type = ret ? 0 : word;
	return ret;
}

int mfd_image_open_any(int dirfd, const char *name, struct mfd_image **img, uint32_t *type_magic,
		       const char **why)
{
	int ret = open_file(dirfd, name, img, why);

	if (ret)
		return ret;
	ret = read_magic(*img, type_magic, why);
	if (ret) {
		mfd_image_close(*img);
		*img = NULL;
	}
	return ret;
}

int mfd_image_open(int dirfd, const char *name, uint32_t type_magic, struct mfd_image **img,
		   const char **why)
{
	uint32_t found;
	int ret = mfd_image_open_any(dirfd, name, img, &found, why);

	if (ret || found == type_magic)
		return ret;
	mfd_image_close(*img);
	*img = NULL;
	return mfd_image_why(why, -EBADMSG,
			     "%s: an image of another kind (magic 0x%08x instead of 0x%08x)", name,
			     found, type_magic);
}

/* Room for an entry of `len` bytes at offset `start`, after checking that it can be there. */
static int make_room(struct mfd_image *img, uint32_t len, uint64_t start, const char **why)
{
	if (len > MFD_IMAGE_MAX_ENTRY || len > img->size - img->offset)
		return mfd_image_why(why, -EBADMSG,
				     "%s: the entry at offset %llu claims %u bytes, %llu are left",
				     img->name, (unsigned long long)start, len,
				     (unsigned long long)(img->size - img->offset));
	if (len > img->room) {
		free(img->buf);
		img->buf = malloc(len);
		img->room = img->buf ? len : 0;
		if (!img->buf)
			return mfd_image_why(why, -ENOMEM, "%s: no memory for an entry of %u bytes",
					     img->name, len);
	}
	return 0;
}

int mfd_image_next(struct mfd_image *img, const ProtobufCMessageDescriptor *d,
		   ProtobufCMessage **msg, const char **why)
{
	uint64_t start = img->offset;
	uint32_t len;
	int ret;

	if (img->offset >= img->size)
		return 0;
	ret = read_part(img, &len, sizeof(len), "the length of an entry", why);
	if (!ret)
		ret = make_room(img, len, start, why);
	if (!ret)
		ret = read_part(img, img->buf, len, "an entry", why);
	if (ret)
		return ret;
	/* protobuf-c asserts on a NULL buffer in debug builds, even with length 0 */
	*msg = protobuf_c_message_unpack(d, NULL, len, img->buf ? img->buf : (const uint8_t *)"");
	if (!*msg)
		return mfd_image_why(why, -EBADMSG, "%s: the entry at offset %llu is not a %s",
				     img->name, (unsigned long long)start, d->short_name);
	return 1;
}

int mfd_image_each(int dirfd, const char *name, uint32_t type_magic,
		   int (*each)(void *ctx, ProtobufCMessage **msg), void *ctx, const char **why)
{
	const struct mfd_image_kind *kind = mfd_image_kind(type_magic);
	const ProtobufCMessageDescriptor *d;
	ProtobufCMessage *msg = NULL;
	struct mfd_image *img;
	int ret = mfd_image_open(dirfd, name, type_magic, &img, why);

	if (ret)
		return ret;
	d = kind->head ? kind->head : kind->entry;
	while ((ret = mfd_image_next(img, d, &msg, why)) == 1) {
		ret = each(ctx, &msg);
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
		if (ret)
			break;
		d = kind->entry;
	}
	mfd_image_close(img);
	return ret;
}

static int take_first(void *ctx, ProtobufCMessage **msg)
{
	ProtobufCMessage **first = ctx;

	*first = *msg;
	*msg = NULL;
	return 1;
}

int mfd_image_first(int dirfd, const char *name, uint32_t type_magic, ProtobufCMessage **msg,
		    const char **why)
{
	return mfd_image_each(dirfd, name, type_magic, take_first, msg, why);
}

static int put_entry(FILE *f, const ProtobufCMessage *e)
{
	size_t packed = protobuf_c_message_get_packed_size(e);
	uint32_t len = packed;
	uint8_t *buf;
	int ret = 0;

	if (packed > MFD_IMAGE_MAX_ENTRY)
		return -EMSGSIZE;
	buf = malloc(packed + 1);
	if (!buf)
		return -ENOMEM;
	protobuf_c_message_pack(e, buf);
	errno = EIO;
	if (fwrite(&len, sizeof(len), 1, f) != 1 || fwrite(buf, 1, packed, f) != packed)
		ret = -errno;
	free(buf);
	return ret;
}

static int put_all(FILE *f, uint32_t common_magic, uint32_t type_magic,
		   int (*next)(void *ctx, const ProtobufCMessage **msg), void *ctx)
{
	const ProtobufCMessage *msg;
	int ret;

	errno = EIO;
	if ((common_magic && fwrite(&common_magic, sizeof(common_magic), 1, f) != 1) ||
	    fwrite(&type_magic, sizeof(type_magic), 1, f) != 1)
		return -errno;
	while ((ret = next(ctx, &msg)) == 1) {
		ret = put_entry(f, msg);
		if (ret)
			break;
	}
	if (!ret && fflush(f))
		ret = -errno;
	return ret;
}

static int sync_folder(int dirfd)
{
	/* dirfd may be O_PATH or AT_FDCWD */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

int mfd_image_replace_each(int dirfd, const char *name, uint32_t common_magic, uint32_t type_magic,
			   int (*next)(void *ctx, const ProtobufCMessage **msg), void *ctx,
			   int sync)
{
	char tmp[32];
	FILE *f = NULL;
	int fd, ret;

	/*
	 * one name per thread: a crash leaves at most that many behind, and two writers never share
	 * one
	 */
	snprintf(tmp, sizeof(tmp), ".image.%d.tmp", (int)gettid());
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "wb");
	if (!f) {
		ret = -errno;
		close(fd);
		goto err;
	}
	ret = put_all(f, common_magic, type_magic, next, ctx);
	if (!ret && sync && fsync(fileno(f)))
		ret = -errno;
	if (fclose(f) && !ret)
		ret = -errno;
	if (!ret && renameat(dirfd, tmp, dirfd, name))
		ret = -errno;
	if (ret)
		goto err;
	return sync ? sync_folder(dirfd) : 0;
err:
	unlinkat(dirfd, tmp, 0);
	return ret;
}

struct list {
	const ProtobufCMessage *const *entries;
	size_t n;
};

static int next_of_list(void *ctx, const ProtobufCMessage **msg)
{
	struct list *l = ctx;

	if (!l->n)
		return 0;
	*msg = *l->entries++;
	l->n--;
	return 1;
}

int mfd_image_replace(int dirfd, const char *name, uint32_t common_magic, uint32_t type_magic,
		      const ProtobufCMessage *const *entries, size_t n, int sync)
{
	struct list l = { entries, n };

	return mfd_image_replace_each(dirfd, name, common_magic, type_magic, next_of_list, &l,
				      sync);
}

int mfd_image_write(int dirfd, const char *name, uint32_t common_magic, uint32_t type_magic,
		    const ProtobufCMessage *const *entries, size_t n)
{
	return mfd_image_replace(dirfd, name, common_magic, type_magic, entries, n, 1);
}
