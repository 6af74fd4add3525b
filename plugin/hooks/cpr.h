/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors that come along (plugin/DESIGN.md, "Descriptors"), as the hooks see them.
 *
 * Dump: CRIU calls DUMP_EXT_FILE and DUMP_UNIX_SK for what it cannot dump by itself.  What the
 * configuration claims is handed to the keeper (option keeper) and written down for cpr-fds.img;
 * all else is left to other plugins.  Pipes, eventfds and memfds that a process outside the tree
 * has open, too, are CRIU's to dump, but it would make new ones of them: they are handed over as
 * well.
 *
 * Restore: cpr-fds.img says what there is.  Before CRIU has made a task, everything must be in
 * reach: with the keeper (kept by the dump, or offered) or by its path.  The RESTORE_* hooks then
 * run inside the restored tasks, in their namespaces and with hardly a descriptor: they reach the
 * keeper through .cpr.sock in the image folder.
 */
#ifndef MFD_CPR_HOOKS_H
#define MFD_CPR_HOOKS_H

#include <stdbool.h>

#include "error.h"
#include "options.h"

/* ---- cpr_dump.c ---- */
/*
 * Nothing to do when neither target nor keeper is set, or cpr = off.  Chooses o->session if unset.
 */
int mfd_cpr_dump_begin(struct mfd_options *o, struct mfd_error *err);
/* PAUSE_DEVICES: nothing is frozen at the first call */
int mfd_cpr_dump_pause(int pid, struct mfd_error *err);
int mfd_cpr_dump_frozen(int pid, struct mfd_error *err);     /* CHECKPOINT_DEVICES: all is */
int mfd_cpr_dump_ext(int fd, int id, struct mfd_error *err); /* -ENOTSUP: not ours */
int mfd_cpr_dump_unix(int fd, int id, struct mfd_error *err);
void mfd_cpr_dump_end(int ret);

/* ---- cpr_restore.c ---- */
int mfd_cpr_restore_wanted(void); /* there is a cpr-fds.img */
int mfd_cpr_restore_begin(const struct mfd_options *o,
			  /* everything is in reach, or who is not */
			  struct mfd_error *err);
/* in the task: fd, -ENOTSUP or another -errno */
int mfd_cpr_restore_fd(bool is_unix, int id, struct mfd_error *err);
void mfd_cpr_restore_end(int ret);

#endif
