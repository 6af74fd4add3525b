// SPDX-License-Identifier: GPL-2.0-only
/* fdinfo-*.img and files.img with another type for some descriptors. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpr_rewrite.h"
#include "image.h"
#include "images/criu.pb-c.h"

/* A whole image in memory. */
struct loaded {
	ProtobufCMessage **v;
	size_t n, room;
};

static void unload(struct loaded *l)
{
	while (l->n)
		protobuf_c_message_free_unpacked(l->v[--l->n], NULL);
	free(l->v);
	l->v = NULL;
	l->room = 0;
}

static int append(struct loaded *l, ProtobufCMessage *m)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		ProtobufCMessage **more = realloc(l->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = m;
	return 0;
}

static int keep(void *ctx, ProtobufCMessage **msg)
{
	int ret = append(ctx, *msg);

	if (!ret)
		*msg = NULL;
	return ret;
}

static int load(int dir, const char *name, uint32_t magic, struct loaded *l, struct mfd_error *err)
{
	const char *why = NULL;
	int ret;

	memset(l, 0, sizeof(*l));
	ret = mfd_image_each(dir, name, magic, keep, l, &why);
	if (ret)
		unload(l);
	return ret ? mfd_error_set(err, ret, "%s", why && ret != -ENOMEM ? why : strerror(-ret)) :
		     0;
}

/*
 * Owner, group and mode stay: the restored root of a user namespace, which has no rights here, must
 * be able to read what it could read before.
 */
static int save(int dir, const char *name, uint32_t magic, const struct loaded *l,
		struct mfd_error *err)
{
	struct stat st;
	int ret = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;

	ret = ret ? ret :
		    mfd_image_write(dir, name, MFD_IMAGE_COMMON_MAGIC, magic,
				    (const ProtobufCMessage *const *)l->v, l->n);
	if (!ret && (fchownat(dir, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) ||
		     fchmodat(dir, name, st.st_mode & 07777, 0)))
		ret = -errno;
	return ret ? mfd_error_sys(err, ret, "%s", name) : 0;
}

static int files_id(int dir, uint32_t vpid, uint32_t *id, struct mfd_error *err)
{
	const char *why = NULL;
	ProtobufCMessage *msg;
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "ids-%u.img", vpid);
	ret = mfd_image_first(dir, name, MFD_IMAGE_IDS, &msg, &why);
	if (!ret)
		return mfd_error_set(err, -EBADMSG, "%s is empty", name);
	if (ret < 0)
		return mfd_error_set(err, ret, "%s", why ? why : strerror(-ret));
	*id = ((MfdCriu__TaskKobjIdsEntry *)msg)->files_id;
	protobuf_c_message_free_unpacked(msg, NULL);
	return 0;
}

/* Which file of files.img the task has open under that number. */
static int find_id(int dir, struct mfd_cpr_rewrite *w, struct mfd_error *err)
{
	uint32_t set = 0;
	struct loaded l;
	char name[32];
	int ret = files_id(dir, w->vpid, &set, err);

	if (ret)
		return ret;
	snprintf(name, sizeof(name), "fdinfo-%u.img", set);
	ret = load(dir, name, MFD_IMAGE_FDINFO, &l, err);
	if (ret)
		return ret;
	ret = -ENOENT;
	for (size_t i = 0; i < l.n; i++) {
		const MfdCriu__FdinfoEntry *e = (void *)l.v[i];

		if (e->fd != w->fd || (e->type != w->own && e->type != MFD_CRIU_EXT))
			continue;
		w->criu_id = e->id;
		ret = 0;
	}
	unload(&l);
	return ret ? mfd_error_sys(err, ret, "%s: descriptor %u of process %u", name, w->fd,
				   w->vpid) :
		     0;
}

static const struct mfd_cpr_rewrite *find(const struct mfd_cpr_rewrite *list, size_t n, uint32_t id,
					  uint32_t type)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].criu_id == id && (list[i].own == type || type == MFD_CRIU_EXT))
			return &list[i];
	}
	return NULL;
}

static int change_fdinfo(int dir, const char *name, const struct mfd_cpr_rewrite *list, size_t n,
			 struct mfd_error *err)
{
	struct loaded l;
	int changed = 0, ret = load(dir, name, MFD_IMAGE_FDINFO, &l, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < l.n; i++) {
		MfdCriu__FdinfoEntry *e = (void *)l.v[i];
		const struct mfd_cpr_rewrite *w = find(list, n, e->id, e->type);

		if (w && e->type != w->type) {
			e->type = w->type;
			changed = 1;
		}
	}
	ret = changed ? save(dir, name, MFD_IMAGE_FDINFO, &l, err) : 0;
	unload(&l);
	return ret;
}

static int change_all(int dir, const struct mfd_cpr_rewrite *list, size_t n, struct mfd_error *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return mfd_error_sys(err, -errno, "image folder");
	while (!ret && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (!strncmp(e->d_name, "fdinfo-", 7) && len > 4 &&
		    !strcmp(e->d_name + len - 4, ".img"))
			ret = change_fdinfo(dir, e->d_name, list, n, err);
	}
	closedir(d);
	return ret;
}

static MfdCriu__FileEntry *find_file(const struct loaded *l, uint32_t id, uint32_t type)
{
	for (size_t i = 0; i < l->n; i++) {
		MfdCriu__FileEntry *e = (void *)l->v[i];

		if (e->id == id && e->type == type)
			return e;
	}
	return NULL;
}

/* The entry is packed and unpacked, so that it is freed as those that were read. */
static MfdCriu__FileEntry *make_ext(uint32_t id)
{
	MfdCriu__FownEntry fown = MFD_CRIU__FOWN_ENTRY__INIT;
	MfdCriu__ExtFileEntry ext = MFD_CRIU__EXT_FILE_ENTRY__INIT;
	MfdCriu__FileEntry e = MFD_CRIU__FILE_ENTRY__INIT;
	uint8_t buf[256];

	ext.id = e.id = id;
	ext.fown = &fown;
	e.type = MFD_CRIU_EXT;
	e.ext = &ext;
	return mfd_criu__file_entry__unpack(NULL, mfd_criu__file_entry__pack(&e, buf), buf);
}

/*
 * A memfd may be mapped, too, and the mapping goes by CRIU's entry: the new one stands beside it,
 * and stays.
 */
static int add_ext(struct loaded *l, uint32_t id)
{
	MfdCriu__FileEntry *m = make_ext(id);

	return m ? append(l, &m->base) : -ENOMEM;
}

/* The rest of the entry is not looked at under another type. */
static int turn_into_ext(MfdCriu__FileEntry *e)
{
	MfdCriu__FileEntry *m = make_ext(e->id);

	if (!m)
		return -ENOMEM;
	e->type = MFD_CRIU_EXT;
	e->ext = m->ext;
	m->ext = NULL;
	mfd_criu__file_entry__free_unpacked(m, NULL);
	return 0;
}

static void turn_back(MfdCriu__FileEntry *e, uint32_t own)
{
	e->type = own;
	mfd_criu__ext_file_entry__free_unpacked(e->ext, NULL);
	e->ext = NULL;
}

/* 1 = something was changed. */
static int change_file(struct loaded *l, const struct mfd_cpr_rewrite *w)
{
	MfdCriu__FileEntry *ext = find_file(l, w->criu_id, MFD_CRIU_EXT),
			   *own = find_file(l, w->criu_id, w->own);
	int ret = 0;

	if (!ext == (w->type != MFD_CRIU_EXT) || (!own && !ext) ||
	    (own && ext && w->type != MFD_CRIU_EXT))
		return 0;
	if (ext)
		turn_back(ext, w->own);
	else
		ret = w->own == MFD_CRIU_MEMFD ? add_ext(l, w->criu_id) : turn_into_ext(own);
	return ret ? ret : 1;
}

static int change_files(int dir, const struct mfd_cpr_rewrite *list, size_t n,
			struct mfd_error *err)
{
	struct loaded l;
	int changed = 0, ret = load(dir, "files.img", MFD_IMAGE_FILES, &l, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < n && ret >= 0; i++) {
		ret = change_file(&l, &list[i]);
		changed |= ret > 0;
	}
	if (ret < 0)
		mfd_error_sys(err, ret, "files.img");
	else
		ret = changed ? save(dir, "files.img", MFD_IMAGE_FILES, &l, err) : 0;
	unload(&l);
	return ret;
}

int mfd_cpr_rewrite(int image_dir, struct mfd_cpr_rewrite *list, size_t n, struct mfd_error *err)
{
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		ret = find_id(image_dir, &list[i], err);
	ret = ret ? ret : change_files(image_dir, list, n, err);
	return ret ? ret : change_all(image_dir, list, n, err);
}
