// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source's side of `resolve`.
 *
 * A sender keeps what another one needs in CRIU's work directory.  If none is at work there, this
 * program starts one (`send --again`), which asks the target before it listens to a person: the
 * session may go on, or the target may prove that nothing runs there.  Then it is settled without
 * the decision; else the sender does what the person says.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "io.h"
#include "life.h"
#include "request.h"
#include "resolve_source.h"
#include "source_file.h"
#include "status_left.h"
#include "text.h"

#define ANSWER_MS 45000	 /* a sender answers between two tries to connect */
#define SETTLE_MS 120000 /* a sender may have to tell a target that is out of reach */
#define LOOK_MS	  50

static int failed(const char *text)
{
	char line[1500];

	snprintf(line, sizeof(line), "%s", text);
	fprintf(stderr, "criu-multifd resolve: %s\n", mfd_image_text_clean(line));
	return MFD_EXIT_FAILED;
}

static int is_left(const char *dir)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), left;

	left = fd >= 0 && !faccessat(fd, MFD_SOURCE_FILE_NAME, F_OK, 0);
	mfd_io_close(&fd);
	return left;
}

static int is_locked(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), locked;

	locked = fd >= 0 && mfd_source_file_is_locked(fd);
	mfd_io_close(&fd);
	return locked;
}

/* It outlives this program, and a Ctrl-C here is none to it. */
static pid_t start_sender(const char *dir, const char *what)
{
	char *argv[] = { "criu-multifd", "send", "--again", (char *)what, NULL };
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (!chdir(dir))
		execv("/proc/self/exe", argv);
	fprintf(stderr, "criu-multifd resolve: %s: %s\n", dir, strerror(errno));
	_exit(MFD_EXIT_REFUSED);
}

/* How a sender that was started again ended, and which decision that agrees with. */
static const struct {
	int code;
	const char *decision, *text;
} ends[] = {
	{ MFD_EXIT_OK, "discard",
	  "the session has come to its end: it is the target's, and the "
	  "tasks here are gone" },
	{ MFD_EXIT_FAILED, "run", "nothing runs on the target: the tasks run on here" },
	{ MFD_EXIT_DOUBT, "discard", "given up: the target is not told any more" },
	{ MFD_EXIT_BOTH, "",
	  "BOTH RUN: the tasks here, and their copy on the target. End one of "
	  "the two" },
};

static int judge(const char *dir, const char *what, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) == MFD_EXIT_REFUSED)
		return MFD_EXIT_FAILED; /* it has said why */
	if (is_left(dir) && WEXITSTATUS(status) == MFD_EXIT_DOUBT)
		return failed(
			"no task of the session lives here, and the target may hold the only "
			"copy: nothing was decided. Look at the target: criu-multifd resolve "
			"SESSION --run or --discard there, then resolve --source --discard here");
	if (is_left(dir))
		return failed("not settled: multifd-send.log in the folder says why");
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		if (ends[i].code != WEXITSTATUS(status))
			continue;
		fprintf(stderr, "criu-multifd resolve: %s\n", ends[i].text);
		if (ends[i].code == MFD_EXIT_BOTH)
			return MFD_EXIT_BOTH;
		return strcmp(what, ends[i].decision) && strcmp(what, "retry") ? MFD_EXIT_FAILED :
										 MFD_EXIT_OK;
	}
	return failed("the sender ended without a word");
}

/* As soon as it listens it is asked; it may have ended by then. */
static int ask_again(const char *dir, const char *what, pid_t sender)
{
	uint64_t end = mfd_io_now_ms() + SETTLE_MS;
	struct mfd_error err = { 0 };
	int ret, status;

	while (mfd_io_now_ms() < end) {
		if (waitpid(sender, &status, WNOHANG) == sender)
			return judge(dir, what, status);
		mfd_error_clear(&err);
		ret = mfd_request_call_sender(dir, what, ANSWER_MS, NULL, 0, &err);
		if (!ret)
			return MFD_EXIT_OK;
		if (ret == -EREMOTEIO && !strcmp(what, "retry"))
			return MFD_EXIT_OK; /* it is connected already, or tells the target */
		if (ret == -EREMOTEIO)
			return failed(err.text);
		usleep(LOOK_MS * 1000);
	}
	return failed("the sender that was started is at work still: criu-multifd status --source");
}

/* It stays beside, for whatever can read it; the tasks are left as they are. */
static int forget_unread(int dirfd, const char *dir)
{
	int lock = openat(dirfd, MFD_SOURCE_FILE_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int ret = lock < 0 ? 0 : mfd_source_file_lock(lock);

	if (!ret &&
	    renameat(dirfd, MFD_SOURCE_FILE_NAME, dirfd, MFD_SOURCE_FILE_NAME ".unreadable"))
		ret = -errno;
	mfd_io_close(&lock);
	if (ret)
		return failed(strerror(-ret));
	fprintf(stderr,
		"criu-multifd resolve: forgotten, and kept as %s/" MFD_SOURCE_FILE_NAME
		".unreadable: no task was let go or ended, and the target was told nothing\n",
		dir);
	return MFD_EXIT_OK;
}

/* -1: what the last sender has left can be read. */
static int is_unread(const char *dir, const char *what)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	Mfd__SourceEntry *e = NULL;
	const char *why = NULL;
	char text[1500], advice[1100];

	if (fd < 0)
		return failed(strerror(errno));
	ret = mfd_source_file_load(fd, &e, &why);
	mfd_source_file_free(e);
	if (!ret || ret == -ENOENT)
		ret = -1;
	else if (!strcmp(what, "discard") &&
		 (ret == -EIO || (ret != -EPROTO && !mfd_life_cannot_tell(ret))))
		ret = forget_unread(fd, dir);
	else {
		snprintf(text, sizeof(text), "nothing was done: %.300s. %s",
			 why ? why : strerror(-ret),
			 mfd_status_left_unread(ret, dir, advice, sizeof(advice)));
		ret = failed(text);
	}
	mfd_io_close(&fd);
	return ret;
}

static int again(const char *dir, const char *what)
{
	int unread = is_unread(dir, what);
	pid_t sender;

	if (unread >= 0)
		return unread;
	fprintf(stderr, "criu-multifd resolve: no sender runs in %s any more: starting one\n", dir);
	sender = start_sender(dir, what);
	return sender < 0 ? failed("a sender cannot be started") : ask_again(dir, what, sender);
}

int mfd_resolve_source(const char *dir, const char *what)
{
	struct mfd_error err = { 0 };
	int ret = mfd_request_call_sender(dir, what, ANSWER_MS, NULL, 0, &err);

	if (!ret)
		return MFD_EXIT_OK;
	if (ret != -ECONNREFUSED || !is_left(dir))
		return failed(err.text);
	if (is_locked(dir))
		return failed("a sender is at work in the folder, and takes no requests now: try "
			      "again");
	return again(dir, what);
}
