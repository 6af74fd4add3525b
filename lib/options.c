/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of options and its sources: environment, file, flags.
 *
 * A value that loses against a stronger source is parsed nevertheless: a mistake in a file does not
 * wait for the day when the variable that hid it is gone.  An empty string unsets a text option.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "closest.h"
#include "io.h"
#include "log.h"
#include "option_types.h"
#include "ours.h"
#include "tls_dir.h"
#include "wire.h"

#define DEFAULT_FILE "/etc/criu-multifd.conf"
#define FILE_MAX     (64U << 10)
#define ENV_PREFIX   "CRIU_MULTIFD_"
#define NAME_MAX_LEN 32
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void *field(struct mfd_options *o, const struct mfd_option_desc *d)
{
	return (char *)o + d->offset;
}

static const void *field_const(const struct mfd_options *o, const struct mfd_option_desc *d)
{
	return (const char *)o + d->offset;
}

/* ---- the table ---- */

#define AT(name)   offsetof(struct mfd_options, name)
#define TYPE(name) &mfd_option_types_##name

const struct mfd_option_desc mfd_options_table[] = {
	{ "target", "HOST:PORT", "restore server to stream to; unset, the plugin does nothing", "",
	  TYPE(target), AT(target), 0, 0 },
	{ "session", "NAME", "name of the session on the restore server; unset, one is made up", "",
	  TYPE(session), AT(session), 0, 0 },
	{ "channels", "N", "connections that carry memory, 1 to 64", "4", TYPE(number),
	  AT(channels), 1, MFD_WIRE_MAX_CHANNELS },
	{ "zerocopy", "on|off|auto",
	  "send memory without copying it in the kernel; on: fail rather than copy", "auto",
	  TYPE(tristate), AT(zerocopy), MFD_OFF, MFD_AUTO },
	{ "checksum", "on|off", "hash every packet", "on", TYPE(tristate), AT(checksum), MFD_OFF,
	  MFD_ON },
	{ "packet-size", "BYTES", "memory in one packet, a multiple of 64k up to 4M", "1M",
	  TYPE(bytes), AT(packet_size), MFD_WIRE_MIN_PACKET, MFD_WIRE_MAX_PACKET },
	{ "compress", "off|lz4|zstd|auto",
	  "compress memory on its way; auto: whichever is faster just now, or none", "off",
	  TYPE(compress), AT(compress), MFD_COMPRESS_OFF, MFD_COMPRESS_AUTO },
	{ "compress-level", "N", "zstd: 1 (fast) to 19; lz4: -1 to -64, faster; 0 = default", "0",
	  TYPE(level), AT(compress_level), -64, 19 },
	{ "max-bandwidth", "RATE",
	  "limit over all channels in bytes per second, with k, M, G, or in bits with kbit, Mbit, "
	  "Gbit; 0 or unlimited = none; 'criu-multifd set' changes it on the way",
	  "0", TYPE(rate), AT(max_bandwidth), 0, 0 },
	{ "congestion", "auto|system|NAME",
	  "congestion control of the channels; auto: the system's, but CUBIC for BBR where the round trip is below 1 ms",
	  "auto", TYPE(congestion), AT(congestion), 0, 0 },
	{ "mode", "safe|postcopy",
	  "safe: until everything has arrived and was verified any failure lets the source run on; postcopy: restored early, pages follow",
	  "safe", TYPE(mode), AT(mode), MFD_MODE_SAFE, MFD_MODE_POSTCOPY },
	{ "confirm", "ready|restore",
	  "what the target must have done before the source's tasks are released; restore: it has restored them, stopped",
	  "ready", TYPE(confirm), AT(confirm), MFD_CONFIRM_READY, MFD_CONFIRM_RESTORE },
	{ "page-dump", "auto|criu|plugin",
	  "which program lists the pages of large mappings; plugin: CRIU does not look at them, "
	  "which makes its part of the pause short; auto: plugin, with a CRIU for which that is known to work",
	  "auto", TYPE(page_dump), AT(page_dump), MFD_PAGE_DUMP_AUTO, MFD_PAGE_DUMP_PLUGIN },
	{ "precopy", "off|auto|on",
	  "send memory in rounds while the tasks run, and in the end what was written meanwhile; auto: in safe mode, from 256 MiB on; "
	  "migrate does so unless told otherwise",
	  "off", TYPE(tristate), AT(precopy), MFD_OFF, MFD_AUTO },
	{ "downtime-limit", "TIME",
	  "precopy: rounds end when the tasks would stand still for no longer than this", "300",
	  TYPE(ms), AT(downtime_limit), 1, 3600000 },
	{ "max-rounds", "N", "precopy: rounds end after so many, 1 to 1000", "8", TYPE(number),
	  AT(max_rounds), 1, 1000 },
	{ "precopy-timeout", "TIME", "precopy: no further round begins after this time", "600000",
	  TYPE(ms), AT(precopy_timeout), 1, 86400000 },
	{ "precopy-else", "stop|abort",
	  "precopy: what to do when the tasks write as fast as memory is sent, or the rounds or the time are used up; "
	  "stop: freeze them now",
	  "stop", TYPE(precopy_else), AT(precopy_else), MFD_PRECOPY_STOP, MFD_PRECOPY_ABORT },
	{ "precopy-check", "auto|always|off",
	  "precopy: compare what counts as not written while the tasks are frozen; auto: of tasks that read with "
	  "O_DIRECT or AIO, or see a mount of FUSE, virtiofs or 9p",
	  "auto", TYPE(precopy_check), AT(precopy_check), MFD_CHECK_AUTO, MFD_CHECK_OFF },
	{ "tree", "PID",
	  "precopy: the first process, for a dump by RPC; else CRIU's command line names it", "0",
	  TYPE(number), AT(tree), 0, INT_MAX },
	{ "restore-timeout", "TIME",
	  "confirm = restore: abort when the target has not restored in so long", "60000", TYPE(ms),
	  AT(restore_timeout), 100, 86400000 },
	{ "restore-option", "NAME,...",
	  "confirm = restore: options for the target's criu restore, e.g. tcp-established", "",
	  TYPE(text), AT(restore_option), 0, 0 },
	{ "move-address", "ADDR/LEN@DEV,...",
	  "addresses that move with the tasks; DEV:TARGETDEV if its name differs there", "",
	  TYPE(addresses), AT(move_address), 0, 0 },
	{ "connect-timeout", "TIME",
	  "limit for reaching the restore server, in ms or with a suffix", "5000", TYPE(ms),
	  AT(connect_timeout), 1, 3600000 },
	{ "queue-timeout", "TIME",
	  "how long to wait, before anything is frozen, for a target without memory for the session; 0 = not at all",
	  "600000", TYPE(ms), AT(queue_timeout), 0, 86400000 },
	{ "stall-timeout", "TIME", "a connection on which nothing moved for so long is broken",
	  "10000", TYPE(ms), AT(stall_timeout), 100, 3600000 },
	{ "tls-dir", "DIR|off",
	  "folder of certificates: TLS on every connection; unset, " MFD_TLS_DIR " if it is there",
	  "", TYPE(tls_dir), AT(tls_dir), 0, 0 },
	{ "tls-hostname", "NAME", "name in the target's certificate; unset, the host of target", "",
	  TYPE(text), AT(tls_hostname), 0, 0 },
	{ "tls-psk", "FILE", "file with this host's pre-shared key, instead of certificates", "",
	  TYPE(absolute), AT(tls_psk), 0, 0 },
	{ "tls-psk-id", "NAME", "identity in that file; unset, the only one", "", TYPE(text),
	  AT(tls_psk_id), 0, 0 },
	{ "log-level", "error|warn|info|debug", "how much is logged", "info", TYPE(log_level),
	  AT(log_level), MFD_LOG_ERROR, MFD_LOG_DEBUG },
	{ "log-file", "PATH", "log of the sender; unset, multifd-send.log beside CRIU's own", "",
	  TYPE(text), AT(log_file), 0, 0 },
	{ "program", "PATH",
	  "criu-multifd that the plugin starts; unset, the one beside the plugin", "",
	  TYPE(absolute), AT(program), 0, 0 },
	{ "cpr", "auto|off|PATTERN,...",
	  "which descriptors and terminals come along that CRIU cannot restore by itself", "",
	  TYPE(cpr), AT(cpr), 0, 0 },
	{ "keeper", "PATH",
	  "socket of the keeper that holds them on this host (DIR/.keeper.sock of criu-multifd serve)",
	  "", TYPE(absolute), AT(keeper), 0, 0 },
};

const unsigned mfd_options_count = ARRAY_LEN(mfd_options_table);
_Static_assert(ARRAY_LEN(mfd_options_table) <= MFD_OPTIONS_MAX, "room in mfd_options.from");

static const struct mfd_option_desc *find(const char *name, size_t len)
{
	unsigned i;

	for (i = 0; i < mfd_options_count; i++)
		if (!strncmp(mfd_options_table[i].name, name, len) &&
		    !mfd_options_table[i].name[len])
			return &mfd_options_table[i];
	return NULL;
}

/* ---- the struct ---- */

static int set(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
	       struct mfd_error *err)
{
	return d->type->set(field(o, d), d, value, err);
}

const char *mfd_options_closest(const char *name)
{
	return mfd_closest(name, &mfd_options_table[0].name, mfd_options_count,
			   sizeof(mfd_options_table[0]));
}

void mfd_options_init(struct mfd_options *o)
{
	unsigned i;

	memset(o, 0, sizeof(*o));
	for (i = 0; i < mfd_options_count; i++)
		set(o, &mfd_options_table[i], mfd_options_table[i].dflt, NULL);
}

void mfd_options_free(struct mfd_options *o)
{
	unsigned i;

	for (i = 0; i < mfd_options_count; i++) {
		if (mfd_options_table[i].type->is_text) {
			char **text = field(o, &mfd_options_table[i]);

			free(*text);
			*text = NULL;
		}
	}
}

static int unknown_name(const char *name, const char *where, struct mfd_error *err)
{
	const char *closest = mfd_options_closest(name);

	return mfd_error_set(err, -EINVAL, "%s: unknown option '%.64s'%s%s%s", where, name,
			     closest ? ", did you mean '" : "", closest ? closest : "",
			     closest ? "'?" : "");
}

/* Also keeps every value on one line of mfd_options_write. */
static int has_control(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < ' ' || *value == 0x7f)
			return 1;
	return 0;
}

int mfd_options_set(struct mfd_options *o, const char *name, const char *value,
		    enum mfd_option_from from, const char *where, struct mfd_error *err)
{
	const struct mfd_option_desc *d = find(name, strlen(name));
	struct mfd_options unused = { .target = NULL };
	struct mfd_error why = { .code = 0 };
	int wins, ret;

	if (!d)
		return unknown_name(name, where, err);
	if (has_control(value))
		return mfd_error_set(err, -EINVAL, "%s: control characters are not allowed in '%s'",
				     where, name);

	wins = from >= o->from[d - mfd_options_table];
	ret = set(wins ? o : &unused, d, value, &why);
	mfd_options_free(&unused);
	if (ret)
		return mfd_error_set(err, ret, "%s: bad value '%.200s' for '%s': %s", where, value,
				     name, mfd_error_text(&why));
	if (wins)
		o->from[d - mfd_options_table] = (uint8_t)from;
	return 0;
}

int mfd_options_check(const struct mfd_options *o, struct mfd_error *err)
{
	unsigned i;

	if (o->zerocopy == MFD_ON && o->compress != MFD_COMPRESS_OFF)
		return mfd_error_set(
			err, -EINVAL,
			"zerocopy = on cannot go with compress = %s: what is compressed is a copy",
			mfd_option_types_compress.names[o->compress]);
	if (o->tls_psk && o->tls_dir && strcmp(o->tls_dir, "off"))
		return mfd_error_set(err, -EINVAL,
				     "tls-dir and tls-psk: a source proves itself by one of them");
	if (o->tls_psk_id && !o->tls_psk)
		return mfd_error_set(err, -EINVAL, "tls-psk-id needs tls-psk");
	if (o->zerocopy == MFD_ON && (o->tls_psk || (o->tls_dir && strcmp(o->tls_dir, "off"))))
		return mfd_error_set(
			err, -EINVAL,
			"zerocopy = on cannot go with TLS: what is encrypted is a copy");
	for (i = 0; i < mfd_options_count; i++)
		if (o->from[i] > MFD_FROM_PLUGIN)
			return mfd_error_set(err, -EINVAL, "options were not initialised");
	return 0;
}

/* ---- environment ---- */

/* "PACKET_SIZE=..." to "packet-size"; -EINVAL when it is longer than any name. */
static int env_name(const char *entry, char name[NAME_MAX_LEN + 1])
{
	size_t i;

	for (i = 0; entry[i] && entry[i] != '='; i++) {
		if (i == NAME_MAX_LEN)
			return -EINVAL;
		name[i] = entry[i] == '_' ? '-' : (char)tolower((unsigned char)entry[i]);
	}
	name[i] = '\0';
	return 0;
}

static int env_is_option(const char *entry)
{
	if (strncmp(entry, ENV_PREFIX, strlen(ENV_PREFIX)))
		return 0;
	entry += strlen(ENV_PREFIX);
	return strncmp(entry, "CONFIG=", 7) && strncmp(entry, "SENDER_", 7);
}

static int env_entry(struct mfd_options *o, const char *entry, struct mfd_error *err)
{
	const char *equals = strchr(entry, '=');
	char name[NAME_MAX_LEN + 1], where[128];

	if (!equals)
		return 0;
	snprintf(where, sizeof(where), "%.*s", (int)(equals - entry), entry);
	if (env_name(entry + strlen(ENV_PREFIX), name))
		return mfd_error_set(err, -EINVAL, "%s: unknown option", where);
	return mfd_options_set(o, name, equals + 1, MFD_FROM_ENV, where, err);
}

int mfd_options_from_env(struct mfd_options *o, struct mfd_error *err)
{
	char **e;
	int ret;

	for (e = environ; e && *e; e++) {
		ret = env_is_option(*e) ? env_entry(o, *e, err) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- file ---- */

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r");
	for (end = s + strlen(s); end > s && strchr(" \t\r", end[-1]);)
		*--end = '\0';
	return s;
}

/*
 * "value" with \" and \\ inside; returns what follows the closing quote, NULL when there is none.
 */
static char *unquote(char *s)
{
	char *out = s++;

	for (; *s && *s != '"'; s++) {
		if (*s == '\\' && (s[1] == '"' || s[1] == '\\'))
			s++;
		*out++ = *s;
	}
	if (!*s)
		return NULL;
	*out = '\0';
	return s + 1;
}

/* Cuts a comment off a value that is not quoted: '#' after a blank. */
static void cut_comment(char *value)
{
	char *hash;

	for (hash = strchr(value, '#'); hash; hash = strchr(hash + 1, '#')) {
		if (hash == value || hash[-1] == ' ' || hash[-1] == '\t') {
			*hash = '\0';
			return;
		}
	}
}

static int file_line(struct mfd_options *o, char *line, const char *where, struct mfd_error *err)
{
	char *equals, *rest, *value;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return mfd_error_set(err, -EINVAL, "%s: expected 'name = value', not '%.64s'",
				     where, line);
	*equals = '\0';
	value = equals + 1 + strspn(equals + 1, " \t");
	if (*value == '"') {
		rest = unquote(value);
		rest = rest ? trim(rest) : NULL;
		if (!rest || (*rest && *rest != '#'))
			return mfd_error_set(err, -EINVAL, "%s: %s", where,
					     rest ? "text after the closing quote" :
						    "the closing quote is missing");
	} else {
		cut_comment(value);
		value = trim(value);
	}
	return mfd_options_set(o, trim(line), value, MFD_FROM_FILE, where, err);
}

static int file_text(struct mfd_options *o, char *text, const char *path, struct mfd_error *err)
{
	char where[PATH_MAX + 16], *line, *next;
	unsigned n = 0;
	int ret;

	for (line = text; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		snprintf(where, sizeof(where), "%s:%u", path, ++n);
		ret = file_line(o, line, where, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* What root does is not for other users to say: no file of theirs, none that they can change. */
static int may_decide(const char *path, struct mfd_error *err)
{
	struct stat st;

	if (stat(path, &st))
		return 0;
	/*
	 * What has no name (a memfd of `migrate`) no other user can open, and what is written to
	 * /dev/null does not come back.
	 */
	if (!st.st_nlink || S_ISCHR(st.st_mode))
		st.st_mode &= ~(mode_t)(S_IWGRP | S_IWOTH);
	if (!mfd_ours_others_change(&st))
		return 0;
	return mfd_error_set(err, -EPERM,
			     "%s: other users can change this configuration file: it must belong "
			     "to root and be writable by root alone",
			     path);
}

int mfd_options_from_file(struct mfd_options *o, const char *path, struct mfd_error *err)
{
	const char *env = getenv(ENV_PREFIX "CONFIG");
	int may_be_absent = 0, ret;
	size_t len;
	char *text;

	if (!path)
		path = env && *env ? env : NULL;
	if (!path) {
		path = DEFAULT_FILE;
		may_be_absent = 1;
	}
	ret = may_decide(path, err);
	if (ret)
		return ret;
	ret = mfd_io_read_file(AT_FDCWD, path, FILE_MAX, &text, &len);
	if (ret == -ENOENT && may_be_absent)
		return 0;
	if (ret)
		return mfd_error_sys(err, ret, "cannot read the configuration file %s", path);
	if (strlen(text) != len)
		ret = mfd_error_set(err, -EINVAL, "%s: not a text file", path);
	else
		ret = file_text(o, text, path, err);
	free(text);
	return ret;
}

/* ---- flags ---- */

int mfd_options_from_flag(struct mfd_options *o, int argc, char **argv, int *i,
			  struct mfd_error *err)
{
	const struct mfd_option_desc *d;
	const char *word = argv[*i], *value;
	char where[NAME_MAX_LEN + 3];
	size_t len;
	int ret;

	if (strncmp(word, "--", 2))
		return 0;
	len = strcspn(word + 2, "=");
	d = find(word + 2, len);
	if (!d)
		return 0;
	if (word[2 + len]) {
		value = word + 2 + len + 1;
	} else {
		if (*i + 1 >= argc)
			return mfd_error_set(err, -EINVAL, "--%s: a value is missing, --%s %s",
					     d->name, d->name, d->arg);
		value = argv[++*i];
	}
	snprintf(where, sizeof(where), "--%s", d->name);
	ret = mfd_options_set(o, d->name, value, MFD_FROM_FLAG, where, err);
	return ret ? ret : 1;
}

/* ---- output ---- */

/* Quoted where a reader would otherwise cut something off. */
static int write_text(const char *name, const char *value, FILE *f)
{
	size_t len = strlen(value);

	if (*value != '"' && *value != '#' && *value != ' ' && value[len - 1] != ' ' &&
	    !strstr(value, " #"))
		return fprintf(f, "%s = %s\n", name, value);
	fprintf(f, "%s = \"", name);
	for (; *value; value++)
		fprintf(f, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	return fprintf(f, "\"\n");
}

static void write_option(const struct mfd_options *o, const struct mfd_options *dflt,
			 const struct mfd_option_desc *d, FILE *f)
{
	const void *value = field_const(o, d);
	const char *text;

	if (!memcmp(value, field_const(dflt, d), d->type->size))
		return;
	if (d->type->is_text) { /* unset by default, all of them */
		memcpy(&text, value, sizeof(text));
		write_text(d->name, text, f);
		return;
	}
	fprintf(f, "%s = ", d->name);
	d->type->print(value, d, f);
	fputc('\n', f);
}

int mfd_options_write(const struct mfd_options *o, FILE *f)
{
	struct mfd_options dflt;
	unsigned i;

	mfd_options_init(&dflt);
	for (i = 0; i < mfd_options_count; i++)
		write_option(o, &dflt, &mfd_options_table[i], f);
	mfd_options_free(&dflt);
	return fflush(f) || ferror(f) ? -EIO : 0;
}

void mfd_options_help(FILE *f)
{
	unsigned i;

	for (i = 0; i < mfd_options_count; i++) {
		const struct mfd_option_desc *d = &mfd_options_table[i];
		char head[64];

		snprintf(head, sizeof(head), "--%s %s", d->name, d->arg);
		fprintf(f, "  %-34s %s%s%s%s\n", head, d->help, *d->dflt ? " (default " : "",
			d->dflt, *d->dflt ? ")" : "");
	}
}
