/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What CRIU itself has parsed, whichever way it was told: command line (abbreviated or not), its
 * configuration files, a caller of its service.
 *
 * CRIU keeps it in one exported object, `opts`, whose members move from release to release.  Where
 * a member is, CRIU's own parser says: a child of this process has it parse the option with a value
 * that occurs nowhere else, and looks where that value is by then.  Nothing of that is seen in
 * CRIU's process.  A flag or a text has no such value: what differs when it is parsed and when it
 * is not is the place.  Where that is impossible the command line alone is read.
 */
#ifndef MFD_HOOKS_PARSED_H
#define MFD_HOOKS_PARSED_H

#include <stddef.h>

/* The number of --ps-socket, -1: not asked for. */
int mfd_parsed_ps_socket(void);
/* Nonzero: --lazy-pages was asked for; 0: it was not, or that is not known. */
int mfd_parsed_lazy_pages(void);
/* The folder of --freeze-cgroup, empty: not asked for.  0; -ENAMETOOLONG. */
int mfd_parsed_freeze_cgroup(char *buf, size_t len);

#endif
