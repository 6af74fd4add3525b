// SPDX-License-Identifier: GPL-2.0-only
/*
 * An image as JSON: { "file", "magic", "entries": [ one line each ] }, or magic and size where only
 * CRIU knows the entries.
 *
 * Messages are walked through their descriptors; `specials` lists the fields that read better as
 * something else than numbers.  Entries are printed as they are read: a damaged image shows what
 * stands before the damage, then "error".
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "images/cpr.pb-c.h"
#include "images/criu.pb-c.h"
#include "images/session.pb-c.h"
#include "text.h"
#include "why.h"

/*
 * Kinds of images: CRIU's names for its magic words, and the messages of those that we understand.
 */
static const struct kind {
	uint32_t magic;
	const char *name;
	const ProtobufCMessageDescriptor *head; /* of the first entry, where it differs */
	const ProtobufCMessageDescriptor *entry;
} kinds[] = {
	{ MFD_IMAGE_INVENTORY, "INVENTORY", NULL, &mfd_criu__inventory_entry__descriptor },
	{ MFD_IMAGE_PSTREE, "PSTREE", NULL, &mfd_criu__pstree_entry__descriptor },
	{ MFD_IMAGE_PAGEMAP, "PAGEMAP", &mfd_criu__pagemap_head__descriptor,
	  &mfd_criu__pagemap_entry__descriptor },
	{ MFD_IMAGE_MM, "MM", NULL, &mfd_criu__mm_entry__descriptor },
	{ MFD_IMAGE_SESSION, "SESSION", NULL, &mfd__session_entry__descriptor },
	{ MFD_IMAGE_CPR, "CPR_FDS", &mfd__cpr_header__descriptor, &mfd__cpr_entry__descriptor },
	{ 0x56213732, "FDINFO", NULL, NULL },
	{ 0x55053847, "CORE", NULL, NULL },
	{ 0x54432030, "IDS", NULL, NULL },
	{ 0x54123737, "VMAS", NULL, NULL },
	{ 0x56513555, "PIPES", NULL, NULL },
	{ 0x56453709, "PIPES_DATA", NULL, NULL },
	{ 0x58364939, "FIFO", NULL, NULL },
	{ 0x59333054, "FIFO_DATA", NULL, NULL },
	{ 0x55344201, "SIGACT", NULL, NULL },
	{ 0x54373943, "UNIXSK", NULL, NULL },
	{ 0x56443851, "INETSK", NULL, NULL },
	{ 0x60454618, "PACKETSK", NULL, NULL },
	{ 0x57464056, "ITIMERS", NULL, NULL },
	{ 0x52603957, "POSIX_TIMERS", NULL, NULL },
	{ 0x56264026, "SK_QUEUES", NULL, NULL },
	{ 0x54473203, "UTSNS", NULL, NULL },
	{ 0x54023547, "CREDS", NULL, NULL },
	{ 0x53115007, "IPC_VAR", NULL, NULL },
	{ 0x46283044, "IPCNS_SHM", NULL, NULL },
	{ 0x55453737, "IPCNS_MSG", NULL, NULL },
	{ 0x59573019, "IPCNS_SEM", NULL, NULL },
	{ 0x50363636, "REG_FILES", NULL, NULL },
	{ 0x59255641, "EXT_FILES", NULL, NULL },
	{ 0x51403912, "FS", NULL, NULL },
	{ 0x59133954, "REMAP_FPATH", NULL, NULL },
	{ 0x52583605, "GHOST_FILE", NULL, NULL },
	{ 0x51465506, "TCP_STREAM", NULL, NULL },
	{ 0x44523722, "EVENTFD_FILE", NULL, NULL },
	{ 0x45023858, "EVENTPOLL_FILE", NULL, NULL },
	{ 0x44433746, "EVENTPOLL_TFD", NULL, NULL },
	{ 0x57323820, "SIGNALFD", NULL, NULL },
	{ 0x48424431, "INOTIFY_FILE", NULL, NULL },
	{ 0x54562009, "INOTIFY_WD", NULL, NULL },
	{ 0x55563928, "MNTS", NULL, NULL },
	{ 0x57373951, "NETDEV", NULL, NULL },
	{ 0x55933752, "NETNS", NULL, NULL },
	{ 0x59433025, "TTY_FILES", NULL, NULL },
	{ 0x59453036, "TTY_INFO", NULL, NULL },
	{ 0x59413026, "TTY_DATA", NULL, NULL },
	{ 0x54323616, "FILE_LOCKS", NULL, NULL },
	{ 0x57113925, "RLIMIT", NULL, NULL },
	{ 0x55096122, "FANOTIFY_FILE", NULL, NULL },
	{ 0x56506035, "FANOTIFY_MARK", NULL, NULL },
	{ 0x59255647, "SIGNAL", NULL, NULL },
	{ 0x58005614, "NETLINK_SK", NULL, NULL },
	{ 0x61394011, "NS_FILES", NULL, NULL },
	{ 0x57143751, "TUNFILE", NULL, NULL },
	{ 0x59383330, "CGROUP", NULL, NULL },
	{ 0x50493712, "TIMERFD", NULL, NULL },
	{ 0x61404013, "CPUINFO", NULL, NULL },
	{ 0x55474906, "USERNS", NULL, NULL },
	{ 0x64413049, "SECCOMP", NULL, NULL },
	{ 0x67343323, "BINFMT_MISC", NULL, NULL },
	{ 0x49353943, "AUTOFS", NULL, NULL },
	{ 0x56303138, "FILES", NULL, NULL },
	{ 0x48453499, "MEMFD_INODE", NULL, NULL },
	{ 0x43114433, "TIMENS", NULL, NULL },
	{ 0x61157326, "PIDNS", NULL, NULL },
	{ 0x57506142, "BPFMAP_FILE", NULL, NULL },
	{ 0x64324033, "BPFMAP_DATA", NULL, NULL },
	{ 0x59423047, "APPARMOR", NULL, NULL },
	{ 0x54435556, "PIDFD", NULL, NULL },
	{ 0x57093306, "STATS", NULL, NULL },
	{ 0x57004059, "IRMAP_CACHE", NULL, NULL },
};

static const struct kind *find_kind(uint32_t magic)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].magic == magic)
			return &kinds[i];
	return NULL;
}

static struct json_object *json_text(const char *text)
{
	char *copy = strdup(text);
	struct json_object *o = copy ? json_object_new_string(mfd_image_text_clean(copy)) : NULL;

	free(copy);
	return o;
}

static struct json_object *json_hex(uint64_t v)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "0x%llx", (unsigned long long)v);
	return json_object_new_string(buf);
}

struct bit {
	uint32_t bit;
	const char *name;
};

/*
 * Names of the bits that are set; what is left as one number. `kind_mask`: bits that are a number
 * among themselves.
 */
static struct json_object *json_bits(uint32_t v, const struct bit *bits, uint32_t kind_mask)
{
	struct json_object *a = json_object_new_array();

	for (; bits->name; bits++) {
		if (bits->bit & kind_mask ? (v & kind_mask) != bits->bit : !(v & bits->bit))
			continue;
		json_object_array_add(a, json_object_new_string(bits->name));
		v &= ~bits->bit;
	}
	if (v)
		json_object_array_add(a, json_hex(v));
	return a;
}

static struct json_object *show_pe(uint64_t v)
{
	static const struct bit bits[] = {
		{ MFD_PE_PARENT, "PARENT" },
		{ MFD_PE_LAZY, "LAZY" },
		{ MFD_PE_PRESENT, "PRESENT" },
		{ 0, NULL },
	};

	return json_bits(v, bits, 0);
}

static struct json_object *show_map(uint64_t v)
{
	static const struct bit bits[] = {
		{ MAP_SHARED, "SHARED" },
		{ MAP_PRIVATE, "PRIVATE" },
		{ MAP_SHARED_VALIDATE, "SHARED_VALIDATE" },
		{ MAP_FIXED, "FIXED" },
		{ MAP_ANONYMOUS, "ANONYMOUS" },
		{ MAP_GROWSDOWN, "GROWSDOWN" },
		{ MAP_LOCKED, "LOCKED" },
		{ MAP_NORESERVE, "NORESERVE" },
		{ MAP_HUGETLB, "HUGETLB" },
		{ MAP_STACK, "STACK" },
		{ 0, NULL },
	};

	return json_bits(v, bits, MAP_TYPE);
}

/* CRIU's VMA_*: what a mapping is. */
static struct json_object *show_vma_status(uint64_t v)
{
	static const struct bit bits[] = {
		{ 1 << 0, "REGULAR" },
		{ 1 << 1, "STACK" },
		{ 1 << 2, "VSYSCALL" },
		{ 1 << 3, "VDSO" },
		{ 1 << 5, "HEAP" },
		{ 1 << 6, "FILE_PRIVATE" },
		{ 1 << 7, "FILE_SHARED" },
		{ 1 << 8, "ANON_SHARED" },
		{ 1 << 9, "ANON_PRIVATE" },
		{ 1 << 10, "SYSVIPC" },
		{ 1 << 11, "SOCKET" },
		{ 1 << 12, "VVAR" },
		{ 1 << 13, "AIORING" },
		{ 1 << 14, "MEMFD" },
		{ 1 << 15, "SHSTK" },
		{ 1 << 16, "GUARD" },
		{ 1 << 17, "UPROBES" },
		{ 1 << 27, "EXT_PLUGIN" },
		{ 0, NULL },
	};

	return json_bits(v, bits, 0);
}

static struct json_object *show_prot(uint64_t v)
{
	char text[] = { v & PROT_READ ? 'r' : '-', v & PROT_WRITE ? 'w' : '-',
			v & PROT_EXEC ? 'x' : '-', 0 };

	return v & ~7ULL ? json_hex(v) : json_object_new_string(text);
}

/*
 * O_* as F_GETFL has them; the access mode is a number among themselves, read-only the one that is
 * 0.
 */
static struct json_object *show_open(uint64_t v)
{
	static const struct bit bits[] = {
		{ O_WRONLY, "WRONLY" },
		{ O_RDWR, "RDWR" },
		{ O_APPEND, "APPEND" },
		{ O_NONBLOCK, "NONBLOCK" },
		{ O_SYNC & ~O_DSYNC, "SYNC" },
		{ O_DSYNC, "DSYNC" },
		{ O_ASYNC, "ASYNC" },
		{ O_DIRECT, "DIRECT" },
		{ 0100000, "LARGEFILE" }, /* what the kernel says; libc has 0 here */
		{ O_DIRECTORY, "DIRECTORY" },
		{ O_NOFOLLOW, "NOFOLLOW" },
		{ O_NOATIME, "NOATIME" },
		{ O_CLOEXEC, "CLOEXEC" },
		{ O_PATH, "PATH" },
		{ 0, NULL },
	};

	return json_bits(v, bits, O_ACCMODE);
}

static struct json_object *show_name(uint64_t v, const char *const *names, size_t n)
{
	return v < n && names[v] ? json_object_new_string(names[v]) : json_object_new_uint64(v);
}

static struct json_object *show_family(uint64_t v)
{
	static const char *const names[] = {
		[AF_UNIX] = "UNIX",	  [AF_INET] = "INET",	  [AF_INET6] = "INET6",
		[AF_NETLINK] = "NETLINK", [AF_PACKET] = "PACKET", [AF_VSOCK] = "VSOCK",
	};

	return show_name(v, names, sizeof(names) / sizeof(*names));
}

static struct json_object *show_type(uint64_t v)
{
	static const char *const names[] = {
		[SOCK_STREAM] = "STREAM",
		[SOCK_DGRAM] = "DGRAM",
		[SOCK_RAW] = "RAW",
		[SOCK_SEQPACKET] = "SEQPACKET",
	};

	return show_name(v, names, sizeof(names) / sizeof(*names));
}

static struct json_object *show_state(uint64_t v)
{
	static const char *const names[] = {
		NULL,	     "ESTABLISHED", "SYN_SENT",	  "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
		"TIME_WAIT", "CLOSE",	    "CLOSE_WAIT", "LAST_ACK", "LISTEN",	   "CLOSING",
	};

	return show_name(v, names, sizeof(names) / sizeof(*names));
}

/* Fields that are more readable as something else than their number. */
static const struct special {
	const ProtobufCMessageDescriptor *d;
	const char *field;
	struct json_object *(*show)(uint64_t v);
} specials[] = {
	{ &mfd_criu__pagemap_entry__descriptor, "vaddr", json_hex },
	{ &mfd_criu__pagemap_entry__descriptor, "flags", show_pe },
	{ &mfd_criu__vma_entry__descriptor, "start", json_hex },
	{ &mfd_criu__vma_entry__descriptor, "end", json_hex },
	{ &mfd_criu__vma_entry__descriptor, "prot", show_prot },
	{ &mfd_criu__vma_entry__descriptor, "flags", show_map },
	{ &mfd_criu__vma_entry__descriptor, "status", show_vma_status },
	{ &mfd__cpr_entry__descriptor, "flags", show_open },
	{ &mfd__cpr_socket__descriptor, "family", show_family },
	{ &mfd__cpr_socket__descriptor, "type", show_type },
	{ &mfd__cpr_socket__descriptor, "state", show_state },
};

static struct json_object *show_number(const ProtobufCMessageDescriptor *d, const char *field,
				       uint64_t v)
{
	for (size_t i = 0; i < sizeof(specials) / sizeof(*specials); i++)
		if (specials[i].d == d && !strcmp(specials[i].field, field))
			return specials[i].show(v);
	return json_object_new_uint64(v);
}

/* The address of a socket, "@..." for an abstract one. */
static struct json_object *show_address(const ProtobufCBinaryData *b)
{
	char *text = malloc(b->len + 1);
	struct json_object *o;

	if (!text)
		return NULL;
	for (size_t i = 0; i < b->len; i++)
		text[i] = b->data[i] ? b->data[i] : '@';
	text[b->len] = 0;
	o = json_object_new_string(mfd_image_text_clean(text));
	free(text);
	return o;
}

static struct json_object *show_bytes(const ProtobufCMessageDescriptor *d,
				      const ProtobufCBinaryData *b, const char *field)
{
	struct json_object *o;
	char *text;

	if (d == &mfd__cpr_socket__descriptor)
		return show_address(b);
	/* whoever reads the output need not be able to take the session over */
	if (!strcmp(field, "secret"))
		return json_object_new_string("(not shown)");
	text = malloc(2 * b->len + 1);
	if (!text)
		return NULL;
	*text = 0;
	for (size_t i = 0; i < b->len; i++)
		sprintf(text + 2 * i, "%02x", b->data[i]);
	o = json_object_new_string(text);
	free(text);
	return o;
}

static struct json_object *show_enum(const ProtobufCEnumDescriptor *d, int v)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(d, v);

	return known ? json_object_new_string(known->name) : json_object_new_int(v);
}

static struct json_object *show_message(const ProtobufCMessage *msg);

/* One value of field `f`, at `at`. */
static struct json_object *show_value(const ProtobufCMessageDescriptor *d,
				      const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return show_number(d, f->name, *(const uint32_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return show_number(d, f->name, *(const uint64_t *)at);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_object_new_int(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_object_new_int64(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return show_enum(f->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_text(*(const char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return show_bytes(d, at, f->name);
	case PROTOBUF_C_TYPE_MESSAGE:
		return show_message(*(const ProtobufCMessage *const *)at);
	default:
		return NULL; /* floating point: none of these images has any */
	}
}

/* Bytes from one element of a repeated field to the next. */
static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	default:
		return 4;
	}
}

static struct json_object *show_repeated(const ProtobufCMessageDescriptor *d,
					 const ProtobufCFieldDescriptor *f, const char *elements,
					 size_t n)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		json_object_array_add(a, show_value(d, f, elements + i * value_size(f->type)));
	return a;
}

/* Optional fields: strings and messages are there when not NULL, others have a flag. */
static int is_set(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	const void *at = (const char *)msg + f->offset;

	if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)at != NULL &&
		       *(const void *const *)at != f->default_value;
	return f->label == PROTOBUF_C_LABEL_REQUIRED ||
	       *(const protobuf_c_boolean *)((const char *)msg + f->quantifier_offset);
}

/* CRIU moved nr_pages to another field in 4.2: one name for both. */
static const char *field_name(const ProtobufCMessage *msg, const char *name)
{
	if (msg->descriptor != &mfd_criu__pagemap_entry__descriptor ||
	    strcmp(name, "compat_nr_pages"))
		return name;
	return ((const MfdCriu__PagemapEntry *)msg)->has_nr_pages ? NULL : "nr_pages";
}

static struct json_object *show_message(const ProtobufCMessage *msg)
{
	struct json_object *o = json_object_new_object();
	const ProtobufCMessageDescriptor *d = msg->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)msg + f->offset, *name = field_name(msg, f->name);

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			json_object_object_add(
				o, f->name,
				show_repeated(d, f, *(const char *const *)at,
					      *(const size_t *)((const char *)msg +
								f->quantifier_offset)));
		else if (name && is_set(msg, f))
			json_object_object_add(o, name, show_value(d, f, at));
	}
	return o;
}

static void print_json(FILE *f, struct json_object *o)
{
	fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED |
							JSON_C_TO_STRING_NOSLASHESCAPE),
	      f);
	json_object_put(o);
}

static void print_pair(FILE *f, const char *before, const char *key, struct json_object *value)
{
	fprintf(f, "%s\"%s\": ", before, key);
	print_json(f, value);
}

static void print_list(FILE *f, struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		fputs(i ? ",\n      " : "[\n      ", f);
		print_json(f, json_object_get(json_object_array_get_idx(list, i)));
	}
	fputs(" ]", f);
}

/* On one line; a list of messages (the mappings of a task) with a line for each. */
static void print_entry(FILE *f, struct json_object *entry)
{
	const char *before = "{ ";

	json_object_object_foreach(entry, key, value)
	{
		fprintf(f, "%s\"%s\": ", before, key);
		if (json_object_is_type(value, json_type_array) &&
		    json_object_is_type(json_object_array_get_idx(value, 0), json_type_object))
			print_list(f, value);
		else
			print_json(f, json_object_get(value));
		before = ", ";
	}
	fputs(*before == '{' ? "{ }" : " }", f);
	json_object_put(entry);
}

static int show_entries(FILE *f, struct mfd_image *img, const struct kind *k, const char **why)
{
	const ProtobufCMessageDescriptor *d = k->head ? k->head : k->entry;
	const char *before = "\n    ";
	ProtobufCMessage *msg;
	int ret;

	fprintf(f, ",\n  \"entries\": [");
	while ((ret = mfd_image_next(img, d, &msg, why)) == 1) {
		fputs(before, f);
		print_entry(f, show_message(msg));
		protobuf_c_message_free_unpacked(msg, NULL);
		before = ",\n    ";
		d = k->entry;
	}
	fprintf(f, "\n  ]");
	return ret;
}

/* pages-N.img is nothing but pages: no magic. */
static int show_raw(FILE *f, int dirfd, const char *name, const char **why)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, 0))
		return mfd_image_why(why, -errno, "%s: %s", name, strerror(errno));
	print_pair(f, "{\n  ", "file", json_text(name));
	print_pair(f, ",\n  ", "magic", NULL);
	print_pair(f, ",\n  ", "bytes", json_object_new_uint64(st.st_size));
	fprintf(f, "\n}\n");
	return 0;
}

static int is_raw(const char *name)
{
	const char *slash = strrchr(name, '/');

	return !strncmp(slash ? slash + 1 : name, "pages-", 6);
}

static int show_file(FILE *f, int dirfd, const char *name, const char **why)
{
	struct mfd_image *img;
	const struct kind *k;
	uint32_t magic;
	int ret;

	if (is_raw(name))
		return show_raw(f, dirfd, name, why);
	ret = mfd_image_open_any(dirfd, name, &img, &magic, why);
	if (ret)
		return ret;
	k = find_kind(magic);
	print_pair(f, "{\n  ", "file", json_text(name));
	print_pair(f, ",\n  ", "magic", k ? json_object_new_string(k->name) : json_hex(magic));
	if (k && k->entry)
		ret = show_entries(f, img, k, why);
	else
		print_pair(f, ",\n  ", "bytes", json_object_new_uint64(mfd_image_size(img)));
	if (ret)
		print_pair(f, ",\n  ", "error", json_text(*why));
	fprintf(f, "\n}\n");
	mfd_image_close(img);
	return ret;
}

int mfd_image_show(int dirfd, const char *name, int out, const char **why)
{
	int fd = fcntl(out, F_DUPFD_CLOEXEC, 0), ret;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	const char *sentence = "";

	if (!f) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return mfd_image_why(why, ret, "cannot write: %s", strerror(-ret));
	}
	ret = show_file(f, dirfd, name, &sentence);
	if (why)
		*why = sentence;
	if (fclose(f) && !ret)
		ret = mfd_image_why(why, -errno, "%s: cannot write: %s", name, strerror(errno));
	return ret;
}
