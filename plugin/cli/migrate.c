// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd migrate: one command that moves a process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "io.h"
#include "life.h"
#include "migrate.h"
#include "netaddr.h"
#include "procfile.h"
#include "source_file.h"
#include "space.h"

#define PROGRESS_FILE ".progress"

/* ---- CRIU's folder ---- */

static int full_tmp(struct mfd_error *err, int code, const char *tmp)
{
	int fd = open(tmp, O_PATH | O_CLOEXEC);

	mfd_space_error(err, code, fd, 0, "a folder for criu in %s (TMPDIR)", tmp);
	mfd_io_close(&fd);
	return code;
}

static int make_dir(struct mfd_migrate *m, struct mfd_error *err)
{
	const char *tmp = getenv("TMPDIR");
	char path[4096];

	if (m->images) {
		if (mkdir(m->images, 0700) && errno != EEXIST)
			return mfd_error_sys(err, -errno, "--images-dir %s", m->images);
		if (!realpath(m->images, m->dir))
			return mfd_error_sys(err, -errno, "--images-dir %s", m->images);
		return 0;
	}
	snprintf(path, sizeof(path), "%s/criu-multifd.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(path))
		return full_tmp(err, -errno, tmp && *tmp ? tmp : "/tmp");
	m->private_dir = 1;
	return realpath(path, m->dir) ? 0 : mfd_error_sys(err, -errno, "%s", path);
}

static int make_progress(struct mfd_migrate *m, struct mfd_error *err)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/" PROGRESS_FILE, m->dir);
	unlink(path);
	m->progress = mfd_progress_create(path, err);
	if (!m->progress)
		return err->code;
	return setenv(MFD_PROGRESS_ENV, path, 1) ? mfd_error_sys(err, -errno, MFD_PROGRESS_ENV) : 0;
}

static int is_log(const char *name)
{
	return !strcmp(name, "dump.log") || !strcmp(name, "criu.err") ||
	       !strcmp(name, MFD_MIGRATE_SSH_KEY) || /* gone, unless something is left */
	       !strncmp(name, "multifd-send.", 13) ||
	       !strncmp(name, ".multifd-send.", 14); /* where a sender in doubt is spoken to */
}

static void remove_one(const struct mfd_migrate *m, const char *name)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s", m->dir, name);
	unlink(path);
}

/* What another sender needs lies in the folder, or it cannot be seen that it does not. */
static int is_left(const struct mfd_migrate *m)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/" MFD_SOURCE_FILE_NAME, m->dir);
	return !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) || errno != ENOENT;
}

/* Of a private folder keep at most the logs: images hold what was in the tasks' memory. */
static void clean_dir(struct mfd_migrate *m, int keep_logs)
{
	DIR *d = m->private_dir ? opendir(m->dir) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    !(keep_logs && is_log(e->d_name)))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	if (m->private_dir && !keep_logs)
		rmdir(m->dir);
	if (!m->private_dir && m->dir[0]) {
		char path[4200];

		snprintf(path, sizeof(path), "%s/" PROGRESS_FILE, m->dir);
		unlink(path);
	}
}

/* ---- the end ---- */

struct outcome {
	const char *result;
	int code;
	char error[700];
};

static void set_error(struct outcome *o, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void set_error(struct outcome *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->error, sizeof(o->error), fmt, ap);
	va_end(ap);
}

/* CRIU has no word for it but that it could not detach. */
static int explain_tracer(const struct mfd_migrate *m, struct outcome *o)
{
	char path[40], *name = NULL;
	uint64_t by;

	if (mfd_procfile_number((pid_t)m->pid, "TracerPid", 10, &by) || !by)
		return 0;
	snprintf(path, sizeof(path), "/proc/%u/comm", (unsigned)by);
	if (!mfd_io_read_file(AT_FDCWD, path, 64, &name, NULL))
		name[strcspn(name, "\n")] = 0;
	set_error(o,
		  "criu cannot hold it, since process %u (%.64s) does: another dump, or a debugger",
		  (unsigned)by, name ? name : "?");
	free(name);
	return 1;
}

/*
 * Explain a failure in the words of the sender, or in CRIU's if CRIU failed by itself or before
 * there was a sender.
 */
static void explain(const struct mfd_migrate *m, struct outcome *o)
{
	int dir = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[512] = "", full[MFD_SPACE_TEXT];

	if (m->progress->error[0] && !m->progress->criu_failed)
		set_error(o, "%.500s", m->progress->error);
	else if (explain_tracer(m, o))
		;
	else if (dir >= 0 &&
		 !mfd_hostcriu_complaint(dir, "dump.log", "criu.err", text, sizeof(text)))
		set_error(o, "criu: %.500s", text);
	else if (WIFSIGNALED(m->criu_status))
		set_error(o, "criu was killed by signal %d", WTERMSIG(m->criu_status));
	else
		set_error(o, "criu ended with code %d and said nothing",
			  WEXITSTATUS(m->criu_status));
	/* Whatever words criu has for that. */
	if (m->progress->criu_failed && dir >= 0 && mfd_space_is_full(dir))
		set_error(o, "%s (%.300s)", mfd_space_text(-ENOSPC, dir, 0, full), text);
	if (dir >= 0)
		close(dir);
}

static void aborted(const struct mfd_migrate *m, struct outcome *o)
{
	unsigned phase = atomic_load(&m->progress->phase),
		 where = phase == MFD_PROGRESS_ABORTED ? m->progress->failed_in : phase;
	const char *runs = mfd_life((pid_t)m->pid, 0) == MFD_LIFE_OVER ? "it has ended meanwhile" :
									 "it runs on here";
	char why[700];

	o->result = m->stop && m->asked ? "aborted" : "failed";
	o->code = !m->stop || !m->asked		 ? MFD_EXIT_FAILED :
		  m->stop == MFD_MIGRATE_TIMEOUT ? MFD_EXIT_TIMEOUT :
		  m->stop == SIGINT		 ? MFD_EXIT_INTERRUPT :
						   MFD_EXIT_FAILED;
	if (m->stop && m->asked) {
		set_error(o, "process %u was not moved, %s: %s", m->pid, runs,
			  m->stop == MFD_MIGRATE_TIMEOUT ? "the time was up" : strsignal(m->stop));
		return;
	}
	if ((where == MFD_PROGRESS_CONNECTING || where == MFD_PROGRESS_QUEUED) &&
	    m->progress->error[0])
		o->code = MFD_EXIT_TARGET;
	explain(m, o);
	snprintf(why, sizeof(why), "%s", o->error);
	if (m->progress->both) {
		o->result = "both-run";
		o->code = MFD_EXIT_BOTH;
		set_error(
			o,
			"BOTH RUN: process %u runs on here, and %s runs it, too: end one of the two (%.400s)",
			m->pid, m->o.target, why);
		return;
	}
	set_error(o, "process %u was not moved, %s: %.600s", m->pid, runs, why);
}

static void in_doubt(struct outcome *o)
{
	o->result = "in-doubt";
	o->code = MFD_EXIT_DOUBT;
}

static void judge(const struct mfd_migrate *m, struct outcome *o)
{
	int ok = WIFEXITED(m->criu_status) && !WEXITSTATUS(m->criu_status);

	*o = (struct outcome){ .result = "released", .code = MFD_EXIT_OK };
	if (atomic_load(&m->progress->lost) == MFD_PROGRESS_DIED) {
		in_doubt(o);
		set_error(
			o,
			"process %u is frozen here, in doubt: it ran on %s and died there before "
			"every page was in.  Decide: criu-multifd resolve --source %.300s --run (it "
			"goes on from where it was frozen), or --discard",
			m->pid, m->o.target, m->dir);
		return;
	}
	if (atomic_load(&m->progress->lost) == MFD_PROGRESS_DAMAGED ||
	    atomic_load(&m->progress->lost) == MFD_PROGRESS_GIVEN_UP) {
		in_doubt(o);
		set_error(
			o,
			"process %u is frozen here, in doubt: it may run on %s, and no other "
			"connection settles that: criu-multifd status --source %.300s says why, resolve "
			"settles it",
			m->pid, m->o.target, m->dir);
		return;
	}
	if (m->progress->doubt) {
		in_doubt(o);
		set_error(o, "process %u is frozen here, and may run on %s: %.500s", m->pid,
			  m->o.target, m->progress->error);
		return;
	}
	if (atomic_load(&m->progress->running) &&
	    atomic_load(&m->progress->phase) < MFD_PROGRESS_RELEASED) {
		in_doubt(o);
		set_error(
			o,
			"in doubt: the sender has died; process %u may run on %s, and is frozen or gone here. "
			"criu-multifd status --source %.300s says more, resolve --source %.300s settles it",
			m->pid, m->o.target, m->dir, m->dir);
		return;
	}
	if (atomic_load(&m->progress->phase) == MFD_PROGRESS_RELEASED && !m->progress->untold)
		return;
	if (atomic_load(&m->progress->phase) == MFD_PROGRESS_RELEASED || ok) {
		in_doubt(o);
		set_error(
			o,
			"process %u is gone here, but %s did not say that it knows: 'criu-multifd status' there tells more",
			m->pid, m->o.target);
		return;
	}
	aborted(m, o);
}

/* left: the key is needed here. over: as mfd_migrate_ssh_end has it. */
static void end_by_ssh(struct mfd_migrate *m, int over, int left)
{
	if (!m->by_ssh)
		return;
	mfd_migrate_ssh_end(&m->ssh, over);
	if (!left && m->dir[0])
		remove_one(m, MFD_MIGRATE_SSH_KEY);
	if (!over)
		mfd_migrate_report_say(m,
				       "the server on %s goes on until its session has ended; "
				       "there: criu-multifd status --dir %s",
				       m->ssh.host, m->ssh.there);
}

/* The session has ended there, too, or comes to its end by itself. */
static int is_over_there(const struct mfd_migrate *m, const struct outcome *o, int left)
{
	return !left && o->code != MFD_EXIT_DOUBT && o->code != MFD_EXIT_BOTH &&
	       (o->code != MFD_EXIT_OK || m->o.confirm == MFD_CONFIRM_RESTORE);
}

static int finish(struct mfd_migrate *m)
{
	struct outcome o;
	int left, logs;

	judge(m, &o);
	left = is_left(m);
	logs = left || ((o.code != MFD_EXIT_OK || m->progress->ran) && o.code != MFD_EXIT_TARGET &&
			!(m->stop && m->asked));
	if (m->progress->ran)
		mfd_migrate_report_say(m,
				       "a task of process %u ran here beside its copy on %s: "
				       "multifd-send.log in %s says which",
				       m->pid, m->o.target, m->dir);
	mfd_migrate_report_end(m, o.result, o.code, o.error[0] ? o.error : NULL);
	if (left)
		mfd_migrate_report_say(m,
				       "something is left to be settled: criu-multifd status "
				       "--source %s says what",
				       m->dir);
	if (logs)
		fprintf(stderr, "criu-multifd migrate: the logs are in %s\n", m->dir);
	end_by_ssh(m, is_over_there(m, &o, left), left);
	clean_dir(m, logs);
	return o.code;
}

/* ---- the verb ---- */

static int refuse(struct mfd_migrate *m, int code, const struct mfd_error *err)
{
	mfd_migrate_report_end(m, "failed", code, mfd_error_text(err));
	end_by_ssh(m, 1, 0);
	clean_dir(m, 0);
	return code;
}

/* 0, or the exit code. */
static int start_by_ssh(struct mfd_migrate *m, struct mfd_error *err)
{
	uint64_t end = m->timeout_ms ? mfd_io_now_ms() + m->timeout_ms : 0;
	int ret;

	mfd_migrate_report_say(m, "starting a server on %s", m->ssh.host);
	ret = mfd_migrate_ssh_start(&m->ssh, m->dir, end, m->o.connect_timeout, err);
	ret = ret ? ret : mfd_migrate_args_by_ssh(m, err);
	if (!ret)
		return 0;
	return end && mfd_io_now_ms() >= end ? MFD_EXIT_TIMEOUT : MFD_EXIT_TARGET;
}

static int migrate(struct mfd_migrate *m)
{
	struct mfd_error err = { 0 };
	int ret = mfd_migrate_check_host(&err);

	mfd_migrate_block_signals();
	ret = ret ? ret : mfd_migrate_check_start(m, &err);
	ret = ret ? ret : mfd_migrate_check_pid(m->pid, &err);
	ret = ret ? ret : mfd_netaddr_check_here(m->o.move_address, &err);
	ret = ret ? ret : mfd_hostcriu_find(&m->criu, &err);
	ret = ret ? ret : mfd_hostcriu_plugins(m->plugins, sizeof(m->plugins), &err);
	ret = ret || m->no_check ? ret : mfd_migrate_look(m, &err);
	ret = ret ? ret : make_dir(m, &err);
	ret = ret ? ret : make_progress(m, &err);
	if (ret)
		return refuse(m, MFD_EXIT_REFUSED, &err);
	remove_one(m, "multifd-send.json"); /* of an earlier run in the same folder */
	ret = m->by_ssh ? start_by_ssh(m, &err) : 0;
	if (ret)
		return refuse(m, ret, &err);
	if (!m->no_check && !m->no_check_target && mfd_migrate_look_there(m, &err))
		return refuse(m, MFD_EXIT_TARGET, &err);
	mfd_migrate_report_begin(m);
	ret = mfd_migrate_run(m, &err);
	return ret ? refuse(m, MFD_EXIT_REFUSED, &err) : finish(m);
}

static const struct mfd_migrate_words words = {
	.verb = "migrate",
	.usage =
		"-t PID --to ADDR:PORT|ssh://HOST [--session S] [--restore] [--json] [-- CRIU DUMP OPTIONS]",
	.summary = "Moves a process, with its children, to the host of a restore server.",
	.notes =
		"Ctrl-C (and SIGTERM) aborts: the process runs on here. Options of criu dump that mean something to the restore\n"
		"(--tcp-established, --shell-job, --ext-unix-sk, --file-locks, --link-remap, --manage-cgroups, --network-lock,\n"
		"--tcp-close, --skip-in-flight) are asked of the target, too. $CRIU names the criu to run.\n"
		"The fields of the summary are explained with 'criu-multifd status'. Events of kind phase name the folder,\n"
		"images_dir, where 'criu-multifd set --source' and 'criu-multifd status --source' find the sender.\n"
		"\n"
		"Terminals whose other end stays here need no --external: criu is told of them, and dump.log says which.  With --restore\n"
		"the target must offer one for each ('criu-multifd cpr offer SESSION tty').  A job of a shell needs --shell-job.\n"
		"\n"
		"--to ssh://[USER@]HOST[:PORT][/DIR] starts 'criu-multifd serve --once --restore' on HOST, in DIR or in a folder of\n"
		"its own in /run/criu-multifd.ssh, and gives it a key for this migration.  USER must be root there (or see\n"
		"--remote-program).  Memory does not go through ssh but to the address by which ssh reaches HOST, to any port, encrypted\n"
		"with that key; --serve-option=--listen=ADDR:PORT says another.  The server ends when the session has ended, and goes on\n"
		"without this program where that is to be restored by a person, or is in doubt.\n"
		"\n"
		"Before anything is begun it looks at the process as 'criu-multifd check' does: what cannot move is refused with\n"
		"the reason, options of criu that are needed are added and named, what will be slow is said.\n"
		"\n"
		"Exit status:\n"
		"   0  released: the process is gone here and complete on the target; with --restore it runs there, without it is\n"
		"      to be restored there ('criu-multifd restore'), in postcopy mode too unless that has happened\n"
		"   1  failed or aborted: the process runs on here (or has ended meanwhile: the line that says so names it)\n"
		"   2  aborted because of --timeout: the process runs on here\n"
		"   3  in doubt: gone here, complete on the target, which could not be told yet; see 'criu-multifd status' there.\n"
		"      The sender goes on telling it; 'criu-multifd resolve --source DIR --discard' ends that.\n"
		"      Or frozen here, as its copy may run there: the sender was ended before that was known, which\n"
		"      'criu-multifd status --source DIR' shows and 'criu-multifd resolve --source DIR' settles\n"
		"   4  nothing was begun: no such process, not root, no criu ...\n"
		"   5  the target cannot be reached or refuses; nothing was frozen\n"
		"   6  both run: the process runs on here, and on the target, where a person has let it run; end one of the two\n"
		"  64  wrong usage or configuration\n"
		" 130  aborted by Ctrl-C: the process runs on here",
	.needs_target = 1,
};

int mfd_migrate_main(int argc, char **argv)
{
	struct mfd_migrate m = { 0 };
	int ret = mfd_migrate_args(&m, &words, argc, argv);

	if (ret < 0)
		ret = migrate(&m);
	mfd_progress_close(m.progress);
	mfd_migrate_args_free(&m);
	return ret;
}
