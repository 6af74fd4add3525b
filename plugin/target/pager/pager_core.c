// SPDX-License-Identifier: GPL-2.0-only
/* What every file of the pager needs: wake its threads, watch a descriptor, fail. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "log.h"
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

	mfd_assert(p->work >= 0);
	mfd_assert(p->epfd >= 0);
	pthread_mutex_lock(&p->lock);
	if (!p->work_set) {
		p->work_set = 1;
		(void)!write(p->work, &one, sizeof(one));
	}
	pthread_mutex_unlock(&p->lock);
}

/* Return nonzero if everything is in: no task can lack anything then. */
static int note_failure(struct mfd_pager *p, int code, const char *text)
{
	int done;

	mfd_assert(code < 0);
	pthread_mutex_lock(&p->lock);
	done = mfd_pager_phase(p) == PAGER_DONE;
	if (!done && !mfd_pager_has_failed(p)) {
		mfd_error_sys(&p->error, code, "%s", text);
		atomic_store(&p->health, PAGER_FAILED);
	}
	mfd_pager_check(p);
	pthread_mutex_unlock(&p->lock);
	return done;
}

void mfd_pager_fail(struct mfd_pager *p, int code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	mfd_assert(code < 0);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (note_failure(p, code, text))
		mfd_log_debug("pager: everything is in, and then: %s (error %d)", text, -code);
	mfd_pager_wake(p);
}
