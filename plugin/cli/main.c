// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd: the table of verbs. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "closest.h"
#include "command.h"
#include "flags.h"
#include "manual.h"

#ifndef MFD_VERSION
#define MFD_VERSION "unknown"
#endif

static int help_main(int argc, char **argv);

/*
 * A new verb is a row here, its function in lib/command.h, and a file; in the order in which an
 * operator needs them.  Help, the list of verbs and the manual pages follow from the rows.
 */
static const struct verb {
	const char *name; /* first: mfd_closest looks here */
	const char *summary;
	int (*main)(int argc, char **argv);
	const char *help; /* instead of the help of main: a verb without flags */
} verbs[] = {
	{ "migrate", "move a process to another host", mfd_migrate_main, NULL },
	{ "drain", "move all that runs in units, slices or containers", mfd_drain_main, NULL },
	{ "check", "say whether a process can move, and what it needs", mfd_check_main, NULL },
	{ "serve", "receive sessions and serve their pages to criu restore", mfd_serve_main, NULL },
	{ "wait", "wait until a session is ready, committed or done", mfd_wait_main, NULL },
	{ "restore", "restore a session", mfd_restore_main, NULL },
	{ "status", "list sessions, say where they stand", mfd_status_main, NULL },
	{ "set", "change the bandwidth limit of a session on its way", mfd_set_main, NULL },
	{ "abort", "give a session up", mfd_abort_main, NULL },
	{ "resolve", "settle a session that is in doubt", mfd_resolve_main, NULL },
	{ "show", "print images as JSON", mfd_show_main, NULL },
	{ "keys", "certificates and keys for TLS: make them, show them", mfd_keys_main, NULL },
	{ "cpr", "descriptors that come along: list, offer, drop; upgrade in place", mfd_cpr_main,
	  NULL },
	{ "keeper", "hold open file descriptions from a dump to its restore", mfd_keeper_main,
	  NULL },
	{ "send", "the sender; the plugin starts it inside criu dump", mfd_send_main,
	  "Started by the plugin with descriptors only it can pass; nothing to be run by hand. Its options are the plugin's:\n"
	  "CRIU_MULTIFD_NAME in the environment of criu dump, or /etc/criu-multifd.conf." },
	{ "help", "explain a verb", help_main, NULL },
};
#define VERBS (sizeof(verbs) / sizeof(*verbs))

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static int usage(FILE *out, int result)
{
	fprintf(out,
		"Usage: criu-multifd VERB [FLAGS] [ARGUMENTS]\n"
		"Moves running processes between hosts with CRIU, their memory over parallel channels.\n\n");
	for (size_t i = 0; i < VERBS; i++)
		fprintf(out, "  %-10s%s\n", verbs[i].name, verbs[i].summary);
	fprintf(out,
		"\n  --version, --help\n\n'criu-multifd help VERB' explains a verb and its flags.\n");
	return result;
}

/* Print the verbs that have a manual page of their own, for the Makefile. */
static int list_verbs(void)
{
	for (size_t i = 0; i < VERBS; i++)
		if (verbs[i].main != help_main && verbs[i].main != mfd_send_main)
			puts(verbs[i].name);
	return MFD_EXIT_OK;
}

static int manual(void)
{
	struct mfd_manual_verb list[VERBS];

	for (size_t i = 0; i < VERBS; i++)
		list[i] = (struct mfd_manual_verb){ verbs[i].name, verbs[i].summary };
	mfd_manual_overview(list, VERBS, stdout);
	return MFD_EXIT_OK;
}

static int unknown(const char *word)
{
	const char *close = mfd_closest(word, &verbs[0].name, VERBS, sizeof(*verbs));

	fprintf(stderr, "criu-multifd: unknown verb '%s'", word);
	fprintf(stderr, close ? "; is '%s' meant?\n" : ". 'criu-multifd help' lists them.\n",
		close);
	return MFD_EXIT_USAGE;
}

static int help_main(int argc, char **argv)
{
	char flag[] = "--help";
	const struct verb *v;

	if (argc < 2 || argv[1][0] == '-')
		return usage(stdout, MFD_EXIT_OK);
	v = find(argv[1]);
	if (!v)
		return unknown(argv[1]);
	if (v->main == help_main)
		return usage(stdout, MFD_EXIT_OK);
	if (v->help) {
		printf("Usage: criu-multifd %s\n%s\n", v->name, v->help);
		return MFD_EXIT_OK;
	}
	return v->main(2, (char *[]){ argv[1], flag, NULL });
}

static int run(int argc, char **argv)
{
	const struct verb *v;

	if (argc < 2)
		return usage(stderr, MFD_EXIT_USAGE);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(stdout, MFD_EXIT_OK);
	if (!strcmp(argv[1], "--help=man"))
		return manual();
	if (!strcmp(argv[1], "--help=verbs"))
		return list_verbs();
	if (!strcmp(argv[1], "--help=conf")) {
		mfd_manual_conf(stdout);
		return MFD_EXIT_OK;
	}
	if (!strcmp(argv[1], "--help=peers")) {
		mfd_peers_page(stdout);
		return MFD_EXIT_OK;
	}
	if (!strcmp(argv[1], "--help=services")) {
		mfd_check_services_page(stdout);
		return MFD_EXIT_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("criu-multifd " MFD_VERSION);
		return MFD_EXIT_OK;
	}
	v = find(argv[1]);
	return v ? v->main(argc - 1, argv + 1) : unknown(argv[1]);
}

int main(int argc, char **argv)
{
	int result = run(argc, argv);

	if ((fflush(stdout) || ferror(stdout)) && result == MFD_EXIT_OK) {
		fprintf(stderr, "criu-multifd: cannot write to standard output\n");
		result = MFD_EXIT_FAILED;
	}
	return result;
}
