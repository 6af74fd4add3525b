// SPDX-License-Identifier: GPL-2.0-only
/*
 * The look at the process before anything is begun: options of criu that it needs are added, what
 * cannot move is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_report.h"
#include "io.h"
#include "migrate.h"
#include "size.h"

/* The value of criu's option at argument i, NULL: it has none. */
static const char *value_at(const struct mfd_migrate *m, int i)
{
	const char *equals = strchr(m->criu_args[i], '=');

	if (equals)
		return equals + 1;
	return i + 1 < m->n_criu_args ? m->criu_args[i + 1] : NULL;
}

/* A size that is too small is as good as none. */
static int suffices(const struct mfd_migrate *m, int i, const struct mfd_check_finding *f)
{
	const char *value = value_at(m, i);
	uint64_t bytes;

	return !value || mfd_size_parse(value, &bytes) || bytes >= f->value;
}

static void note_given(const struct mfd_migrate *m, struct mfd_check *c, enum mfd_check_id id)
{
	const struct mfd_check_kind *k = &mfd_check_kinds[id];
	struct mfd_check_finding *f = &c->found[id];

	for (int i = 0; i < m->n_criu_args; i++) {
		if (k->instead && mfd_migrate_is_option(m->criu_args[i], k->instead))
			f->given = 1;
		if (k->option && mfd_migrate_is_option(m->criu_args[i], k->option))
			f->given = !k->valued || suffices(m, i, f);
	}
}

static int add_option(struct mfd_migrate *m, const struct mfd_check *c, enum mfd_check_id id)
{
	char text[MFD_CHECK_OPTION_TEXT], *word = strdup(mfd_check_option(c, id, text));
	size_t n = (size_t)m->n_criu_args;
	char **all = word ? reallocarray(NULL, n + 2, sizeof(*all)) : NULL;

	if (!all) {
		free(word);
		return -ENOMEM;
	}
	if (n)
		memcpy(all, m->criu_args, n * sizeof(*all));
	all[n] = word; /* lives as long as this program, as argv does */
	all[n + 1] = NULL;
	free(m->all_args);
	m->criu_args = m->all_args = all;
	m->n_criu_args++;
	return 0;
}

static int add_options(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err)
{
	int added = 0, ret;

	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++) {
		const struct mfd_check_kind *k = &mfd_check_kinds[id];

		if (!k->option || k->costs || !mfd_check_is_open(c, id))
			continue;
		ret = add_option(m, c, id);
		if (ret)
			return mfd_error_sys(err, ret, "options for criu");
		c->found[id].added = added = 1;
	}
	if (!added)
		return 0;
	ret = mfd_migrate_check_criu_args(m, err);
	return ret ? ret : mfd_migrate_args_again(m, err);
}

int mfd_migrate_look_into(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err)
{
	int ret;

	c->root = (pid_t)m->pid;
	c->postcopy = m->o.mode == MFD_MODE_POSTCOPY;
	c->with_restore = m->o.confirm == MFD_CONFIRM_RESTORE;
	c->cpr_off = m->o.cpr && !strcmp(m->o.cpr, "off");
	c->page_pipes = m->o.page_dump == MFD_PAGE_DUMP_CRIU;
	c->max_bandwidth = m->o.max_bandwidth;
	c->criu = m->criu.major * 100 + m->criu.minor;
	ret = mfd_check_run(c);
	if (ret)
		return mfd_error_sys(err, ret, "looking at process %u", m->pid);
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++)
		note_given(m, c, id);
	return m->no_auto ? 0 : add_options(m, c, err);
}

static void say(struct mfd_migrate *m, const struct mfd_check *c, enum mfd_check_id id)
{
	const struct mfd_check_kind *k = &mfd_check_kinds[id];
	const struct mfd_check_finding *f = &c->found[id];
	char option[MFD_CHECK_OPTION_TEXT];

	mfd_check_option(c, id, option);
	if (f->added)
		mfd_migrate_report_say(m, "adds %s: %s", option, f->example[0]);
	else if (mfd_check_is_open(c, id) && k->verdict != MFD_CHECK_CANNOT)
		mfd_migrate_report_say(m, "%s%s%s: %s: %s", mfd_check_verdict_texts[k->verdict],
				       *option ? ", " : "", option, f->example[0], k->text);
}

/* What is known of the target is said when it has been asked. */
static int is_there(enum mfd_check_id id)
{
	return id >= MFD_FOUND_THERE_PATH && id <= MFD_FOUND_THERE_STORE;
}

int mfd_migrate_look(struct mfd_migrate *m, struct mfd_error *err)
{
	struct mfd_check *c = &m->check;
	enum mfd_check_id no;
	int ret;

	m->report.start_us = mfd_io_now_us();
	ret = mfd_migrate_look_into(m, c, err);
	no = mfd_check_impossible(c);
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS && !ret; id++)
		say(m, c, id);
	if (ret || no == MFD_CHECK_KINDS)
		return ret;
	mfd_migrate_report_check(m, c);
	return mfd_error_set(err, -EOPNOTSUPP, "%s; %s (--no-check tries all the same)",
			     c->found[no].example[0], mfd_check_kinds[no].text);
}

int mfd_migrate_look_there(struct mfd_migrate *m, struct mfd_error *err)
{
	struct mfd_check *c = &m->check;
	struct mfd_error untold = { 0 };
	int ret = mfd_migrate_probe(m, c, &untold);

	if (ret == -EPROTONOSUPPORT)
		mfd_migrate_report_say(m, "the target's criu-multifd is too old to say what it "
					  "lacks; going on");
	mfd_migrate_report_check(m, c);
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++) {
		const struct mfd_check_kind *k = &mfd_check_kinds[id];

		if (!is_there(id) || !c->found[id].count)
			continue;
		if (k->fatal == MFD_CHECK_MOVE)
			return mfd_error_set(
				err, -EOPNOTSUPP,
				"a move to %s would come to a stop: %s; %s (--no-check-target tries all the same)",
				m->o.target, c->found[id].example[0], k->text);
		if (c->with_restore && k->fatal)
			return mfd_error_set(
				err, -EOPNOTSUPP,
				"%s cannot restore it: %s%s; %s (--no-check-target tries all the same)",
				m->o.target, c->found[id].example[0],
				c->found[id].count > 1 ? " and others" : "", k->text);
		say(m, c, id);
	}
	return 0;
}
