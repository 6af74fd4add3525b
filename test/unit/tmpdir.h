/* SPDX-License-Identifier: GPL-2.0-only */
/* A folder of its own for each test: setup and teardown for cmocka, *state is the struct dir. */
#ifndef TMPDIR_H
#define TMPDIR_H

struct dir {
	char path[64];
	int fd;
};

int tmpdir_setup(void **state);
int tmpdir_teardown(void **state); /* removes it with all that is in it */

#endif
