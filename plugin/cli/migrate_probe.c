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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "life.h"
#include "migrate_path.h"
#include "migrate_probe.h"
#include "migrate_talk.h"
#include "procfile.h"
#include "size.h"

#define CHECK_MS   4000	 /* to connect, and to answer; a server waits for 5 s */
#define MOVE_MS	   3000	 /* one that is slower is asked by check alone */
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
	struct mfd_migrate_talk talk;
	uint32_t padding_max;	/* of full-sized packets; 0: it does not know */
	size_t files, pids;	/* that were answered for */
	size_t n_files, n_pids; /* in the message under way */
};

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
	return mfd_migrate_talk_ask(&q->talk, &p);
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
	for (size_t i = r->looked_at; i < q->n_files && q->files + i < w->n; i++) {
		const char *path = w->file[q->files + i].path;

		if (!r->has_looked_ms)
			mfd_check_add(q->c, MFD_FOUND_THERE_UNSEEN, 0,
				      "%.160s was not looked at: no process could look just now",
				      path);
		else
			mfd_check_add(q->c, MFD_FOUND_THERE_UNSEEN, 0,
				      i == r->looked_at ?
					      "%.160s could not be looked at in %.1f s" :
					      "%.160s was not looked at after that (%.1f s)",
				      path, r->looked_ms / 1000.0);
	}
}

static void take(struct probe *q, const Mfd__Probed *r)
{
	if (!q->files && !q->pids) {
		mfd_migrate_probe_host(q->m, q->c, r);
		mfd_migrate_probe_ports(q->c, r);
		q->padding_max = r->has_padding_max ? r->padding_max : 0;
	}
	take_files(q, r);
	take_unseen(q, r);
	for (size_t i = 0; i < r->n_pid; i++)
		mfd_check_add(q->c, MFD_FOUND_THERE_PID, 0, "number %u", r->pid[i]);
	q->files += q->n_files;
	q->pids += q->n_pids;
}

static int converse(struct probe *q, struct mfd_error *err)
{
	const struct mfd_wants *w = &q->c->wants;
	Mfd__ProbeFile *files = calloc(w->n + 1, sizeof(*files));
	Mfd__ProbeFile **list = calloc(w->n + 1, sizeof(*list));
	int ret = files && list ? 0 : -ENOMEM;
	Mfd__Probed *r = NULL;

	do {
		ret = ret ? ret : ask(q, files, list);
		ret = ret ? ret : mfd_migrate_talk_hear(&q->talk, &r, err);
		if (r)
			take(q, r);
		mfd_migrate_talk_free(&r);
	} while (!ret && (q->files < w->n || q->pids < w->n_pids));
	free(files);
	free(list);
	return ret;
}

int mfd_migrate_probe(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err)
{
	struct probe q = { .m = m, .c = c };
	unsigned ms = m->is_check ? CHECK_MS : MOVE_MS;
	int ret;

	if (m->timeout_ms && m->timeout_ms / 4 < ms) /* it begins with the move itself */
		ms = (unsigned)(m->timeout_ms / 4) + 1;
	ret = mfd_migrate_talk_open(&q.talk, m, ms, err);

	ret = ret ? ret : converse(&q, err);
	ret = ret ? ret : mfd_migrate_path_try(&q.talk, q.padding_max);
	if (ret == -ETIMEDOUT)
		ret = mfd_migrate_path_blame(&q.talk, c);
	mfd_migrate_talk_close(&q.talk);
	return ret;
}
