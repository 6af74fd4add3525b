// SPDX-License-Identifier: GPL-2.0-only
/* Finding the main program's slot of a function, and writing to it. */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "interpose.h"

#if defined(__x86_64__)
#define SLOT_CALL R_X86_64_JUMP_SLOT
#define SLOT_DATA R_X86_64_GLOB_DAT
#elif defined(__aarch64__)
#define SLOT_CALL R_AARCH64_JUMP_SLOT
#define SLOT_DATA R_AARCH64_GLOB_DAT
#else
#define SLOT_CALL 0 /* R_*_NONE: no slot is ever found */
#define SLOT_DATA 0
#endif

struct search {
	const char *name;
	void **slot;
};

/* What of the main program's dynamic section the search needs. */
struct dynamic {
	const ElfW(Sym) * symbols;
	const char *strings;
	const ElfW(Rela) * calls, *data;
	size_t calls_size, data_size;
};

/*
 * The dynamic linker has added the load address to these already, unless they lie in read-only
 * memory.
 */
static const void *address(ElfW(Addr) base, ElfW(Addr) value)
{
	return (const void *)(value < base ? base + value : value);
}

static void read_dynamic(struct dynamic *d, ElfW(Addr) base, const ElfW(Dyn) * dyn)
{
	for (; dyn->d_tag != DT_NULL; dyn++) {
		switch (dyn->d_tag) {
		case DT_SYMTAB:
			d->symbols = address(base, dyn->d_un.d_ptr);
			break;
		case DT_STRTAB:
			d->strings = address(base, dyn->d_un.d_ptr);
			break;
		case DT_JMPREL:
			d->calls = address(base, dyn->d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			d->calls_size = dyn->d_un.d_val;
			break;
		case DT_RELA:
			d->data = address(base, dyn->d_un.d_ptr);
			break;
		case DT_RELASZ:
			d->data_size = dyn->d_un.d_val;
			break;
		}
	}
}

static void **find(const struct dynamic *d, ElfW(Addr) base, const ElfW(Rela) * r, size_t size,
		   unsigned kind, const char *name)
{
	for (size_t i = 0; r && i < size / sizeof(*r); i++) {
		const ElfW(Sym) *symbol = &d->symbols[ELF64_R_SYM(r[i].r_info)];

		if (kind && ELF64_R_TYPE(r[i].r_info) == kind &&
		    !strcmp(d->strings + symbol->st_name, name))
			return (void **)(base + r[i].r_offset);
	}
	return NULL;
}

/* The main program comes first and has no name. */
static int look_into(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;
	struct dynamic d = { 0 };

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			read_dynamic(&d, info->dlpi_addr,
				     (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr));
	if (d.symbols && d.strings) {
		s->slot = find(&d, info->dlpi_addr, d.calls, d.calls_size, SLOT_CALL, s->name);
		if (!s->slot)
			s->slot =
				find(&d, info->dlpi_addr, d.data, d.data_size, SLOT_DATA, s->name);
	}
	return 1;
}

/*
 * A program linked with -z now has its slots read-only from its start on (RELRO); to leave them
 * writable afterwards costs it a part of that protection, until the dump ends with the process.
 */
int mfd_interpose(const char *name, void *with, void **was)
{
	struct search s = { .name = name };
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	void *before;

	dl_iterate_phdr(look_into, &s);
	if (!s.slot)
		return -ENOENT;
	if (mprotect((void *)((uintptr_t)s.slot & ~(page - 1)), page, PROT_READ | PROT_WRITE))
		return -errno;
	before = __atomic_exchange_n(s.slot, with, __ATOMIC_SEQ_CST);
	if (was)
		*was = before;
	return 0;
}

int mfd_interpose_can(const char *name)
{
	struct search s = { .name = name };

	dl_iterate_phdr(look_into, &s);
	return s.slot != NULL;
}
