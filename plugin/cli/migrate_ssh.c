// SPDX-License-Identifier: GPL-2.0-only
/* The ssh of a migration: started, heard, ended. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "io.h"
#include "migrate.h"
#include "migrate_ssh.h"
#include "ssh_word.h"
#include "tls_make.h"
#include "tls_psk.h"

#define MAX_WORDS  32
#define LINE	   2048
#define END_MS	   10000 /* for a server whose session has ended */
#define STOP_MS	   2000	 /* for an ssh that was asked to end */
#define LOG_PREFIX "criu-multifd[serve]: error: "
#define NO_PROGRAM 125 /* exit code: there is no ssh here */

int mfd_migrate_ssh_add_option(void *dest, const char *value, struct mfd_error *err)
{
	struct mfd_migrate_ssh *s = dest;

	if (s->n_options == MFD_MIGRATE_SSH_MAX)
		return mfd_error_set(err, -E2BIG, "at most %d of them", MFD_MIGRATE_SSH_MAX);
	s->options[s->n_options++] = value;
	return 0;
}

/* ---- the command ---- */

/* One word of the command that a shell reads there. */
static void quote(FILE *f, const char *word)
{
	fputs(" '", f);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", f);
		else
			putc(*word, f);
	putc('\'', f);
}

/* What is typed there, to be freed; NULL: no memory. */
static char *command(const struct mfd_migrate_ssh *s)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "%s serve --once --ssh start --restore --peers off",
		s->remote ? s->remote : "criu-multifd");
	if (s->dir[0]) {
		fputs(" --dir", f);
		quote(f, s->dir);
	}
	for (int i = 0; i < s->n_options; i++)
		quote(f, s->options[i]);
	return fclose(f) ? NULL : text;
}

static void exec_ssh(const struct mfd_migrate_ssh *s, char *line, uint32_t connect_ms, int in,
		     int out)
{
	char program[1024], limit[40], *save, *word, *argv[MAX_WORDS + 12];
	int n = 0;
	sigset_t none;

	snprintf(program, sizeof(program), "%s", s->program ? s->program : "ssh");
	for (word = strtok_r(program, " ", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	snprintf(limit, sizeof(limit), "ConnectTimeout=%u", (connect_ms + 999) / 1000);
	argv[n++] = (char *)"-Txa";
	argv[n++] = (char *)"-o";
	argv[n++] = limit;
	if (s->port[0]) {
		argv[n++] = (char *)"-p";
		argv[n++] = (char *)(uintptr_t)s->port;
	}
	argv[n++] = (char *)"--";
	argv[n++] = (char *)(uintptr_t)s->host;
	argv[n++] = line;
	argv[n] = NULL;
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(s->said, STDERR_FILENO);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	/* Ctrl-C is this program's, which then ends ssh when it has aborted what it began. */
	signal(SIGINT, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(NO_PROGRAM);
}

static int start(struct mfd_migrate_ssh *s, uint32_t connect_ms, struct mfd_error *err)
{
	char *line = command(s);
	int in[2] = { -1, -1 }, out[2] = { -1, -1 };

	s->said = memfd_create("ssh", MFD_CLOEXEC);
	if (!line || s->said < 0 || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) {
		free(line);
		return mfd_error_sys(err, line ? -errno : -ENOMEM, "ssh");
	}
	s->pid = fork();
	if (!s->pid)
		exec_ssh(s, line, connect_ms, in[0], out[1]);
	free(line);
	close(in[0]);
	close(out[1]);
	s->in = in[1];
	s->out = out[0];
	if (s->pid > 0)
		return 0;
	s->pid = 0;
	return mfd_error_sys(err, -errno, "cannot start ssh");
}

/* ---- the key ---- */

/* In a file for the sender, and to the server. */
static int give_key(struct mfd_migrate_ssh *s, const char *dir, struct mfd_error *err)
{
	char line[MFD_TLS_PSK_NAME + 2 * MFD_TLS_PSK_MAX + 8], name[32];
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	uint32_t id = 0;
	size_t len;

	if (fd < 0)
		return mfd_error_sys(err, -errno, "%s", dir);
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		id = (uint32_t)getpid();
	snprintf(name, sizeof(name), "ssh-%08x", id);
	len = mfd_tls_make_psk(line, sizeof(line), name);
	unlinkat(fd, MFD_MIGRATE_SSH_KEY, 0);
	ret = len ? mfd_tls_make_file(fd, MFD_MIGRATE_SSH_KEY, line, len, 0600) : -EIO;
	close(fd);
	if (ret)
		mfd_error_sys(err, ret, "%s/" MFD_MIGRATE_SSH_KEY, dir);
	else
		mfd_io_write_all(s->in, line, len); /* an ssh that has ended says why */
	explicit_bzero(line, sizeof(line));
	return ret;
}

/* ---- what it says ---- */

/* The last line of standard error that is not empty, in place; "" if there is none. */
static const char *last_line(char *text)
{
	char *end = text + strlen(text), *line;

	while (end > text && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
		*--end = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	return strncmp(line, LOG_PREFIX, strlen(LOG_PREFIX)) ? line : line + strlen(LOG_PREFIX);
}

/* Exit codes: 255 is ssh's own, 126 and 127 the shell's there, others the server's. */
static const struct {
	int code;	  /* 0: any */
	const char *word; /* in what was said; NULL: any */
	const char *text; /* %1$s: the host, %2$s: the last line */
} endings[] = {
	{ NO_PROGRAM, NULL, "ssh to %1$s cannot be started here: %2$s" },
	{ 255, "REMOTE HOST IDENTIFICATION HAS CHANGED",
	  "the key of %1$s is not the one that is known here: find out why before you remove the old "
	  "one (%2$s)" },
	{ 255, "Host key verification failed",
	  "the key of %1$s is not known here: 'ssh %1$s true' shows it; accept it if it is that "
	  "host's, then try again" },
	{ 255, "Permission denied", "%1$s does not let this user in: try 'ssh %1$s true' (%2$s)" },
	{ 255, NULL, "ssh to %1$s: %2$s" },
	{ 127, NULL,
	  "there is no criu-multifd on %1$s, or not in the PATH that ssh finds there: install it, or "
	  "say where it is with --remote-program (%2$s)" },
	{ 126, NULL, "criu-multifd cannot be run on %1$s: %2$s" },
	{ MFD_EXIT_USAGE, "--ssh",
	  "criu-multifd on %1$s is too old for --to ssh://: update it there, or start 'criu-multifd "
	  "serve' there by hand" },
	{ 0, NULL, "on %1$s: %2$s" },
};

static int explain(struct mfd_migrate_ssh *s, struct mfd_error *err)
{
	char text[4096] = "";
	int status = 0, code;
	const char *last;
	ssize_t n;

	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
	n = pread(s->said, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		if ((endings[i].code && endings[i].code != code) ||
		    (endings[i].word && !strstr(text, endings[i].word)))
			continue;
		last = last_line(text);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		return mfd_error_set(err, -EHOSTUNREACH, endings[i].text, s->host,
				     *last ? last : "it ended and said nothing");
#pragma GCC diagnostic pop
	}
	return -EHOSTUNREACH;
}

/* Nonzero: it is the line that is waited for.  What a login prints before it is skipped. */
static int is_word(struct mfd_migrate_ssh *s, const char *line, int *number)
{
	int at = 0;

	if (sscanf(line, MFD_SSH_WORD " %d %*s %71s %n", number, s->address, &at) != 2 || !at)
		return 0;
	snprintf(s->there, sizeof(s->there), "%s", line + at);
	return 1;
}

/* A byte at a time: nothing follows the line. 1: more, 0: the line, -errno: its end. */
static int read_byte(struct mfd_migrate_ssh *s, char *line, size_t *used, int *number)
{
	ssize_t n = read(s->out, line + *used, 1);

	if (n <= 0)
		return -ECONNRESET;
	if (line[*used] != '\n') {
		*used += *used + 2 < LINE;
		return 1;
	}
	line[*used] = 0;
	*used = 0;
	return !is_word(s, line, number);
}

static int interrupted(int signals, struct mfd_error *err)
{
	struct signalfd_siginfo si;

	while (read(signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			return mfd_error_set(err, -EINTR, "%s, before anything was begun",
					     strsignal((int)si.ssi_signo));
	return 0;
}

static int hear(struct mfd_migrate_ssh *s, int signals, uint64_t until_ms, struct mfd_error *err)
{
	char line[LINE];
	int number = 0, ret = 1;
	size_t used = 0;

	while (ret > 0) {
		struct pollfd p[] = { { .fd = s->out, .events = POLLIN },
				      { .fd = signals, .events = POLLIN } };

		if (until_ms && mfd_io_now_ms() > until_ms)
			return mfd_error_set(err, -ETIMEDOUT,
					     "the time was up before %s had a server", s->host);
		if (poll(p, 2, 100) < 0)
			continue;
		ret = p[1].revents ? interrupted(signals, err) : 0;
		if (ret)
			return ret;
		ret = p[0].revents ? read_byte(s, line, &used, &number) : 1;
	}
	if (ret)
		return explain(s, err);
	return number == MFD_SSH_WORD_NR ?
		       0 :
		       mfd_error_set(err, -EPROTO,
				     "criu-multifd on %s is too new for this one: update it here",
				     s->host);
}

int mfd_migrate_ssh_start(struct mfd_migrate_ssh *s, const char *dir, uint64_t until_ms,
			  uint32_t connect_ms, struct mfd_error *err)
{
	sigset_t set;
	int signals, ret;

	mfd_migrate_watched_signals(&set);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	signal(SIGPIPE, SIG_IGN);
	ret = start(s, connect_ms, err);
	if (!ret)
		ret = give_key(s, dir, err);
	if (!ret)
		ret = hear(s, signals, until_ms, err);
	close(signals);
	if (ret)
		mfd_migrate_ssh_end(s, 0);
	return ret;
}

/* ---- the end ---- */

static int ends_within(struct mfd_migrate_ssh *s, uint64_t ms)
{
	for (uint64_t end = mfd_io_now_ms() + ms; s->pid && mfd_io_now_ms() < end; usleep(5000))
		if (waitpid(s->pid, NULL, WNOHANG))
			s->pid = 0;
	return !s->pid;
}

void mfd_migrate_ssh_end(struct mfd_migrate_ssh *s, int over)
{
	if (s->in > 0)
		mfd_io_close(&s->in);
	if (s->pid && !ends_within(s, over ? END_MS : 0)) {
		kill(s->pid, SIGTERM);
		if (!ends_within(s, STOP_MS))
			kill(s->pid, SIGKILL);
		ends_within(s, STOP_MS);
	}
	if (s->out > 0)
		mfd_io_close(&s->out);
	if (s->said > 0)
		mfd_io_close(&s->said);
}
