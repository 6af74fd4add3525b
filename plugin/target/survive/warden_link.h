/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a worker asks of the warden of the tasks that it has restored: to hold a copy of each of
 * their userfaultfds, and to close it.
 *
 * Every process of the server may be killed at once.  The warden (../restore/restore_run.h) is none
 * of them, and as long as it holds a copy a task waits at a missing page instead of reading zeros.
 *
 * The warden has both ends of a socket, MFD_WARDEN_END and MFD_WARDEN_OWN, from before CRIU runs
 * until it ends.  A worker copies MFD_WARDEN_END out of it by pidfd_getfd(), for which the kernel
 * asks for the rights of a tracer.  The first worker and each later one do the same, so none of
 * them leaves anything to the next, and the socket never hangs up.  The warden answers nothing: a
 * message in its socket holds the descriptor that comes with it.
 *
 * A warden may be of another version than the worker: no number here changes its meaning.
 */
#ifndef MFD_WARDEN_LINK_H
#define MFD_WARDEN_LINK_H

#include <pthread.h>
#include <stdint.h>

enum { MFD_WARDEN_END = 4, MFD_WARDEN_OWN = 5 }; /* descriptors of the warden */

enum mfd_warden_word {
	MFD_WARDEN_KEEP = 1, /* this userfaultfd */
	MFD_WARDEN_DROP,     /* this one */
	MFD_WARDEN_DROP_ALL,
};
struct mfd_warden_msg {
	uint32_t word;
};

/* Any thread, once it is initialized. */
struct mfd_warden_link {
	pthread_mutex_t lock;
	int pidfd; /* of the warden; -1: there is none */
	int sock;  /* copy of its MFD_WARDEN_END; -1: not fetched yet */
};

void mfd_warden_link_init(struct mfd_warden_link *l); /* to none */
/* To the warden behind pidfd, which stays the caller's: 0 or -errno. */
int mfd_warden_link_set(struct mfd_warden_link *l, int pidfd);
/* To the one that the session's folder names; or none, if that has ended: 0 or -errno. */
int mfd_warden_link_find(struct mfd_warden_link *l, int dirfd);
void mfd_warden_link_close(struct mfd_warden_link *l);

/*
 * For guard.h alone.  With no warden, one that has ended, and one of a version that holds nothing,
 * all is well.  Else 0 or -errno, which is in the log.
 */
int mfd_warden_keep(struct mfd_warden_link *l, const char *session, int uffd);
int mfd_warden_drop(struct mfd_warden_link *l, const char *session, int uffd);
int mfd_warden_drop_all(struct mfd_warden_link *l, const char *session);

#endif
