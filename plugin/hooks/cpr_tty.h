/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Terminals whose other end is outside the tree.
 *
 * CRIU makes a new pseudo terminal if it dumps both ends.  A slave whose master stays behind (with
 * sshd or a terminal multiplexer) it dumps only when it is told that the terminal is external, by a
 * name made of device numbers, "tty[RDEV:DEV]"; and the restore has to be given a terminal of that
 * name (--inherit-fd), to which CRIU then applies the modes and the window size of the old one.
 * Both lists are CRIU's, and a plugin can add to them, so that no user has to write those numbers.
 *
 * Left to CRIU, which knows better:
 *	a terminal of a session whose leader is not in the tree, as a job of a shell has: CRIU
 *		expects --shell-job for the session, too;
 *	every one, when --shell-job is given: the restore takes its own standard input then;
 *	a container's console in the container's own devpts, dumped by its runtime, which asks CRIU
 *		for a new master ("orphan pts master");
 *	one that has hung up, and consoles and serial lines, which CRIU opens again by their path.
 *
 * CRIU knows terminals, not descriptions: where a tree has opened one several times, one
 * description serves all afterwards.
 */
#ifndef MFD_CPR_TTY_H
#define MFD_CPR_TTY_H

#include "cpr_describe.h"
#include "error.h"

/*
 * Every such terminal of the (frozen) tree, once, and /dev/tty if it is that one: `each` gets a
 * descriptor in this process for it (closed afterwards) and what it is; d->name and inherit_id are
 * CRIU's name of it, the path is that under which one process has it open.  /dev/tty comes behind
 * its terminal and has the same id.
 */
int mfd_tty_scan(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d), void *ctx);
/*
 * Dump: do as criu dump --external NAME does, unless that was given.  To be called before CRIU
 * looks at the first file.
 */
int mfd_tty_declare(char *name, struct mfd_error *err);

/*
 * Restore: `fd` is to be a restored task's terminal.  Takes `fd` over and returns it, or another
 * one if it cannot be both read and written; -ENOTTY with a sentence if it is no terminal, or the
 * master of one.
 */
int mfd_tty_suit(int fd, const char *name, struct mfd_error *err);
/*
 * CRIU's own standard input, for a restore that is run on a terminal.  A new descriptor; -ENOENT:
 * it is no terminal; -EPERM: a restored task would make the terminal its session's, and take it
 * from the session it belongs to.
 */
int mfd_tty_own(int image_dir, const char *name);

#endif
