/* SPDX-License-Identifier: GPL-2.0-only */
/* The command line of `criu-multifd serve`. */
#ifndef MFD_SERVE_CONFIG_H
#define MFD_SERVE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "daemon.h"

#define MFD_SERVE_MAX_WORDS 64 /* of a flag that may be given more than once */

enum { MFD_SERVE_PIDS_OWN, MFD_SERVE_PIDS_HOST };
enum { MFD_SERVE_HUGE_ON, MFD_SERVE_HUGE_OFF };

struct mfd_serve_config {
	struct mfd_daemon_options daemon;
	const char *listen;
	int once, insecure, durable;
	const char *tls_dir, *tls_psk, *peers, *ssh;
	int restore, pid_namespace, huge_pages;
	const char *netns;
	const char *restore_options[MFD_SERVE_MAX_WORDS];
	size_t n_restore_options;
	const char *allow_address[MFD_SERVE_MAX_WORDS];
	size_t n_allow_address;
	uint32_t threads, max_sessions, stall_ms, keep_ended;
	uint64_t max_memory;
};

/* With the defaults of what is not there.  -1 = go on, else the exit code. */
int mfd_serve_config_parse(struct mfd_serve_config *c, int argc, char **argv);

#endif
