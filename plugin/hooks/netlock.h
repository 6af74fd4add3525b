/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MFD_NETLOCK_H
#define MFD_NETLOCK_H

/*
 * CRIU (4.1 to 4.3) does not undo its network lock when the lazy part of a dump fails: the rules
 * stay, and so does TCP_REPAIR on the sockets, and the clients of the tasks that run on hang for
 * ever (cr_dump_finish() decides on that before cr_lazy_mem_dump()).  To be called when a dump has
 * failed, while the tasks are frozen still.
 */
void mfd_netlock_undo(void);

#endif
