/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The wire structs: byte order, hashes, and every check of a peer's bytes before they are used.
 *
 * An open function converts first and then checks; after a refusal the struct must not be used any
 * more.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire.h"

static int refuse(const char **why, const char *sentence)
{
	*why = sentence;
	return -EPROTO;
}

static uint64_t header_hash(const struct mfd_wire_packet *p)
{
	return XXH3_64bits(p, offsetof(struct mfd_wire_packet, header_hash));
}

void mfd_wire_packet_seal(struct mfd_wire_packet *p)
{
	p->magic = htole32(MFD_WIRE_MAGIC_PACKET);
	p->flags = htole16(p->flags);
	p->sequence = htole64(p->sequence);
	p->task = htole32(p->task);
	p->entries = htole32(p->entries);
	p->table_len = htole32(p->table_len);
	p->payload_len = htole32(p->payload_len);
	p->raw_len = htole32(p->raw_len);
	p->hash = htole64(p->hash);
	p->zero0 = 0;
	p->zero1 = 0;
	p->zero2 = 0;
	p->header_hash = htole64(header_hash(p));
}

static void packet_to_host(struct mfd_wire_packet *p)
{
	p->magic = le32toh(p->magic);
	p->flags = le16toh(p->flags);
	p->sequence = le64toh(p->sequence);
	p->task = le32toh(p->task);
	p->entries = le32toh(p->entries);
	p->table_len = le32toh(p->table_len);
	p->payload_len = le32toh(p->payload_len);
	p->raw_len = le32toh(p->raw_len);
	p->hash = le64toh(p->hash);
	p->header_hash = le64toh(p->header_hash);
}

#define COMPRESSED (MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4)

static int packet_flags_check(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
			      const char **why)
{
	if (p->flags & ~(COMPRESSED | MFD_WIRE_PACKET_HASHED))
		return refuse(why, "packet with unknown flags");
	if ((p->flags & COMPRESSED) == COMPRESSED)
		return refuse(why, "packet compressed in two ways");
	if (p->flags & COMPRESSED & ~lim->compress)
		return refuse(why, "packet compressed in a way that was not negotiated");
	if (!(p->flags & MFD_WIRE_PACKET_HASHED) && p->hash)
		return refuse(why, "packet with a hash but not flagged so");
	return 0;
}

static int packet_payload_check(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
				const char **why)
{
	if (p->raw_len > lim->packet_size || p->raw_len > MFD_WIRE_MAX_PACKET)
		return refuse(why, "packet larger than negotiated");
	if (!(p->flags & COMPRESSED))
		return p->payload_len == p->raw_len ?
			       0 :
			       refuse(why, "packet not compressed but of two lengths");
	if (!p->payload_len || p->payload_len > p->raw_len)
		return refuse(why, "compressed payload longer than what it holds, or empty");
	return 0;
}

static int packet_pages_check(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
			      const char **why)
{
	if (p->task == 0 || p->task > INT32_MAX)
		return refuse(why, "page packet of an impossible task");
	if (p->entries == 0 || p->entries > lim->packet_size / MFD_WIRE_PAGE_SIZE ||
	    p->entries > MFD_WIRE_MAX_RUNS)
		return refuse(why, "page packet without runs, or with more than fit");
	if (p->table_len != p->entries * sizeof(struct mfd_wire_run))
		return refuse(why, "page packet whose table length is not that of its runs");
	if (p->raw_len % MFD_WIRE_PAGE_SIZE)
		return refuse(why, "page packet with a part of a page");
	return packet_payload_check(p, lim, why);
}

static int packet_file_check(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
			     const char **why)
{
	if (p->task || p->entries != 1)
		return refuse(why, "file packet with a task, or not of one file");
	if (p->table_len <= sizeof(struct mfd_wire_file) ||
	    p->table_len > sizeof(struct mfd_wire_file) + MFD_WIRE_MAX_NAME)
		return refuse(why, "file packet whose table has an impossible length");
	return packet_payload_check(p, lim, why);
}

static int packet_sync_check(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
			     const char **why)
{
	(void)lim;
	if (p->task || p->entries || p->table_len || p->payload_len || p->raw_len ||
	    p->flags & COMPRESSED)
		return refuse(why, "sync packet that is not empty");
	if (!p->sequence)
		return refuse(why, "sync packet number 0");
	return 0;
}

/*
 * What a header of each kind must look like.  The flags and the reserved fields are the same for
 * all.
 */
static const struct kind {
	int (*check)(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
		     const char **why);
	int hashed; /* HASHED must be set if `checksum` was negotiated */
} kinds[] = {
	[MFD_WIRE_PACKET_PAGES] = { packet_pages_check, .hashed = 1 },
	[MFD_WIRE_PACKET_FILE] = { packet_file_check, .hashed = 1 },
	[MFD_WIRE_PACKET_SYNC] = { packet_sync_check },
};

static const struct kind *kind_of(const struct mfd_wire_packet *p)
{
	const struct kind *k = p->type < sizeof(kinds) / sizeof(kinds[0]) ? &kinds[p->type] : NULL;

	return k && k->check ? k : NULL;
}

int mfd_wire_packet_open(struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
			 const char **why)
{
	uint64_t hash = header_hash(p);
	const struct kind *kind = kind_of(p);
	int ret;

	packet_to_host(p);
	if (p->magic != MFD_WIRE_MAGIC_PACKET)
		return refuse(why, "no packet where one should begin");
	if (p->header_hash != hash)
		return refuse(why, "damaged packet header");
	if (p->zero0 || p->zero1 || p->zero2)
		return refuse(why, "packet header with a reserved field set");
	ret = packet_flags_check(p, lim, why);
	if (ret)
		return ret;
	if (!kind)
		return refuse(why, "packet of unknown type");
	if (lim->checksum && kind->hashed && !(p->flags & MFD_WIRE_PACKET_HASHED))
		return refuse(why, "packet without a hash, which was negotiated");
	return kind->check(p, lim, why);
}

void mfd_wire_runs_seal(struct mfd_wire_run *runs, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		runs[i].vaddr = htole64(runs[i].vaddr);
		runs[i].pages = htole32(runs[i].pages);
		runs[i].flags = htole32(runs[i].flags);
	}
}

static int run_check(const struct mfd_wire_run *r, const struct mfd_wire_limits *lim,
		     const char **why)
{
	if (r->flags & ~(uint32_t)(MFD_WIRE_RUN_ZERO | MFD_WIRE_RUN_STALE))
		return refuse(why, "run with unknown flags");
	if (r->flags & MFD_WIRE_RUN_STALE && !lim->precopy)
		return refuse(why, "run of stale pages, but rounds were not negotiated");
	if (r->flags == (MFD_WIRE_RUN_ZERO | MFD_WIRE_RUN_STALE))
		return refuse(why, "run of pages both zero and stale");
	if (!r->pages || r->pages > lim->packet_size / MFD_WIRE_PAGE_SIZE)
		return refuse(why, "run without pages, or more of them than fit");
	if (r->vaddr % MFD_WIRE_PAGE_SIZE || r->vaddr >= MFD_WIRE_MAX_VADDR ||
	    ((uint64_t)r->pages << MFD_WIRE_PAGE_SHIFT) > MFD_WIRE_MAX_VADDR - r->vaddr)
		return refuse(why, "run at an impossible address");
	return 0;
}

int mfd_wire_runs_open(struct mfd_wire_run *runs, uint32_t n, uint32_t raw_len,
		       const struct mfd_wire_limits *lim, const char **why)
{
	uint64_t max_pages = lim->packet_size / MFD_WIRE_PAGE_SIZE, pages = 0, data = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct mfd_wire_run *r = &runs[i];
		int ret;

		r->vaddr = le64toh(r->vaddr);
		r->pages = le32toh(r->pages);
		r->flags = le32toh(r->flags);
		ret = run_check(r, lim, why);
		if (ret)
			return ret;
		pages += r->pages; /* no overflow: n and each r->pages fit 32 bits */
		if (!r->flags)
			data += r->pages;
	}
	if (pages > max_pages)
		return refuse(why, "runs with more pages than a packet may hold");
	if (data << MFD_WIRE_PAGE_SHIFT != raw_len)
		return refuse(why, "runs that do not make up the payload");
	return 0;
}

int mfd_wire_name_ok(const char *name, size_t len)
{
	size_t i;

	if (!len || len > MFD_WIRE_MAX_NAME || name[0] == '.')
		return 0;
	for (i = 0; i < len; i++)
		if (name[i] == '/' || (unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return 0;
	return 1;
}

int mfd_wire_file_open(const void *table, uint32_t table_len, uint32_t raw_len,
		       struct mfd_wire_file *f, char *name, const char **why)
{
	if (table_len < sizeof(*f))
		return refuse(why, "file table that is too short");
	memcpy(f, table, sizeof(*f));
	f->offset = le64toh(f->offset);
	f->size = le64toh(f->size);
	f->mode = le32toh(f->mode);
	f->name_len = le16toh(f->name_len);

	if (f->zero)
		return refuse(why, "file table with a reserved field set");
	if (f->mode & ~07777U)
		return refuse(why, "file with more than permission bits in its mode");
	if (f->name_len != table_len - sizeof(*f))
		return refuse(why, "file table whose length is not that of its name");
	if (!mfd_wire_name_ok((const char *)table + sizeof(*f), f->name_len))
		return refuse(why, "file with a name that is not allowed");
	if (f->size > INT64_MAX || f->offset > f->size || raw_len > f->size - f->offset)
		return refuse(why, "piece of a file that lies outside of it");
	memcpy(name, (const char *)table + sizeof(*f), f->name_len);
	name[f->name_len] = '\0';
	return 0;
}

uint32_t mfd_wire_file_seal(void *table, const struct mfd_wire_file *f, const char *name)
{
	size_t len = strlen(name);
	struct mfd_wire_file wire = {
		.offset = htole64(f->offset),
		.size = htole64(f->size),
		.mode = htole32(f->mode),
		.name_len = htole16((uint16_t)len),
	};

	if (!mfd_wire_name_ok(name, len))
		return 0;
	memcpy(table, &wire, sizeof(wire));
	memcpy((char *)table + sizeof(wire), name, len);
	return (uint32_t)(sizeof(wire) + len);
}

void mfd_wire_greeting_seal(struct mfd_wire_greeting *g)
{
	g->magic = htole32(MFD_WIRE_MAGIC_GREETING);
	g->version = htole16(MFD_WIRE_VERSION);
	g->channel = htole16(g->channel);
	g->zero0 = 0;
	g->zero1 = 0;
	g->zero2 = 0;
}

int mfd_wire_greeting_open(struct mfd_wire_greeting *g, const char **why)
{
	g->magic = le32toh(g->magic);
	g->version = le16toh(g->version);
	g->channel = le16toh(g->channel);

	if (g->magic != MFD_WIRE_MAGIC_GREETING)
		return refuse(why, "not a criu-multifd peer");
	if (g->version != MFD_WIRE_VERSION) {
		*why = "the peer speaks another version of the protocol";
		return -EPROTONOSUPPORT;
	}
	if (g->zero0 || g->zero1 || g->zero2)
		return refuse(why, "greeting with a reserved field set");
	if (g->role < MFD_WIRE_ROLE_CONTROL || g->role > MFD_WIRE_ROLE_URGENT)
		return refuse(why, "greeting with an unknown role");
	if (g->channel >= MFD_WIRE_MAX_CHANNELS || (g->channel && g->role != MFD_WIRE_ROLE_DATA))
		return refuse(why, "greeting with an impossible channel");
	return 0;
}

void mfd_wire_frame_seal(struct mfd_wire_frame *f)
{
	f->magic = htole32(MFD_WIRE_MAGIC_FRAME);
	f->type = htole16(f->type);
	f->zero = 0;
	f->len = htole32(f->len);
}

int mfd_wire_frame_open(struct mfd_wire_frame *f, const char **why)
{
	f->magic = le32toh(f->magic);
	f->type = le16toh(f->type);
	f->len = le32toh(f->len);

	if (f->magic != MFD_WIRE_MAGIC_FRAME)
		return refuse(why, "no message where one should begin");
	if (f->zero)
		return refuse(why, "message frame with a reserved field set");
	if (f->type < MFD_WIRE_HELLO || f->type > MFD_WIRE_MSG_MAX)
		return refuse(why, "message of unknown type");
	if (f->len > MFD_WIRE_MAX_FRAME)
		return refuse(why, "message longer than allowed");
	return 0;
}

static const char *const msg_names[] = {
	[MFD_WIRE_HELLO] = "HELLO",	    [MFD_WIRE_HELLO_OK] = "HELLO_OK",
	[MFD_WIRE_JOINED] = "JOINED",	    [MFD_WIRE_IMAGES] = "IMAGES",
	[MFD_WIRE_IMAGES_OK] = "IMAGES_OK", [MFD_WIRE_END] = "END",
	[MFD_WIRE_NEED] = "NEED",	    [MFD_WIRE_READY] = "READY",
	[MFD_WIRE_STARTED] = "STARTED",	    [MFD_WIRE_STARTED_OK] = "STARTED_OK",
	[MFD_WIRE_FAULT] = "FAULT",	    [MFD_WIRE_RESTORED] = "RESTORED",
	[MFD_WIRE_COMMIT] = "COMMIT",	    [MFD_WIRE_COMMITTED] = "COMMITTED",
	[MFD_WIRE_ABORT] = "ABORT",	    [MFD_WIRE_RESUME] = "RESUME",
	[MFD_WIRE_RESUME_OK] = "RESUME_OK", [MFD_WIRE_PING] = "PING",
	[MFD_WIRE_PONG] = "PONG",	    [MFD_WIRE_SET] = "SET",
	[MFD_WIRE_SETTING] = "SETTING",	    [MFD_WIRE_QUEUED] = "QUEUED",
	[MFD_WIRE_ROOM] = "ROOM",	    [MFD_WIRE_SIZE] = "SIZE",
	[MFD_WIRE_ROUND] = "ROUND",	    [MFD_WIRE_ROUND_OK] = "ROUND_OK",
	[MFD_WIRE_PROBE] = "PROBE",	    [MFD_WIRE_PROBED] = "PROBED",
};

const char *mfd_wire_msg_name(unsigned type)
{
	if (type >= sizeof(msg_names) / sizeof(msg_names[0]) || !msg_names[type])
		return "unknown";
	return msg_names[type];
}

static const char *const join_errors[] = {
	[MFD_WIRE_JOIN_OK] = "joined",
	[MFD_WIRE_JOIN_VERSION] = "the server speaks another version of the protocol",
	[MFD_WIRE_JOIN_SESSION] = "the server knows no such session",
	[MFD_WIRE_JOIN_CHANNEL] = "the channel number is not below the negotiated count",
	[MFD_WIRE_JOIN_TWICE] = "the channel has joined already",
	[MFD_WIRE_JOIN_ROLE] = "the session has no use for such a connection",
};

const char *mfd_wire_join_error(unsigned status)
{
	if (status >= sizeof(join_errors) / sizeof(join_errors[0]))
		return "refused for a reason this version does not know";
	return join_errors[status];
}
