// SPDX-License-Identifier: GPL-2.0-only
/* The rights of peers as an object: which block is a peer's, and what the block permits. */
#include <fnmatch.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "conn.h"
#include "netaddr.h"
#include "rights.h"

struct mfd_rights {
	_Atomic unsigned refs;
	char *path;
	struct mfd_right *all;
	size_t n;
};

struct mfd_rights *mfd_rights_new(const char *path)
{
	struct mfd_rights *r = calloc(1, sizeof(*r));

	if (r)
		r->path = strdup(path);
	if (!r || !r->path) {
		free(r);
		return NULL;
	}
	atomic_init(&r->refs, 1);
	return r;
}

struct mfd_right *mfd_rights_add(struct mfd_rights *r)
{
	struct mfd_right *more;

	mfd_assert(atomic_load(&r->refs) == 1);
	more = realloc(r->all, (r->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->all = more;
	memset(&r->all[r->n], 0, sizeof(*more));
	return &r->all[r->n++];
}

struct mfd_rights *mfd_rights_get(struct mfd_rights *r)
{
	if (r)
		atomic_fetch_add(&r->refs, 1);
	return r;
}

static void free_words(struct mfd_rights_words *w)
{
	while (w->n)
		free(w->word[--w->n]);
	free(w->word);
}

void mfd_rights_put(struct mfd_rights *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free_words(&r->all[i].sessions);
		free_words(&r->all[i].restore_options);
		free_words(&r->all[i].addresses);
		free_words(&r->all[i].cpr_offers);
		free(r->all[i].peer);
	}
	free(r->all);
	free(r->path);
	free(r);
}

const char *mfd_rights_path(const struct mfd_rights *r)
{
	return r->path;
}

/* ---- which block is its? ---- */

/* A name that is longer than any that a connection has fits nothing. */
static int fits(const char *peer, const char *name, size_t len)
{
	char one[MFD_CONN_IDENTITY];

	if (len >= sizeof(one))
		return 0;
	memcpy(one, name, len);
	one[len] = 0;
	return !fnmatch(peer, one, 0);
}

static int fits_any(const char *peer, const char *names)
{
	if (!*names)
		return !strcmp(peer, "insecure");
	for (; *names; names += *names == '\n') {
		size_t len = strcspn(names, "\n");

		if (fits(peer, names, len))
			return 1;
		names += len;
	}
	return 0;
}

const struct mfd_right *mfd_rights_find(const struct mfd_rights *r, const char *names)
{
	for (size_t i = 0; i < r->n; i++)
		if (fits_any(r->all[i].peer, names))
			return &r->all[i];
	return NULL;
}

/* ---- may it? ---- */

static int matches(const struct mfd_rights_words *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (!fnmatch(w->word[i], name, 0))
			return 1;
	return 0;
}

int mfd_right_mode(const struct mfd_right *r, unsigned mode)
{
	return !!((r->modes ? r->modes : MFD_RIGHTS_SAFE) & mode);
}

int mfd_right_session(const struct mfd_right *r, const char *name)
{
	return matches(&r->sessions, name);
}

int mfd_right_cpr_offer(const struct mfd_right *r, const char *name)
{
	return matches(&r->cpr_offers, name);
}

/* "manage-cgroups" permits each value of it, "manage-cgroups=soft" that one. */
int mfd_right_restore_option(const struct mfd_right *r, const char *option)
{
	size_t len = strcspn(option, "=");

	for (size_t i = 0; i < r->restore_options.n; i++) {
		const char *word = r->restore_options.word[i];

		if (!strcmp(word, option) || (!strncmp(word, option, len) && !word[len]))
			return 1;
	}
	return 0;
}

/* RULE or RULE@DEVICE, where the device is the target's. */
static int address_fits(const char *rule, const struct mfd_netaddr *a)
{
	const char *at = strchr(rule, '@');
	char text[64];
	size_t len = at ? (size_t)(at - rule) : strlen(rule);

	if (len >= sizeof(text) || (at && strcmp(at + 1, a->to)))
		return 0;
	memcpy(text, rule, len);
	text[len] = 0;
	return mfd_netaddr_allowed(a, text);
}

int mfd_right_address(const struct mfd_right *r, const char *word)
{
	struct mfd_netaddr a;

	if (mfd_netaddr_parse(word, &a, NULL))
		return 0;
	for (size_t i = 0; i < r->addresses.n; i++)
		if (address_fits(r->addresses.word[i], &a))
			return 1;
	return 0;
}
