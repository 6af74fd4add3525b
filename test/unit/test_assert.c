// SPDX-License-Identifier: GPL-2.0-only
/* A broken invariant: the line in the log, the end by SIGABRT, no core dump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "assert.h"
#include "log.h"

static void say(const void *arg, char *buf, size_t len)
{
	snprintf(buf, len, "session %s, phase ready", (const char *)arg);
}

static void broken(void)
{
	int pages = 3;

	mfd_assert(pages == 3);
	mfd_assert(pages < 3);
}

static void broken_in_context(void)
{
	mfd_assert_context(say, "web");
	broken();
}

static void context_taken_away(void)
{
	mfd_assert_context(say, "web");
	mfd_assert_context(NULL, NULL);
	broken();
}

/* Run fn in a child; its wait status, and what it has logged. */
static int run(void (*fn)(void), char *text, size_t size)
{
	struct rlimit core = { RLIM_INFINITY, RLIM_INFINITY };
	int p[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &core);
		mfd_log_fd_set(p[1]);
		fn();
		_exit(0);
	}
	close(p[1]);
	while ((n = read(p[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void ends(void (*fn)(void), const char *tail)
{
	char text[1024];
	int status = run(fn, text, sizeof(text));

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_false(WCOREDUMP(status));
	assert_non_null(strstr(text, "error: assertion failed: pages < 3 ("));
	assert_non_null(strstr(text, "test_assert.c:"));
	assert_string_equal(text + strlen(text) - strlen(tail), tail);
}

static void test_ends(void **state)
{
	(void)state;
	ends(broken, ", broken)\n");
}

static void test_context(void **state)
{
	(void)state;
	ends(broken_in_context, ", broken); session web, phase ready\n");
	ends(context_taken_away, ", broken)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ends),
					    cmocka_unit_test(test_context) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
