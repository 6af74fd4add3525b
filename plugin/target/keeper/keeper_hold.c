// SPDX-License-Identifier: GPL-2.0-only
/* What the keeper holds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "keeperproc.h"
#include "log.h"

void mfd_keeper_enter(struct mfd_keeper *k, enum mfd_keeper_phase phase)
{
	mfd_assert(phase <= MFD_KEEPER_STOPPING);
	mfd_assert(phase != MFD_KEEPER_SERVING || k->phase != MFD_KEEPER_SERVING);
	if (k->phase != MFD_KEEPER_STOPPING)
		k->phase = phase;
}

struct mfd_kept *mfd_keeper_find(struct mfd_keeper *k, const char *session)
{
	struct mfd_kept *s;

	for (s = k->sessions; s; s = s->next) {
		if (!strcmp(s->name, session))
			return s;
	}
	return NULL;
}

int mfd_keeper_make(struct mfd_keeper *k, const char *session, struct mfd_kept **out)
{
	const struct mfd_cpr_options owns = { .flags = MFD_CPR_OWNS_FDS };
	struct mfd_kept *s = mfd_keeper_find(k, session);

	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return -ENOMEM;
		s->kept = mfd_cpr_new(&owns);
		s->offered = mfd_cpr_new(&owns);
		if (!s->kept || !s->offered) {
			mfd_cpr_free(s->kept);
			mfd_cpr_free(s->offered);
			free(s);
			return -ENOMEM;
		}
		snprintf(s->name, sizeof(s->name), "%s", session);
		s->image_dir = s->sock = -1;
		s->next = k->sessions;
		k->sessions = s;
	}
	mfd_assert(s->kept && s->offered);
	mfd_assert((s->sock < 0) == (s->image_dir < 0));
	s->used_ms = mfd_io_now_ms();
	*out = s;
	return 0;
}

int mfd_keeper_add(struct mfd_cpr *t, const char *name, uint64_t id, int fd, uint64_t since_ms)
{
	struct mfd_kept_since *since = malloc(sizeof(*since));
	int ret;

	if (!since)
		return -ENOMEM;
	since->ms = since_ms;
	ret = mfd_cpr_add(t, name, id, fd, since);
	if (ret)
		free(since);
	return ret;
}

static void detach(struct mfd_kept *s)
{
	if (s->image_dir >= 0)
		unlinkat(s->image_dir, MFD_KEEPER_SESSION_SOCKET, 0);
	mfd_io_close(&s->image_dir);
	mfd_io_close(&s->sock);
}

int mfd_keeper_listen_in(struct mfd_kept *s, int image_dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int sock, ret = 0;

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" MFD_KEEPER_SESSION_SOCKET,
		 image_dir);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	detach(s);
	unlinkat(image_dir, MFD_KEEPER_SESSION_SOCKET, 0);
	mask = umask(0177);
	if (bind(sock, (struct sockaddr *)&a, sizeof(a)) || listen(sock, 128))
		ret = -errno;
	umask(mask);
	if (ret) {
		close(sock);
		return ret;
	}
	mfd_assert(s->image_dir < 0 && s->sock < 0);
	mfd_assert(image_dir >= 0);
	s->image_dir = image_dir;
	s->sock = sock;
	return 0;
}

void mfd_keeper_remove(struct mfd_keeper *k, struct mfd_kept *s)
{
	struct mfd_kept **p;

	for (p = &k->sessions; *p != s; p = &(*p)->next)
		mfd_assert(*p != NULL);
	mfd_assert(s->kept && s->offered);
	*p = s->next;
	detach(s);
	mfd_cpr_free(s->kept);
	mfd_cpr_free(s->offered);
	free(s);
}

/* A session that the restore server still has (its folder exists) may be restored however late. */
static int is_due(const struct mfd_keeper *k, const struct mfd_kept *s, uint64_t now)
{
	struct stat st;

	if (!mfd_cpr_count(s->kept) && !mfd_cpr_count(s->offered))
		return now - s->used_ms > 10000; /* an open .cpr.sock: its restore goes on */
	return k->keep_ms && now - s->used_ms > k->keep_ms &&
	       fstatat(k->dirfd, s->name, &st, AT_SYMLINK_NOFOLLOW);
}

void mfd_keeper_expire(struct mfd_keeper *k)
{
	struct mfd_kept *s, *next;
	uint64_t now = mfd_io_now_ms();

	for (s = k->sessions; s; s = next) {
		next = s->next;
		if (!is_due(k, s, now))
			continue;
		if (mfd_keeper_held(k))
			mfd_log_debug("%s: closed after %llu s", s->name,
				      (unsigned long long)(now - s->used_ms) / 1000);
		if (mfd_cpr_count(s->kept))
			mfd_log_warn(
				"%s: %zu descriptors kept for too long without a restore, closed",
				s->name, mfd_cpr_count(s->kept));
		mfd_keeper_remove(k, s);
	}
}

size_t mfd_keeper_held(const struct mfd_keeper *k)
{
	const struct mfd_kept *s;
	size_t n = 0;

	for (s = k->sessions; s; s = s->next)
		n += mfd_cpr_count(s->kept) + mfd_cpr_count(s->offered);
	return n;
}
