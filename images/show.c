// SPDX-License-Identifier: GPL-2.0-only
/*
 * An image as JSON: { "file", "magic", "entries": [ one line each ] }, or magic and size where only
 * CRIU knows the entries.
 *
 * Messages are walked through their descriptors: image_kind.c says which message an image holds,
 * show_fields.c which numbers read better as something else.  Entries are printed as they are read:
 * of a damaged image what stands before the damage, then "error".
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "images/cpr.pb-c.h"
#include "images/criu.pb-c.h"
#include "show_fields.h"
#include "text.h"
#include "why.h"

static struct json_object *json_text(const char *text)
{
	char *copy = strdup(text);
	struct json_object *o = copy ? json_object_new_string(mfd_image_text_clean(copy)) : NULL;

	free(copy);
	return o;
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
	/* a reader of the output need not be able to take the session over */
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
		return mfd_show_number(d, f->name, *(const uint32_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return mfd_show_number(d, f->name, *(const uint64_t *)at);
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

static int show_entries(FILE *f, struct mfd_image *img, const struct mfd_image_kind *k,
			const char **why)
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
	const struct mfd_image_kind *k;
	uint32_t magic;
	int ret;

	if (is_raw(name))
		return show_raw(f, dirfd, name, why);
	ret = mfd_image_open_any(dirfd, name, &img, &magic, why);
	if (ret)
		return ret;
	k = mfd_image_kind(magic);
	print_pair(f, "{\n  ", "file", json_text(name));
	print_pair(f, ",\n  ", "magic", k ? json_object_new_string(k->name) : mfd_show_hex(magic));
	if (k && k->whole)
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
