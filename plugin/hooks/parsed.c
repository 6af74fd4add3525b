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
	return c->size >= sizeof(int) && function("init_opts", &c->init) &&
	       function("parse_options", &c->parse);
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

/* In a child: everything of CRIU's is a copy there, but for open files, which it leaves first. */
static void parse_mark(const struct criu *c, int answer, const char *option)
{
	char mark[16], *argv[] = { "criu", (char *)option, mark, "dump", NULL };
	int at, out = dup2(answer, STDIN_FILENO), null;
	bool usage = false, has_command = false;

	close_range(STDIN_FILENO + 1, ~0U, 0);
	null = open("/dev/null", O_WRONLY);
	dup2(null, STDERR_FILENO);
	alarm(GIVE_UP_S);
	snprintf(mark, sizeof(mark), "%d", MARK);
	c->init();
	c->parse(4, argv, &usage, &has_command, PARSE_BEGIN);
	at = where(c);
	_exit(write(out, &at, sizeof(at)) != sizeof(at));
}

/* CRIU waits for its children by itself, and must not see this one. */
static int place_of(const struct criu *c, const char *option)
{
	sigset_t chld, old;
	int pair[2], at = -1;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC))
		return -1;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	pid = fork();
	if (!pid)
		parse_mark(c, pair[1], option);
	close(pair[1]);
	if (pid < 0 || mfd_io_read_all(pair[0], &at, sizeof(at)))
		at = -1;
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	sigprocmask(SIG_SETMASK, &old, NULL);
	return at;
}

int mfd_parsed_ps_socket(void)
{
	struct criu c;
	int at = find(&c) ? place_of(&c, "--ps-socket") : -1;

	if (at >= 0)
		return number_at(&c, (size_t)at);
	mfd_host_warn("only the command line tells which --ps-socket this criu uses");
	return mfd_host_number_of("--ps-socket");
}
