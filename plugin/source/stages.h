/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the source does, as data: one row for each stage of a session, in the order of precedence.
 * The event loop (loop.c) walks the rows; a new stage is a row and its three functions.
 *
 *	stage		its turn			a step of it
 *	connect		the plugin's START waits	hello, joins; tasks still run
 *	exec pages	the plugin's TASK waits		the executable pages of one frozen task
 *	gate		CRIU dumps			look whether CRIU stands at its gate
 *	late		dumped, and pages were sent in	one payload of what the rounds sent and is
 *			rounds				no longer so
 *	images		dumped, and the plan has images	every image, sync, IMAGES
 *			first or no page is left
 *	pages		some page is left to send	one payload
 *	end		images are sent and no page	sync, END
 *			is left
 *	verify		END is sent			none: READY, or NEED, is awaited
 *	restored	RESTORED is awaited		none, but restore-timeout ends it
 *
 * Walk: the first stage in whose turn something was done ends the walk, so that the loop looks at
 * events between two steps.  The loop then waits for an event, but no longer than the stages say
 * whose turn it is.
 */
#ifndef MFD_STAGES_H
#define MFD_STAGES_H

#include <stddef.h>

struct mfd_worker;

struct mfd_stage {
	const char *name;
	/* Nonzero: it is this stage's turn. */
	int (*ready)(const struct mfd_worker *w);
	/*
	 * One step.  0: nothing could be done now; an enum mfd_send_event: something was done;
	 * -errno with w->err filled.
	 */
	int (*run)(struct mfd_worker *w);
	/*
	 * Asked while it is the stage's turn: for how many ms the loop may wait for an event before
	 * the next step.  0: not at all, the stage is busy; -1: until there is one.
	 */
	int (*busy)(const struct mfd_worker *w);
};

extern const struct mfd_stage mfd_stages[];
extern const size_t mfd_stages_n;

/* Walk the table once: 0, an enum mfd_send_event, or -errno. */
int mfd_stages_step(struct mfd_worker *w);
/* How long the loop may wait, in ms; -1: until there is an event. */
int mfd_stages_wait_ms(const struct mfd_worker *w);

#endif
