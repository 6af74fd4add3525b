/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The warden's life, from CRIU's start until no child is left: it reaps what ends, and holds what
 * it is told to (../survive/warden_link.h).  It waits for nothing but these two, and no message and
 * no hangup ends it.
 */
#ifndef MFD_WARDEN_H
#define MFD_WARDEN_H

#include <sys/types.h>

/* Make the socket, with descriptors 0 to 3 open and no other: 0, or -1 and errno. */
int mfd_warden_open(void);
/* `ended` is called when CRIU has, with its status as waitpid() says.  Returns an exit code. */
int mfd_warden_live(pid_t criu, void (*ended)(int status));

#endif
