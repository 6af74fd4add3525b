// SPDX-License-Identifier: GPL-2.0-only
/* What each key of a block takes. */
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "netaddr.h"
#include "options_allowed.h"
#include "rate.h"
#include "rights_keys.h"
#include "size.h"
#include "wire.h"

#define MIN_MEMORY    (16ULL << 20) /* as serve --max-memory */
#define MIN_BANDWIDTH 1000000ULL    /* with less a packet takes longer than a stall timeout */
#define SPKI_DIGITS   64

static int add(struct mfd_rights_words *w, const char *word, struct mfd_error *err)
{
	char **more = realloc(w->word, (w->n + 1) * sizeof(*more));

	if (more) {
		w->word = more;
		w->word[w->n] = strdup(word);
	}
	if (!more || !w->word[w->n])
		return mfd_error_set(err, -ENOMEM, "no memory");
	w->n++;
	return 0;
}

static int wrong(struct mfd_error *err, const char *word, const char *expected)
{
	return mfd_error_set(err, -EINVAL, "'%.64s': expected %s", word, expected);
}

/* ---- words ---- */

static int take_session(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	if (strchr(word, '/') || strlen(word) > MFD_WIRE_MAX_NAME)
		return wrong(err, word, "a name of a session or a pattern, as db-*");
	return add(&r->sessions, word, err);
}

static int take_mode(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	if (!strcmp(word, "safe"))
		r->modes |= MFD_RIGHTS_SAFE;
	else if (!strcmp(word, "postcopy"))
		r->modes |= MFD_RIGHTS_POSTCOPY;
	else
		return wrong(err, word, "safe or postcopy");
	return 0;
}

static int take_restore(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	if (strcmp(word, "yes") && strcmp(word, "no"))
		return wrong(err, word, "yes or no");
	r->restore = !strcmp(word, "yes");
	return 0;
}

/* Each of an option's values, if it has some, is permitted by its name alone. */
static int take_restore_option(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	char *one[] = { (char *)(uintptr_t)word };

	if (strcmp(word, "network-lock") && mfd_options_allowed_check(one, 1, NULL))
		return wrong(err, word,
			     "an option of criu restore that a source may ask for at all, "
			     "as tcp-established");
	return add(&r->restore_options, word, err);
}

static int take_address(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	const char *at = strchr(word, '@');
	size_t len = at ? (size_t)(at - word) : strlen(word), dev = at ? strlen(at + 1) : 1;
	char rule[64] = "";

	if (len < sizeof(rule))
		memcpy(rule, word, len);
	if (!mfd_netaddr_rule_ok(rule) || !dev || dev >= IFNAMSIZ)
		return wrong(err, word, "ADDR, ADDR/LEN or 'any', and perhaps @DEVICE behind it");
	return add(&r->addresses, word, err);
}

static int take_user_namespace(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	if (strcmp(word, "required") && strcmp(word, "any"))
		return wrong(err, word, "required or any");
	r->user_namespace = !strcmp(word, "required");
	return 0;
}

static int take_cpr_offer(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	return add(&r->cpr_offers, word, err);
}

/* ---- limits ---- */

static int take_number(uint32_t *field, const char *word, uint32_t max, struct mfd_error *err)
{
	char *end;
	unsigned long n = strtoul(word, &end, 10);

	if (!isdigit((unsigned char)*word) || *end || !n || n > max)
		return mfd_error_set(err, -EINVAL, "'%.64s': expected a number from 1 to %u", word,
				     max);
	*field = (uint32_t)n;
	return 0;
}

static int take_max_sessions(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	return take_number(&r->max_sessions, word, 4096, err);
}

static int take_max_in_doubt(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	return take_number(&r->max_in_doubt, word, 4096, err);
}

static int take_max_channels(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	return take_number(&r->max_channels, word, 4096 * MFD_WIRE_MAX_CHANNELS, err);
}

static int take_max_memory(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	uint64_t bytes;

	if (mfd_size_parse(word, &bytes) || bytes < MIN_MEMORY)
		return wrong(err, word, "bytes, as 800M or 64G, at least 16M");
	r->max_memory = bytes;
	return 0;
}

static int take_max_bandwidth(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	uint64_t rate;

	if (mfd_rate_parse(word, &rate) || rate < MIN_BANDWIDTH)
		return wrong(err, word, "bytes per second, as 500M or 10Gbit, at least 1M");
	r->max_bandwidth = rate;
	return 0;
}

/* ---- the table ---- */

#define LIST(name, arg, take, help)             \
	{                                       \
		name, arg, help, 1, take_##take \
	}
#define ONE(name, arg, take, help)              \
	{                                       \
		name, arg, help, 0, take_##take \
	}

const struct mfd_rights_key mfd_rights_keys[] = {
	LIST("sessions", "PATTERN ...", session,
	     "Names of sessions that the peer may open, and, once they have ended, open anew, "
	     "which removes what was left; '*', '?' and '[...]' as in a shell."),
	LIST("mode", "safe|postcopy ...", mode,
	     "Modes that it may ask for; safe if the key is absent."),
	ONE("restore", "yes|no", restore,
	    "It may ask for its sessions to be restored here at once (migrate --restore). The server "
	    "needs --restore for it, too."),
	LIST("restore-options", "NAME[=VALUE] ...", restore_option,
	     "Options of criu restore that it may ask for, without dashes; a name alone permits each "
	     "value. Those that no source may ask for cannot be permitted."),
	LIST("addresses", "ADDR[/LEN][@DEVICE] ...", address,
	     "Addresses, or networks of them, that it may bring along (--move-address), to DEVICE of "
	     "this host. With this file --allow-address is not looked at."),
	ONE("user-namespace", "required|any", user_namespace,
	    "required: what it sends must have a user namespace of its own, with a root that is not "
	    "this host's. Else a peer whose sessions are restored here can run code here as root."),
	LIST("cpr-offers", "PATTERN ...", cpr_offer,
	     "Descriptors that an operator has offered here (cpr offer) which its sessions may have; "
	     "'tty' for a terminal. A session for which another is offered is refused."),
	ONE("max-sessions", "N", max_sessions, "Sessions that it may have open at a time."),
	ONE("max-in-doubt", "N", max_in_doubt,
	    "While so many sessions of it are in doubt it may open no other."),
	ONE("max-memory", "SIZE", max_memory,
	    "Memory for all its sessions together, counted as serve --max-memory counts it. Without it a "
	    "peer may have three quarters: of serve --max-memory, or else of this host's memory."),
	ONE("max-channels", "N", max_channels,
	    "Channels of all its sessions together. A session gets what is left of them."),
	ONE("max-bandwidth", "RATE", max_bandwidth,
	    "For all its sessions together; pages that a restored process waits for count, and are "
	    "not held up."),
};
const size_t mfd_rights_keys_n = sizeof(mfd_rights_keys) / sizeof(*mfd_rights_keys);
_Static_assert(sizeof(mfd_rights_keys) / sizeof(*mfd_rights_keys) <= 32, "bits of said");

/* ---- the peer of a block ---- */

static int spki_ok(const char *hex)
{
	return strspn(hex, "0123456789abcdef") == SPKI_DIGITS && !hex[SPKI_DIGITS];
}

int mfd_rights_peer(struct mfd_right *r, const char *word, struct mfd_error *err)
{
	int ok = !strcmp(word, "insecure") || (!strncmp(word, "x509:", 5) && word[5]) ||
		 (!strncmp(word, "psk:", 4) && word[4]) ||
		 (!strncmp(word, "spki:", 5) && spki_ok(word + 5));

	if (!ok)
		return wrong(err, word,
			     "x509:NAME, psk:NAME, spki: and 64 hexadecimal digits in small "
			     "letters, or insecure");
	r->peer = strdup(word);
	return r->peer ? 0 : mfd_error_set(err, -ENOMEM, "no memory");
}
