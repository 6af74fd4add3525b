// SPDX-License-Identifier: GPL-2.0-only
/* HELLO and RESUME. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "assert.h"
#include "take_address.h"
#include "evidence.h"
#include "evidence_file.h"
#include "hello.h"
#include "session_file.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "options_allowed.h"
#include "permit.h"
#include "record.h"
#include "say.h"
#include "space.h"
#include "text.h"
#include "ask_setting.h"

static int check_name(const char *name, struct mfd_error *err)
{
	if (!mfd_image_text_is_clean(name))
		return mfd_error_set(err, -EINVAL,
				     "session name is not allowed: it is not UTF-8, or has control "
				     "characters");
	if (mfd_wire_name_ok(name, strlen(name)) && !mfd_filesink_reserved(name))
		return 0;
	return mfd_error_set(
		err, -EINVAL,
		"session name is not allowed: 1 to 255 bytes, no '/', not starting with '.'");
}

static int check_limits(const Mfd__Hello *h, struct mfd_error *err)
{
	if (!h->channels)
		return mfd_error_set(err, -EINVAL, "0 channels asked for");
	if (h->packet_size < MFD_WIRE_MIN_PACKET || h->packet_size % MFD_WIRE_PAGE_SIZE)
		return mfd_error_set(err, -EINVAL, "packet size %u: at least %u and whole pages",
				     h->packet_size, MFD_WIRE_MIN_PACKET);
	return 0;
}

static int check_machine(const Mfd__Hello *h, struct mfd_error *err)
{
	struct utsname u;

	if (h->page_size != (uint32_t)sysconf(_SC_PAGESIZE))
		return mfd_error_set(err, -EINVAL, "page size is %u on the source and %ld here",
				     h->page_size, sysconf(_SC_PAGESIZE));
	if (h->arch && !uname(&u) && strcmp(h->arch, u.machine))
		return mfd_error_set(err, -EINVAL, "the source is %.32s, this machine is %s",
				     h->arch, u.machine);
	return 0;
}

static int check_restore(const struct mfd_server *sv, const struct mfd_owner *o,
			 const Mfd__Hello *h, struct mfd_error *err)
{
	if (h->confirm_restore && !sv->restore)
		return mfd_error_set(
			err, -EPERM,
			"this server does not restore by itself (criu-multifd serve --restore allows it)");
	return mfd_options_allowed_check(h->restore_option, h->n_restore_option, err) ?:
		       mfd_address_check(sv, o, h, err);
}

/* May the session that this is the record of give way to a newcomer? */
static int may_give_way(const struct mfd_session *s, const struct mfd_session_file *f,
			struct mfd_error *err)
{
	const Mfd__SessionEntry *e = f->entry;

	if (f->ended)
		return 0;
	if (!e ||
	    !(e->state == MFD__SESSION_STATE__DONE || e->state == MFD__SESSION_STATE__ABORTED))
		return mfd_error_set(err, -EEXIST, "session %s is in use", s->name);
	if (mfd_permit_is_of_another(&s->owner, e))
		return mfd_error_set(err, -EEXIST,
				     "session %s: another peer has left one of this name: "
				     "use another, or remove it there ('criu-multifd abort')",
				     s->name);
	return 0;
}

/* What is done keeps its record until the newcomer has its images; a tombstone, if it matters. */
static int give_way(struct mfd_session *s, const struct mfd_session_file *f)
{
	int rootfd = s->server->dirfd;
	int ret = f->name && !f->ended && f->entry->state == MFD__SESSION_STATE__DONE ?
			  mfd_record_set_aside(rootfd, f->entry, s->name) :
			  mfd_clean_folder(rootfd, rootfd, s->name);

	ret = ret ? ret : mfd_session_file_matters(rootfd, s->name);
	if (!ret)
		ret = mfd_session_file_exhume(rootfd, s->name);
	if (ret < 0)
		mfd_record_put_back(rootfd, s->name);
	return ret < 0 ? ret : 0;
}

/* What is on disk under this name: only an ended session gives way. */
static int make_room(struct mfd_session *s, struct mfd_error *err)
{
	struct mfd_session_file f = { 0 };
	int ret = mfd_session_file_find(s->server->dirfd, s->name, &f);

	if (ret && ret != -ENOENT)
		return mfd_error_sys(err, ret, "session %s", s->name);
	if (!ret && may_give_way(s, &f, err)) {
		mfd_session_file_release(&f);
		return err->code;
	}
	ret = give_way(s, &f);
	mfd_session_file_release(&f);
	if (ret == -EEXIST)
		return mfd_error_set(
			err, ret,
			"session %s: the restore server's folder has something of that "
			"name that is no session, and leaves it alone: use another name",
			s->name);
	return ret ? mfd_error_sys(err, ret, "session %s: keeping what became of the one before",
				   s->name) :
		     0;
}

/*
 * What is kept for the sources of sessions that ended is bounded for each peer, and what one of
 * them may need is not thrown away for another session's sake.
 */
static int check_evidence(const struct mfd_peer *p, struct mfd_error *err)
{
	const char *identity = mfd_conn_identity(&p->control.conn);
	char folder[64];

	if (!mfd_evidence_file_is_full(p->server->dirfd, identity, MFD_EVIDENCE_FILE_MOST))
		return 0;
	mfd_evidence_file_folder(identity, folder, sizeof(folder));
	return mfd_error_set(
		err, -EDQUOT,
		"%u sessions of %s%s have ended whose sources may not know it yet, and evidence of them is "
		"kept in %s/%s: remove what no source is frozen for, or shorten serve --keep-ended",
		MFD_EVIDENCE_FILE_MOST, identity[0] ? "" : "sources without TLS", identity,
		p->server->dir, folder);
}

static int make_folder(struct mfd_session *s, struct mfd_error *err)
{
	int ret;

	mfd_assert(s->dirfd < 0);
	mfd_assert(!s->store);
	if (mkdirat(s->server->dirfd, s->name, 0700))
		return mfd_space_error(err, -errno, s->server->dirfd, 0, "session folder %s",
				       s->name);
	s->dirfd =
		openat(s->server->dirfd, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->dirfd < 0)
		return mfd_error_sys(err, -errno, "session folder %s", s->name);
	s->files.dirfd = s->dirfd;
	ret = mfd_pagestore_create(s->dirfd, s->server->durable, &s->store, err);
	return ret;
}

static struct mfd_wire_limits limits_of(const Mfd__Hello *h)
{
	return (struct mfd_wire_limits){
		.channels = h->channels < MFD_WIRE_MAX_CHANNELS ? h->channels :
								  MFD_WIRE_MAX_CHANNELS,
		.packet_size = h->packet_size < MFD_WIRE_MAX_PACKET ? h->packet_size :
								      MFD_WIRE_MAX_PACKET,
		.checksum = h->checksum,
		.compress = (int)h->compress & (MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4),
		.precopy = h->precopy,
	};
}

static int check_memory(struct mfd_server *sv, const struct mfd_owner *o, const Mfd__Hello *h,
			struct mfd_error *err)
{
	const struct mfd_wire_limits lim = limits_of(h);

	return mfd_memory_check(sv, o, &lim, h, err);
}

static void set_up(struct mfd_session *s, const Mfd__Hello *h)
{
	mfd_assert(!s->plan);
	mfd_assert(s->phase == MFD_PHASE_NONE);
	s->limits = limits_of(h);
	s->plan = mfd_plan_granted(h, mfd_server_restores_early(s->server));
	mfd_rounds_begin(s);
	s->times.started_us = mfd_clean_now_us();
	snprintf(s->source, sizeof(s->source), "%s", h->source ? h->source : "");
	mfd_setting_offered(s, h->settings, h->has_max_bandwidth, h->max_bandwidth);
}

int mfd_hello_restore_options(struct mfd_session *s, char *const *options, size_t n)
{
	mfd_assert(!s->asked.restore_options && !s->asked.n_restore_options);
	mfd_assert(!atomic_load(&s->thread));
	s->asked.restore_options = calloc(n + 1, sizeof(*s->asked.restore_options));
	if (!s->asked.restore_options)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++, s->asked.n_restore_options++) {
		s->asked.restore_options[i] = strdup(options[i]);
		if (!s->asked.restore_options[i])
			return -ENOMEM;
	}
	return 0;
}

static int fill_session(struct mfd_session *s, const Mfd__Hello *h, struct mfd_error *err)
{
	int ret = mfd_session_set_aside(s, MFD_CLAIM_NEW, err), admitted;

	mfd_assert(s->phase == MFD_PHASE_NONE);
	mfd_assert(s->presence == MFD_PRESENCE_CLAIMED);
	if (ret)
		return ret;
	ret = mfd_hello_restore_options(s, h->restore_option, h->n_restore_option);
	ret = ret ? ret : mfd_address_keep(s, h->move_address, h->n_move_address);
	if (ret)
		return mfd_error_sys(err, ret, "session");
	if (mfd_tables_init(&s->tables))
		return mfd_error_set(err, -ENOMEM, "no memory");
	if (getrandom(s->id, sizeof(s->id), 0) != sizeof(s->id) ||
	    getrandom(s->secret, sizeof(s->secret), 0) != sizeof(s->secret))
		return mfd_error_sys(err, -errno, "getrandom");
	ret = make_folder(s, err);
	if (ret)
		return ret;
	admitted = mfd_memory_enter(s, h, err);
	if (admitted < 0)
		return err->code;
	mfd_session_enter(s, admitted ? MFD_PHASE_STREAMING : MFD_PHASE_QUEUED);
	ret = mfd_session_store(s, 0);
	return ret ? mfd_space_error(err, ret, s->dirfd, 0, "session.img") : 0;
}

/* It comes to nothing. */
static void unmake(struct mfd_session *s)
{
	mfd_record_remove(s->server->dirfd, s->name);
	mfd_budget_leave(&s->server->budget, &s->memory.claim, 0);
}

static int make_session(struct mfd_session *s, const Mfd__Hello *h, struct mfd_error *err)
{
	int ret = make_room(s, err);

	mfd_assert(s->phase == MFD_PHASE_NONE);
	mfd_assert(s->presence == MFD_PRESENCE_CLAIMED);
	if (ret)
		return ret;
	set_up(s, h);
	ret = fill_session(s, h, err);
	if (ret)
		unmake(s);
	return ret;
}

static int claim(struct mfd_server *sv, const char *name, struct mfd_owner *owner,
		 struct mfd_session **s, struct mfd_error *err)
{
	int ret = mfd_session_claim(sv, name, MFD_CLAIM_NEW, owner, s, err);

	if (ret == -EEXIST)
		return mfd_error_set(err, ret, "session %s is in use", name);
	return ret ? mfd_error_sys(err, ret, "session %s", name) : 0;
}

/* From here on the session's thread ends what goes wrong. */
static int launch(struct mfd_session *s, struct mfd_peer *p, struct mfd_error *err)
{
	struct mfd_thread *thread;
	int ret = mfd_threads_reserve(&s->server->pool, &thread);

	mfd_assert(s->presence == MFD_PRESENCE_CLAIMED);
	mfd_assert(s->phase == MFD_PHASE_QUEUED || s->phase == MFD_PHASE_STREAMING);
	if (ret) {
		unmake(s);
		return mfd_error_sys(err, ret, "thread");
	}
	pthread_mutex_lock(&s->lock);
	s->presence = MFD_PRESENCE_LIVE;
	s->link.state = s->phase == MFD_PHASE_QUEUED ? MFD_LINK_NONE : MFD_LINK_JOINING;
	pthread_mutex_unlock(&s->lock);
	mfd_session_attach_control(s, p, MFD_OUTCOME_NONE);
	atomic_fetch_add(&s->refs, 1); /* the thread's */
	mfd_session_start(s, thread);
	return 0;
}

/* Everything that can be seen before anything is made of it; then it has its name. */
static int admit(struct mfd_peer *p, const Mfd__Hello *h, struct mfd_session **s,
		 struct mfd_error *err)
{
	struct mfd_owner owner = { .rights = NULL };
	int ret = check_name(h->session, err);

	mfd_owner_of(&owner, p);
	ret = ret ? ret : mfd_permit_hello(&owner, h, err);
	ret = ret ? ret : check_limits(h, err);
	ret = ret ? ret : check_machine(h, err);
	ret = ret ? ret : check_restore(p->server, &owner, h, err);
	ret = ret ? ret : check_memory(p->server, &owner, h, err);
	ret = ret ? ret : check_evidence(p, err);
	ret = ret ? ret : claim(p->server, h->session, &owner, s, err);
	mfd_owner_release(&owner);
	return ret;
}

int mfd_hello_open(struct mfd_peer *p, const Mfd__Hello *h, struct mfd_session **out,
		   struct mfd_error *err)
{
	struct mfd_session *s;
	int queued, ret = admit(p, h, &s, err);

	if (ret)
		return ret;
	ret = make_session(s, h, err);
	queued = s->phase == MFD_PHASE_QUEUED; /* the thread's own once it runs */
	ret = ret ? ret : launch(s, p, err);
	if (ret) {
		mfd_session_unclaim(s);
		return ret;
	}
	mfd_peer_admit(p);
	mfd_log_info("%s: opened by %s (%s%s%s): %s, %u channels of %u KiB%s", s->name, p->where,
		     s->source[0] ? s->source : "?", s->owner.identity[0] ? ", " : "",
		     s->owner.identity, s->plan->postcopy ? "postcopy" : "safe", s->limits.channels,
		     s->limits.packet_size >> 10, queued ? "; waits for memory" : "");
	if (!queued)
		mfd_say_hello_ok(s);
	*out = s;
	return 0;
}

/* ---- RESUME ---- */

static enum mfd_outcome outcome_of(const char *text)
{
	if (!strcmp(text, "commit"))
		return MFD_OUTCOME_COMMIT;
	if (!strcmp(text, "abort"))
		return MFD_OUTCOME_ABORT;
	return !strcmp(text, "continue") ? MFD_OUTCOME_CONTINUE : MFD_OUTCOME_NONE;
}

static void send_committed(struct mfd_peer *p, const struct mfd_evidence *v)
{
	Mfd__Committed committed = MFD__COMMITTED__INIT;
	Mfd__ResumeOk ok = MFD__RESUME_OK__INIT;

	ok.state = (char *)mfd_session_file_state(v->state);
	mfd_control_send(&p->control, MFD_WIRE_RESUME_OK, &ok.base);
	mfd_control_send(&p->control, MFD_WIRE_COMMITTED, &committed.base);
}

/* The source's tasks run on, and the session is committed: both run, and status says so. */
static void note_both(struct mfd_peer *p, const uint8_t *id, const char *name)
{
	struct mfd_session_file f;
	int fd = openat(p->server->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	mfd_log_error("%s: BOTH RUN: the source's tasks run on, and it is committed", name);
	if (fd < 0 || mfd_session_file_find(p->server->dirfd, name, &f)) {
		mfd_io_close(&fd);
		return;
	}
	if (f.entry && !f.ended &&
	    mfd_evidence_is_of(f.entry, mfd_conn_identity(&p->control.conn), id)) {
		f.entry->has_both_run = f.entry->both_run = 1;
		mfd_session_file_store(fd, f.entry, 1);
	}
	mfd_session_file_release(&f);
	mfd_io_close(&fd);
}

static void send_end(struct mfd_peer *p, const struct mfd_wire_greeting *g,
		     const struct mfd_evidence *v)
{
	Mfd__Abort m = MFD__ABORT__INIT;

	m.reason = (char *)v->text;
	m.has_code = 1;
	m.code = v->kind == MFD_EVIDENCE_UNLOADABLE ? -EAGAIN : -ENOENT;
	m.has_unloadable = m.unloadable = v->kind == MFD_EVIDENCE_UNLOADABLE;
	m.has_ended_id = v->kind == MFD_EVIDENCE_ENDED;
	m.ended_id.data = (uint8_t *)g->session;
	m.ended_id.len = m.has_ended_id ? sizeof(g->session) : 0;
	m.has_ran = m.has_by_person = m.has_ended_id;
	m.ran = v->ran;
	m.by_person = v->by_person;
	mfd_control_send(&p->control, MFD_WIRE_ABORT, &m.base);
}

static void drain(struct mfd_peer *p)
{
	ProtobufCMessage *msg;
	unsigned type;

	mfd_peer_answered(p);
	while (!mfd_control_recv(&p->control, &type, &msg, NULL))
		protobuf_c_message_free_unpacked(msg, NULL);
}

/*
 * It is not alive here.  Whatever the source wanted: a commit that happened (a person may have
 * decided) is what it must hear of.  An older source takes each ABORT for evidence, so one whose
 * session is here, and only not loaded, is left without an answer: it tries again.
 */
static int answer_from_disk(struct mfd_peer *p, const struct mfd_wire_greeting *g,
			    const Mfd__Resume *r, enum mfd_resume_try which, struct mfd_error *err)
{
	struct mfd_evidence v;

	mfd_evidence_look(p, g, r->session, &v);
	if (v.kind == MFD_EVIDENCE_UNLOADABLE && which == MFD_RESUME_FIRST)
		return mfd_error_set(err, -EAGAIN, "%s", v.text);
	if (v.kind == MFD_EVIDENCE_COMMITTED) {
		if (outcome_of(r->outcome) == MFD_OUTCOME_ABORT)
			note_both(p, g->session, r->session);
		send_committed(p, &v);
	} else {
		mfd_log_warn("%s: %s: %s", r->session, p->text, v.text);
		if (v.kind == MFD_EVIDENCE_UNLOADABLE && !r->evidence)
			return 0;
		send_end(p, g, &v);
	}
	drain(p);
	return 0;
}

/*
 * A session that exists but cannot be had just now: close without a word, so that the source tries
 * again.  "No such session" would let it resume its tasks.
 */
static int attach(struct mfd_peer *p, struct mfd_session *s, enum mfd_outcome outcome,
		  struct mfd_session **out)
{
	int ret = mfd_session_attach_control(s, p, outcome);

	if (ret) {
		mfd_log_warn("%s: %s: cannot be resumed just now: %s", s->name, p->text,
			     strerror(-ret));
		mfd_session_put(s);
		return 0;
	}
	mfd_peer_admit(p);
	*out = s;
	return 0;
}

int mfd_hello_resume(struct mfd_peer *p, const struct mfd_wire_greeting *g, const Mfd__Resume *r,
		     enum mfd_resume_try which, struct mfd_session **out, struct mfd_error *err)
{
	enum mfd_outcome outcome = outcome_of(r->outcome);
	struct mfd_session *s;
	int ret;

	if (outcome == MFD_OUTCOME_NONE)
		return mfd_error_set(err, -EPROTO, "unknown outcome in RESUME");
	ret = check_name(r->session, err);
	if (ret)
		return ret;
	s = mfd_session_find_id(p, g);
	if (s && strcmp(s->name, r->session)) {
		mfd_session_put(s);
		return mfd_error_set(err, -EPROTO, "RESUME names another session");
	}
	if (s && r->room)
		atomic_store(&s->memory.room_ok, 1);
	if (s) {
		mfd_setting_offered(s, r->settings, r->has_max_bandwidth, r->max_bandwidth);
		return attach(p, s, outcome, out);
	}
	return answer_from_disk(p, g, r, which, err);
}
