// SPDX-License-Identifier: GPL-2.0-only
/* cpr-fds.img: entries to messages and back, and what makes one valid. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cpr_image.h"
#include "image.h"
#include "why.h"

/* bytes of the shortest entry that parses: its length, then an empty name, id, kind and how */
#define LEAST_ENTRY 12

/* ---- records ---- */

static int known_kind(Mfd__CprKind kind)
{
	return protobuf_c_enum_descriptor_get_value(&mfd__cpr_kind__descriptor, kind) != NULL;
}

static int known_how(Mfd__CprHow how)
{
	return protobuf_c_enum_descriptor_get_value(&mfd__cpr_how__descriptor, how) != NULL;
}

static int is_socket(Mfd__CprKind kind)
{
	return kind == MFD__CPR_KIND__UNIX_STREAM || kind == MFD__CPR_KIND__UNIX_DGRAM ||
	       kind == MFD__CPR_KIND__UNIX_SEQPACKET || kind == MFD__CPR_KIND__SOCKET;
}

static int too_long(const char *s, size_t max)
{
	return s && strnlen(s, max + 1) > max;
}

static const char *what_is_wrong(const struct mfd_cpr_record *r)
{
	const struct mfd_cpr_socket *s = r->has & MFD_CPR_HAS_SOCKET ? r->socket : NULL;

	if (!known_kind(r->kind))
		return "its kind is not known";
	if (!known_how(r->how))
		return "the way to get it back is not known";
	if (too_long(r->path, MFD_CPR_MAX_PATH))
		return "its path is too long";
	if (too_long(r->inherit_id, MFD_CPR_MAX_INHERIT))
		return "its inherit_id is too long";
	if (r->how == MFD__CPR_HOW__REOPEN && (!r->path || *r->path != '/'))
		return "it is to be reopened but has no absolute path";
	if (r->how == MFD__CPR_HOW__INHERITED && (!r->inherit_id || !*r->inherit_id))
		return "it is inherited but has no inherit_id";
	if ((is_socket(r->kind) || r->has & MFD_CPR_HAS_SOCKET) && !s)
		return "it is a socket without its identity";
	if (s &&
	    (s->address_len > MFD_CPR_MAX_ADDRESS || s->peer_address_len > MFD_CPR_MAX_ADDRESS))
		return "the address of its socket is too long";
	if (r->n_owners > MFD_CPR_MAX_OWNERS)
		return "it has too many owners";
	return NULL;
}

int mfd_cpr_record_check(const struct mfd_cpr_record *r, const char **why)
{
	const char *wrong = what_is_wrong(r);

	if (why && wrong)
		*why = wrong;
	return wrong ? -EINVAL : 0;
}

int mfd_cpr_record_is_dev_tty(const struct mfd_cpr_record *r)
{
	return r->kind == MFD__CPR_KIND__TTY && r->has & MFD_CPR_HAS_DEVICE && r->major == 5 &&
	       !r->minor;
}

int mfd_cpr_record_family(const struct mfd_cpr_record *r)
{
	return r->has & MFD_CPR_HAS_SOCKET ? (int)r->socket->family : -1;
}

static void *put(char **at, const void *from, size_t len)
{
	char *to = *at;

	if (len)
		memcpy(to, from, len);
	*at += len;
	return to;
}

/* One block: record, socket, owners, then bytes; each part is aligned for the next. */
struct mfd_cpr_record *mfd_cpr_record_new(const struct mfd_cpr_record *r)
{
	const struct mfd_cpr_socket *s = r->has & MFD_CPR_HAS_SOCKET ? r->socket : NULL;
	size_t path = r->path ? strlen(r->path) + 1 : 0,
	       inherit = r->inherit_id ? strlen(r->inherit_id) + 1 : 0;
	size_t owners = r->n_owners * sizeof(*r->owners);
	struct mfd_cpr_record *copy;
	struct mfd_cpr_socket *socket;
	char *at;

	copy = malloc(sizeof(*copy) + owners + path + inherit +
		      (s ? sizeof(*s) + s->address_len + s->peer_address_len : 0));
	if (!copy)
		return NULL;
	*copy = *r;
	at = (char *)(copy + 1);
	socket = s ? put(&at, s, sizeof(*s)) : NULL;
	copy->socket = socket;
	copy->owners = r->n_owners ? put(&at, r->owners, owners) : NULL;
	copy->path = path ? put(&at, r->path, path) : NULL;
	copy->inherit_id = inherit ? put(&at, r->inherit_id, inherit) : NULL;
	if (s) {
		socket->address = s->address_len ? put(&at, s->address, s->address_len) : NULL;
		socket->peer_address =
			s->peer_address_len ? put(&at, s->peer_address, s->peer_address_len) : NULL;
	}
	return copy;
}

/* ---- writing ---- */

struct writer {
	int (*next)(void *ctx, struct mfd_cpr_image_item *item);
	void *ctx;
	const char **why;
	const struct mfd_cpr_image_header *from;
	uint64_t done; /* entries; the header comes before the first */
	int begun;

	Mfd__CprHeader header;
	Mfd__CprEntry entry;
	Mfd__CprDevice device;
	Mfd__CprSocket socket;
	Mfd__CprOwner *owners;	 /* room for max_owners */
	Mfd__CprOwner **owner_p; /* their addresses, as protobuf-c wants them */
	uint32_t max_owners;
};

static void set_header(struct writer *w)
{
	mfd__cpr_header__init(&w->header);
	w->header.format = MFD_CPR_IMAGE_FORMAT;
	w->header.count = w->from->count;
	w->header.boot_id = (char *)w->from->boot_id;
	w->header.session = (char *)w->from->session;
	w->header.has_created_us = w->from->created_us != 0;
	w->header.created_us = w->from->created_us;
}

static void set_socket(struct writer *w, const struct mfd_cpr_socket *s)
{
	mfd__cpr_socket__init(&w->socket);
	w->socket.family = s->family;
	w->socket.type = s->type;
	w->socket.has_protocol = s->protocol != 0;
	w->socket.protocol = s->protocol;
	w->socket.has_state = s->state != 0;
	w->socket.state = s->state;
	w->socket.has_inode = s->inode != 0;
	w->socket.inode = s->inode;
	w->socket.has_peer_inode = s->peer_inode != 0;
	w->socket.peer_inode = s->peer_inode;
	w->socket.has_address = s->address_len != 0;
	w->socket.address = (ProtobufCBinaryData){ s->address_len, (uint8_t *)s->address };
	w->socket.has_peer_address = s->peer_address_len != 0;
	w->socket.peer_address =
		(ProtobufCBinaryData){ s->peer_address_len, (uint8_t *)s->peer_address };
	w->entry.socket = &w->socket;
}

static int owners_room(struct writer *w, uint32_t n)
{
	if (n <= w->max_owners)
		return 0;
	free(w->owners);
	free(w->owner_p);
	w->max_owners = 0;
	w->owners = calloc(n, sizeof(*w->owners));
	w->owner_p = calloc(n, sizeof(*w->owner_p));
	if (!w->owners || !w->owner_p)
		return -ENOMEM;
	w->max_owners = n;
	for (uint32_t i = 0; i < n; i++) {
		mfd__cpr_owner__init(&w->owners[i]);
		w->owner_p[i] = &w->owners[i];
	}
	return 0;
}

static int set_entry(struct writer *w, const struct mfd_cpr_image_item *item)
{
	const struct mfd_cpr_record *r = &item->record;
	int ret = owners_room(w, r->n_owners);

	if (ret)
		return ret;
	mfd__cpr_entry__init(&w->entry);
	w->entry.name = (char *)item->name;
	w->entry.id = item->id;
	w->entry.kind = r->kind;
	w->entry.how = r->how;
	w->entry.has_flags = !!(r->has & MFD_CPR_HAS_FLAGS);
	w->entry.flags = r->flags;
	w->entry.has_position = !!(r->has & MFD_CPR_HAS_POSITION);
	w->entry.position = r->position;
	w->entry.has_criu_id = !!(r->has & MFD_CPR_HAS_CRIU_ID);
	w->entry.criu_id = r->criu_id;
	w->entry.path = (char *)r->path;
	w->entry.inherit_id = (char *)r->inherit_id;
	if (r->has & MFD_CPR_HAS_DEVICE) {
		mfd__cpr_device__init(&w->device);
		w->device.major = r->major;
		w->device.minor = r->minor;
		w->entry.device = &w->device;
	}
	if (r->has & MFD_CPR_HAS_SOCKET)
		set_socket(w, r->socket);
	for (uint32_t i = 0; i < r->n_owners; i++) {
		w->owners[i].pid = r->owners[i].pid;
		w->owners[i].fd = r->owners[i].fd;
	}
	w->entry.n_owners = r->n_owners;
	w->entry.owners = w->owner_p;
	return 0;
}

static int next_message(void *ctx, const ProtobufCMessage **msg)
{
	struct mfd_cpr_image_item item = { 0 };
	struct writer *w = ctx;
	const char *wrong;
	int ret;

	if (!w->begun) {
		w->begun = 1;
		set_header(w);
		*msg = &w->header.base;
		return 1;
	}
	ret = w->next(w->ctx, &item);
	if (ret < 0)
		return ret;
	if ((ret == 0) != (w->done == w->from->count))
		return mfd_image_why(w->why, -EINVAL,
				     "%s: %llu entries were announced, there are %s",
				     MFD_CPR_IMAGE_NAME, (unsigned long long)w->from->count,
				     ret ? "more" : "fewer");
	if (!ret)
		return 0;
	wrong = what_is_wrong(&item.record);
	if (!item.name || !*item.name || too_long(item.name, MFD_CPR_MAX_NAME))
		wrong = "its name is empty or too long";
	if (wrong)
		return mfd_image_why(w->why, -EINVAL,
				     "%s: entry %llu (%.100s, %llu) cannot be written: %s",
				     MFD_CPR_IMAGE_NAME, (unsigned long long)w->done,
				     item.name ? item.name : "", (unsigned long long)item.id,
				     wrong);
	ret = set_entry(w, &item);
	if (ret)
		return ret;
	w->done++;
	*msg = &w->entry.base;
	return 1;
}

int mfd_cpr_image_write(int dirfd, const struct mfd_cpr_image_header *header,
			int (*next)(void *ctx, struct mfd_cpr_image_item *item), void *ctx,
			const char **why)
{
	struct writer w = { .next = next, .ctx = ctx, .why = why, .from = header };
	int ret;

	if (header->count > MFD_CPR_MAX_ENTRIES)
		return mfd_image_why(why, -EINVAL, "%s: %llu entries are too many (at most %u)",
				     MFD_CPR_IMAGE_NAME, (unsigned long long)header->count,
				     MFD_CPR_MAX_ENTRIES);
	if (too_long(header->session, MFD_CPR_MAX_SESSION) ||
	    too_long(header->boot_id, MFD_CPR_MAX_SESSION))
		return mfd_image_why(why, -EINVAL, "%s: the name of the session is too long",
				     MFD_CPR_IMAGE_NAME);
	ret = mfd_image_replace_each(dirfd, MFD_CPR_IMAGE_NAME, MFD_IMAGE_SERVICE_MAGIC,
				     MFD_IMAGE_CPR, next_message, &w, 1);
	free(w.owners);
	free(w.owner_p);
	if (ret && ret != -EINVAL)
		mfd_image_why(why, ret, "%s: cannot write: %s", MFD_CPR_IMAGE_NAME, strerror(-ret));
	return ret;
}

/* ---- reading ---- */

struct reader {
	struct mfd_image *img;
	const char *name;
	const char **why;
	uint64_t done;
	struct mfd_cpr_owner *owners; /* room for max_owners */
	uint32_t max_owners;
};

static int check_header(const struct reader *r, const Mfd__CprHeader *h)
{
	uint64_t left = mfd_image_size(r->img) - mfd_image_offset(r->img);

	if (!h->format)
		return mfd_image_why(r->why, -EBADMSG, "%s: format 0", r->name);
	if (h->format > MFD_CPR_IMAGE_FORMAT)
		return mfd_image_why(
			r->why, -EPROTO,
			"%s: written by a newer criu-multifd: format %u, this one knows up to %u",
			r->name, h->format, MFD_CPR_IMAGE_FORMAT);
	if (h->count > MFD_CPR_MAX_ENTRIES || h->count > left / LEAST_ENTRY)
		return mfd_image_why(r->why, -EBADMSG,
				     "%s: the header claims %llu entries, %llu bytes are left",
				     r->name, (unsigned long long)h->count,
				     (unsigned long long)left);
	if (too_long(h->session, MFD_CPR_MAX_SESSION) || too_long(h->boot_id, MFD_CPR_MAX_SESSION))
		return mfd_image_why(r->why, -EBADMSG, "%s: the name of the session is too long",
				     r->name);
	return 0;
}

static int read_header(struct reader *r,
		       int (*begin)(void *ctx, const struct mfd_cpr_image_header *header),
		       void *ctx, uint64_t *count)
{
	struct mfd_cpr_image_header header;
	ProtobufCMessage *msg = NULL;
	Mfd__CprHeader *h;
	int ret = mfd_image_next(r->img, &mfd__cpr_header__descriptor, &msg, r->why);

	if (!ret)
		return mfd_image_why(r->why, -EBADMSG, "%s: no header", r->name);
	if (ret < 0)
		return ret;
	h = (Mfd__CprHeader *)msg;
	ret = check_header(r, h);
	*count = h->count;
	header = (struct mfd_cpr_image_header){ h->count, h->boot_id, h->session, h->created_us };
	if (!ret && begin)
		ret = begin(ctx, &header);
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

static void get_socket(struct mfd_cpr_image_item *item, const Mfd__CprSocket *s)
{
	item->socket = (struct mfd_cpr_socket){
		.family = s->family,
		.type = s->type,
		.protocol = s->protocol,
		.state = s->state,
		.inode = s->inode,
		.peer_inode = s->peer_inode,
		.address = s->address.data,
		.peer_address = s->peer_address.data,
		/* what does not fit in 32 bits does not fit in an entry */
		.address_len = s->address.len,
		.peer_address_len = s->peer_address.len,
	};
	item->record.socket = &item->socket;
	item->record.has |= MFD_CPR_HAS_SOCKET;
}

static int get_owners(struct reader *r, struct mfd_cpr_record *record, const Mfd__CprEntry *e)
{
	uint32_t n = e->n_owners > MFD_CPR_MAX_OWNERS ? MFD_CPR_MAX_OWNERS + 1 : e->n_owners;

	if (n > r->max_owners) {
		free(r->owners);
		r->owners = calloc(n, sizeof(*r->owners));
		r->max_owners = r->owners ? n : 0;
		if (!r->owners)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		r->owners[i] = (struct mfd_cpr_owner){ e->owners[i]->pid, e->owners[i]->fd };
	record->n_owners = n;
	record->owners = n ? r->owners : NULL;
	return 0;
}

static int get_entry(struct reader *r, struct mfd_cpr_image_item *item, const Mfd__CprEntry *e)
{
	struct mfd_cpr_record *rec = &item->record;

	*item = (struct mfd_cpr_image_item){ .name = e->name, .id = e->id };
	rec->kind = e->kind;
	rec->how = e->how;
	rec->has = (e->has_flags ? MFD_CPR_HAS_FLAGS : 0) |
		   (e->has_position ? MFD_CPR_HAS_POSITION : 0) |
		   (e->has_criu_id ? MFD_CPR_HAS_CRIU_ID : 0) |
		   (e->device ? MFD_CPR_HAS_DEVICE : 0);
	rec->flags = e->flags;
	rec->position = e->position;
	rec->criu_id = e->criu_id;
	rec->path = e->path;
	rec->inherit_id = e->inherit_id;
	if (e->device) {
		rec->major = e->device->major;
		rec->minor = e->device->minor;
	}
	if (e->socket)
		get_socket(item, e->socket);
	return get_owners(r, rec, e);
}

static int bad_entry(const struct reader *r, const struct mfd_cpr_image_item *item, int ret,
		     const char *what)
{
	return mfd_image_why(r->why, ret, "%s: entry %llu (%.100s, %llu): %s", r->name,
			     (unsigned long long)r->done, item->name, (unsigned long long)item->id,
			     what);
}

static int check_item(const struct reader *r, const struct mfd_cpr_image_item *item)
{
	const char *wrong = what_is_wrong(&item->record);

	/* a file of our format has no others: something newer wrote it and forgot to say so */
	if (!known_kind(item->record.kind))
		return bad_entry(r, item, -EPROTO,
				 "of a kind that only a newer criu-multifd knows");
	if (!known_how(item->record.how))
		return bad_entry(r, item, -EPROTO,
				 "to be got back in a way that only a newer criu-multifd knows");
	if (!*item->name || too_long(item->name, MFD_CPR_MAX_NAME))
		wrong = "its name is empty or too long";
	return wrong ? bad_entry(r, item, -EBADMSG, wrong) : 0;
}

static int read_entry(struct reader *r,
		      int (*each)(void *ctx, const struct mfd_cpr_image_item *item), void *ctx,
		      uint64_t count)
{
	struct mfd_cpr_image_item item;
	ProtobufCMessage *msg = NULL;
	int ret = mfd_image_next(r->img, &mfd__cpr_entry__descriptor, &msg, r->why);

	if (!ret)
		return mfd_image_why(r->why, -EBADMSG, "%s: ends after %llu of %llu entries",
				     r->name, (unsigned long long)r->done,
				     (unsigned long long)count);
	if (ret < 0)
		return ret;
	ret = get_entry(r, &item, (Mfd__CprEntry *)msg);
	if (!ret)
		ret = check_item(r, &item);
	if (!ret)
		ret = each(ctx, &item);
	protobuf_c_message_free_unpacked(msg, NULL);
	r->done++;
	return ret;
}

int mfd_cpr_image_read(int dirfd, const char *name,
		       int (*begin)(void *ctx, const struct mfd_cpr_image_header *header),
		       int (*each)(void *ctx, const struct mfd_cpr_image_item *item), void *ctx,
		       const char **why)
{
	struct reader r = { .name = name, .why = why };
	uint64_t count = 0;
	int ret = mfd_image_open(dirfd, name, MFD_IMAGE_CPR, &r.img, why);

	if (ret)
		return ret;
	ret = read_header(&r, begin, ctx, &count);
	while (!ret && r.done < count)
		ret = read_entry(&r, each, ctx, count);
	if (!ret && mfd_image_offset(r.img) != mfd_image_size(r.img))
		ret = mfd_image_why(why, -EBADMSG,
				    "%s: something follows its %llu entries at offset %llu", name,
				    (unsigned long long)count,
				    (unsigned long long)mfd_image_offset(r.img));
	mfd_image_close(r.img);
	free(r.owners);
	return ret;
}
