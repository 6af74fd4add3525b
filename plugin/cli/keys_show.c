// SPDX-License-Identifier: GPL-2.0-only
/* What is in a folder of keys, without the keys. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keys_show.h"
#include "tls.h"
#include "tls_file.h"
#include "tls_psk.h"

static void show_until(time_t until)
{
	char when[40];
	struct tm tm;

	gmtime_r(&until, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d", &tm);
	printf("%s %s", until < time(NULL) ? "EXPIRED" : "until", when);
}

static int show_certificate(int dir, const char *name, const char *path, struct mfd_error *err)
{
	gnutls_datum_t pem, text = { 0 };
	struct mfd_tls_file f;
	gnutls_x509_crt_t crt;
	int ret = mfd_tls_file_read(&f, dir, name, path, MFD_TLS_PUBLIC, err);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	pem = (gnutls_datum_t){ (unsigned char *)f.data, (unsigned)f.len };
	if (gnutls_x509_crt_init(&crt))
		return -ENOMEM;
	ret = gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM);
	if (ret) {
		mfd_error_set(err, -EINVAL, "%s: %s", path, gnutls_strerror(ret));
	} else {
		printf("%s: ", path);
		show_until(gnutls_x509_crt_get_expiration_time(crt));
		if (!gnutls_x509_crt_print(crt, GNUTLS_CRT_PRINT_ONELINE, &text))
			printf("; %.*s", (int)text.size, text.data);
		putchar('\n');
		gnutls_free(text.data);
	}
	gnutls_x509_crt_deinit(crt);
	mfd_tls_file_drop(&f);
	return ret ? -EINVAL : 0;
}

static int show_psk(const char *path, struct mfd_error *err)
{
	struct mfd_tls_psks p;
	int ret = mfd_tls_psk_read(&p, path, err);

	for (size_t i = 0; !ret && i < p.n; i++)
		printf("%s: identity %s, %zu bits\n", path, p.all[i].name, 8 * p.all[i].len);
	if (!ret)
		mfd_tls_psk_drop(&p);
	return ret;
}

static int ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), e = strlen(end);

	return n > e && !strcmp(name + n - e, end);
}

static int show_folder(const char *path, int depth, struct mfd_error *err)
{
	int ret = 0, n, dir = mfd_tls_file_folder(path, err);
	struct dirent **list;

	if (dir < 0)
		return dir;
	n = scandirat(dir, ".", &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		char child[4200];

		snprintf(child, sizeof(child), "%s/%s", path, name);
		if (!ret && ends_in(name, "-cert.pem"))
			ret = show_certificate(dir, name, child, err);
		else if (!ret && ends_in(name, ".psk"))
			ret = show_psk(child, err);
		else if (!ret && depth && name[0] != '.' && list[i]->d_type == DT_DIR)
			ret = show_folder(child, depth - 1, err);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	close(dir);
	return ret;
}

int mfd_keys_show(const char *path, struct mfd_error *err)
{
	return show_folder(path, 1, err);
}
