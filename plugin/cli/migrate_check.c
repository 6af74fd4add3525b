// SPDX-License-Identifier: GPL-2.0-only
/* Refuse before anything is begun what cannot work: the process, and options for criu. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "migrate.h"

#define PF_KTHREAD 0x00200000 /* linux/sched.h; field 9 of /proc/PID/stat */

int mfd_migrate_check_host(struct mfd_error *err)
{
	return geteuid() ? mfd_error_set(err, -EPERM, "must be run as root, since CRIU must") : 0;
}

/* Parent, state and flags of a process. */
static int read_stat(uint32_t pid, char *state, uint32_t *ppid, unsigned *flags)
{
	char path[40], *text = NULL, *p;
	int ret;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL);
	if (ret)
		return ret;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	ret = p && sscanf(p + 1, " %c %u %*d %*d %*d %*d %u", state, ppid, flags) == 3 ? 0 : -EIO;
	free(text);
	return ret;
}

/* The last number behind `key` in /proc/PID/status, 0 when there is none. */
static uint32_t status_number(uint32_t pid, const char *key)
{
	char path[40], *text = NULL, *p, *end;
	uint32_t v = 0;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	p = strstr(text, key);
	end = p ? strchr(p + 1, '\n') : NULL;
	if (end) {
		*end = 0;
		p = strrchr(p, '\t');
		v = p ? (uint32_t)strtoul(p, NULL, 10) : 0;
	}
	free(text);
	return v;
}

/* This program runs below `pid`: CRIU would have to freeze it. */
static int is_ancestor(uint32_t pid)
{
	uint32_t p = (uint32_t)getpid();
	unsigned flags;
	char state;

	while (p && p != pid)
		if (read_stat(p, &state, &p, &flags))
			return 0;
	return p == pid;
}

static int same_pid_namespace(uint32_t pid)
{
	char path[40], ours[64] = "", theirs[64] = "";
	ssize_t a, b;

	snprintf(path, sizeof(path), "/proc/%u/ns/pid", pid);
	a = readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1);
	b = readlink(path, theirs, sizeof(theirs) - 1);
	return a <= 0 || b <= 0 || !strcmp(ours, theirs);
}

int mfd_migrate_check_pid(uint32_t pid, struct mfd_error *err)
{
	uint32_t ppid, leader, inner;
	unsigned flags;
	char state;
	int ret = read_stat(pid, &state, &ppid, &flags);

	if (ret == -ENOENT || ret == -ESRCH)
		return mfd_error_set(err, -ESRCH, "there is no process %u here", pid);
	if (ret)
		return mfd_error_sys(err, ret, "process %u", pid);
	if (flags & PF_KTHREAD)
		return mfd_error_set(err, -EINVAL, "process %u is a thread of the kernel", pid);
	if (state == 'Z' || state == 'X')
		return mfd_error_set(err, -ESRCH, "process %u has ended already (a zombie)", pid);
	leader = status_number(pid, "\nTgid:");
	if (leader && leader != pid)
		return mfd_error_set(err, -EINVAL,
				     "%u is a thread of process %u: only whole processes can move",
				     pid, leader);
	if (is_ancestor(pid))
		return mfd_error_set(err, -EINVAL,
				     "process %u is this program or one of its ancestors", pid);
	inner = status_number(pid, "\nNSpid:");
	if (!same_pid_namespace(pid) && inner != 1)
		return mfd_error_set(
			err, -EINVAL,
			"process %u is number %u inside another pid namespace: only the namespace as a whole can move, "
			"by the pid of its first process",
			pid, inner);
	return 0;
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
