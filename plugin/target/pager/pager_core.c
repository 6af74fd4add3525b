// SPDX-License-Identifier: GPL-2.0-only
/* What every file of the pager needs: wake its threads, watch a descriptor, fail. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "pager_int.h"

_Thread_local struct pager_count *mfd_pager_mine;

int mfd_pager_watch(struct mfd_pager *p, int fd, void *ptr, int oneshot)
{
	struct epoll_event ev = { .events = EPOLLIN | (oneshot ? EPOLLONESHOT : 0),
				  .data.ptr = ptr };

	return epoll_ctl(p->epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/*
 * `work` stays readable, and so all threads for bulk awake, until one of them has found nothing to
 * do (pick).
 */
void mfd_pager_wake(struct mfd_pager *p)
{
	uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	if (!p->work_set) {
		p->work_set = 1;
		(void)!write(p->work, &one, sizeof(one));
	}
	pthread_mutex_unlock(&p->lock);
}

void mfd_pager_fail(struct mfd_pager *p, int code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&p->lock);
	mfd_error_sys(&p->error, code, "%s", text);
	atomic_store(&p->failed, 1);
	pthread_mutex_unlock(&p->lock);
	mfd_pager_wake(p);
}
