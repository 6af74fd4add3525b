/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that give way: in postcopy the process stands still while CRIU dumps and restores it, and
 * on a host with few processors the bulk of its pages must not take them from CRIU.  And threads
 * that go first.
 */
#ifndef MFD_GENTLE_H
#define MFD_GENTLE_H

enum mfd_gentle_degree {
	MFD_GENTLE_NOT,	   /* as it was */
	MFD_GENTLE_BEHIND, /* behind everything else that wants to run */
	MFD_GENTLE_ASIDE,  /* it leaves most to programs that are at work, and keeps a part */
};

/* Of one thread; zeroed at the start. */
struct mfd_gentle {
	int known, base; /* nice value to come back to */
	int refused;	 /* the thread could not come back (no CAP_SYS_NICE), so it never goes */
	enum mfd_gentle_degree is;
};

/* The calling thread, whose g it is.  Cheap when nothing changes. */
void mfd_gentle_be(struct mfd_gentle *g, enum mfd_gentle_degree gentle);

/*
 * The calling thread, for good: ahead of the bulk.  It has a part in answering faults, for each of
 * which a task waits through several threads on two hosts, while other threads move pages that no
 * task waits for.  Without CAP_SYS_NICE it stays where it is.
 */
void mfd_gentle_first(void);

/*
 * All processes of the caller's session, which the kernel may schedule as one
 * (CONFIG_SCHED_AUTOGROUP): behind other sessions, or beside them.  A nice value counts only among
 * those of one session there.
 */
void mfd_gentle_session(int gentle);

#endif
