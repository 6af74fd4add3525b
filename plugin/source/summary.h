/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sender's last word: a line in the log, and multifd-send.json in CRIU's work directory.  By
 * the worker's main thread.
 */
#ifndef MFD_SUMMARY_H
#define MFD_SUMMARY_H

struct mfd_worker;

void mfd_summary_write(struct mfd_worker *w, const char *result);
/* Answer the request `status` of the desk's caller: the same as far as it is known. */
void mfd_summary_say(struct mfd_worker *w, int caller);
/* The connections are closed and will be made anew: add what they have counted to w->past. */
void mfd_summary_keep(struct mfd_worker *w);

#endif
