/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The worker's event loop: signals, a person, the target, the plugin, and between two events a step
 * of a stage (stages.h).
 */
#ifndef MFD_LOOP_H
#define MFD_LOOP_H

struct mfd_worker;

/*
 * Go on until the session is decided (complete or running_complete): 0, and the target was still
 * connected then; else -errno with w->err filled.
 */
int mfd_loop_run(struct mfd_worker *w);
/*
 * Called now and then (mfd_uplink.waiting) while the main thread waits for a channel or for the
 * target's memory: what a person asks, CRIU's end, and the target's question for leave to run must
 * not wait until that is over.  0, or -errno with w->err filled: give the wait up.
 */
int mfd_loop_glance(void *worker);

#endif
