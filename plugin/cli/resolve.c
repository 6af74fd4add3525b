// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd resolve: the operator decides what neither side may decide alone. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "request.h"
#include "resolve_source.h"
#include "text.h"

#define ANSWER_MS 45000 /* a server kills tasks before it answers */

struct resolve {
	const char *dir, *source;
	int run, discard, retry;
};

/* The word of the request; NULL if the command line has none, or more than one. */
static const char *decision(const struct resolve *r, const struct mfd_flags_args *args, int names)
{
	const char *word = args->n > names ? args->v[names] : NULL;

	if (r->run + r->discard + r->retry + !!word != 1 || (r->retry && !r->source))
		return NULL;
	if (r->retry)
		return "retry";
	if (word)
		return !strcmp(word, "run") || !strcmp(word, "discard") ? word : NULL;
	return r->run ? "run" : "discard";
}

static int ask_target(const struct mfd_flags *table, const struct resolve *r, const char *name,
		      const char *what)
{
	char request[NAME_MAX + sizeof("resolve  discard")];
	struct mfd_error err = { 0 };
	char answer[512] = "";
	int ret = mfd_args_session(table, name);

	if (ret >= 0)
		return ret;
	snprintf(request, sizeof(request), "resolve %s %s", name, what);
	ret = mfd_request_call(r->dir, request, ANSWER_MS, answer, sizeof(answer), &err);
	if (ret)
		return mfd_request_failed(name, &err);
	if (answer[0])
		printf("session %s: %s\n", name, mfd_image_text_clean(answer));
	return MFD_EXIT_OK;
}

int mfd_resolve_main(int argc, char **argv)
{
	struct resolve r = { .dir = MFD_DEFAULT_DIR };
	const struct mfd_flag flags[] = {
		{ .name = "run",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &r.run,
		  .help = "the tasks on this side are the ones that live on" },
		{ .name = "discard",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &r.discard,
		  .help = "this side's copy is thrown away: its tasks are killed" },
		{ .name = "retry",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &r.retry,
		  .help = "on the source: no decision, but another try to reach the target, now" },
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &r.dir,
		  .arg = "DIR",
		  .help = "on the target: the server's folder (default " MFD_DEFAULT_DIR ")" },
		{ .name = "source",
		  .kind = MFD_FLAG_STRING,
		  .dest = &r.source,
		  .arg = "DIR",
		  .help = "on the source: the folder criu dump works in" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "resolve",
		.usage =
			"[--dir DIR] SESSION --run|--discard\n       criu-multifd resolve --source DIR --run|--discard|--retry",
		.summary =
			"Settles a session that is in doubt: one that neither side may decide alone.",
		.notes =
			"DANGER: this program cannot see the other host, that is why it asks you. Look there first. If both sides\n"
			"are told to run, two copies of the tasks run; if both are told to discard, none is left.\n"
			"\n"
			"On the target:\n"
			"  --run      the tasks on the source are dead: what came here is complete and may run\n"
			"  --discard  the tasks on the source run or are frozen: what came here is thrown away, restored tasks are\n"
			"             killed with everything they did since\n"
			"             Also gives up what the server cannot load, or a committed session that could not be restored; and\n"
			"             says of one whose tasks ran and died here that its source, frozen still, shall go on\n"
			"On the source (postcopy, the target out of reach, or the tasks died there; the tasks here are frozen):\n"
			"  --run      first 'discard' on the target, or its host is dead for good, or the restored tasks are dead: the\n"
			"             tasks here run on from where they were frozen\n"
			"  --discard  the target has every page ('status' there says ready or committed): the tasks here are killed;\n"
			"             after exit code 3 of migrate: the target is not told any more\n"
			"  --retry    decides nothing: the target is asked again, also where the sender had given that up\n"
			"If no sender runs there any more, one is started again from what the last one has kept in DIR.  It asks\n"
			"the target first: what the target can prove, or a session that can go on, needs no decision.\n"
			"If what is kept in DIR cannot be read, status --source DIR says what to do; --discard then forgets it, and\n"
			"ends and lets go no task.\n"
			"\n"
			"'criu-multifd status' on the target says which sessions are in doubt.\n"
			"--discard says what was thrown away and where the tasks are now; it is refused for what the target knows to\n"
			"be the only copy that can run.\n"
			"Exit status: 0 settled, 1 not (one line says why), 6 both copies run: end one of the two.",
		.flags = flags,
		.min_args = 0,
		.max_args = 2,
		.arg_names = "SESSION",
	};
	struct mfd_flags_args args;
	int ret = mfd_flags_begin(&table, argc, argv, &args);
	const char *what;

	if (ret >= 0)
		return ret;
	if (!r.source && !args.n)
		return mfd_flags_misuse(&table, "SESSION is missing");
	what = decision(&r, &args, !r.source);
	if (!what)
		return mfd_flags_misuse(&table, "expected one of --run and --discard%s",
					r.source ? " (or --retry), and no SESSION" : "");
	return r.source ? mfd_resolve_source(r.source, what) :
			  ask_target(&table, &r, args.v[0], what);
}
