// SPDX-License-Identifier: GPL-2.0-only
/* Reading CRIU's `opts`. Theory in parsed.h. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "io.h"
#include "parsed.h"

#define MARK	    1934251677 /* no pointer's half, length or flag */
#define PARSE_BEGIN 1	       /* the state in which CRIU's main() calls its parser */
#define GIVE_UP_S   5

typedef void init_t(void);
typedef int parse_t(int argc, char **argv, bool *usage, bool *has_command, int state);

struct criu {
	const char *opts;
	size_t size;
	init_t *init;
	parse_t *parse;
};

static void *function(const char *name, void *to)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	memcpy(to, &symbol, sizeof(symbol));
	return symbol;
}

static size_t size_of(const void *symbol)
{
	const ElfW(Sym) *sym = NULL;
	Dl_info info;

	if (!dladdr1(symbol, &info, (void **)&sym, RTLD_DL_SYMENT) || !sym)
		return 0;
	return sym->st_size;
}

static int find(struct criu *c)
{
	c->opts = dlsym(RTLD_DEFAULT, "opts");
	c->size = c->opts ? size_of(c->opts) : 0;
	if (c->size < sizeof(int) || !function("init_opts", &c->init) ||
	    !function("parse_options", &c->parse))
		return -ENOENT;
	return 0;
}

static int number_at(const struct criu *c, size_t at)
{
	int number;

	memcpy(&number, c->opts + at, sizeof(number));
	return number;
}

/* Where the mark is, -1: not once. */
static int where(const struct criu *c)
{
	int found = -1;

	for (size_t at = 0; at + sizeof(int) <= c->size; at += sizeof(int)) {
		if (number_at(c, at) != MARK)
			continue;
		if (found >= 0)
			return -1;
		found = (int)at;
	}
	return found;
}

/* ---- in a child: everything of CRIU's is a copy there, but for open files ---- */

/* What CRIU is told beside `option`: nothing. */
static void parse(const struct criu *c, const char *option, const char *value)
{
	const char *argv[6] = { "criu", "--no-default-config" };
	bool usage = false, has_command = false;
	int n = 2;

	if (option)
		argv[n++] = option;
	if (value)
		argv[n++] = value;
	argv[n++] = "dump";
	c->init();
	c->parse(n, (char **)argv, &usage, &has_command, PARSE_BEGIN);
}

typedef int child_t(const struct criu *c, const char *option, int out);

/* Write where the mark is. */
static int say_place(const struct criu *c, const char *option, int out)
{
	char mark[16];
	int at;

	snprintf(mark, sizeof(mark), "%d", MARK);
	parse(c, option, mark);
	at = where(c);
	return write(out, &at, sizeof(at)) != sizeof(at);
}

/* Write everything. */
static int say_all(const struct criu *c, const char *option, int out)
{
	parse(c, option, NULL);
	return mfd_io_write_all(out, c->opts, c->size) != 0;
}

static void __attribute__((noreturn))
be_child(const struct criu *c, child_t *run, const char *option, int answer)
{
	int out = dup2(answer, STDIN_FILENO), null;

	close_range(STDIN_FILENO + 1, ~0U, 0);
	null = open("/dev/null", O_WRONLY);
	dup2(null, STDERR_FILENO);
	unsetenv("CRIU_CONFIG_FILE");
	alarm(GIVE_UP_S);
	_exit(run(c, option, out));
}

/* ---- in CRIU's process ---- */

/*
 * Read `len` bytes of what a child says: 0 or -1.  CRIU waits for its children by itself, and must
 * not see this one.
 */
static int ask(const struct criu *c, child_t *run, const char *option, void *answer, size_t len)
{
	sigset_t chld, old;
	int pair[2], ret = 0;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC))
		return -1;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	pid = fork();
	if (!pid)
		be_child(c, run, option, pair[1]);
	close(pair[1]);
	if (pid < 0 || mfd_io_read_all(pair[0], answer, len))
		ret = -1;
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	sigprocmask(SIG_SETMASK, &old, NULL);
	return ret;
}

int mfd_parsed_ps_socket(void)
{
	struct criu c;
	int at = -1;

	if (!find(&c) && !ask(&c, say_place, "--ps-socket", &at, sizeof(at)) && at >= 0)
		return number_at(&c, (size_t)at);
	mfd_host_warn("only the command line tells which --ps-socket this criu uses");
	return mfd_host_number_of("--ps-socket");
}

typedef int compare_t(const char *with, const char *without, size_t size);

/* The one byte that is 1 with the flag and 0 without it; -1: there is not just one. */
static int difference(const char *with, const char *without, size_t size)
{
	int found = -1;

	for (size_t at = 0; at < size; at++) {
		if (with[at] == without[at])
			continue;
		if (found >= 0 || with[at] != 1 || without[at])
			return -1;
		found = (int)at;
	}
	return found;
}

/* The one pointer that is NULL without the option and not with it; -1: there is not just one. */
static int difference_of_text(const char *with, const char *without, size_t size)
{
	const char *a, *b;
	int found = -1;

	for (size_t at = 0; at + sizeof(a) <= size; at += sizeof(a)) {
		memcpy(&a, with + at, sizeof(a));
		memcpy(&b, without + at, sizeof(b));
		if (!a || b)
			continue;
		if (found >= 0)
			return -1;
		found = (int)at;
	}
	return found;
}

static int place_of(const struct criu *c, const char *option, compare_t *compare)
{
	char *with = malloc(c->size), *without = malloc(c->size);
	int at = -1;

	if (with && without && !ask(c, say_all, option, with, c->size) &&
	    !ask(c, say_all, NULL, without, c->size))
		at = compare(with, without, c->size);
	free(with);
	free(without);
	return at;
}

int mfd_parsed_lazy_pages(void)
{
	struct criu c;
	int at = find(&c) ? -1 : place_of(&c, "--lazy-pages", difference);

	return at >= 0 ? c.opts[at] == 1 : mfd_host_was_told("--lazy-pages");
}

int mfd_parsed_freeze_cgroup(char *buf, size_t len)
{
	const char *group;
	struct criu c;
	int at = find(&c) ? -1 : place_of(&c, "--freeze-cgroup=/", difference_of_text);

	if (at < 0) {
		mfd_host_text_of("--freeze-cgroup", buf, len);
		return strlen(buf) < len - 1 ? 0 : -ENAMETOOLONG;
	}
	memcpy(&group, c.opts + at, sizeof(group));
	return snprintf(buf, len, "%s", group ? group : "") < (int)len ? 0 : -ENAMETOOLONG;
}
