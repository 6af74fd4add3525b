// SPDX-License-Identifier: GPL-2.0-only
/* DIR/.memory for programs and for people. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "io.h"
#include "status_memory.h"
#include "words.h"

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

/* A server that was killed leaves the file behind. */
static int is_alive(struct json_object *o)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;

	e.has_server_pid = 1;
	e.server_pid = (uint32_t)number(o, "server_pid");
	return mfd_words_server_runs(&e);
}

struct json_object *mfd_status_memory_json(const char *dir)
{
	struct json_object *o = NULL;
	char path[4200], *text;

	snprintf(path, sizeof(path), "%s/.memory", dir);
	if (mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL))
		return NULL;
	o = json_tokener_parse(text);
	free(text);
	if (json_object_is_type(o, json_type_object) && is_alive(o))
		return o;
	json_object_put(o);
	return NULL;
}

void mfd_status_memory_print(const char *dir)
{
	struct json_object *o = mfd_status_memory_json(dir);
	char used[32], promised[32], limit[32];

	if (!o)
		return;
	printf("\nMemory: %s of %s set aside, %s in use; %llu of %llu sessions wait.\n",
	       mfd_words_bytes(number(o, "promised"), promised, sizeof(promised)),
	       mfd_words_bytes(number(o, "limit"), limit, sizeof(limit)),
	       mfd_words_bytes(number(o, "used"), used, sizeof(used)),
	       (unsigned long long)number(o, "waiting"), (unsigned long long)number(o, "sessions"));
	json_object_put(o);
}
