// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRIU is run twice with the words, and restores nothing.  With --version it reads its options, and
 * ends with 1 and a line for one that it does not know or whose value is bad.  With a folder that
 * does not exist it goes one step further: it prints its usage if a word is left that is no option.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criuwords.h"

#define NOWHERE "/proc/self/no-such-folder"
#define OWN	4 /* words beside those that are checked */

static pid_t run(char **argv, int out)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execv(argv[0], argv);
	_exit(127);
}

/* What it says, as far as there is room, and its exit status as waitpid() has it; or -errno. */
static int hear(char **argv, char *text, size_t len)
{
	int p[2], status = 0;
	size_t used = 0;
	ssize_t n;
	pid_t pid;
	char rest[512];

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	pid = run(argv, p[1]);
	close(p[1]);
	while (pid > 0 && ((n = read(p[0], rest, sizeof(rest))) > 0 || (n < 0 && errno == EINTR))) {
		size_t fits = n > 0 && (size_t)n < len - 1 - used ? (size_t)n : len - 1 - used;

		memcpy(text + used, rest, n > 0 ? fits : 0);
		used += n > 0 ? fits : 0;
	}
	text[used] = 0;
	close(p[0]);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

/* The first line that is about the words: "criu: unrecognized option '--x'". */
static int refuse(char *said, struct mfd_error *err)
{
	char *save, *line, *at;

	for (line = strtok_r(said, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		at = strstr(line, ": ");
		if (at && strncmp(line, "Usage", 5) && *line != ' ')
			return mfd_error_set(err, -EINVAL, "criu restore says: %.200s", at + 2);
	}
	return mfd_error_set(err, -EINVAL,
			     "criu restore does not take these words: each option begins with --");
}

int mfd_criuwords_check(const char *criu, const char *const *words, size_t n, struct mfd_error *err)
{
	char **argv = calloc(n + OWN + 1, sizeof(*argv)), said[8192];
	int ret;

	if (!argv)
		return mfd_error_sys(err, -ENOMEM, "criu");
	argv[0] = (char *)(uintptr_t)criu;
	argv[1] = "restore";
	memcpy(argv + 2, words, n * sizeof(*words));
	argv[n + 2] = "--version";
	ret = hear(argv, said, sizeof(said));
	if (ret > 0 && WIFEXITED(ret) && WEXITSTATUS(ret) != 127)
		ret = refuse(said, err);
	if (!ret) {
		argv[n + 2] = "--images-dir";
		argv[n + 3] = NOWHERE;
		ret = hear(argv, said, sizeof(said));
		if (ret >= 0)
			ret = strstr(said, "Usage:") ? refuse(said, err) : 0;
	}
	free(argv);
	if (ret > 0)
		ret = mfd_error_set(err, -ENOEXEC, "%s cannot be run", criu);
	return ret < 0 ? mfd_error_sys(err, ret, "%s", criu) : 0;
}
