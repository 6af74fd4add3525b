/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What can be known of a move before anything is frozen: what of the tree CRIU cannot dump, which
 * of CRIU's options it needs, what the target must have, what will take long.
 *
 *	kinds.c		the table: every finding there can be, and its words
 *	looks.c		the looks in their order, each over the whole tree
 *	look_*.c	one part of /proc each: it adds findings, and decides nothing
 *	standstill.c	how long the tasks will stand still
 *	findings.c	findings are added and counted
 *	services.c	the manual page of what common services need, from the same table
 *
 * Nothing here changes a process or opens a file of one for writing.  The tasks run meanwhile: what
 * is gone when it is looked at counts as not there, and what comes afterwards is CRIU's to find.
 */
#ifndef MFD_CHECK_H
#define MFD_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "kinds.h"
#include "wants.h"
#include "walk.h"

#define MFD_CHECK_EXAMPLES 3

struct mfd_check_finding {
	unsigned count;
	uint64_t value; /* the largest; what it counts is the kind's affair */
	char example[MFD_CHECK_EXAMPLES][320];
	int given; /* bool: the command line has the option */
	int added; /* bool: migrate adds it */
};

struct mfd_check {
	pid_t root;
	/* what the move is to be */
	int postcopy, with_restore, cpr_off; /* bool */
	int page_pipes;			     /* bool: page-dump = criu keeps all pages in pipes */
	int criu;			     /* 403: the dump is CRIU 4.3's; 0: not known */
	uint64_t max_bandwidth;		     /* bytes per second, 0 = no limit */

	/* what was found */
	struct mfd_walk_pids tree;
	struct mfd_wants wants; /* what the target must have */
	struct mfd_check_finding found[MFD_CHECK_KINDS];
	uint64_t memory, shared; /* bytes, as mfd_estimate_tree */
	uint64_t reserved;	 /* bytes of address space of private memory */
	uint64_t copied;	 /* bytes that tasks have together, by copy-on-write */
	uint64_t still_ms;	 /* about so long the tasks will stand still */
	/* what the target has said of itself; "": it was not asked, or did not say */
	struct {
		char kernel[65], criu[32], program[32];
	} there;
};

/* Look at c->root and its descendants.  0 or -errno; free it in either case. */
int mfd_check_run(struct mfd_check *c);
void mfd_check_free(struct mfd_check *c);

/* ---- findings.c ---- */

/* Count one; the first few are kept as examples. */
void mfd_check_add(struct mfd_check *c, enum mfd_check_id id, uint64_t value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Nonzero: it was found, and is not answered by an option that is given or added. */
int mfd_check_is_open(const struct mfd_check *c, enum mfd_check_id id);
/* The first that makes the move impossible, or MFD_CHECK_KINDS. */
enum mfd_check_id mfd_check_impossible(const struct mfd_check *c);
/* Nonzero: nothing but what is slow is open. */
int mfd_check_moves(const struct mfd_check *c);
/* What is to be typed: "--ghost-limit=12M"; "": no option helps. Returns text. */
#define MFD_CHECK_OPTION_TEXT 64
const char *mfd_check_option(const struct mfd_check *c, enum mfd_check_id id,
			     char text[MFD_CHECK_OPTION_TEXT]);

/* ---- services.c ---- */

/* criu-multifd-services(7) as man(7) source. */
void mfd_check_services_page(FILE *out);

#endif
