/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * migrate --to ssh://[USER@]HOST[:PORT][/DIR]: a server on the other host for this one migration,
 * started through ssh (`serve --ssh`, target/by_ssh.h there).
 *
 * Its key is made here, crosses inside ssh on standard input, and stands in a file beside CRIU's
 * for the sender; ssh's standard input stays open as long as this program runs, which is how the
 * server learns that there is nothing to wait for.  Memory does not go through ssh: the sender
 * connects to the address by which ssh has reached that host, with TLS.
 */
#ifndef MFD_MIGRATE_SSH_H
#define MFD_MIGRATE_SSH_H

#include <stdint.h>
#include <sys/types.h>

#include "error.h"

#define MFD_MIGRATE_SSH_URL "ssh://"
#define MFD_MIGRATE_SSH_KEY ".ssh.psk" /* in CRIU's folder; the dot keeps it from being sent */
#define MFD_MIGRATE_SSH_MAX 16	       /* --serve-option */

struct mfd_migrate_ssh {
	/* the command line */
	const char *program, *remote; /* --ssh-program, --remote-program; words, or NULL */
	const char *options[MFD_MIGRATE_SSH_MAX];
	int n_options;
	char host[256], port[8], dir[1024]; /* host: with its user; dir: "" = one is made */

	/* the run */
	pid_t pid;	   /* 0: none */
	int in, out, said; /* pipes to it; what it and the server wrote on standard error */
	char address[72];  /* of the server */
	char there[1024];  /* the folder of its sessions */
};

int mfd_migrate_ssh_is(const char *to);
/* 0 or -EINVAL */
int mfd_migrate_ssh_parse(struct mfd_migrate_ssh *s, const char *to, struct mfd_error *err);
int mfd_migrate_ssh_add_option(void *dest, const char *value, struct mfd_error *err);
/*
 * Start the server and learn its address; the key is in `dir` then.  Ends early when one of the
 * signals of mfd_migrate_block_signals comes.  `until_ms`: as mfd_io_now_ms counts, 0 = no limit;
 * connect_ms: for ssh to reach the host.  0 or -errno with a sentence.
 */
int mfd_migrate_ssh_start(struct mfd_migrate_ssh *s, const char *dir, uint64_t until_ms,
			  uint32_t connect_ms, struct mfd_error *err);
/*
 * This program has nothing to do with the server any more.  over: its session has ended, and with
 * it the server, which is waited for.
 */
void mfd_migrate_ssh_end(struct mfd_migrate_ssh *s, int over);

#endif
