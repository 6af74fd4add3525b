/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the plugin (inside CRIU) and the sender say to each other over a SOCK_SEQPACKET socketpair:
 * fixed-size messages, strictly question and answer but for LEAVE and VERDICT, which the sender
 * sends once, unasked.
 *
 *	plugin				sender
 *	START (+ image folder)	->	its text: CRIU's name for its run, if it has one
 *				<-	OK: connected, channels joined
 *					| FAILED: text (nothing may be frozen)
 *	FREEZE			->	its text: the folder of a control group that CRIU freezes
 *					next (--freeze-cgroup)
 *				<-	OK: noted | FAILED
 *	TASK pid		->	(every task is frozen)
 *				<-	OK: its executable anonymous pages have been read | FAILED
 *					With page-dump = plugin and large mappings: a file of
 *					struct mfd_link_range, whose pages the sender lists
 *	FINISH ret		->	(CRIU >= 4.3, tasks still frozen)
 *				<-	OK | FAILED: the dump must fail
 *				<-	LEAVE, postcopy only: before the restored tasks may run
 *				<-	VERDICT commit | abort: before the sender opens the gate
 *	EXIT ret		->	(tasks still frozen; they die or run next)
 *				<-	OK text, FAILED text: for CRIU's log, in short time
 *					| HELD text: they stay frozen, and their network locked
 *
 * A side that finds the socket closed knows that the other process has ended: the sender aborts the
 * session, the plugin makes CRIU's dump fail (plugin/hooks/deadman.c) unless LEAVE lies in the
 * queue. A commit verdict there changes nothing: if CRIU still waits then, the sender has not
 * opened the gate, and never will.
 *
 * The gate (plugin/source/gate.h) is a pair of connected sockets that the plugin makes in CRIU's
 * process, at two fixed numbers: CRIU reads from the one, and takes the end of that stream for
 * success and a byte for failure.  The sender copies the other with pidfd_getfd(); it stays open in
 * CRIU's process, too, so that the death of a sender is no end of the stream.
 */
#ifndef MFD_PLUGINLINK_H
#define MFD_PLUGINLINK_H

#include <stdint.h>

enum mfd_link_type {
	MFD_LINK_START = 1,
	MFD_LINK_TASK,
	MFD_LINK_FINISH,
	MFD_LINK_EXIT,
	MFD_LINK_OK,
	MFD_LINK_FAILED,
	MFD_LINK_COMMIT, /* verdicts */
	MFD_LINK_ABORT,
	/* Instead of FAILED, as the answer to EXIT: the tasks stay frozen, held by the sender. */
	MFD_LINK_HELD,
	MFD_LINK_LEAVE, /* from here on the tasks must not run on by themselves, whatever dies */
	MFD_LINK_FREEZE,
};

struct mfd_link_msg {
	uint32_t type;	/* enum mfd_link_type */
	int32_t value;	/* pid, or the result CRIU gave */
	char text[504]; /* NUL-terminated */
};
/* A mapping: addresses, the end excluded. */
struct mfd_link_range {
	uint64_t start, end;
};
_Static_assert(sizeof(struct mfd_link_msg) == 512, "one size for all messages");

/*
 * The descriptor numbers at which the plugin gives the sender its end of the link and its
 * configuration.
 */
#define MFD_LINK_FD   3
#define MFD_LINK_CONF 4

/*
 * The numbers of the gate's two ends in CRIU's process.  Users write the first one (criu dump
 * --ps-socket 512), so it never changes.  Below 1024, which may be all that CRIU may open, and well
 * below the numbers that CRIU reserves at the end of that range.
 */
#define MFD_LINK_GATE_CRIU   512
#define MFD_LINK_GATE_SENDER 513

#endif
