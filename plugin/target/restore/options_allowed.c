// SPDX-License-Identifier: GPL-2.0-only
/* The list of restore options that a source may ask for. */
#include <errno.h>
#include <string.h>

#include "options_allowed.h"

static const struct rule {
	const char *name;
	int bare;		   /* may come without a value */
	const char *const *values; /* NULL: takes none */
} rules[] = {
	{ "tcp-established", 1, NULL },
	{ "tcp-close", 1, NULL },
	{ "skip-in-flight", 1, NULL },
	{ "shell-job", 1, NULL },
	{ "ext-unix-sk", 1, NULL },
	{ "file-locks", 1, NULL },
	{ "link-remap", 1, NULL },
	{ "manage-cgroups", 1,
	  (const char *const[]){ "none", "props", "soft", "full", "strict", "ignore", NULL } },
	{ "network-lock", 0, (const char *const[]){ "iptables", "nftables", "skip", NULL } },
};

static const struct rule *find(const char *option, size_t len)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (!strncmp(rules[i].name, option, len) && !rules[i].name[len])
			return &rules[i];
	return NULL;
}

static int allowed(const char *option)
{
	size_t len = strcspn(option, "=");
	const struct rule *r = find(option, len);

	if (!r)
		return 0;
	if (!option[len])
		return r->bare;
	for (size_t i = 0; r->values && r->values[i]; i++)
		if (!strcmp(r->values[i], option + len + 1))
			return 1;
	return 0;
}

int mfd_options_allowed_check(char *const *options, size_t n, struct mfd_error *err)
{
	if (n > MFD_OPTIONS_ALLOWED_MAX)
		return mfd_error_set(err, -EPERM, "%zu restore options are more than %d", n,
				     MFD_OPTIONS_ALLOWED_MAX);
	for (size_t i = 0; i < n; i++)
		if (!allowed(options[i]))
			return mfd_error_set(
				err, -EPERM,
				"restore option '%.64s' is not one that a source may ask for here",
				options[i]);
	return 0;
}
