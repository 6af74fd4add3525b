/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What programs see of this host's processor: features that one may have found at its start, and
 * uses wherever it is moved to.
 */
#ifndef MFD_HOSTCPU_H
#define MFD_HOSTCPU_H

#include <stddef.h>
#include <stdint.h>

struct mfd_hostcpu {
	char machine[65]; /* uname -m */
	char *flags;	  /* of the first processor in /proc/cpuinfo, words; NULL: not known */
	/* x86: as criu's --cpu-cap=fpu compares them; 0: there is no xsave */
	uint64_t xfeatures;  /* XCR0: the parts of the registers that the kernel keeps */
	uint32_t xsave_size; /* bytes of the parts that the kernel has enabled */
};

/* Fills *c, as far as it can be known; free it in either case. */
void mfd_hostcpu(struct mfd_hostcpu *c);
void mfd_hostcpu_free(struct mfd_hostcpu *c);
/*
 * The words of `here` that programs of this machine may use and that `there` does not have: how
 * many.  text: their names, as many as fit.
 */
size_t mfd_hostcpu_lacking(const char *here, const char *there, char *text, size_t len);

#endif
