// SPDX-License-Identifier: GPL-2.0-only
/* Questions of the plugin, and what it is told. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "assert.h"
#include "hostcriu.h"
#include "io.h"
#include "link.h"
#include "log.h"
#include "run_on.h"
#include "worker.h"

void mfd_link_say(struct mfd_worker *w, enum mfd_link_type type, int value, const char *text)
{
	struct mfd_link_msg m = { .type = type, .value = value };

	snprintf(m.text, sizeof(m.text), "%s", text);
	if (w->link >= 0)
		mfd_io_send_fds(w->link, &m, sizeof(m), NULL, 0);
}

void mfd_link_answer(struct mfd_worker *w, enum mfd_link_type type, const char *text)
{
	mfd_assert(w->asked.type == MFD_LINK_START || w->asked.type == MFD_LINK_TASK);
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING); /* START has led there */
	w->asked.type = 0;
	mfd_link_say(w, type, 0, text);
}

void mfd_link_answer_with(struct mfd_worker *w, int fd)
{
	struct mfd_link_msg m = { .type = MFD_LINK_OK };

	mfd_assert(w->asked.type == MFD_LINK_TASK);
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING);
	w->asked.type = 0;
	if (w->link >= 0)
		mfd_io_send_fds(w->link, &m, sizeof(m), &fd, fd >= 0);
	mfd_io_close(&fd);
}

/*
 * After leave to run CRIU is needed for nothing any more, since hold.c holds the tasks: its end is
 * said and no error.
 */
static int goes_on_without_criu(struct mfd_worker *w, const char *what)
{
	char how[MFD_HOLD_PATH + 64];

	mfd_assert(w->sh->hold.kind != MFD_HOLD_NONE);
	mfd_log_warn("%s; the tasks stay frozen here, held by %s, since their copy may run on the "
		     "target, and their pages are sent on",
		     what, mfd_hold_text(w->sh, how, sizeof(how)));
	if (mfd_hold_look(w->sh))
		mfd_log_error("process %d ran here for a moment, beside its copy", w->sh->hold.ran);
	return MFD_SEND_NOTHING;
}

static int on_start(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_CONNECTING);
	mfd_assert(!w->asked.type);
	w->asked = *m;
	w->image_dir = fd;
	snprintf(w->sh->criu_run, sizeof(w->sh->criu_run), "%.63s", m->text);
	return 0;
}

/* Answered at once: CRIU waits, and the tasks run. */
static int on_freeze(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING);
	mfd_assert(!w->asked.type);
	(void)fd;
	ret = mfd_run_on_freezes(w->sh, w->o, m->text, &w->err);
	if (!ret)
		mfd_link_say(w, MFD_LINK_OK, 0, "noted");
	return ret;
}

static int on_task(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING);
	mfd_assert(!w->asked.type);
	(void)fd;
	mfd_run_on_thawed(w->sh, w->o);
	w->asked = *m;
	return 0;
}

/* The target is told so: for the log's usual name, in CRIU's work folder, which is ours, too. */
static int dump_failed(struct mfd_worker *w)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char why[320];
	int none = dir < 0 || mfd_hostcriu_complaint(dir, "dump.log", NULL, why, sizeof(why));

	mfd_io_close(&dir);
	return mfd_error_set(&w->err, -ECANCELED, "CRIU's dump failed (%s); session aborted",
			     none ? "its log says why" : why);
}

static int on_exit_of_dump(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	mfd_assert(w->progress);
	mfd_assert(mfd_send_phase(w->sh) != MFD_SEND_OVER);
	(void)fd;
	w->dump_result = m->value;
	if (mfd_send_phase_has(w->sh, MFD_SEND_LEAVE)) {
		mfd_link_say(w, MFD_LINK_HELD, -ECANCELED,
			     "the tasks stay frozen, since their copy may run on the target");
		return goes_on_without_criu(w, "CRIU has ended its dump before the verdict");
	}
	w->progress->criu_failed = m->value != 0;
	if (m->value)
		return dump_failed(w);
	return mfd_error_set(
		&w->err, -EINVAL,
		"nothing was moved: criu dump needs --lazy-pages for the multifd plugin; session aborted, the "
		"local images are complete");
}

static int on_finish(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	struct mfd_link_msg well = { .type = m->type };

	return on_exit_of_dump(w, &well, fd);
}

#define IN(phase) MFD_TURN_PHASE(MFD_SEND_##phase)
#define ALWAYS	  (~0U)

static const struct {
	unsigned type;
	unsigned phases; /* in which the plugin may ask it */
	int (*handle)(struct mfd_worker *w, const struct mfd_link_msg *m, int fd);
} questions[] = {
	{ MFD_LINK_START, IN(CONNECTING), on_start }, { MFD_LINK_FREEZE, IN(DUMPING), on_freeze },
	{ MFD_LINK_TASK, IN(DUMPING), on_task },      { MFD_LINK_FINISH, ALWAYS, on_finish },
	{ MFD_LINK_EXIT, ALWAYS, on_exit_of_dump },
};

static int handle(struct mfd_worker *w, const struct mfd_link_msg *m, int fd)
{
	unsigned phase = MFD_TURN_PHASE(mfd_send_phase(w->sh));

	mfd_assert(!w->asked.type); /* a stage answers in the round in which it was read */
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++)
		if (questions[i].type == m->type && questions[i].phases & phase)
			return questions[i].handle(w, m, fd);
	return mfd_error_set(&w->err, -EPROTO, "the plugin sent message %u", m->type);
}

static int criu_hung_up(struct mfd_worker *w)
{
	mfd_io_close(&w->link);
	if (!mfd_send_phase_has(w->sh, MFD_SEND_LEAVE))
		return mfd_error_set(&w->err, -EPIPE, "CRIU has ended");
	return w->dump_result == MFD_DUMP_GOES_ON ? goes_on_without_criu(w, "CRIU has ended") :
						    MFD_SEND_NOTHING;
}

int mfd_link_read(struct mfd_worker *w)
{
	struct mfd_link_msg m;
	int fd[MFD_IO_MAX_FDS], nfds = MFD_IO_MAX_FDS, ret;
	ssize_t n = mfd_io_recv_fds(w->link, &m, sizeof(m), fd, &nfds);

	if (n == (ssize_t)sizeof(m)) {
		ret = handle(w, &m, nfds > 0 ? fd[0] : -1);
	} else {
		ret = criu_hung_up(w);
	}
	return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
}

void mfd_link_serve(struct mfd_worker *w, enum mfd_link_type answer, const char *text, int ms)
{
	struct pollfd p = { .fd = w->link, .events = POLLIN };
	struct mfd_link_msg m;
	int nfds = 0;

	mfd_assert(w->sh);
	mfd_assert(answer);
	if (w->link < 0 || poll(&p, 1, ms) <= 0)
		return;
	if (mfd_io_recv_fds(w->link, &m, sizeof(m), NULL, &nfds) != (ssize_t)sizeof(m)) {
		mfd_io_close(&w->link);
		return;
	}
	if (m.type == MFD_LINK_EXIT)
		w->dump_result = m.value;
	mfd_link_say(w, answer, 0, text);
}
