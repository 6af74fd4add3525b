/* SPDX-License-Identifier: GPL-2.0-only */
/* Names of threads, as top -H, gdb and perf show them: "mfd-send-0". */
#ifndef MFD_THREADNAME_H
#define MFD_THREADNAME_H

/* The calling thread; `what` has at most 6 characters, else the name is cut. */
void mfd_threadname_set(const char *what, unsigned number);

#endif
