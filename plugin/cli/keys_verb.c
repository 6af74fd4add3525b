// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu-multifd keys: a CA, certificates of hosts, and pre-shared keys.
 *
 *	DIR/ca-cert.pem ca-key.pem	the CA; its key stays on the machine where keys are made
 *	DIR/HOST/			what HOST gets as its --tls-dir
 *	DIR/server.psk			the keys of all sources, for serve --tls-psk
 *	DIR/NAME.psk			the key of one source, for migrate --tls-psk
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "flags.h"
#include "io.h"
#include "keys_show.h"
#include "tls.h"
#include "tls_file.h"
#include "tls_make.h"
#include "tls_psk.h"

#define DAY	   (24 * 3600L)
#define CA_DAYS	   3650
#define HOST_DAYS  825
#define SERVER_PSK "server.psk"

struct keys {
	uint32_t days;
	struct mfd_flags_args args; /* the action, DIR, ... */
};

static const char *folder_of(const struct keys *k)
{
	return k->args.v[1];
}

/* Made if it is not there: 0700, so that no key is seen before it has its own mode. */
static int open_folder(const char *path, struct mfd_error *err)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return mfd_error_sys(err, -errno, "%s", path);
	return mfd_tls_file_folder(path, err);
}

static void valid(struct mfd_tls_make *m, const struct keys *k, uint32_t days)
{
	m->from = time(NULL) - DAY / 24; /* for clocks that are behind */
	m->until = time(NULL) + (k->days ? k->days : days) * DAY;
}

static int do_init(const struct keys *k, struct mfd_error *err)
{
	const char *name = "criu-multifd CA";
	struct mfd_tls_make m = { .names = &name, .n_names = 1 };
	int ret, dir = open_folder(folder_of(k), err);

	if (dir < 0)
		return dir;
	valid(&m, k, CA_DAYS);
	ret = mfd_tls_make_ca(dir, &m, err);
	close(dir);
	if (!ret)
		printf("%s: a CA; its key, " MFD_TLS_CA_KEY ", stays here\n", folder_of(k));
	return ret;
}

/* ---- a host ---- */

static int copy_ca(int from, int to, struct mfd_error *err)
{
	const char *const names[] = { MFD_TLS_CA_CERT, MFD_TLS_CA_CRL };
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		struct mfd_tls_file f;

		ret = mfd_tls_file_read(&f, from, names[i], names[i], MFD_TLS_PUBLIC, err);
		if (ret == -ENOENT && i == 1)
			return 0;
		if (!ret)
			ret = mfd_io_replace_file(to, names[i], f.data, f.len, 0644);
		if (ret)
			mfd_error_sys(err, ret, "%s", names[i]);
		mfd_tls_file_drop(&f);
	}
	return ret;
}

static int fill_host(const struct keys *k, int ca, int dir, struct mfd_error *err)
{
	struct mfd_tls_make m = { .names = (const char *const *)k->args.v + 2,
				  .n_names = (size_t)k->args.n - 2 };
	int ret;

	valid(&m, k, HOST_DAYS);
	m.purposes = MFD_TLS_FOR_SERVER;
	ret = mfd_tls_make_pair(ca, dir, MFD_TLS_SERVER_CERT, MFD_TLS_SERVER_KEY, &m, err);
	m.purposes = MFD_TLS_FOR_CLIENT;
	if (!ret)
		ret = mfd_tls_make_pair(ca, dir, MFD_TLS_CLIENT_CERT, MFD_TLS_CLIENT_KEY, &m, err);
	return ret ? ret : copy_ca(ca, dir, err);
}

static int do_add(const struct keys *k, struct mfd_error *err)
{
	const char *host = k->args.v[2];
	int ca, dir, ret;

	if (strchr(host, '/') || *host == '.')
		return mfd_error_set(err, -EINVAL, "'%s' is not the name of a host", host);
	ca = mfd_tls_file_folder(folder_of(k), err);
	if (ca < 0)
		return ca;
	ret = mkdirat(ca, host, 0700) && errno != EEXIST ? -errno : 0;
	dir = openat(ca, host, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (ret || dir < 0)
		ret = mfd_error_sys(err, ret ? ret : -errno, "%s/%s", folder_of(k), host);
	if (!ret)
		ret = fill_host(k, ca, dir, err);
	if (dir >= 0)
		close(dir);
	close(ca);
	if (!ret)
		printf("%s/%s: copy it to %s, as root and with its modes, as its --tls-dir\n",
		       folder_of(k), host, host);
	return ret;
}

/* ---- a pre-shared key ---- */

/* One line more in the server's file: 0 or -errno. */
static int append(int dir, const char *line, size_t len)
{
	int fd = openat(dir, SERVER_PSK, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
			0600);
	int ret = fd < 0 ? -errno : mfd_io_write_all(fd, line, len);

	if (fd >= 0)
		close(fd);
	return ret;
}

static int do_psk(const struct keys *k, struct mfd_error *err)
{
	const char *name = k->args.v[2];
	char file[MFD_TLS_PSK_NAME + 8], line[MFD_TLS_PSK_NAME + 2 * MFD_TLS_PSK_MAX + 8];
	int dir, ret;
	size_t len;

	if (!mfd_tls_psk_name_ok(name, strlen(name)) || !strcmp(name, "server") || *name == '.')
		return mfd_error_set(err, -EINVAL,
				     "'%s': expected an identity of letters, digits and .-_@, at "
				     "most %d bytes",
				     name, MFD_TLS_PSK_NAME);
	dir = open_folder(folder_of(k), err);
	if (dir < 0)
		return dir;
	snprintf(file, sizeof(file), "%s.psk", name);
	len = mfd_tls_make_psk(line, sizeof(line), name);
	ret = len ? mfd_tls_make_file(dir, file, line, len, 0600) : -EIO;
	if (!ret)
		ret = append(dir, line, len);
	explicit_bzero(line, sizeof(line));
	close(dir);
	if (ret)
		return mfd_error_sys(err, ret, "%s/%s", folder_of(k), file);
	printf("%s/%s: for the source, --tls-psk; %s/" SERVER_PSK " has it, too, for serve\n",
	       folder_of(k), file, folder_of(k));
	return 0;
}

/* ---- the verb ---- */

static int do_show(const struct keys *k, struct mfd_error *err)
{
	return mfd_keys_show(folder_of(k), err);
}

static const struct action {
	const char *name;
	int min, max; /* words, with the action's own */
	int (*run)(const struct keys *k, struct mfd_error *err);
} actions[] = {
	{ "init", 2, 2, do_init },
	{ "add", 3, 32, do_add },
	{ "psk", 3, 3, do_psk },
	{ "show", 2, 2, do_show },
};

static int run(const struct mfd_flags *table, const struct keys *k)
{
	struct mfd_error err = { 0 };

	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		const struct action *a = &actions[i];

		if (strcmp(a->name, k->args.v[0]))
			continue;
		if (k->args.n < a->min || k->args.n > a->max)
			return mfd_flags_misuse(table, "'%s' is called with other arguments",
						a->name);
		if (!a->run(k, &err))
			return MFD_EXIT_OK;
		fprintf(stderr, "criu-multifd keys: %s\n", mfd_error_text(&err));
		return MFD_EXIT_FAILED;
	}
	return mfd_flags_misuse(table, "unknown '%s': expected init, add, psk or show",
				k->args.v[0]);
}

int mfd_keys_main(int argc, char **argv)
{
	struct keys k = { 0 };
	const struct mfd_flag flags[] = {
		{ .name = "days",
		  .kind = MFD_FLAG_UINT,
		  .dest = &k.days,
		  .arg = "N",
		  .min = 1,
		  .max = 36500,
		  .help = "how long what is made is valid (a CA 3650, a host 825)" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "keys",
		.usage = "init DIR | add DIR HOST [NAME...] | psk DIR NAME | show DIR [--days N]",
		.summary =
			"Makes what TLS needs: a CA, certificates of hosts, pre-shared keys; and shows them.",
		.notes =
			"init makes a CA in DIR.  With DIR/ca-key.pem a certificate can be made for any host: keep it on one machine.\n"
			"add makes DIR/HOST, a folder with a certificate and key of HOST as a server and another one as a source.  Copied to\n"
			"HOST as /etc/criu-multifd/tls it is used by serve and migrate without any flag; elsewhere --tls-dir names it.  HOST\n"
			"and each NAME is a name or an address that sources connect to (migrate --to).\n"
			"psk makes a key without any certificate: DIR/NAME.psk for the source (--tls-psk), and a line of DIR/server.psk for the\n"
			"servers.  One for each source: its holder is taken for that source, and for the server, too.\n"
			"show lists certificates, and identities without their keys, in DIR and in the folders of its hosts.\n"
			"Exit status: 0, or 1 with one line.",
		.flags = flags,
		.min_args = 1,
		.max_args = 32,
		.arg_names = "init, add, psk or show",
	};
	int ret = mfd_flags_begin(&table, argc, argv, &k.args);

	return ret >= 0 ? ret : run(&table, &k);
}
