/* SPDX-License-Identifier: GPL-2.0-only */
/* The ends of pseudo terminals that a process tree has open, as /proc shows them. */
#ifndef MFD_TERMINALS_H
#define MFD_TERMINALS_H

#include <sys/types.h>

#include "walk.h"

enum mfd_terminals_which {
	MFD_TERMINALS_SLAVE,
	MFD_TERMINALS_MASTER,
	MFD_TERMINALS_DEV_TTY, /* /dev/tty: the terminal that the session has */
};

/* One descriptor. */
struct mfd_terminals_end {
	enum mfd_terminals_which which;
	int pid, fd, at_devpts;
	unsigned index;
	/* of a master that was opened through /dev/ptmx, dev is not that of the devpts */
	dev_t rdev, dev;
};

struct mfd_terminals {
	struct mfd_walk_pids tree;
	struct mfd_terminals_end *v;
	size_t n, room;
	int pid; /* of the process that is looked at */
};

/* t is all zero.  0 or -ENOMEM; free it in either case. */
int mfd_terminals_find(int root, struct mfd_terminals *t);
void mfd_terminals_free(struct mfd_terminals *t);

/* Nonzero: */
/* two ends of one terminal */
int mfd_terminals_same(const struct mfd_terminals_end *a, const struct mfd_terminals_end *b);
/* the tree has the other end of this slave */
int mfd_terminals_has_master(const struct mfd_terminals *t, const struct mfd_terminals_end *slave);
/* a slave of this terminal came before the i-th */
int mfd_terminals_done_before(const struct mfd_terminals *t, size_t i);
/* the session whose controlling terminal it is, as that process sees it */
int mfd_terminals_controls(int pid, dev_t rdev);
/* likewise, and the session's leader is not in the tree */
int mfd_terminals_foreign_session(const struct mfd_terminals *t, const struct mfd_terminals_end *e);

#endif
