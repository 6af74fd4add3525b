// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the target lacks of what the process needs: asked of its server, over a connection that
 * opens no session, before anything is frozen.
 *
 * A target that cannot be reached, or refuses, says so again when the session is opened, in words
 * that are about the session: here it is left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "io.h"
#include "life.h"
#include "migrate_probe.h"
#include "procfile.h"
#include "secure.h"
#include "size.h"
#include "sock.h"
#include "wire.h"

#define CHECK_MS   5000	 /* to connect, and to answer */
#define MOVE_MS	   3000	 /* one that is slower is asked by check alone */
#define LOOK_MS	   50	 /* for a signal, meanwhile */
#define MOST_BYTES 40960 /* of one message: a server takes 64 KiB */
#define MOST_PIDS  4096	 /* likewise */

static const char *const faults[] = {
	[MFD__PROBE_FAULT__MISSING] = "is not there",
	[MFD__PROBE_FAULT__KIND] = "is no file, or no folder, there",
	[MFD__PROBE_FAULT__SIZE] = "has another size there",
	[MFD__PROBE_FAULT__BUILD] = "is another build there (build id)",
};

struct probe {
	struct mfd_migrate *m;
	struct mfd_check *c;
	struct mfd_control control;
	unsigned ms;		/* for each step */
	size_t files, pids;	/* that were answered for */
	size_t n_files, n_pids; /* in the message under way */
};

static int dial(struct probe *q, struct mfd_error *err)
{
	const struct mfd_options *o = &q->m->o;
	struct mfd_conn_config cfg = { .connect_ms = o->connect_timeout, .stall_ms = q->ms };
	struct mfd_wire_greeting g = { .role = MFD_WIRE_ROLE_CONTROL };
	struct mfd_sock_addr to;
	int ret = mfd_sock_parse(o->target, 0, &to, err);

	if (!cfg.connect_ms || cfg.connect_ms > q->ms)
		cfg.connect_ms = q->ms;
	mfd_control_init(&q->control);
	ret = ret ? ret : mfd_secure_load(o, &cfg.security, err);
	ret = ret ? ret : mfd_conn_connect(&q->control.conn, &to, -1, NULL, &cfg, err);
	if (ret)
		return ret;
	mfd_wire_greeting_seal(&g);
	return mfd_conn_send(&q->control.conn, &g, sizeof(g), 0);
}

/* As many files as one message holds, from q->files on: how many. */
static size_t fill_files(const struct probe *q, Mfd__ProbeFile *files, Mfd__ProbeFile **list)
{
	const struct mfd_wants *w = &q->c->wants;
	size_t n = 0, bytes = 0;

	for (; q->files + n < w->n; n++) {
		struct mfd_want *f = &w->file[q->files + n];

		bytes += strlen(f->path) + f->id_len + 32;
		if (n && bytes > MOST_BYTES)
			break;
		mfd__probe_file__init(&files[n]);
		files[n].path = f->path;
		files[n].size = f->size;
		files[n].has_size = !f->unsized;
		files[n].has_folder = files[n].has_grows = 1;
		files[n].folder = f->folder;
		files[n].grows = f->grows;
		files[n].has_build_id = f->id_len > 0;
		files[n].build_id = (ProtobufCBinaryData){ f->id_len, f->id };
		list[n] = &files[n];
	}
	return n;
}

static size_t fill_ports(const struct mfd_wants *w, Mfd__ProbePort ports[MFD_WANTS_PORTS],
			 Mfd__ProbePort *list[MFD_WANTS_PORTS])
{
	for (size_t i = 0; i < w->n_ports; i++) {
		mfd__probe_port__init(&ports[i]);
		ports[i].address = (ProtobufCBinaryData){ w->port[i].len, w->port[i].address };
		ports[i].port = w->port[i].port;
		list[i] = &ports[i];
	}
	return w->n_ports;
}

static int ask(struct probe *q, Mfd__ProbeFile *files, Mfd__ProbeFile **list)
{
	Mfd__ProbePort ports[MFD_WANTS_PORTS], *port_list[MFD_WANTS_PORTS];
	const struct mfd_wants *w = &q->c->wants;
	Mfd__Probe p = MFD__PROBE__INIT;
	char boot[MFD_LIFE_BOOT];

	p.n_file = q->n_files = fill_files(q, files, list);
	p.file = list;
	if (!q->files && !q->pids) {
		p.n_port = fill_ports(w, ports, port_list);
		p.port = port_list;
		p.net_ns = mfd_procfile_own_namespace("net");
		p.has_net_ns = p.net_ns != 0;
	}
	q->n_pids = w->n_pids - q->pids < MOST_PIDS ? w->n_pids - q->pids : MOST_PIDS;
	if (q->files + q->n_files < w->n) /* after the files */
		q->n_pids = 0;
	p.pid = w->pid + q->pids;
	p.n_pid = q->n_pids;
	p.has_confirm_restore = 1;
	p.confirm_restore = q->m->o.confirm == MFD_CONFIRM_RESTORE;
	if (!mfd_life_boot(boot))
		p.boot_id = boot;
	return mfd_control_send(&q->control, MFD_WIRE_PROBE, &p.base);
}

/*
 * CRIU would not get by without it.  What is open may be offered there (cpr offer) or closed by
 * then, and what is written may have the right size; options of criu may say another place.
 */
static int is_certain(const struct probe *q, const struct mfd_want *f)
{
	static const char *const elsewhere[] = { "external", "root", "file-validation",
						 "inherit-fd" };

	for (int i = 0; i < q->m->n_criu_args; i++)
		for (size_t o = 0; o < sizeof(elsewhere) / sizeof(*elsewhere); o++)
			if (mfd_migrate_is_option(q->m->criu_args[i], elsewhere[o]))
				return 0;
	return f->stays && !f->grows;
}

static void take_files(const struct probe *q, const Mfd__Probed *r)
{
	const struct mfd_wants *w = &q->c->wants;

	for (size_t i = 0; i < r->n_file; i++) {
		size_t at = q->files + r->file[i]->index, fault = r->file[i]->fault;
		char size[MFD_SIZE_TEXT], here[48] = "";

		if (at >= w->n || fault >= sizeof(faults) / sizeof(*faults) || !faults[fault])
			continue;
		if (fault == MFD__PROBE_FAULT__SIZE)
			snprintf(here, sizeof(here), " than %s",
				 mfd_size_text(w->file[at].size, size));
		mfd_check_add(q->c,
			      is_certain(q, &w->file[at]) ? MFD_FOUND_THERE_FILE :
							    MFD_FOUND_THERE_OPEN,
			      0, "%.160s %s%s", w->file[at].path, faults[fault], here);
	}
}

/* A file system may not answer there: then the others are not looked at either. */
static void take_unseen(const struct probe *q, const Mfd__Probed *r)
{
	const struct mfd_wants *w = &q->c->wants;

	if (!r->has_looked_at)
		return;
	for (size_t i = r->looked_at; i < q->n_files && q->files + i < w->n; i++)
		mfd_check_add(q->c, MFD_FOUND_THERE_UNSEEN, 0,
			      i == r->looked_at ? "%.160s could not be looked at in %.1f s" :
						  "%.160s was not looked at after that (%.1f s)",
			      w->file[q->files + i].path, r->looked_ms / 1000.0);
}

static void take(struct probe *q, const Mfd__Probed *r)
{
	if (!q->files && !q->pids) {
		mfd_migrate_probe_host(q->m, q->c, r);
		mfd_migrate_probe_ports(q->c, r);
	}
	take_files(q, r);
	take_unseen(q, r);
	for (size_t i = 0; i < r->n_pid; i++)
		mfd_check_add(q->c, MFD_FOUND_THERE_PID, 0, "number %u", r->pid[i]);
	q->files += q->n_files;
	q->pids += q->n_pids;
}

/*
 * Until it answers, or a person will not wait: migrate's signals are blocked, and seen to when CRIU
 * is started.
 */
static int await(struct probe *q)
{
	uint64_t now = mfd_io_now_ms(), end = now + q->ms;
	sigset_t pending;
	int ret = 0;

	while (!ret && now < end) {
		sigpending(&pending);
		if (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM))
			return -EINTR;
		ret = mfd_conn_wait(&q->control.conn, LOOK_MS);
		now = mfd_io_now_ms();
	}
	return ret < 0 ? ret : ret ? 0 : -ETIMEDOUT;
}

/* 0, or -errno: -EPROTONOSUPPORT: it is too old to answer. */
static int hear(struct probe *q, struct mfd_error *err)
{
	ProtobufCMessage *msg = NULL;
	unsigned type = 0;
	int ret = await(q);

	ret = ret ? ret : mfd_control_recv(&q->control, &type, &msg, NULL);

	if (!ret && type == MFD_WIRE_PROBED)
		take(q, (const Mfd__Probed *)msg);
	else if (!ret && type == MFD_WIRE_ABORT && ((const Mfd__Abort *)msg)->code == -EPROTO)
		ret = -EPROTONOSUPPORT;
	else if (!ret && type == MFD_WIRE_ABORT)
		ret = mfd_error_set(err, -EPERM, "%.400s", ((const Mfd__Abort *)msg)->reason);
	else if (!ret)
		ret = -EPROTO;
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

static int converse(struct probe *q, struct mfd_error *err)
{
	const struct mfd_wants *w = &q->c->wants;
	Mfd__ProbeFile *files = calloc(w->n + 1, sizeof(*files));
	Mfd__ProbeFile **list = calloc(w->n + 1, sizeof(*list));
	int ret = files && list ? 0 : -ENOMEM;

	do {
		ret = ret ? ret : ask(q, files, list);
		ret = ret ? ret : hear(q, err);
	} while (!ret && (q->files < w->n || q->pids < w->n_pids));
	free(files);
	free(list);
	return ret;
}

int mfd_migrate_probe(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err)
{
	struct probe q = { .m = m, .c = c };
	int ret;

	q.ms = m->is_check ? CHECK_MS : MOVE_MS;
	if (m->timeout_ms && m->timeout_ms / 4 < q.ms) /* it begins with the move itself */
		q.ms = (unsigned)(m->timeout_ms / 4) + 1;
	ret = dial(&q, err);

	ret = ret ? ret : converse(&q, err);
	mfd_control_close(&q.control);
	return ret;
}
