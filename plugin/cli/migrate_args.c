// SPDX-License-Identifier: GPL-2.0-only
/* The command line of migrate and of check, which takes the same. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "flags.h"
#include "migrate.h"

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

int mfd_migrate_args_option(void *arg, int argc, char **argv, int *i, struct mfd_error *err)
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
	const char *env = getenv("CRIU_MULTIFD_RESTORE_OPTION");
	char all[2048];

	if (!m->asked_options) /* by the person; migrate adds its own, perhaps twice */
		m->asked_options = strdup(env ? env : "");
	if (!m->asked_options)
		return mfd_error_sys(err, -ENOMEM, "restore-option");
	if (!m->restore_options[0])
		return 0;
	snprintf(all, sizeof(all), "%s%s%s", m->restore_options, *m->asked_options ? "," : "",
		 m->asked_options);
	return set_env("restore-option", all, err);
}

/*
 * What the process has is sent in rounds while it runs, unless it was said otherwise.  For a bare
 * `criu dump` that is off until it is asked for.
 */
static int default_precopy(struct mfd_migrate *m, struct mfd_error *err)
{
	int ret = mfd_options_set(&m->o, "precopy", "auto", MFD_FROM_DEFAULT, "migrate", err);

	return ret || m->o.precopy != MFD_AUTO ? ret : set_env("precopy", "auto", err);
}

int mfd_migrate_args_read(struct mfd_migrate *m, struct mfd_error *err)
{
	int ret;

	mfd_options_free(&m->o);
	mfd_options_init(&m->o);
	ret = mfd_options_from_env(&m->o, err);
	if (!ret)
		ret = mfd_options_from_file(&m->o, NULL, err);
	ret = ret ? ret : default_precopy(m, err);
	return ret ? ret : mfd_options_check(&m->o, err);
}

/* Refuse what cannot go with --to ssh://; tell its server what follows from other options. */
static int check_ssh(struct mfd_migrate *m, struct mfd_error *err)
{
	static const char *const keys[] = { "CRIU_MULTIFD_TLS_DIR", "CRIU_MULTIFD_TLS_PSK" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (getenv(keys[i]) && *getenv(keys[i]))
			return mfd_error_set(
				err, -EINVAL,
				"tls-dir and tls-psk cannot go with --to ssh://, which makes a key "
				"for this migration");
	if (m->o.zerocopy == MFD_ON)
		return mfd_error_set(
			err, -EINVAL,
			"zerocopy = on cannot go with --to ssh://, which uses TLS: what is "
			"encrypted is a copy");
	return m->o.move_address ? mfd_migrate_ssh_add_option(&m->ssh, "--allow-address=any", err) :
				   0;
}

static int check_target(struct mfd_migrate *m, int needed, struct mfd_error *err)
{
	if (m->by_ssh)
		return check_ssh(m, err);
	if (m->ssh.program || m->ssh.remote || m->ssh.n_options)
		return mfd_error_set(err, -EINVAL,
				     "--ssh-program, --remote-program and --serve-option are for "
				     "--to ssh://HOST");
	return m->o.target || !needed ?
		       0 :
		       mfd_error_set(err, -EINVAL,
				     "--to ADDR:PORT is missing (or --to ssh://HOST)");
}

/* Checked here, so that an error names the flag and not the variable that hands it on. */
static int set_to(struct mfd_migrate *m, struct mfd_error *err)
{
	int ret = mfd_options_set(&m->o, "target", m->to, MFD_FROM_FLAG, "--to", err);

	return ret ? ret : set_env("target", m->to, err);
}

static int configure(struct mfd_migrate *m, int needs_target, struct mfd_error *err)
{
	int ret = 0;

	m->by_ssh = mfd_migrate_ssh_is(m->to);
	if (m->to)
		ret = m->by_ssh ? mfd_migrate_ssh_parse(&m->ssh, m->to, err) : set_to(m, err);
	if (!ret && m->restore)
		ret = set_env("confirm", "restore", err);
	if (!ret)
		ret = add_restore_options(m, err);
	if (!ret)
		ret = mfd_migrate_args_read(m, err);
	return ret ? ret : check_target(m, needs_target, err);
}

/* The sender finds in its environment what the server of --to ssh:// needs. */
int mfd_migrate_args_by_ssh(struct mfd_migrate *m, struct mfd_error *err)
{
	char key[4200];
	int ret;

	snprintf(key, sizeof(key), "%s/" MFD_MIGRATE_SSH_KEY, m->dir);
	ret = set_env("target", m->ssh.address, err);
	ret = ret ? ret : set_env("tls-psk", key, err);
	ret = ret ? ret : set_env("tls-psk-id", "", err);
	ret = ret ? ret : set_env("tls-dir", "off", err);
	return ret ? ret : mfd_migrate_args_read(m, err);
}

int mfd_migrate_args_again(struct mfd_migrate *m, struct mfd_error *err)
{
	int ret = add_restore_options(m, err);

	return ret ? ret : mfd_migrate_args_read(m, err);
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

static int set_start(void *dest, const char *value, struct mfd_error *err)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (!isdigit((unsigned char)*value) || *end || errno || !v)
		return mfd_error_set(err, -EINVAL, "'%s' is not a number of clock ticks", value);
	*(uint64_t *)dest = v;
	return 0;
}

int mfd_migrate_args(struct mfd_migrate *m, const struct mfd_migrate_words *w, int argc,
		     char **argv)
{
	struct mfd_flag flags[] = {
		{ .name = "tree",
		  .letter = 't',
		  .kind = MFD_FLAG_CALL,
		  .call = set_pid,
		  .dest = &m->pid,
		  .arg = "PID",
		  .help = "the process to move, with all its children" },
		{ .name = "to",
		  .kind = MFD_FLAG_STRING,
		  .dest = &m->to,
		  .arg = "ADDR:PORT|ssh://[USER@]HOST[:PORT][/DIR]",
		  .help = "the restore server; ssh: one is started on HOST through ssh, for this migration alone" },
		{ .name = "ssh-program",
		  .kind = MFD_FLAG_STRING,
		  .dest = &m->ssh.program,
		  .arg = "WORDS",
		  .help = "--to ssh: the ssh to run, with its options (ssh)" },
		{ .name = "remote-program",
		  .kind = MFD_FLAG_STRING,
		  .dest = &m->ssh.remote,
		  .arg = "WORDS",
		  .help = "--to ssh: how criu-multifd is called there, e.g. 'sudo criu-multifd' (criu-multifd)" },
		{ .name = "serve-option",
		  .kind = MFD_FLAG_CALL,
		  .call = mfd_migrate_ssh_add_option,
		  .dest = &m->ssh,
		  .arg = "WORD",
		  .help = "--to ssh: one more word for 'criu-multifd serve' there, e.g. --serve-option=--listen=192.0.2.2:7777;\n"
			  "may be given more than once" },
		{ .name = "restore",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m->restore,
		  .help = "the target restores at once, and only then the process here is released (confirm = restore)" },
		{ .name = "json",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m->json,
		  .help = "for programs: one event per line, the summary last" },
		{ .name = "timeout",
		  .kind = MFD_FLAG_MS,
		  .dest = &m->timeout_ms,
		  .arg = "SECONDS",
		  .help = "abort when it has not come to an end by then" },
		{ .name = "images-dir",
		  .letter = 'D',
		  .kind = MFD_FLAG_STRING,
		  .dest = &m->images,
		  .arg = "DIR",
		  .help = "where criu writes images and logs; kept (a private folder in TMPDIR, removed)" },
		{ .name = "tree-start",
		  .kind = MFD_FLAG_CALL,
		  .call = set_start,
		  .dest = &m->start,
		  .arg = "TICKS",
		  .help = "only if that process began then (field 22 of /proc/PID/stat): pids are used again" },
		{ .name = "no-auto-options",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m->no_auto,
		  .help = "do not add the options of criu that the process needs (below, after --)" },
		/* migrate's alone, the last two */
		{ .name = "no-check-target",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m->no_check_target,
		  .help = "do not ask the target beforehand what it lacks" },
		{ .name = "no-check",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &m->no_check,
		  .help = "do not look at the process or the target beforehand; no options are added" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = w->verb,
		.usage = w->usage,
		.summary = w->summary,
		.notes = w->notes,
		.flags = flags,
		.max_args = 0,
		.after = 1,
		.other = mfd_migrate_args_option,
		.other_arg = &m->o,
		.other_help = mfd_options_help,
	};
	struct mfd_flags_args args;
	struct mfd_error err = { 0 };
	int ret;

	if (!w->needs_target)
		flags[sizeof(flags) / sizeof(*flags) - 3] = (struct mfd_flag){ 0 };
	mfd_options_init(&m->o);
	ret = mfd_flags_begin(&table, argc, argv, &args);
	if (ret >= 0)
		return ret;
	if (!m->pid)
		return mfd_flags_misuse(&table, "-t PID is missing");
	m->criu_args = args.after;
	m->n_criu_args = args.n_after;
	ret = mfd_migrate_check_criu_args(m, &err);
	ret = ret ? ret : configure(m, w->needs_target, &err);
	return ret ? mfd_flags_misuse(&table, "%s", mfd_error_text(&err)) : -1;
}

void mfd_migrate_args_free(struct mfd_migrate *m)
{
	mfd_options_free(&m->o);
	free(m->asked_options);
	free(m->all_args);
	mfd_check_free(&m->check);
}
