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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "memfs.h"
#include "procfile.h"

#define OWNER "owner"

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
	int need_huge;
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

/* ---- jobs ---- */

static int write_owner(const char *dir, const char *owner)
{
	char path[PATH_MAX], text[PATH_MAX + 32], own[40];
	int fd, n;

	snprintf(path, sizeof(path), "%s/" OWNER, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = snprintf(text, sizeof(text), "%llu %s",
		     (unsigned long long)mount_ns_of(getpid(), own, sizeof(own)), owner);
	n = mfd_io_write_all(fd, text, (size_t)n);
	close(fd);
	return n;
}

static int create_job(struct job *j)
{
	char dir[] = MFD_MEMFS_PREFIX "XXXXXX";
	int fd;

	if (!mkdtemp(dir))
		return -errno;
	if (mount("criu-multifd", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "huge=always,mode=0700,size=90%") &&
	    j->need_huge) {
		fd = -errno;
		rmdir(dir);
		return fd;
	}
	snprintf(j->path, sizeof(j->path), "%s/%s", dir, j->name);
	fd = write_owner(dir, j->owner);
	if (!fd)
		fd = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		fd = fd == -1 ? -errno : fd;
		umount2(dir, MNT_DETACH);
		rmdir(dir);
	} else {
		flock(fd, LOCK_SH); /* held while a process has it open: see tidy */
	}
	return fd;
}

static int open_job(struct job *j)
{
	int fd = open(j->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	flock(fd, LOCK_SH);
	return fd;
}

static int remove_job(struct job *j)
{
	char dir[256], owner[256 + 8];

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(j->path, '/') - j->path), j->path);
	if (unlink(j->path) && errno != ENOENT)
		return -errno;
	snprintf(owner, sizeof(owner), "%s/" OWNER, dir);
	unlink(owner);
	umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW); /* fails where nothing was mounted */
	return rmdir(dir) && errno != ENOENT ? -errno : 0;
}

/*
 * Does the folder that this file was made for still link to it?  Cannot be told of another mount
 * namespace: then yes.
 */
static int is_needed(const char *dir, const char *name)
{
	char path[PATH_MAX], link[PATH_MAX + 64], target[PATH_MAX], own[40], *text = NULL, *owner;
	size_t len;
	ssize_t n;
	int needed = 1;

	snprintf(path, sizeof(path), "%s/" OWNER, dir);
	if (mfd_io_read_file(AT_FDCWD, path, PATH_MAX + 32, &text, &len))
		return 1;
	owner = strchr(text, ' ');
	if (owner && strtoull(text, NULL, 10) == mount_ns_of(getpid(), own, sizeof(own))) {
		snprintf(link, sizeof(link), "%s/%s", owner + 1, name);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		n = readlink(link, target, sizeof(target) - 1);
		if (n > 0)
			target[n] = 0;
		needed = n > 0 ? !strcmp(target, path) : errno != ENOENT && errno != ENOTDIR;
	}
	free(text);
	return needed;
}

static int tidy_one(const char *dir, const char *name)
{
	struct job j = { 0 };
	int fd, busy;

	if (is_needed(dir, name))
		return 0;
	if ((size_t)snprintf(j.path, sizeof(j.path), "%s/%s", dir, name) >= sizeof(j.path))
		return 0;
	fd = open(j.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	busy = fd < 0 ? errno != ENOENT : flock(fd, LOCK_EX | LOCK_NB);
	if (fd >= 0)
		close(fd);
	return !busy && !remove_job(&j);
}

static int tidy_job(struct job *j)
{
	const char *base = strrchr(MFD_MEMFS_PREFIX, '/') + 1;
	char dir[32 + NAME_MAX];
	struct dirent *e;
	DIR *d = opendir("/dev/shm");
	int n = 0;

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, base, strlen(base)))
			continue;
		snprintf(dir, sizeof(dir), "/dev/shm/%s", e->d_name);
		n += tidy_one(dir, j->name);
	}
	if (d)
		closedir(d);
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

/*
 * PREFIX, six characters, '/', a name: any process that may write to its folder could have made a
 * link.
 */
static int may_be_ours(const char *path)
{
	size_t n = strlen(MFD_MEMFS_PREFIX);

	return !strncmp(path, MFD_MEMFS_PREFIX, n) && strcspn(path + n, "/") == 6 &&
	       path[n + 6] == '/' && path[n + 7] && path[n + 7] != '.' &&
	       !strchr(path + n + 7, '/');
}

int mfd_memfs_open(const char *path)
{
	struct job j = { .run = open_job };

	if (!may_be_ours(path))
		return -EINVAL;
	snprintf(j.path, sizeof(j.path), "%s", path);
	return run(&j);
}

int mfd_memfs_remove(const char *path)
{
	struct job j = { .run = remove_job };

	if (!may_be_ours(path))
		return -EINVAL;
	snprintf(j.path, sizeof(j.path), "%s", path);
	return run(&j);
}

int mfd_memfs_tidy(const char *name)
{
	struct job j = { .run = tidy_job, .name = name };
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
