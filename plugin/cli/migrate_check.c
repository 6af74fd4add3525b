// SPDX-License-Identifier: GPL-2.0-only
/* Refuse before anything is begun what cannot work: the process, and options for criu. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heldgroup.h"
#include "io.h"
#include "migrate.h"
#include "procfile.h"

#define PF_KTHREAD 0x00200000 /* linux/sched.h; field 9 of /proc/PID/stat */

int mfd_migrate_check_host(struct mfd_error *err)
{
	return geteuid() ? mfd_error_set(err, -EPERM, "must be run as root, since CRIU must") : 0;
}

/* This program runs below `pid`: CRIU would have to freeze it. */
static int is_ancestor(uint32_t pid)
{
	pid_t p = getpid();

	while (p > 0 && p != (pid_t)pid)
		p = mfd_procfile_parent(p);
	return p == (pid_t)pid;
}

static int same_pid_namespace(uint32_t pid)
{
	ino_t ours = mfd_procfile_namespace(getpid(), "pid");
	ino_t theirs = mfd_procfile_namespace((pid_t)pid, "pid");

	return !ours || !theirs || ours == theirs;
}

/* The process that a thread belongs to; 0: not known. */
static uint32_t leader_of(pid_t pid)
{
	uint64_t leader;

	mfd_procfile_number(pid, "Tgid", 10, &leader);
	return (uint32_t)leader;
}

/* Others than the first. */
static int has_threads(uint32_t pid)
{
	uint64_t threads;

	mfd_procfile_number((pid_t)pid, "Threads", 10, &threads);
	return threads > 1;
}

int mfd_migrate_check_pid(uint32_t pid, struct mfd_error *err)
{
	struct mfd_procfile_stat st;
	uint32_t leader, inner;
	int ret = mfd_procfile_stat((pid_t)pid, &st);

	if (ret == -ENOENT || ret == -ESRCH)
		return mfd_error_set(err, -ESRCH, "there is no process %u here", pid);
	if (ret)
		return mfd_error_sys(err, ret, "process %u", pid);
	if (st.flags & PF_KTHREAD)
		return mfd_error_set(err, -EINVAL, "process %u is a thread of the kernel", pid);
	if (mfd_procfile_is_over(&st) && has_threads(pid))
		return mfd_error_set(
			err, -EINVAL,
			"the first thread of process %u has ended while others run on: CRIU "
			"cannot dump such a process",
			pid);
	if (mfd_procfile_is_over(&st))
		return mfd_error_set(err, -ESRCH, "process %u has ended already (a zombie)", pid);
	leader = leader_of((pid_t)pid);
	if (leader && leader != pid)
		return mfd_error_set(err, -EINVAL,
				     "%u is a thread of process %u: only whole processes can move",
				     pid, leader);
	if (is_ancestor(pid))
		return mfd_error_set(err, -EINVAL,
				     "process %u is this program or one of its ancestors", pid);
	ret = mfd_heldgroup_refuse((pid_t)pid, err);
	ret = ret ? ret : mfd_heldgroup_refuse_frozen((pid_t)pid, err);
	if (ret)
		return ret;
	inner = mfd_procfile_inner_pid((pid_t)pid);
	if (!same_pid_namespace(pid) && inner != 1)
		return mfd_error_set(
			err, -EINVAL,
			"process %u is number %u inside another pid namespace: only the namespace as a whole can move, "
			"by the pid of its first process",
			pid, inner);
	return 0;
}

int mfd_migrate_check_start(const struct mfd_migrate *m, struct mfd_error *err)
{
	uint64_t start = m->start ? mfd_procfile_start_time((pid_t)m->pid) : 0;

	return start == m->start ?
		       0 :
		       mfd_error_set(err, -ESRCH,
				     "the process that was meant has ended; %u is another one now, "
				     "or none",
				     m->pid);
}

/* ---- options for CRIU ---- */

enum use {
	OURS,	 /* migrate gives it */
	NEVER,	 /* the tasks must end here */
	RESTORE, /* means the same to criu restore */
};

static const struct criu_option {
	const char *name, *letter;
	enum use use;
	int value; /* 0 none, 1 maybe (with '='), 2 always */
} criu_options[] = {
	{ "tree", "-t", OURS, 2 },
	{ "images-dir", "-D", OURS, 2 },
	{ "work-dir", "-W", OURS, 2 },
	{ "log-file", "-o", OURS, 2 },
	{ "libdir", "-L", OURS, 2 },
	{ "lazy-pages", NULL, OURS, 0 },
	{ "page-server", NULL, OURS, 0 },
	{ "address", NULL, OURS, 2 },
	{ "port", NULL, OURS, 2 },
	{ "stream", NULL, OURS, 0 },
	{ "leave-running", "-R", NEVER, 0 },
	{ "leave-stopped", "-s", NEVER, 0 },
	{ "tcp-established", NULL, RESTORE, 0 },
	{ "tcp-close", NULL, RESTORE, 0 },
	{ "skip-in-flight", NULL, RESTORE, 0 },
	{ "shell-job", "-j", RESTORE, 0 },
	{ "ext-unix-sk", "-x", RESTORE, 1 },
	{ "file-locks", "-l", RESTORE, 0 },
	{ "link-remap", NULL, RESTORE, 0 },
	{ "manage-cgroups", NULL, RESTORE, 1 },
	{ "network-lock", NULL, RESTORE, 2 },
};

static const struct criu_option *find(const char *word)
{
	for (size_t i = 0; i < sizeof(criu_options) / sizeof(*criu_options); i++) {
		const struct criu_option *o = &criu_options[i];
		size_t len = strlen(o->name);

		if (o->letter && !strncmp(word, o->letter, 2))
			return o;
		if (!strncmp(word, "--", 2) && !strncmp(word + 2, o->name, len) &&
		    (!word[2 + len] || word[2 + len] == '='))
			return o;
	}
	return NULL;
}

int mfd_migrate_is_option(const char *word, const char *name)
{
	const struct criu_option *o = find(word);
	size_t len = strlen(name);

	if (o)
		return !strcmp(o->name, name);
	return !strncmp(word, "--", 2) && !strncmp(word + 2, name, len) &&
	       (!word[2 + len] || word[2 + len] == '=');
}

/* ext-unix-sk travels without its value: the target's list knows it without one. */
static int add_restore_option(struct mfd_migrate *m, const struct criu_option *o, const char *value,
			      struct mfd_error *err)
{
	size_t used = strlen(m->restore_options), room = sizeof(m->restore_options) - used;
	int with = value && *value && strcmp(o->name, "ext-unix-sk");
	int n = snprintf(m->restore_options + used, room, "%s%s%s%s", used ? "," : "", o->name,
			 with ? "=" : "", with ? value : "");

	return n < 0 || (size_t)n >= room ?
		       mfd_error_set(err, -E2BIG, "too many options for criu") :
		       0;
}

int mfd_migrate_check_criu_args(struct mfd_migrate *m, struct mfd_error *err)
{
	m->restore_options[0] = 0;
	for (int i = 0; i < m->n_criu_args; i++) {
		const char *word = m->criu_args[i], *value = strchr(word, '=');
		const struct criu_option *o = find(word);
		int ret;

		if (!o)
			continue;
		if (o->use == OURS)
			return mfd_error_set(err, -EINVAL,
					     "criu's option --%s is given by migrate itself",
					     o->name);
		if (o->use == NEVER)
			return mfd_error_set(
				err, -EINVAL,
				"criu's option --%s would leave the tasks here: they must not be in two places",
				o->name);
		value = value					? value + 1 :
			o->value == 2 && i + 1 < m->n_criu_args ? m->criu_args[++i] :
								  NULL;
		ret = add_restore_option(m, o, value, err);
		if (ret)
			return ret;
	}
	return 0;
}
