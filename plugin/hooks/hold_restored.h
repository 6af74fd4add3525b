/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A restore of the server's own: no restored task runs before the server says so.
 *
 * RESUME_DEVICES_LATE is called for each task when all of them are restored, and traced by CRIU; it
 * runs no code in them afterwards, and detaches.  Each is put into a frozen control group there
 * (lib/held.h): SIGSTOP alone would be undone by any SIGCONT.  The server asks for it by
 * MFD_HELD_ENV in CRIU's environment.
 */
#ifndef MFD_HOLD_RESTORED_H
#define MFD_HOLD_RESTORED_H

/* Hold `pid`; nothing to do if that was not asked for.  A failure is the server's to deal with. */
void mfd_hold_restored(int pid);
void mfd_hold_restored_end(void);

#endif
