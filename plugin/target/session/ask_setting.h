/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Settings of the source that a person changes from here (criu-multifd set): the session's thread
 * asks by SET, the control connection's thread hears the answer, the thread of the request waits
 * for it.  One at a time.
 */
#ifndef MFD_SETTING_H
#define MFD_SETTING_H

#include <stdint.h>

#include "proto/control.pb-c.h"

struct mfd_session;
struct mfd_request;

#define MFD_SETTING_UNKNOWN UINT64_MAX

/* Everything under session->lock. */
struct mfd_settings {
	/* A boolean beside the phase: the source takes SET, whatever the phase. */
	int offered;
	struct mfd_request *request; /* waits for the answer to SET number `id` */
	uint32_t id;
	uint64_t end_ms;
	uint64_t max_bandwidth; /* the source's, bytes per second, or MFD_SETTING_UNKNOWN */
};

/* The session's thread.  NULL: asked, the request is answered later; else the answer. */
const char *mfd_setting_ask(struct mfd_session *s, struct mfd_request *r);
/*
 * Likewise: answers a request that has waited too long; `over`: whatever waits, the connection is
 * gone.
 */
void mfd_setting_tick(struct mfd_session *s, const char *over);

/* Connection threads. */
void mfd_setting_came(struct mfd_session *s, const Mfd__Setting *m);
/* HELLO, RESUME: may the source be asked, and what it goes by now, if it says. */
void mfd_setting_offered(struct mfd_session *s, int settings, int has_bandwidth,
			 uint64_t bandwidth);

#endif
