// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes the session.img (or the tombstone) a server would, for tests that need none.
 *
 *	mksession [--ended] DIR NAME [FIELD=VALUE]...	fields of images/session.proto; state=READY
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session_file.h"

static int set_value(void *at, const ProtobufCFieldDescriptor *f, char *value)
{
	const ProtobufCEnumValue *v;

	switch (f->type) {
	case PROTOBUF_C_TYPE_UINT32:
		*(uint32_t *)at = strtoul(value, NULL, 0);
		return 0;
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)at = strtoull(value, NULL, 0);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = atoi(value);
		return 0;
	case PROTOBUF_C_TYPE_STRING:
		*(const char **)at = value;
		return 0;
	case PROTOBUF_C_TYPE_BYTES:
		*(ProtobufCBinaryData *)at =
			(ProtobufCBinaryData){ .data = (uint8_t *)value, .len = strlen(value) };
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		v = protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, value);
		*(int *)at = v ? v->value : atoi(value);
		return 0;
	default:
		return -1;
	}
}

static int set(Mfd__SessionEntry *e, char *word)
{
	char *value = strchr(word, '=');
	const ProtobufCFieldDescriptor *f;

	if (!value)
		return -1;
	*value++ = 0;
	f = protobuf_c_message_descriptor_get_field_by_name(e->base.descriptor, word);
	if (!f)
		return -1;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) { /* one of it, as long as this program */
		char **one = calloc(1, sizeof(*one));

		*(size_t *)((char *)e + f->quantifier_offset) = 1;
		*(char ***)((char *)e + f->offset) = one;
		return one && f->type == PROTOBUF_C_TYPE_STRING ? set_value(one, f, value) : -1;
	}
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING)
		*(protobuf_c_boolean *)((char *)e + f->quantifier_offset) = 1;
	return set_value((char *)e + f->offset, f, value);
}

static int store(int dirfd, const char *name, const Mfd__SessionEntry *e)
{
	int fd, ret;

	if (mkdirat(dirfd, name, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY);
	ret = fd < 0 ? -errno : mfd_session_file_store(fd, e, 0);
	close(fd);
	return ret;
}

int main(int argc, char **argv)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;
	int ended = argc > 1 && !strcmp(argv[1], "--ended"), dirfd, ret;

	argv += ended;
	argc -= ended;
	if (argc < 3)
		return 64;
	e.name = argv[2];
	e.state = MFD__SESSION_STATE__RECEIVING;
	for (int i = 3; i < argc; i++) {
		if (set(&e, argv[i])) {
			fprintf(stderr, "mksession: cannot set '%s'\n", argv[i]);
			return 64;
		}
	}
	if (mkdir(argv[1], 0700) && errno != EEXIST)
		return 1;
	dirfd = open(argv[1], O_RDONLY | O_DIRECTORY);
	ret = ended ? mfd_session_file_bury(dirfd, e.name, &e) : store(dirfd, e.name, &e);
	if (ret)
		fprintf(stderr, "mksession: %s\n", strerror(-ret));
	return !!ret;
}
