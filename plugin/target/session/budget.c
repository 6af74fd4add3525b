// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promises of memory; the rules are in budget.h. Everything below happens under budget->lock, which
 * is taken last of all.
 */
#include <errno.h>
#include <string.h>

#include "budget.h"

void mfd_budget_init(struct mfd_budget *b, uint64_t limit)
{
	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	b->limit = limit;
}

void mfd_budget_fini(struct mfd_budget *b)
{
	pthread_mutex_destroy(&b->lock);
}

static uint64_t promised_all(const struct mfd_budget *b)
{
	const struct mfd_budget_claim *c;
	uint64_t sum = b->left;

	for (c = b->claims; c; c = c->next)
		sum += c->promised;
	return sum;
}

static uint64_t free_bytes(const struct mfd_budget *b)
{
	uint64_t sum = promised_all(b);

	if (!b->limit)
		return UINT64_MAX / 2;
	return sum < b->limit ? b->limit - sum : 0;
}

/* What the claim's owner may be promised beyond what it has. */
static uint64_t own_room(const struct mfd_budget *b, const struct mfd_budget_claim *c)
{
	const struct mfd_budget_claim *o;
	uint64_t sum = 0;

	if (!c->most)
		return UINT64_MAX;
	for (o = b->claims; o; o = o->next)
		if (o->owner && c->owner && !strcmp(o->owner, c->owner))
			sum += o->promised;
	return sum < c->most ? c->most - sum : 0;
}

static uint64_t room_for(const struct mfd_budget *b, const struct mfd_budget_claim *c)
{
	uint64_t all = free_bytes(b), own = own_room(b, c);

	return all < own ? all : own;
}

static int too_much(const struct mfd_budget *b, const struct mfd_budget_claim *c, uint64_t least)
{
	return (b->limit && least > b->limit) || (c->most && least > c->most);
}

/* All that the claim asks for, else half of what is free above `least`. */
static uint64_t share(uint64_t least, uint64_t want, uint64_t room)
{
	return want <= room ? want : least + (room - least) / 2;
}

static uint64_t max(uint64_t a, uint64_t x)
{
	return a > x ? a : x;
}

static void append(struct mfd_budget *b, struct mfd_budget_claim *c)
{
	struct mfd_budget_claim **at;

	for (at = &b->claims; *at; at = &(*at)->next)
		;
	c->next = NULL;
	c->in = 1;
	*at = c;
}

static void take_out(struct mfd_budget *b, struct mfd_budget_claim *c)
{
	struct mfd_budget_claim **at;

	for (at = &b->claims; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	memset(c, 0, sizeof(*c));
}

static unsigned ahead_of(const struct mfd_budget *b, const struct mfd_budget_claim *c)
{
	const struct mfd_budget_claim *o;
	unsigned n = 0;

	for (o = b->claims; o && o != c; o = o->next)
		n += o->waiting && o->least <= own_room(b, o);
	return n;
}

static int try_admit(struct mfd_budget *b, struct mfd_budget_claim *c)
{
	uint64_t room = room_for(b, c);

	if (ahead_of(b, c) || c->least > room)
		return 0;
	c->promised = share(c->least, c->want, room);
	c->waiting = 0;
	return 1;
}

int mfd_budget_enter(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t least,
		     uint64_t want)
{
	int ret = -E2BIG;

	pthread_mutex_lock(&b->lock);
	if (!too_much(b, c, least)) {
		c->least = least;
		c->want = want > least ? want : least;
		c->waiting = 1;
		append(b, c);
		ret = try_admit(b, c);
	}
	pthread_mutex_unlock(&b->lock);
	return ret;
}

int mfd_budget_admit(struct mfd_budget *b, struct mfd_budget_claim *c)
{
	int yes;

	pthread_mutex_lock(&b->lock);
	yes = c->in && (!c->waiting || try_admit(b, c));
	pthread_mutex_unlock(&b->lock);
	return yes;
}

int mfd_budget_change(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t least,
		      uint64_t want)
{
	int ret = 0;

	pthread_mutex_lock(&b->lock);
	if (!c->waiting) {
		ret = -EALREADY;
	} else if (too_much(b, c, least)) {
		take_out(b, c);
		ret = -E2BIG;
	} else {
		c->least = least;
		c->want = want > least ? want : least;
	}
	pthread_mutex_unlock(&b->lock);
	return ret;
}

int mfd_budget_raise(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t bytes)
{
	int ret = 0;

	pthread_mutex_lock(&b->lock);
	if (bytes > c->promised && (!c->in || c->waiting || bytes - c->promised > room_for(b, c)))
		ret = -ENOSPC;
	else if (bytes > c->promised)
		c->promised = bytes;
	pthread_mutex_unlock(&b->lock);
	return ret;
}

uint64_t mfd_budget_more(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t want)
{
	uint64_t promised;

	pthread_mutex_lock(&b->lock);
	if (c->in && !c->waiting && want > c->promised)
		c->promised = max(c->promised, share(c->least, want, c->promised + room_for(b, c)));
	promised = c->promised;
	pthread_mutex_unlock(&b->lock);
	return promised;
}

void mfd_budget_finish(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t bytes)
{
	pthread_mutex_lock(&b->lock);
	if (!c->in) {
		append(b, c);
		c->least = bytes;
	}
	c->waiting = 0;
	c->promised = c->used = bytes;
	pthread_mutex_unlock(&b->lock);
}

void mfd_budget_note(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t used)
{
	pthread_mutex_lock(&b->lock);
	c->used = used;
	pthread_mutex_unlock(&b->lock);
}

uint64_t mfd_budget_promised(struct mfd_budget *b, const struct mfd_budget_claim *c)
{
	uint64_t n;

	pthread_mutex_lock(&b->lock);
	n = c->promised;
	pthread_mutex_unlock(&b->lock);
	return n;
}

void mfd_budget_leave(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t left)
{
	pthread_mutex_lock(&b->lock);
	if (c->in) {
		take_out(b, c);
		b->left += left;
		b->left_seen += left > 0;
	}
	pthread_mutex_unlock(&b->lock);
}

unsigned mfd_budget_left_begin(struct mfd_budget *b)
{
	unsigned seen;

	pthread_mutex_lock(&b->lock);
	seen = b->left_seen;
	pthread_mutex_unlock(&b->lock);
	return seen;
}

void mfd_budget_left_set(struct mfd_budget *b, unsigned seen, uint64_t bytes)
{
	pthread_mutex_lock(&b->lock);
	if (b->left_seen == seen)
		b->left = bytes;
	pthread_mutex_unlock(&b->lock);
}

void mfd_budget_look(struct mfd_budget *b, const struct mfd_budget_claim *c,
		     struct mfd_budget_figures *f)
{
	const struct mfd_budget_claim *o;

	memset(f, 0, sizeof(*f));
	pthread_mutex_lock(&b->lock);
	f->limit = b->limit;
	f->left = b->left;
	f->promised = promised_all(b);
	f->used = b->left;
	f->free = free_bytes(b);
	for (o = b->claims; o; o = o->next) {
		f->used += o->used;
		f->claims++;
		f->waiting += o->waiting;
	}
	if (c) {
		f->ahead = ahead_of(b, c);
		f->room = room_for(b, c);
	}
	pthread_mutex_unlock(&b->lock);
}
