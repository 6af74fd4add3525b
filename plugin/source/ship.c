// SPDX-License-Identifier: GPL-2.0-only
/* Queue the files of CRIU's image directory as payloads. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpr_log.h"
#include "log.h"
#include "ship.h"

static int keep_open(struct mfd_ship *s, int fd)
{
	int *bigger = realloc(s->fd, (s->n + 1) * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	s->fd = bigger;
	s->fd[s->n++] = fd;
	return 0;
}

static void show(struct mfd_ship *s, uint64_t len)
{
	uint64_t n = len < s->shown ? len : s->shown;

	s->shown -= n;
	if (n && s->sent)
		atomic_fetch_add_explicit(s->sent, n, memory_order_relaxed);
}

/* An empty file is one payload without bytes, so that it exists on the other side. */
static int queue_file(struct mfd_ship *s, struct mfd_multifd *m, int fd, const char *name,
		      const struct stat *st, uint32_t packet_size, uint64_t *sequence)
{
	uint64_t size = (uint64_t)st->st_size, offset = 0;

	do {
		struct mfd_payload *p = mfd_multifd_payload(m);
		uint64_t len = size - offset < packet_size ? size - offset : packet_size;
		int ret;

		p->type = MFD_PAYLOAD_FILE;
		p->sequence = (*sequence)++;
		p->file.fd = fd;
		p->file.offset = offset;
		p->file.size = size;
		p->file.len = (uint32_t)len;
		p->file.mode = st->st_mode & 0777;
		strcpy(p->file.name, name); /* the length has been checked */
		ret = mfd_multifd_send(m);
		if (ret)
			return ret;
		show(s, len);
		offset += len;
	} while (offset < size);
	s->files++;
	s->bytes += size;
	return 0;
}

static int ship_one(struct mfd_ship *s, struct mfd_multifd *m, const char *name,
		    uint32_t packet_size, uint64_t *sequence, dev_t skip_dev, ino_t skip_ino,
		    struct mfd_error *err)
{
	struct stat st;
	int fd, ret;

	fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && (errno == ELOOP || errno == ENXIO)) {
		mfd_log_warn("%s in the image directory is not a regular file and stays here",
			     name);
		return 0;
	}
	if (fd < 0 || fstat(fd, &st)) {
		ret = mfd_error_sys(err, -errno, "image %s", name);
		goto out;
	}
	ret = 0;
	if (!S_ISREG(st.st_mode)) {
		mfd_log_warn("%s in the image directory is not a regular file and stays here",
			     name);
		goto out;
	}
	if (st.st_dev == skip_dev && st.st_ino == skip_ino)
		goto out;
	if (!mfd_wire_name_ok(name, strlen(name))) {
		ret = mfd_error_set(err, -EINVAL, "image directory: the name '%s' cannot travel",
				    name);
		goto out;
	}
	ret = keep_open(s, fd);
	if (ret) {
		mfd_error_sys(err, ret, "image %s", name);
		goto out;
	}
	ret = queue_file(s, m, fd, name, &st, packet_size, sequence);
	return ret ? mfd_error_sys(err, ret, "sending image %s", name) : 0;
out:
	if (fd >= 0)
		close(fd);
	return ret;
}

int mfd_ship_images(struct mfd_ship *s, struct mfd_multifd *m, uint32_t packet_size,
		    uint64_t *sequence, dev_t skip_dev, ino_t skip_ino, struct mfd_error *err)
{
	int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const char *why = NULL;
	struct dirent *e;

	/*
	 * CRIU's hooks wrote down descriptors as they came; the sender alone knows in time that the
	 * file is complete.
	 */
	ret = mfd_cpr_log_seal(s->dirfd, &why);
	if (ret) {
		if (d)
			closedir(d);
		return mfd_error_set(err, ret, "cpr-fds.img: %s", why);
	}
	if (!d) {
		ret = mfd_error_sys(err, -errno, "CRIU's image directory");
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (e = readdir(d)))
		if (e->d_name[0] != '.')
			ret = ship_one(s, m, e->d_name, packet_size, sequence, skip_dev, skip_ino,
				       err);
	closedir(d);
	return ret;
}

void mfd_ship_fini(struct mfd_ship *s)
{
	for (unsigned i = 0; i < s->n; i++)
		close(s->fd[i]);
	free(s->fd);
	s->fd = NULL;
	s->n = 0;
}
