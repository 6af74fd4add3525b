/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the CRIU releases that load this plugin, and CRIU's log. */
#ifndef MFD_HOST_H
#define MFD_HOST_H

#include "options.h"

/*
 * The descriptor as CRIU lays it out, with room for more hooks than the header at hand knows: one
 * binary serves CRIU 4.1 (12 hooks), 4.2 (13) and 4.3 (17).  CRIU reads max_hooks entries and
 * refuses a plugin with more than it knows.
 */
#define MFD_HOST_HOOKS_MAX 32
struct mfd_host_desc {
	const char *name;
	int (*init)(int stage);
	void (*exit)(int stage, int ret);
	unsigned int version;
	unsigned int max_hooks;
	void *hooks[MFD_HOST_HOOKS_MAX];
};

/* Hooks newer than the oldest header this compiles with. */
#define MFD_HOST_HOOK_DUMP_FINISH 16 /* 4.3: int (*)(int ret) */

/*
 * Hosts from the change after 4.2 on pass RESTORE_EXT_FILE a second argument, bool *retry_needed,
 * which must be written; older ones do not.
 */
int mfd_host_has_retry(void);
/* The series of releases that tests run with ("4.2"), by what CRIU exports; NULL: another one. */
const char *mfd_host_release(void);
/* Set version and max_hooks to what the running CRIU takes. */
void mfd_host_describe(struct mfd_host_desc *d);
/* --plugin-option=multifd.NAME=VALUE, CRIU 4.3 and later; nothing to do on older hosts. */
int mfd_host_options(struct mfd_options *o, struct mfd_error *err);

/*
 * CRIU 4.3 makes a pipe of up to 4 MiB at its lazy page server before it listens to us.  Without
 * CAP_SYS_RESOURCE that needs a larger fs.pipe-max-size, which is raised here, and stays so; -EPERM
 * with what to do where it cannot be.
 */
int mfd_host_prepare(struct mfd_error *err);

/*
 * Is `word` in CRIU's command line?  What its configuration files and its service's callers ask for
 * is not seen.
 */
int mfd_host_was_told(const char *word);
/*
 * The number that follows `option` in CRIU's command line ("--ps-socket 512" or
 * "--ps-socket=512"), -1 if the option is not there.
 */
int mfd_host_number_of(const char *option);
/* The same as text; empty: the option is not there. */
void mfd_host_text_of(const char *option, char *buf, size_t len);
/*
 * CRIU works for a container runtime or another caller of its service, which has options of its
 * own.
 */
int mfd_host_is_service(void);

/* CRIU's name for its run, after which it names its rules of nftables; empty in old releases. */
void mfd_host_run(char *buf, size_t len);
/* CRIU's folder of images; a descriptor of CRIU's. */
int mfd_host_image_dir(void);

/* Lines in CRIU's log, "multifd: " in front. */
void mfd_host_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mfd_host_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mfd_host_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
