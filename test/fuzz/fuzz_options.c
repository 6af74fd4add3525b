/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The input as a configuration file.  What was taken is written and read again, and must come out
 * as the same.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int from_bytes(struct mfd_options *o, const void *data, size_t size, struct mfd_error *err)
{
	static int fd = -1;
	static char path[64];

	if (fd < 0) {
		fd = memfd_create("options", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (fd < 0 || ftruncate(fd, 0) || mfd_io_pwrite_all(fd, data, size, 0))
		abort();
	return mfd_options_from_file(o, path, err);
}

static void written(const struct mfd_options *o, char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);

	if (!f || mfd_options_write(o, f) || fclose(f))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mfd_options o, again;
	struct mfd_error err = { .code = 0 };
	char *one, *two;
	size_t one_len, two_len;

	mfd_options_init(&o);
	mfd_options_init(&again);
	if (from_bytes(&o, data, size, &err) && !err.text[0])
		abort();
	written(&o, &one, &one_len);
	if (from_bytes(&again, one, one_len, NULL))
		abort();
	written(&again, &two, &two_len);
	if (one_len != two_len || memcmp(one, two, one_len))
		abort();
	free(one);
	free(two);
	mfd_options_free(&o);
	mfd_options_free(&again);
	return 0;
}
