// SPDX-License-Identifier: GPL-2.0-only
/* By /proc/PID/stat. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "life.h"
#include "procfile.h"

#define LOOK_MS	 2000
#define PAUSE_US 10000

enum mfd_life mfd_life(pid_t pid, uint64_t start)
{
	struct mfd_procfile_stat st;
	int ret = mfd_procfile_stat(pid, &st);

	if (ret == -ENOENT || ret == -ESRCH)
		return MFD_LIFE_OVER;
	if (ret)
		return MFD_LIFE_UNKNOWN;
	if ((start && st.start_time != start) || mfd_procfile_is_over(&st))
		return MFD_LIFE_OVER;
	return MFD_LIFE_ALIVE;
}

int mfd_life_cannot_tell(int ret)
{
	return ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM || ret == -EAGAIN ||
	       ret == -EINTR || ret == -EIO;
}

int mfd_life_look_again(int ret, uint64_t *since)
{
	uint64_t now = mfd_io_now_ms();

	if (!*since)
		*since = now;
	if (!mfd_life_cannot_tell(ret) || now - *since > LOOK_MS)
		return 0;
	usleep(PAUSE_US);
	return 1;
}

/* The first line of a small file. */
static int read_id(const char *path, char *id, size_t len)
{
	char *text = NULL;
	int ret = mfd_io_read_file(AT_FDCWD, path, len - 1, &text, NULL);

	id[0] = 0;
	if (!ret)
		snprintf(id, len, "%.*s", (int)strcspn(text, "\n"), text);
	free(text);
	return ret;
}

int mfd_life_boot(char boot[MFD_LIFE_BOOT])
{
	return read_id("/proc/sys/kernel/random/boot_id", boot, MFD_LIFE_BOOT);
}

int mfd_life_machine(char id[MFD_LIFE_MACHINE])
{
	return read_id("/etc/machine-id", id, MFD_LIFE_MACHINE);
}

int mfd_life_is_machine(const char *id)
{
	char own[MFD_LIFE_MACHINE];

	return !id || (!mfd_life_machine(own) && !strcmp(own, id));
}
