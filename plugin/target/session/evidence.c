// SPDX-License-Identifier: GPL-2.0-only
/* Evidence of a session's end, from its tombstone; see evidence.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "evidence.h"
#include "evidence_file.h"
#include "joinproof.h"
#include "life.h"
#include "server.h"
#include "session_file.h"

int mfd_evidence_ran(const Mfd__SessionEntry *e)
{
	return e->ran_held || e->running_us || e->committed_us ||
	       e->state == MFD__SESSION_STATE__RUNNING ||
	       e->state == MFD__SESSION_STATE__COMMITTED || e->state == MFD__SESSION_STATE__DONE;
}

static int has_id(const Mfd__SessionEntry *e, const uint8_t *id)
{
	return e && e->has_session_id && e->session_id.len == MFD_WIRE_SESSION_ID_LEN &&
	       !memcmp(e->session_id.data, id, MFD_WIRE_SESSION_ID_LEN);
}

int mfd_evidence_is_of(const Mfd__SessionEntry *e, const char *identity, const uint8_t *id)
{
	return has_id(e, id) && !strcmp(e->identity ? e->identity : "", identity ? identity : "");
}

/* Its record, or a tombstone of its name that is its own (of a program that kept no records). */
static int find_ended(int dirfd, const char *identity, const uint8_t *id, const char *name,
		      Mfd__SessionEntry **e)
{
	struct mfd_session_file f;
	int ret = mfd_evidence_file_find(dirfd, identity, id, e);

	if (ret != -ENOENT)
		return ret;
	ret = mfd_session_file_find_ended(dirfd, name, &f);
	if (ret)
		return ret;
	if (f.entry && mfd_evidence_is_of(f.entry, identity, id)) {
		*e = f.entry;
		f.entry = NULL;
	} else {
		ret = mfd_life_cannot_tell(f.error) ? f.error : -ENOENT;
	}
	mfd_session_file_release(&f);
	return ret;
}

int mfd_evidence_buried(int dirfd, const Mfd__SessionEntry *e)
{
	Mfd__SessionEntry *r;
	int yes, ret;

	if (!e->has_session_id || e->session_id.len != MFD_WIRE_SESSION_ID_LEN)
		return 0;
	ret = find_ended(dirfd, e->identity, e->session_id.data, e->name, &r);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	yes = r->state == MFD__SESSION_STATE__ABORTED;
	mfd_session_file_free(r);
	return yes;
}

/*
 * What has ended has no secret: its id, 16 random bytes, is known to the source alone, and with TLS
 * only the identity that opened the session is answered.  Nonzero: *v is filled in.  A look that
 * fails is not taken for none: what has ended may have left its folder.
 */
static int look_ended(struct mfd_peer *p, const uint8_t *id, const char *name,
		      struct mfd_evidence *v)
{
	Mfd__SessionEntry *e;
	int ret = find_ended(p->server->dirfd, mfd_conn_identity(&p->control.conn), id, name, &e);

	if (ret == -ENOENT)
		return 0;
	if (ret) {
		snprintf(v->text, sizeof(v->text),
			 "whether the session has ended cannot be looked up: %s", strerror(-ret));
		v->kind = MFD_EVIDENCE_UNLOADABLE;
		return 1;
	}
	v->kind = strcmp(e->name, name)		       ? MFD_EVIDENCE_UNKNOWN :
		  e->state == MFD__SESSION_STATE__DONE ? MFD_EVIDENCE_COMMITTED :
							 MFD_EVIDENCE_ENDED;
	if (v->kind == MFD_EVIDENCE_ENDED) {
		v->ran = mfd_evidence_ran(e);
		v->by_person = e->by_person;
		snprintf(v->text, sizeof(v->text), "no such session any more: %.400s",
			 e->error ? e->error : "it has ended");
	}
	v->state = e->state;
	mfd_session_file_free(e);
	return v->kind != MFD_EVIDENCE_UNKNOWN;
}

/* Is the greeting that of the source which opened the session? */
static int is_source_of(const Mfd__SessionEntry *e, const struct mfd_peer *p,
			const struct mfd_wire_greeting *g)
{
	struct mfd_joinproof j;

	return mfd_evidence_is_of(e, mfd_conn_identity(&p->control.conn), g->session) &&
	       e->has_secret && e->secret.len == MFD_WIRE_SECRET_LEN &&
	       !mfd_joinproof_begin(&j, &p->control.conn, g) &&
	       mfd_joinproof_fits(&j, e->secret.data, g->secret);
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
	if (look_ended(p, g->session, name, v))
		return;
	ret = mfd_session_file_find(sv->dirfd, name, &f);
	if (ret && ret != -ENOENT && ret != -EINVAL) {
		v->kind = MFD_EVIDENCE_UNLOADABLE;
		snprintf(v->text, sizeof(v->text), "the sessions cannot be looked up: %s",
			 strerror(-ret));
	}
	if (ret)
		return;
	if (!f.ended)
		judge_folder(&f, p, g, v);
	mfd_session_file_release(&f);
	mfd_assert(v->kind != MFD_EVIDENCE_ENDED);
	mfd_assert(v->kind == MFD_EVIDENCE_COMMITTED || v->text[0]);
}
