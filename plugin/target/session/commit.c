// SPDX-License-Identifier: GPL-2.0-only
/* READY and COMMIT: what is made durable before the source is told, and what is taken back. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "commit.h"
#include "log.h"
#include "restored_notes.h"
#include "session.h"

/*
 * The source tells COMMIT when its tasks are dead: on a disk that is full by then it must be stored
 * all the same.  This file is there from READY on, and goes to make room.
 */
#define ROOM (64 << 10)

static int keep_room(const struct mfd_session *s)
{
	int fd, ret;

	fd = openat(s->dirfd, MFD_SESSION_ROOM_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return -errno;
	do
		ret = -posix_fallocate(fd, 0, ROOM);
	while (ret == -EINTR);
	close(fd);
	if (ret)
		unlinkat(s->dirfd, MFD_SESSION_ROOM_FILE, 0);
	return ret;
}

static int refuse_ready(struct mfd_session *s, struct mfd_trouble *t, const char *text)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(atomic_load(&s->sealed));
	s->times.ready_us = 0;
	atomic_store_explicit(&s->sealed, 0, memory_order_release);
	return mfd_trouble(t, MFD_TROUBLE_LINK, -EIO, "%s", text);
}

int mfd_commit_ready(struct mfd_session *s, struct mfd_trouble *t)
{
	char text[MFD_SPACE_TEXT + 64];
	struct mfd_error err = { 0 };

	mfd_assert(mfd_session_in(s, MFD_PHASES_UNVERIFIED));
	mfd_assert(s->phase != MFD_PHASE_QUEUED);
	atomic_store_explicit(&s->sealed, 1, memory_order_release);
	if (mfd_filesink_sync(&s->files, &err) || mfd_pagestore_sync(s->store))
		return refuse_ready(s, t,
				    err.code ? mfd_error_text(&err) : "page store: fsync failed");
	s->times.ready_us = mfd_clean_now_us();
	if (keep_room(s) || mfd_session_advance(s, MFD_PHASE_READY))
		return refuse_ready(s, t, mfd_session_unwritten(s, text));
	return 0;
}

int mfd_commit_store(struct mfd_session *s, struct mfd_trouble *t)
{
	char text[MFD_SPACE_TEXT + 64];
	int doubt = s->in_doubt, ret;

	mfd_assert(mfd_session_in(s, MFD_PHASES_UNDECIDED));
	mfd_assert(!s->over);
	s->times.committed_us = mfd_clean_now_us();
	mfd_session_doubt(s, 0);
	s->error[0] = 0;
	ret = mfd_session_advance(s, MFD_PHASE_COMMITTED);
	if (!unlinkat(s->dirfd, MFD_SESSION_ROOM_FILE, 0) && ret)
		ret = mfd_session_advance(s, MFD_PHASE_COMMITTED);
	if (!ret)
		return 0;
	/*
	 * The source is dead and nothing was acknowledged: a person, or the source's next RESUME,
	 * can still decide.
	 */
	s->times.committed_us = 0;
	mfd_session_doubt(s, doubt);
	keep_room(s);
	return mfd_trouble(t, MFD_TROUBLE_LINK, -EIO, "the commit could not be stored: %s",
			   mfd_session_unwritten(s, text));
}

void mfd_commit_stands_alone(struct mfd_session *s)
{
	int ret;

	mfd_assert(s->copy == MFD_COPY_INSTALLED);
	mfd_assert(s->plan->early || mfd_rules_only_copy(s));
	ret = mfd_notes_add(s->dirfd, MFD_NOTE_COMPLETE);
	if (ret) { /* they are held until the commit */
		mfd_log_error("%s: %s: %s", s->name, MFD_NOTES_FILE, strerror(-ret));
		return;
	}
	mfd_guard_withdraw_all(&s->server->guard, &s->restore.holds, s->name);
	pthread_mutex_lock(&s->lock);
	s->deposits.all = 0;
	pthread_mutex_unlock(&s->lock);
	s->copy = MFD_COPY_ALONE;
	s->stop_seen = 0; /* a server that is to end has waited for this */
	mfd_log_info("%s: every page is in the %s tasks", s->name,
		     s->plan->early ? "stopped" : "restored");
}
