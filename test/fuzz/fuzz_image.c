// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every reader of images over arbitrary bytes.
 *
 * Input: a 16-bit little-endian length and that many bytes of image A, the rest is image B.  Both
 * are shown, and the JSON must parse whatever they hold; A is also read as pstree.img, session.img
 * and pagemap-1.img, B as mm-1.img.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image.h"
#include "session_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz_image.XXXXXX";
static int dirfd = -1, a = -1, b = -1, out = -1;

static void clean_up(void)
{
	static const char *const names[] = {
		"a", "b", "pstree.img", "session.img", "pagemap-1.img", "mm-1.img"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(dirfd, names[i], 0);
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
	a = openat(dirfd, "a", O_RDWR | O_CREAT, 0600);
	b = openat(dirfd, "b", O_RDWR | O_CREAT, 0600);
	must(!linkat(dirfd, "a", dirfd, "pstree.img", 0) &&
	     !linkat(dirfd, "a", dirfd, "session.img", 0) &&
	     !linkat(dirfd, "a", dirfd, "pagemap-1.img", 0) &&
	     !linkat(dirfd, "b", dirfd, "mm-1.img", 0));
	out = memfd_create("json", 0);
	must(out >= 0);
	atexit(clean_up);
}

static void put(int fd, const uint8_t *data, size_t size)
{
	must(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
}

/* An error before the first byte of output leaves nothing to parse. */
static void show(const char *name)
{
	struct json_tokener *tok;
	struct json_object *o;
	const char *why;
	off_t len;
	char *text;

	must(!ftruncate(out, 0) && !lseek(out, 0, SEEK_SET));
	mfd_image_show(dirfd, name, out, &why);
	len = lseek(out, 0, SEEK_END);
	if (!len)
		return;
	text = malloc(len);
	must(text && pread(out, text, len, 0) == len);
	tok = json_tokener_new_ex(64);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text, len);
	must(o != NULL);
	json_object_put(o);
	json_tokener_free(tok);
	free(text);
}

static void check_ranges(void)
{
	struct mfd_lazy_range *r;
	uint64_t end = 0;
	const char *why;
	size_t n;

	if (mfd_image_lazy_ranges(dirfd, 1, &r, &n, &why))
		return;
	for (size_t i = 0; i < n; i++) {
		must(r[i].start >= end && r[i].pages < 1ULL << 44);
		end = r[i].start + r[i].pages * 4096;
		must(end <= 1ULL << 56);
	}
	free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Mfd__SessionEntry *e;
	const char *why;
	uint32_t *pids;
	size_t n;

	if (dirfd < 0)
		set_up();
	n = size < 2 ? 0 : data[0] | data[1] << 8;
	size -= size < 2 ? size : 2;
	if (n > size)
		n = size;
	put(a, data + 2, n);
	put(b, data + 2 + n, size - n);
	show("a");
	show("b");
	check_ranges();
	if (!mfd_image_tasks(dirfd, &pids, &n, &why))
		free(pids);
	if (!mfd_session_file_load(dirfd, &e, &why))
		mfd_session_file_free(e);
	return 0;
}
