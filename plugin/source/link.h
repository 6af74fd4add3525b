/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The link to the plugin in CRIU's process (lib/pluginlink.h): reading its questions, answering.
 *
 * The plugin asks one question at a time.  START and TASK are the business of a stage: they are put
 * into w->asked, and the stage answers.  FINISH and EXIT mean that CRIU's dump ended without a
 * verdict of ours; both are an error.  By the worker's main thread alone.
 */
#ifndef MFD_LINK_H
#define MFD_LINK_H

#include "pluginlink.h"

struct mfd_worker;

/* Read one question, which poll(2) has announced.  0, or -errno with w->err filled. */
int mfd_link_read(struct mfd_worker *w);
/* After a verdict: wait up to ms for a question; each but EXIT's gets `answer`, EXIT, too. */
void mfd_link_serve(struct mfd_worker *w, enum mfd_link_type answer, const char *text, int ms);
/* Answer the stage's question, which is over then. */
void mfd_link_answer(struct mfd_worker *w, enum mfd_link_type type, const char *text);
/* The same with OK and a descriptor, which is closed; -1: none. */
void mfd_link_answer_with(struct mfd_worker *w, int fd);
/* Send a message; a link that is closed takes none. */
void mfd_link_say(struct mfd_worker *w, enum mfd_link_type type, int value, const char *text);

#endif
