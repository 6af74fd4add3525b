/* SPDX-License-Identifier: GPL-2.0-only */
/* The steps of a source in postcopy: restorable, restored, faults, and its return after a break. */
#ifndef PLAYERS_POSTCOPY_H
#define PLAYERS_POSTCOPY_H

#include <stdint.h>
#include <sys/types.h>

#include "source.h"

/* A session of task 7 up to IMAGES_OK: 16 lazy pages at BASE, of which the first two are sent. */
void source_to_restorable(struct source *s, const char *name);
/* Restore it (criu_restore) and give it leave to run. */
pid_t source_restored(struct source *s, int hold);
/* Expect FAULT, wait until the server knows the task as restored, and send that page alone. */
uint64_t source_answer_fault(struct source *s);
/* All of that: restorable, restored, and its first fault answered. */
pid_t source_to_running(struct source *s, const char *name, int hold);
/*
 * What a source does that returns while the restored task runs: it joins again, sends what NEED
 * asks for, ends and commits.
 */
void source_come_back(struct source *s);

#endif
