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
 * The warden is the ancestor of everything restored, so what must be continued or killed is found;
 * it belongs to nobody but init, lives as long as a restored task, and outlives the server.  In a
 * pid namespace of their own restored pids never clash.
 *
 * struct mfd_restore is the session thread's but for the fields under session->lock.
 */
#ifndef MFD_RESTORER_H
#define MFD_RESTORER_H

#include <stdint.h>
#include <sys/types.h>

#define MFD_RESTORE_LOG	   "restore.log" /* in the session's folder */
#define MFD_RESTORE_ERRORS "restore.err" /* CRIU's standard error */
#define MFD_RESTORE_PID	   ".restore.pid"

struct mfd_session;

struct mfd_restore {
	pid_t warden; /* 0 = none; valid while warden_fd says so */
	int warden_fd;
	int link;     /* from the warden; its thread's */
	int ok;	      /* CRIU said so: all tasks exist, stopped */
	int resumed;  /* ... and were continued */
	pid_t root;   /* first task, as seen here; 0 = not known */
	pid_t *tasks; /* to be continued; those that were stopped when they were dumped stay so */
	size_t n_tasks;
	size_t n_alive;	  /* of everything restored, zombies apart, when it was noted */
	size_t n_stopped; /* of those */

	/* session->lock */
	int busy; /* CRIU is at work */
	int done; /* it has ended and nobody has looked yet */
	int code; /* 0, or -errno and text */
	char text[480];
};

/* What the child says on its descriptor 3. */
enum mfd_restorer_word { MFD_RESTORER_WARDEN = 1, MFD_RESTORER_ENDED, MFD_RESTORER_FAILED };
struct mfd_restorer_msg {
	uint32_t word;
	int32_t value;	/* WARDEN: pid; ENDED: as waitpid() says */
	char text[248]; /* FAILED */
};

/*
 * restorer.c.  Start it: 0 and `busy`, or -errno with a sentence in text; its end is told by
 * `done`.
 */
int mfd_restorer_start(struct mfd_session *s, char *text, size_t len);
int mfd_restorer_note_tasks(struct mfd_session *s); /* fills root and tasks */
/*
 * 0: what was noted is all there still, stopped tasks die by no will of theirs (the OOM killer);
 * -ESRCH: it is not; or another -errno.
 */
int mfd_restorer_look_again(const struct mfd_session *s);
/*
 * The warden of a worker that died, from MFD_SESSION_ATTACHED; fills tasks. -ESRCH: it has ended.
 */
int mfd_restorer_adopt(struct mfd_session *s);
void mfd_restorer_continue(struct mfd_session *s);
void mfd_restorer_kill(struct mfd_session *s);	  /* everything, and wait */
void mfd_restorer_release(struct mfd_session *s); /* they are on their own now */

/* restore_child.c: `restore --from-server own|host NETNS|- FOLDER CRIU ARGUMENTS...` */
int mfd_restore_child(int argc, char **argv);

#endif
