// SPDX-License-Identifier: GPL-2.0-only
/* Which thread a stop disturbs least. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "io.h"
#include "procfile.h"
#include "tracethread.h"

#ifdef __x86_64__

/* These return EINTR once a stop is over (signal(7)), though no handler has run. */
static int is_touchy(long call)
{
	static const long calls[] = {
		SYS_epoll_wait,	   SYS_epoll_pwait,    SYS_epoll_pwait2, SYS_rt_sigtimedwait,
		SYS_semop,	   SYS_semtimedop,     SYS_recvfrom,	 SYS_recvmsg,
		SYS_recvmmsg,	   SYS_accept,	       SYS_accept4,	 SYS_connect,
		SYS_sendto,	   SYS_sendmsg,	       SYS_sendmmsg,	 SYS_io_getevents,
		SYS_io_pgetevents, SYS_io_uring_enter, SYS_msgrcv,	 SYS_msgsnd,
		SYS_vfork,	   SYS_rt_sigsuspend,  SYS_pause,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i] == call)
			return 1;
	return 0;
}

enum rank { USELESS, SLEEPS_DEEP, TOUCHY, GOOD };

static enum rank rank_of(pid_t pid, pid_t tid)
{
	struct mfd_procfile_stat st;
	char path[64], *text;
	enum rank rank = GOOD;

	if (mfd_procfile_stat(tid, &st) || mfd_procfile_is_over(&st))
		return USELESS;
	if (st.state == 'D')
		return SLEEPS_DEEP;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	if (mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL))
		return TOUCHY;
	if (isdigit((unsigned char)*text) && is_touchy(strtol(text, NULL, 10)))
		rank = TOUCHY;
	free(text);
	return rank;
}

pid_t mfd_tracethread_choose(pid_t pid, unsigned *threads)
{
	enum rank best = USELESS, rank;
	struct dirent *e;
	pid_t tid = 0;
	char path[40];
	DIR *d;

	*threads = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		++*threads;
		rank = best == GOOD ? USELESS : rank_of(pid, atoi(e->d_name));
		if (rank > best) {
			best = rank;
			tid = atoi(e->d_name);
		}
	}
	if (d)
		closedir(d);
	return tid;
}

int mfd_tracethread_repeatable(long call)
{
	return is_touchy(call) && call != SYS_connect;
}

#endif
