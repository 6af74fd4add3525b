// SPDX-License-Identifier: GPL-2.0-only
/* The peer that a session belongs to. */
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "owner.h"
#include "server.h"

void mfd_owner_of(struct mfd_owner *o, struct mfd_peer *p)
{
	mfd_assert(!o->rights);
	snprintf(o->identity, sizeof(o->identity), "%s", mfd_conn_identity(&p->control.conn));
	snprintf(o->address, sizeof(o->address), "%.*s", (int)mfd_peer_address_len(p), p->where);
	o->rights = mfd_rights_now(&p->server->rights);
	o->right = o->rights ? mfd_rights_find(o->rights, mfd_conn_names(&p->control.conn)) : NULL;
}

void mfd_owner_load(struct mfd_owner *o, const Mfd__SessionEntry *e)
{
	mfd_assert(!o->rights);
	snprintf(o->identity, sizeof(o->identity), "%s", e->identity ? e->identity : "");
	snprintf(o->address, sizeof(o->address), "%s", e->address ? e->address : "");
}

void mfd_owner_entry(const struct mfd_owner *o, Mfd__SessionEntry *e)
{
	e->identity = o->identity[0] ? (char *)(uintptr_t)o->identity : NULL;
	e->address = o->address[0] ? (char *)(uintptr_t)o->address : NULL;
}

int mfd_owner_is(const struct mfd_owner *a, const struct mfd_owner *b)
{
	return !strcmp(a->identity, b->identity) &&
	       (a->identity[0] || !strcmp(a->address, b->address));
}

const char *mfd_owner_text(const struct mfd_owner *o)
{
	return o->identity[0] ? o->identity : o->address[0] ? o->address : "?";
}

void mfd_owner_release(struct mfd_owner *o)
{
	mfd_rights_put(o->rights);
	o->rights = NULL;
	o->right = NULL;
}
