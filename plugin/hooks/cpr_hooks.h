/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors that come along, as the hooks see them.
 *
 * Dump: CRIU calls DUMP_EXT_FILE and DUMP_UNIX_SK for what it cannot dump by itself.  What the
 * configuration claims is saved in the dump's CPR table under (name, id), and handed to the keeper
 * if there is one (option keeper); all else is left to other plugins.  Pipes, eventfds and memfds
 * that a process outside the tree also has open are CRIU's to dump, but CRIU would make new ones of
 * them: they are saved and handed over as well.  cpr-fds.img is the table written out.
 *
 * Restore: cpr-fds.img is loaded into a table again.  Before CRIU has made a task, every entry must
 * be in reach: with the keeper (kept by the dump, or offered) or by its path.  The RESTORE_* hooks
 * then run inside the restored tasks, in their namespaces and with hardly a descriptor: they ask
 * the table that the tasks have inherited, and reach the keeper through .cpr.sock in the image
 * folder.
 *
 *	cpr_dump.c	the dump: what is saved, and where it goes
 *	cpr_scan.c	descriptors of the tree that are shared, and those that cannot be kept
 *	cpr_tty.c	terminals whose other end is outside the tree
 *	cpr_describe.c, cpr_unix.c	what a descriptor is
 *	cpr_claim.c	whether the configuration claims it
 *	cpr_restore.c	the restore: before CRIU makes a task, and inside the tasks
 *	cpr_loaded.c	the table of a restore and its look-ups
 *	cpr_ways.c	how each entry is had
 *	cpr_pass.c, cpr_inherit.c	what is passed to CRIU as if by --inherit-fd
 *	cpr_rewrite.c	CRIU's images changed so that CRIU asks the plugin
 */
#ifndef MFD_CPR_HOOKS_H
#define MFD_CPR_HOOKS_H

#include <stdbool.h>

#include "error.h"
#include "options.h"

/* ---- cpr_dump.c; plugin.c knows in which phase each is called, and how often ---- */

/*
 * Begin the dump's table and its journal, and reach the keeper.  Nothing is done if neither target
 * nor keeper is set, or cpr = off; then no other function of the dump does anything.  Chooses
 * o->session if it is unset.
 */
int mfd_cpr_dump_begin(struct mfd_options *o, struct mfd_error *err);
/* `root` and its descendants run still.  -EOPNOTSUPP: one has what cannot be carried over. */
int mfd_cpr_dump_running(int root, struct mfd_error *err);
/* All tasks are frozen. */
int mfd_cpr_dump_frozen(int root, struct mfd_error *err);
/* 0, -ENOTSUP: left to other plugins, or another -errno. */
int mfd_cpr_dump_ext(int fd, int id, struct mfd_error *err);
int mfd_cpr_dump_unix(int fd, int id, struct mfd_error *err);
/* `ret` 0: see that cpr-fds.img is there; else undo what the dump has done.  May be repeated. */
void mfd_cpr_dump_end(int ret);

/* ---- cpr_restore.c ---- */

/* There is a cpr-fds.img, or a keeper that may have offers. */
int mfd_cpr_restore_wanted(void);
/* Load the table and find everything that is in it.  -ENOENT names what cannot be had. */
int mfd_cpr_restore_begin(const struct mfd_options *o, struct mfd_error *err);
/* In the task: a descriptor, -ENOTSUP: not in the table, or another -errno. */
int mfd_cpr_restore_fd(bool is_unix, int id, struct mfd_error *err);
void mfd_cpr_restore_end(int ret);

#endif
