/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What CRIU (4.1 to 4.3) has changed beside the tasks, and leaves when a dump fails at the gate: it
 * decides on that before it comes there.  The rules of its network lock and TCP_REPAIR would stay,
 * so that the clients of the tasks that run on hang for ever.
 */
#ifndef MFD_HOOKS_LATE_UNDO_H
#define MFD_HOOKS_LATE_UNDO_H

/* The tasks are frozen still, and are to run on: CRIU's own functions undo it. */
void mfd_late_undo(void);

#endif
