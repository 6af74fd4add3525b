/* SPDX-License-Identifier: GPL-2.0-only */
/* What a server with --max-memory says of its memory, as it has left it in DIR/.memory. */
#ifndef MFD_STATUS_MEMORY_H
#define MFD_STATUS_MEMORY_H

#include <json-c/json.h>

/*
 * { "limit", "used", "promised", "free", "ended", "sessions", "waiting", "server_pid" }, or NULL:
 * no limit, or that server does not run. Bytes; promised: set aside for sessions (ended ones count
 * what they have left); sessions: live ones, of which `waiting` are queued.
 */
struct json_object *mfd_status_memory_json(const char *dir);
/* A line for people, or nothing. */
void mfd_status_memory_print(const char *dir);

#endif
