// SPDX-License-Identifier: GPL-2.0-only
/* Finding a criu that is new enough. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostcriu.h"
#include "io.h"

/* As contrib/setup: the first that exists is taken. */
static const char *const fetched[] = { "4.2.1", "4.3", "4.1.1" };

static int version_of(struct mfd_hostcriu *c)
{
	char command[sizeof(c->path) + 32], line[256];
	int found = 0;
	FILE *f;

	if (strchr(c->path, '\''))
		return -EINVAL;
	snprintf(command, sizeof(command), "'%s' --version 2>/dev/null", c->path);
	f = popen(command, "r");
	if (!f)
		return -errno;
	c->major = c->minor = c->patch = 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Version: %d.%d.%d", &c->major, &c->minor, &c->patch) >= 2)
			found = 1;
	pclose(f);
	return found ? 0 : -ENOEXEC;
}

static int new_enough(const struct mfd_hostcriu *c)
{
	return c->major * 10000 + c->minor * 100 + c->patch >= 40101;
}

static int in_path(struct mfd_hostcriu *c)
{
	const char *path = getenv("PATH"), *p = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin";

	while (*p) {
		int len = (int)strcspn(p, ":");

		snprintf(c->path, sizeof(c->path), "%.*s/criu", len, p);
		if (len && !access(c->path, X_OK))
			return 1;
		p += len + (p[len] == ':');
	}
	return 0;
}

int mfd_hostcriu_find(struct mfd_hostcriu *c, struct mfd_error *err)
{
	const char *own = getenv("CRIU"), *cache = getenv("XDG_CACHE_HOME");
	char seen[160] = "there is no criu in PATH";
	int ret;

	if (own && *own) {
		snprintf(c->path, sizeof(c->path), "%s", own);
		ret = version_of(c);
		if (ret)
			return mfd_error_sys(err, ret, "CRIU=%s does not tell its version", own);
		return new_enough(c) ?
			       0 :
			       mfd_error_set(
				       err, -ENOENT,
				       "CRIU=%s is version %d.%d.%d; 4.1.1 or later is needed", own,
				       c->major, c->minor, c->patch);
	}
	if (in_path(c)) {
		if (!version_of(c) && new_enough(c))
			return 0;
		snprintf(seen, sizeof(seen), "the criu in PATH is version %d.%d.%d", c->major,
			 c->minor, c->patch);
	}
	for (size_t i = 0; i < sizeof(fetched) / sizeof(*fetched); i++) {
		snprintf(c->path, sizeof(c->path), "%s/criu-multifd/criu-%s/usr/sbin/criu",
			 cache ? cache : "/var/cache", fetched[i]);
		if (!access(c->path, X_OK) && !version_of(c))
			return 0;
	}
	return mfd_error_set(
		err, -ENOENT,
		"%s, and contrib/setup has fetched none; 4.1.1 or later is needed, and 4.2 for sockets on Linux 6.13 "
		"and later.  Debian 12's package is older, Debian 13 has 4.1.1, forky has 4.2: contrib/setup of the "
		"sources fetches one beside what is installed; CRIU=/path/to/criu names any other",
		seen);
}

#define PLUGIN	   "multifd_plugin.so"
#define MAX_ERRORS 3	       /* in one sentence of ours */
#define OWN	   "multifd: " /* lines of the plugin in CRIU's log */

static int has_plugin(const char *folder)
{
	char file[4200];

	snprintf(file, sizeof(file), "%s/" PLUGIN, folder);
	return !access(file, R_OK);
}

int mfd_hostcriu_plugins(char *path, size_t len, struct mfd_error *err)
{
	static const char *const places[] = { "/plugins", "/../lib/criu-multifd/plugins" };
	const char *env = getenv("CRIU_LIBS_DIR");
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < sizeof(places) / sizeof(*places); i++) {
		*slash = 0;
		if ((size_t)snprintf(path, len, "%s%s", self, places[i]) < len && has_plugin(path))
			return 0;
	}
	if (env && *env && (size_t)snprintf(path, len, "%s", env) < len && has_plugin(path))
		return 0;
	return mfd_error_set(err, -ENOENT,
			     PLUGIN " is neither in %s%s nor in %s%s nor where CRIU_LIBS_DIR says",
			     self, places[0], self, places[1]);
}

/* "(00.012345) Error (criu/x.c:12): what" -> "what" */
static const char *essence(const char *line)
{
	const char *p = strstr(line, "Error"), *colon;

	if (!p || p - line > 40)
		return NULL;
	p += 5;
	if (*p == ' ' && p[1] == '(') {
		colon = strstr(p, "): ");
		return colon ? colon + 3 : NULL;
	}
	return *p == ':' ? p + 1 + (p[1] == ' ') : NULL;
}

/* Said on many machines though all goes well, or after everything that matters. */
static int is_noise(const char *what)
{
	static const char *const noise[] = { OWN "CRIU's dump failed", OWN "the sender is gone",
					     "rlimit: Can't setup RLIMIT_NOFILE",
					     "Restoring FAILED", "Dumping FAILED" };

	for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++)
		if (!strncmp(what, noise[i], strlen(noise[i])))
			return 1;
	return 0;
}

/*
 * The first ones: what follows is most often their consequence.  So the plugin's own reason comes
 * first, and what it says when CRIU has failed on something else is left out.
 */
static int first_errors(char *log, char *text, size_t len)
{
	unsigned found = 0;
	size_t used = 0;
	char *save, *line;

	for (line = strtok_r(log, "\n", &save); line && found < MAX_ERRORS;
	     line = strtok_r(NULL, "\n", &save)) {
		const char *what = essence(line);

		if (!what || is_noise(what) || used >= len)
			continue;
		if (!strncmp(what, OWN, sizeof(OWN) - 1)) {
			if (found)
				continue;
			what += sizeof(OWN) - 1;
		}
		used += (size_t)snprintf(text + used, len - used, "%s%s", found++ ? "; " : "",
					 what);
	}
	return found ? 0 : -ENOENT;
}

static int last_line(char *errors, char *text, size_t len)
{
	char *save, *line, *last = NULL;

	for (line = strtok_r(errors, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		last = strncmp(line, "Try ", 4) ? line : last;
	if (!last)
		return -ENOENT;
	snprintf(text, len, "%s", last);
	return 0;
}

int mfd_hostcriu_complaint(int dirfd, const char *log, const char *errors, char *text, size_t len)
{
	char *all = NULL;
	int ret = -ENOENT;

	if (!mfd_io_read_file(dirfd, log, 64 << 20, &all, NULL))
		ret = first_errors(all, text, len);
	free(all);
	all = NULL;
	if (ret && errors && !mfd_io_read_file(dirfd, errors, 1 << 20, &all, NULL))
		ret = last_line(all, text, len);
	free(all);
	return ret;
}
