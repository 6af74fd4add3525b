// SPDX-License-Identifier: GPL-2.0-only
/* Manual pages from the tables. */
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "command.h"
#include "manual.h"
#include "options.h"

#ifndef MFD_VERSION
#define MFD_VERSION "unknown"
#endif

/*
 * Text for man(7): backslashes and dashes are letters, a line must not begin with a control
 * character.
 */
static void put(FILE *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int begins = !i || text[i - 1] == '\n';

		if (begins && (text[i] == '.' || text[i] == '\''))
			fputs("\\&", out);
		if (text[i] == '\\')
			fputs("\\e", out);
		else if (text[i] == '-')
			fputs("\\-", out);
		/* an empty line is a break that groff warns of */
		else if (text[i] != '\n' || !begins)
			fputc(text[i], out);
		else
			fputs(".PP\n", out);
	}
}

static void say(FILE *out, const char *text)
{
	put(out, text, strlen(text));
}

static void line(FILE *out, const char *text)
{
	say(out, text);
	if (*text && text[strlen(text) - 1] != '\n')
		fputc('\n', out);
}

static void head(FILE *out, const char *name, int section, const char *summary)
{
	fputs(".TH ", out);
	for (const char *p = name; *p; p++)
		if (*p == '-')
			fputs("\\-", out);
		else
			fputc(toupper((unsigned char)*p), out);
	fprintf(out, " %d \"\" \"criu\\-multifd %s\" \"%s\"\n.SH NAME\n", section, MFD_VERSION,
		section == 5 ? "File formats" : "System administration");
	say(out, name);
	fputs(" \\- ", out);
	line(out, summary);
}

static void tag(FILE *out, const char *left, const char *arg)
{
	fputs(".TP\n.B ", out);
	say(out, left);
	if (arg) {
		fputs(" \\fI", out);
		say(out, arg);
		fputs("\\fR", out);
	}
	fputc('\n', out);
}

static void flag(FILE *out, const struct mfd_flag *f)
{
	char left[128];

	if (f->letter)
		snprintf(left, sizeof(left), "-%c, --%s", f->letter, f->name);
	else
		snprintf(left, sizeof(left), "--%s", f->name);
	tag(out, left, f->kind == MFD_FLAG_BOOL ? NULL : f->arg ? f->arg : "VALUE");
	line(out, f->help ? f->help : "");
}

static void options(FILE *out, const char *prefix)
{
	char left[96];

	for (unsigned i = 0; i < mfd_options_count; i++) {
		const struct mfd_option_desc *d = &mfd_options_table[i];

		snprintf(left, sizeof(left), "%s%s", prefix, d->name);
		tag(out, left, d->arg);
		say(out, d->help);
		if (*d->dflt) {
			fputs(" Default: ", out);
			say(out, d->dflt);
			fputc('.', out);
		}
		fputc('\n', out);
	}
}

static void example(FILE *out, const char *text)
{
	fputs(".PP\n.nf\n", out);
	while (*text) {
		size_t len = strcspn(text, "\n");

		put(out, len ? text : " ", len ? len : 1);
		fputc('\n', out);
		text += len + (text[len] == '\n');
	}
	fputs(".fi\n", out);
}

static void examples(FILE *out, const char *text)
{
	if (!text)
		return;
	fputs(".SH EXAMPLES\n", out);
	example(out, text);
}

void mfd_manual_flags(const struct mfd_flags *f, FILE *out)
{
	char name[64];

	snprintf(name, sizeof(name), "criu-multifd-%s", f->verb);
	head(out, name, 8, f->summary ? f->summary : "");
	fputs(".SH SYNOPSIS\n.B criu\\-multifd ", out);
	say(out, f->verb);
	fputs("\n", out);
	line(out, f->usage ? f->usage : "");
	fputs(".SH OPTIONS\n", out);
	for (const struct mfd_flag *g = f->flags; g && g->name; g++)
		flag(out, g);
	tag(out, "-h, --help", NULL);
	line(out, "Print a short help.");
	if (f->other_help) {
		fputs(".SS Options that are also in the configuration file\n", out);
		options(out, "--");
	}
	if (f->notes) {
		fputs(".SH NOTES\n", out);
		line(out, f->notes);
	}
	examples(out, mfd_manual_examples(f->verb));
	fputs(".SH SEE ALSO\n.BR criu\\-multifd (8),\n.BR criu (8)\n", out);
}

void mfd_manual_page(const char *name, int number, const char *summary,
		     const struct mfd_manual_section *s, size_t n, FILE *out)
{
	head(out, name, number, summary);
	for (; n; n--, s++) {
		fprintf(out, ".SH %s\n", s->title);
		if (s->text)
			line(out, s->text);
		if (s->example)
			example(out, s->example);
		for (size_t i = 0; i < s->n; i++) {
			tag(out, s->entries[i].name, s->entries[i].arg);
			line(out, s->entries[i].text);
		}
	}
	fputs(".SH SEE ALSO\n.BR criu\\-multifd (8),\n.BR criu\\-multifd\\-serve (8),\n"
	      ".BR criu\\-multifd\\-keys (8)\n",
	      out);
}

static const char conf_example[] = "# one restore server for all moves of this host\n"
				   "target = 192.0.2.2:7777\n"
				   "channels = 4\n"
				   "max-bandwidth = 2G\n"
				   "mode = safe\n"
				   "move-address = 192.0.2.80/24@eth0\n";

void mfd_manual_conf(FILE *out)
{
	head(out, "criu-multifd.conf", 5, "options of criu-multifd");
	fputs(".SH DESCRIPTION\n", out);
	line(out,
	     "/etc/criu-multifd.conf, or the file that CRIU_MULTIFD_CONFIG names, has one option a line: name = "
	     "value. '#' begins a comment. A name that is not known or a value that is not allowed is an error, "
	     "which names the file and the line.\n");
	line(out,
	     "It is read by the plugin inside criu dump and by the verbs that take these options. A flag, a "
	     "variable CRIU_MULTIFD_NAME in the environment, and CRIU's --plugin-option=multifd.NAME=VALUE come "
	     "before it.");
	fputs(".SH OPTIONS\n", out);
	options(out, "");
	examples(out, conf_example);
	fputs(".SH SEE ALSO\n.BR criu\\-multifd (8),\n.BR criu\\-multifd\\-migrate (8)\n", out);
}

static const struct {
	const char *name, *text;
} files[] = {
	{ "/etc/criu-multifd.conf", "Lines of the form name = value, see criu-multifd.conf(5)." },
	{ "/etc/criu-multifd.peers",
	  "What each source may do on this restore server, see criu-multifd-peers(5)." },
	{ "/etc/criu-multifd/tls",
	  "Certificates and keys, where neither --tls-dir nor --tls-psk is given." },
	{ MFD_DEFAULT_DIR,
	  "Sessions, unless --dir says otherwise: a folder for each, with CRIU's images, session.img and "
	  "lazy-pages.socket." },
	{ "multifd-send.log", "The sender's log, in CRIU's work directory." },
	{ "multifd-send.json", "The sender's summary, in CRIU's work directory." },
};

static const struct {
	const char *name, *text;
} variables[] = {
	{ "CRIU_MULTIFD_NAME", "Sets the option NAME, in capitals and with '_' for '-'." },
	{ "CRIU_MULTIFD_CONFIG", "A configuration file instead of /etc/criu-multifd.conf." },
	{ "CRIU", "The criu that migrate and restore run." },
};

void mfd_manual_overview(const struct mfd_manual_verb *verbs, size_t n, FILE *out)
{
	char left[96];

	head(out, "criu-multifd", 8,
	     "move running processes between hosts, their memory over parallel channels");
	fputs(".SH SYNOPSIS\n.B criu\\-multifd\n.I VERB\n[FLAGS] [ARGUMENTS]\n"
	      ".br\n.B criu dump \\-\\-lazy\\-pages \\-L\n.I PLUGINS\n[...]\n.SH DESCRIPTION\n",
	      out);
	line(out,
	     "A plugin for CRIU that replaces its page server: while criu dump --lazy-pages runs, the memory of the frozen "
	     "tasks crosses over several connections to criu-multifd serve on another host, together with the images. The "
	     "source is released only when the target holds and has verified everything. Without an option target the "
	     "plugin does nothing.\n");
	fputs(".SH VERBS\n", out);
	for (size_t i = 0; i < n; i++) {
		snprintf(left, sizeof(left), "criu-multifd %s", verbs[i].name);
		tag(out, left, NULL);
		line(out, verbs[i].summary);
	}
	fputs(".SH OPTIONS\n", out);
	line(out,
	     "Options come from CRIU's --plugin-option=multifd.NAME=VALUE (CRIU 4.3 and later), from the environment, from the "
	     "configuration file, and from flags of the verbs that take them; the first in this order that sets one wins.");
	options(out, "");
	fputs(".SH FILES\n", out);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		tag(out, files[i].name, NULL);
		line(out, files[i].text);
	}
	fputs(".SH ENVIRONMENT\n", out);
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		tag(out, variables[i].name, NULL);
		line(out, variables[i].text);
	}
	fputs(".SH EXIT STATUS\n", out);
	line(out,
	     "0 success; 1 failure, with one line on standard error; 2 a timeout; 64 a command line that makes no sense.");
	fputs(".SH SEE ALSO\n", out);
	for (size_t i = 0; i < n; i++) {
		fputs(".BR criu\\-multifd\\-", out);
		say(out, verbs[i].name);
		fputs(" (8),\n", out);
	}
	fputs(".BR criu (8)\n", out);
}
