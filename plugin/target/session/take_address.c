// SPDX-License-Identifier: GPL-2.0-only
/* The addresses that move, on the target. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "take_address.h"
#include "log.h"
#include "netaddr.h"

enum { NONE, BLOCKED, IN_USE }; /* session.has_addresses */

static int allowed(const struct mfd_server *sv, const struct mfd_netaddr *a)
{
	for (size_t i = 0; i < sv->n_allow_address; i++)
		if (mfd_netaddr_allowed(a, sv->allow_address[i]))
			return 1;
	return 0;
}

static int check(const struct mfd_server *sv, const struct mfd_owner *o,
		 const struct mfd_netaddr *a, struct mfd_error *err)
{
	int ret;

	/* With a file of rights mfd_permit_hello has asked that. */
	if (!o->rights && !allowed(sv, a))
		return mfd_error_set(
			err, -EPERM,
			"%s may not be moved to %s (criu-multifd serve --allow-address %s allows it)",
			a->text, a->to, a->text);
	ret = mfd_netaddr_has(a, a->to, err); /* is there such a device? */
	if (ret >= 0)
		ret = mfd_netaddr_has(a, NULL, err);
	if (ret > 0)
		ret = mfd_error_set(err, -EADDRINUSE,
				    "%s cannot be moved to %s: the target has that address already",
				    a->text, a->to);
	/* There is nothing to lift: this only shows that nft works. */
	return ret ? ret : mfd_netaddr_block(a, 1, err);
}

int mfd_address_check(const struct mfd_server *sv, const struct mfd_owner *o, const Mfd__Hello *h,
		      struct mfd_error *err)
{
	struct mfd_netaddr a;
	int ret = 0;

	if (h->n_move_address > MFD_NETADDR_MAX)
		return mfd_error_set(err, -EINVAL, "at most %d addresses move in one session",
				     MFD_NETADDR_MAX);
	for (size_t i = 0; i < h->n_move_address && !ret; i++) {
		ret = mfd_netaddr_parse(h->move_address[i], &a, err);
		ret = ret ? ret : check(sv, o, &a, err);
	}
	return ret;
}

int mfd_address_keep(struct mfd_session *s, char *const *words, size_t n)
{
	mfd_assert(!s->asked.move_addresses && !s->asked.n_move_addresses);
	mfd_assert(atomic_load(&s->addresses) == NONE);
	s->asked.move_addresses = calloc(n + 1, sizeof(*s->asked.move_addresses));
	if (!s->asked.move_addresses)
		return -ENOMEM;
	for (; s->asked.n_move_addresses < n; s->asked.n_move_addresses++) {
		s->asked.move_addresses[s->asked.n_move_addresses] =
			strdup(words[s->asked.n_move_addresses]);
		if (!s->asked.move_addresses[s->asked.n_move_addresses])
			return -ENOMEM;
	}
	return 0;
}

static int take(const char *word, struct mfd_error *err)
{
	struct mfd_netaddr a;
	int ret = mfd_netaddr_parse(word, &a, err);

	ret = ret ? ret : mfd_netaddr_block(&a, 0, err);
	return ret ? ret : mfd_netaddr_add(&a, a.to, err);
}

int mfd_address_take(struct mfd_session *s, struct mfd_error *err)
{
	int ret = 0;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->asked.n_move_addresses || atomic_load(&s->addresses) == NONE);
	if (!s->asked.n_move_addresses || atomic_load(&s->addresses) != NONE)
		return 0;
	atomic_store(&s->addresses, BLOCKED);
	for (size_t i = 0; i < s->asked.n_move_addresses && !ret; i++)
		ret = take(s->asked.move_addresses[i], err);
	if (ret)
		mfd_log_error("%s: %s", s->name, mfd_error_text(err));
	return ret;
}

static void lift(const struct mfd_session *s, const char *word)
{
	struct mfd_error err = { 0 };
	struct mfd_netaddr a;

	if (mfd_netaddr_parse(word, &a, &err) || mfd_netaddr_block(&a, 1, &err) ||
	    mfd_netaddr_announce(&a, a.to, &err))
		mfd_log_error("%s: %s", s->name, mfd_error_text(&err));
	else
		mfd_log_info("%s: %s is on %s now", s->name, a.text, a.to);
}

void mfd_address_lift(struct mfd_session *s)
{
	int blocked = BLOCKED;

	mfd_assert(s->asked.n_move_addresses || atomic_load(&s->addresses) == NONE);
	mfd_assert(s->plan);
	if (!atomic_compare_exchange_strong(&s->addresses, &blocked, IN_USE))
		return;
	for (size_t i = 0; i < s->asked.n_move_addresses; i++)
		lift(s, s->asked.move_addresses[i]);
}

void mfd_address_adopt(struct mfd_session *s)
{
	mfd_assert(!atomic_load(&s->thread));
	mfd_assert(atomic_load(&s->addresses) == NONE);
	if (!s->asked.n_move_addresses)
		return;
	atomic_store(&s->addresses, BLOCKED);
	/* It may have died in between. */
	if (s->phase == MFD_PHASE_COMMITTED || s->phase == MFD_PHASE_RUNNING)
		mfd_address_lift(s);
}

/* The address first: what is held back must not answer for it for a moment. */
void mfd_address_give_up(const char *session, char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct mfd_error err = { 0 };
		struct mfd_netaddr a;

		if (mfd_netaddr_parse(words[i], &a, &err) || mfd_netaddr_delete(&a, a.to, &err) ||
		    mfd_netaddr_block(&a, 1, &err))
			mfd_log_error("%s: %s", session, mfd_error_text(&err));
	}
}

void mfd_address_drop(struct mfd_session *s)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->asked.n_move_addresses || atomic_load(&s->addresses) == NONE);
	if (atomic_exchange(&s->addresses, NONE) != NONE)
		mfd_address_give_up(s->name, s->asked.move_addresses, s->asked.n_move_addresses);
}
