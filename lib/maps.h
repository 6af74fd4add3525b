/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mappings of a process: the one reader of /proc/PID/maps and smaps.
 *
 * maps costs little.  smaps has what only the kernel's own walk over every page table shows, which
 * takes a second per some hundred GiB: ask for it only if a field below says so.
 */
#ifndef MFD_MAPS_H
#define MFD_MAPS_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct mfd_map {
	uint64_t start, end; /* bytes, end excluded */
	unsigned read : 1, write : 1, exec : 1;
	unsigned shared : 1; /* MAP_SHARED, else MAP_PRIVATE */
	/* smaps alone, else 0 */
	unsigned locked : 1, hugetlb : 1, droppable : 1, shadow_stack : 1;
	unsigned no_reserve : 1;   /* not counted against the memory there is */
	unsigned thp_eligible : 1; /* its first touch may get a huge page */
	unsigned major, minor;	   /* of the file's device; all three are 0 for anonymous memory */
	uint64_t inode;
	const char *name; /* path or [name] as the kernel writes it, "" if there is none */
};

/* Anonymous memory of the process alone, whatever it is used for. */
int mfd_maps_is_private_anonymous(const struct mfd_map *m);

/* Return nonzero to stop: mfd_maps_each returns it.  *m and its name are valid during the call. */
typedef int mfd_maps_fn(const struct mfd_map *m, void *arg);

enum mfd_maps_source { MFD_MAPS, MFD_SMAPS };

/*
 * Call fn for each mapping of `pid`, by address.  0, what fn returned, -EPROTO if the text is not
 * what the kernel is known to write, or -errno of opening and reading.
 */
int mfd_maps_each(pid_t pid, enum mfd_maps_source source, mfd_maps_fn *fn, void *arg);
/* The same from an open file, for the test. */
int mfd_maps_parse(FILE *f, mfd_maps_fn *fn, void *arg);

#endif
