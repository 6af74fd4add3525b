// SPDX-License-Identifier: GPL-2.0-only
/* Parsing and printing the values of options. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "congestion.h"
#include "log.h"
#include "netaddr.h"
#include "option_types.h"
#include "rate.h"
#include "wire.h"

#define PACKET_STEP (64 << 10)

static int expected(struct mfd_error *err, const char *what)
{
	return mfd_error_set(err, -EINVAL, "expected %s", what);
}

/* ---- texts ---- */

/* An empty value unsets it. */
static int set_text(void *field, const struct mfd_option_desc *d, const char *value,
		    struct mfd_error *err)
{
	char **text = field, *copy = NULL;

	if (*value) {
		copy = strdup(value);
		if (!copy)
			return mfd_error_sys(err, -ENOMEM, "%s", d->name);
	}
	free(*text);
	*text = copy;
	return 0;
}

/* The host is resolved at each connection, not here. */
static int set_target(void *field, const struct mfd_option_desc *d, const char *value,
		      struct mfd_error *err)
{
	const char *colon = strrchr(value, ':');

	if (*value &&
	    (!colon || colon == value || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")]))
		return expected(err, "HOST:PORT or [V6]:PORT");
	if (*value && (strlen(colon) > 6 || strtoul(colon + 1, NULL, 10) - 1 >= 65535))
		return expected(err, "HOST:PORT or [V6]:PORT, with a port from 1 to 65535");
	return set_text(field, d, value, err);
}

static int set_session(void *field, const struct mfd_option_desc *d, const char *value,
		       struct mfd_error *err)
{
	if (*value && !mfd_wire_name_ok(value, strlen(value)))
		return mfd_error_set(
			err, -EINVAL,
			"expected a name: 1 to %d bytes, no '/', not starting with '.'",
			MFD_WIRE_MAX_NAME);
	return set_text(field, d, value, err);
}

static int set_congestion(void *field, const struct mfd_option_desc *d, const char *value,
			  struct mfd_error *err)
{
	if (*value && !mfd_congestion_name_ok(value))
		return expected(err, "auto, system or the name of a congestion control, as cubic");
	return set_text(field, d, strcmp(value, "auto") ? value : "", err);
}

static int set_absolute(void *field, const struct mfd_option_desc *d, const char *value,
			struct mfd_error *err)
{
	if (*value && *value != '/')
		return expected(err, "an absolute path");
	return set_text(field, d, value, err);
}

static int set_tls_dir(void *field, const struct mfd_option_desc *d, const char *value,
		       struct mfd_error *err)
{
	if (*value && *value != '/' && strcmp(value, "off"))
		return expected(err, "an absolute path or off");
	return set_text(field, d, value, err);
}

/* Patterns are matched in plugin/hooks/cpr_claim.c; one that never matches cannot be told here. */
static int set_cpr(void *field, const struct mfd_option_desc *d, const char *value,
		   struct mfd_error *err)
{
	if (*value && (*value == ',' || strstr(value, ",,") || value[strlen(value) - 1] == ','))
		return expected(err, "auto, off or PATTERN[,PATTERN...]");
	return set_text(field, d, strcmp(value, "auto") ? value : "", err);
}

static int set_addresses(void *field, const struct mfd_option_desc *d, const char *value,
			 struct mfd_error *err)
{
	struct mfd_netaddr list[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(value, list, err);

	return n < 0 ? n : set_text(field, d, value, err);
}

#define TEXT_TYPE(name)                                                                  \
	const struct mfd_option_type mfd_option_types_##name = { .set = set_##name,      \
								 .size = sizeof(char *), \
								 .is_text = 1 }

TEXT_TYPE(text);
TEXT_TYPE(target);
TEXT_TYPE(session);
TEXT_TYPE(congestion);
TEXT_TYPE(absolute);
TEXT_TYPE(tls_dir);
TEXT_TYPE(cpr);
TEXT_TYPE(addresses);

/* ---- numbers ---- */

/* Parse digits and a suffix: 0, or -EINVAL if there are none or the number is beyond any limit. */
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

static int out_of_range(const struct mfd_option_desc *d, struct mfd_error *err)
{
	return mfd_error_set(err, -EINVAL, "expected a number from %ld to %ld", d->min, d->max);
}

static int set_number(void *field, const struct mfd_option_desc *d, const char *value,
		      struct mfd_error *err)
{
	const char *suffix;
	long n;

	if (number(value, &n, &suffix) || *suffix || n < d->min || n > d->max)
		return out_of_range(d, err);
	*(uint32_t *)field = (uint32_t)n;
	return 0;
}

static int set_level(void *field, const struct mfd_option_desc *d, const char *value,
		     struct mfd_error *err)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (!*value || *end || n < d->min || n > d->max)
		return out_of_range(d, err);
	*(int32_t *)field = (int32_t)n;
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

static int set_bytes(void *field, const struct mfd_option_desc *d, const char *value,
		     struct mfd_error *err)
{
	const char *suffix;
	long n, unit;

	if (number(value, &n, &suffix) || !(unit = bytes_unit(suffix)) || n > d->max / unit ||
	    n * unit < d->min || n * unit % PACKET_STEP)
		return mfd_error_set(err, -EINVAL, "expected a multiple of %dk from %ldk to %ldM",
				     PACKET_STEP >> 10, d->min >> 10, d->max >> 20);
	*(uint32_t *)field = (uint32_t)(n * unit);
	return 0;
}

static int set_ms(void *field, const struct mfd_option_desc *d, const char *value,
		  struct mfd_error *err)
{
	const char *suffix;
	long n, unit = 0;

	if (!number(value, &n, &suffix))
		unit = !*suffix || !strcmp(suffix, "ms") ? 1 : !strcmp(suffix, "s") ? 1000 : 0;
	if (!unit || n > d->max / unit || n * unit < d->min)
		return mfd_error_set(
			err, -EINVAL,
			"expected a time from %ld to %ld milliseconds, e.g. 500, 500ms, 5s", d->min,
			d->max);
	*(uint32_t *)field = (uint32_t)(n * unit);
	return 0;
}

static void print_number(const void *field, const struct mfd_option_desc *d, FILE *f)
{
	(void)d;
	fprintf(f, "%u", *(const uint32_t *)field);
}

static void print_level(const void *field, const struct mfd_option_desc *d, FILE *f)
{
	(void)d;
	fprintf(f, "%d", *(const int32_t *)field);
}

static int set_rate(void *field, const struct mfd_option_desc *d, const char *value,
		    struct mfd_error *err)
{
	(void)d;
	return mfd_rate_parse(value, field) ? mfd_error_set(err, -EINVAL, MFD_RATE_EXPECTED) : 0;
}

static void print_rate(const void *field, const struct mfd_option_desc *d, FILE *f)
{
	(void)d;
	fprintf(f, "%llu", (unsigned long long)*(const uint64_t *)field);
}

const struct mfd_option_type mfd_option_types_number = { .set = set_number,
							 .print = print_number,
							 .size = sizeof(uint32_t) };
const struct mfd_option_type mfd_option_types_level = { .set = set_level,
							.print = print_level,
							.size = sizeof(int32_t) };
const struct mfd_option_type mfd_option_types_bytes = { .set = set_bytes,
							.print = print_number,
							.size = sizeof(uint32_t) };
const struct mfd_option_type mfd_option_types_ms = { .set = set_ms,
						     .print = print_number,
						     .size = sizeof(uint32_t) };
const struct mfd_option_type mfd_option_types_rate = { .set = set_rate,
						       .print = print_rate,
						       .size = sizeof(uint64_t) };

/* ---- enumerations: stored as 32 bits ---- */

_Static_assert(sizeof(enum mfd_tristate) == 4 && sizeof(enum mfd_mode) == 4 &&
		       sizeof(enum mfd_confirm) == 4 && sizeof(enum mfd_page_dump) == 4 &&
		       sizeof(enum mfd_compress_kind) == 4,
	       "an enumeration is set through a uint32_t");

static int set_choice(void *field, const struct mfd_option_desc *d, const char *value,
		      struct mfd_error *err)
{
	const char *const *names = d->type->names;
	char allowed[128] = "";

	for (long i = d->min; i <= d->max; i++) {
		size_t used = strlen(allowed);

		if (!strcmp(value, names[i])) {
			memcpy(field, &(uint32_t){ (uint32_t)i }, sizeof(uint32_t));
			return 0;
		}
		snprintf(allowed + used, sizeof(allowed) - used, "%s%s",
			 i == d->min ? "" :
			 i == d->max ? " or " :
				       ", ",
			 names[i]);
	}
	return expected(err, allowed);
}

static void print_choice(const void *field, const struct mfd_option_desc *d, FILE *f)
{
	fputs(d->type->names[*(const uint32_t *)field], f);
}

#define CHOICE_TYPE(name, ...)                                                                   \
	const struct mfd_option_type mfd_option_types_##name = { .set = set_choice,              \
								 .print = print_choice,          \
								 .size = sizeof(uint32_t),       \
								 .names = (const char *const[]){ \
									 __VA_ARGS__ } }

CHOICE_TYPE(tristate, [MFD_OFF] = "off", [MFD_ON] = "on", [MFD_AUTO] = "auto");
CHOICE_TYPE(compress, [MFD_COMPRESS_OFF] = "off", [MFD_COMPRESS_LZ4] = "lz4",
	    [MFD_COMPRESS_ZSTD] = "zstd", [MFD_COMPRESS_AUTO] = "auto");
CHOICE_TYPE(mode, [MFD_MODE_SAFE] = "safe", [MFD_MODE_POSTCOPY] = "postcopy");
CHOICE_TYPE(precopy_else, [MFD_PRECOPY_STOP] = "stop", [MFD_PRECOPY_ABORT] = "abort");
CHOICE_TYPE(precopy_check, [MFD_CHECK_AUTO] = "auto", [MFD_CHECK_ALWAYS] = "always",
	    [MFD_CHECK_OFF] = "off");
CHOICE_TYPE(confirm, [MFD_CONFIRM_READY] = "ready", [MFD_CONFIRM_RESTORE] = "restore");
CHOICE_TYPE(page_dump, [MFD_PAGE_DUMP_AUTO] = "auto", [MFD_PAGE_DUMP_CRIU] = "criu",
	    [MFD_PAGE_DUMP_PLUGIN] = "plugin");
CHOICE_TYPE(log_level, [MFD_LOG_ERROR] = "error", [MFD_LOG_WARN] = "warn", [MFD_LOG_INFO] = "info",
	    [MFD_LOG_DEBUG] = "debug");
