// SPDX-License-Identifier: GPL-2.0-only
/* The journal of a dump's CPR table: entries appended by the hooks, and the table made again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpr_log.h"
#include "io.h"
#include "why.h"

#define LOG_MAGIC 0x4d464c31U
#define LOG_MAX	  (1ULL << 30)

struct head {
	uint32_t magic, zero;
	char session[256];
};

/*
 * One entry.  Behind it lie the owners (which are aligned there), name, path, inherit_id (each with
 * its final 0; length 0 = none), own and peer address.
 */
struct record {
	uint32_t size; /* of all of it, a multiple of 8 */
	uint32_t name, path, inherit, own, peer;
	uint64_t id;
	struct mfd_cpr_record r; /* pointers are not used */
	struct mfd_cpr_socket s;
};

int mfd_cpr_log_open(int dirfd, const char *session)
{
	struct head h = { .magic = LOG_MAGIC };
	int fd, ret;

	unlinkat(dirfd, MFD_CPR_IMAGE_NAME, 0);
	unlinkat(dirfd, MFD_CPR_LOG_NAME, 0);
	fd = openat(dirfd, MFD_CPR_LOG_NAME, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	snprintf(h.session, sizeof(h.session), "%s", session);
	ret = mfd_io_write_all(fd, &h, sizeof(h));
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static uint32_t length(const char *text)
{
	return text ? (uint32_t)strlen(text) + 1 : 0;
}

int mfd_cpr_log_add(int fd, const struct mfd_cpr_image_item *item, const char **why)
{
	static const char zeros[8];
	const struct mfd_cpr_record *r = &item->record;
	struct record rec = { .id = item->id, .r = *r };
	struct iovec v[8];
	size_t n = 1, size = sizeof(rec), i;
	int ret = mfd_cpr_record_check(r, why);

	if (ret)
		return ret;
	if (r->has & MFD_CPR_HAS_SOCKET)
		rec.s = *r->socket;
	v[n++] = (struct iovec){ (void *)r->owners, r->n_owners * sizeof(*r->owners) };
	v[n++] = (struct iovec){ (void *)item->name, rec.name = length(item->name) };
	v[n++] = (struct iovec){ (void *)r->path, rec.path = length(r->path) };
	v[n++] = (struct iovec){ (void *)r->inherit_id, rec.inherit = length(r->inherit_id) };
	v[n++] = (struct iovec){ (void *)rec.s.address, rec.own = rec.s.address_len };
	v[n++] = (struct iovec){ (void *)rec.s.peer_address, rec.peer = rec.s.peer_address_len };
	for (i = 1; i < n; i++)
		size += v[i].iov_len;
	v[n++] = (struct iovec){ (void *)zeros, -size % 8 };
	rec.size = (uint32_t)(size + -size % 8);
	v[0] = (struct iovec){ &rec, sizeof(rec) };
	ret = mfd_io_writev_all(fd, v, (int)n);
	if (ret && why)
		*why = strerror(-ret);
	return ret;
}

struct reading {
	const char *at, *end;
};

static const char *take(const char **p, uint64_t len)
{
	const char *at = len ? *p : NULL;

	*p += len;
	return at;
}

static int take_text(const char **p, uint32_t len, const char **text)
{
	*text = take(p, len);
	return len && (*text)[len - 1] ? -EBADMSG : 0;
}

static uint64_t owners_size(const struct record *rec)
{
	return (uint64_t)rec->r.n_owners * sizeof(struct mfd_cpr_owner);
}

static int fits(const struct record *rec, uint64_t room)
{
	uint64_t body = (uint64_t)rec->name + rec->path + rec->inherit + rec->own + rec->peer +
			owners_size(rec);

	return rec->size <= room && rec->size % 8 == 0 && rec->size >= sizeof(*rec) + body &&
	       rec->name && rec->own == rec->s.address_len && rec->peer == rec->s.peer_address_len;
}

/*
 * 1 and *item, 0 at the end, -EBADMSG.  This project wrote the file, but a dump that was killed may
 * have torn it.
 */
static int next(struct reading *rd, struct mfd_cpr_image_item *item)
{
	struct record rec;
	const char *p;

	if (rd->at == rd->end)
		return 0;
	if ((size_t)(rd->end - rd->at) < sizeof(rec))
		return -EBADMSG;
	memcpy(&rec, rd->at, sizeof(rec));
	if (!fits(&rec, (uint64_t)(rd->end - rd->at)))
		return -EBADMSG;
	p = rd->at + sizeof(rec);
	item->id = rec.id;
	item->record = rec.r;
	item->record.owners = (const void *)take(&p, owners_size(&rec));
	if (take_text(&p, rec.name, &item->name) || take_text(&p, rec.path, &item->record.path) ||
	    take_text(&p, rec.inherit, &item->record.inherit_id))
		return -EBADMSG;
	item->socket = rec.s;
	item->socket.address = take(&p, rec.own);
	item->socket.peer_address = take(&p, rec.peer);
	item->record.socket = rec.r.has & MFD_CPR_HAS_SOCKET ? &item->socket : NULL;
	rd->at += rec.size;
	return 1;
}

static int read_head(const char *text, size_t len, struct mfd_cpr_image_header *header)
{
	struct head h;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, text, sizeof(h));
	if (h.magic != LOG_MAGIC || !memchr(h.session, 0, sizeof(h.session)))
		return -EBADMSG;
	return mfd_cpr_header_now(header, h.session);
}

static int read_all(const char *text, size_t len, struct mfd_cpr *t,
		    struct mfd_cpr_image_header *header)
{
	struct reading rd = { .at = text + sizeof(struct head), .end = text + len };
	struct mfd_cpr_image_item item;
	int ret = read_head(text, len, header);

	if (ret)
		return ret;
	while ((ret = next(&rd, &item)) == 1) {
		ret = mfd_cpr_save_item(t, &item);
		if (ret)
			break;
	}
	return ret == -EEXIST || ret == -EINVAL || ret == -ENAMETOOLONG ? -EBADMSG : ret;
}

int mfd_cpr_log_load(int dirfd, struct mfd_cpr **t, struct mfd_cpr_image_header *header,
		     const char **why)
{
	char *text = NULL;
	size_t len = 0;
	int ret = mfd_io_read_file(dirfd, MFD_CPR_LOG_NAME, LOG_MAX, &text, &len);

	*header = (struct mfd_cpr_image_header){ 0 };
	*t = ret ? NULL : mfd_cpr_new(NULL);
	if (!ret)
		ret = *t ? read_all(text, len, *t, header) : -ENOMEM;
	free(text);
	if (!ret)
		return 0;
	mfd_cpr_free(*t);
	*t = NULL;
	mfd_cpr_header_release(header);
	return mfd_image_why(why, ret, MFD_CPR_LOG_NAME "%s%s",
			     ret == -EBADMSG ? " is damaged" : ": ",
			     ret == -EBADMSG ? "" : strerror(-ret));
}

int mfd_cpr_log_seal(int dirfd, const char **why)
{
	struct mfd_cpr_image_header header;
	const char *sentence = NULL;
	struct mfd_cpr *t;
	int ret = mfd_cpr_log_load(dirfd, &t, &header, &sentence);

	if (why)
		*why = NULL;
	if (ret == -ENOENT)
		return 0;
	if (!ret && mfd_cpr_count(t))
		ret = mfd_cpr_store(t, dirfd, &header, &sentence);
	mfd_cpr_free(t);
	mfd_cpr_header_release(&header);
	if (!ret)
		mfd_cpr_log_discard(dirfd);
	else if (why)
		*why = sentence;
	return ret;
}

void mfd_cpr_log_discard(int dirfd)
{
	unlinkat(dirfd, MFD_CPR_LOG_NAME, 0);
}
