// SPDX-License-Identifier: GPL-2.0-only
/* Evidence of a session's end, from its tombstone; see evidence.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "evidence.h"
#include "joinproof.h"
#include "server.h"
#include "session_file.h"

int mfd_evidence_ran(const Mfd__SessionEntry *e)
{
	return e->running_us || e->committed_us || e->state == MFD__SESSION_STATE__RUNNING ||
	       e->state == MFD__SESSION_STATE__COMMITTED || e->state == MFD__SESSION_STATE__DONE;
}

static int has_id(const Mfd__SessionEntry *e, const uint8_t *id)
{
	return e && e->has_session_id && e->session_id.len == MFD_WIRE_SESSION_ID_LEN &&
	       !memcmp(e->session_id.data, id, MFD_WIRE_SESSION_ID_LEN);
}

int mfd_evidence_buried(int dirfd, const Mfd__SessionEntry *e)
{
	struct mfd_session_file f;
	int yes;

	if (!e->has_session_id || e->session_id.len != MFD_WIRE_SESSION_ID_LEN ||
	    mfd_session_file_find_ended(dirfd, e->name, &f))
		return 0;
	yes = has_id(f.entry, e->session_id.data);
	mfd_session_file_release(&f);
	return yes;
}

/* A tombstone has no secret: its id, 16 random bytes, is known to the source alone. */
static int look_ended(int dirfd, const uint8_t *id, const char *name, struct mfd_evidence *v)
{
	struct mfd_session_file f;
	int mine;

	if (mfd_session_file_find_ended(dirfd, name, &f))
		return 0;
	mine = has_id(f.entry, id);
	if (mine) {
		v->kind = MFD_EVIDENCE_ENDED;
		v->state = f.entry->state;
		v->ran = mfd_evidence_ran(f.entry);
		v->by_person = f.entry->by_person;
		snprintf(v->text, sizeof(v->text), "no such session any more: %.400s",
			 f.entry->error ? f.entry->error : "it has ended");
	}
	mfd_session_file_release(&f);
	return mine;
}

/* Is the greeting that of the source which opened the session? */
static int is_source_of(const Mfd__SessionEntry *e, const struct mfd_peer *p,
			const struct mfd_wire_greeting *g)
{
	const char *identity = e->identity ? e->identity : "";
	struct mfd_joinproof j;

	return has_id(e, g->session) && e->has_secret && e->secret.len == MFD_WIRE_SECRET_LEN &&
	       !mfd_joinproof_begin(&j, &p->control.conn, g) &&
	       mfd_joinproof_fits(&j, e->secret.data, g->secret) &&
	       !strcmp(identity, mfd_conn_identity(&p->control.conn));
}

static void judge_folder(const struct mfd_session_file *f, const struct mfd_peer *p,
			 const struct mfd_wire_greeting *g, struct mfd_evidence *v)
{
	const Mfd__SessionEntry *e = f->entry;

	if (!e) { /* whose it is cannot be told */
		v->kind = MFD_EVIDENCE_UNLOADABLE;
		snprintf(v->text, sizeof(v->text),
			 "a session of that name is here, unreadable: %.300s",
			 f->why ? f->why : "?");
		return;
	}
	if (!is_source_of(e, p, g))
		return;
	v->state = e->state;
	if (e->state == MFD__SESSION_STATE__COMMITTED || e->state == MFD__SESSION_STATE__DONE) {
		v->kind = MFD_EVIDENCE_COMMITTED;
		return;
	}
	v->kind = MFD_EVIDENCE_UNLOADABLE;
	snprintf(v->text, sizeof(v->text), "the session is here, not loadable: %.400s",
		 e->unloadable ? e->unloadable : "it is just ending, or about to be loaded");
}

void mfd_evidence_look(struct mfd_peer *p, const struct mfd_wire_greeting *g, const char *name,
		       struct mfd_evidence *v)
{
	struct mfd_server *sv = p->server;
	struct mfd_session_file f;
	int ret;

	*v = (struct mfd_evidence){ .kind = MFD_EVIDENCE_UNKNOWN };
	snprintf(v->text, sizeof(v->text), "no such session");
	if (look_ended(sv->dirfd, g->session, name, v))
		return;
	ret = mfd_session_file_find(sv->dirfd, name, &f);
	if (ret && ret != -ENOENT)
		snprintf(v->text, sizeof(v->text), "the sessions cannot be looked up: %s",
			 strerror(-ret));
	if (ret)
		return;
	if (!f.ended)
		judge_folder(&f, p, g, v);
	mfd_session_file_release(&f);
	mfd_assert(v->kind != MFD_EVIDENCE_ENDED);
	mfd_assert(v->kind == MFD_EVIDENCE_COMMITTED || v->text[0]);
}
