// SPDX-License-Identifier: GPL-2.0-only
/* Features of the processor: /proc/cpuinfo and, on x86, cpuid. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "hostcpu.h"
#include "io.h"

#define SEPARATORS " \t"

#ifdef __x86_64__
/*
 * Instructions that programs use without a word of the kernel's; a '*' stands for all that begin
 * so.  What else is in the line is the kernel's own affair.
 */
static const char *const used[] = {
	"3dnow*",    "abm",	    "adx",     "aes",	      "amx*",	    "apx",
	"avx*",	     "bmi1",	    "bmi2",    "cldemote",    "clflushopt", "clwb",
	"clzero",    "cmpccxadd",   "cx16",    "f16c",	      "fma",	    "fma4",
	"fsgsbase",  "gfni",	    "lahf_lm", "misalignsse", "monitorx",   "movbe",
	"movdir64b", "movdiri",	    "mpx",     "ospke",	      "pclmulqdq",  "pni",
	"popcnt",    "prefetchwt1", "rdpid",   "rdrand",      "rdseed",	    "rdtscp",
	"rtm",	     "serialize",   "sha512",  "sha_ni",      "sm3",	    "sm4",
	"sse*",	     "ssse3",	    "tbm",     "user_shstk",  "vaes",	    "vpclmulqdq",
	"waitpkg",   "xop",	    "xsave",   "xsavec",      "xsaveopt",   "xsaves",
	NULL,
};
#else
static const char *const used[] = { "*", NULL };
#endif

static int is_used(const char *word, size_t len)
{
	for (size_t i = 0; used[i]; i++) {
		size_t n = strlen(used[i]);

		if (used[i][n - 1] == '*' ? len >= n - 1 && !strncmp(word, used[i], n - 1) :
					    len == n && !strncmp(word, used[i], n))
			return 1;
	}
	return 0;
}

static int has_word(const char *text, const char *word, size_t len)
{
	for (text += strspn(text, SEPARATORS); *text; text += strspn(text, SEPARATORS)) {
		size_t n = strcspn(text, SEPARATORS);

		if (n == len && !strncmp(text, word, n))
			return 1;
		text += n;
	}
	return 0;
}

size_t mfd_hostcpu_lacking(const char *here, const char *there, char *text, size_t len)
{
	size_t n = 0, at = 0;

	text[0] = 0;
	for (here += strspn(here, SEPARATORS); *here; here += strspn(here, SEPARATORS)) {
		size_t word = strcspn(here, SEPARATORS);

		if (is_used(here, word) && !has_word(there, here, word)) {
			if (at + word + 2 < len)
				at += (size_t)snprintf(text + at, len - at, "%s%.*s", at ? " " : "",
						       (int)word, here);
			n++;
		}
		here += word;
	}
	return n;
}

/* "flags" on x86, "Features" on Arm, "isa" on RISC-V ... */
static char *flags_of(const char *cpuinfo)
{
	static const char *const keys[] = { "\nflags\t", "\nFeatures\t" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const char *line = strstr(cpuinfo, keys[i]);

		line = line ? strchr(line, ':') : NULL;
		if (line)
			return strndup(line + 1, strcspn(line + 1, "\n"));
	}
	return NULL;
}

static void look_at_xsave(struct mfd_hostcpu *c)
{
#ifdef __x86_64__
	unsigned a, b, x, d, high;

	if (!__get_cpuid(1, &a, &b, &x, &d) || !(x & bit_OSXSAVE))
		return;
	__asm__("xgetbv" : "=a"(a), "=d"(high) : "c"(0));
	c->xfeatures = (uint64_t)high << 32 | a;
	if (__get_cpuid_count(0xd, 0, &a, &b, &x, &d))
		c->xsave_size = b;
#else
	(void)c;
#endif
}

void mfd_hostcpu(struct mfd_hostcpu *c)
{
	struct utsname un = { .machine = "" };
	char *text;

	*c = (struct mfd_hostcpu){ .flags = NULL };
	uname(&un);
	snprintf(c->machine, sizeof(c->machine), "%s", un.machine);
	/* It has a part for each processor. */
	if (!mfd_io_read_file(AT_FDCWD, "/proc/cpuinfo", 16 << 20, &text, NULL)) {
		c->flags = flags_of(text);
		free(text);
	}
	look_at_xsave(c);
}

void mfd_hostcpu_free(struct mfd_hostcpu *c)
{
	free(c->flags);
	c->flags = NULL;
}
