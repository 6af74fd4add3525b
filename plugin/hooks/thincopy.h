/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A memcpy() that does not touch what was never written.
 *
 * CRIU's lazy dump has an array of struct iovec with a place for every page of a task's private
 * mappings, and copies it whole into the memory that it shares with its parasite, also where
 * page-dump = plugin (hide.h) leaves almost all of it unused: 4 MiB for each GiB, in both of which
 * the kernel has to make every page, while the tasks stand still (50 ms for each GiB on a machine
 * where the bare data path moves one in 0.3 s).
 *
 * Where the source is private anonymous memory that has no page, it reads as zeros; there the
 * destination, which must be shared memory, is written only where it has a page in memory.  The
 * outcome is that of memcpy(), but for a page of the destination that has been swapped out: that
 * keeps its bytes where the source has none.  CRIU has written none of those entries, and reads
 * none.
 */
#ifndef MFD_HOOKS_THINCOPY_H
#define MFD_HOOKS_THINCOPY_H

#include <stddef.h>

/* Shorter ones are not worth the look: in bytes. */
#define MFD_THINCOPY_LEAST ((size_t)1 << 20)

/*
 * 0, or -errno (-EINVAL: memory of another kind): what of `to` has been written is undefined, and
 * memcpy() is to be called.  errno stays as it is.
 */
int mfd_thincopy(void *to, const void *from, size_t n);

#endif
