// SPDX-License-Identifier: GPL-2.0-only
/* What drain prints for programs: an event on each line, the summary last. */
#include "drain.h"

static void add_text(struct json_object *j, const char *key, const char *text)
{
	json_object_object_add(j, key, text && *text ? json_object_new_string(text) : NULL);
}

static void add_number(struct json_object *j, const char *key, uint64_t v)
{
	json_object_object_add(j, key, json_object_new_uint64(v));
}

/* Milliseconds with one place; below 0: not known. */
static void add_ms(struct json_object *j, const char *key, double ms)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1f", ms);
	json_object_object_add(j, key, ms < 0 ? NULL : json_object_new_double_s(ms, text));
}

static void add_log(struct json_object *j, const struct mfd_drain *d,
		    const struct mfd_drain_item *it)
{
	char path[4400];

	snprintf(path, sizeof(path), "%s/%s/migrate.log", d->dir, it->session);
	add_text(j, "log", it->tries ? path : NULL);
}

struct json_object *mfd_drain_json_item(const struct mfd_drain *d, const struct mfd_drain_item *it,
					const char *event)
{
	struct json_object *j = json_object_new_object();
	int moved = mfd_drain_is_there(it->state);

	if (event)
		add_text(j, "event", event);
	add_number(j, "pid", (uint64_t)it->pid);
	add_text(j, "name", it->name);
	add_text(j, "group", it->group);
	add_text(j, "session", it->session);
	add_text(j, "state", mfd_drain_states[it->state].id);
	add_text(j, "target", it->target >= 0 ? d->targets[it->target].to : NULL);
	add_number(j, "bytes", it->bytes);
	add_number(j, "standstill_ms", it->still_ms);
	add_number(j, "tries", it->tries);
	add_ms(j, "total_ms", moved ? it->total_ms : -1);
	add_ms(j, "pause_ms", moved ? it->pause_ms : -1);
	add_text(j, "error", moved ? NULL : it->why);
	add_text(j, "note", it->note);
	add_log(j, d, it);
	return j;
}

static struct json_object *counts(const struct mfd_drain *d)
{
	struct json_object *j = json_object_new_object();

	for (enum mfd_drain_state s = 0; s < MFD_DRAIN_STATES; s++)
		add_number(j, mfd_drain_states[s].id, mfd_drain_count(d, s, NULL));
	return j;
}

static struct json_object *targets(const struct mfd_drain *d)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < d->n_targets; i++) {
		const struct mfd_drain_target *t = &d->targets[i];
		struct json_object *j = json_object_new_object();

		add_text(j, "target", t->to);
		add_number(j, "bytes", t->given);
		add_number(j, "moved", t->moved);
		json_object_object_add(
			j, "room",
			t->room == MFD_DRAIN_UNKNOWN ? NULL : json_object_new_uint64(t->room));
		json_object_array_add(list, j);
	}
	return list;
}

struct json_object *mfd_drain_json(const struct mfd_drain *d, const char *event)
{
	struct json_object *j = json_object_new_object(), *list = json_object_new_array();
	int code = mfd_drain_code(d);

	add_text(j, "event", event);
	json_object_object_add(j, "empty", json_object_new_boolean(!code));
	add_number(j, "exit_code", (uint64_t)code);
	json_object_object_add(j, "counts", counts(d));
	json_object_object_add(j, "targets", targets(d));
	for (size_t i = 0; i < d->n; i++)
		json_object_array_add(list, mfd_drain_json_item(d, &d->items[i], NULL));
	json_object_object_add(j, "processes", list);
	return j;
}

void mfd_drain_json_print(struct json_object *j)
{
	printf("%s\n", json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
	json_object_put(j);
}
