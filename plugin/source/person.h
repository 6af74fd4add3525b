/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a person asks of the sender: by a request at the desk (desk.h), by SIGTERM or SIGINT.  Which
 * verb does what in which situation is a table in person.c.
 */
#ifndef MFD_PERSON_H
#define MFD_PERSON_H

struct mfd_worker;

/*
 * Take what poll(2) has announced on w->signals or w->desk.  0: nothing, or it has been answered;
 * an enum mfd_send_event; -errno with w->err filled: the session shall end.
 */
int mfd_person_signal(struct mfd_worker *w);
int mfd_person_desk(struct mfd_worker *w);
/* Wait up to ms for a request or a signal, and take what has come; returned as above. */
int mfd_person_wait(struct mfd_worker *w, int ms);
/*
 * The same when the tasks here are dead, and nothing has failed by it.  Nonzero: this process is
 * not to tell the target any more; > 0: no other one either.
 */
int mfd_person_rest(struct mfd_worker *w, int ms);

#endif
