// SPDX-License-Identifier: GPL-2.0-only
/*
 * .cpr-fds.log with damage: a log that was written properly, then overwritten here and there and
 * cut.  Sealing it makes an image that can be read, or refuses with a sentence and leaves the log;
 * what is undamaged comes out as it went in.
 *
 * Input: number of entries, how much is cut off, then 3 bytes each: where (2), and what is xored to
 * the byte there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpr_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz_cpr_log.XXXXXX";
static int dirfd = -1;

static void clean_up(void)
{
	unlinkat(dirfd, MFD_CPR_LOG_NAME, 0);
	unlinkat(dirfd, MFD_CPR_IMAGE_NAME, 0);
	rmdir(dir);
}

static void must(int ok)
{
	if (!ok)
		abort();
}

static void set_up(void)
{
	must(mkdtemp(dir) != NULL);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	must(dirfd >= 0);
	atexit(clean_up);
}

static void add(int log, unsigned i)
{
	const struct mfd_cpr_owner owners[] = { { i, 3 }, { i + 1, 4 } };
	const struct mfd_cpr_socket socket = {
		.family = AF_UNIX, .type = SOCK_STREAM, .address = "/run/x", .address_len = 6
	};
	const char *why;
	char name[32];
	struct mfd_cpr_image_item item = {
		.name = name,
		.id = i,
		.record = { .kind = MFD__CPR_KIND__PIPE,
			    .how = MFD__CPR_HOW__INHERITED,
			    .inherit_id = name,
			    .n_owners = i % 3,
			    .owners = i % 3 ? owners : NULL },
	};

	snprintf(name, sizeof(name), "pipe:[%u]", 100 - i);
	if (i % 2) {
		item.record = (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__UNIX_STREAM,
						       .how = MFD__CPR_HOW__KEPT,
						       .has = MFD_CPR_HAS_SOCKET,
						       .path = "/some/where",
						       .socket = &socket };
	}
	must(!mfd_cpr_log_add(log, &item, &why));
}

static int count(void *ctx, const struct mfd_cpr_image_item *item)
{
	must(item->name && *item->name);
	++*(unsigned *)ctx;
	return 0;
}

static void damage(const uint8_t *data, size_t size, unsigned cut)
{
	int fd = openat(dirfd, MFD_CPR_LOG_NAME, O_RDWR);
	struct stat st;

	must(fd >= 0 && !fstat(fd, &st));
	for (size_t i = 0; i + 2 < size; i += 3) {
		off_t at = (data[i] | data[i + 1] << 8) % st.st_size;
		uint8_t b;

		must(pread(fd, &b, 1, at) == 1);
		b ^= data[i + 2];
		must(pwrite(fd, &b, 1, at) == 1);
	}
	must(!cut || !ftruncate(fd, cut > st.st_size ? 0 : st.st_size - cut));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned n = size ? data[0] % 8 : 0, cut = size > 1 ? data[1] : 0, found = 0;
	const char *why = NULL;
	int log, ret;

	if (dirfd < 0)
		set_up();
	log = mfd_cpr_log_open(dirfd, "session");
	must(log >= 0);
	for (unsigned i = 0; i < n; i++)
		add(log, i);
	close(log);
	if (size > 2)
		damage(data + 2, size - 2, cut);
	ret = mfd_cpr_log_seal(dirfd, &why);
	must(!ret == !why);
	must(!ret == !!faccessat(dirfd, MFD_CPR_LOG_NAME, F_OK, 0));
	must(size > 2 || !ret);
	ret = mfd_cpr_image_read(dirfd, MFD_CPR_IMAGE_NAME, NULL, count, &found, &why);
	must(!ret || ret == -ENOENT);
	must(size > 2 || found == n);
	return 0;
}
