// SPDX-License-Identifier: GPL-2.0-only
/* One limit for each peer that has one, shared by its sessions. */
#include <stdio.h>
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
	mfd_ratelimit_set(&p->limit, right->max_bandwidth); /* as the file says now */
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

void mfd_pace_tell(struct mfd_session *s)
{
	Mfd__Set m = MFD__SET__INIT;
	char value[24];
	uint64_t now;
	int known;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->link.state == MFD_LINK_JOINED);
	if (!s->pace)
		return;
	pthread_mutex_lock(&s->lock);
	now = s->setting.max_bandwidth;
	known = s->setting.offered;
	pthread_mutex_unlock(&s->lock);
	if (!known || (now && now <= s->owner.right->max_bandwidth))
		return;
	snprintf(value, sizeof(value), "%llu", (unsigned long long)s->owner.right->max_bandwidth);
	m.name = (char *)"max-bandwidth";
	m.value = value; /* id 0: no person waits for the answer */
	mfd_session_send(s, MFD_WIRE_SET, &m.base);
}
