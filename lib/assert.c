// SPDX-License-Identifier: GPL-2.0-only
/* The end of a process whose invariant is broken. */
#include <stdlib.h>
#include <sys/prctl.h>

#include "assert.h"
#include "log.h"

static _Thread_local struct {
	mfd_assert_say *say;
	const void *arg;
} context;

void mfd_assert_context(mfd_assert_say *say, const void *arg)
{
	context.say = say;
	context.arg = arg;
}

void mfd_assert_failed(const char *expr, const char *file, int line, const char *function)
{
	char what[512] = "";

	if (context.say)
		context.say(context.arg, what, sizeof(what));
	mfd_log_error("assertion failed: %s (%s:%d, %s)%s%s", expr, file, line, function,
		      what[0] ? "; " : "", what);
	/* RLIMIT_CORE would not do: a core_pattern that is a pipe ignores 0. */
	prctl(PR_SET_DUMPABLE, 0);
	abort();
}
