/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * runc and crun note in descriptors.json where a container's standard input, output and error went,
 * and their restore gives CRIU new pipes, of which the program that starts the restored container
 * holds the other ends.
 */
#ifndef MFD_CPR_RUNTIME_H
#define MFD_CPR_RUNTIME_H

/* Nonzero: the runtime that restores from this folder gives a descriptor of that name. */
int mfd_cpr_runtime_gives(int image_dir, const char *name);

#endif
