// SPDX-License-Identifier: GPL-2.0-only
/* One limit for each peer that has one, shared by its sessions. */
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "pace.h"
#include "ratelimit.h"
#include "session.h"

struct mfd_pace {
	struct mfd_ratelimit limit;
	struct mfd_owner owner; /* without rights */
	unsigned sessions;	/* server->lock */
	struct mfd_pace *next;	/* server->lock */
};

static struct mfd_pace *find(const struct mfd_server *sv, const struct mfd_owner *o)
{
	struct mfd_pace *p = sv->paces;

	while (p && !mfd_owner_is(&p->owner, o))
		p = p->next;
	return p;
}

static struct mfd_pace *make(struct mfd_server *sv, const struct mfd_owner *o)
{
	struct mfd_pace *p = aligned_alloc(64, sizeof(*p));

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->owner = *o;
	p->owner.rights = NULL;
	p->owner.right = NULL;
	p->next = sv->paces;
	sv->paces = p;
	return p;
}

struct mfd_pace *mfd_pace_take(struct mfd_server *sv, const struct mfd_session *s)
{
	const struct mfd_right *right = s->owner.right;
	struct mfd_pace *p;

	mfd_assert(!s->pace);
	if (!right || !right->max_bandwidth)
		return NULL;
	p = find(sv, &s->owner);
	p = p ? p : make(sv, &s->owner);
	if (!p)
		return NULL;
	p->sessions++;
	/* As the file says now.  The same limit anew would forget what has been sent. */
	if (atomic_load(&p->limit.bytes_per_s) != right->max_bandwidth)
		mfd_ratelimit_set(&p->limit, right->max_bandwidth);
	return p;
}

void mfd_pace_put(struct mfd_server *sv, struct mfd_pace *p)
{
	struct mfd_pace **at;

	if (!p || --p->sessions)
		return;
	for (at = &sv->paces; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	free(p);
}

void mfd_pace_wait(struct mfd_pace *p, uint64_t bytes, int urgent)
{
	if (p && urgent)
		mfd_ratelimit_charge(&p->limit, bytes);
	else if (p)
		mfd_ratelimit_wait(&p->limit, bytes);
}
