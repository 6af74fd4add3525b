// SPDX-License-Identifier: GPL-2.0-only
/*
 * What another user of the host has put under our names: it is refused, left alone, never waited
 * for; and the stores in /dev/shm bear it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "memfs.h"
#include "options.h"
#include "ours.h"

#define OTHER_USER 65534
#define STORE	   "pages.store"

struct folder {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	if (geteuid())
		skip();
	strcpy(f->path, "/tmp/mfd-ours-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct folder *f = *state;
	char cmd[96];

	close(f->fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->path);
	assert_int_equal(system(cmd), 0);
	free(f);
	return 0;
}

/* Run `make` as a user without rights, in the folder. */
static void as_other(const char *folder, int (*make)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		umask(0);
		if (chdir(folder) || setgroups(0, NULL) || setgid(OTHER_USER) || setuid(OTHER_USER))
			_exit(2);
		_exit(make() ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int make_traps(void)
{
	return mkfifo("fifo", 0666) || mkdir("dir", 0755) || symlink("/etc/passwd", "link") ||
	       symlink("/etc", "dirlink") || close(open("file", O_CREAT | O_WRONLY, 0666));
}

static void test_refused(void **state)
{
	struct folder *f = *state;
	char *text;
	int fd;

	assert_int_equal(fchmod(f->fd, 01777), 0);
	as_other(f->path, make_traps);
	assert_int_equal(mfd_ours_file(f->fd, "fifo", O_RDONLY, 0), -EPERM);
	assert_int_equal(mfd_ours_file(f->fd, "fifo", O_WRONLY | O_CREAT, 0600), -EPERM);
	assert_int_equal(mfd_io_read_file(f->fd, "fifo", 100, &text, NULL), -EPERM);
	assert_int_equal(mfd_ours_file(f->fd, "link", O_RDWR | O_CREAT, 0600), -EPERM);
	assert_int_equal(mfd_ours_file(f->fd, "file", O_RDWR, 0), -EPERM);
	assert_int_equal(mfd_ours_dir(f->fd, "dir"), -EPERM);
	assert_int_equal(mfd_ours_make_dir(f->fd, "dirlink"), -EPERM);
	assert_int_equal(mfd_ours_dir(f->fd, "absent"), -ENOENT);
	assert_int_equal(mfd_ours_dir(f->fd, "../etc"), -EINVAL);
	assert_int_equal(mfd_ours_dir(f->fd, ".."), -EINVAL);

	fd = mfd_ours_make_dir(f->fd, "mine");
	assert_true(fd >= 0);
	close(fd);
	fd = mfd_ours_file(f->fd, "own", O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	/* A second name, and one that others may write to. */
	assert_int_equal(linkat(f->fd, "own", f->fd, "second", 0), 0);
	assert_int_equal(mfd_ours_file(f->fd, "own", O_RDONLY, 0), -EPERM);
	assert_int_equal(unlinkat(f->fd, "second", 0), 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	assert_int_equal(mfd_ours_file(f->fd, "own", O_RDONLY, 0), -EPERM);
	close(fd);
}

static int make_way(void)
{
	return mkdir("theirs", 0755) || mkdir("theirs/dir", 0777);
}

static void path_refused(const char *folder, const char *path)
{
	struct mfd_error err = { 0 };

	assert_int_equal(mfd_ours_path(path, &err), -EPERM);
	if (!strstr(err.text, folder) || !strstr(err.text, "other users"))
		fail_msg("\"%s\" does not name %s", err.text, folder);
}

static void test_path(void **state)
{
	struct folder *f = *state;
	struct mfd_error err = { 0 };
	char path[128], theirs[96];
	struct stat st;
	int fd;

	assert_int_equal(mkdirat(f->fd, "deep", 0700), 0);
	assert_int_equal(symlinkat("deep", f->fd, "way"), 0);
	snprintf(path, sizeof(path), "%s/way", f->path);
	fd = mfd_ours_path(path, &err);
	assert_true(fd >= 0);
	close(fd);
	fd = mfd_ours_path("/", &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mfd_ours_path("/nowhere/at/all", &err), -ENOENT);
	path_refused("/tmp", "/tmp"); /* for all, also if it is sticky */

	assert_int_equal(fchmod(f->fd, 01777), 0);
	/* Files of ours, none of them the mark. */
	assert_int_equal(mfd_ours_claim(f->path, ".mark", &err), -EPERM);
	close(mfd_ours_file(f->fd, ".mark", O_CREAT | O_WRONLY, 0600));
	fd = mfd_ours_claim(f->path, ".mark", &err);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	close(fd);

	assert_int_equal(fchmod(f->fd, 01777), 0);
	as_other(f->path, make_way);
	assert_int_equal(mfd_ours_claim(f->path, ".mark", NULL), -EPERM);
	snprintf(theirs, sizeof(theirs), "%s/theirs", f->path);
	path_refused(theirs, theirs);
	snprintf(path, sizeof(path), "%s/root", theirs);
	assert_int_equal(mkdir(path, 0700), 0); /* the next one can be replaced by them */
	path_refused(theirs, path);
}

/* A configuration says what root does. */
static void test_config(void **state)
{
	struct folder *f = *state;
	struct mfd_error err = { 0 };
	struct mfd_options o;
	char path[96];

	mfd_options_init(&o);
	snprintf(path, sizeof(path), "%s/conf", f->path);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	assert_int_equal(mfd_options_from_file(&o, path, &err), 0);
	assert_int_equal(chown(path, OTHER_USER, 0), 0);
	assert_int_equal(mfd_options_from_file(&o, path, &err), -EPERM);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(mfd_options_from_file(&o, path, NULL), -EPERM);
	/* A group is other users, but for root's own. */
	assert_int_equal(chmod(path, 0664), 0);
	assert_int_equal(mfd_options_from_file(&o, path, NULL), 0);
	assert_int_equal(chown(path, 0, OTHER_USER), 0);
	assert_int_equal(mfd_options_from_file(&o, path, NULL), -EPERM);
	assert_int_equal(mfd_options_from_file(&o, "/dev/null", NULL), 0);
	/* As `migrate` hands one on. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd_create("conf", 0));
	assert_int_equal(mfd_options_from_file(&o, path, NULL), 0);
	mfd_options_free(&o);
}

/* ---- stores ---- */

static int create(const struct folder *f, char path[256])
{
	int fd = mfd_memfs_create(f->path, STORE, 0, path, 256);

	assert_true(fd >= 0);
	assert_int_equal(unlinkat(f->fd, STORE, 0) && errno != ENOENT, 0);
	assert_int_equal(symlinkat(path, f->fd, STORE), 0);
	return fd;
}

static int trap_shm(void)
{
	return mkdir("criu-multifd-zzfifo", 0755) || mkfifo("criu-multifd-zzfifo/owner", 0666) ||
	       symlink(getenv("MFD_TEST_VICTIM"), "criu-multifd-zzlink");
}

static void untrap_shm(void)
{
	unlink("/dev/shm/criu-multifd-zzfifo/owner");
	rmdir("/dev/shm/criu-multifd-zzfifo");
	unlink("/dev/shm/criu-multifd-zzlink");
}

/*
 * A FIFO where a store's owner would be, and a link to the folder of a store that is needed:
 * neither making a store nor looking for old ones waits, or removes what is needed.
 */
static void test_traps(void **state)
{
	struct folder *f = *state;
	char path[256], again[256], victim[256];
	int fd, other;

	fd = create(f, path);
	snprintf(victim, sizeof(victim), "%.*s", (int)(strrchr(path, '/') - path), path);
	setenv("MFD_TEST_VICTIM", victim, 1);
	untrap_shm();
	as_other("/dev/shm", trap_shm);
	close(fd); /* no process has it open: only its folder's link says that it is needed */
	alarm(20);
	mfd_memfs_tidy(STORE, 1);
	other = mfd_memfs_create(f->path, STORE, 0, again, sizeof(again));
	assert_true(other >= 0);
	close(other);
	assert_int_equal(mfd_memfs_remove(again), 0);
	alarm(0);
	assert_int_equal(access(path, F_OK), 0);
	untrap_shm();
	fd = mfd_memfs_open(path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mfd_memfs_remove(path), 0);
	assert_int_equal(access(victim, F_OK), -1);
}

static int take_name(void)
{
	return mkdir("criu-multifd", 0777) || mkdir("criu-multifd/evil", 0777);
}

/* In a process of its own, which has no ancestor: its /dev/shm is the outermost. */
static int with_name_taken(const char *folder)
{
	char path[256];
	int fd;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/proc", "proc", 0, NULL) ||
	    mount("none", "/dev/shm", "tmpfs", 0, "mode=1777"))
		return 77;
	as_other("/dev/shm", take_name);
	fd = mfd_memfs_create(folder, STORE, 0, path, sizeof(path));
	if (fd < 0 || strstr(path, "/criu-multifd/"))
		return 1;
	close(fd);
	fd = mfd_memfs_open(path);
	if (fd < 0 || access(path, F_OK))
		return 2;
	close(fd);
	return mfd_memfs_remove(path) || !access(path, F_OK) ? 3 : 0;
}

static int in_namespaces(const char *folder)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID | CLONE_NEWNS))
		return 77;
	pid = fork();
	if (!pid)
		_exit(with_name_taken(folder));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

/* The name of our folder is taken by another user: nothing is put where they may write. */
static void test_taken(void **state)
{
	struct folder *f = *state;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(in_namespaces(f->path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* One that an earlier version has made is opened, found useless when it is so, and removed. */
static void test_old(void **state)
{
	struct folder *f = *state;
	char dir[] = "/dev/shm/criu-multifd-XXXXXX", path[96], owner[96], text[128];
	struct stat st;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/" STORE, dir);
	snprintf(owner, sizeof(owner), "%s/owner", dir);
	assert_int_equal(stat("/proc/self/ns/mnt", &st), 0);
	snprintf(text, sizeof(text), "%llu %s", (unsigned long long)st.st_ino, f->path);
	fd = open(owner, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlinkat(path, f->fd, STORE), 0);

	fd = mfd_memfs_open(path);
	assert_true(fd >= 0);
	close(fd);
	mfd_memfs_tidy(STORE, 1);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlinkat(f->fd, STORE, 0), 0);
	assert_true(mfd_memfs_tidy(STORE, 1) >= 1);
	assert_int_equal(access(dir, F_OK), -1);
}

/* Needed: what a process has open, and what belongs to a file system that is not there. */
static void test_tidy(void **state)
{
	struct folder *f = *state;
	char path[256], mounted[96];
	int fd;

	fd = create(f, path);
	assert_int_equal(unlinkat(f->fd, STORE, 0), 0);
	mfd_memfs_tidy(STORE, 0);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	mfd_memfs_tidy(STORE, 0);
	assert_int_equal(access(path, F_OK), -1);

	snprintf(mounted, sizeof(mounted), "%s/session", f->path);
	if (mount("none", f->path, "tmpfs", 0, NULL))
		skip();
	assert_int_equal(mkdir(mounted, 0700), 0);
	fd = mfd_memfs_create(mounted, STORE, 0, path, sizeof(path));
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(umount2(f->path, MNT_DETACH), 0);
	mfd_memfs_tidy(STORE, 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(mfd_memfs_remove(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_traps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tidy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
