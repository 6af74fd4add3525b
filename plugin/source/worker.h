/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sender's worker: everything that one session is on the source.
 *
 * One main thread listens to the plugin, the target and a person, feeds the channels and decides; N
 * channel threads send (lib/multifd.h); the inbox thread reads the control connection and answers
 * faults (inbox.h).  The main thread's files, from the top:
 *
 *	worker.c		begin, end, another worker's heritage
 *	loop.c reconnect.c	the event loop; new connections after a loss
 *	verdict.c		how it ends
 *	stages.c messages.c	tables: what to do next; what the target says
 *	person.c link.c		tables: what a person asks; what the plugin asks
 *	decide.c		... and what follows from any of that
 *	send_phase.c		the phase, its transitions and invariants
 *	connect.c stream.c	the steps of the stages
 *	precopy.c		precopy; criterion.c says when it is enough
 *	give_way.c ...		what these use: ship, tasks, queue, uplink, release, summary, tell
 *
 * Order of a session:
 *
 *	START		connect, join, rounds		tasks still run
 *	TASK ...	executable pages, answer	every task frozen
 *	(loop)		all other pages			while CRIU dumps
 *	gate		images, sync, IMAGES		CRIU waits in accept()
 *	(loop)		the rest of the pages		postcopy, early; in other plans all
 *							pages come first
 *	all sent	sync, END
 *	NEED		what is missing, sync, END
 *	READY		commit: CRIU's dump succeeds, tasks die, COMMIT
 *			(confirm = restore: not before RESTORED, or STARTED, has come, too)
 *
 * Any failure before READY is an abort: CRIU's dump fails, the tasks run on, the target forgets the
 * session.  In postcopy, from STARTED_OK on, there is no abort any more but only recovery: hold.h
 * holds the tasks, and the sender needs CRIU for nothing, whose end is no failure.
 */
#ifndef MFD_WORKER_H
#define MFD_WORKER_H

#include <limits.h>

#include "desk.h"
#include "doubt.h"
#include "gate.h"
#include "give_way.h"
#include "inbox.h"
#include "latency.h"
#include "options.h"
#include "pluginlink.h"
#include "progress.h"
#include "reconnect.h"
#include "release.h"
#include "retry.h"
#include "precopy.h"
#include "send_phase.h"
#include "shared.h"
#include "ship.h"
#include "tasks.h"
#include "uplink.h"

/* CLOCK_MONOTONIC, 0 = has not happened; in the timeline of summary.c. */
struct mfd_send_times {
	uint64_t start_us, hello_us, joined_us, frozen_us, gate_us, images_us, sent_us, ready_us,
		restored_us, released_us, committed_us;
	uint64_t leave_us; /* STARTED_OK or COMMIT was sent: the tasks could run on the target */
	uint64_t phase_us; /* the phase was entered */
	/* the target's part of the downtime, a span by its own clock; 0 = not known */
	uint64_t resumed_us;
	uint64_t gate_looked_ms; /* the latest look for CRIU at its gate */
};

/* Of the target's figures, as COMMITTED says them. */
struct mfd_send_faults {
	struct mfd_latency_sum waited, network;
};

/* What was counted on connections that are lost. */
struct mfd_send_past {
	struct mfd_sendchan_stats channel[MFD_WIRE_MAX_CHANNELS], urgent;
	struct mfd_multifd_stats produced;
	uint64_t faults;
	unsigned reconnects;
};

/* Pages of large mappings, page-dump = plugin. */
struct mfd_send_listed {
	uint64_t pages;	  /* that this process has added to the images */
	uint64_t by_criu; /* that were in them */
};

#define MFD_DUMP_GOES_ON INT_MIN /* no result of CRIU */

struct mfd_worker {
	struct mfd_options *o;
	struct mfd_shared *sh; /* the phase is in it */
	int link;	       /* to the plugin, -1 = closed */
	int image_dir;	       /* CRIU's */
	int signals;	       /* signalfd: SIGTERM, SIGINT */
	int wake;	       /* eventfd: inbox or a failed channel */
	int desk;	       /* requests of a person, -1 = none */
	int log_fd;

	struct mfd_link_msg asked; /* the plugin's question that waits for a stage; type 0 = none */
	int dump_result;	   /* of the plugin's EXIT, else MFD_DUMP_GOES_ON */

	struct mfd_gate gate;
	struct mfd_uplink session;
	struct mfd_inbox inbox;
	struct mfd_precopy precopy; /* precopy */
	struct mfd_tasks tasks;
	struct mfd_ship ship;
	struct mfd_release release;
	struct mfd_give_way give_way;

	uint64_t sequence; /* next packet's */
	struct mfd_send_listed listed;
	uint64_t tasks_bytes; /* of all tasks so far, as mfd_estimate_task */
	struct mfd_send_times times;
	struct mfd_send_past past;
	struct mfd_send_faults fault_times;
	struct mfd_retry retry;
	struct mfd_progress *progress;
	struct mfd_doubt doubt;
	struct mfd_error err;
};

/*
 * The whole of it; the result is the process's exit code.  `takes_over`: a worker has died in a
 * phase from which another one goes on.
 */
int mfd_worker_main(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd,
		    int takes_over);

#endif
