/* SPDX-License-Identifier: GPL-2.0-only */
/* The keys of a block, as a table: the parser and the manual page follow from its rows. */
#ifndef MFD_RIGHTS_KEYS_H
#define MFD_RIGHTS_KEYS_H

#include "rights.h"

struct mfd_rights_key {
	const char *name; /* first: mfd_closest looks here */
	const char *arg;  /* what its words are called */
	const char *help; /* for the manual page */
	int list;	  /* bool: one word or more, and it may come again; else one word, once */
	/* Take one word: 0, or -errno; err says what was expected. */
	int (*take)(struct mfd_right *r, const char *word, struct mfd_error *err);
};

extern const struct mfd_rights_key mfd_rights_keys[];
extern const size_t mfd_rights_keys_n; /* at most 32: bits of mfd_right.said */

/* "x509:NAME" and so on: 0, or -EINVAL. */
int mfd_rights_peer(struct mfd_right *r, const char *word, struct mfd_error *err);

#endif
