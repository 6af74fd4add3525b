// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd set: change a setting of a session on its way. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "rate.h"
#include "request.h"
#include "text.h"

#define ANSWER_MS     10000 /* the server waits half of that for the source's answer */
#define MAX_BANDWIDTH "max-bandwidth"

struct set {
	const char *dir, *source; /* source NULL: ask the server of dir */
	const char *session, *name;
	uint64_t rate;
};

static int ask(const struct set *s, char *answer, size_t len, struct mfd_error *err)
{
	char request[NAME_MAX + 80];

	if (s->source)
		snprintf(request, sizeof(request), "set %s %llu", s->name,
			 (unsigned long long)s->rate);
	else
		snprintf(request, sizeof(request), "set %s %s %llu", s->session, s->name,
			 (unsigned long long)s->rate);
	return s->source ?
		       mfd_request_call_sender(s->source, request, ANSWER_MS, answer, len, err) :
		       mfd_request_call(s->dir, request, ANSWER_MS, answer, len, err);
}

/* A server or sender that does not know the request lists those that it knows. */
static int too_old(const struct mfd_error *err)
{
	return err->code == -EREMOTEIO && !strncmp(err->text, "the requests are:", 17) &&
	       !strstr(err->text, "set ");
}

static int complain(const struct set *s, struct mfd_error *err)
{
	if (too_old(err))
		mfd_error_set(err, -EREMOTEIO,
			      "the %s is too old to change settings of a running session",
			      s->source ? "sender" : "server");
	if (!s->source)
		return mfd_request_failed(s->session, err);
	fprintf(stderr, "criu-multifd set: %s\n", mfd_image_text_clean(err->text));
	return MFD_EXIT_FAILED;
}

static int set(const struct set *s)
{
	char answer[256], name[80], old[32], now[32], before[32], after[32];
	struct mfd_error err = { 0 };

	if (ask(s, answer, sizeof(answer), &err))
		return complain(s, &err);
	if (sscanf(answer, "%79s %31s %31s", name, old, now) != 3) {
		mfd_error_set(&err, -EPROTO, "the answer makes no sense");
		return complain(s, &err);
	}
	printf("%s: %s -> %s\n", s->name,
	       mfd_rate_text(strtoull(old, NULL, 10), before, sizeof(before)),
	       mfd_rate_text(strtoull(now, NULL, 10), after, sizeof(after)));
	return MFD_EXIT_OK;
}

int mfd_set_main(int argc, char **argv)
{
	struct set s = { .dir = MFD_DEFAULT_DIR };
	const struct mfd_flag flags[] = {
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &s.dir,
		  .arg = "DIR",
		  .help = "on the target: the server's folder (default " MFD_DEFAULT_DIR ")" },
		{ .name = "source",
		  .letter = 'D',
		  .kind = MFD_FLAG_STRING,
		  .dest = &s.source,
		  .arg = "DIR",
		  .help = "on the source: the folder criu dump works in (migrate's --images-dir)" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "set",
		.usage =
			"[--dir DIR] SESSION max-bandwidth RATE\n       criu-multifd set --source DIR max-bandwidth RATE",
		.summary =
			"Changes a setting of a session on its way, and says what it was and is.",
		.notes =
			"Settings:\n"
			"  max-bandwidth  limit over all channels in bytes per second, with k, M, G, or in bits with kbit, Mbit, Gbit;\n"
			"                 0 or unlimited = none\n"
			"\n"
			"It holds at once, for all channels and until the end of the session, also over a broken connection.\n"
			"On the target the server asks the source, which must be connected. 'criu-multifd status' shows the limit.\n"
			"Exit status: 0 changed, 1 not: no such session, everything has been sent already, the source cannot be\n"
			"asked or is too old (one line says which); 64 unknown setting or bad value.",
		.flags = flags,
		.min_args = 2,
		.max_args = 3,
		.arg_names = "SESSION, setting or value",
	};
	struct mfd_flags_args args;
	int ret = mfd_flags_begin(&table, argc, argv, &args), first;

	if (ret >= 0)
		return ret;
	if (args.n != (s.source ? 2 : 3))
		return mfd_flags_misuse(
			&table, s.source ? "expected a setting and a value, and no SESSION" :
					   "SESSION, setting or value is missing");
	first = args.n - 2;
	s.session = args.v[0];
	s.name = args.v[first];
	ret = s.source ? -1 : mfd_args_session(&table, s.session);
	if (ret >= 0)
		return ret;
	if (strcmp(s.name, MAX_BANDWIDTH))
		return mfd_flags_misuse(
			&table, "unknown setting '%s': what can be set is " MAX_BANDWIDTH, s.name);
	if (mfd_rate_parse(args.v[first + 1], &s.rate))
		return mfd_flags_misuse(&table, "bad value '%s' for %s: " MFD_RATE_EXPECTED,
					args.v[first + 1], s.name);
	return set(&s);
}
