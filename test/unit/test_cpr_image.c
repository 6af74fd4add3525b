// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpr-fds.img: a table comes back as it was; what is damaged, doubled or newer is refused with a
 * sentence; `show`.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpr_store.h"
#include "image.h"
#include "tmpdir.h"

/* ---- tables ---- */

static const struct mfd_cpr_owner owners[] = { { 100, 3 }, { 100, 7 }, { 101, 3 } };

static const struct mfd_cpr_socket connected = {
	.family = AF_UNIX,
	.type = SOCK_STREAM,
	.state = 1,
	.inode = 4711,
	.peer_inode = 4712,
	.peer_address = "\0/tmp/.X11-unix/X0",
	.peer_address_len = 18,
};

static const struct {
	const char *name;
	uint64_t id;
	struct mfd_cpr_record r;
} samples[] = {
	{ "/dev/fuse",
	  12,
	  { .kind = MFD__CPR_KIND__CHARDEV,
	    .how = MFD__CPR_HOW__KEPT,
	    .has = MFD_CPR_HAS_FLAGS | MFD_CPR_HAS_DEVICE | MFD_CPR_HAS_CRIU_ID,
	    .flags = O_RDWR | O_NONBLOCK,
	    .major = 10,
	    .minor = 229,
	    .criu_id = 5,
	    .n_owners = 3,
	    .owners = owners,
	    .path = "/dev/fuse" } },
	{ "unix:stream:@/tmp/.X11-unix/X0",
	  4711,
	  { .kind = MFD__CPR_KIND__UNIX_STREAM,
	    .how = MFD__CPR_HOW__OFFERED,
	    .has = MFD_CPR_HAS_SOCKET,
	    .socket = &connected } },
	{ "/var/log/app",
	  UINT64_MAX,
	  { .kind = MFD__CPR_KIND__REG,
	    .how = MFD__CPR_HOW__REOPEN,
	    .has = MFD_CPR_HAS_FLAGS | MFD_CPR_HAS_POSITION | MFD_CPR_HAS_DEVICE,
	    .flags = O_WRONLY | O_APPEND,
	    .position = 1ULL << 40,
	    .major = 8,
	    .minor = 1,
	    .path = "/var/log/app" } },
	{ "pipe",
	  123,
	  { .kind = MFD__CPR_KIND__PIPE,
	    .how = MFD__CPR_HOW__INHERITED,
	    .inherit_id = "pipe:[123]" } },
	{ "anon_inode:[eventfd]",
	  0,
	  {
		  .kind = MFD__CPR_KIND__EVENTFD,
		  .how = MFD__CPR_HOW__KEPT,
	  } },
};
#define SAMPLES (sizeof(samples) / sizeof(*samples))

static struct mfd_cpr *sample_table(void)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);

	for (size_t i = 0; i < SAMPLES; i++)
		assert_int_equal(mfd_cpr_add(t, samples[i].name, samples[i].id, (int)i,
					     mfd_cpr_record_new(&samples[i].r)),
				 0);
	return t;
}

static void same_text(const char *a, const char *b)
{
	assert_true(!a == !b);
	if (a)
		assert_string_equal(a, b);
}

static void same_socket(const struct mfd_cpr_socket *a, const struct mfd_cpr_socket *b)
{
	assert_true(a->family == b->family && a->type == b->type && a->protocol == b->protocol &&
		    a->state == b->state && a->inode == b->inode && a->peer_inode == b->peer_inode);
	assert_int_equal(a->address_len, b->address_len);
	assert_int_equal(a->peer_address_len, b->peer_address_len);
	if (a->address_len)
		assert_memory_equal(a->address, b->address, a->address_len);
	if (a->peer_address_len)
		assert_memory_equal(a->peer_address, b->peer_address, a->peer_address_len);
}

static void same_record(const struct mfd_cpr_record *a, const struct mfd_cpr_record *b)
{
	assert_true(a->kind == b->kind && a->how == b->how && a->has == b->has &&
		    a->flags == b->flags && a->major == b->major && a->minor == b->minor &&
		    a->criu_id == b->criu_id && a->position == b->position &&
		    a->n_owners == b->n_owners);
	same_text(a->path, b->path);
	same_text(a->inherit_id, b->inherit_id);
	if (a->n_owners)
		assert_memory_equal(a->owners, b->owners, a->n_owners * sizeof(*a->owners));
	if (a->has & MFD_CPR_HAS_SOCKET)
		same_socket(a->socket, b->socket);
}

static size_t read_file(struct dir *d, uint8_t *buf, size_t size)
{
	int fd = openat(d->fd, MFD_CPR_IMAGE_NAME, O_RDONLY);
	ssize_t n = read(fd, buf, size);

	close(fd);
	assert_true(n > 0 && (size_t)n < size);
	return n;
}

static void write_file(struct dir *d, const void *buf, size_t len)
{
	int fd = openat(d->fd, MFD_CPR_IMAGE_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, buf, len), len);
	close(fd);
}

/* ---- round trips ---- */

static void test_round_trip(void **state)
{
	const struct mfd_cpr_image_header h = { .boot_id = "b0", .session = "s", .created_us = 17 };
	struct mfd_cpr *t = sample_table(), *back;
	struct mfd_cpr_image_header got;
	struct dir *d = *state;
	struct mfd_cpr_entry e;
	struct stat st;
	const char *why;

	assert_int_equal(mfd_cpr_store(t, d->fd, &h, &why), 0);
	mfd_cpr_free(t);
	assert_int_equal(fstatat(d->fd, MFD_CPR_IMAGE_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, NULL, &back, &got, &why), 0);
	assert_int_equal(got.count, SAMPLES);
	assert_string_equal(got.boot_id, "b0");
	assert_string_equal(got.session, "s");
	assert_int_equal(got.created_us, 17);
	mfd_cpr_header_release(&got);
	assert_int_equal(mfd_cpr_count(back), SAMPLES);
	for (size_t i = 0; i < SAMPLES; i++) {
		assert_int_equal(mfd_cpr_get(back, samples[i].name, samples[i].id, &e), 0);
		assert_int_equal(e.fd, MFD_CPR_NO_FD);
		same_record(e.record, &samples[i].r);
		assert_int_equal(mfd_cpr_resave_fd(back, samples[i].name, samples[i].id, 5), 0);
	}
	mfd_cpr_free(back);
}

static struct mfd_cpr *many(int n)
{
	struct mfd_cpr *t = mfd_cpr_new(NULL);
	char name[64];

	for (int i = 0; i < n; i++) {
		struct mfd_cpr_record r = samples[i % SAMPLES].r;

		snprintf(name, sizeof(name), "%s-%d", samples[i % SAMPLES].name, i % 700);
		r.position = i;
		r.has |= MFD_CPR_HAS_POSITION;
		assert_int_equal(mfd_cpr_add(t, name, i, i, mfd_cpr_record_new(&r)), 0);
	}
	return t;
}

static void round_trip(struct dir *d, int n)
{
	struct mfd_cpr *t = many(n), *back;
	struct mfd_cpr_entry e;
	const char *why;
	char name[64];

	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	mfd_cpr_free(t);
	assert_int_equal(mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, NULL, &back, NULL, &why), 0);
	assert_int_equal(mfd_cpr_count(back), n);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s-%d", samples[i % SAMPLES].name, i % 700);
		assert_int_equal(mfd_cpr_get(back, name, i, &e), 0);
		assert_int_equal(((struct mfd_cpr_record *)e.record)->position, i);
	}
	mfd_cpr_free(back);
}

static void test_sizes(void **state)
{
	round_trip(*state, 0);
	round_trip(*state, 1);
	round_trip(*state, 10000);
}

/* Equal tables make equal files, whatever the order they were filled in. */
static void test_same_bytes(void **state)
{
	struct mfd_cpr *t = sample_table(), *u = mfd_cpr_new(NULL);
	static uint8_t a[4096], b[4096];
	struct dir *d = *state;
	const char *why;
	size_t n;

	for (size_t i = SAMPLES; i--;)
		assert_int_equal(mfd_cpr_add(u, samples[i].name, samples[i].id, 0,
					     mfd_cpr_record_new(&samples[i].r)),
				 0);
	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	n = read_file(d, a, sizeof(a));
	assert_int_equal(mfd_cpr_store(u, d->fd, NULL, &why), 0);
	assert_int_equal(read_file(d, b, sizeof(b)), n);
	assert_memory_equal(a, b, n);
	mfd_cpr_free(t);
	mfd_cpr_free(u);
}

static void test_extremes(void **state)
{
	static char name[MFD_CPR_MAX_NAME + 1], path[MFD_CPR_MAX_PATH + 1],
		inherit[MFD_CPR_MAX_INHERIT + 1];
	static struct mfd_cpr_owner many_owners[MFD_CPR_MAX_OWNERS];
	static uint8_t address[MFD_CPR_MAX_ADDRESS];
	struct mfd_cpr_socket s = { AF_UNIX,	     SOCK_DGRAM,     UINT32_MAX, UINT32_MAX,
				    UINT64_MAX,	     UINT64_MAX,     address,	 address,
				    sizeof(address), sizeof(address) };
	struct mfd_cpr_record r = { .kind = MFD__CPR_KIND__UNIX_DGRAM,
				    .how = MFD__CPR_HOW__REOPEN,
				    .has = ~0U & 31,
				    .flags = UINT32_MAX,
				    .major = UINT32_MAX,
				    .minor = UINT32_MAX,
				    .criu_id = UINT32_MAX,
				    .position = UINT64_MAX,
				    .n_owners = MFD_CPR_MAX_OWNERS,
				    .owners = many_owners,
				    .path = path,
				    .inherit_id = inherit,
				    .socket = &s };
	struct mfd_cpr *t = mfd_cpr_new(NULL), *back;
	struct dir *d = *state;
	struct mfd_cpr_entry e;
	const char *why;

	memset(name, 'n', sizeof(name) - 1);
	memset(path, '/', sizeof(path) - 1);
	memset(inherit, 'i', sizeof(inherit) - 1);
	memset(address, 0xff, sizeof(address));
	memset(many_owners, 0xff, sizeof(many_owners));
	assert_int_equal(mfd_cpr_record_check(&r, &why), 0);
	assert_int_equal(mfd_cpr_add(t, name, UINT64_MAX, 1, mfd_cpr_record_new(&r)), 0);
	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	assert_int_equal(mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, NULL, &back, NULL, &why), 0);
	assert_int_equal(mfd_cpr_get(back, name, UINT64_MAX, &e), 0);
	same_record(e.record, &r);
	mfd_cpr_free(t);
	mfd_cpr_free(back);
}

/* ---- what is not written ---- */

static void refuse_record(struct dir *d, const struct mfd_cpr_record *r, const char *sentence)
{
	struct mfd_cpr *t = sample_table();
	static uint8_t before[4096], after[4096];
	const char *why = "";
	size_t n;

	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	n = read_file(d, before, sizeof(before));
	assert_int_equal(mfd_cpr_add(t, "zz", 9, 1, r ? mfd_cpr_record_new(r) : NULL), 0);
	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), -EINVAL);
	assert_non_null(strstr(why, sentence));
	assert_non_null(strstr(why, "(zz, 9)"));
	/* the old one is still there, and nothing else */
	assert_int_equal(read_file(d, after, sizeof(after)), n);
	assert_memory_equal(before, after, n);
	mfd_cpr_free(t);
}

static void test_refuse_writing(void **state)
{
	static char path[MFD_CPR_MAX_PATH + 2];
	struct mfd_cpr_record r = { .kind = MFD__CPR_KIND__REG,
				    .how = MFD__CPR_HOW__REOPEN,
				    .path = "relative" };

	refuse_record(*state, NULL, "nothing is known");
	refuse_record(*state, &r, "no absolute path");
	memset(path, '/', sizeof(path) - 1);
	r.path = path;
	refuse_record(*state, &r, "path is too long");
	r = (struct mfd_cpr_record){ .kind = 99, .how = MFD__CPR_HOW__KEPT };
	refuse_record(*state, &r, "kind");
	r = (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__PIPE, .how = 0 };
	refuse_record(*state, &r, "get it back");
	r = (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__PIPE, .how = MFD__CPR_HOW__INHERITED };
	refuse_record(*state, &r, "inherit_id");
	r = (struct mfd_cpr_record){ .kind = MFD__CPR_KIND__UNIX_DGRAM, .how = MFD__CPR_HOW__KEPT };
	refuse_record(*state, &r, "identity");
}

static int no_item(void *ctx, struct mfd_cpr_image_item *item)
{
	(void)item;
	return *(int *)ctx;
}

static void test_writer_errors(void **state)
{
	struct mfd_cpr_image_header h = { .count = 1 };
	struct dir *d = *state;
	const char *why = "";
	int ret = 0;

	assert_int_equal(mfd_cpr_image_write(d->fd, &h, no_item, &ret, &why), -EINVAL);
	assert_non_null(strstr(why, "fewer"));
	ret = -EIO;
	assert_int_equal(mfd_cpr_image_write(d->fd, &h, no_item, &ret, &why), -EIO);
	h.count = UINT64_MAX;
	assert_int_equal(mfd_cpr_image_write(d->fd, &h, no_item, &ret, &why), -EINVAL);
	assert_int_equal(faccessat(d->fd, MFD_CPR_IMAGE_NAME, F_OK, 0), -1);
	h.count = 0;
	assert_int_equal(mfd_cpr_image_write(-1, &h, no_item, &ret, &why), -EBADF);
}

/* ---- what is not read ---- */

static void refuse(struct dir *d, int ret, const char *sentence)
{
	struct mfd_cpr_image_header h;
	struct mfd_cpr *t;
	const char *why = "";
	int got = mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, NULL, &t, &h, &why);

	assert_int_equal(got, ret);
	assert_null(t);
	assert_null(h.session);
	if (!strstr(why, sentence))
		fail_msg("\"%s\" is not in \"%s\"", sentence, why);
}

static void put_messages(struct dir *d, const ProtobufCMessage *const *m, size_t n)
{
	assert_int_equal(mfd_image_write(d->fd, MFD_CPR_IMAGE_NAME, MFD_IMAGE_SERVICE_MAGIC,
					 MFD_IMAGE_CPR, m, n),
			 0);
}

static void put_one(struct dir *d, uint32_t format, uint64_t count, Mfd__CprEntry *e, size_t n)
{
	Mfd__CprHeader h = MFD__CPR_HEADER__INIT;
	const ProtobufCMessage *m[4] = { &h.base, &e->base, &e->base, &e->base };

	h.format = format;
	h.count = count;
	put_messages(d, m, n + 1);
}

static Mfd__CprEntry good_entry(void)
{
	Mfd__CprEntry e = MFD__CPR_ENTRY__INIT;

	e.name = "one";
	e.id = 7;
	e.kind = MFD__CPR_KIND__PIPE;
	e.how = MFD__CPR_HOW__KEPT;
	return e;
}

static void test_refuse_header(void **state)
{
	Mfd__CprEntry e = good_entry();
	struct dir *d = *state;

	refuse(d, -ENOENT, MFD_CPR_IMAGE_NAME);
	put_messages(d, NULL, 0);
	refuse(d, -EBADMSG, "no header");
	put_one(d, 2, 1, &e, 1);
	refuse(d, -EPROTO, "written by a newer criu-multifd: format 2");
	put_one(d, 0, 1, &e, 1);
	refuse(d, -EBADMSG, "format 0");
	put_one(d, 1, 3, &e, 1);
	refuse(d, -EBADMSG, "claims 3 entries");
	put_one(d, 1, UINT64_MAX, &e, 1);
	refuse(d, -EBADMSG, "claims 18446744073709551615 entries");
	put_one(d, 1, 0, &e, 1);
	refuse(d, -EBADMSG, "something follows");
	put_one(d, 1, 1, &e, 2);
	refuse(d, -EBADMSG, "something follows");
	put_one(d, 1, 2, &e, 2);
	refuse(d, -EBADMSG, "(one, 7) occurs twice");
	e.name = "a longer name, so that two entries could be there";
	put_one(d, 1, 2, &e, 1);
	refuse(d, -EBADMSG, "ends after 1 of 2 entries");
}

static void refuse_entry(struct dir *d, Mfd__CprEntry *e, int ret, const char *sentence)
{
	put_one(d, 1, 1, e, 1);
	refuse(d, ret, sentence);
	*e = good_entry();
}

static void test_refuse_entry(void **state)
{
	static char text[MFD_CPR_MAX_INHERIT + 2];
	static uint8_t address[MFD_CPR_MAX_ADDRESS + 1];
	Mfd__CprSocket s = MFD__CPR_SOCKET__INIT;
	Mfd__CprEntry e = good_entry();
	struct dir *d = *state;

	memset(text, '/', sizeof(text) - 1);
	e.kind = 99;
	refuse_entry(d, &e, -EPROTO,
		     "entry 0 (one, 7): of a kind that only a newer criu-multifd knows");
	e.how = 99;
	refuse_entry(d, &e, -EPROTO, "a newer criu-multifd");
	e.name = "";
	refuse_entry(d, &e, -EBADMSG, "name is empty");
	e.name = text;
	refuse_entry(d, &e, -EBADMSG, "name is empty or too long");
	e.path = text;
	refuse_entry(d, &e, -EBADMSG, "path is too long");
	e.inherit_id = text;
	refuse_entry(d, &e, -EBADMSG, "inherit_id is too long");
	e.how = MFD__CPR_HOW__REOPEN;
	refuse_entry(d, &e, -EBADMSG, "no absolute path");
	e.kind = MFD__CPR_KIND__SOCKET;
	refuse_entry(d, &e, -EBADMSG, "without its identity");
	s.has_address = 1;
	s.address = (ProtobufCBinaryData){ sizeof(address), address };
	e.socket = &s;
	refuse_entry(d, &e, -EBADMSG, "address of its socket is too long");
}

static void test_too_many_owners(void **state)
{
	Mfd__CprOwner o = MFD__CPR_OWNER__INIT,
		      **list = malloc((MFD_CPR_MAX_OWNERS + 1) * sizeof(*list));
	Mfd__CprEntry e = good_entry();

	for (unsigned i = 0; i <= MFD_CPR_MAX_OWNERS; i++)
		list[i] = &o;
	e.owners = list;
	e.n_owners = MFD_CPR_MAX_OWNERS + 1;
	refuse_entry(*state, &e, -EBADMSG, "too many owners");
	free(list);
}

/*
 * Cut anywhere it is refused; with any byte changed it is refused or is something valid, never more
 * than it says.
 */
static void test_damage(void **state)
{
	static uint8_t good[4096], bad[4096];
	struct mfd_cpr *t = sample_table();
	struct dir *d = *state;
	const char *why = "";
	size_t n;

	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	mfd_cpr_free(t);
	n = read_file(d, good, sizeof(good));
	for (size_t len = 0; len < n; len++) {
		write_file(d, good, len);
		refuse(d, -EBADMSG, MFD_CPR_IMAGE_NAME);
	}
	for (size_t i = 0; i < n; i++)
		for (int bit = 0; bit < 8; bit++) {
			int ret;

			memcpy(bad, good, n);
			bad[i] ^= 1 << bit;
			write_file(d, bad, n);
			why = NULL;
			ret = mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, NULL, &t, NULL, &why);
			assert_true(ret == 0 || ret == -EBADMSG || ret == -EPROTO);
			assert_true(!ret == !!t && !ret == !why);
			if (t)
				assert_int_equal(mfd_cpr_count(t), SAMPLES);
			mfd_cpr_free(t);
		}
	memcpy(bad, good, n);
	bad[4] ^= 1;
	write_file(d, bad, n);
	refuse(d, -EBADMSG, "another kind");
}

/* ---- show ---- */

static struct json_object *show(struct dir *d)
{
	static char text[65536];
	int fd = openat(d->fd, "json", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct json_object *o;
	const char *why;
	ssize_t n;

	assert_int_equal(mfd_image_show(d->fd, MFD_CPR_IMAGE_NAME, fd, &why), 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = 0;
	close(fd);
	o = json_tokener_parse(text);
	assert_non_null(o);
	return o;
}

/* Entry `i`, field "a" or "a.b", as text. */
static const char *field(struct json_object *o, size_t i, const char *path)
{
	char pointer[64];
	struct json_object *v = NULL;

	snprintf(pointer, sizeof(pointer), "/entries/%zu/%s", i, path);
	json_pointer_get(o, pointer, &v);
	return v ? json_object_get_string(v) : NULL;
}

static void test_show(void **state)
{
	struct mfd_cpr *t = sample_table();
	struct dir *d = *state;
	struct json_object *o;
	const char *why;

	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	mfd_cpr_free(t);
	o = show(d);
	assert_string_equal(json_object_get_string(json_object_object_get(o, "magic")), "CPR_FDS");
	assert_string_equal(field(o, 0, "format"), "1");
	assert_string_equal(field(o, 0, "count"), "5");
	/* sorted by name */
	assert_string_equal(field(o, 1, "name"), "/dev/fuse");
	assert_string_equal(field(o, 1, "kind"), "CHARDEV");
	assert_string_equal(field(o, 1, "how"), "KEPT");
	assert_string_equal(field(o, 1, "flags/0"), "RDWR");
	assert_string_equal(field(o, 1, "flags/1"), "NONBLOCK");
	assert_string_equal(field(o, 1, "device/minor"), "229");
	assert_string_equal(field(o, 1, "owners/2/pid"), "101");
	assert_string_equal(field(o, 2, "position"), "1099511627776");
	assert_string_equal(field(o, 2, "id"), "18446744073709551615");
	assert_string_equal(field(o, 3, "name"), "anon_inode:[eventfd]");
	assert_null(field(o, 3, "path"));
	assert_string_equal(field(o, 4, "inherit_id"), "pipe:[123]");
	assert_string_equal(field(o, 5, "socket/family"), "UNIX");
	assert_string_equal(field(o, 5, "socket/type"), "STREAM");
	assert_string_equal(field(o, 5, "socket/state"), "ESTABLISHED");
	assert_string_equal(field(o, 5, "socket/peer_address"), "@/tmp/.X11-unix/X0");
	json_object_put(o);
}

/* ---- without memory ---- */

static void *no_alloc(void *ctx, size_t size)
{
	return (*(int *)ctx)-- > 0 ? malloc(size) : NULL;
}

static void plain_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)size;
	free(p);
}

static void test_load_no_memory(void **state)
{
	int left = 0, ret = -ENOMEM;
	struct mfd_cpr_options o = { .alloc = no_alloc, .free = plain_free, .ctx = &left };
	struct mfd_cpr *t = many(3000), *back;
	struct mfd_cpr_image_header h;
	struct dir *d = *state;
	const char *why;

	assert_int_equal(mfd_cpr_store(t, d->fd, NULL, &why), 0);
	mfd_cpr_free(t);
	for (int i = 0; ret == -ENOMEM; i++) {
		assert_true(i < 100);
		left = i;
		why = "";
		ret = mfd_cpr_load(d->fd, MFD_CPR_IMAGE_NAME, &o, &back, &h, &why);
		assert_true(ret ? !back && strstr(why, "memory") : !!back);
	}
	assert_int_equal(ret, 0);
	assert_int_equal(mfd_cpr_count(back), 3000);
	mfd_cpr_header_release(&h);
	mfd_cpr_free(back);
}

#define test(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_round_trip),	  test(test_sizes),	     test(test_same_bytes),
		test(test_extremes),	  test(test_refuse_writing), test(test_writer_errors),
		test(test_refuse_header), test(test_refuse_entry),   test(test_too_many_owners),
		test(test_damage),	  test(test_show),	     test(test_load_no_memory),
	};

	return cmocka_run_group_tests_name("cpr_image", tests, NULL, NULL);
}
