// SPDX-License-Identifier: GPL-2.0-only
/* A folder of its own for each test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tmpdir.h"

int tmpdir_setup(void **state)
{
	struct dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	snprintf(d->path, sizeof(d->path), "/tmp/%.40s.XXXXXX", program_invocation_short_name);
	assert_non_null(mkdtemp(d->path));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY);
	*state = d;
	return d->fd < 0;
}

int tmpdir_teardown(void **state)
{
	struct dir *d = *state;
	char cmd[80];

	snprintf(cmd, sizeof(cmd), "rm -r %s", d->path);
	close(d->fd);
	free(d);
	return system(cmd);
}
