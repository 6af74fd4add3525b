/* SPDX-License-Identifier: GPL-2.0-only */
/* The build id of a program or library: the note by which CRIU, too, tells two versions apart. */
#ifndef MFD_BUILDID_H
#define MFD_BUILDID_H

#include <stddef.h>
#include <stdint.h>

#define MFD_BUILDID_MAX 64

/* Of an ELF file that is open for reading: its length in bytes, 0: it has none. */
size_t mfd_buildid_read(int fd, uint8_t id[MFD_BUILDID_MAX]);

#endif
