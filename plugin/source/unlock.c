// SPDX-License-Identifier: GPL-2.0-only
/* What CRIU has locked and cannot unlock any more; see unlock.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "procfile.h"
#include "shared.h"
#include "unlock.h"
#include "unlock_rules.h"

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

/* Returns how many were in repair mode. */
static unsigned unlock_sockets_of(const struct mfd_unlock_rules *r, const struct mfd_shared_task *t,
				  unsigned *rules)
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

		if (fd >= 0) {
			*rules += mfd_unlock_rules_of(r, fd);
			n += (unsigned)leave_repair(fd);
		}
		mfd_io_close(&fd);
	}
	if (d)
		closedir(d);
	mfd_io_close(&pidfd);
	return n;
}

void mfd_unlock_network(const struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks), sockets = 0, rules;
	struct mfd_unlock_rules r;

	if (!n || mfd_procfile_start_time(sh->criu) == sh->criu_start)
		return;
	rules = mfd_unlock_rules_begin(&r, sh->task[0].pid, sh->criu_run);
	for (unsigned i = 0; i < n; i++)
		sockets += unlock_sockets_of(&r, &sh->task[i], &rules);
	if (rules || sockets)
		mfd_log_info("criu has ended and left the network of the tasks locked: it is "
			     "unlocked again (%u sockets, %u rules or tables of rules)",
			     sockets, rules);
}
