// SPDX-License-Identifier: GPL-2.0-only
/* What CRIU has locked and cannot unlock any more; see unlock.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "procfile.h"
#include "shared.h"
#include "unlock.h"

/* 1 = it was in repair mode, and is not any more. */
static int leave_repair(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, &len) || !on)
		return 0;
	on = 0;
	return !setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
}

static unsigned leave_repair_of(const struct mfd_shared_task *t)
{
	int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	struct dirent *e;
	unsigned n = 0;
	char path[32];
	DIR *d = NULL;

	snprintf(path, sizeof(path), "/proc/%d/fd", t->pid);
	if (pidfd >= 0 && mfd_shared_task_fate(t) != MFD_TASK_GONE)
		d = opendir(path);
	while (d && (e = readdir(d))) {
		int fd = e->d_name[0] == '.' ? -1 :
					       (int)syscall(SYS_pidfd_getfd, pidfd,
							    (int)strtol(e->d_name, NULL, 10), 0);

		if (fd >= 0)
			n += (unsigned)leave_repair(fd);
		mfd_io_close(&fd);
	}
	if (d)
		closedir(d);
	mfd_io_close(&pidfd);
	return n;
}

/* In a child, in the network namespace of the tree's root. */
static void exec_nft(pid_t root, const char *table)
{
	char path[40];
	int net, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/%d/ns/net", root);
	net = open(path, O_RDONLY | O_CLOEXEC);
	if (net < 0 || setns(net, CLONE_NEWNET))
		_exit(1);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO); /* there may be no such table */
	execlp("nft", "nft", "delete", "table", "inet", table, NULL);
	_exit(1);
}

static int delete_table(pid_t root, const char *table)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		exec_nft(root, table);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 1 : 0;
}

/*
 * CRIU names it after its own run, or after the root of the tree, and cuts that off where its
 * buffer ends.
 */
static int delete_tables(const struct mfd_shared *sh)
{
	pid_t root = sh->task[0].pid;
	char name[3][sizeof(sh->criu_run) + 8];

	snprintf(name[0], sizeof(name[0]), "CRIU-%s", sh->criu_run);
	snprintf(name[1], sizeof(name[1]), "CRIU-%.21s", sh->criu_run);
	snprintf(name[2], sizeof(name[2]), "CRIU-%d", root);
	for (size_t i = sh->criu_run[0] ? 0 : 2; i < 3; i++)
		if (delete_table(root, name[i]) > 0)
			return 1;
	return 0;
}

void mfd_unlock_network(const struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks), left = 0;
	int deleted;

	if (sh->hold.kind == MFD_HOLD_NONE || !n ||
	    mfd_procfile_start_time(sh->criu) == sh->criu_start)
		return;
	deleted = delete_tables(sh);
	for (unsigned i = 0; i < n; i++)
		left += leave_repair_of(&sh->task[i]);
	if (deleted || left)
		mfd_log_info("the network of the tasks is unlocked again: %u sockets%s", left,
			     deleted ? ", criu's nftables rules" : "");
	if (left && !deleted)
		mfd_log_warn("if criu locked them by iptables, its rules (mark 0xC114 in "
			     "'iptables -S') are to be removed by hand");
}
