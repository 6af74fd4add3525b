// SPDX-License-Identifier: GPL-2.0-only
/* Reading certificates, keys and pre-shared keys: see tls_file.h for what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "ours.h"
#include "tls_file.h"

#define FILE_MAX (1U << 20)

void *mfd_tls_file_pages(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, len, MADV_DONTDUMP);
	return p;
}

void mfd_tls_file_pages_free(void *pages, size_t len)
{
	if (!pages)
		return;
	explicit_bzero(pages, len);
	munmap(pages, len);
}

int mfd_tls_file_folder(const char *path, struct mfd_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return mfd_error_sys(err, -errno, "%s", path);
	if (!fstat(fd, &st) && !mfd_ours_others_change(&st))
		return fd;
	close(fd);
	return mfd_error_set(err, -EPERM,
			     "%s: others may write there: 'chown root %s; chmod go-w %s'", path,
			     path, path);
}

static int check(const struct stat *st, const char *path, enum mfd_tls_secrecy secrecy,
		 struct mfd_error *err)
{
	if (!S_ISREG(st->st_mode))
		return mfd_error_set(err, -EINVAL, "%s: not a file", path);
	if (st->st_size > (off_t)FILE_MAX)
		return mfd_error_set(err, -EFBIG, "%s: larger than %u bytes", path, FILE_MAX);
	if (secrecy == MFD_TLS_SECRET && (mfd_ours_others_change(st) || (st->st_mode & 077)))
		return mfd_error_set(err, -EPERM,
				     "%s: others may read this key: 'chown root %s; chmod 600 %s'",
				     path, path, path);
	if (mfd_ours_others_change(st))
		return mfd_error_set(err, -EPERM,
				     "%s: others may write it: 'chown root %s; chmod go-w %s'",
				     path, path, path);
	return 0;
}

int mfd_tls_file_read(struct mfd_tls_file *f, int dirfd, const char *name, const char *path,
		      enum mfd_tls_secrecy secrecy, struct mfd_error *err)
{
	/* O_NONBLOCK: a pipe in its place must not stop the program. */
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int ret;

	*f = (struct mfd_tls_file){ 0 };
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && errno == ELOOP)
		return mfd_error_set(err, -ELOOP, "%s: a symbolic link, which is not followed",
				     path);
	if (fd < 0)
		return mfd_error_sys(err, -errno, "%s", path);
	ret = fstat(fd, &st) ? mfd_error_sys(err, -errno, "%s", path) :
			       check(&st, path, secrecy, err);
	if (!ret) {
		f->len = (size_t)st.st_size;
		f->mapped = f->len + 1;
		f->data = mfd_tls_file_pages(f->mapped);
		ret = f->data ? mfd_io_read_all(fd, f->data, f->len) : -ENOMEM;
		if (ret)
			mfd_error_sys(err, ret, "%s", path);
	}
	close(fd);
	if (ret)
		mfd_tls_file_drop(f);
	return ret;
}

void mfd_tls_file_drop(struct mfd_tls_file *f)
{
	mfd_tls_file_pages_free(f->data, f->mapped);
	*f = (struct mfd_tls_file){ 0 };
}
