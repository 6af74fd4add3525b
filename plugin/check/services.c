// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu-multifd-services(7): what check looks for, a paragraph for each row of the table, and what
 * common services need, by the ids of that table.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "manual.h"

#define NONE	  MFD_CHECK_KINDS
#define MOST_KIND 4

/* Which findings it usually has, and what helps. */
static const struct service {
	const char *name;
	enum mfd_check_id found[MOST_KIND]; /* NONE ends it */
	const char *text;
} services[] = {
	{ "redis, memcached",
	  { MFD_FOUND_TCP, NONE },
	  "Clients keep their connections if the service's address moves along (--move-address)." },
	{ "nginx",
	  { MFD_FOUND_TCP, MFD_FOUND_LIMITS, NONE },
	  "Its workers run as another user: this host's root needs CAP_SYS_RESOURCE, as it has it "
	  "outside of most containers." },
	{ "postgresql",
	  { MFD_FOUND_SYSV, MFD_FOUND_TCP, MFD_FOUND_LIMITS, MFD_FOUND_SHARED_MEMORY },
	  "Start it in an IPC namespace of its own (unshare --ipc, or PrivateIPC=yes of its unit), "
	  "with dynamic_shared_memory_type = mmap." },
	{ "mariadb, mysql",
	  { MFD_FOUND_UNMOVABLE, MFD_FOUND_LOCK, MFD_FOUND_TCP, NONE },
	  "innodb_use_native_aio = OFF: it uses io_uring where it finds it." },
	{ "sqlite, etcd, prometheus",
	  { MFD_FOUND_LOCK, MFD_FOUND_TCP, NONE },
	  "They lock their files. On storage that both hosts see move without --restore, and restore "
	  "when the session is committed." },
	{ "programs in Go",
	  { MFD_FOUND_SOCKET_KIND, MFD_FOUND_TCP, NONE },
	  "Newer releases listen with MPTCP: set GODEBUG=multipathtcp=0." },
	{ "python, node, java", { NONE }, "Nothing by themselves." },
	{ "services of systemd",
	  { MFD_FOUND_UNIX_OUTSIDE, MFD_FOUND_UNIX_NAMED, NONE },
	  "Their output goes to the journal through a socket: offer one there, or let the unit "
	  "write to a file (StandardOutput=append:PATH)." },
	{ "programs of a shell",
	  { MFD_FOUND_JOB, MFD_FOUND_TERMINAL, MFD_FOUND_PIPE_OUTSIDE, NONE },
	  "Those that shall move are best started with setsid, with files as their input and "
	  "output." },
};
#define SERVICES (sizeof(services) / sizeof(*services))

static char *print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *print(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return text;
}

static void kinds_as_entries(struct mfd_manual_entry *entries)
{
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++) {
		const struct mfd_check_kind *k = &mfd_check_kinds[id];

		entries[id].name = k->id;
		entries[id].text =
			print("%s%s%s: %s. What to do: %s.", mfd_check_verdict_texts[k->verdict],
			      k->option ? " --" : "", k->option ? k->option : "", k->what, k->text);
	}
}

static void services_as_entries(struct mfd_manual_entry *entries)
{
	for (size_t i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		char found[256] = "";

		for (int j = 0; j < MOST_KIND && s->found[j] != NONE; j++) {
			strcat(found, j ? ", " : "Usually found: ");
			strcat(found, mfd_check_kinds[s->found[j]].id);
		}
		entries[i].name = s->name;
		entries[i].text = print("%s%s%s", found, *found ? ". " : "", s->text);
	}
}

void mfd_check_services_page(FILE *out)
{
	struct mfd_manual_entry kinds[MFD_CHECK_KINDS] = { 0 }, needs[SERVICES] = { 0 };
	const struct mfd_manual_section sections[] = {
		{ .title = "DESCRIPTION",
		  .text = "criu-multifd check looks at a process and its children in /proc, and so "
			  "does migrate before anything is frozen. Options of criu that are needed "
			  "migrate adds to the dump and to the restore; what cannot move it refuses." },
		{ .title = "WHAT COMMON SERVICES NEED", .entries = needs, .n = SERVICES },
		{ .title = "WHAT IS LOOKED FOR",
		  .text = "By the id that check --json gives to it.",
		  .entries = kinds,
		  .n = MFD_CHECK_KINDS },
	};

	kinds_as_entries(kinds);
	services_as_entries(needs);
	mfd_manual_page("criu-multifd-services", 7, "what services need to be moved", sections,
			sizeof(sections) / sizeof(*sections), out);
	for (size_t i = 0; i < MFD_CHECK_KINDS; i++)
		free((void *)kinds[i].text);
	for (size_t i = 0; i < SERVICES; i++)
		free((void *)needs[i].text);
}
