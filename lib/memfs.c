// SPDX-License-Identifier: GPL-2.0-only
/* Named files in memory with huge pages, mounted where they outlive us. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "memfs.h"
#include "ours.h"
#include "procfile.h"

#define SHM	   "/dev/shm"
#define IN_BASE	   SHM "/" MFD_MEMFS_BASE "/" /* and six characters: the folder of a file */
#define IN_SHM	   SHM "/" MFD_MEMFS_BASE "-" /* likewise */
#define RANDOM	   6
#define OWNER	   "owner"
#define HALF_MADE  600	  /* seconds that making one never takes */
#define MAX_LOOKED 100000 /* names of /dev/shm that are looked at */

/* ---- which mount namespace ---- */

static ino_t mount_ns_of(int pid, char *path, size_t len)
{
	snprintf(path, len, "/proc/%d/ns/mnt", pid);
	return mfd_procfile_namespace(pid, "mnt");
}

/*
 * The mount namespace of the outermost ancestor that may be looked at: a descriptor, or -1 when it
 * is our own.  Found anew each time: a server that was reparented has left the shell that made a
 * namespace for it.
 */
static int outer_ns(void)
{
	char path[40], best[40] = "";
	ino_t own = mount_ns_of(getpid(), path, sizeof(path));

	for (int pid = getppid(); pid > 0; pid = mfd_procfile_parent(pid)) {
		ino_t ns = mount_ns_of(pid, path, sizeof(path));

		if (ns)
			strcpy(best, ns == own ? "" : path);
	}
	return *best ? open(best, O_RDONLY | O_CLOEXEC) : -1;
}

struct job {
	/* a descriptor, 0, or -errno; in a forked child: system calls only */
	int (*run)(struct job *j);
	const char *owner, *name;
	int need_huge, everywhere;
	char path[256]; /* in or out */
};

struct answer {
	int ret, has_fd;
	char path[256];
};

static void child(struct job *j, int ns, int sock)
{
	struct answer a = { 0 };
	int fd = -1;

	a.ret = setns(ns, CLONE_NEWNS) ? -errno : j->run(j);
	if (a.ret > 0) {
		fd = a.ret;
		a.has_fd = 1;
		a.ret = 0;
	}
	snprintf(a.path, sizeof(a.path), "%s", j->path);
	mfd_io_send_fds(sock, &a, sizeof(a), &fd, fd >= 0);
	_exit(0);
}

/*
 * Run the job in that namespace, by a child: threads that share their working directory may not
 * change it.
 */
static int run_in(struct job *j, int ns)
{
	struct answer a;
	int pair[2], fds[MFD_IO_MAX_FDS], nfds = MFD_IO_MAX_FDS;
	ssize_t n;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		child(j, ns, pair[1]);
	close(pair[1]);
	n = pid < 0 ? -errno : mfd_io_recv_fds(pair[0], &a, sizeof(a), fds, &nfds);
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (n != (ssize_t)sizeof(a))
		return n < 0 ? (int)n : -EIO;
	snprintf(j->path, sizeof(j->path), "%s", a.path);
	return a.has_fd && nfds ? fds[0] : a.ret;
}

static int run(struct job *j)
{
	int ns = outer_ns(), ret;

	if (ns < 0)
		return j->run(j);
	ret = run_in(j, ns);
	close(ns);
	return ret;
}

/* ---- where they are ---- */

/* The folder of one file, and the folder that it is in. */
struct place {
	int parent;
	char prefix[sizeof(IN_BASE)]; /* of its path, up to the six characters */
	char folder[sizeof(MFD_MEMFS_BASE "-") + RANDOM]; /* its name in `parent` */
};

static int open_shm(void)
{
	int fd = open(SHM, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (mfd_ours_is_safe(fd))
		return fd;
	close(fd);
	return -EPERM;
}

static int open_base(int make)
{
	int shm = open_shm(), fd;

	if (shm < 0)
		return shm;
	fd = make ? mfd_ours_make_dir(shm, MFD_MEMFS_BASE) : mfd_ours_dir(shm, MFD_MEMFS_BASE);
	close(shm);
	return fd;
}

static int place_in(struct place *p, int in_base, const char *six)
{
	strcpy(p->prefix, in_base ? IN_BASE : IN_SHM);
	snprintf(p->folder, sizeof(p->folder), "%s%.*s", in_base ? "" : MFD_MEMFS_BASE "-", RANDOM,
		 six);
	p->parent = in_base ? open_base(0) : open_shm();
	return p->parent < 0 ? p->parent : 0;
}

static int tells(const char *path, const char *prefix)
{
	const char *six = path + strlen(prefix), *name = six + RANDOM + 1;

	return !strncmp(path, prefix, strlen(prefix)) && strcspn(six, "/") == RANDOM &&
	       six[RANDOM] == '/' && *name && *name != '.' && !strchr(name, '/');
}

/* -EINVAL for a path that create cannot have made. */
static int place_of(struct place *p, const char *path)
{
	if (tells(path, IN_BASE))
		return place_in(p, 1, path + strlen(IN_BASE));
	return tells(path, IN_SHM) ? place_in(p, 0, path + strlen(IN_SHM)) : -EINVAL;
}

/* Make a folder of a new name in p->parent and open it. */
static int make_folder(struct place *p)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	char *six = p->folder + strlen(p->folder);
	uint8_t r[RANDOM];

	for (int tries = 0; tries < 100; tries++) {
		if (getrandom(r, sizeof(r), 0) != sizeof(r))
			return -errno;
		for (int i = 0; i < RANDOM; i++)
			six[i] = letters[r[i] % (sizeof(letters) - 1)];
		six[RANDOM] = 0;
		if (!mkdirat(p->parent, p->folder, 0700))
			return mfd_ours_dir(p->parent, p->folder);
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int new_place(struct place *p)
{
	p->parent = open_base(1);
	strcpy(p->prefix, p->parent < 0 ? IN_SHM : IN_BASE);
	strcpy(p->folder, p->parent < 0 ? MFD_MEMFS_BASE "-" : "");
	if (p->parent < 0)
		p->parent = open_shm();
	return p->parent < 0 ? p->parent : make_folder(p);
}

static void path_in(const struct place *p, const char *name, char *path, size_t len)
{
	snprintf(path, len, "%s%s/%s", p->prefix, p->folder + strlen(p->folder) - RANDOM, name);
}

/* ---- jobs ---- */

static int write_owner(int dir, const char *owner)
{
	char text[PATH_MAX + 64], own[40];
	struct stat st = { 0 };
	int fd, n;

	fd = mfd_ours_file(dir, OWNER, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	stat(owner, &st);
	n = snprintf(text, sizeof(text), "%llu:%llu %s",
		     (unsigned long long)mount_ns_of(getpid(), own, sizeof(own)),
		     (unsigned long long)st.st_dev, owner);
	n = n < (int)sizeof(text) ? mfd_io_write_all(fd, text, (size_t)n) : -ENAMETOOLONG;
	close(fd);
	return n;
}

/* Everything of a file; what cannot be removed any more is an error only if it is there. */
static int remove_place(const struct place *p, const char *name)
{
	int dir = mfd_ours_dir(p->parent, p->folder);
	char self[40];

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	unlinkat(dir, name, 0);
	unlinkat(dir, OWNER, 0);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir);
	umount2(self, MNT_DETACH); /* fails where nothing was mounted */
	close(dir);
	return unlinkat(p->parent, p->folder, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

/* Mount a file system over the folder `dir`; the descriptor of its root, or -errno. */
static int mount_over(const struct place *p, int dir)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir);
	if (mount("criu-multifd", self, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "huge=always,mode=0700,size=90%"))
		return -errno;
	return mfd_ours_dir(p->parent, p->folder);
}

/*
 * The file is locked before it has an owner, and as long as a process has it open: tidy, of another
 * process, may look at any moment, and without an owner it spares what is young, with one what is
 * locked.
 */
static int make_file(int dir, const struct job *j)
{
	int fd = mfd_ours_file(dir, j->name, O_RDWR | O_CREAT | O_EXCL, 0600), ret;

	if (fd < 0)
		return fd;
	ret = flock(fd, LOCK_SH) ? -errno : write_owner(dir, j->owner);
	if (ret)
		close(fd);
	return ret ? ret : fd;
}

/* dir: the folder, open.  The file's descriptor or -errno. */
static int fill_place(const struct place *p, int dir, const struct job *j)
{
	int over = mount_over(p, dir), in = over >= 0 ? over : dir, fd;

	fd = over < 0 && j->need_huge ? over : make_file(in, j);
	if (over >= 0)
		close(over);
	return fd;
}

static int create_job(struct job *j)
{
	struct place p;
	int dir = new_place(&p), fd = dir;

	if (dir >= 0) {
		fd = fill_place(&p, dir, j);
		close(dir);
		if (fd < 0)
			remove_place(&p, j->name);
		path_in(&p, j->name, j->path, sizeof(j->path));
	}
	mfd_io_close(&p.parent);
	return fd;
}

static int open_job(struct job *j)
{
	struct place p;
	int ret = place_of(&p, j->path), dir;

	if (ret)
		return ret;
	dir = mfd_ours_dir(p.parent, p.folder);
	ret = dir < 0 ? dir : mfd_ours_file(dir, strrchr(j->path, '/') + 1, O_RDWR, 0);
	if (ret >= 0)
		flock(ret, LOCK_SH);
	mfd_io_close(&dir);
	mfd_io_close(&p.parent);
	return ret;
}

static int remove_job(struct job *j)
{
	struct place p;
	int ret = place_of(&p, j->path);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = remove_place(&p, strrchr(j->path, '/') + 1);
	close(p.parent);
	return ret;
}

/* ---- what no session needs any more ---- */

/*
 * A folder is gone: was it removed, or is its file system not there just now?  dev: of that file
 * system, 0 = not known.
 */
static int was_removed(char *path, unsigned long long dev)
{
	struct stat st;
	char *slash;

	while (dev && (slash = strrchr(path, '/'))) {
		*slash = 0;
		if (!stat(*path ? path : "/", &st))
			return st.st_dev == dev;
	}
	return 1;
}

/* Does the folder `owner` still link to the file at `path`? */
static int is_linked(char *owner, const char *name, const char *path, unsigned long long dev)
{
	char link[PATH_MAX + NAME_MAX + 2], target[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "%s/%s", owner, name);
	n = readlink(link, target, sizeof(target) - 1);
	if (n > 0)
		target[n] = 0;
	if (n > 0)
		return !strcmp(target, path);
	return (errno != ENOENT && errno != ENOTDIR) || !was_removed(owner, dev);
}

/*
 * Does the folder that this file was made for still link to it?  Cannot be told of another mount
 * namespace: then yes.
 */
static int is_needed(const struct place *p, int owner, const char *name)
{
	char text[PATH_MAX + 64], path[256], own[40], *end;
	ssize_t n = read(owner, text, sizeof(text) - 1);
	unsigned long long ns, dev = 0;

	if (n <= 0)
		return 1;
	text[n] = 0;
	ns = strtoull(text, &end, 10);
	if (*end == ':')
		dev = strtoull(end + 1, &end, 10);
	if (*end != ' ' || ns != mount_ns_of(getpid(), own, sizeof(own)))
		return 1;
	path_in(p, name, path, sizeof(path));
	return is_linked(end + 1, name, path, dev);
}

static int is_busy(int dir, const char *name)
{
	int fd = mfd_ours_file(dir, name, O_RDONLY, 0), busy;

	busy = fd < 0 ? fd != -ENOENT : flock(fd, LOCK_EX | LOCK_NB);
	mfd_io_close(&fd);
	return busy;
}

/* A process that was killed before it had written whose it is. */
static int is_half_made(int dir, const char *name)
{
	struct stat st;

	return !fstat(dir, &st) && time(NULL) - st.st_ctime > HALF_MADE && !is_busy(dir, name);
}

static int tidy_one(const struct place *p, const char *name)
{
	int dir = mfd_ours_dir(p->parent, p->folder), owner, useless;

	if (dir < 0)
		return 0;
	owner = mfd_ours_file(dir, OWNER, O_RDONLY, 0);
	useless = owner >= 0 ? !is_needed(p, owner, name) && !is_busy(dir, name) :
			       owner == -ENOENT && is_half_made(dir, name);
	mfd_io_close(&owner);
	close(dir);
	return useless && !remove_place(p, name);
}

/* Every folder of a file in `p->parent`; its name begins with `begin`. */
static int tidy_in(struct place *p, const char *begin, const char *name)
{
	int fd = openat(p->parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0, looked = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)) && looked++ < MAX_LOOKED) {
		if (strncmp(e->d_name, begin, strlen(begin)) ||
		    strlen(e->d_name) != strlen(begin) + RANDOM)
			continue;
		strcpy(p->folder, e->d_name);
		n += tidy_one(p, name);
	}
	if (d)
		closedir(d);
	return n;
}

static int tidy_job(struct job *j)
{
	struct place p;
	int n = 0;

	if (!place_in(&p, 1, "")) {
		n += tidy_in(&p, "", j->name);
		close(p.parent);
	}
	if (j->everywhere && !place_in(&p, 0, "")) {
		n += tidy_in(&p, MFD_MEMFS_BASE "-", j->name);
		close(p.parent);
	}
	return -n; /* a positive result would be a descriptor */
}

/* ---- outside ---- */

int mfd_memfs_create(const char *owner, const char *name, int need_huge, char *path, size_t len)
{
	struct job j = { .run = create_job, .owner = owner, .name = name, .need_huge = need_huge };
	int fd = run(&j);

	if (fd >= 0)
		snprintf(path, len, "%s", j.path);
	return fd;
}

static int run_at(int (*job)(struct job *j), const char *path)
{
	struct job j = { .run = job };

	if (!tells(path, IN_BASE) && !tells(path, IN_SHM))
		return -EINVAL;
	snprintf(j.path, sizeof(j.path), "%s", path);
	return run(&j);
}

int mfd_memfs_open(const char *path)
{
	return run_at(open_job, path);
}

int mfd_memfs_remove(const char *path)
{
	return run_at(remove_job, path);
}

int mfd_memfs_tidy(const char *name, int everywhere)
{
	struct job j = { .run = tidy_job, .name = name, .everywhere = everywhere };
	int ns = outer_ns(), ret;

	/*
	 * The owner's folder is looked at in our own namespace, the files are in the outer one:
	 * only where both are one.
	 */
	if (ns >= 0) {
		close(ns);
		return 0;
	}
	ret = j.run(&j);
	return ret < 0 ? -ret : 0;
}
