/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How old evidence is, by the time that has passed and not by what the host's clock says: a clock
 * that jumps ahead would let all of it expire at once.
 *
 * Its age is counted from the times of the files.  DIR/.ended/.clock has what the clock said when
 * it was looked at last, and the boot and the time since (CLOCK_BOOTTIME) of that moment.  If the
 * clock has moved since then by more, or by less, than time has passed, the times of the files move
 * with it.  Time in which the host was down does not count: no source could ask.
 */
#ifndef MFD_CALENDAR_H
#define MFD_CALENDAR_H

#define MFD_CALENDAR_FILE ".ended/.clock"

/* Before anything expires.  0; -errno: it cannot be told now, and nothing may. */
int mfd_calendar_keep(int dirfd);

#endif
