/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu restore as the server runs it, confirm = restore.
 *
 *	worker -- fork, exec --> criu-multifd restore --from-server	(restore_child.c)
 *				   |  network namespace; with its own pid namespace: unshare, fork
 *				   +-> warden: init of that namespace, else a subreaper
 *					 +-> criu restore --lazy-pages --leave-stopped, ends
 *					 +-> the restored tasks
 *
 * The warden is the ancestor of everything restored, so what must be continued or killed is found.
 * It is a child of init alone, lives as long as a restored task, and outlives the server.  In a pid
 * namespace of their own restored pids never clash.  It holds the userfaultfds of the tasks that
 * lack pages (warden_link.h).
 */
#ifndef MFD_RESTORE_RUN_H
#define MFD_RESTORE_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "restore_hold.h"
#include "restore_phase.h"
#include "threads.h"
#include "warden_link.h"

#define MFD_RESTORE_LOG	   "restore.log" /* in the session's folder */
#define MFD_RESTORE_ERRORS "restore.err" /* CRIU's standard error */
#define MFD_RESTORE_PID	   ".restore.pid"

/* How a server restores; constant. */
struct mfd_restore_host {
	const char *criu, *plugins; /* plugins: for --libdir; may be NULL */
	const char *version;	    /* of criu: "4.2.1" */
	const char *netns; /* network namespace of what is restored; NULL: the server's own */
	int own_pids;	   /* nonzero: in a new pid namespace; 0: in the server's */
	const char *const *options; /* words for criu's command line, always */
	size_t n_options;
};

/* What is restored, and how its end is told; constant once mfd_restore_init was called. */
struct mfd_restore_what {
	const char *name;		     /* for the log */
	const struct mfd_restore_host *host; /* ... and for the process that runs criu */
	struct mfd_threads *pool;	     /* for the thread that waits for CRIU's end */
	pthread_mutex_t *lock;		     /* guards the fields that are named below */
	pthread_cond_t *cond;		     /* signalled when CRIU has ended */
	/* That thread has started (ref), and has nothing of its caller's any more (unref). */
	void (*ref)(void *arg);
	void (*unref)(void *arg);
	void *arg;
};

/*
 * One restore at a time.  Belongs to one thread of its owner (the session's) but for the fields
 * under the lock.
 */
struct mfd_restore {
	struct mfd_restore_what what;
	/* restore_phase.h: written by mfd_restore_enter() alone, with the lock */
	_Atomic enum mfd_restore_phase phase;
	pid_t warden; /* 0 = none; valid while warden_fd says so */
	int warden_fd;
	int link;		      /* to the warden; of the thread that waits for CRIU's end */
	struct mfd_warden_link holds; /* to it as well; any thread, also when it is released */
	pid_t root;		      /* first task, as seen here; 0 = not known */
	pid_t *tasks; /* to be continued; those that were stopped when they were dumped stay so */
	size_t n_tasks;
	size_t n_alive; /* of everything restored, zombies apart, when it was noted */
	int dirfd;	/* the session's folder, which stays open; -1 until it is needed */
	struct mfd_restore_hold hold; /* in STOPPED */

	/* what.lock: how CRIU has ended */
	int code; /* 0, or -errno and text */
	char text[480];
};

static inline enum mfd_restore_phase mfd_restore_phase(const struct mfd_restore *r)
{
	return atomic_load(&r->phase);
}

/* CRIU is at work, or its end was not looked at yet. */
static inline int mfd_restore_is_under_way(const struct mfd_restore *r)
{
	enum mfd_restore_phase phase = mfd_restore_phase(r);

	return phase == MFD_RESTORE_AT_WORK || phase == MFD_RESTORE_ENDED;
}

/* All tasks exist, whether they run or not. */
static inline int mfd_restore_has_tasks(const struct mfd_restore *r)
{
	return mfd_restore_phase(r) >= MFD_RESTORE_STOPPED;
}

/* What the child says on its descriptor 3; and what it is told there, before it starts CRIU. */
enum mfd_restore_word {
	MFD_RESTORE_WARDEN = 1,
	MFD_RESTORE_CRIU_ENDED,
	MFD_RESTORE_FAILED,
	MFD_RESTORE_GO, /* to the child: no userfaultfd comes before its warden can be reached */
};
struct mfd_restore_news {
	uint32_t word;
	int32_t value; /* WARDEN: pid; CRIU_ENDED: as waitpid() says */
	/* FAILED; WARDEN: its scope, "" without systemd, "-" and why there is none */
	char text[264];
};

void mfd_restore_init(struct mfd_restore *r, const struct mfd_restore_what *what);
/*
 * In NONE: start it, from the images in dirfd, with options (n of them, without dashes) for criu.
 * 0 and AT_WORK, or -errno with a sentence in text and NONE.  ENDED tells its end.
 */
int mfd_restore_start(struct mfd_restore *r, int dirfd, char *const *options, size_t n, char *text,
		      size_t len);
/* In ENDED: how CRIU has ended: 0, or -errno and a sentence in text. */
int mfd_restore_result(struct mfd_restore *r, char *text, size_t len);
/* In ENDED, after a result of 0: find root and tasks.  0 and STOPPED, or -errno. */
int mfd_restore_note_tasks(struct mfd_restore *r, int dirfd);
/*
 * In STOPPED.  0: what was noted is all there still.  Stopped tasks die by no will of theirs (the
 * OOM killer): -ESRCH.  Or another -errno: that cannot be told.
 */
int mfd_restore_look_again(const struct mfd_restore *r);
/* In any phase: nonzero when a task is first seen to have run though it is held (hold.ran). */
int mfd_restore_look_at_hold(struct mfd_restore *r);
/*
 * In NONE, after the death of the worker that restored them: the warden from the notes in dirfd;
 * finds its tasks.  STOPPED in either case; 0, or -ESRCH: it has ended.
 */
int mfd_restore_adopt(struct mfd_restore *r, int dirfd);
/* In STOPPED. */
void mfd_restore_continue(struct mfd_restore *r);
/* The warden, and with it at least one task, lives. */
int mfd_restore_warden_lives(const struct mfd_restore *r);
/* In any phase: kill everything, and wait. */
void mfd_restore_kill(struct mfd_restore *r);
/* In any phase: the tasks are on their own now. */
void mfd_restore_release(struct mfd_restore *r);
/* The last of all. */
void mfd_restore_free(struct mfd_restore *r);

/* restore_child.c: `restore --from-server own|host NETNS|- FOLDER CRIU ARGUMENTS...` */
int mfd_restore_child(int argc, char **argv);

#endif
