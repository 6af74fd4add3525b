/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the server keeps of a session in its folder, as the tests look at it: state, doubt, reason
 * of its end. Each wait_ function waits for at most 10 seconds and fails the test then.
 */
#ifndef PLAYERS_DISK_H
#define PLAYERS_DISK_H

#include <stddef.h>

#include "session_file.h"

/* MFD__SESSION_STATE__..., 0: no such session, -1: no state; the reason of its end if `error`. */
int disk_state(const char *name, char *error, size_t len);
int disk_in_doubt(const char *name);
int disk_has_folder(const char *name);
/* Load the session's entry, which must be there; release it by mfd_session_file_release. */
void disk_load(const char *name, struct mfd_session_file *f);

void disk_wait_state(const char *name, int want);
void disk_wait_doubt(const char *name, int want);
/* Until the name may be used again: a little later than the session's end is told. */
void disk_wait_free(const char *name);
/* Until the session is aborted and its folder gone; the reason must contain `why`. */
void disk_expect_gone(const char *name, const char *why);

#endif
