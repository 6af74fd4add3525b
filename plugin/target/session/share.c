// SPDX-License-Identifier: GPL-2.0-only
/* Counting what a peer holds, and whether it may have more. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "assert.h"
#include "memory_server.h"
#include "nofile.h"
#include "session.h"
#include "share.h"

#define TIMES 3 /* what is free */

struct held {
	unsigned places, doubt, descriptors, channels;
};

/* A session in doubt waits, maybe for ever: it takes no place from new ones (session.c). */
static struct held held_by(const struct mfd_server *sv, const struct mfd_owner *o)
{
	struct held h = { 0 };

	for (const struct mfd_session *s = sv->sessions; s; s = s->next) {
		if (!mfd_owner_is(&s->owner, o))
			continue;
		h.places += !s->in_doubt;
		h.doubt += (unsigned)s->in_doubt;
		h.descriptors += s->descriptors;
		h.channels += s->channels;
	}
	mfd_assert(h.places + h.doubt <= sv->n_sessions);
	mfd_assert(h.descriptors <= sv->descriptors);
	return h;
}

static int too_many(struct mfd_error *err, const struct mfd_owner *o, unsigned has,
		    const char *what, const char *key)
{
	if (o->rights)
		return mfd_error_set(
			err, -EDQUOT,
			"%s has %u %s on this restore server, which is all that it may "
			"have: its operator can raise '%s' in %.120s there",
			mfd_owner_text(o), has, what, key, mfd_rights_path(o->rights));
	return mfd_error_set(err, -EDQUOT,
			     "%s has %u %s on this restore server, which is all that one peer may "
			     "have of them: its operator can raise it ('%s' in " MFD_RIGHTS_FILE
			     " there)",
			     mfd_owner_text(o), has, what, key);
}

static int leaves_room(unsigned has, unsigned used, unsigned all)
{
	return used < all && has < TIMES * (uint64_t)(all - used);
}

int mfd_share_place(const struct mfd_server *sv, const struct mfd_owner *o, struct mfd_error *err)
{
	const struct held h = held_by(sv, o);
	unsigned used = sv->n_sessions - sv->n_doubt;

	if (o->right && o->right->max_in_doubt && h.doubt >= o->right->max_in_doubt)
		return too_many(err, o, h.doubt, "sessions in doubt", "max-in-doubt");
	if (o->right && o->right->max_sessions && h.places >= o->right->max_sessions)
		return too_many(err, o, h.places, "sessions", "max-sessions");
	if (used >= sv->max_sessions)
		return mfd_error_set(err, -EMFILE, "this server has %u sessions already",
				     sv->max_sessions);
	if (!(o->right && o->right->max_sessions) && !leaves_room(h.places, used, sv->max_sessions))
		return too_many(err, o, h.places, "sessions", "max-sessions");
	return 0;
}

int mfd_share_descriptors(const struct mfd_server *sv, const struct mfd_owner *o, unsigned n,
			  struct mfd_error *err)
{
	const unsigned all = mfd_nofile_for_sessions();
	const struct held h = held_by(sv, o);

	if (sv->descriptors + n > all)
		return mfd_error_set(err, -EMFILE,
				     "the restore server has no descriptors left for it "
				     "(ulimit -n, LimitNOFILE)");
	if (!leaves_room(h.descriptors, sv->descriptors, all))
		return mfd_error_set(
			err, -EDQUOT,
			"%s has %u sessions on this restore server, %u of them in doubt, "
			"with most of its descriptors (ulimit -n, LimitNOFILE): settle "
			"some ('criu-multifd resolve' there)",
			mfd_owner_text(o), h.places + h.doubt, h.doubt);
	return 0;
}

unsigned mfd_share_channels(const struct mfd_server *sv, const struct mfd_owner *o)
{
	unsigned max = o->right && o->right->max_channels ? o->right->max_channels : UINT_MAX;
	const struct held h = held_by(sv, o);

	return h.channels < max ? max - h.channels : 0;
}

/* Without a limit for all sessions, what there is is the host's. */
static uint64_t memory_of_all(const struct mfd_server *sv)
{
	const uint64_t limit = sv->max_memory;
	const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	if (limit != MFD_MEMORY_COUNTED)
		return limit;
	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

uint64_t mfd_share_memory(const struct mfd_server *sv, const struct mfd_owner *o)
{
	mfd_assert(sv && o);
	mfd_assert(!o->right || o->rights);
	if (o->right && o->right->max_memory)
		return o->right->max_memory;
	if (!o->rights && !*o->identity)
		return 0;
	return memory_of_all(sv) / (TIMES + 1) * TIMES;
}
