// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd migrate: one command that moves a process. */
#include <ctype.h>
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
#include "flags.h"
#include "io.h"
#include "life.h"
#include "migrate.h"
#include "netaddr.h"
#include "source_file.h"

#define PROGRESS_FILE ".progress"

/* ---- configuration: flags win because they become environment, which wins over the file ---- */

static int set_env(const char *name, const char *value, struct mfd_error *err)
{
	char env[96] = "CRIU_MULTIFD_";
	size_t n = strlen(env);

	for (; *name && n + 1 < sizeof(env); name++)
		env[n++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
	env[n] = 0;
	return setenv(env, value, 1) ? mfd_error_sys(err, -errno, "%s", env) : 0;
}

/* Check a flag of the table of options, and hand it on in the environment. */
static int option_flag(void *arg, int argc, char **argv, int *i, struct mfd_error *err)
{
	struct mfd_options *o = arg;
	const char *flag = argv[*i];
	char name[64];
	int at = *i, ret = mfd_options_from_flag(o, argc, argv, i, err);

	if (ret != 1)
		return ret;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(flag + 2, "="), flag + 2);
	ret = set_env(name, *i == at ? strchr(flag, '=') + 1 : argv[*i], err);
	return ret ? ret : 1;
}

static int add_restore_options(struct mfd_migrate *m, struct mfd_error *err)
{
	const char *more = getenv("CRIU_MULTIFD_RESTORE_OPTION");
	char all[1024];

	if (!m->restore_options[0])
		return 0;
	snprintf(all, sizeof(all), "%s%s%s", m->restore_options, more && *more ? "," : "",
		 more ? more : "");
	return set_env("restore-option", all, err);
}

static int configure(struct mfd_migrate *m, struct mfd_error *err)
{
	int ret = m->to ? set_env("target", m->to, err) : 0;

	if (!ret && m->restore)
		ret = set_env("confirm", "restore", err);
	if (!ret)
		ret = add_restore_options(m, err);
	if (ret)
		return ret;
	mfd_options_free(&m->o);
	mfd_options_init(&m->o);
	ret = mfd_options_from_env(&m->o, err);
	if (!ret)
		ret = mfd_options_from_file(&m->o, NULL, err);
	if (!ret)
		ret = mfd_options_check(&m->o, err);
	if (!ret && !m->o.target)
		ret = mfd_error_set(err, -EINVAL, "--to ADDR:PORT is missing");
	return ret;
}

/* ---- CRIU's folder ---- */

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
		return mfd_error_sys(err, -errno, "a folder for criu in %s",
				     tmp && *tmp ? tmp : "/tmp");
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
	       !strncmp(name, "multifd-send.", 13) ||
	       !strncmp(name, ".multifd-send.", 14); /* where a sender in doubt is spoken to */
}

/* Remove the summary of an earlier run in the same folder. */
static void remove_stale(const struct mfd_migrate *m)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/multifd-send.json", m->dir);
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

/*
 * Explain a failure in the words of the sender, or in CRIU's if CRIU failed by itself or before
 * there was a sender.
 */
static void explain(const struct mfd_migrate *m, struct outcome *o)
{
	int dir = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[512];

	if (m->progress->error[0] && !m->progress->criu_failed)
		set_error(o, "%.500s", m->progress->error);
	else if (dir >= 0 &&
		 !mfd_hostcriu_complaint(dir, "dump.log", "criu.err", text, sizeof(text)))
		set_error(o, "criu: %.500s", text);
	else if (WIFSIGNALED(m->criu_status))
		set_error(o, "criu was killed by signal %d", WTERMSIG(m->criu_status));
	else
		set_error(o, "criu ended with code %d and said nothing",
			  WEXITSTATUS(m->criu_status));
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
	o->code = m->stop == MFD_MIGRATE_TIMEOUT && m->asked ? MFD_EXIT_TIMEOUT : MFD_EXIT_FAILED;
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
	clean_dir(m, logs);
	return o.code;
}

/* ---- the verb ---- */

static int refuse(struct mfd_migrate *m, const struct mfd_error *err)
{
	mfd_migrate_report_end(m, "failed", MFD_EXIT_REFUSED, mfd_error_text(err));
	clean_dir(m, 0);
	return MFD_EXIT_REFUSED;
}

static int migrate(struct mfd_migrate *m)
{
	struct mfd_error err = { 0 };
	int ret = mfd_migrate_check_host(&err);

	mfd_migrate_block_signals();
	ret = ret ? ret : mfd_migrate_check_pid(m->pid, &err);
	ret = ret ? ret : mfd_netaddr_check_here(m->o.move_address, &err);
	ret = ret ? ret : mfd_hostcriu_find(&m->criu, &err);
	ret = ret ? ret : mfd_hostcriu_plugins(m->plugins, sizeof(m->plugins), &err);
	ret = ret ? ret : make_dir(m, &err);
	ret = ret ? ret : make_progress(m, &err);
	if (ret)
		return refuse(m, &err);
	remove_stale(m);
	mfd_migrate_report_begin(m);
	ret = mfd_migrate_run(m, &err);
	return ret ? refuse(m, &err) : finish(m);
}

static int set_pid(void *dest, const char *value, struct mfd_error *err)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)*value) || *end || errno || !v || v > INT32_MAX)
		return mfd_error_set(err, -EINVAL, "'%s' is not the number of a process", value);
	*(uint32_t *)dest = (uint32_t)v;
	return 0;
}

int mfd_migrate_main(int argc, char **argv)
{
	struct mfd_migrate m = { 0 };
	const struct mfd_flag flags[] = {
		{ .name = "tree",
		  .letter = 't',
		  .kind = MFD_FLAG_CALL,
		  .call = set_pid,
		  .dest = &m.pid,
		  .arg = "PID",
		  .help = "the process to move, with all its children" },
		{ .name = "to",
		  .kind = MFD_FLAG_STRING,
		  .dest = &m.to,
		  .arg = "ADDR:PORT",
		  .help = "the restore server" },
		{ .name = "restore",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m.restore,
		  .help = "the target restores at once, and only then the process here is released (confirm = restore)" },
		{ .name = "json",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m.json,
		  .help = "for programs: one event per line, the summary last" },
		{ .name = "timeout",
		  .kind = MFD_FLAG_MS,
		  .dest = &m.timeout_ms,
		  .arg = "SECONDS",
		  .help = "abort when it has not come to an end by then" },
		{ .name = "images-dir",
		  .letter = 'D',
		  .kind = MFD_FLAG_STRING,
		  .dest = &m.images,
		  .arg = "DIR",
		  .help = "where criu writes images and logs; kept (a private folder in TMPDIR, removed)" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "migrate",
		.usage =
			"-t PID --to ADDR:PORT [--session S] [--restore] [--json] [-- CRIU DUMP OPTIONS]",
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
			"Exit status:\n"
			"   0  released: the process is gone here and complete on the target; with --restore it runs there, without it is\n"
			"      to be restored there ('criu-multifd restore'), in postcopy mode too unless that has happened\n"
			"   1  failed or aborted: the process runs on here\n"
			"   2  aborted because of --timeout: the process runs on here\n"
			"   3  in doubt: gone here, complete on the target, which could not be told yet; see 'criu-multifd status' there.\n"
			"      The sender goes on telling it; 'criu-multifd resolve --source DIR --discard' ends that.\n"
			"      Or frozen here, as its copy may run there: the sender was ended before that was known, which\n"
			"      'criu-multifd status --source DIR' shows and 'criu-multifd resolve --source DIR' settles\n"
			"   4  nothing was begun: no such process, not root, no criu ...\n"
			"   5  the target cannot be reached or refuses; nothing was frozen\n"
			"   6  both run: the process runs on here, and on the target, where a person has let it run; end one of the two\n"
			"  64  wrong usage or configuration",
		.flags = flags,
		.max_args = 0,
		.after = 1,
		.other = option_flag,
		.other_arg = &m.o,
		.other_help = mfd_options_help,
	};
	struct mfd_flags_args args;
	struct mfd_error err = { 0 };
	int ret;

	mfd_options_init(&m.o);
	ret = mfd_flags_begin(&table, argc, argv, &args);
	if (ret >= 0)
		return ret;
	if (!m.pid)
		return mfd_flags_misuse(&table, "-t PID is missing");
	m.criu_args = args.after;
	m.n_criu_args = args.n_after;
	if (mfd_migrate_check_criu_args(&m, &err) || configure(&m, &err))
		return mfd_flags_misuse(&table, "%s", mfd_error_text(&err));
	ret = migrate(&m);
	mfd_progress_close(m.progress);
	mfd_options_free(&m.o);
	return ret;
}
