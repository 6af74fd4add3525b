// SPDX-License-Identifier: GPL-2.0-only
/*
 * Command lines as tables: parsing, errors that name the flag, help. See flags.h for the grammar.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "closest.h"
#include "command.h"
#include "flags.h"
#include "manual.h"

#define YEAR_MS (366ULL * 24 * 3600 * 1000)

static size_t count(const struct mfd_flag *flags)
{
	size_t n = 0;

	while (flags && flags[n].name)
		n++;
	return n;
}

static int set_uint(const struct mfd_flag *f, const char *value, struct mfd_error *err)
{
	uint32_t max = f->max ? f->max : UINT32_MAX;
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (!isdigit((unsigned char)*value) || *end || errno || v < f->min || v > max)
		return mfd_error_set(err, -EINVAL, "--%s: '%s' is not a number from %u to %u",
				     f->name, value, f->min, max);
	*(uint32_t *)f->dest = v;
	return 0;
}

/* Decimal by hand: strtod would take "inf", "0x1p3" and the locale's comma. */
static int set_ms(const struct mfd_flag *f, const char *value, struct mfd_error *err)
{
	uint64_t ms = 0, unit = 1000;
	const char *p = value;

	for (; isdigit((unsigned char)*p) && ms <= YEAR_MS; p++)
		ms = ms * 10 + (*p - '0') * 1000;
	if (*p == '.' && p != value)
		for (p++; isdigit((unsigned char)*p); p++)
			ms += (*p - '0') * (unit /= 10);
	if (p == value || *p || ms > YEAR_MS)
		return mfd_error_set(err, -EINVAL, "--%s: '%s' is not a time in seconds", f->name,
				     value);
	*(uint64_t *)f->dest = ms;
	return 0;
}

static int set_choice(const struct mfd_flag *f, const char *value, struct mfd_error *err)
{
	char all[256] = "";
	size_t used = 0;

	for (int i = 0; f->choices[i]; i++) {
		if (!strcmp(f->choices[i], value)) {
			*(int *)f->dest = i;
			return 0;
		}
		if (used < sizeof(all))
			used += snprintf(all + used, sizeof(all) - used, "%s%s",
					 i ? f->choices[i + 1] ? ", " : " or " : "", f->choices[i]);
	}
	return mfd_error_set(err, -EINVAL, "--%s: '%s' is not %s", f->name, value, all);
}

static int set_call(const struct mfd_flag *f, const char *value, struct mfd_error *err)
{
	struct mfd_error inner = { 0 };
	int ret = f->call(f->dest, value, &inner);

	if (ret < 0) {
		inner.code = ret;
		return mfd_error_set(err, ret, "--%s: %s", f->name, mfd_error_text(&inner));
	}
	return 0;
}

static int set(const struct mfd_flag *f, const char *value, struct mfd_error *err)
{
	switch (f->kind) {
	case MFD_FLAG_BOOL:
		*(int *)f->dest = 1;
		return 0;
	case MFD_FLAG_STRING:
		if (!*value)
			return mfd_error_set(err, -EINVAL, "--%s: the value is empty", f->name);
		*(const char **)f->dest = value;
		return 0;
	case MFD_FLAG_UINT:
		return set_uint(f, value, err);
	case MFD_FLAG_MS:
		return set_ms(f, value, err);
	case MFD_FLAG_CHOICE:
		return set_choice(f, value, err);
	case MFD_FLAG_CALL:
		return set_call(f, value, err);
	}
	return mfd_error_set(err, -EINVAL, "--%s: unknown kind of flag", f->name);
}

/*
 * The flag a word stands for, and the value attached to it by '=' or, after a letter, by nothing.
 */
static const struct mfd_flag *match(const struct mfd_flag *flags, const char *word,
				    const char **value)
{
	*value = NULL;
	for (size_t i = 0, n = count(flags); i < n; i++) {
		size_t len = strlen(flags[i].name);

		if (word[1] != '-') {
			if (!flags[i].letter || word[1] != flags[i].letter)
				continue;
			*value = word[2] ? word + 2 : NULL;
			return &flags[i];
		}
		if (strncmp(word + 2, flags[i].name, len) ||
		    (word[2 + len] && word[2 + len] != '='))
			continue;
		*value = word[2 + len] ? word + 3 + len : NULL;
		return &flags[i];
	}
	return NULL;
}

static int unknown(const struct mfd_flags *f, const char *word, struct mfd_error *err)
{
	size_t n = count(f->flags);
	char name[64];
	const char *close;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 1 + (word[1] == '-'), "="),
		 word + 1 + (word[1] == '-'));
	close = word[1] == '-' ? mfd_closest(name, &f->flags->name, n, sizeof(*f->flags)) : NULL;
	return mfd_error_set(err, -EINVAL, "unknown flag '%s'%s%s%s", word, close ? "; is '--" : "",
			     close ? close : "", close ? "' meant?" : "");
}

/* The word with a dash at argv[*i]; *i moves to its value when that is the next word. */
static int take_flag(const struct mfd_flags *f, int argc, char **argv, int *i,
		     struct mfd_error *err)
{
	const char *value, *word = argv[*i];
	const struct mfd_flag *flag = match(f->flags, word, &value);
	int ret;

	if (!flag && !strcmp(word, "--help=man"))
		return MFD_FLAGS_MAN;
	if (!flag && (!strcmp(word, "--help") || !strcmp(word, "-h")))
		return MFD_FLAGS_HELP;
	if (!flag) {
		ret = f->other ? f->other(f->other_arg, argc, argv, i, err) : 0;
		return ret < 0 ? ret : ret ? 0 : unknown(f, word, err);
	}
	if (flag->kind == MFD_FLAG_BOOL && value)
		return mfd_error_set(err, -EINVAL, "--%s takes no value", flag->name);
	if (flag->kind != MFD_FLAG_BOOL && !value) {
		if (*i + 1 >= argc)
			return mfd_error_set(err, -EINVAL, "--%s: the value (%s) is missing",
					     flag->name, flag->arg ? flag->arg : "VALUE");
		value = argv[++*i];
	}
	return set(flag, value, err);
}

/* "SESSION" of "SESSION [FILE]": the name of argument i, as far as the table knows. */
static int missing(const struct mfd_flags *f, int have, struct mfd_error *err)
{
	const char *p = f->arg_names ? f->arg_names : "ARGUMENT";

	for (int i = 0; i < have && strchr(p, ' '); i++)
		p = strchr(p, ' ') + 1;
	return mfd_error_set(err, -EINVAL, "%.*s is missing", (int)strcspn(p, " "), p);
}

static int check_args(const struct mfd_flags *f, const struct mfd_flags_args *args,
		      struct mfd_error *err)
{
	if (args->n < f->min_args)
		return missing(f, args->n, err);
	if (f->max_args >= 0 && args->n > f->max_args)
		return mfd_error_set(err, -EINVAL, "unexpected argument '%s'",
				     args->v[f->max_args]);
	if (args->after && !f->after)
		return mfd_error_set(err, -EINVAL, "nothing may follow '--' here");
	return 0;
}

int mfd_flags_parse(const struct mfd_flags *f, int argc, char **argv, struct mfd_flags_args *args,
		    struct mfd_error *err)
{
	int ret = 0, i;

	*args = (struct mfd_flags_args){ .v = argv + (argc > 0) };
	for (i = 1; !ret && i < argc && strcmp(argv[i], "--"); i++) {
		if (argv[i][0] == '-' && argv[i][1])
			ret = take_flag(f, argc, argv, &i, err);
		else
			args->v[args->n++] =
				argv[i]; /* never ahead of i: what is overwritten has been read */
	}
	if (ret)
		return ret;
	if (i < argc) {
		args->after = argv + i + 1;
		args->n_after = argc - i - 1;
	}
	if (1 + args->n < argc)
		args->v[args->n] = NULL; /* a word that was a flag, or the "--" */
	return check_args(f, args, err);
}

static void help_flag(const char *left, const char *text, FILE *out)
{
	const char *end;

	if (strlen(left) > 24)
		fprintf(out, "%s\n", left);
	for (int first = strlen(left) <= 24; text && *text;
	     text = *end ? end + 1 : end, first = 0) {
		end = strchrnul(text, '\n');
		fprintf(out, "%-24s  %.*s\n", first ? left : "", (int)(end - text), text);
	}
}

void mfd_flags_help(const struct mfd_flags *f, FILE *out)
{
	char left[128], letter[8];

	fprintf(out, "Usage: criu-multifd %s %s\n%s\n\n", f->verb, f->usage ? f->usage : "",
		f->summary ? f->summary : "");
	for (size_t i = 0, n = count(f->flags); i < n; i++) {
		const struct mfd_flag *flag = &f->flags[i];

		snprintf(letter, sizeof(letter), flag->letter ? "-%c, " : "    ", flag->letter);
		snprintf(left, sizeof(left), "  %s--%s%s%s", letter, flag->name,
			 flag->kind == MFD_FLAG_BOOL ? "" : " ",
			 flag->kind == MFD_FLAG_BOOL ? "" :
			 flag->arg		     ? flag->arg :
						       "VALUE");
		help_flag(left, flag->help ? flag->help : "", out);
	}
	help_flag("  -h, --help", "this text", out);
	if (f->other_help) {
		fputc('\n', out);
		f->other_help(out);
	}
	if (f->notes)
		fprintf(out, "\n%s\n", f->notes);
}

static int misuse(const struct mfd_flags *f, const char *text)
{
	fprintf(stderr, "criu-multifd %s: %s\nTry 'criu-multifd help %s'.\n", f->verb, text,
		f->verb);
	return MFD_EXIT_USAGE;
}

int mfd_flags_misuse(const struct mfd_flags *f, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return misuse(f, text);
}

int mfd_flags_begin(const struct mfd_flags *f, int argc, char **argv, struct mfd_flags_args *args)
{
	struct mfd_error err = { 0 };
	int ret = mfd_flags_parse(f, argc, argv, args, &err);

	if (!ret)
		return -1;
	if (ret < 0) {
		err.code = ret;
		return misuse(f, mfd_error_text(&err));
	}
	if (ret == MFD_FLAGS_MAN)
		mfd_manual_flags(f, stdout);
	else
		mfd_flags_help(f, stdout);
	return MFD_EXIT_OK;
}
