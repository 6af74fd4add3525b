// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd check: could this process move, and with what? */
#include <errno.h>
#include <stdio.h>

#include "check_report.h"
#include "command.h"
#include "migrate.h"

static const struct mfd_migrate_words words = {
	.verb = "check",
	.usage = "-t PID [--to ADDR:PORT] [--json] [options of migrate] [-- CRIU DUMP OPTIONS]",
	.summary = "Says whether a process can move, and what it needs for that; changes nothing.",
	.notes =
		"It looks at the process and its children while they run, and takes the command line of migrate: what an option\n"
		"given there answers is not in the way.  migrate does the same before it begins, unless --no-check is given.\n"
		"\n"
		"Each finding has one of four verdicts:\n"
		"  cannot move          no option helps; the reason says what to change\n"
		"  needs an option      of criu, after --; migrate adds it to the dump and to the restore, unless --no-auto-options\n"
		"                       is given, or the option loses something\n"
		"  needs on the target  something that the other host must have, or that must be offered there\n"
		"  will be slow         it moves, and stands still for longer than one would think\n"
		"\n"
		"With --to ADDR:PORT the restore server there is asked what it lacks: files that are open or mapped (path, size,\n"
		"build id), numbers of processes where they must be kept, a userfaultfd (tried), memory, features of the processor,\n"
		"limits, ports, an older CRIU.  migrate asks that, too, and with --restore refuses what the target could not restore;\n"
		"--no-check-target: it does not ask.\n"
		"\n"
		"criu-multifd-services(7) lists what is looked for, and what common services need.\n"
		"\n"
		"Exit status:\n"
		"   0  it can move as typed\n"
		"   1  something stands in the way: it cannot move, or needs an option or something on the target\n"
		"   4  it could not be looked at: no such process, not root, no criu, a target that does not answer ...\n"
		"  64  wrong usage or configuration",
};

static int report(const struct mfd_migrate *m, const struct mfd_check *c)
{
	struct json_object *j;

	if (!m->json) {
		mfd_check_text(c);
		return mfd_check_moves(c) ? MFD_EXIT_OK : MFD_EXIT_FAILED;
	}
	j = json_object_new_object();
	mfd_check_json(j, c);
	printf("%s\n", json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(j);
	return mfd_check_moves(c) ? MFD_EXIT_OK : MFD_EXIT_FAILED;
}

/* One that cannot be asked is an answer of its own. */
static int ask_target(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err)
{
	int ret;

	m->is_check = 1;
	ret = mfd_migrate_probe(m, c, err);

	if (ret == -EPROTONOSUPPORT) {
		fprintf(stderr,
			"criu-multifd check: the criu-multifd of %s is too old to say what it lacks\n",
			m->o.target);
		return 0;
	}
	return ret ? mfd_error_sys(err, ret, "%s cannot be asked what it lacks", m->o.target) : 0;
}

static int check(struct mfd_migrate *m)
{
	struct mfd_error err = { 0 };
	struct mfd_check c = { 0 };
	int ret = mfd_migrate_check_host(&err);

	ret = ret ? ret : mfd_migrate_check_pid(m->pid, &err);
	ret = ret ? ret : mfd_hostcriu_find(&m->criu, &err);
	ret = ret ? ret : mfd_migrate_look_into(m, &c, &err);
	if (ret) {
		fprintf(stderr, "criu-multifd check: %s\n", mfd_error_text(&err));
		ret = MFD_EXIT_REFUSED;
	} else {
		int unknown = m->o.target && !m->by_ssh ? ask_target(m, &c, &err) : 0;

		/* What is known of the process is said all the same. */
		ret = report(m, &c);
		if (unknown)
			fprintf(stderr, "criu-multifd check: %s\n", mfd_error_text(&err));
		ret = unknown ? MFD_EXIT_REFUSED : ret;
	}
	mfd_check_free(&c);
	return ret;
}

int mfd_check_main(int argc, char **argv)
{
	struct mfd_migrate m = { 0 };
	int ret = mfd_migrate_args(&m, &words, argc, argv);

	if (ret < 0)
		ret = check(&m);
	mfd_migrate_args_free(&m);
	return ret;
}
