// SPDX-License-Identifier: GPL-2.0-only
/* What status prints for programs: sessions as JSON. The fields are explained in status_notes.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"
#include "status_memory.h"
#include "text.h"
#include "words.h"

static void add(struct json_object *o, const char *key, struct json_object *value)
{
	json_object_object_add(o, key, value);
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	add(o, key, copy ? json_object_new_string(mfd_image_text_clean(copy)) : NULL);
	free(copy);
}

static void add_number(struct json_object *o, const char *key, int known, uint64_t v)
{
	add(o, key, known ? json_object_new_uint64(v) : NULL);
}

static void add_percent(struct json_object *o, const char *key, const Mfd__SessionEntry *e,
			uint64_t part)
{
	char text[16]; /* one digit, or json-c prints seventeen */
	double v;

	if (!e->has_lazy_pages || !e->lazy_pages) {
		add(o, key, NULL);
		return;
	}
	v = mfd_status_percent(part, e->lazy_pages);
	snprintf(text, sizeof(text), "%.1f", v);
	add(o, key, json_object_new_double_s(v, text));
}

static void add_figures(struct json_object *o, const Mfd__SessionEntry *e)
{
	add_number(o, "channels", e->has_channels, e->channels);
	add_number(o, "packet_size", e->has_packet_size, e->packet_size);
	add_number(o, "pages", 1, e->pages);
	add_number(o, "zero_pages", 1, e->zero_pages);
	add_number(o, "lazy_pages", e->has_lazy_pages, e->lazy_pages);
	add_number(o, "installed_pages", 1, e->installed_pages);
	add_percent(o, "received_percent", e, mfd_status_received(e));
	add_percent(o, "installed_percent", e, e->installed_pages);
	add_number(o, "bytes_memory", 1, mfd_status_received(e) * MFD_STATUS_PAGE);
	add_number(o, "bytes_wire", 1, e->wire_bytes);
	add_number(o, "bytes_per_second", mfd_status_transfer_us(e) > 0,
		   mfd_status_transfer_us(e) ? (double)mfd_status_received(e) * MFD_STATUS_PAGE *
						       1e6 / mfd_status_transfer_us(e) :
					       0);
	add_number(o, "files", 1, e->files);
	add_number(o, "file_bytes", 1, e->file_bytes);
	add_number(o, "faults", 1, e->faults);
	add_number(o, "remote_faults", 1, e->remote_faults);
	add_number(o, "memory_used", e->has_memory_used, e->memory_used);
	add_number(o, "memory_promised", e->has_memory_promised, e->memory_promised);
	add_number(o, "memory_need", e->has_memory_need, e->memory_need);
	add_text(o, "held", e->held);
	add_number(o, "rounds", e->has_rounds, e->rounds);
	add_number(o, "round_pages", mfd_words_in_rounds(e) && e->has_round_pages, e->round_pages);
}

static void add_times(struct json_object *o, const struct mfd_status *s, const Mfd__SessionEntry *e)
{
	add_number(o, "started_us", e->has_started_us, e->started_us);
	add_number(o, "ready_us", e->has_ready_us, e->ready_us);
	add_number(o, "committed_us", e->has_committed_us, e->committed_us);
	add_number(o, "done_us", e->has_done_us, e->done_us);
	add_number(o, "updated_us", e->has_updated_us, e->updated_us);
	add_number(o, "age_ms", e->has_started_us,
		   mfd_status_span(e->started_us, s->now_us) / 1000);
	add_number(o, "updated_ms_ago", e->has_updated_us,
		   mfd_status_span(e->updated_us, s->now_us) / 1000);
}

static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text += 'a' - 'A';
}

static struct json_object *session_json(const struct mfd_status *s,
					const struct mfd_session_file *f)
{
	struct json_object *o = json_object_new_object();
	const Mfd__SessionEntry *e = f->entry;
	char state[32], buf[MFD_WORDS_ADVICE], scope[MFD_STATUS_SCOPE];
	const char *advice;

	add_text(o, "session", f->name);
	snprintf(state, sizeof(state), "%s", e ? mfd_session_file_state(e->state) : "unreadable");
	lower(state);
	add_text(o, "state", state);
	add(o, "ended", json_object_new_boolean(f->ended));
	add_text(o, "error", e ? e->error : f->why);
	add_text(o, "later_error", f->later);
	if (!e)
		return o;
	add(o, "in_doubt", json_object_new_boolean(e->in_doubt));
	add(o, "both_run", json_object_new_boolean(e->both_run));
	add_text(o, "held_by", e->held_by);
	add_number(o, "ran_held", e->has_ran_held, e->ran_held);
	add_text(o, "unloadable", e->unloadable);
	advice = mfd_words_advice(e, s->dir, buf, sizeof(buf));
	for (char *p = buf; advice && (p = strchr(p, '\n'));)
		*p = ' ';
	add_text(o, "advice", advice);
	add_text(o, "source", e->source);
	add_text(o, "identity", e->identity);
	add_text(o, "address", e->address);
	add_text(o, "mode", e->postcopy ? "postcopy" : "safe");
	add_text(o, "confirm", e->confirm_restore ? "restore" : "ready");
	add_figures(o, e);
	mfd_status_figures_json(o, e);
	add_times(o, s, e);
	add_number(o, "restored_pid", e->has_restored_pid, e->restored_pid);
	add_text(o, "scope", mfd_status_scope(e, scope));
	add_number(o, "server_pid", e->has_server_pid, e->server_pid);
	add(o, "server_runs", json_object_new_boolean(mfd_words_server_runs(e)));
	return o;
}

/*
 * One session: its object. All: { "dir", "sessions" }. One line each when watching, so that it is a
 * stream of values.
 */
void mfd_status_json_print(const struct mfd_status *s)
{
	const int how = JSON_C_TO_STRING_NOSLASHESCAPE |
			(s->watch ? JSON_C_TO_STRING_PLAIN : JSON_C_TO_STRING_PRETTY);
	struct json_object *o, *list = json_object_new_array();

	for (size_t i = 0; i < s->n; i++)
		json_object_array_add(list, session_json(s, &s->list[i]));
	if (s->session) {
		o = json_object_get(json_object_array_get_idx(list, 0));
		json_object_put(list);
	} else {
		o = json_object_new_object();
		add_text(o, "dir", s->dir);
		add(o, "memory", mfd_status_memory_json(s->dir));
		add(o, "sessions", list);
	}
	printf("%s\n", json_object_to_json_string_ext(o, how));
	json_object_put(o);
}
