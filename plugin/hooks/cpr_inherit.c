// SPDX-License-Identifier: GPL-2.0-only
/* CRIU's --inherit-fd: what it was given, and giving it more. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cpr_inherit.h"
#include "cpr_runtime.h"
#include "cpr_tty.h"
#include "host.h"
#include "io.h"

/* CRIU's own --inherit-fd; exported by every release this loads into. */
extern int inherit_fd_add(int fd, char *key) __attribute__((weak));

int mfd_inherit_given(const char *inherit_id)
{
	size_t len, at, n = strlen(inherit_id);
	char *line = NULL;
	int found = 0;

	if (mfd_io_read_file(AT_FDCWD, "/proc/self/cmdline", 1 << 20, &line, &len))
		return 0;
	for (at = 0; at < len; at += strlen(line + at) + 1) {
		size_t word = strlen(line + at);

		found |= word > n && !strcmp(line + at + word - n, inherit_id) &&
			 line[at + word - n - 1] == ':';
	}
	free(line);
	return found ||
	       (mfd_host_is_service() && mfd_cpr_runtime_gives(mfd_host_image_dir(), inherit_id));
}

int mfd_inherit_pass(int fd, char *key, struct mfd_error *err)
{
	if (!strncmp(key, "tty[", 4))
		fd = mfd_tty_suit(fd, key, err);
	if (fd < 0)
		return fd;
	if (!inherit_fd_add)
		return mfd_error_set(err, -ENOSYS, "%s: this CRIU needs --inherit-fd for it", key);
	if (inherit_fd_add(fd, key))
		return mfd_error_set(err, -ENOMEM, "%s: CRIU does not take it", key);
	return 0;
}
