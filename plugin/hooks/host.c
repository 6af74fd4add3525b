// SPDX-License-Identifier: GPL-2.0-only
/* The running CRIU: which plugin interface it has, its options and its log. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <criu/criu-plugin.h>

#include "host.h"
#include "io.h"

#define VERSION(minor) ((minor) << 8) /* CRIU_PLUGIN_GEN_VERSION(0, minor, 0) */
/* up to CHECKPOINT_DEVICES: CRIU 4.0 to 4.1.1 refuse a plugin that names more */
#define HOOKS_OLDEST 12
#define HOOKS_4_2    13
#define HOOKS_4_3    17

/* CRIU's log levels; print_on_level is exported by all releases this loads into. */
enum { LEVEL_ERROR = 1, LEVEL_WARN = 2, LEVEL_INFO = 3 };
extern void print_on_level(unsigned int loglevel, const char *format, ...) __attribute__((weak));

typedef int get_options_t(int *argc, char ***argv);

/*
 * How many hooks the host knows: it keeps a list head of 16 bytes for each in cr_plugin_ctl, behind
 * one more, and exports that object with its size.  0: not known.
 */
static unsigned host_hooks(void)
{
	void *ctl = dlsym(RTLD_DEFAULT, "cr_plugin_ctl");
	const ElfW(Sym) *sym = NULL;
	Dl_info info;

	if (!ctl || !dladdr1(ctl, &info, (void **)&sym, RTLD_DL_SYMENT) || !sym)
		return 0;
	return (unsigned)(sym->st_size / (2 * sizeof(void *))) - 1;
}

/*
 * It came without a change of version together with DUMP_DEVICES_LATE, when 4.2's 13 hooks became
 * more.
 */
int mfd_host_has_retry(void)
{
	return host_hooks() > HOOKS_4_2;
}

const char *mfd_host_release(void)
{
	static const struct {
		unsigned hooks;
		const char *series;
	} known[] = { { HOOKS_OLDEST, "4.1" }, { HOOKS_4_2, "4.2" }, { HOOKS_4_3, "4.3" } };

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].hooks == host_hooks())
			return known[i].series;
	return NULL;
}

static get_options_t *host_get_options(void)
{
	return (get_options_t *)dlsym(RTLD_DEFAULT, "criu_plugin_get_options");
}

void mfd_host_describe(struct mfd_host_desc *d)
{
	int v43 = host_get_options() != NULL;

	d->version = VERSION(v43 ? 3 : 2);
	d->max_hooks = v43 ? HOOKS_4_3 : HOOKS_OLDEST;
}

int mfd_host_options(struct mfd_options *o, struct mfd_error *err)
{
	get_options_t *get = host_get_options();
	char **argv;
	int argc, ret;

	if (!get)
		return 0;
	ret = get(&argc, &argv);
	if (ret)
		return mfd_error_sys(err, ret, "reading --plugin-option");
	for (int i = 1; i < argc; i++) {
		char *word = argv[i], *value, name[64], where[96];

		while (*word == '-')
			word++;
		value = strchr(word, '=');
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
		snprintf(where, sizeof(where), "--plugin-option=multifd.%s", name);
		/*
		 * An option without a value arrives alone; one whose value is the next word cannot
		 * be told from it.
		 */
		if (!value && i + 1 < argc && argv[i + 1][0] != '-')
			value = argv[++i];
		else if (value)
			value++;
		ret = mfd_options_set(o, name, value ? value : "", MFD_FROM_PLUGIN, where, err);
		if (ret)
			return ret;
	}
	return 0;
}

#define PIPE_MAX  "/proc/sys/fs/pipe-max-size"
#define PIPE_NEED 16777216

static int may_exceed_pipe_max(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return !syscall(SYS_capget, &head, data) && data[0].effective & 1U << CAP_SYS_RESOURCE;
}

int mfd_host_prepare(struct mfd_error *err)
{
	unsigned long max = 0;
	FILE *f;
	int ok;

	if (!host_get_options() || may_exceed_pipe_max())
		return 0;
	f = fopen(PIPE_MAX, "r+");
	if (f && fscanf(f, "%lu", &max) == 1 && max >= PIPE_NEED) {
		fclose(f);
		return 0;
	}
	ok = f && !fseek(f, 0, SEEK_SET) && fprintf(f, "%d\n", PIPE_NEED) > 0;
	if (f && fclose(f))
		ok = 0;
	if (!ok)
		return mfd_error_set(
			err, -EPERM,
			"this CRIU needs CAP_SYS_RESOURCE, or sysctl fs.pipe-max-size=%d (it is %lu)",
			PIPE_NEED, max);
	mfd_host_info("fs.pipe-max-size raised from %lu to %d: CRIU lacks CAP_SYS_RESOURCE", max,
		      PIPE_NEED);
	return 0;
}

/* The first word of CRIU's command line for which is() says so, and the one behind it: 1, or 0. */
static int find_word(int (*is)(const char *word, const char *what), const char *what, char *word,
		     char *next, size_t room)
{
	size_t len, at;
	char *line;
	int found = 0;

	if (mfd_io_read_file(AT_FDCWD, "/proc/self/cmdline", 1 << 20, &line, &len))
		return 0;
	for (at = 0; at < len && !found; at += strlen(line + at) + 1) {
		found = is(line + at, what);
		if (!found || !word)
			continue;
		snprintf(word, room, "%s", line + at);
		at += strlen(line + at) + 1;
		snprintf(next, room, "%s", at < len ? line + at : "");
	}
	free(line);
	return found;
}

static int any_word(int (*is)(const char *word, const char *what), const char *what)
{
	return find_word(is, what, NULL, NULL, 0);
}

static int equals(const char *word, const char *what)
{
	return !strcmp(word, what);
}

/* CRIU gives its service a title of one word: "criu: restore --rpc -D ...". */
static int means_service(const char *word, const char *what)
{
	(void)what;
	return !strcmp(word, "swrk") || !strcmp(word, "service") || strstr(word, " --rpc");
}

static int is_option(const char *word, const char *option)
{
	size_t n = strlen(option);

	return !strncmp(word, option, n) && (!word[n] || word[n] == '=');
}

void mfd_host_text_of(const char *option, char *buf, size_t len)
{
	char word[1024], next[1024];

	buf[0] = 0;
	if (find_word(is_option, option, word, next, sizeof(word)))
		snprintf(buf, len, "%s", word[strlen(option)] ? word + strlen(option) + 1 : next);
}

int mfd_host_number_of(const char *option)
{
	char text[64];

	mfd_host_text_of(option, text, sizeof(text));
	return text[0] ? atoi(text) : -1;
}

int mfd_host_was_told(const char *word)
{
	return any_word(equals, word);
}

int mfd_host_is_service(void)
{
	return any_word(means_service, NULL);
}

void mfd_host_run(char *buf, size_t len)
{
	const char *run = dlsym(RTLD_DEFAULT, "criu_run_id"); /* an array of characters */

	snprintf(buf, len, "%.63s", run ? run : "");
}

int mfd_host_image_dir(void)
{
	return criu_get_image_dir();
}

static void say(unsigned level, const char *fmt, va_list ap)
{
	char text[640];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (print_on_level)
		print_on_level(level, "%smultifd: %s\n", level == LEVEL_ERROR ? "Error: " : "",
			       text);
}

#define SAY(level)                   \
	do {                         \
		va_list ap;          \
		va_start(ap, fmt);   \
		say(level, fmt, ap); \
		va_end(ap);          \
	} while (0)

void mfd_host_error(const char *fmt, ...)
{
	SAY(LEVEL_ERROR);
}

void mfd_host_warn(const char *fmt, ...)
{
	SAY(LEVEL_WARN);
}

void mfd_host_info(const char *fmt, ...)
{
	SAY(LEVEL_INFO);
}
