/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Command lines as tables: a verb lists its flags, where their values go and a line of help;
 * parsing, checking, errors that name the flag, and --help come from the table.
 *
 *	static int mfd_x_main(int argc, char **argv)
 *	{
 *		const char *dir = MFD_DEFAULT_DIR;
 *		int once = 0;
 *		const struct mfd_flag flags[] = {
 *			{ .name = "dir", .kind = MFD_FLAG_STRING, .dest = &dir, .arg = "DIR",
 *			  .help = "the folder" },
 *			{ .name = "once", .kind = MFD_FLAG_BOOL, .dest = &once,
 *			  .help = "end after one session" },
 *			{ 0 },
 *		};
 *		const struct mfd_flags table = { .verb = "x", 
 *			.usage = "[--dir DIR] [--once] SESSION", .summary = "does x",
 *			.flags = flags, .min_args = 1, .max_args = 1, .arg_names = "SESSION" };
 *		struct mfd_flags_args args;
 *		int ret = mfd_flags_begin(&table, argc, argv, &args);
 *
 *		if (ret >= 0)
 *			return ret;
 *		... args.v[0] is the session
 *
 * Grammar: --name VALUE, --name=VALUE, -x VALUE, -xVALUE (letter flags are not bundled); flags and
 * arguments in any order; "--" ends both, what follows is args.after.  A flag given twice: the
 * later wins.  -h and --help are always there.
 */
#ifndef MFD_FLAGS_H
#define MFD_FLAGS_H

#include <stdint.h>
#include <stdio.h>

#include "error.h"

enum mfd_flag_kind {
	MFD_FLAG_BOOL,	 /* int *, becomes 1; takes no value */
	MFD_FLAG_STRING, /* const char **, points into argv; empty is refused */
	MFD_FLAG_UINT,	 /* uint32_t *, decimal, min .. max (max 0 = UINT32_MAX) */
	/*
	 * uint64_t *, in seconds on the command line ("1.5"), stored in milliseconds; at most a
	 * year
	 */
	MFD_FLAG_MS,
	MFD_FLAG_CHOICE, /* int *, index in `choices` */
	/* `call`, for everything else and for flags that may repeat; dest is passed on */
	MFD_FLAG_CALL,
};

struct mfd_flag {
	const char *name; /* without the dashes; NULL ends the table */
	enum mfd_flag_kind kind;
	void *dest;
	const char *arg;	    /* "DIR"; what the help calls the value */
	const char *help;	    /* one line or several with '\n' */
	char letter;		    /* -t as well, 0 = none */
	uint32_t min, max;	    /* MFD_FLAG_UINT */
	const char *const *choices; /* MFD_FLAG_CHOICE, NULL-terminated */
	/* 0, or -errno with what is allowed in err (the flag's name is put before it). */
	int (*call)(void *dest, const char *value, struct mfd_error *err);
};

struct mfd_flags {
	const char *verb;    /* "wait" */
	const char *usage;   /* what follows the verb in the first line of the help */
	const char *summary; /* one line */
	const char *notes;   /* paragraphs after the flags in the help, or NULL */
	const struct mfd_flag *flags;
	int min_args, max_args; /* max_args < 0 = any number */
	const char *arg_names;	/* for "SESSION is missing" */
	int after;		/* "--" and what follows it is allowed */
	/*
	 * Asked for words with dashes that are not in `flags`: 1 = taken (*i points to its last
	 * word), 0 = not known, -errno and err.  `arg` is other_arg; a wrapper of
	 * mfd_options_from_flag fits.  other_help prints its flags below the table's.
	 */
	int (*other)(void *arg, int argc, char **argv, int *i, struct mfd_error *err);
	void *other_arg;
	void (*other_help)(FILE *f);
};

struct mfd_flags_args {
	int n;	  /* arguments that are not flags */
	char **v; /* NULL-terminated; part of argv, which is reordered */
	int n_after;
	char **after; /* what follows "--", NULL-terminated as argv; NULL when there was none */
};

#define MFD_FLAGS_HELP 1
#define MFD_FLAGS_MAN  2 /* --help=man: the manual page, see manual.h; for the Makefile */
/*
 * 0, MFD_FLAGS_HELP or MFD_FLAGS_MAN when help was asked for (nothing is printed), or -EINVAL with
 * a sentence that names the flag.
 */
int mfd_flags_parse(const struct mfd_flags *f, int argc, char **argv, struct mfd_flags_args *args,
		    struct mfd_error *err);
void mfd_flags_help(const struct mfd_flags *f, FILE *out);
/*
 * For the main function of a verb: parse, print help or the error with a hint.  -1 = go on, else
 * the exit code (MFD_EXIT_OK after help, MFD_EXIT_USAGE).
 */
int mfd_flags_begin(const struct mfd_flags *f, int argc, char **argv, struct mfd_flags_args *args);
/*
 * Complain about the command line after parsing, as mfd_flags_begin does; returns MFD_EXIT_USAGE.
 */
int mfd_flags_misuse(const struct mfd_flags *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
