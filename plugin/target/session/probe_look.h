/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Paths that a peer names are looked at by a process of its own, since a file system that does not
 * answer holds what asks it for ever, and cannot be told to let go: a thread would be the server's
 * for good, and with it what the server holds.
 *
 *	a peer's thread -- posix_spawn --> criu-multifd serve --look-for-server
 *		probe, in a memfd ------->	looks at one file after the other
 *		<------- a byte for each	(0: as it should be; or enum probe_fault)
 *
 * A thread waits for at most MFD_PROBE_LOOK_MS. The process is killed then; one that does not die
 * of it counts against its peer, and in all, until it does: a peer has MFD_PROBE_LOOKS_PEER at
 * once, and the server MFD_PROBE_LOOKS. Where they all hang, files are not looked at any more, and
 * the answer says so.
 */
#ifndef MFD_PROBE_LOOK_H
#define MFD_PROBE_LOOK_H

#include <stddef.h>
#include <stdint.h>

#include "proto/control.pb-c.h"

#define MFD_PROBE_LOOK_MS    2000 /* a source that is about to move waits for 3000 */
#define MFD_PROBE_LOOKS	     16
#define MFD_PROBE_LOOKS_PEER 2
#define MFD_PROBE_LOOK_WORD  "--look-for-server"

/*
 * Any thread: faults[i] of m's i-th file.  peer: a number for the peer (struct mfd_peer).  Returns
 * of how many files, the first ones, it is known.
 */
size_t mfd_probe_look(const Mfd__Probe *m, unsigned peer, uint8_t *faults);
/* The main function of that process. */
int mfd_probe_look_main(void);

#endif
