/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The peer that opened a session: the name under which its sessions are counted, and what it may
 * do.  A peer that proves nothing counts by its address.
 */
#ifndef MFD_OWNER_H
#define MFD_OWNER_H

#include "conn.h"
#include "images/session.pb-c.h"
#include "rights.h"

#define MFD_OWNER_ADDRESS 64

struct mfd_peer;

struct mfd_owner {
	char identity[MFD_CONN_IDENTITY]; /* "": it has proved nothing */
	char address[MFD_OWNER_ADDRESS];  /* without the port; of the connection that sent HELLO */
	struct mfd_rights *rights;	  /* a reference; NULL: there is no file of rights */
	const struct mfd_right *right;	  /* the block in it; NULL: none, or no file */
};

/* Of the connection that sends HELLO: what it may do is what the file says now. */
void mfd_owner_of(struct mfd_owner *o, struct mfd_peer *p);
/* Of a session that is reloaded: nothing is asked of it any more. */
void mfd_owner_load(struct mfd_owner *o, const Mfd__SessionEntry *e);
void mfd_owner_entry(const struct mfd_owner *o, Mfd__SessionEntry *e); /* borrows strings */
/* The same peer? */
int mfd_owner_is(const struct mfd_owner *a, const struct mfd_owner *b);
/* For people: its identity, or its address. */
const char *mfd_owner_text(const struct mfd_owner *o);
void mfd_owner_release(struct mfd_owner *o);

#endif
