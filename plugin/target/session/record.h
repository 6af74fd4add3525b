/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session's name stands for, when sessions of one name follow each other.
 *
 * A session displaces the record of the one before only when it has something to displace it with:
 * its images and, with them, a state in which its source may need evidence
 * (mfd_evidence_file_is_needed).  Until then
 *
 *	DIR/.ended/before/NAME	is the folder of the session before, which is done
 *	DIR/.ended/NAME.img	stays the tombstone of the one before, if it matters to a person
 *
 * and a newcomer that ends earlier leaves only NAME.late (session_file.h).  The folder comes back
 * when that of the newcomer is removed, by whatever way: mfd_record_remove is the one function that
 * does it.  What sources are answered with is kept by id, and none of this touches it.
 */
#ifndef MFD_RECORD_H
#define MFD_RECORD_H

#include "images/session.pb-c.h"

/*
 * A newcomer asks for the name: the folder of the session that bears it, done and with this
 * entry, is moved aside.  Evidence of it is kept first.  0, or -errno: as mfd_clean_folder.
 */
int mfd_record_set_aside(int rootfd, const Mfd__SessionEntry *e, const char *name);
/* It comes to nothing: what was moved aside is back, unless the name is borne.  0 or -errno. */
int mfd_record_put_back(int rootfd, const char *name);
/* The newcomer has its images: what stood for its name before goes.  0 (again, too), or -errno. */
int mfd_record_displace(int rootfd, const char *name);
/* Remove the session's folder, as mfd_clean_folder; what it had not displaced is back. */
int mfd_record_remove(int rootfd, const char *name);
/* The same, for what a server that died has left. */
void mfd_record_settle_all(int rootfd);

#endif
