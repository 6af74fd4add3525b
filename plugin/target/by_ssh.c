// SPDX-License-Identifier: GPL-2.0-only
/* serve --ssh: its key, its folder, its end. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assert.h"
#include "by_ssh.h"
#include "command.h"
#include "io.h"
#include "ours.h"
#include "ssh_word.h"
#include "tls_make.h"
#include "tls_psk.h"

#define PARENT	 "/run/criu-multifd.ssh"
#define KEY	 ".psk"
#define LOG	 ".serve.log"
#define DONE	 ".done" /* this file: its session is */
#define TRIES	 10
#define LOG_SAID 4096 /* of a log that a person did not see otherwise */
#define DEPTH	 4    /* .ended/by-id is the deepest that a server makes beside its sessions */

/* ---- the start ---- */

/* One line of standard input, without its end; its length or -errno. */
static ssize_t read_line(char *buf, size_t room)
{
	size_t n = 0;

	while (n < room) {
		int ret = mfd_io_read_all(STDIN_FILENO, buf + n, 1);

		if (ret)
			return ret;
		if (buf[n] == '\n')
			return (ssize_t)n;
		n++;
	}
	return -EMSGSIZE;
}

static int take_key(const struct mfd_by_ssh *s, int dir, struct mfd_error *err)
{
	char line[MFD_TLS_PSK_NAME + 2 * MFD_TLS_PSK_MAX + 2];
	ssize_t n = read_line(line, sizeof(line));
	int ret = n < 0 ? (int)n : mfd_tls_make_file(dir, KEY, line, (size_t)n, 0600);

	explicit_bzero(line, sizeof(line));
	if (n < 0)
		return mfd_error_set(err, ret,
				     "no key on standard input: --ssh is for 'criu-multifd migrate "
				     "--to ssh://HOST', which starts this");
	return ret ? mfd_error_sys(err, ret, "%s/" KEY, s->own) : 0;
}

static int make_parent(struct mfd_error *err)
{
	int fd;

	if (mkdir(PARENT, 0700) && errno != EEXIST)
		return mfd_error_sys(err, -errno, PARENT);
	fd = mfd_ours_path(PARENT, err);
	mfd_io_close(&fd);
	return err->code;
}

/* A server that ends removes the parent if it was the last: then once more. */
static int make_own(struct mfd_by_ssh *s, struct mfd_error *err)
{
	for (int i = 0; i < TRIES; i++) {
		mfd_error_clear(err);
		if (make_parent(err) && err->code != -ENOENT)
			return err->code;
		snprintf(s->own, sizeof(s->own), PARENT "/XXXXXX");
		if (mkdtemp(s->own))
			return 0;
		s->own[0] = 0;
		if (errno != ENOENT)
			break;
	}
	return mfd_error_sys(err, -errno, PARENT);
}

static void name(struct mfd_by_ssh *s, const char *dir)
{
	snprintf(s->key, sizeof(s->key), "%s/" KEY, s->own);
	snprintf(s->dir, sizeof(s->dir), "%s", dir ? dir : s->own);
}

int mfd_by_ssh_begin(struct mfd_by_ssh *s, const char *dir, struct mfd_error *err)
{
	int fd, ret;

	if (geteuid())
		return mfd_error_set(
			err, -EPERM,
			"must be run as root, since CRIU must: log in as root, or have "
			"migrate start it through sudo (--ssh-program)");
	ret = make_own(s, err);
	if (ret)
		return ret;
	name(s, dir);
	fd = open(s->own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = fd < 0 ? mfd_error_sys(err, -errno, "%s", s->own) : take_key(s, fd, err);
	mfd_io_close(&fd);
	return ret;
}

int mfd_by_ssh_again(struct mfd_by_ssh *s, const char *own, const char *dir, struct mfd_error *err)
{
	if (strncmp(own, PARENT "/", strlen(PARENT "/")) ||
	    snprintf(s->own, sizeof(s->own), "%s", own) >= (int)sizeof(s->own)) {
		s->own[0] = 0;
		return mfd_error_set(err, -EINVAL, "--ssh %s: expected start", own);
	}
	name(s, dir);
	return 0;
}

/* SSH_CONNECTION is "CLIENT PORT SERVER PORT". */
const char *mfd_by_ssh_address(void)
{
	static char text[72];
	const char *env = getenv("SSH_CONNECTION");
	struct in6_addr v6;
	char server[INET6_ADDRSTRLEN + 18];

	if (!env || sscanf(env, "%*s %*s %63s", server) != 1)
		return "127.0.0.1:0";
	snprintf(text, sizeof(text), inet_pton(AF_INET6, server, &v6) == 1 ? "[%s]:0" : "%s:0",
		 server);
	return text;
}

/* ---- the first three descriptors ---- */

static int moved(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int mfd_by_ssh_detach(struct mfd_by_ssh *s, struct mfd_error *err)
{
	char path[96];
	int log, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(path, sizeof(path), "%s/" LOG, s->own);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (log < 0 || null < 0)
		return mfd_error_sys(err, -errno, "%s", path);
	s->life = moved(STDIN_FILENO);
	s->out = moved(STDOUT_FILENO);
	s->err = moved(STDERR_FILENO);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	close(null);
	close(log);
	return 0;
}

void mfd_by_ssh_announce(struct mfd_by_ssh *s, const char *address)
{
	mfd_assert(!s->announced);
	s->announced = 1;
	if (s->out >= 0)
		dprintf(s->out, MFD_SSH_WORD " %d " MFD_VERSION " %s %s\n", MFD_SSH_WORD_NR,
			address, s->dir);
	mfd_io_close(&s->out);
	mfd_io_close(&s->err);
}

void mfd_by_ssh_in_worker(struct mfd_by_ssh *s)
{
	mfd_io_close(&s->out);
	mfd_io_close(&s->err);
}

int mfd_by_ssh_has_ended(struct mfd_by_ssh *s)
{
	char nothing[256];
	ssize_t n = read(s->life, nothing, sizeof(nothing));

	if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
		return 0;
	mfd_io_close(&s->life);
	return 1;
}

/* ---- the end ---- */

/* It could not start, and has told only its log. */
static void say_log(const struct mfd_by_ssh *s, int dir)
{
	char text[LOG_SAID];
	int log = openat(dir, LOG, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = log < 0 ? -1 : read(log, text, sizeof(text));

	if (n > 0)
		mfd_io_write_all(s->err, text, (size_t)n);
	mfd_io_close(&log);
}

/* A session's folder: without a dot before it. */
static int holds_sessions(DIR *d)
{
	struct dirent *e;
	struct stat st;
	int n = 0;

	while ((e = readdir(d)))
		n += e->d_name[0] != '.' &&
		     !fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
	rewinddir(d);
	return n;
}

/* What a server keeps beside its sessions. */
static void empty(DIR *d, int depth)
{
	struct dirent *e;

	while (d && depth && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    !unlinkat(dirfd(d), e->d_name, 0))
			continue;
		empty(fdopendir(openat(dirfd(d), e->d_name,
				       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)),
		      depth - 1);
		unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

void mfd_by_ssh_done(const struct mfd_by_ssh *s)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/" DONE, s->own);
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	mfd_io_close(&fd);
}

void mfd_by_ssh_end(struct mfd_by_ssh *s)
{
	DIR *d = s->own[0] ? opendir(s->own) : NULL;

	if (!d)
		return;
	if (!s->announced && s->err >= 0)
		say_log(s, dirfd(d));
	unlinkat(dirfd(d), KEY, 0);
	if (holds_sessions(d) && faccessat(dirfd(d), DONE, F_OK, 0))
		closedir(d);
	else
		empty(d, DEPTH);
	rmdir(s->own);
	rmdir(PARENT);
}
