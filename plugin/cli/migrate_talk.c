// SPDX-License-Identifier: GPL-2.0-only
/* PROBE and PROBED in turn, each within its time. */
#include <errno.h>
#include <signal.h>

#include "io.h"
#include "migrate_talk.h"
#include "secure.h"
#include "sock.h"
#include "wire.h"

#define LOOK_MS	 50   /* for a signal, meanwhile */
#define STALL_MS 9000 /* longer than any step: what TCP says of the path then is still to be seen */

static int dial(struct mfd_migrate_talk *t, struct mfd_error *err)
{
	const struct mfd_options *o = &t->m->o;
	struct mfd_conn_config cfg = { .connect_ms = o->connect_timeout,
				       .stall_ms = t->ms > STALL_MS ? t->ms : STALL_MS };
	struct mfd_wire_greeting g = { .role = MFD_WIRE_ROLE_CONTROL };
	struct mfd_sock_addr to;
	int ret = mfd_sock_parse(o->target, 0, &to, err);

	if (!cfg.connect_ms || cfg.connect_ms > t->ms)
		cfg.connect_ms = t->ms;
	ret = ret ? ret : mfd_secure_load(o, &cfg.security, err);
	ret = ret ? ret : mfd_conn_connect(&t->control.conn, &to, -1, NULL, &cfg, err);
	if (ret)
		return ret;
	mfd_wire_greeting_seal(&g);
	return mfd_conn_send(&t->control.conn, &g, sizeof(g), 0);
}

int mfd_migrate_talk_open(struct mfd_migrate_talk *t, const struct mfd_migrate *m, unsigned ms,
			  struct mfd_error *err)
{
	*t = (struct mfd_migrate_talk){ .m = m, .ms = ms };
	mfd_control_init(&t->control);
	return dial(t, err);
}

void mfd_migrate_talk_close(struct mfd_migrate_talk *t)
{
	mfd_control_close(&t->control);
}

int mfd_migrate_talk_ask(struct mfd_migrate_talk *t, const Mfd__Probe *p)
{
	if (mfd_conn_path(&t->control.conn, &t->before))
		t->before = (struct mfd_tcppath){ 0 };
	return mfd_control_send(&t->control, MFD_WIRE_PROBE, &p->base);
}

/*
 * Until it answers, or a person will not wait: migrate's signals are blocked, and seen to when CRIU
 * is started.
 */
static int await(struct mfd_migrate_talk *t)
{
	uint64_t now = mfd_io_now_ms(), end = now + t->ms;
	sigset_t pending;
	int ret = 0;

	while (!ret && now < end) {
		sigpending(&pending);
		if (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM))
			return -EINTR;
		ret = mfd_conn_wait(&t->control.conn, LOOK_MS);
		now = mfd_io_now_ms();
	}
	return ret < 0 ? ret : ret ? 0 : -ETIMEDOUT;
}

int mfd_migrate_talk_hear(struct mfd_migrate_talk *t, Mfd__Probed **r, struct mfd_error *err)
{
	ProtobufCMessage *msg = NULL;
	unsigned type = 0;
	int ret = await(t);

	*r = NULL;
	ret = ret ? ret : mfd_control_recv(&t->control, &type, &msg, NULL);
	if (!ret && type == MFD_WIRE_PROBED) {
		*r = (Mfd__Probed *)msg;
		return 0;
	}
	if (!ret && type == MFD_WIRE_ABORT && ((const Mfd__Abort *)msg)->code == -EPROTO)
		ret = -EPROTONOSUPPORT;
	else if (!ret && type == MFD_WIRE_ABORT)
		ret = mfd_error_set(err, -EPERM, "%.400s", ((const Mfd__Abort *)msg)->reason);
	else if (!ret)
		ret = -EPROTO;
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

void mfd_migrate_talk_free(Mfd__Probed **r)
{
	if (*r)
		protobuf_c_message_free_unpacked(&(*r)->base, NULL);
	*r = NULL;
}
