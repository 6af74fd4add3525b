// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line of drain.  Options of the table reach each migrate through the environment, as
 * they reach the sender of one; flags of migrate that are no options are handed on as words.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "drain.h"
#include "flags.h"
#include "io.h"
#include "size.h"

#define OWN_EXTRA 3 /* words that complete() adds */

static char host[65];

/* ---- values ---- */

struct pick_flag {
	struct mfd_drain *d;
	enum mfd_drain_pick_kind kind;
};

static int add_pick(void *dest, const char *value, struct mfd_error *err)
{
	struct pick_flag *p = dest;

	if (!*value || (p->kind != MFD_DRAIN_CGROUP && p->kind != MFD_DRAIN_PIDS &&
			(strchr(value, '/') || strlen(value) > 200)))
		return mfd_error_set(err, -EINVAL, "'%.200s' is not a name", value);
	if (p->d->n_picks == MFD_DRAIN_PICKS)
		return mfd_error_set(err, -E2BIG, "more than %d are named", MFD_DRAIN_PICKS);
	p->d->picks[p->d->n_picks++] = (struct mfd_drain_pick){ p->kind, value };
	return 0;
}

struct hand_on {
	struct mfd_drain *d;
	const char *flag;
};

/* A flag of migrate's with its value. */
static int hand_on(void *dest, const char *value, struct mfd_error *err)
{
	struct hand_on *h = dest;

	if (h->d->n_extra + 2 + OWN_EXTRA > MFD_DRAIN_EXTRA)
		return mfd_error_set(err, -E2BIG, "too many of them");
	h->d->extra[h->d->n_extra++] = h->flag;
	h->d->extra[h->d->n_extra++] = value;
	return 0;
}

static int set_deadline(void *dest, const char *value, struct mfd_error *err)
{
	struct mfd_drain *d = dest;
	int64_t now = (int64_t)time(NULL), when;
	int ret = mfd_drain_time(value, now, &when, err);

	if (!ret)
		d->deadline_ms = mfd_io_now_ms() + (uint64_t)(when - now) * 1000;
	return ret;
}

static int set_bandwidth(void *dest, const char *value, struct mfd_error *err)
{
	struct mfd_drain *d = dest;
	struct mfd_options o;
	struct mfd_error inner = { 0 };
	int ret;

	mfd_options_init(&o);
	ret = mfd_options_set(&o, "max-bandwidth", value, MFD_FROM_FLAG, "the rate", &inner);
	d->bandwidth = o.max_bandwidth;
	mfd_options_free(&o);
	return ret ? mfd_error_set(err, ret, "%s", mfd_error_text(&inner)) : 0;
}

/* ---- targets ---- */

/* "=ROOM" at the end of a word is cut off.  A folder of ssh:// may have a '=' of its own. */
static uint64_t take_room(char *to)
{
	char *equals = strrchr(to, '=');
	uint64_t room;

	if (!equals || mfd_size_parse(equals + 1, &room))
		return MFD_DRAIN_UNKNOWN;
	*equals = 0;
	return room;
}

static int check_target(const char *to, struct mfd_error *err)
{
	struct mfd_migrate_ssh ssh = { 0 };
	struct mfd_error inner = { 0 };
	struct mfd_options o;
	int ret;

	mfd_options_init(&o);
	ret = mfd_migrate_ssh_is(to) ?
		      mfd_migrate_ssh_parse(&ssh, to, &inner) :
		      mfd_options_set(&o, "target", to, MFD_FROM_FLAG, "--to", &inner);
	mfd_options_free(&o);
	return ret ? mfd_error_set(err, -EINVAL, "%s", mfd_error_text(&inner)) : 0;
}

static int add_target(struct mfd_drain *d, char *to, struct mfd_error *err)
{
	uint64_t room = take_room(to);
	int ret = *to ? check_target(to, err) :
			mfd_error_set(err, -EINVAL, "--to: a target is empty");

	for (unsigned i = 0; i < d->n_targets && !ret; i++)
		if (!strcmp(d->targets[i].to, to))
			ret = mfd_error_set(err, -EINVAL, "--to: %s is there twice", to);
	if (!ret && d->n_targets == MFD_DRAIN_TARGETS)
		ret = mfd_error_set(err, -E2BIG, "--to: more than %d targets", MFD_DRAIN_TARGETS);
	if (!ret)
		d->targets[d->n_targets++] = (struct mfd_drain_target){ .to = to, .room = room };
	return ret;
}

int mfd_drain_args_targets(struct mfd_drain *d, const char *list, struct mfd_error *err)
{
	int ret = 0;

	while (!ret) {
		size_t len = strcspn(list, ",");
		char *to = strndup(list, len);

		ret = to ? add_target(d, to, err) : mfd_error_sys(err, -ENOMEM, "--to");
		if (ret)
			free(to);
		if (!list[len])
			break;
		list += len + 1;
	}
	return ret;
}

/* ---- the verb's table ---- */

static const char notes[] =
	"What is meant is found by control groups of version 2, those of systemd and of container runtimes; no systemd is\n"
	"asked; groups that belong to a user are looked at only by --cgroup. Several flags add up. Each process whose parent is not among those meant is moved with all its children, by\n"
	"a 'criu-multifd migrate' of its own: a failure of one does not matter to another. All other options of migrate (TLS,\n"
	"precopy, mode ...) and those of criu, after --, are handed on to each.\n"
	"\n"
	"Before anything begins the list says what would move and where, and what cannot, with the reasons of 'criu-multifd\n"
	"check'. The largest goes first, each to the target that has most room left (--to A:9000=64G,B:9000=32G says what room\n"
	"they have), or else to the one that was given least. One that fails is tried on each other target once.\n"
	"\n"
	"--deadline TIME: 30m (s, m, h, d), 23:30, '2026-12-01 06:00' or @SECONDS. Nothing is begun that is not expected to end\n"
	"before it: a multiple of what 'check' expects, first the number of moves at once, later the slowest of those that\n"
	"ended. What is on its way then aborts by the timeout of its migrate, and runs on here.\n"
	"\n"
	"Ctrl-C: nothing new is begun, what is on its way ends. Once more: it is aborted, as by a Ctrl-C of migrate.\n"
	"\n"
	"Run it again, and it goes on where it stopped: what has moved is gone from here, what is in doubt is named and not\n"
	"touched, what failed is tried again. In DIR each session has a folder with the log of its migrate (migrate.log) and\n"
	"its events (events.json); what is to be settled is there, too. DIR is for one boot, and for one drain at a time.\n"
	"\n"
	"What supervises a process must not start it again when it is gone here: stop that first (for systemd a drop-in with\n"
	"Restart=no). What has appeared a second after the last move is named, and the host is not empty then. A container's root file\n"
	"system and its runtime's own record do not move: contrib/runtimes/move-container does that.\n"
	"\n"
	"--json: events plan, begun, ended, and summary as the last, with a state for each process: moved, gone (it ended by\n"
	"itself before), not-begun, cannot-move, failed, died (while it was moved), new, busy, in-doubt, both-run; with\n"
	"--no-restore stored: complete there, running nowhere until 'criu-multifd restore' there. pause_ms: no copy ran.\n"
	"\n"
	"Exit status:\n"
	"   0  empty: nothing of what is meant is left here (with --dry-run: everything can move)\n"
	"   1  something is left and runs on here: it cannot move, failed, or began meanwhile; or it died while it was moved\n"
	"   2  something was not begun and runs on here: the deadline, a signal, or no target with room\n"
	"   3  something is in doubt, or a move of an earlier run is at work: see 'criu-multifd status --source'\n"
	"   4  nothing was begun: no such unit or process, not root, no criu, another drain in DIR ...\n"
	"   6  a process runs on both hosts, where a person has let it run: end one of the two\n"
	"  64  wrong usage or configuration\n"
	"The highest of 6, 3, 1, 2 that is true of any process is told.";

/* Options that a drain sets for each move by itself. */
static int take_option(void *arg, int argc, char **argv, int *i, struct mfd_error *err)
{
	static const char *const own[] = { "--target", "--tree" };

	for (size_t k = 0; k < sizeof(own) / sizeof(*own); k++)
		if (!strncmp(argv[*i], own[k], strlen(own[k])) &&
		    (!argv[*i][strlen(own[k])] || argv[*i][strlen(own[k])] == '='))
			return mfd_error_set(err, -EINVAL,
					     "%s is what drain gives each migrate (--to, "
					     "--pid)",
					     own[k]);
	return mfd_migrate_args_option(arg, argc, argv, i, err);
}

static int complete(struct mfd_drain *d, const char *to, struct mfd_error *err)
{
	int ret = mfd_drain_args_targets(d, to, err);

	if (!ret && d->m.no_check)
		d->extra[d->n_extra++] = "--no-check";
	if (!ret && d->m.no_check_target)
		d->extra[d->n_extra++] = "--no-check-target";
	if (!ret && d->m.no_auto)
		d->extra[d->n_extra++] = "--no-auto-options";
	if (!ret)
		ret = mfd_migrate_check_criu_args(&d->m, err);
	ret = ret ? ret : mfd_migrate_args_read(&d->m, err);
	if (!ret && !d->no_restore)
		d->m.o.confirm = MFD_CONFIRM_RESTORE;
	if (!d->session && gethostname(host, sizeof(host) - 1))
		strcpy(host, "host");
	if (!d->session)
		d->session = host;
	d->terminal = !d->m.json && isatty(STDERR_FILENO);
	return ret;
}

int mfd_drain_args(struct mfd_drain *d, int argc, char **argv)
{
	const char *to = NULL;
	struct pick_flag picks[] = { { d, MFD_DRAIN_UNIT },
				     { d, MFD_DRAIN_CGROUP },
				     { d, MFD_DRAIN_CONTAINER },
				     { d, MFD_DRAIN_SLICE },
				     { d, MFD_DRAIN_PIDS } };
	struct hand_on ssh = { d, "--ssh-program" }, remote = { d, "--remote-program" },
		       serve = { d, "--serve-option" };
	const struct mfd_flag flags[] = {
		{ .name = "to",
		  .kind = MFD_FLAG_STRING,
		  .dest = &to,
		  .arg = "HOST[,HOST...]",
		  .help = "the targets, each as --to of migrate; with =ROOM (as 64G) behind it: the memory it has room for" },
		{ .name = "unit",
		  .kind = MFD_FLAG_CALL,
		  .call = add_pick,
		  .dest = &picks[0],
		  .arg = "NAME",
		  .help = "what runs in this unit of systemd (.service, if nothing else is said)" },
		{ .name = "slice",
		  .kind = MFD_FLAG_CALL,
		  .call = add_pick,
		  .dest = &picks[3],
		  .arg = "NAME",
		  .help = "all that runs in this slice" },
		{ .name = "cgroup",
		  .kind = MFD_FLAG_CALL,
		  .call = add_pick,
		  .dest = &picks[1],
		  .arg = "PATH",
		  .help = "all that runs in this control group and those below it" },
		{ .name = "container",
		  .kind = MFD_FLAG_CALL,
		  .call = add_pick,
		  .dest = &picks[2],
		  .arg = "ID",
		  .help = "what runs in the control group of this container (ID, or 12 digits of it and more)" },
		{ .name = "pid",
		  .kind = MFD_FLAG_CALL,
		  .call = add_pick,
		  .dest = &picks[4],
		  .arg = "PID[,PID...]",
		  .help = "these processes" },
		{ .name = "parallel",
		  .kind = MFD_FLAG_UINT,
		  .dest = &d->parallel,
		  .arg = "N",
		  .min = 1,
		  .max = 256,
		  .help = "so many moves at once (4)" },
		{ .name = "deadline",
		  .kind = MFD_FLAG_CALL,
		  .call = set_deadline,
		  .dest = d,
		  .arg = "TIME",
		  .help = "begin nothing that would not end before it; see below" },
		{ .name = "max-bandwidth",
		  .kind = MFD_FLAG_CALL,
		  .call = set_bandwidth,
		  .dest = d,
		  .arg = "RATE",
		  .help = "of all moves together, as the option of migrate: each has its share (1/N) of it" },
		{ .name = "dry-run",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &d->dry_run,
		  .help = "only list what would move, and what cannot" },
		{ .name = "json",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &d->m.json,
		  .help = "for programs" },
		{ .name = "metrics",
		  .kind = MFD_FLAG_STRING,
		  .dest = &d->metrics,
		  .arg = "FILE",
		  .help = "keep figures there as OpenMetrics text, for node_exporter's folder (NAME.prom)" },
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &d->dir,
		  .arg = "DIR",
		  .help = "where logs and what is in doubt are kept (" MFD_DRAIN_DIR ")" },
		{ .name = "session",
		  .kind = MFD_FLAG_STRING,
		  .dest = &d->session,
		  .arg = "NAME",
		  .help = "sessions are called NAME.PROCESS.PID (the name of this host)" },
		{ .name = "no-restore",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &d->no_restore,
		  .help = "do not ask for a restore on the target (migrate --restore); an operator does that" },
		{ .name = "timeout",
		  .kind = MFD_FLAG_MS,
		  .dest = &d->m.timeout_ms,
		  .arg = "SECONDS",
		  .help = "abort a move that has not come to an end by then" },
		{ .name = "no-check",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &d->m.no_check,
		  .help = "try also what check says cannot move" },
		{ .name = "no-check-target",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &d->m.no_check_target,
		  .help = "as of migrate" },
		{ .name = "no-auto-options",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &d->m.no_auto,
		  .help = "as of migrate" },
		{ .name = "ssh-program",
		  .kind = MFD_FLAG_CALL,
		  .call = hand_on,
		  .dest = &ssh,
		  .arg = "WORDS",
		  .help = "as of migrate" },
		{ .name = "remote-program",
		  .kind = MFD_FLAG_CALL,
		  .call = hand_on,
		  .dest = &remote,
		  .arg = "WORDS",
		  .help = "as of migrate" },
		{ .name = "serve-option",
		  .kind = MFD_FLAG_CALL,
		  .call = hand_on,
		  .dest = &serve,
		  .arg = "WORD",
		  .help = "as of migrate" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "drain",
		.usage =
			"--to HOST[,HOST...] --unit NAME|--slice NAME|--cgroup PATH|--container ID|--pid LIST ... "
			"[-- CRIU DUMP OPTIONS]",
		.summary =
			"Moves all that runs in units, slices, control groups or containers to other hosts.",
		.notes = notes,
		.flags = flags,
		.max_args = 0,
		.after = 1,
		.other = take_option,
		.other_arg = &d->m.o,
		.other_help = mfd_options_help,
	};
	struct mfd_flags_args args;
	struct mfd_error err = { 0 };
	int ret;

	d->parallel = 4;
	d->dir = MFD_DRAIN_DIR;
	mfd_options_init(&d->m.o);
	ret = mfd_flags_begin(&table, argc, argv, &args);
	if (ret >= 0)
		return ret;
	if (!to)
		return mfd_flags_misuse(&table, "--to HOST[,HOST...] is missing");
	if (!d->n_picks)
		return mfd_flags_misuse(&table, "what is to be moved is missing: --unit, --slice, "
						"--cgroup, --container or --pid");
	d->m.criu_args = args.after;
	d->m.n_criu_args = args.n_after;
	ret = complete(d, to, &err);
	return ret ? mfd_flags_misuse(&table, "%s", mfd_error_text(&err)) : -1;
}
