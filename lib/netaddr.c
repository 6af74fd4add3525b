// SPDX-License-Identifier: GPL-2.0-only
/* Addresses that move, as text. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netaddr.h"

#define EXPECTED "expected ADDR/LEN@DEV or ADDR/LEN@DEV:TARGETDEV"

/* "ADDR/LEN", or without "/LEN" if `bare`. */
static int parse_address(const char *text, size_t n, int bare, struct mfd_netaddr *a)
{
	char copy[INET6_ADDRSTRLEN + 5], *slash, *end;
	unsigned long max;

	if (n >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, n);
	copy[n] = 0;
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = 0;
	a->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	max = a->family == AF_INET6 ? 128 : 32;
	if (inet_pton(a->family, copy, a->ip) != 1 || (!slash && !bare))
		return -EINVAL;
	a->len = (unsigned)max;
	if (slash) {
		size_t digits = strspn(slash, "0123456789");
		unsigned long len = strtoul(slash, &end, 10);

		if (!digits || digits > 3 || *end || !len || len > max)
			return -EINVAL;
		a->len = (unsigned)len;
	}
	inet_ntop(a->family, a->ip, copy, INET6_ADDRSTRLEN); /* the usual way to write it */
	snprintf(a->text, sizeof(a->text), "%.45s/%u", copy, a->len);
	return 0;
}

/* As the kernel has it, dev_valid_name(); quotes and the like have no use in a name. */
static int device_ok(const char *name, size_t n)
{
	if (!n || n >= IFNAMSIZ || (*name == '.' && (n == 1 || (n == 2 && name[1] == '.'))))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (name[i] <= ' ' || name[i] > '~' || strchr("/:,@\"'\\", name[i]))
			return 0;
	return 1;
}

static int useless(const struct mfd_netaddr *a)
{
	static const unsigned char none[16];

	if (!memcmp(a->ip, none, sizeof(none)))
		return 1;
	return a->family == AF_INET ? a->ip[0] == 127 || a->ip[0] >= 224 : a->ip[0] == 0xff;
}

int mfd_netaddr_parse(const char *word, struct mfd_netaddr *a, struct mfd_error *err)
{
	const char *at = strchr(word, '@'), *to;
	size_t from_len, to_len;

	memset(a, 0, sizeof(*a));
	if (!at || parse_address(word, (size_t)(at - word), 0, a))
		return mfd_error_set(err, -EINVAL, "'%.80s': " EXPECTED, word);
	from_len = strcspn(at + 1, ":");
	to = at[1 + from_len] ? at + 2 + from_len : at + 1;
	to_len = strlen(to);
	if (!device_ok(at + 1, from_len) || !device_ok(to, to_len))
		return mfd_error_set(err, -EINVAL, "'%.80s': " EXPECTED, word);
	if (useless(a))
		return mfd_error_set(err, -EINVAL, "'%.80s': not an address that one host has",
				     word);
	memcpy(a->from, at + 1, from_len);
	memcpy(a->to, to, to_len);
	return 0;
}

static int parse_words(char *list, struct mfd_netaddr *a, struct mfd_error *err)
{
	char *save, *w;
	int n = 0, ret;

	for (w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save), n++) {
		if (n == MFD_NETADDR_MAX)
			return mfd_error_set(err, -EINVAL, "at most %d addresses", MFD_NETADDR_MAX);
		ret = mfd_netaddr_parse(w, &a[n], err);
		if (ret)
			return ret;
		for (int i = 0; i < n; i++)
			if (a[i].family == a[n].family &&
			    !memcmp(a[i].ip, a[n].ip, sizeof(a[n].ip)))
				return mfd_error_set(err, -EINVAL, "%s is there twice", a[n].text);
	}
	return n;
}

int mfd_netaddr_parse_list(const char *list, struct mfd_netaddr a[MFD_NETADDR_MAX],
			   struct mfd_error *err)
{
	char *copy;
	int n;

	if (!list || !*list)
		return 0;
	copy = strdup(list);
	if (!copy)
		return mfd_error_sys(err, -ENOMEM, "addresses");
	n = parse_words(copy, a, err);
	free(copy);
	return n;
}

static int same_bits(const unsigned char *a, const unsigned char *b, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
			return 0;
	return 1;
}

int mfd_netaddr_rule_ok(const char *rule)
{
	struct mfd_netaddr r = { 0 };

	return !strcmp(rule, "any") || !parse_address(rule, strlen(rule), 1, &r);
}

int mfd_netaddr_allowed(const struct mfd_netaddr *a, const char *rule)
{
	static const unsigned char none[16];
	struct mfd_netaddr r = { 0 };
	unsigned max;

	if (!strcmp(rule, "any"))
		return 1;
	if (parse_address(rule, strlen(rule), 1, &r) || r.family != a->family)
		return 0;
	max = r.family == AF_INET6 ? 128 : 32;
	/* No bits behind the prefix: a network. */
	return same_bits(a->ip, r.ip, 0, same_bits(r.ip, none, r.len, max) ? r.len : max);
}
