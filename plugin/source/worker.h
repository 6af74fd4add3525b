/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sender's worker: one main thread that listens to the plugin, feeds the channels and decides;
 * N channel threads; one inbox thread.  worker.c is its event loop, stream.c what it sends,
 * verdict.c how it ends.
 *
 * Order of a session, main thread:
 *
 *	START		connect, join			tasks still run
 *	TASK ...	executable pages, answer	every task frozen
 *	(loop)		all other pages			while CRIU dumps
 *	gate		images, sync, IMAGES		CRIU waits in accept()
 *	(loop)		the rest of the pages		in postcopy, and where the target restores early; else all pages come first
 *	all sent	sync, END
 *	NEED		what is missing, sync, END	at most once
 *	READY		commit: CRIU's dump succeeds, tasks die, COMMIT
 *			(confirm = restore: not before RESTORED, or STARTED, has come, too)
 *
 * Any failure before READY is an abort: CRIU's dump fails, the tasks run on, the target forgets the
 * session.  In postcopy, from STARTED_OK on, there is no abort any more but only recovery.
 */
#ifndef MFD_WORKER_H
#define MFD_WORKER_H

#include "desk.h"
#include "gate.h"
#include "inbox.h"
#include "options.h"
#include "pluginlink.h"
#include "progress.h"
#include "release.h"
#include "uplink.h"
#include "shared.h"
#include "ship.h"
#include "tasks.h"

struct mfd_worker {
	struct mfd_options *o;
	struct mfd_shared *sh;
	int link;      /* to the plugin, -1 = closed */
	int image_dir; /* CRIU's */
	int signals;   /* signalfd: SIGTERM, SIGINT */
	int wake;      /* eventfd: inbox or a failed channel */
	int desk;      /* requests of a person, -1 = none */
	int log_fd;

	struct mfd_gate gate;
	int gate_open;
	int few_cpus; /* CRIU and all channels at once would be too many */
	/* while it gives way: the next payload waits so long */
	uint64_t rest_from_us, rest_until_us;
	/* as the latest step has found it: the next one has to wait for time to pass */
	int rests_now;
	uint64_t rests, rested_us; /* so far */
	atomic_int gentle;	   /* see mind_manners in stream.c; read by the channels */
	uint64_t gate_looked_ms;

	struct mfd_uplink session;
	struct mfd_inbox inbox;
	struct mfd_tasks tasks;
	struct mfd_ship ship;
	uint64_t sequence; /* next packet's */
	int images_sent, end_sent, ready;
	int verified,
		/*
		 * READY; RESTORED or what implies it.  Both, or the first alone without confirm:
		 * ready
		 */
		restored;
	uint64_t restore_end_ms;	    /* when waiting for RESTORED ends, 0 = not waiting */
	int dump_result_known, dump_result; /* EXIT of the plugin */
	struct mfd_release release;

	uint64_t tasks_bytes; /* of all tasks so far, as mfd_estimate_task */
	/* CLOCK_MONOTONIC; 0 = has not happened. In summary.c's timeline. */
	uint64_t start_us, hello_us, joined_us, frozen_us, gate_us, images_us, sent_us, ready_us,
		restored_us, released_us, committed_us;
	/* likewise: COMMIT or STARTED_OK was sent, so that the tasks could run on the target */
	uint64_t leave_us;
	/* the target's part of the downtime, by its own clock; 0 = not known */
	uint64_t resumed_us;
	struct mfd_progress *progress;
	unsigned reconnects;
	/* What was counted on connections that are lost; the urgent channel's comes last. */
	struct mfd_sendchan_stats past[MFD_WIRE_MAX_CHANNELS + 1];
	struct mfd_multifd_stats past_produced;
	uint64_t past_faults;
	struct mfd_error err;
};

/*
 * The whole of it; the result is the process's exit code.  `recover`: a worker has died in phase
 * RUNNING, take over.
 */
int mfd_worker_main(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd,
		    int recover);

/* stream.c: each returns 0 or -errno with w->err set. */
int mfd_stream_task(struct mfd_worker *w, pid_t pid); /* TASK */
/* send something, if there is anything to send */
int mfd_stream_step(struct mfd_worker *w, int *busy);
int mfd_stream_need(struct mfd_worker *w, const ProtobufCMessage *need);

/* verdict.c */
int mfd_verdict_commit(struct mfd_worker *w);
/* Nonzero: it was too late, the tasks have died and the target has been told to run. */
int mfd_verdict_abort(struct mfd_worker *w);
/*
 * Tell the target over a new connection how it ended, until it answers or give_up_ms have passed.
 */
int mfd_verdict_tell(struct mfd_options *o, struct mfd_shared *sh, const char *outcome,
		     unsigned give_up_ms, struct mfd_error *err);

/* summary.c: one line in the log, multifd-send.json in the work directory. */
void mfd_summary_write(struct mfd_worker *w, const char *result);
void mfd_summary_say(struct mfd_worker *w, int caller); /* the desk's: the same as far as it is */
/* the connections have been closed and will be made anew */
void mfd_summary_keep(struct mfd_worker *w);

void mfd_worker_reply(struct mfd_worker *w, enum mfd_link_type type, int value, const char *text);

#endif
