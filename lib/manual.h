/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Manual pages written by the program itself, from the tables that also parse: flags (flags.h),
 * options (options.h), verbs. What a page says about a flag cannot differ from what the program
 * takes.
 */
#ifndef MFD_MANUAL_H
#define MFD_MANUAL_H

#include <stdio.h>

#include "flags.h"

struct mfd_manual_verb {
	const char *name, *summary;
};

/* criu-multifd-VERB(8) as man(7) source. */
void mfd_manual_flags(const struct mfd_flags *f, FILE *out);
/* A page of another kind: sections, each of text, entries or an example. */
struct mfd_manual_entry {
	const char *name, *arg, *text; /* arg: NULL, or what follows the name */
};
struct mfd_manual_section {
	const char *title, *text, *example; /* text, example: or NULL */
	const struct mfd_manual_entry *entries;
	size_t n;
};
void mfd_manual_page(const char *name, int section, const char *summary,
		     const struct mfd_manual_section *s, size_t n, FILE *out);

/* criu-multifd.conf(5): the options, where they stand in a file. */
void mfd_manual_conf(FILE *out);

/* manual_examples.c: of a verb, lines of a shell; NULL: it has none. */
const char *mfd_manual_examples(const char *verb);

/* criu-multifd(8): verbs, options, files, environment. */
void mfd_manual_overview(const struct mfd_manual_verb *verbs, size_t n, FILE *out);

#endif
