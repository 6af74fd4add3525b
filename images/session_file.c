// SPDX-License-Identifier: GPL-2.0-only
/* session.img and the tombstones of aborted sessions: see session_file.h for names and rules. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entry_file.h"
#include "evidence_file.h"
#include "session_file.h"

/* A name from a folder or a person: one component, and none of ours that begin with a dot. */
static int name_ok(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX;
}

static int ended_name(char *buf, const char *name, const char *suffix)
{
	return !name_ok(name) || snprintf(buf, NAME_MAX + 1, "%s.%s", name, suffix) > NAME_MAX ?
		       -ENAMETOOLONG :
		       0;
}

int mfd_session_file_store(int sessiondirfd, const Mfd__SessionEntry *e, int sync)
{
	Mfd__SessionEntry copy = *e; /* shallow: only the format is set */

	return mfd_entry_file_write(sessiondirfd, MFD_SESSION_FILE_NAME, &copy, sync);
}

int mfd_session_file_load(int sessiondirfd, Mfd__SessionEntry **e, const char **why)
{
	return mfd_entry_file_read(sessiondirfd, MFD_SESSION_FILE_NAME, e, why);
}

void mfd_session_file_free(Mfd__SessionEntry *e)
{
	if (e)
		mfd__session_entry__free_unpacked(e, NULL);
}

/* It had images, and its source has not ended it by itself. */
static int is_worth_keeping(const Mfd__SessionEntry *e)
{
	return mfd_evidence_file_is_needed(e) && !e->told;
}

/* DIR/.ended, made if it is to be; >= 0 or -errno. */
static int open_ended(int dirfd, int make)
{
	int fd;

	if (make && mkdirat(dirfd, MFD_SESSION_FILE_ENDED, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, MFD_SESSION_FILE_ENDED, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int mfd_session_file_matters(int dirfd, const char *name)
{
	struct mfd_session_file f;
	int ret = mfd_session_file_find_ended(dirfd, name, &f);

	if (ret)
		return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
	ret = f.entry				 ? is_worth_keeping(f.entry) :
	      mfd_entry_file_is_strange(f.error) ? 0 :
						   f.error;
	mfd_session_file_release(&f);
	return ret;
}

/* What is there of an earlier session of that name stays, and `e` is not written in its place. */
static int stands_before(int dirfd, const char *name, const Mfd__SessionEntry *e)
{
	char path[sizeof(MFD_SESSION_FILE_BEFORE) + NAME_MAX + 1];

	if (mfd_evidence_file_is_needed(e))
		return 0;
	snprintf(path, sizeof(path), MFD_SESSION_FILE_BEFORE "/%s", name);
	return !faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) || errno != ENOENT ||
	       mfd_session_file_matters(dirfd, name);
}

static int remove_one(int ended, const char *name, const char *suffix)
{
	char file[NAME_MAX + 1];

	if (ended_name(file, name, suffix))
		return -ENAMETOOLONG;
	return unlinkat(ended, file, 0) && errno != ENOENT ? -errno : 0;
}

int mfd_session_file_bury(int dirfd, const char *name, const Mfd__SessionEntry *e)
{
	Mfd__SessionEntry copy = *e; /* shallow */
	const char *suffix = stands_before(dirfd, name, e) ? "late" : "img";
	char file[NAME_MAX + 1], seen[NAME_MAX + 1];
	int fd, ret;

	if (ended_name(file, name, suffix) || ended_name(seen, name, "seen"))
		return -ENAMETOOLONG;
	copy.state = MFD__SESSION_STATE__ABORTED;
	copy.has_secret = 0;
	ret = mfd_evidence_file_keep(dirfd, &copy);
	if (ret)
		return ret;
	fd = open_ended(dirfd, 1);
	if (fd < 0)
		return fd;
	/*
	 * The mark goes first: mark and tombstone written within one tick of the clock bear the
	 * same time, and the new tombstone must not pass for reported.
	 */
	if (!strcmp(suffix, "img"))
		unlinkat(fd, seen, 0);
	ret = mfd_entry_file_write(fd, file, &copy, 1);
	if (!ret && !strcmp(suffix, "img"))
		ret = remove_one(fd, name, "late");
	close(fd);
	return ret;
}

/* Tombstone and what lies beside it. */
static int remove_ended(int dirfd, const char *name)
{
	static const char *const suffixes[] = { "img", "seen", "late" };
	int fd = open_ended(dirfd, 0), ret = 0, one;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		one = remove_one(fd, name, suffixes[i]);
		ret = ret ? ret : one;
	}
	close(fd);
	return ret;
}

int mfd_session_file_exhume(int dirfd, const char *name)
{
	struct mfd_session_file f;
	int ret = mfd_session_file_find_ended(dirfd, name, &f);

	if (ret)
		return ret == -ENOENT ? 0 : ret == -EINVAL ? -ENAMETOOLONG : ret;
	/* Of a program that did not keep evidence by its id. */
	ret = f.entry				 ? mfd_evidence_file_keep_first(dirfd, f.entry) :
	      mfd_entry_file_is_strange(f.error) ? 0 :
						   f.error;
	mfd_session_file_release(&f);
	return ret ? ret : remove_ended(dirfd, name);
}

int mfd_session_file_mark_seen(int dirfd, const char *name, const struct timespec *mtime)
{
	struct timespec times[2] = { *mtime, *mtime };
	char seen[NAME_MAX + 1];
	int ended, fd, ret;

	if (ended_name(seen, name, "seen"))
		return -ENAMETOOLONG;
	ended = open_ended(dirfd, 0);
	if (ended < 0)
		return ended;
	fd = openat(ended, seen, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	ret = fd < 0 || futimens(fd, times) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	close(ended);
	return ret;
}

static int older(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/*
 * Read dirfd/file into `f`; a file that cannot be understood is an entry without content. -ENOENT
 * and -ENOMEM are failures.
 */
static int fill(struct mfd_session_file *f, int dirfd, const char *file, const char *name)
{
	const char *why = NULL;
	struct stat st;
	int ret;

	memset(f, 0, sizeof(*f));
	if (fstatat(dirfd, file, &st, 0))
		return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
	ret = mfd_entry_file_read(dirfd, file, &f->entry, &why);
	if (ret == -ENOENT)
		return ret;
	f->error = ret;
	f->mtime = st.st_mtim;
	f->name = strdup(name);
	if (ret)
		f->why = strdup(why ? why : strerror(-ret));
	if (f->name && (f->entry || f->why))
		return 0;
	mfd_session_file_release(f);
	return -ENOMEM;
}

static int fill_live(struct mfd_session_file *f, int dirfd, const char *name)
{
	char path[NAME_MAX + sizeof("/" MFD_SESSION_FILE_NAME)];

	snprintf(path, sizeof(path), "%s/%s", name, MFD_SESSION_FILE_NAME);
	return fill(f, dirfd, path, name);
}

static int fill_ended(struct mfd_session_file *f, int ended, const char *name)
{
	char file[NAME_MAX + 1];
	struct stat st;
	int ret = ended_name(file, name, "img");

	if (ret) /* no session of that name can have a tombstone */
		return -ENOENT;
	ret = fill(f, ended, file, name);
	if (ret)
		return ret;
	f->ended = 1;
	if (!ended_name(file, name, "seen") && !fstatat(ended, file, &st, AT_SYMLINK_NOFOLLOW))
		f->seen = !older(&st.st_mtim, &f->mtime);
	return 0;
}

/* What of SESSION.late belongs to this record: best effort, it is for people. */
static void fill_later(struct mfd_session_file *f, int ended)
{
	struct mfd_session_file t;
	char file[NAME_MAX + 1];

	if (!f->entry || (!f->ended && f->entry->state != MFD__SESSION_STATE__DONE) ||
	    ended_name(file, f->name, "late") || fill(&t, ended, file, f->name))
		return;
	f->later = strdup(t.entry && t.entry->error ? t.entry->error : "?");
	f->later_mtime = t.mtime;
	mfd_session_file_release(&t);
}

int mfd_session_file_find_ended(int dirfd, const char *name, struct mfd_session_file *f)
{
	int ended, ret;

	memset(f, 0, sizeof(*f));
	if (!name_ok(name))
		return -EINVAL;
	ended = open_ended(dirfd, 0);
	if (ended < 0)
		return ended;
	ret = fill_ended(f, ended, name);
	if (!ret)
		fill_later(f, ended);
	close(ended);
	return ret;
}

int mfd_session_file_find(int dirfd, const char *name, struct mfd_session_file *f)
{
	int ret, ended;

	memset(f, 0, sizeof(*f));
	if (!name_ok(name))
		return -EINVAL;
	ret = fill_live(f, dirfd, name);
	if (ret == -ENOENT)
		return mfd_session_file_find_ended(dirfd, name, f);
	ended = ret ? -ENOENT : open_ended(dirfd, 0);
	if (ended >= 0) {
		fill_later(f, ended);
		close(ended);
	}
	return ret;
}

void mfd_session_file_release(struct mfd_session_file *f)
{
	free(f->name);
	free(f->why);
	free(f->later);
	mfd_session_file_free(f->entry);
	memset(f, 0, sizeof(*f));
}

struct list {
	struct mfd_session_file *v;
	size_t n, room;
};

static int list_add(struct list *l, struct mfd_session_file *f)
{
	struct mfd_session_file *more;

	if (l->n == l->room) {
		more = reallocarray(l->v, l->room + 16, sizeof(*more));
		if (!more) {
			mfd_session_file_release(f);
			return -ENOMEM;
		}
		l->v = more;
		l->room += 16;
	}
	l->v[l->n++] = *f;
	return 0;
}

/* A name in DIR: a session's folder, most likely. */
static int visit_live(struct list *l, int dirfd, const char *name)
{
	struct mfd_session_file f;
	int ret = name_ok(name) ? fill_live(&f, dirfd, name) : -ENOENT;

	return ret ? (ret == -ENOENT ? 0 : ret) : list_add(l, &f);
}

/*
 * A name in DIR/.ended; `dirfd` is DIR/.ended.  A live session of the same name wins when the list
 * is sorted.
 */
static int visit_ended(struct list *l, int dirfd, const char *name)
{
	struct mfd_session_file f;
	size_t len = strlen(name);
	char session[NAME_MAX + 1];
	int ret;

	if (*name == '.' || len <= 4 || strcmp(name + len - 4, ".img"))
		return 0;
	snprintf(session, sizeof(session), "%.*s", (int)len - 4, name);
	ret = fill_ended(&f, dirfd, session);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	fill_later(&f, dirfd);
	return list_add(l, &f);
}

static int walk(int dirfd, struct list *l,
		int (*visit)(struct list *l, int dirfd, const char *name))
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret) {
		errno = 0;
		d = readdir(dir);
		if (!d) {
			ret = -errno;
			break;
		}
		ret = visit(l, dirfd, d->d_name);
	}
	closedir(dir);
	return ret;
}

static int by_name(const void *a, const void *b)
{
	const struct mfd_session_file *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : x->ended - y->ended;
}

/* After sorting a live session stands before the tombstone it hides. */
static void drop_hidden(struct list *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (kept && l->v[i].ended && !strcmp(l->v[kept - 1].name, l->v[i].name))
			mfd_session_file_release(&l->v[i]);
		else
			l->v[kept++] = l->v[i];
	}
	l->n = kept;
}

int mfd_session_file_list(int dirfd, struct mfd_session_file **list, size_t *n)
{
	struct list l = { 0 };
	int ended, ret = walk(dirfd, &l, visit_live);

	*list = NULL;
	*n = 0;
	ended = ret ? -ENOENT : open_ended(dirfd, 0);
	if (ended >= 0) {
		for (size_t i = 0; i < l.n; i++)
			fill_later(&l.v[i], ended);
		ret = walk(ended, &l, visit_ended);
		close(ended);
	} else if (ended != -ENOENT) {
		ret = ended;
	}
	if (ret) {
		mfd_session_file_list_free(l.v, l.n);
		return ret;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	drop_hidden(&l);
	*list = l.v;
	*n = l.n;
	return 0;
}

void mfd_session_file_list_free(struct mfd_session_file *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mfd_session_file_release(&list[i]);
	free(list);
}

const char *mfd_session_file_state(Mfd__SessionState state)
{
	const ProtobufCEnumValue *v =
		protobuf_c_enum_descriptor_get_value(&mfd__session_state__descriptor, state);

	return v ? v->name : "?";
}

/* ---- old tombstones ---- */

static int newest_first(const void *a, const void *b)
{
	const struct mfd_session_file *x = a, *y = b;

	return older(&x->mtime, &y->mtime) - older(&y->mtime, &x->mtime);
}

int mfd_session_file_expire(int dirfd, uint64_t seconds, unsigned most)
{
	int ended = open_ended(dirfd, 0), ret;
	struct list l = { 0 };
	struct timespec now;

	if (ended < 0)
		return ended == -ENOENT ? 0 : ended;
	ret = walk(ended, &l, visit_ended);
	close(ended);
	clock_gettime(CLOCK_REALTIME, &now);
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), newest_first);
	for (size_t i = 0; !ret && i < l.n; i++) {
		int64_t age = (int64_t)now.tv_sec - l.v[i].mtime.tv_sec;

		if (seconds && age > (int64_t)seconds)
			ret = remove_ended(dirfd, l.v[i].name);
		else if (i >= most)
			ret = mfd_session_file_exhume(dirfd, l.v[i].name);
	}
	mfd_session_file_list_free(l.v, l.n);
	return ret ? ret : mfd_evidence_file_expire(dirfd, seconds);
}
