// SPDX-License-Identifier: GPL-2.0-only
/*
 * holder KIND DIR: a process that holds one thing which matters to a move (test/unit/holds.c), its
 * pid in DIR/pid; this program stays as the party outside.  holder --list: "KIND FOUND" each.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../unit/holds.h"

static int list(void)
{
	for (unsigned i = 0; i < n_holds; i++)
		printf("%s %s\n", holds[i].name, holds[i].found);
	return 0;
}

int main(int argc, char **argv)
{
	const struct hold *h = argc == 3 ? hold_named(argv[1]) : NULL;
	char path[4096], made[4096];
	pid_t pid;
	FILE *f;

	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	(void)setsid(); /* of a session whose leader can be seen, as a shell's */
	pid = h ? hold_start(h, argv[2]) : -1;
	if (pid <= 0)
		return 1;
	snprintf(path, sizeof(path), "%s/pid.new", argv[2]);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%d\n", pid) < 0 || fclose(f))
		return 1;
	snprintf(made, sizeof(made), "%s/pid", argv[2]);
	if (rename(path, made))
		return 1;
	for (;;)
		pause();
}
