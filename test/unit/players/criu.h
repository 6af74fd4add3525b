/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `criu restore` played by hand: a process of its own whose memory at BASE is served by the pager
 * through the session's lazy-pages.socket.
 */
#ifndef PLAYERS_CRIU_H
#define PLAYERS_CRIU_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Restore task `vpid` and read all its pages, as source_pages sends them (zeros: as in
 * source_to_ready, where some are zero). Exit status 0: each is right. hold: stay alive afterwards.
 */
pid_t criu_restore(const char *name, unsigned pages, int zeros, int hold, uint32_t vpid);
/* Set: the played task closes its userfaultfd at once, and then sets *criu_hidden. */
extern atomic_int *criu_hidden;
/* Wait for its end: exit status, 128 + signal, or -1 after 10 s (it is killed then). */
int criu_reap(pid_t pid);
/* Wait for its end, each page right, and for the session to be DONE. */
void criu_expect_done(pid_t pid, const char *name);
/*
 * Wait until the server knows that this restore is finished. A task that faults has said so before,
 * but the pager reads a fault in another thread than that.
 */
void criu_wait_restored(const char *name);

#endif
