/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What HELLO brings as text: addresses to move, options for criu restore, names.  A parser takes it
 * or refuses it with a sentence; what it has taken keeps its limits.
 *
 * Input: lines; the first one is also a rule of serve --allow-address.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "filesink.h"
#include "netaddr.h"
#include "options_allowed.h"
#include "text.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void address(const char *word, const char *rule)
{
	struct mfd_error err = { 0 };
	struct mfd_netaddr a, again;

	if (mfd_netaddr_parse(word, &a, &err)) {
		must(err.code == -EINVAL && err.text[0]);
		return;
	}
	must(a.family == AF_INET ? a.len <= 32 : a.family == AF_INET6 && a.len <= 128);
	must(strnlen(a.from, sizeof(a.from)) < sizeof(a.from) && a.from[0]);
	must(strnlen(a.to, sizeof(a.to)) < sizeof(a.to) && a.to[0]);
	must(!strchr(a.to, '/') && strcmp(a.to, ".") && strcmp(a.to, ".."));
	must(strnlen(a.text, sizeof(a.text)) < sizeof(a.text));
	if (mfd_netaddr_rule_ok(rule))
		(void)mfd_netaddr_allowed(&a, rule);
	/* What it says of itself can be parsed again, to the same address. */
	must(asprintf((char **)&word, "%s@%s:%s", a.text, a.from, a.to) > 0);
	must(!mfd_netaddr_parse(word, &again, &err) && !memcmp(a.ip, again.ip, sizeof(a.ip)) &&
	     a.len == again.len && !strcmp(a.from, again.from) && !strcmp(a.to, again.to));
	free((char *)word);
}

static void list(const char *text)
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	struct mfd_error err = { 0 };
	int n = mfd_netaddr_parse_list(text, a, &err);

	must(n == -EINVAL ? err.text[0] != 0 : n >= 0 && n <= MFD_NETADDR_MAX);
}

static void options(char **lines, size_t n)
{
	struct mfd_error err = { 0 };
	int ret = mfd_options_allowed_check(lines, n, &err);

	must(!ret || err.text[0]);
}

/* A name that is taken is one component of a path and none of the server's own files. */
static void name(const char *text)
{
	size_t len = strlen(text);

	if (len > MFD_WIRE_MAX_NAME || !mfd_wire_name_ok(text, len))
		return;
	must(len && !strchr(text, '/') && strcmp(text, ".") && strcmp(text, ".."));
	(void)mfd_filesink_reserved(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *lines[MFD_OPTIONS_ALLOWED_MAX], *rest = text, *line;
	size_t n = 0;

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = 0;
	list(text);
	while (n < MFD_OPTIONS_ALLOWED_MAX && (line = strsep(&rest, "\n")))
		lines[n++] = line;
	options(lines, n);
	for (size_t i = 0; i < n; i++) {
		address(lines[i], lines[0]);
		name(lines[i]);
	}
	for (size_t i = 0; i < n; i++)
		must(mfd_image_text_clean(lines[i]) == lines[i]);
	free(text);
	return 0;
}
