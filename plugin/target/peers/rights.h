/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What each peer may do on this restore server: /etc/criu-multifd.peers, `serve --peers FILE`.
 *
 *	peer x509:db1.example.org	# a block: the peer, then what it may do
 *	    sessions db-*
 *	    mode safe postcopy
 *	    max-sessions 8  max-in-doubt 4
 *
 * The first block that fits a peer is the peer's; what it does not name the peer may not do, and a
 * peer that no block fits may do nothing.  rights_keys.c has the keys as a table, which the parser
 * (rights_parse.c) and the manual page (peers_page.c) read.  rights_file.c opens the file.
 *
 * The object is constant once it is parsed.  A session keeps a reference to the one that it was
 * opened under: a file that is read later holds for what is opened later.
 */
#ifndef MFD_RIGHTS_H
#define MFD_RIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define MFD_RIGHTS_FILE "/etc/criu-multifd.peers"
#define MFD_RIGHTS_MAX	(1U << 20) /* bytes of the file */

/* Words of one key, in their order. */
struct mfd_rights_words {
	char **word;
	size_t n;
};

enum { MFD_RIGHTS_SAFE = 1, MFD_RIGHTS_POSTCOPY = 2 };

/* One block. */
struct mfd_right {
	char *peer;    /* "x509:NAME", "spki:HEX", "psk:NAME", "insecure" */
	unsigned line; /* where it begins */
	unsigned said; /* bits: keys of the table that were there */
	struct mfd_rights_words sessions, restore_options, addresses, cpr_offers;
	unsigned modes; /* MFD_RIGHTS_SAFE ...; 0: safe */
	int restore, user_namespace;
	/* 0: no limit of its own */
	uint32_t max_sessions, max_in_doubt, max_channels;
	uint64_t max_memory;	/* bytes */
	uint64_t max_bandwidth; /* bytes per second */
};

struct mfd_rights;

/* rights_file.c: 0, or -errno with err filled, which names the file and perhaps the line. */
int mfd_rights_read(struct mfd_rights **out, const char *path, struct mfd_error *err);
/* rights_parse.c: the same of a text of `len` bytes, with a NUL behind it. */
int mfd_rights_parse(struct mfd_rights **out, const char *text, size_t len, const char *path,
		     struct mfd_error *err);

/* rights.c */
struct mfd_rights *mfd_rights_new(const char *path);	 /* no block: no peer may do anything */
struct mfd_right *mfd_rights_add(struct mfd_rights *r);	 /* while it is made; NULL: no memory */
struct mfd_rights *mfd_rights_get(struct mfd_rights *r); /* one more reference; fine with NULL */
void mfd_rights_put(struct mfd_rights *r);		 /* fine with NULL */
const char *mfd_rights_path(const struct mfd_rights *r);
/* The block of a peer with these names (mfd_conn_names; "": it has proved none), or NULL. */
const struct mfd_right *mfd_rights_find(const struct mfd_rights *r, const char *names);

/* May it?  1 or 0. */
int mfd_right_mode(const struct mfd_right *r, unsigned mode);
int mfd_right_session(const struct mfd_right *r, const char *name);
int mfd_right_restore_option(const struct mfd_right *r, const char *option);
int mfd_right_address(const struct mfd_right *r, const char *word); /* ADDR/LEN@DEV[:DEV] */
int mfd_right_cpr_offer(const struct mfd_right *r, const char *name);

#endif
