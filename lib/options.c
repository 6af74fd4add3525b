/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of options and its sources.
 *
 * A value is parsed in one place whatever it came from, so all sources allow the same and complain
 * alike.  A value that loses against a stronger source is parsed nevertheless: a mistake in a file
 * does not wait for the day when the variable that hid it is gone.  An empty string unsets a text
 * option.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "congestion.h"
#include "io.h"
#include "netaddr.h"
#include "log.h"
#include "options.h"
#include "wire.h"

#define DEFAULT_FILE "/etc/criu-multifd.conf"
#define FILE_MAX     (64U << 10)
#define ENV_PREFIX   "CRIU_MULTIFD_"
#define PACKET_STEP  (64 << 10)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static const char *const tristates[] = { [MFD_OFF] = "off", [MFD_ON] = "on", [MFD_AUTO] = "auto" };
static const char *const compressions[] = {
	[MFD_COMPRESS_OFF] = "off",
	[MFD_COMPRESS_LZ4] = "lz4",
	[MFD_COMPRESS_ZSTD] = "zstd",
	[MFD_COMPRESS_AUTO] = "auto",
};
static const char *const modes[] = { [MFD_MODE_SAFE] = "safe", [MFD_MODE_POSTCOPY] = "postcopy" };
static const char
	*const confirms[] = { [MFD_CONFIRM_READY] = "ready", [MFD_CONFIRM_RESTORE] = "restore" };
static const char *const log_levels[] = {
	[MFD_LOG_ERROR] = "error",
	[MFD_LOG_WARN] = "warn",
	[MFD_LOG_INFO] = "info",
	[MFD_LOG_DEBUG] = "debug",
};

static void *field(struct mfd_options *o, const struct mfd_option_desc *d)
{
	return (char *)o + d->offset;
}

static const void *field_const(const struct mfd_options *o, const struct mfd_option_desc *d)
{
	return (const char *)o + d->offset;
}

/* ---- values ---- */

static int set_text(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		    struct mfd_error *err)
{
	char **text = field(o, d);
	char *copy = NULL;

	if (*value) {
		copy = strdup(value);
		if (!copy)
			return mfd_error_sys(err, -ENOMEM, "%s", d->name);
	}
	free(*text);
	*text = copy;
	return 0;
}

/* Only the form: a name is looked up when it is needed, and again when it is needed again. */
static int set_target(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		      struct mfd_error *err)
{
	const char *colon = strrchr(value, ':');

	if (*value &&
	    (!colon || colon == value || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")]))
		return mfd_error_set(err, -EINVAL, "HOST:PORT or [V6]:PORT is wanted");
	return set_text(o, d, value, err);
}

static int set_session(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		       struct mfd_error *err)
{
	if (*value && !mfd_wire_name_ok(value, strlen(value)))
		return mfd_error_set(
			err, -EINVAL,
			"a name is wanted: 1 to %d bytes, no '/', not starting with '.'",
			MFD_WIRE_MAX_NAME);
	return set_text(o, d, value, err);
}

static int set_congestion(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
			  struct mfd_error *err)
{
	if (*value && !mfd_congestion_name_ok(value))
		return mfd_error_set(
			err, -EINVAL,
			"auto, system or the name of a congestion control is wanted, as cubic");
	return set_text(o, d, strcmp(value, "auto") ? value : "", err);
}

static int set_absolute(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
			struct mfd_error *err)
{
	if (*value && *value != '/')
		return mfd_error_set(err, -EINVAL, "an absolute path is wanted");
	return set_text(o, d, value, err);
}

/*
 * Patterns are matched in plugin/hooks/cpr_claim.c; whether one ever matches is nothing that can be
 * checked here.
 */
static int set_cpr(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		   struct mfd_error *err)
{
	if (*value && (*value == ',' || strstr(value, ",,") || value[strlen(value) - 1] == ','))
		return mfd_error_set(err, -EINVAL, "auto, off or PATTERN[,PATTERN...] is wanted");
	return set_text(o, d, strcmp(value, "auto") ? value : "", err);
}

/* Digits and a suffix: 0, or -EINVAL when there are none or the number is beyond any limit. */
static int number(const char *value, long *n, const char **suffix)
{
	char *end;

	if (!isdigit((unsigned char)*value))
		return -EINVAL;
	errno = 0;
	*n = strtol(value, &end, 10);
	*suffix = end;
	return errno ? -EINVAL : 0;
}

static int set_number(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		      struct mfd_error *err)
{
	const char *suffix;
	long n;

	if (number(value, &n, &suffix) || *suffix || n < d->min || n > d->max)
		return mfd_error_set(err, -EINVAL, "a number from %ld to %ld is wanted", d->min,
				     d->max);
	*(uint32_t *)field(o, d) = (uint32_t)n;
	return 0;
}

static long bytes_unit(const char *suffix)
{
	if (!*suffix)
		return 1;
	if (!strcmp(suffix, "k") || !strcmp(suffix, "K"))
		return 1L << 10;
	return !strcmp(suffix, "m") || !strcmp(suffix, "M") ? 1L << 20 : 0;
}

static int set_bytes(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		     struct mfd_error *err)
{
	const char *suffix;
	long n, unit;

	if (number(value, &n, &suffix) || !(unit = bytes_unit(suffix)) || n > d->max / unit ||
	    n * unit < d->min || n * unit % PACKET_STEP)
		return mfd_error_set(err, -EINVAL, "a multiple of %dk from %ldk to %ldM is wanted",
				     PACKET_STEP >> 10, d->min >> 10, d->max >> 20);
	*(uint32_t *)field(o, d) = (uint32_t)(n * unit);
	return 0;
}

static int set_ms(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		  struct mfd_error *err)
{
	const char *suffix;
	long n, unit = 0;

	if (!number(value, &n, &suffix))
		unit = !*suffix || !strcmp(suffix, "ms") ? 1 : !strcmp(suffix, "s") ? 1000 : 0;
	if (!unit || n > d->max / unit || n * unit < d->min)
		return mfd_error_set(
			err, -EINVAL,
			"a time from %ld to %ld milliseconds is wanted, e.g. 500, 500ms, 5s",
			d->min, d->max);
	*(uint32_t *)field(o, d) = (uint32_t)(n * unit);
	return 0;
}

/* All enumerations are stored as 32 bits. */
_Static_assert(sizeof(enum mfd_tristate) == 4 && sizeof(enum mfd_mode) == 4 &&
		       sizeof(enum mfd_confirm) == 4,
	       "");

static int choose(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		  struct mfd_error *err, const char *const *names)
{
	char allowed[128] = "";
	long i;

	for (i = d->min; i <= d->max; i++) {
		size_t used = strlen(allowed);

		if (!strcmp(value, names[i])) {
			memcpy(field(o, d), &(uint32_t){ (uint32_t)i }, sizeof(uint32_t));
			return 0;
		}
		snprintf(allowed + used, sizeof(allowed) - used, "%s%s",
			 i == d->min ? "" :
			 i == d->max ? " or " :
				       ", ",
			 names[i]);
	}
	return mfd_error_set(err, -EINVAL, "%s is wanted", allowed);
}

static int set_tristate(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
			struct mfd_error *err)
{
	return choose(o, d, value, err, tristates);
}

static int set_compress(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
			struct mfd_error *err)
{
	return choose(o, d, value, err, compressions);
}

static int set_level(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		     struct mfd_error *err)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (!*value || *end || n < d->min || n > d->max)
		return mfd_error_set(err, -EINVAL, "a number from %ld to %ld is wanted", d->min,
				     d->max);
	*(int32_t *)field(o, d) = (int32_t)n;
	return 0;
}

int mfd_options_rate(const char *value, uint64_t *bytes_per_s)
{
	static const struct {
		const char *suffix;
		double unit;
	} units[] = { { "", 1 },	{ "k", 1e3 },	 { "M", 1e6 },	    { "G", 1e9 },
		      { "bit", 0.125 }, { "kbit", 125 }, { "Mbit", 125e3 }, { "Gbit", 125e6 } };
	char *end;
	double n = strtod(value, &end);

	if (!strcmp(value, "unlimited")) {
		*bytes_per_s = 0;
		return 0;
	}
	if (end == value || !(n >= 0) || n > 1e15)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (!strcmp(end, units[i].suffix)) {
			n *= units[i].unit;
			*bytes_per_s = n > 0 && n < 1 ? 1 :
							/*
							 * little is not nothing: that would be no
							 * limit
							 */
							(uint64_t)n;
			return 0;
		}
	}
	return -EINVAL;
}

const char *mfd_options_rate_text(uint64_t bytes_per_s, char *buf, size_t len)
{
	static const struct {
		const char *name;
		double unit;
	} units[] = { { "Gbit/s", 1e9 }, { "Mbit/s", 1e6 }, { "kbit/s", 1e3 }, { "bit/s", 1 } };
	double bits = 8 * (double)bytes_per_s;
	unsigned u = 0;

	while (bits < units[u].unit && u < ARRAY_LEN(units) - 1)
		u++;
	if (bytes_per_s)
		snprintf(buf, len, "%.4g %s", bits / units[u].unit, units[u].name);
	else
		snprintf(buf, len, "unlimited");
	return buf;
}

static int set_rate(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		    struct mfd_error *err)
{
	if (mfd_options_rate(value, field(o, d)))
		return mfd_error_set(err, -EINVAL, MFD_OPTIONS_RATE_WANTED);
	return 0;
}

static int set_addresses(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
			 struct mfd_error *err)
{
	struct mfd_netaddr list[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(value, list, err);

	return n < 0 ? n : set_text(o, d, value, err);
}

static int set_mode(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		    struct mfd_error *err)
{
	return choose(o, d, value, err, modes);
}

static int set_confirm(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
		       struct mfd_error *err)
{
	return choose(o, d, value, err, confirms);
}

static int set_log_level(struct mfd_options *o, const struct mfd_option_desc *d, const char *value,
			 struct mfd_error *err)
{
	return choose(o, d, value, err, log_levels);
}

/* ---- the table ---- */

#define AT(name) offsetof(struct mfd_options, name)

const struct mfd_option_desc mfd_options_table[] = {
	{ "target", "HOST:PORT", "restore server to stream to; unset, the plugin does nothing", "",
	  set_target, AT(target), 0, 0 },
	{ "session", "NAME", "name of the session on the restore server; unset, one is made up", "",
	  set_session, AT(session), 0, 0 },
	{ "channels", "N", "connections that carry memory, 1 to 64", "4", set_number, AT(channels),
	  1, MFD_WIRE_MAX_CHANNELS },
	{ "zerocopy", "on|off|auto",
	  "send memory without copying it in the kernel; on: fail rather than copy", "auto",
	  set_tristate, AT(zerocopy), MFD_OFF, MFD_AUTO },
	{ "checksum", "on|off", "hash every packet", "on", set_tristate, AT(checksum), MFD_OFF,
	  MFD_ON },
	{ "packet-size", "BYTES", "memory in one packet, a multiple of 64k up to 4M", "1M",
	  set_bytes, AT(packet_size), MFD_WIRE_MIN_PACKET, MFD_WIRE_MAX_PACKET },
	{ "compress", "off|lz4|zstd|auto",
	  "compress memory on its way; auto: whichever is faster just now, or none", "off",
	  set_compress, AT(compress), MFD_COMPRESS_OFF, MFD_COMPRESS_AUTO },
	{ "compress-level", "N", "zstd: 1 (fast) to 19; lz4: -1 to -64, faster; 0 = default", "0",
	  set_level, AT(compress_level), -64, 19 },
	{ "max-bandwidth", "RATE",
	  "limit over all channels in bytes per second, with k, M, G, or in bits with kbit, Mbit, "
	  "Gbit; 0 or unlimited = none; 'criu-multifd set' changes it on the way",
	  "0", set_rate, AT(max_bandwidth), 0, 0 },
	{ "congestion", "auto|system|NAME",
	  "congestion control of the channels; auto: the system's, but CUBIC for BBR where the round trip is below 1 ms",
	  "auto", set_congestion, AT(congestion), 0, 0 },
	{ "mode", "safe|postcopy",
	  "safe: until everything has arrived and was verified any failure lets the source run on; postcopy: restored early, pages follow",
	  "safe", set_mode, AT(mode), MFD_MODE_SAFE, MFD_MODE_POSTCOPY },
	{ "confirm", "ready|restore",
	  "what the target must have done before the source's tasks are released; restore: it has restored them, stopped",
	  "ready", set_confirm, AT(confirm), MFD_CONFIRM_READY, MFD_CONFIRM_RESTORE },
	{ "restore-timeout", "TIME",
	  "confirm = restore: abort when the target has not restored in so long", "60000", set_ms,
	  AT(restore_timeout), 100, 86400000 },
	{ "restore-option", "NAME,...",
	  "confirm = restore: options for the target's criu restore, e.g. tcp-established", "",
	  set_text, AT(restore_option), 0, 0 },
	{ "move-address", "ADDR/LEN@DEV,...",
	  "addresses that move with the tasks; DEV:TARGETDEV if its name differs there", "",
	  set_addresses, AT(move_address), 0, 0 },
	{ "connect-timeout", "TIME",
	  "limit for reaching the restore server, in ms or with a suffix", "5000", set_ms,
	  AT(connect_timeout), 1, 3600000 },
	{ "queue-timeout", "TIME",
	  "how long to wait, before anything is frozen, for a target without memory for the session; 0 = not at all",
	  "600000", set_ms, AT(queue_timeout), 0, 86400000 },
	{ "stall-timeout", "TIME", "a connection on which nothing moved for so long is broken",
	  "10000", set_ms, AT(stall_timeout), 100, 3600000 },
	{ "log-level", "error|warn|info|debug", "how much is logged", "info", set_log_level,
	  AT(log_level), MFD_LOG_ERROR, MFD_LOG_DEBUG },
	{ "log-file", "PATH", "log of the sender; unset, multifd-send.log beside CRIU's own", "",
	  set_text, AT(log_file), 0, 0 },
	{ "program", "PATH",
	  "criu-multifd that the plugin starts; unset, the one beside the plugin", "", set_absolute,
	  AT(program), 0, 0 },
	{ "cpr", "auto|off|PATTERN,...",
	  "which descriptors and terminals come along that CRIU cannot restore by itself", "",
	  set_cpr, AT(cpr), 0, 0 },
	{ "keeper", "PATH",
	  "socket of the keeper that holds them on this host (DIR/.keeper.sock of criu-multifd serve)",
	  "", set_absolute, AT(keeper), 0, 0 },
};

const unsigned mfd_options_count = ARRAY_LEN(mfd_options_table);
_Static_assert(ARRAY_LEN(mfd_options_table) <= MFD_OPTIONS_MAX, "room in mfd_options.from");

static int is_text(const struct mfd_option_desc *d)
{
	return d->set == set_text || d->set == set_target || d->set == set_session ||
	       d->set == set_absolute || d->set == set_cpr || d->set == set_addresses ||
	       d->set == set_congestion;
}

static const struct mfd_option_desc *find(const char *name, size_t len)
{
	unsigned i;

	for (i = 0; i < mfd_options_count; i++)
		if (!strncmp(mfd_options_table[i].name, name, len) &&
		    !mfd_options_table[i].name[len])
			return &mfd_options_table[i];
	return NULL;
}

/* ---- "did you mean" ---- */

#define NAME_MAX_LEN 32

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Levenshtein, one row (Wagner and Fischer 1974). */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LEN + 1], n = (unsigned)strlen(b), i, j;

	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 0; a[i]; i++) {
		unsigned diagonal = row[0];

		row[0] = i + 1;
		for (j = 1; j <= n; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

const char *mfd_options_closest(const char *name)
{
	const char *best = NULL;
	unsigned i, d, best_d = UINT_MAX;

	if (strlen(name) > NAME_MAX_LEN)
		return NULL;
	for (i = 0; i < mfd_options_count; i++) {
		const char *known = mfd_options_table[i].name;

		d = distance(name, known);
		if (d <= 1 + strlen(known) / 4 && d < best_d) {
			best = known;
			best_d = d;
		}
	}
	return best;
}

/* ---- the struct ---- */

void mfd_options_init(struct mfd_options *o)
{
	unsigned i;

	memset(o, 0, sizeof(*o));
	for (i = 0; i < mfd_options_count; i++)
		mfd_options_table[i].set(o, &mfd_options_table[i], mfd_options_table[i].dflt, NULL);
}

void mfd_options_free(struct mfd_options *o)
{
	unsigned i;

	for (i = 0; i < mfd_options_count; i++) {
		if (is_text(&mfd_options_table[i])) {
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
	ret = d->set(wins ? o : &unused, d, value, &why);
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
			compressions[o->compress]);
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
		return mfd_error_set(err, -EINVAL, "%s: 'name = value' is wanted, not '%.64s'",
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

static const char *enum_name(const struct mfd_option_desc *d, uint32_t value)
{
	if (d->set == set_tristate)
		return tristates[value];
	if (d->set == set_mode)
		return modes[value];
	if (d->set == set_compress)
		return compressions[value];
	if (d->set == set_confirm)
		return confirms[value];
	return d->set == set_log_level ? log_levels[value] : NULL;
}

static void write_option(const struct mfd_options *o, const struct mfd_options *dflt,
			 const struct mfd_option_desc *d, FILE *f)
{
	uint32_t value, standard;
	uint64_t rate;
	char *text;

	if (d->set == set_rate) {
		memcpy(&rate, field_const(o, d), sizeof(rate));
		if (rate)
			fprintf(f, "%s = %llu\n", d->name, (unsigned long long)rate);
		return;
	}
	if (d->set == set_level) {
		memcpy(&value, field_const(o, d), sizeof(value));
		if (value)
			fprintf(f, "%s = %d\n", d->name, (int)value);
		return;
	}
	if (is_text(d)) { /* unset by default, all of them */
		memcpy(&text, field_const(o, d), sizeof(text));
		if (text)
			write_text(d->name, text, f);
		return;
	}
	memcpy(&value, field_const(o, d), sizeof(value));
	memcpy(&standard, field_const(dflt, d), sizeof(standard));
	if (value == standard)
		return;
	if (enum_name(d, value))
		fprintf(f, "%s = %s\n", d->name, enum_name(d, value));
	else
		fprintf(f, "%s = %u\n", d->name, value);
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
