/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A scope of systemd's for what a server restores, so that what befalls the server's unit (a kill,
 * a limit, a restart that kills what is left) does not befall it.
 *
 * The warden asks for it, for itself, before it starts CRIU: all that is restored begins there, and
 * the held group (lib/held.h) is made below it.  It ends with its last process.
 */
#ifndef MFD_RESTORE_SCOPE_H
#define MFD_RESTORE_SCOPE_H

#include <stddef.h>

#define MFD_RESTORE_SCOPE_NAME 256 /* systemd's limit, with the NUL */

/*
 * "criu-multifd-SESSION.scope", SESSION as systemd-escape(1) writes it and cut where it must be.
 * number: 0, or what is put behind SESSION while another one has the name.
 */
void mfd_restore_scope_name(const char *session, unsigned number,
			    char name[MFD_RESTORE_SCOPE_NAME]);
/*
 * Move this process into a scope of its own.  0 and its name, "" where there is no systemd; or
 * -errno and a reason in text: it is where it was.
 */
int mfd_restore_scope_enter(const char *session, char name[MFD_RESTORE_SCOPE_NAME], char *text,
			    size_t len);

#endif
