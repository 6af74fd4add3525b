// SPDX-License-Identifier: GPL-2.0-only
/* The keeper's requests, described in lib/keeper_client.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "keeperproc.h"
#include "log.h"

/* Sends the answer itself. */
#define ANSWERED 1

static int begin(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	struct mfd_kept *s;
	int ret = mfd_keeper_make(k, m->session, &s);

	(void)fd;
	(void)client;
	return ret ? ret : mfd_cpr_clear(s->kept);
}

static int put(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	struct mfd_kept *s;
	int ret = *fd < 0 ? -EBADF : mfd_keeper_make(k, m->session, &s);

	(void)client;
	if (ret)
		return ret;
	if (m->type == MFD_KEEPER_PUT)
		mfd_cpr_delete_fd(s->kept, m->name, m->id);
	ret = mfd_keeper_add(m->type == MFD_KEEPER_PUT ? s->kept : s->offered, m->name, m->id, *fd,
			     mfd_io_now_ms());
	if (!ret)
		*fd = -1;
	return ret;
}

static int look_up(const struct mfd_kept *s, const char *name, uint64_t id, uint32_t *flags)
{
	int fd = mfd_cpr_find_fd(s->kept, name, id);

	*flags = MFD_KEEPER_KEPT;
	if (fd >= 0)
		return fd;
	*flags = MFD_KEEPER_OFFERED;
	fd = mfd_cpr_find_fd(s->offered, name, id);
	return fd >= 0 ? fd : mfd_cpr_find_fd(s->offered, name, MFD_KEEPER_ANY_ID);
}

static int get(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	struct mfd_kept *s = mfd_keeper_find(k, m->session);
	int found = s ? look_up(s, m->name, m->id, &m->flags) : -ENOENT;

	(void)fd;
	if (found < 0)
		return found;
	s->used_ms = mfd_io_now_ms();
	if (m->type == MFD_KEEPER_HAS)
		found = -1;
	m->type = MFD_KEEPER_OK;
	mfd_keeper_send(client, m, found);
	return ANSWERED;
}

static int drop_from(struct mfd_cpr *t, const struct mfd_keeper_msg *m)
{
	return *m->name ? mfd_cpr_delete_fd(t, m->name, m->id) : mfd_cpr_clear(t);
}

static int drop(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	struct mfd_kept *s = mfd_keeper_find(k, m->session);
	int ret = -ENOENT;

	(void)fd;
	(void)client;
	if (!s)
		return -ENOENT;
	if (m->flags & MFD_KEEPER_KEPT && !drop_from(s->kept, m))
		ret = 0;
	if (m->flags & MFD_KEEPER_OFFERED && !drop_from(s->offered, m))
		ret = 0;
	if (!mfd_cpr_count(s->kept) && !mfd_cpr_count(s->offered))
		mfd_keeper_remove(k, s);
	return ret;
}

struct listing {
	int client;
	struct mfd_keeper_msg m;
};

static int list_one(void *ctx, const struct mfd_cpr_entry *e)
{
	const struct mfd_kept_since *since = e->record;
	struct listing *l = ctx;

	l->m.type = MFD_KEEPER_ENTRY;
	l->m.id = e->id;
	l->m.age_ms = mfd_io_now_ms() - since->ms;
	strcpy(l->m.name, e->name); /* no name of a table is longer */
	return mfd_keeper_send(l->client, &l->m, -1);
}

static int list(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	struct listing l = { .client = client };
	const struct mfd_kept *s;
	int ret = 0;

	(void)fd;
	for (s = k->sessions; s && !ret; s = s->next) {
		if (*m->session && strcmp(s->name, m->session))
			continue;
		mfd_keeper_fill(&l.m, MFD_KEEPER_ENTRY, s->name, NULL, 0);
		l.m.flags = MFD_KEEPER_KEPT;
		ret = mfd_cpr_walk_fd(s->kept, list_one, &l);
		l.m.flags = MFD_KEEPER_OFFERED;
		ret = ret ? ret : mfd_cpr_walk_fd(s->offered, list_one, &l);
	}
	return ret;
}

static int attach(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	struct mfd_kept *s;
	int ret = *fd < 0 ? -EBADF : mfd_keeper_make(k, m->session, &s);

	(void)client;
	ret = ret ? ret : mfd_keeper_listen_in(s, *fd);
	if (!ret)
		*fd = -1;
	return ret;
}

static int on_exec(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	(void)m;
	(void)fd;
	(void)client;
	mfd_keeper_enter(k, MFD_KEEPER_REPLACING);
	return 0;
}

/* The request with its descriptor, which becomes -1 when it is taken over: 0, -errno, ANSWERED. */
static const struct {
	int (*act)(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client);
	int any_session; /* it may name none */
} requests[] = {
	[MFD_KEEPER_BEGIN] = { begin, 0 },  [MFD_KEEPER_PUT] = { put, 0 },
	[MFD_KEEPER_OFFER] = { put, 0 },    [MFD_KEEPER_GET] = { get, 0 },
	[MFD_KEEPER_HAS] = { get, 0 },	    [MFD_KEEPER_DROP] = { drop, 0 },
	[MFD_KEEPER_LIST] = { list, 1 },    [MFD_KEEPER_ATTACH] = { attach, 0 },
	[MFD_KEEPER_EXEC] = { on_exec, 1 },
};

static int act(struct mfd_keeper *k, struct mfd_keeper_msg *m, int *fd, int client)
{
	int known = m->type < sizeof(requests) / sizeof(*requests) && requests[m->type].act;

	if (!*m->session && !(known && requests[m->type].any_session))
		return -EINVAL;
	return known ? requests[m->type].act(k, m, fd, client) : -EOPNOTSUPP;
}

int mfd_keeper_serve(struct mfd_keeper *k, int client)
{
	static struct mfd_keeper_msg m; /* one thread; too large to clear for every request */
	int fd = -1, ret = mfd_keeper_recv(client, &m, &fd);

	if (ret == -EMSGSIZE) /* it came without its descriptor: none is free here */
		ret = -EMFILE;
	else if (ret <= 0)
		return 0;
	else
		ret = act(k, &m, &fd, client);
	mfd_io_close(&fd);
	if (ret == ANSWERED)
		return 1;
	mfd_log_debug("%s: request %u for %s: %s", m.session, m.type, m.name,
		      ret ? strerror(-ret) : "ok");
	mfd_keeper_fill(&m, ret ? MFD_KEEPER_FAILED : MFD_KEEPER_OK, NULL, NULL, 0);
	m.code = ret;
	return !mfd_keeper_send(client, &m, -1);
}
