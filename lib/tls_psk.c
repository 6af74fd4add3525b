// SPDX-License-Identifier: GPL-2.0-only
/* Pre-shared keys: reading the file, and finding an identity in constant time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "secret.h"
#include "tls_file.h"
#include "tls_psk.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"

int mfd_tls_psk_name_ok(const char *name, size_t len)
{
	if (!len || len > MFD_TLS_PSK_NAME)
		return 0;
	for (size_t i = 0; i < len; i++)
		if (!name[i] || !strchr(LETTERS, name[i]))
			return 0;
	return 1;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_key(struct mfd_tls_psk *k, const char *hex, size_t len)
{
	if (len % 2 || len / 2 < MFD_TLS_PSK_MIN || len / 2 > MFD_TLS_PSK_MAX)
		return -EINVAL;
	k->len = len / 2;
	for (size_t i = 0; i < k->len; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		k->key[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int read_line(struct mfd_tls_psks *p, const char *line, size_t len, const char *where,
		     struct mfd_error *err)
{
	const char *colon = memchr(line, ':', len);
	size_t name = colon ? (size_t)(colon - line) : 0;
	struct mfd_tls_psk *k = &p->all[p->n];

	if (!mfd_tls_psk_name_ok(line, name))
		return mfd_error_set(err, -EINVAL,
				     "%s: expected IDENTITY:HEX, the identity of letters, digits "
				     "and .-_@ and at most %d bytes",
				     where, MFD_TLS_PSK_NAME);
	if (mfd_tls_psk_find(p, line, name))
		return mfd_error_set(err, -EINVAL, "%s: identity '%.*s' is there twice", where,
				     (int)name, line);
	memcpy(k->name, line, name);
	if (read_key(k, colon + 1, len - name - 1))
		return mfd_error_set(err, -EINVAL,
				     "%s: expected a key of %d to %d bytes in hexadecimal, as "
				     "'criu-multifd keys psk' makes them",
				     where, MFD_TLS_PSK_MIN, MFD_TLS_PSK_MAX);
	p->n++;
	return 0;
}

static int read_lines(struct mfd_tls_psks *p, const char *text, const char *path,
		      struct mfd_error *err)
{
	char where[4200];
	unsigned n = 0;

	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n"), used = len;
		int ret = 0;

		while (used && (line[used - 1] == '\r' || line[used - 1] == ' '))
			used--;
		snprintf(where, sizeof(where), "%s:%u", path, ++n);
		if (used && *line != '#')
			ret = read_line(p, line, used, where, err);
		if (ret)
			return ret;
		line += len + (line[len] == '\n');
	}
	return p->n ? 0 : mfd_error_set(err, -ENODATA, "%s: no key in it", path);
}

int mfd_tls_psk_read(struct mfd_tls_psks *p, const char *path, struct mfd_error *err)
{
	struct mfd_tls_file f;
	int ret = mfd_tls_file_read(&f, AT_FDCWD, path, path, MFD_TLS_SECRET, err);
	size_t lines = 1;

	*p = (struct mfd_tls_psks){ 0 };
	if (ret)
		return mfd_error_sys(err, ret, "%s", path);
	for (size_t i = 0; i < f.len; i++)
		lines += f.data[i] == '\n';
	p->mapped = lines * sizeof(*p->all);
	p->all = mfd_tls_file_pages(p->mapped);
	if (!p->all)
		ret = mfd_error_sys(err, -ENOMEM, "%s", path);
	else if (strlen(f.data) != f.len)
		ret = mfd_error_set(err, -EINVAL, "%s: not a text file", path);
	else
		ret = read_lines(p, f.data, path, err);
	mfd_tls_file_drop(&f);
	if (ret)
		mfd_tls_psk_drop(p);
	return ret;
}

void mfd_tls_psk_drop(struct mfd_tls_psks *p)
{
	mfd_tls_file_pages_free(p->all, p->mapped);
	*p = (struct mfd_tls_psks){ 0 };
}

const struct mfd_tls_psk *mfd_tls_psk_find(const struct mfd_tls_psks *p, const void *name,
					   size_t len)
{
	char padded[MFD_TLS_PSK_NAME + 1] = { 0 };
	size_t found = 0; /* 1 + index */

	if (len > MFD_TLS_PSK_NAME) {
		len = MFD_TLS_PSK_NAME;
		padded[len] = 1; /* each entry has NUL there */
	}
	memcpy(padded, name, len);
	for (size_t i = 0; i < p->n; i++) {
		size_t same = (size_t)mfd_secret_equal(padded, sizeof(padded), p->all[i].name,
						       sizeof(padded));

		found |= (0 - same) & (i + 1);
	}
	return found ? &p->all[found - 1] : NULL;
}
