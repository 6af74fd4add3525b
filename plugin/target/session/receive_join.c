// SPDX-License-Identifier: GPL-2.0-only
/* A data or urgent connection joins its session, and is told so; receive.c reads its packets. */
#include <endian.h>

#include "log.h"
#include "session.h"

void mfd_receive_answer(struct mfd_peer *p, unsigned status)
{
	struct mfd_wire_joined j = {
		.magic = htole32(MFD_WIRE_MAGIC_GREETING),
		.status = htole16((uint16_t)status),
		.version = htole16(MFD_WIRE_VERSION),
	};

	mfd_conn_send(&p->control.conn, &j, sizeof(j), 0);
}

void mfd_receive_main(struct mfd_peer *p, const struct mfd_wire_greeting *g)
{
	unsigned channel = g->role == MFD_WIRE_ROLE_URGENT ? MFD_SESSION_URGENT : g->channel;
	struct mfd_session *s = mfd_session_find_id(p, g);
	unsigned status = MFD_WIRE_JOIN_SESSION;

	if (s)
		status = channel > MFD_SESSION_URGENT || (channel == MFD_SESSION_URGENT &&
							  g->role == MFD_WIRE_ROLE_DATA) ?
				 MFD_WIRE_JOIN_CHANNEL :
				 mfd_session_join(s, p, channel);
	if (status) {
		mfd_log_warn("%s: channel refused: %s", p->text, mfd_wire_join_error(status));
		mfd_receive_answer(p, status);
	} else {
		mfd_peer_admit(p);
		/*
		 * The answer is sent after the session has counted the channel, so that a source
		 * that has all its answers also gets JOINED; a failure shows as the end of the
		 * connection.
		 */
		mfd_receive_answer(p, MFD_WIRE_JOIN_OK);
		mfd_receive_all(s, p, channel);
	}
	mfd_session_put(s);
}
