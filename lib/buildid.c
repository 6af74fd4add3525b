// SPDX-License-Identifier: GPL-2.0-only
/* NT_GNU_BUILD_ID of a 64-bit ELF file.  Nothing in the file is trusted. */
#include <elf.h>
#include <string.h>

#include "buildid.h"
#include "io.h"

#define MAX_HEADERS 128
#define MAX_NOTES   16384
#define MAPPED	    (1U << 20) /* CRIU looks no further into the file */

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static size_t find_note(const uint8_t *notes, size_t len, uint8_t id[MFD_BUILDID_MAX])
{
	Elf64_Nhdr h;

	for (size_t at = 0; at + sizeof(h) <= len;) {
		size_t name, desc;

		memcpy(&h, notes + at, sizeof(h));
		name = at + sizeof(h);
		if (h.n_namesz > len || h.n_descsz > len)
			return 0;
		desc = name + padded(h.n_namesz);
		if (desc + h.n_descsz > len)
			return 0;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 &&
		    !memcmp(notes + name, "GNU", 4) && h.n_descsz <= MFD_BUILDID_MAX) {
			memcpy(id, notes + desc, h.n_descsz);
			return h.n_descsz;
		}
		at = desc + padded(h.n_descsz);
	}
	return 0;
}

static size_t in_segment(int fd, const Elf64_Phdr *p, uint8_t id[MFD_BUILDID_MAX])
{
	uint8_t notes[MAX_NOTES];

	if (p->p_type != PT_NOTE || !p->p_filesz || p->p_filesz > sizeof(notes) ||
	    p->p_offset > MAPPED || p->p_offset + p->p_filesz > MAPPED ||
	    mfd_io_pread_all(fd, notes, p->p_filesz, p->p_offset))
		return 0;
	return find_note(notes, p->p_filesz, id);
}

size_t mfd_buildid_read(int fd, uint8_t id[MFD_BUILDID_MAX])
{
	Elf64_Ehdr e;
	Elf64_Phdr p;
	size_t len = 0;

	if (mfd_io_pread_all(fd, &e, sizeof(e), 0) || memcmp(e.e_ident, ELFMAG, SELFMAG) ||
	    e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_phentsize != sizeof(p))
		return 0;
	for (unsigned i = 0; i < e.e_phnum && i < MAX_HEADERS && !len; i++)
		if (!mfd_io_pread_all(fd, &p, sizeof(p), e.e_phoff + i * sizeof(p)))
			len = in_segment(fd, &p, id);
	return len;
}
