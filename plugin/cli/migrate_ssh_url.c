// SPDX-License-Identifier: GPL-2.0-only
/* ssh://[USER@]HOST[:PORT][/DIR] */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migrate_ssh.h"

#define EXPECTED "expected ssh://[USER@]HOST[:PORT][/DIR]"

int mfd_migrate_ssh_is(const char *to)
{
	return to && !strncmp(to, MFD_MIGRATE_SSH_URL, strlen(MFD_MIGRATE_SSH_URL));
}

static int copy(char *to, size_t room, const char *from, size_t len)
{
	if (len >= room)
		return -EINVAL;
	memcpy(to, from, len);
	to[len] = 0;
	return 0;
}

/* Nothing that ssh would take for an option, or a shell for more than a word. */
static int is_host(const char *host)
{
	const char *name = strrchr(host, '@');

	name = name ? name + 1 : host;
	return *name && *host != '-' && *name != '-' && *host != '@' &&
	       !host[strcspn(host, " \t\n'\"\\;&|<>$`()")];
}

static int is_port(const char *port)
{
	return *port && strlen(port) <= 5 && !port[strspn(port, "0123456789")];
}

/* The brackets of an IPv6 address are not for ssh. */
static int take_host(struct mfd_migrate_ssh *s, const char *text, size_t len)
{
	const char *at = memchr(text, '@', len), *open = at ? at + 1 : text;
	const char *close = memchr(text, ']', len), *port;
	size_t user = (size_t)(open - text);

	if (*open == '[' && close) {
		size_t n = (size_t)(close - open - 1);

		if (user + n >= sizeof(s->host))
			return -EINVAL;
		memcpy(s->host, text, user);
		memcpy(s->host + user, open + 1, n);
		s->host[user + n] = 0;
		port = close + 1 < text + len ? close + 1 : NULL;
		if (port && *port != ':')
			return -EINVAL;
	} else {
		port = memchr(open, ':', len - user);
		if (copy(s->host, sizeof(s->host), text, port ? (size_t)(port - text) : len))
			return -EINVAL;
	}
	if (!port)
		return 0;
	port++;
	return copy(s->port, sizeof(s->port), port, (size_t)(text + len - port)) ||
			       !is_port(s->port) ?
		       -EINVAL :
		       0;
}

int mfd_migrate_ssh_parse(struct mfd_migrate_ssh *s, const char *to, struct mfd_error *err)
{
	const char *text = to + strlen(MFD_MIGRATE_SSH_URL);
	size_t len = strcspn(text, "/");
	const char *dir = text[len] && text[len + 1] ? text + len : "";

	if (take_host(s, text, len) || !is_host(s->host))
		return mfd_error_set(err, -EINVAL, "'%.200s': " EXPECTED, to);
	if (copy(s->dir, sizeof(s->dir), dir, strlen(dir)))
		return mfd_error_set(err, -EINVAL, "'%.200s...': the folder's name is too long",
				     to);
	return 0;
}
