// SPDX-License-Identifier: GPL-2.0-only
/*
 * `criu-multifd restore`: criu restore --lazy-pages with the session's folder, once the session may
 * be restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "cpr_image.h"
#include "flags.h"
#include "hostcriu.h"
#include "io.h"
#include "keeper_client.h"
#include "options_allowed.h"
#include "restore_run.h"
#include "session_file.h"
#include "space.h"
#include "text.h"
#include "wire.h"

#define MAX_WORDS (24 + MFD_OPTIONS_ALLOWED_MAX)

/* In safe mode the source has let go (COMMITTED); in postcopy the images are enough. */
static int may_restore(const Mfd__SessionEntry *e, struct mfd_error *err)
{
	if (e->confirm_restore && (e->state != MFD__SESSION_STATE__COMMITTED || e->restored_pid))
		return mfd_error_set(err, -EBUSY, "session %.80s is restored by its server",
				     e->name);
	if (e->state == MFD__SESSION_STATE__COMMITTED &&
	    !(e->has_installed_pages && e->installed_pages))
		return 0;
	if (e->postcopy &&
	    (e->state == MFD__SESSION_STATE__RESTORABLE || e->state == MFD__SESSION_STATE__READY))
		return 0;
	if (e->state == MFD__SESSION_STATE__DONE || e->state == MFD__SESSION_STATE__RUNNING ||
	    e->state == MFD__SESSION_STATE__COMMITTED)
		return mfd_error_set(err, -EALREADY, "session %.80s has been restored already",
				     e->name);
	if (e->state == MFD__SESSION_STATE__READY && e->in_doubt)
		return mfd_error_set(
			err, -EAGAIN,
			"session %.80s is complete, but its source cannot be reached and may still "
			"run it; see criu-multifd status",
			e->name);
	return mfd_error_set(
		err, -EAGAIN,
		"session %.80s is not ready; criu-multifd wait --for committed waits for it",
		e->name);
}

/* *e is the caller's, also if it may not be restored. */
static int check_session(const char *dir, const char *name, Mfd__SessionEntry **e,
			 struct mfd_error *err)
{
	char path[4096];
	const char *why = NULL;
	int fd, ret;

	if (!mfd_wire_name_ok(name, strlen(name)))
		return mfd_error_set(err, -EINVAL, "'%.80s' is not the name of a session", name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? mfd_error_set(err, -ENOENT, MFD_NO_SESSION, name, dir) :
					 mfd_error_sys(err, -errno, "session %s", name);
	ret = mfd_session_file_load(fd, e, &why);
	close(fd);
	if (ret)
		return mfd_error_set(err, ret, "session %.80s: %s", name,
				     why ? why : "there is no session.img");
	return may_restore(*e, err);
}

struct words {
	const char *v[MAX_WORDS];
	int n;
	char plugins[4096], inherit[3][64];
	char asked[MFD_OPTIONS_ALLOWED_MAX][80]; /* by the source */
};

/* The command line has this option of criu, with or without a value. */
static int is_given(const struct mfd_flags_args *args, const char *option)
{
	size_t len = strcspn(option, "=");

	for (int i = 0; i < args->n_after; i++)
		if (!strncmp(args->after[i], "--", 2) &&
		    !strncmp(args->after[i] + 2, option, len) &&
		    (!args->after[i][2 + len] || args->after[i][2 + len] == '='))
			return 1;
	return 0;
}

/* What the dump was given and the restore needs as well, as the source has said. */
static void add_asked(struct words *w, const Mfd__SessionEntry *e,
		      const struct mfd_flags_args *args)
{
	if (mfd_options_allowed_check(e->restore_option, e->n_restore_option, NULL))
		return;
	for (size_t i = 0; i < e->n_restore_option; i++) {
		if (is_given(args, e->restore_option[i]))
			continue;
		snprintf(w->asked[i], sizeof(w->asked[i]), "--%.70s", e->restore_option[i]);
		w->v[w->n++] = w->asked[i];
	}
}

/*
 * runc's descriptors.json says what standard input, output and error were.  Where one was a pipe,
 * ours takes its place, as runc restore does with those it is given; one that the keeper has is the
 * plugin's affair.
 */
static void add_runc(struct words *w, const char *folder)
{
	char path[4200];
	struct json_object *list, *o;

	snprintf(path, sizeof(path), "%s/descriptors.json", folder);
	list = access(path, R_OK) ? NULL : json_object_from_file(path);
	for (int i = 0; list && json_object_is_type(list, json_type_array) && i < 3; i++) {
		const char *text = (o = json_object_array_get_idx(list, (size_t)i)) ?
					   json_object_get_string(o) :
					   NULL;

		if (!text || strncmp(text, "pipe:[", 6) || strlen(text) > 40 ||
		    fcntl(i, F_GETFD) < 0)
			continue;
		snprintf(w->inherit[i], sizeof(w->inherit[i]), "fd[%d]:%s", i, text);
		w->v[w->n++] = "--inherit-fd";
		w->v[w->n++] = w->inherit[i];
	}
	json_object_put(list);
}

static int any(void *ctx, const struct mfd_keeper_msg *m)
{
	(void)ctx;
	(void)m;
	return 1;
}

/* Does the server's keeper hold or offer anything for it? */
static int has_kept(const char *folder)
{
	const char *slash = strrchr(folder, '/');
	char path[4200];
	int sock, yes;

	snprintf(path, sizeof(path), "%.*s" MFD_KEEPER_SOCKET, (int)(slash - folder) + 1, folder);
	sock = mfd_keeper_connect(path);
	yes = sock >= 0 && mfd_keeper_list(sock, slash + 1, any, NULL) == 1;
	mfd_io_close(&sock);
	return yes;
}

/* The plugin brings inherited descriptors back; without any it is not needed. */
static int add_plugin(struct words *w, const char *folder, struct mfd_error *err)
{
	char path[4200];
	int ret;

	snprintf(path, sizeof(path), "%s/" MFD_CPR_IMAGE_NAME, folder);
	if (access(path, F_OK) && !has_kept(folder))
		return 0;
	ret = mfd_hostcriu_plugins(w->plugins, sizeof(w->plugins), err);
	if (ret)
		return ret;
	w->v[w->n++] = "--libdir";
	w->v[w->n++] = w->plugins;
	return 0;
}

static int exec_criu(char **argv)
{
	execv(argv[0], argv);
	fprintf(stderr, "criu-multifd restore: %s: %s\n", argv[0], strerror(errno));
	return 127;
}

/* CRIU's process: what ends this program ends it, too, as if it were this program. */
static void be_criu(char **argv, const sigset_t *before, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_SETMASK, before, NULL);
	if (getppid() == parent)
		_exit(exec_criu(argv));
	_exit(128 + SIGKILL);
}

/* What a process sends to this one is meant for CRIU; a terminal's signals reach both. */
static int await(pid_t pid, const sigset_t *all)
{
	siginfo_t si;
	int status;
	pid_t ended;

	while (!(ended = waitpid(pid, &status, WNOHANG)))
		if (sigwaitinfo(all, &si) > 0 && si.si_signo != SIGCHLD && si.si_code <= 0)
			kill(pid, si.si_signo);
	if (ended < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Run it and wait for its end: its exit code, or -errno. */
static int spawn(char **argv)
{
	sigset_t all, before;
	pid_t parent = getpid(), pid;
	int ret;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (!pid)
		be_criu(argv, &before, parent);
	ret = pid < 0 ? -errno : await(pid, &all);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ret;
}

/* One at a time: the pager serves one, and a second would hang until the first has ended. */
static int lock(int dirfd, const char *name)
{
	if (!flock(dirfd, LOCK_EX | LOCK_NB))
		return 0;
	fprintf(stderr, "criu-multifd restore: session %s is just being restored by another %s\n",
		name, "criu-multifd restore");
	return -EBUSY;
}

/* Nothing of it has run here, and all of it still is. */
static int can_be_tried_again(int dirfd)
{
	Mfd__SessionEntry *e = NULL;
	const char *why;
	int yes = !mfd_session_file_load(dirfd, &e, &why) && !may_restore(e, NULL) &&
		  !e->postcopy && !e->restored_us;

	mfd_session_file_free(e);
	return yes;
}

/* The restored tree is to be this program's caller's: then CRIU must be this process. */
static int is_sibling(const struct mfd_flags_args *args)
{
	for (int i = 0; i < args->n_after; i++)
		if (!strncmp(args->after[i], "-S", 2))
			return 1;
	return is_given(args, "restore-sibling");
}

/* Its log is long, and the reason is not at its end. */
static int say_failed(int dirfd, const char *folder, const Mfd__SessionEntry *e, int code)
{
	char text[700], full[MFD_SPACE_TEXT] = "";

	if (code < 0)
		snprintf(text, sizeof(text), "%s", strerror(-code));
	else if (mfd_hostcriu_complaint(dirfd, MFD_RESTORE_LOG, NULL, text, sizeof(text)))
		snprintf(text, sizeof(text), "it ended with code %d, and its log says why", code);
	if (mfd_space_is_full(dirfd))
		mfd_space_text(-ENOSPC, dirfd, 0, full);
	mfd_image_text_clean(text);
	fprintf(stderr,
		"criu-multifd restore: session %s does not run here: criu restore failed: %s%s%s "
		"(the log is in %s; %s)\n",
		e->name, full, *full ? "; " : "", text, folder,
		can_be_tried_again(dirfd) ?
			"what came is still here: once that is mended this can be tried again" :
			"criu-multifd status says how it stands");
	return code > 0 ? code : MFD_EXIT_FAILED;
}

static int run_criu(const char *criu, int dirfd, const char *folder, const Mfd__SessionEntry *e,
		    const struct mfd_flags_args *args)
{
	struct words w = { .v = { criu, "restore", "--lazy-pages", "--images-dir", folder,
				  "--restore-detached", "--log-file", MFD_RESTORE_LOG, "-v3" },
			   .n = 9 };
	struct mfd_error err = { 0 };
	char **argv;
	int ret;

	if (add_plugin(&w, folder, &err)) {
		fprintf(stderr, "criu-multifd restore: %s\n", mfd_error_text(&err));
		return MFD_EXIT_FAILED;
	}
	add_runc(&w, folder);
	add_asked(&w, e, args);
	argv = calloc((size_t)w.n + (size_t)args->n_after + 1, sizeof(*argv));
	if (!argv)
		return MFD_EXIT_FAILED;
	memcpy(argv, w.v, (size_t)w.n * sizeof(*argv));
	for (int i = 0; i < args->n_after; i++)
		argv[w.n + i] = args->after[i];
	unlinkat(dirfd, MFD_RESTORE_LOG, 0); /* of an earlier try: its reason is not this one's */
	ret = is_sibling(args) ? exec_criu(argv) : spawn(argv);
	free(argv);
	return ret ? say_failed(dirfd, folder, e, ret) : MFD_EXIT_OK;
}

static int restore(const char *dir, const char *name, const struct mfd_flags_args *args)
{
	Mfd__SessionEntry *e = NULL;
	struct mfd_error err = { 0 };
	struct mfd_hostcriu criu;
	char folder[4096];
	int ret = check_session(dir, name, &e, &err), dirfd = -1;

	ret = ret ? ret : mfd_hostcriu_find(&criu, &err);
	snprintf(folder, sizeof(folder), "%s/%s", dir, name);
	if (!ret && (dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		ret = mfd_error_sys(&err, -errno, "%s", folder);
	if (ret)
		fprintf(stderr, "criu-multifd restore: %s\n", mfd_error_text(&err));
	ret = ret ? ret : lock(dirfd, name);
	ret = ret ? MFD_EXIT_FAILED : run_criu(criu.path, dirfd, folder, e, args);
	mfd_io_close(&dirfd);
	mfd_session_file_free(e);
	return ret;
}

int mfd_restore_main(int argc, char **argv)
{
	const char *dir = MFD_DEFAULT_DIR;
	const struct mfd_flag flags[] = {
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &dir,
		  .arg = "DIR",
		  .help = "the server's folder" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "restore",
		.usage = "[--dir DIR] SESSION [-- CRIU RESTORE OPTIONS]",
		.summary = "restores a session with criu restore --lazy-pages",
		.notes =
			"Descriptors that came along (cpr-fds.img) are taken from the keeper or from 'criu-multifd cpr offer'; pipes that\n"
			"runc's descriptors.json names become this command's own standard input, output and error.  A terminal that is not kept\n"
			"or offered becomes this command's own (standard input), unless it was that of a whole session.\n"
			"Options of criu that the dump was given and the restore needs as well (--tcp-established ...) are those that the\n"
			"source has named; what is given here goes before.\n"
			"The log of criu is restore.log in the session's folder, and why it failed is said here.  $CRIU names the criu to run.\n"
			"Exit code: criu's own; 1 when the session may not be restored.\n",
		.flags = flags,
		.min_args = 1,
		.max_args = 1,
		.arg_names = "SESSION",
		.after = 1,
	};
	struct mfd_flags_args args;
	int ret;

	if (argc > 1 && !strcmp(argv[1], "--from-server"))
		return mfd_restore_child(argc, argv);
	ret = mfd_flags_begin(&table, argc, argv, &args);
	if (ret >= 0)
		return ret;
	return restore(dir, args.v[0], &args);
}
