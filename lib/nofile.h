/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many descriptors this process may have, and what they are for: half of them is for
 * connections and sessions, an eighth for connections that have not sent a greeting, and the rest
 * for what cannot be refused: the userfaultfds of tasks that fork, requests, the process's own.
 */
#ifndef MFD_NOFILE_H
#define MFD_NOFILE_H

#define MFD_NOFILE_WANTED 65536U

/*
 * Raise the limit as far as it can be raised, to MFD_NOFILE_WANTED where the process may.  Returns
 * what it is then.
 */
unsigned mfd_nofile_raise(void);
unsigned mfd_nofile_for_sessions(void);
unsigned mfd_nofile_for_greetings(void);

#endif
