/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a process lives.  A look that fails for want of a descriptor or of memory is no answer,
 * and must not be taken for one: what is decided by it cannot be undone.
 */
#ifndef MFD_LIFE_H
#define MFD_LIFE_H

#include <stdint.h>
#include <sys/types.h>

enum mfd_life {
	MFD_LIFE_OVER, /* no such process, another one under that number, or a zombie */
	MFD_LIFE_UNKNOWN,
	MFD_LIFE_ALIVE,
};

/* start: as field 22 of /proc/PID/stat; 0: whichever process has that number now. */
enum mfd_life mfd_life(pid_t pid, uint64_t start);

/*
 * Nonzero: `ret`, of a look-up, is an error of this process (descriptors, memory) that may pass,
 * and says nothing about what was looked for.
 */
int mfd_life_cannot_tell(int ret);

/*
 * For a loop that repeats such a look-up: sleeps a moment.  0: `ret` is an answer, or 2 s have
 * passed since the first call with *since = 0.
 */
int mfd_life_look_again(int ret, uint64_t *since);

#define MFD_LIFE_BOOT 64 /* bytes of a boot's id */
/* The id of this boot, whose processes end with it: 0, or -errno and "". */
int mfd_life_boot(char boot[MFD_LIFE_BOOT]);

#define MFD_LIFE_MACHINE 128 /* bytes of a machine's id */
/* The id of this machine in /etc/machine-id, which outlives its boots: 0, or -errno and "". */
int mfd_life_machine(char id[MFD_LIFE_MACHINE]);
/* Nonzero: this is the machine of that id, or none is known (NULL). */
int mfd_life_is_machine(const char *id);

#endif
