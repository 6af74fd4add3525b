// SPDX-License-Identifier: GPL-2.0-only
/*
 * PROBE and PROBED.  Nothing is made of it and nothing is kept: a look at this host, at paths that
 * a peer names, which may open sessions here and so may have its tasks open them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "life.h"
#include "log.h"
#include "owner.h"
#include "permit.h"
#include "probe.h"
#include "probe_host.h"
#include "probe_look.h"
#include "server.h"

#define MAX_PROBES  64		/* on one connection */
#define MAX_PADDING (60U << 10) /* bytes: a message of a source has 64 KiB at most */

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

static void add_fault(Mfd__Probed *r, size_t i, unsigned fault)
{
	Mfd__ProbedFile *f = fault && fault <= MFD__PROBE_FAULT__BUILD ? malloc(sizeof(*f)) : NULL;

	if (!f)
		return;
	mfd__probed_file__init(f);
	f->index = (uint32_t)i;
	f->fault = (Mfd__ProbeFault)fault;
	r->file[r->n_file++] = f;
}

static int add_files(Mfd__Probed *r, const struct mfd_peer *p, const Mfd__Probe *m)
{
	uint8_t *faults = calloc(m->n_file + 1, 1);
	size_t n = 0;

	r->file = calloc(m->n_file + 1, sizeof(*r->file));
	if (!r->file || !faults) {
		free(faults);
		return -ENOMEM;
	}
	if (m->n_file && looks_here(p->server, m)) {
		uint64_t begun = mfd_io_now_ms(), ms;

		n = mfd_probe_look(m, p->share, faults);
		ms = mfd_io_now_ms() - begun;
		r->has_looked_at = n < m->n_file;
		r->looked_at = (uint32_t)n;
		r->looked_ms = (uint32_t)ms;
		/* else it was not the time: other looks hang, or none could be begun */
		r->has_looked_ms = r->has_looked_at && ms >= MFD_PROBE_LOOK_MS;
	}
	for (size_t i = 0; i < n; i++)
		add_fault(r, i, faults[i]);
	free(faults);
	return 0;
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
	if (!r->pid || !pids_matter(sv, m))
		return r->pid ? 0 : -ENOMEM;
	for (size_t i = 0; i < m->n_pid; i++)
		if (m->pid[i] && m->pid[i] <= INT32_MAX &&
		    (!kill((pid_t)m->pid[i], 0) || errno == EPERM))
			r->pid[r->n_pid++] = m->pid[i];
	return 0;
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

/*
 * Whether full-sized packets cross: nothing is looked at, so that what takes long is the path.  The
 * answer is as long as the peer asks, which one that may open no session never reaches.
 */
static int answer_padding(struct mfd_peer *p, const Mfd__Probe *m)
{
	static const uint8_t padding[MAX_PADDING];
	Mfd__Probed r = MFD__PROBED__INIT;
	size_t n = m->answer_padding < MAX_PADDING ? m->answer_padding : MAX_PADDING;

	r.has_padding_max = r.has_padding = 1;
	r.padding_max = MAX_PADDING;
	r.padding = (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)padding };
	return mfd_control_send(&p->control, MFD_WIRE_PROBED, &r.base);
}

static int answer(struct mfd_peer *p, const Mfd__Probe *m, int trusted)
{
	Mfd__Probed r = MFD__PROBED__INIT;
	int ret, no = mfd_probe_userfaultfd();
	int passes = no == -EMFILE || no == -ENFILE || no == -ENOMEM || no == -EINTR;

	mfd_probe_host(&r, p->server);
	r.has_padding_max = 1;
	r.padding_max = MAX_PADDING;
	if (no && !passes)
		r.userfaultfd = strdup(strerror(-no));
	ret = trusted ? add_files(&r, p, m) : 0;
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
		const Mfd__Probe *m = msg ? (const Mfd__Probe *)msg : first;

		ret = m->has_padding || m->has_answer_padding ? answer_padding(p, m) :
								answer(p, m, trusted);
		protobuf_c_message_free_unpacked(msg, NULL);
		msg = NULL;
		ret = ret ? ret : next(p, &msg);
	}
	protobuf_c_message_free_unpacked(msg, NULL);
	mfd_peer_answered(p);
	mfd_log_debug("%s: looked at what this host has", p->text);
}
