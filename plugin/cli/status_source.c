// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu-multifd status --source: what the sender of a criu dump says while it is at work, or the
 * summary that it has left in the folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "io.h"
#include "rate.h"
#include "request.h"
#include "status.h"
#include "status_left.h"
#include "text.h"
#include "words.h"

#define SUMMARY	  "multifd-send.json"
#define ANSWER_MS 5000

static struct json_object *from_file(const char *dir)
{
	char path[4200], *text = NULL;
	struct json_object *j;

	snprintf(path, sizeof(path), "%s/" SUMMARY, dir);
	if (mfd_io_read_file(AT_FDCWD, path, 16 << 20, &text, NULL))
		return NULL;
	j = json_tokener_parse(text);
	free(text);
	return j;
}

static struct json_object *look(const char *dir, struct mfd_error *err)
{
	static char answer[MFD_REQUEST_MAX];
	struct json_object *j;

	if (!mfd_request_call_sender(dir, "status", ANSWER_MS, answer, sizeof(answer), err)) {
		j = json_tokener_parse(answer);
		if (!j)
			mfd_error_set(err, -EPROTO, "the sender's answer makes no sense");
		return j;
	}
	j = mfd_status_left(dir);
	return j ? j : from_file(dir);
}

static uint64_t number(struct json_object *j, const char *key)
{
	return json_object_get_uint64(json_object_object_get(j, key));
}

static double real(struct json_object *j, const char *key)
{
	return json_object_get_double(json_object_object_get(j, key));
}

/* The file may come from any user: clean the text. */
static const char *word(struct json_object *j, const char *key, char *buf, size_t len)
{
	const char *text = json_object_get_string(json_object_object_get(j, key));

	snprintf(buf, len, "%s", text ? text : "-");
	return mfd_image_text_clean(buf);
}

static void print_channel(struct json_object *c, const char *name)
{
	char bytes[32], ms[32];

	printf("    %-8s %10s %8llu %9llu %7llu %12s %9llu %9llu\n", name,
	       mfd_words_bytes(number(c, "bytes"), bytes, sizeof(bytes)),
	       (unsigned long long)number(c, "packets"),
	       (unsigned long long)(number(c, "pages") + number(c, "zero_pages")),
	       (unsigned long long)number(c, "stalls"),
	       mfd_status_ms((uint64_t)(real(c, "stall_ms") * 1000), ms, sizeof(ms)),
	       (unsigned long long)number(c, "zerocopy_sent"),
	       (unsigned long long)number(c, "zerocopy_copied"));
}

static void print_channels(struct json_object *j)
{
	struct json_object *list = json_object_object_get(j, "channel"),
			   *urgent = json_object_object_get(j, "urgent"),
			   *times = json_object_object_get(j, "timeline");
	char name[24], phase[32];

	printf("    %-8s %10s %8s %9s %7s %12s %9s %9s\n", "CHANNEL", "BYTES", "PACKETS", "PAGES",
	       "STALLS", "STALLED", "ZEROCOPY", "COPIED");
	for (size_t i = 0;
	     json_object_is_type(list, json_type_array) && i < json_object_array_length(list);
	     i++) {
		snprintf(name, sizeof(name), "%zu", i);
		print_channel(json_object_array_get_idx(list, i), name);
	}
	if (urgent)
		print_channel(urgent, "urgent");
	for (size_t i = 0;
	     json_object_is_type(times, json_type_array) && i < json_object_array_length(times);
	     i++) {
		struct json_object *t = json_object_array_get_idx(times, i);

		printf("    %-12s %9.1f ms\n", word(t, "phase", phase, sizeof(phase)),
		       real(t, "ms"));
	}
}

static const char what_to_do[] =
	"Look at the target ('criu-multifd status' there). Never let both run. If nothing runs there:\n"
	"    criu-multifd resolve --source DIR --run; if its state there is ready, committed or done:\n"
	"    ... --discard. While pages still arrive there, those that lack exist only here: wait.";

/* What holds the tasks, and whether another try is to come. */
static void print_held(struct json_object *j)
{
	struct json_object *next = json_object_object_get(j, "next_try_ms");
	char text[600];

	if (json_object_object_get(j, "held_by"))
		printf("    The tasks here are held by %s.\n",
		       word(j, "held_by", text, sizeof(text)));
	if (json_object_get_boolean(json_object_object_get(j, "ran_here")))
		printf("    One of them ran here all the same, beside its copy.\n");
	if (!json_object_object_get(j, "tries"))
		return;
	printf("    The target was tried %llu times since it was lost; ",
	       (unsigned long long)number(j, "tries"));
	if (next)
		printf("the next time in %.1f s.\n", (double)number(j, "next_try_ms") / 1000);
	else
		printf("not any more, but by\n    criu-multifd resolve --source DIR --retry.\n");
}

static void print(struct json_object *j, int channels)
{
	char session[300], result[32], phase[32], target[128], bytes[32], rate[32], error[600],
		advice[1200];

	printf("%s: %s%s%s, to %s\n", word(j, "session", session, sizeof(session)),
	       word(j, "result", result, sizeof(result)),
	       json_object_object_get(j, "phase") ? ", " : "",
	       json_object_object_get(j, "phase") ? word(j, "phase", phase, sizeof(phase)) : "",
	       word(j, "target", target, sizeof(target)));
	printf("    %s of memory in %.2f s, %.2f Gbit/s over %llu channels, max-bandwidth %s\n",
	       mfd_words_bytes(number(j, "bytes_memory"), bytes, sizeof(bytes)),
	       real(j, "total_ms") / 1000, real(j, "gbit_per_s"),
	       (unsigned long long)number(j, "channels"),
	       mfd_rate_text(number(j, "max_bandwidth"), rate, sizeof(rate)));
	if (json_object_get_boolean(json_object_object_get(j, "in_doubt")))
		printf("    IN DOUBT: %s\n    %s\n", word(j, "doubt", error, sizeof(error)),
		       json_object_object_get(j, "advice") ?
			       word(j, "advice", advice, sizeof(advice)) :
			       what_to_do);
	print_held(j);
	if (json_object_object_get(j, "waits_for"))
		printf("    The target has everything and runs it once the tasks here are dead: %s\n",
		       word(j, "waits_for", error, sizeof(error)));
	if (json_object_get_boolean(json_object_object_get(j, "both_run")))
		printf("    BOTH RUN: here and on the target. End one of the two.\n");
	if (json_object_object_get(j, "error"))
		printf("    %s\n", word(j, "error", error, sizeof(error)));
	if (channels)
		print_channels(j);
}

int mfd_status_source(const char *dir, int json, int channels)
{
	struct mfd_error err = { 0 };
	struct json_object *j = look(dir, &err);

	if (!j || !json_object_is_type(j, json_type_object)) {
		fprintf(stderr, "criu-multifd status: %s, and there is no summary\n",
			mfd_image_text_clean(err.text));
		json_object_put(j);
		return MFD_EXIT_FAILED;
	}
	if (json)
		printf("%s\n",
		       json_object_to_json_string_ext(j, JSON_C_TO_STRING_PRETTY |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print(j, channels);
	json_object_put(j);
	return MFD_EXIT_OK;
}
