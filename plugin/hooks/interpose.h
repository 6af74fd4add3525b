/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A function of the C library, replaced for the main program alone.
 *
 * CRIU calls the C library through slots that the dynamic linker fills: one address for each
 * function (relocations R_*_JUMP_SLOT and R_*_GLOB_DAT of the main program, ELF gABI, "Dynamic
 * Linking").  mfd_interpose writes another address into that slot.  Shared libraries have slots of
 * their own, so neither the plugin nor libcompel notices.
 */
#ifndef MFD_HOOKS_INTERPOSE_H
#define MFD_HOOKS_INTERPOSE_H

/*
 * Let every call of `name` by the main program reach `with`; *was (may be NULL) is what it reached
 * before, to be put back with another call.  0; -ENOENT: the main program has no slot of that name
 * (it is linked statically); or -errno of mprotect().
 */
int mfd_interpose(const char *name, void *with, void **was);
/* Nonzero: mfd_interpose would find the slot. */
int mfd_interpose_can(const char *name);

#endif
