// SPDX-License-Identifier: GPL-2.0-only
/* Numbers in images that read better as something else: flags, kinds, addresses. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "image.h"
#include "images/cpr.pb-c.h"
#include "images/criu.pb-c.h"
#include "show_fields.h"

struct json_object *mfd_show_hex(uint64_t v)
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
		json_object_array_add(a, mfd_show_hex(v));
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

	return v & ~7ULL ? mfd_show_hex(v) : json_object_new_string(text);
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
	{ &mfd_criu__pagemap_entry__descriptor, "vaddr", mfd_show_hex },
	{ &mfd_criu__pagemap_entry__descriptor, "flags", show_pe },
	{ &mfd_criu__vma_entry__descriptor, "start", mfd_show_hex },
	{ &mfd_criu__vma_entry__descriptor, "end", mfd_show_hex },
	{ &mfd_criu__vma_entry__descriptor, "prot", show_prot },
	{ &mfd_criu__vma_entry__descriptor, "flags", show_map },
	{ &mfd_criu__vma_entry__descriptor, "status", show_vma_status },
	{ &mfd__cpr_entry__descriptor, "flags", show_open },
	{ &mfd__cpr_socket__descriptor, "family", show_family },
	{ &mfd__cpr_socket__descriptor, "type", show_type },
	{ &mfd__cpr_socket__descriptor, "state", show_state },
};

struct json_object *mfd_show_number(const ProtobufCMessageDescriptor *d, const char *field,
				    uint64_t v)
{
	for (size_t i = 0; i < sizeof(specials) / sizeof(*specials); i++)
		if (specials[i].d == d && !strcmp(specials[i].field, field))
			return specials[i].show(v);
	return json_object_new_uint64(v);
}
