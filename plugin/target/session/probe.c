// SPDX-License-Identifier: GPL-2.0-only
/*
 * PROBE and PROBED.  Nothing is made of it and nothing is kept: a look at this host, at paths that
 * a peer names, which may open sessions here and so may have its tasks open them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buildid.h"
#include "fskind.h"
#include "life.h"
#include "log.h"
#include "owner.h"
#include "permit.h"
#include "probe.h"
#include "probe_host.h"
#include "server.h"

#define MAX_PROBES 64 /* on one connection */

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

static int try_api(int fd)
{
	struct uffdio_api api = { .api = UFFD_API };
	int ret = ioctl(fd, UFFDIO_API, &api) ? -errno : 0;

	close(fd);
	return ret;
}

int mfd_probe_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), ret = -errno, dev;

	if (fd >= 0)
		return try_api(fd);
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return ret;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	close(dev);
	return fd < 0 ? ret : try_api(fd);
}

/* ---- files ---- */

/* Not through /proc/PID/fd and the like, which lead elsewhere than paths do. */
static int open_path(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

/* Reading some of these does something. */
static int is_kernels(int fd)
{
	static const unsigned long kinds[] = { PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC,
					       TRACEFS_MAGIC };

	return mfd_fskind_may_be(fd, kinds, sizeof(kinds) / sizeof(*kinds));
}

/* Open it again for reading, by what is open already: nothing has taken its place. */
static int has_another_id(int path_fd, const Mfd__ProbeFile *want)
{
	uint8_t id[MFD_BUILDID_MAX];
	char path[40];
	size_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0;
	len = mfd_buildid_read(fd, id);
	close(fd);
	if (!len) /* CRIU is content with the size then */
		return 0;
	return len != want->build_id.len || memcmp(id, want->build_id.data, len);
}

static int has_another_size(const struct stat *st, const Mfd__ProbeFile *want)
{
	uint64_t size = (uint64_t)st->st_size;

	if (!want->has_size)
		return 0;
	return want->grows ? size < want->size : size != want->size;
}

/* 0: as it should be; or what is wrong (control.proto). */
static int look_at_file(const Mfd__ProbeFile *want)
{
	struct stat st;
	int fd, ret = 0;

	if (want->path[0] != '/')
		return 0;
	fd = open_path(want->path);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? MFD__PROBE_FAULT__MISSING : 0;
	if (fstat(fd, &st) || is_kernels(fd)) {
		close(fd);
		return 0;
	}
	if (want->folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		ret = MFD__PROBE_FAULT__KIND;
	else if (want->folder)
		ret = 0;
	else if (has_another_size(&st, want)) /* as CRIU: the size first, then the build id */
		ret = MFD__PROBE_FAULT__SIZE;
	else if (want->has_build_id && want->build_id.len)
		ret = has_another_id(fd, want) ? MFD__PROBE_FAULT__BUILD : 0;
	close(fd);
	return ret;
}

/*
 * What root may see here is for a peer whose tasks could be root here.  And options of the server's
 * own may have CRIU look elsewhere, or less.
 */
static int looks_here(const struct mfd_server *sv, const Mfd__Probe *m)
{
	static const char *const elsewhere[] = { "--root", "-r", "--external", "--inherit-fd",
						 "--file-validation" };

	for (size_t i = 0; m->confirm_restore && i < sv->criu.n_options; i++)
		for (size_t o = 0; o < sizeof(elsewhere) / sizeof(*elsewhere); o++)
			if (!strncmp(sv->criu.options[i], elsewhere[o], strlen(elsewhere[o])))
				return 0;
	return 1;
}

static int add_files(Mfd__Probed *r, const struct mfd_server *sv, const Mfd__Probe *m)
{
	r->file = calloc(m->n_file + 1, sizeof(*r->file));
	for (size_t i = 0; r->file && i < m->n_file && looks_here(sv, m); i++) {
		int fault = look_at_file(m->file[i]);
		Mfd__ProbedFile *f = fault ? malloc(sizeof(*f)) : NULL;

		if (!f)
			continue;
		mfd__probed_file__init(f);
		f->index = (uint32_t)i;
		f->fault = (Mfd__ProbeFault)fault;
		r->file[r->n_file++] = f;
	}
	return r->file ? 0 : -ENOMEM;
}

/* ---- numbers ---- */

/*
 * Where the server restores, in its own pid namespace; a person may do so in another one.  On one
 * and the same machine the source's own processes have them, and are gone by then.
 */
static int pids_matter(const struct mfd_server *sv, const Mfd__Probe *m)
{
	char boot[MFD_LIFE_BOOT];

	if (m->confirm_restore)
		return !sv->criu.own_pids;
	return !m->boot_id || mfd_life_boot(boot) || strcmp(boot, m->boot_id) != 0;
}

static int add_pids(Mfd__Probed *r, const struct mfd_server *sv, const Mfd__Probe *m)
{
	r->pid = calloc(m->n_pid + 1, sizeof(*r->pid));
	for (size_t i = 0; r->pid && pids_matter(sv, m) && i < m->n_pid; i++)
		if (m->pid[i] && m->pid[i] <= INT32_MAX &&
		    (!kill((pid_t)m->pid[i], 0) || errno == EPERM))
			r->pid[r->n_pid++] = m->pid[i];
	return r->pid ? 0 : -ENOMEM;
}

/* ---- the answer ---- */

static void release(Mfd__Probed *r)
{
	for (size_t i = 0; i < r->n_file; i++)
		free(r->file[i]);
	free(r->file);
	free(r->pid);
	free(r->userfaultfd);
	mfd_probe_host_free(r);
}

static int answer(struct mfd_peer *p, const Mfd__Probe *m, int trusted)
{
	Mfd__Probed r = MFD__PROBED__INIT;
	int ret, no = mfd_probe_userfaultfd();
	int passes = no == -EMFILE || no == -ENFILE || no == -ENOMEM || no == -EINTR;

	mfd_probe_host(&r, p->server);
	if (no && !passes)
		r.userfaultfd = strdup(strerror(-no));
	ret = trusted ? add_files(&r, p->server, m) : 0;
	ret = ret || !trusted ? ret : add_pids(&r, p->server, m);
	ret = ret || !trusted ? ret : mfd_probe_ports(&r, p->server, m);
	ret = ret ? ret : mfd_control_send(&p->control, MFD_WIRE_PROBED, &r.base);
	release(&r);
	return ret;
}

/* One that may open no session learns nothing of this host. */
static int may_ask(struct mfd_peer *p, int *trusted, struct mfd_error *err)
{
	struct mfd_owner owner = { .rights = NULL };
	int ret;

	mfd_owner_of(&owner, p);
	ret = mfd_permit_probe(&owner, err);
	*trusted = p->server->restore && mfd_permit_is_root(&owner);
	mfd_owner_release(&owner);
	return ret;
}

/* The next one, of a peer that has its deadline again. */
static int next(struct mfd_peer *p, ProtobufCMessage **msg)
{
	unsigned type = 0;
	int ret;

	mfd_peer_answered(p);
	*msg = NULL;
	ret = mfd_control_recv(&p->control, &type, msg, NULL);
	mfd_peer_serve(p);
	if (!ret && type != MFD_WIRE_PROBE)
		ret = -EPROTO;
	return ret;
}

void mfd_probe_main(struct mfd_peer *p, const Mfd__Probe *first)
{
	struct mfd_error err = { 0 };
	ProtobufCMessage *msg = NULL;
	int trusted, ret = may_ask(p, &trusted, &err);

	if (ret)
		mfd_control_send_abort(&p->control, ret, mfd_error_text(&err));
	for (unsigned i = 0; !ret && i < MAX_PROBES; i++) {
		ret = answer(p, msg ? (const Mfd__Probe *)msg : first, trusted);
		protobuf_c_message_free_unpacked(msg, NULL);
		msg = NULL;
		ret = ret ? ret : next(p, &msg);
	}
	protobuf_c_message_free_unpacked(msg, NULL);
	mfd_peer_answered(p);
	mfd_log_debug("%s: looked at what this host has", p->text);
}
