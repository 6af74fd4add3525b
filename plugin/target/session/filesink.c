// SPDX-License-Identifier: GPL-2.0-only
/* Image files of a session. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "filesink.h"
#include "io.h"
#include "space.h"

void mfd_filesink_init(struct mfd_filesink *fs, int dirfd)
{
	memset(fs, 0, sizeof(*fs));
	fs->dirfd = dirfd;
	pthread_mutex_init(&fs->lock, NULL);
}

static void free_pieces(struct mfd_filesink_file *f)
{
	struct mfd_filesink_piece *p;

	while ((p = f->pieces)) {
		f->pieces = p->next;
		free(p);
	}
}

void mfd_filesink_free(struct mfd_filesink *fs)
{
	unsigned i;

	for (i = 0; i < MFD_FILESINK_BUCKETS; i++) {
		while (fs->buckets[i]) {
			struct mfd_filesink_file *f = fs->buckets[i];

			fs->buckets[i] = f->next;
			free_pieces(f);
			free(f);
		}
	}
	pthread_mutex_destroy(&fs->lock);
}

int mfd_filesink_reserved(const char *name)
{
	static const char *const own[] = { "session.img", "pages.store", "pages.journal",
					   "lazy-pages.socket" };
	unsigned i;

	if (!mfd_wire_name_ok(name, strlen(name)) || name[0] == '.')
		return 1;
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		/* also "session.img.tmp" and the like, names that replacing a file may use */
		if (!strncmp(name, own[i], strlen(own[i])))
			return 1;
	}
	return 0;
}

static unsigned bucket_of(const char *name)
{
	unsigned h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h % MFD_FILESINK_BUCKETS;
}

/* The file's entry, made at its first piece (*fresh). */
static int entry(struct mfd_filesink *fs, const struct mfd_wire_file *w, const char *name,
		 struct mfd_filesink_file **out, int *fresh, struct mfd_error *err)
{
	unsigned b = bucket_of(name);
	struct mfd_filesink_file *f;

	for (f = fs->buckets[b]; f; f = f->next) {
		if (!strcmp(f->name, name))
			break;
	}
	*fresh = !f;
	if (!f) {
		if (fs->files >= MFD_FILESINK_MAX)
			return mfd_error_set(err, -EPROTO, "more than %u image files",
					     MFD_FILESINK_MAX);
		f = malloc(sizeof(*f) + strlen(name) + 1);
		if (!f)
			return mfd_error_set(err, -ENOMEM, "no memory");
		strcpy(f->name, name);
		f->size = w->size;
		f->got = 0;
		f->pieces = NULL;
		f->next = fs->buckets[b];
		fs->buckets[b] = f;
		fs->files++;
	}
	if (f->size != w->size)
		return mfd_error_set(err, -EPROTO, "%s: size changed from %llu to %llu", name,
				     (unsigned long long)f->size, (unsigned long long)w->size);
	*out = f;
	return 0;
}

/* lock held.  Two pieces that touch become one. */
static int join_next(struct mfd_filesink_piece *p)
{
	struct mfd_filesink_piece *next = p->next;

	if (!next || p->to != next->from)
		return 0;
	p->to = next->to;
	p->next = next->next;
	free(next);
	return 1;
}

/*
 * lock held.  Note that these bytes come: each only once, or a file could be as long as it should
 * be and have a hole.
 */
static int note_piece(struct mfd_filesink_file *f, uint64_t from, uint64_t len,
		      struct mfd_error *err)
{
	struct mfd_filesink_piece **at = &f->pieces, *before = NULL, *p;

	if (!len)
		return 0;
	for (; *at && (*at)->to <= from; at = &(*at)->next)
		before = *at;
	if (*at && (*at)->from < from + len)
		return mfd_error_set(err, -EPROTO, "%s: bytes from %llu on have come twice",
				     f->name, (unsigned long long)from);
	p = malloc(sizeof(*p));
	if (!p)
		return mfd_error_set(err, -ENOMEM, "no memory");
	*p = (struct mfd_filesink_piece){ .next = *at, .from = from, .to = from + len };
	*at = p;
	f->got += len;
	join_next(p);
	if (before)
		join_next(before);
	return 0;
}

static int open_file(struct mfd_filesink *fs, const struct mfd_wire_file *w, const char *name,
		     int fresh, struct mfd_error *err)
{
	int fd = openat(fs->dirfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
			0600);
	struct stat st;
	int ret = 0;

	if (fd < 0)
		return mfd_space_error(err, -errno, fs->dirfd, w->size, "%s", name);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		ret = mfd_error_set(err, -EPROTO, "%s: not a regular file", name);
	else if (fresh && (ftruncate(fd, (off_t)w->size) || fchmod(fd, w->mode & 0777)))
		ret = mfd_space_error(err, -errno, fs->dirfd, w->size, "%s", name);
	if (ret)
		close(fd);
	return ret ? ret : fd;
}

int mfd_filesink_write(struct mfd_filesink *fs, const struct mfd_wire_file *w, const char *name,
		       const void *buf, uint32_t len, struct mfd_error *err)
{
	struct mfd_filesink_file *f = NULL;
	int fd, ret, fresh = 0;

	if (mfd_filesink_reserved(name))
		return mfd_error_set(err, -EPROTO, "image name \"%s\" is not allowed", name);
	if (w->size > INT64_MAX)
		return mfd_error_set(err, -EPROTO, "%s: impossible size", name);
	/*
	 * The first piece makes the file inside the lock, so that no other can write before it has
	 * its size.
	 */
	pthread_mutex_lock(&fs->lock);
	ret = fs->closed ? mfd_error_set(err, -EPROTO, "%s: a file after the last one", name) :
			   entry(fs, w, name, &f, &fresh, err);
	ret = ret ? ret : note_piece(f, w->offset, len, err);
	fd = ret ? ret : open_file(fs, w, name, fresh, err);
	pthread_mutex_unlock(&fs->lock);
	if (fd < 0)
		return fd;
	ret = mfd_io_pwrite_all(fd, buf, len, w->offset);
	close(fd);
	return ret ? mfd_space_error(err, ret, fs->dirfd, w->size, "%s", name) : 0;
}

void mfd_filesink_close(struct mfd_filesink *fs)
{
	pthread_mutex_lock(&fs->lock);
	fs->closed = 1;
	pthread_mutex_unlock(&fs->lock);
}

uint64_t mfd_filesink_files(struct mfd_filesink *fs)
{
	uint64_t n;

	pthread_mutex_lock(&fs->lock);
	n = fs->files;
	pthread_mutex_unlock(&fs->lock);
	return n;
}

static int walk(struct mfd_filesink *fs,
		int (*each)(struct mfd_filesink *, struct mfd_filesink_file *, struct mfd_error *),
		struct mfd_error *err)
{
	struct mfd_filesink_file *f;
	unsigned i;
	int ret = 0;

	pthread_mutex_lock(&fs->lock);
	for (i = 0; !ret && i < MFD_FILESINK_BUCKETS; i++) {
		for (f = fs->buckets[i]; !ret && f; f = f->next)
			ret = each(fs, f, err);
	}
	pthread_mutex_unlock(&fs->lock);
	return ret;
}

static int check_one(struct mfd_filesink *fs, struct mfd_filesink_file *f, struct mfd_error *err)
{
	(void)fs;
	if (f->got == f->size)
		return 0;
	return mfd_error_set(err, -EPROTO, "%s: %llu bytes of %llu have come", f->name,
			     (unsigned long long)f->got, (unsigned long long)f->size);
}

int mfd_filesink_complete(struct mfd_filesink *fs, struct mfd_error *err)
{
	return walk(fs, check_one, err);
}

static int sync_one(struct mfd_filesink *fs, struct mfd_filesink_file *f, struct mfd_error *err)
{
	int fd = openat(fs->dirfd, f->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int ret = 0;

	if (fd < 0 || fsync(fd))
		ret = mfd_error_sys(err, -errno, "%s: fsync", f->name);
	if (fd >= 0)
		close(fd);
	return ret;
}

int mfd_filesink_sync(struct mfd_filesink *fs, struct mfd_error *err)
{
	int ret = walk(fs, sync_one, err);

	if (!ret && fsync(fs->dirfd))
		ret = mfd_error_sys(err, -errno, "fsync of the session's folder");
	return ret;
}
