/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The bytes that cross between source and target: fixed-width, packed, little-endian structs.
 *
 * PROTOCOL.md is normative; this header is its C form.  Every connection begins with a struct
 * mfd_wire_greeting, which names what follows:
 *
 *	control		frames, both ways: struct mfd_wire_frame, a message of control.proto
 *	data, urgent	packets, source to target: struct mfd_wire_packet, table, payload bytes
 *
 * No field of a peer is used before wire.c has checked it against the negotiated limits.
 */
#ifndef MFD_WIRE_H
#define MFD_WIRE_H

#include <stdint.h>
#include <stddef.h>
#include <sys/uio.h>

#define MFD_WIRE_MAGIC_GREETING 0x4446554dU /* "MUFD" */
#define MFD_WIRE_MAGIC_FRAME	0x4d43464dU /* "MFCM" */
#define MFD_WIRE_MAGIC_PACKET	0x4b50464dU /* "MFPK" */

#define MFD_WIRE_VERSION 1 /* of all that is in here; see PROTOCOL.md "Versions" */

#define MFD_WIRE_PAGE_SHIFT 12
#define MFD_WIRE_PAGE_SIZE  (1U << MFD_WIRE_PAGE_SHIFT)

/* Hard limits: a peer may negotiate less, never more. */
#define MFD_WIRE_MAX_CHANNELS 64
#define MFD_WIRE_MAX_PACKET   (4U << 20) /* bytes of page data in one packet, before compression */
#define MFD_WIRE_MIN_PACKET   (64U << 10)
#define MFD_WIRE_MAX_FRAME    (4U << 20) /* bytes of one control message */
#define MFD_WIRE_MAX_NAME     255	 /* bytes of a session or image name, without the NUL */
#define MFD_WIRE_MAX_RUNS     (MFD_WIRE_MAX_PACKET / MFD_WIRE_PAGE_SIZE)
#define MFD_WIRE_MAX_VADDR    (1ULL << 56) /* first address that no task can have */
/* The last ROUND; pages of the stop are of the round behind it, and a page has 13 bits for it. */
#define MFD_WIRE_MAX_ROUND 8190U

#define MFD_WIRE_SESSION_ID_LEN 16
#define MFD_WIRE_SECRET_LEN	32

enum mfd_wire_role {
	/* opens a session (first message HELLO) or reopens one (first message RESUME) */
	MFD_WIRE_ROLE_CONTROL = 1,
	MFD_WIRE_ROLE_DATA = 2, /* joins a session; answered by one struct mfd_wire_joined */
	/* as DATA; carries answers to faults, postcopy only; channel is 0 */
	MFD_WIRE_ROLE_URGENT = 3,
};

/* First bytes of every connection, from the side that connected.  64 bytes. */
struct mfd_wire_greeting {
	uint32_t magic;
	uint16_t version;
	uint8_t role;				  /* enum mfd_wire_role */
	uint8_t zero0;				  /* must be 0 */
	uint16_t channel;			  /* DATA: 0 .. channels-1; otherwise 0 */
	uint16_t zero1;				  /* must be 0 */
	uint32_t zero2;				  /* must be 0 */
	uint8_t session[MFD_WIRE_SESSION_ID_LEN]; /* CONTROL before HELLO: zeros */
	/* as handed out in HELLO_OK; CONTROL before HELLO: zeros */
	uint8_t secret[MFD_WIRE_SECRET_LEN];
} __attribute__((packed));
_Static_assert(sizeof(struct mfd_wire_greeting) == 64, "greeting is 64 bytes");

/* Answer to a DATA or URGENT greeting.  A refused connection is closed after it.  8 bytes. */
struct mfd_wire_joined {
	uint32_t magic;	  /* MFD_WIRE_MAGIC_GREETING */
	uint16_t status;  /* enum mfd_wire_join_status */
	uint16_t version; /* the version the server speaks */
} __attribute__((packed));
_Static_assert(sizeof(struct mfd_wire_joined) == 8, "joined is 8 bytes");

enum mfd_wire_join_status {
	MFD_WIRE_JOIN_OK = 0,
	MFD_WIRE_JOIN_VERSION = 1, /* server does not speak the greeting's version */
	/* no such session, or wrong secret (not told apart on purpose) */
	MFD_WIRE_JOIN_SESSION = 2,
	MFD_WIRE_JOIN_CHANNEL = 3, /* channel id >= the negotiated count */
	MFD_WIRE_JOIN_TWICE = 4,   /* that channel has joined already */
	MFD_WIRE_JOIN_ROLE = 5,	   /* unknown role, or one the session has no use for */
};

/* Before every control message.  12 bytes. */
struct mfd_wire_frame {
	uint32_t magic;
	uint16_t type; /* enum mfd_wire_msg */
	uint16_t zero; /* must be 0 */
	uint32_t len;  /* bytes of protobuf that follow, <= MFD_WIRE_MAX_FRAME */
} __attribute__((packed));
_Static_assert(sizeof(struct mfd_wire_frame) == 12, "frame is 12 bytes");

/*
 * Control messages; each has the protobuf message of the same name in control.proto.  S = from
 * source, T = from target.
 */
enum mfd_wire_msg {
	MFD_WIRE_HELLO = 1,    /* S  open a session */
	MFD_WIRE_HELLO_OK = 2, /* T  its id, secret and limits */
	MFD_WIRE_JOINED = 3,   /* T  all channels are in: the source may freeze its tasks */
	/* S  every image file has been sent (after a sync of all channels) */
	MFD_WIRE_IMAGES = 4,
	MFD_WIRE_IMAGES_OK = 5, /* T  postcopy: images complete, the session is restorable */
	/* S  everything has been sent (after a sync of all channels); counts and checksum */
	MFD_WIRE_END = 6,
	/* T  lazy pages of the pagemap images that are not in the store; answered by pages + END */
	MFD_WIRE_NEED = 7,
	MFD_WIRE_READY = 8,   /* T  verified; survives a restart of the server */
	MFD_WIRE_STARTED = 9, /* T  postcopy: a restore has begun and waits for leave to run */
	/* S  leave given: from here on the source does not resume by itself */
	MFD_WIRE_STARTED_OK = 10,
	/* T  postcopy: a task waits for this page; answered on the urgent channel */
	MFD_WIRE_FAULT = 11,
	MFD_WIRE_RESTORED = 12,	 /* T  confirm = restore: tasks exist, stopped */
	MFD_WIRE_COMMIT = 13,	 /* S  the source's tasks are dead: the target owns them */
	MFD_WIRE_COMMITTED = 14, /* T  acknowledges COMMIT */
	MFD_WIRE_ABORT = 15,	 /* both  the session is over, with a reason */
	MFD_WIRE_RESUME = 16,	 /* S  reopen a session whose connections were lost */
	MFD_WIRE_RESUME_OK = 17, /* T  and its state */
	MFD_WIRE_PING = 18,	 /* both  keeps stall detection quiet; answered by PONG */
	MFD_WIRE_PONG = 19,	 /* both */
	/* T  change a setting of the running session; only where HELLO or RESUME offered it */
	MFD_WIRE_SET = 20,
	/* S  what a setting is now: answers SET, or changed on the source; only where granted */
	MFD_WIRE_SETTING = 21,
	/* T  HELLO is not answered yet: there is no memory for the session now */
	MFD_WIRE_QUEUED = 22,
	MFD_WIRE_ROOM = 23, /* T  postcopy: so many pages may be sent by now */
	/* S  how much memory the tasks have, when that is not what HELLO said */
	MFD_WIRE_SIZE = 24,
	/* S  precopy: the pages of a round have been sent (after a sync of all channels) */
	MFD_WIRE_ROUND = 25,
	MFD_WIRE_ROUND_OK = 26, /* T  they are here: those of the next round may come */
	/* S  what does the target lack of this?  Instead of HELLO; opens no session */
	MFD_WIRE_PROBE = 27,
	MFD_WIRE_PROBED = 28, /* T  that */
	MFD_WIRE_MSG_MAX = MFD_WIRE_PROBED,
};

enum mfd_wire_packet_type {
	/* table: struct mfd_wire_run[]; payload: pages of the runs without ZERO, in order */
	MFD_WIRE_PACKET_PAGES = 1,
	/* table: struct mfd_wire_file + name; payload: bytes of the file at its offset */
	MFD_WIRE_PACKET_FILE = 2,
	/* no table, no payload: all before it on this channel belongs to sync number `sequence` */
	MFD_WIRE_PACKET_SYNC = 3,
};

enum mfd_wire_packet_flags {
	MFD_WIRE_PACKET_ZSTD = 1 << 0, /* payload is one zstd frame of raw_len bytes */
	MFD_WIRE_PACKET_LZ4 = 1 << 1,  /* payload is one lz4 block of raw_len bytes */
	/* hash is set; absent only when checksum = off was negotiated */
	MFD_WIRE_PACKET_HASHED = 1 << 2,
};

/*
 * Before every packet on a data channel.  64 bytes.
 *
 * A new kind of packet is a row here (enum mfd_wire_packet_type), in wire.c (what its header must
 * look like), in plugin/target/session/receive.c (what is done with it), in lib/sendchan.c with
 * its payload type in lib/payload.h (how it is sent), and in PROTOCOL.md.
 */
struct mfd_wire_packet {
	uint32_t magic;
	uint8_t type;	/* enum mfd_wire_packet_type */
	uint8_t zero0;	/* must be 0 */
	uint16_t flags; /* enum mfd_wire_packet_flags */
	/*
	 * numbers packets of a session from 0 in the order they were queued; SYNC: number of the
	 * sync from 1
	 */
	uint64_t sequence;
	/* PAGES: pid of the task in its own pid namespace, as in pagemap-PID.img; else 0 */
	uint32_t task;
	uint32_t entries;     /* PAGES: runs in the table; FILE: 1; SYNC: 0 */
	uint32_t table_len;   /* bytes of table */
	uint32_t payload_len; /* bytes of payload on the wire */
	/* bytes of payload after decompression; == payload_len when not compressed */
	uint32_t raw_len;
	uint32_t zero1; /* must be 0 */
	/* XXH3-64 (seed 0) of table, continued over the payload as it is on the wire */
	uint64_t hash;
	uint64_t zero2; /* must be 0 */
	/*
	 * XXH3-64 (seed 0) of the 56 bytes before: a frame that slipped is noticed before a length
	 * is used
	 */
	uint64_t header_hash;
} __attribute__((packed));
_Static_assert(sizeof(struct mfd_wire_packet) == 64, "packet header is 64 bytes");

enum mfd_wire_run_flags {
	MFD_WIRE_RUN_ZERO = 1 << 0, /* all pages of the run are zero and have no payload */
	/* precopy: earlier rounds' copies of these pages are void; the run has no payload */
	MFD_WIRE_RUN_STALE = 1 << 1,
};

/* Pages that lie beside each other in the task's address space.  16 bytes. */
struct mfd_wire_run {
	uint64_t vaddr; /* bytes, page-aligned, < MFD_WIRE_MAX_VADDR */
	uint32_t pages; /* >= 1 */
	uint32_t flags; /* enum mfd_wire_run_flags */
} __attribute__((packed));
_Static_assert(sizeof(struct mfd_wire_run) == 16, "run is 16 bytes");

/*
 * A piece of an image file.  24 bytes, then name_len bytes of name (no NUL, no '/', not "." or
 * "..").
 */
struct mfd_wire_file {
	uint64_t offset;   /* bytes */
	uint64_t size;	   /* of the whole file, bytes; offset + payload <= size */
	uint32_t mode;	   /* permission bits only (07777) */
	uint16_t name_len; /* 1 .. MFD_WIRE_MAX_NAME */
	uint16_t zero;	   /* must be 0 */
} __attribute__((packed));
_Static_assert(sizeof(struct mfd_wire_file) == 24, "file is 24 bytes");

/*
 * What both ends agreed on in HELLO/HELLO_OK; every check is made against these, not against what a
 * packet says.
 */
struct mfd_wire_limits {
	uint32_t channels;    /* 1 .. MFD_WIRE_MAX_CHANNELS */
	uint32_t packet_size; /* bytes of page data in one packet, multiple of the page size */
	int checksum;	      /* packets must be HASHED */
	/* flags that may appear: MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4 */
	int compress;
	int precopy; /* pages come in rounds: MFD_WIRE_RUN_STALE may appear */
};

/*
 * Seal: fill in magic, header_hash and the byte order.  The caller sets all other fields in host
 * order; `p` is on-wire after the call.  Open is the reverse: it checks magic, zero fields,
 * header_hash, type, flags and every length against `lim`.  0, or -EPROTO with *why pointing to a
 * constant sentence for the log.
 */
void mfd_wire_packet_seal(struct mfd_wire_packet *p);
int mfd_wire_packet_open(struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
			 const char **why);

/* Return the hash of table and payload, as in `hash`.  Both may be NULL with length 0. */
uint64_t mfd_wire_hash(const void *table, size_t table_len, const void *payload,
		       size_t payload_len);
/* The same of a payload that lies in n pieces. */
uint64_t mfd_wire_hash_pieces(const void *table, size_t table_len, const struct iovec *iov,
			      unsigned n);

/*
 * Return what a run of pages, last sent in `round`, adds to END.freshness: XXH3-64 (seed 0) of
 * task, round (both 32 bits) and address (64 bits) of each page, summed modulo 2^64.
 */
uint64_t mfd_wire_freshness(uint32_t task, uint64_t vaddr, uint64_t pages, uint32_t round);

/*
 * Convert a run table to or from wire order in place.  Open checks each run's alignment and bounds,
 * that the sum of pages is at most packet_size and that the pages without ZERO make up exactly
 * raw_len bytes.
 */
void mfd_wire_runs_seal(struct mfd_wire_run *runs, uint32_t n);
int mfd_wire_runs_open(struct mfd_wire_run *runs, uint32_t n, uint32_t raw_len,
		       const struct mfd_wire_limits *lim, const char **why);

/*
 * Parse the table of a FILE packet; name must have MFD_WIRE_MAX_NAME + 1 bytes and is
 * NUL-terminated on success.  Check the name (mfd_wire_name_ok) and that offset + raw_len <= size
 * without overflow.
 */
int mfd_wire_file_open(const void *table, uint32_t table_len, uint32_t raw_len,
		       struct mfd_wire_file *f, char *name, const char **why);
/*
 * Write struct mfd_wire_file and the name to `table` (>= 24 + 255 bytes).  Return table_len, 0 if
 * the name is not allowed.
 */
uint32_t mfd_wire_file_seal(void *table, const struct mfd_wire_file *f, const char *name);

/*
 * Nonzero if the name of a session or an image is allowed: 1..255 bytes, no '/', no control
 * characters, not starting with '.'.
 */
int mfd_wire_name_ok(const char *name, size_t len);

void mfd_wire_greeting_seal(struct mfd_wire_greeting *g);
/* 0, -EPROTO, or -EPROTONOSUPPORT for the version alone. */
int mfd_wire_greeting_open(struct mfd_wire_greeting *g, const char **why);
void mfd_wire_frame_seal(struct mfd_wire_frame *f);
int mfd_wire_frame_open(struct mfd_wire_frame *f, const char **why);

const char *mfd_wire_msg_name(unsigned type);
const char *mfd_wire_join_error(unsigned status);

#endif
