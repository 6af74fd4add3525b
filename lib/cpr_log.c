// SPDX-License-Identifier: GPL-2.0-only
/* Entries of cpr-fds.img on their way from the hooks into the image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cpr_log.h"
#include "io.h"

#define LOG_MAGIC 0x4d464c31U
#define LOG_MAX	  (1ULL << 30)

struct head {
	uint32_t magic, zero;
	char session[256];
};

/*
 * Followed by owners (aligned so), name, path, inherit_id (each with its 0; length 0 = none), own
 * and peer address.
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

/* The records in the order of the image. */
struct sorted {
	const char **at;
	const char *end;
	size_t n, next;
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

/* The file is ours, but a dump that was killed may have torn it. */
static int next(void *ctx, struct mfd_cpr_image_item *item)
{
	struct reading *rd = ctx;
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

static int by_key(const void *x, const void *y)
{
	const char *p = *(const char *const *)x, *q = *(const char *const *)y;
	struct record a, b;
	int d;

	memcpy(&a, p, sizeof(a));
	memcpy(&b, q, sizeof(b));
	d = strcmp(p + sizeof(a) + owners_size(&a), q + sizeof(b) + owners_size(&b));
	return d ? d : a.id < b.id ? -1 : a.id > b.id;
}

static int sort(struct reading rd, struct sorted *s)
{
	struct mfd_cpr_image_item item;
	const char **more, *at = rd.at;
	size_t room = 0;
	int ret;

	s->end = rd.end;
	for (; (ret = next(&rd, &item)) == 1; at = rd.at) {
		if (s->n == room) {
			room = room ? room * 2 : 64;
			more = realloc(s->at, room * sizeof(*more));
			if (!more)
				return -ENOMEM;
			s->at = more;
		}
		s->at[s->n++] = at;
	}
	if (s->n)
		qsort(s->at, s->n, sizeof(*s->at), by_key);
	return ret;
}

static int next_sorted(void *ctx, struct mfd_cpr_image_item *item)
{
	struct sorted *s = ctx;
	struct reading rd = { .end = s->end };

	if (s->next == s->n)
		return 0;
	rd.at = s->at[s->next++];
	return next(&rd, item);
}

static int write_image(int dirfd, const char *text, size_t len, const char **why)
{
	struct mfd_cpr_image_header ih = { 0 };
	struct reading rd = { .at = text + sizeof(struct head), .end = text + len };
	struct sorted order = { 0 };
	struct head h;
	struct timespec now;
	char *boot = NULL;
	int ret;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, text, sizeof(h));
	if (h.magic != LOG_MAGIC || !memchr(h.session, 0, sizeof(h.session)))
		return -EBADMSG;
	ret = sort(rd, &order);
	ih.count = order.n;
	if (ret || !order.n)
		goto out;
	clock_gettime(CLOCK_REALTIME, &now);
	ih.created_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	ih.session = h.session;
	if (!mfd_io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 63, &boot, NULL)) {
		boot[strcspn(boot, "\n")] = 0;
		ih.boot_id = boot;
	}
	ret = mfd_cpr_image_write(dirfd, &ih, next_sorted, &order, why);
	free(boot);
out:
	free(order.at);
	return ret;
}

int mfd_cpr_log_seal(int dirfd, const char **why)
{
	const char *unused;
	char *text;
	size_t len;
	int ret = mfd_io_read_file(dirfd, MFD_CPR_LOG_NAME, LOG_MAX, &text, &len);

	why = why ? why : &unused;
	*why = NULL;
	if (ret == -ENOENT)
		return 0;
	if (!ret) {
		ret = write_image(dirfd, text, len, why);
		free(text);
	}
	if (ret && !*why)
		*why = ret == -EBADMSG ? MFD_CPR_LOG_NAME " is damaged" : strerror(-ret);
	if (!ret)
		unlinkat(dirfd, MFD_CPR_LOG_NAME, 0);
	return ret;
}

void mfd_cpr_log_discard(int dirfd)
{
	unlinkat(dirfd, MFD_CPR_LOG_NAME, 0);
}
