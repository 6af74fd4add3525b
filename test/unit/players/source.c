// SPDX-License-Identifier: GPL-2.0-only
/* A source played by hand: its connections and its messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk.h"
#include "joinproof.h"
#include "server.h"
#include "source.h"

void source_init(struct source *s, const char *name)
{
	memset(s, 0, sizeof(*s));
	s->name = name;
	mfd__end__init(&s->end);
	mfd_control_init(&s->c);
}

void source_close(struct source *s)
{
	unsigned i;

	mfd_control_close(&s->c);
	for (i = 0; i <= MAXCH; i++)
		mfd_conn_close(&s->ch[i]);
}

const struct mfd_conn_security *source_security;

const char *source_from;

static int bound(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd;

	if (!source_from)
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(inet_pton(AF_INET, source_from, &a.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

void source_dial(struct mfd_conn *c)
{
	const struct mfd_conn_config cfg = { .security = source_security, .connect_ms = 5000 };
	struct mfd_error err = { 0 };
	int fd = mfd_sock_connect(&server_addr, bound(), 2000, &err);

	assert_true(fd >= 0);
	mfd_sock_tune(fd, 10000);
	mfd_conn_plain(c, fd);
	if (mfd_conn_handshake(c, MFD_CONN_SOURCE, &cfg, &err))
		fail_msg("%s", err.text);
}

void source_send_greeting(struct mfd_conn *c, struct mfd_wire_greeting *g)
{
	mfd_wire_greeting_seal(g);
	assert_int_equal(mfd_conn_send(c, g, sizeof(*g), 0), 0);
}

void source_greet(struct mfd_conn *c, unsigned role, unsigned channel, const uint8_t *id,
		  const uint8_t *secret)
{
	struct mfd_joinproof j;
	struct mfd_wire_greeting g = { .magic = MFD_WIRE_MAGIC_GREETING,
				       .version = MFD_WIRE_VERSION };

	g.role = (uint8_t)role;
	g.channel = (uint16_t)channel;
	if (id)
		memcpy(g.session, id, sizeof(g.session));
	if (secret) {
		assert_int_equal(mfd_joinproof_begin(&j, c, &g), 0);
		mfd_joinproof_make(&j, secret, g.secret);
	}
	source_send_greeting(c, &g);
}

ProtobufCMessage *source_next(struct source *s, unsigned *type)
{
	struct mfd_error err = { 0 };
	ProtobufCMessage *m;

	for (;;) {
		if (mfd_control_recv(&s->c, type, &m, &err))
			return NULL;
		if (*type != MFD_WIRE_PING && *type != MFD_WIRE_PONG)
			return m;
		protobuf_c_message_free_unpacked(m, NULL);
	}
}

static ProtobufCMessage *expected(ProtobufCMessage *m, unsigned type, unsigned want)
{
	if (!m)
		fail_msg("connection ended instead of %s", mfd_wire_msg_name(want));
	if (type != want && type == MFD_WIRE_ABORT)
		fail_msg("ABORT instead of %s: %s", mfd_wire_msg_name(want),
			 ((Mfd__Abort *)m)->reason);
	if (type != want)
		fail_msg("%s instead of %s", mfd_wire_msg_name(type), mfd_wire_msg_name(want));
	return m;
}

ProtobufCMessage *source_expect(struct source *s, unsigned want)
{
	unsigned type = 0;
	ProtobufCMessage *m = source_next(s, &type);

	return expected(m, type, want);
}

void source_expect_free(struct source *s, unsigned want)
{
	protobuf_c_message_free_unpacked(source_expect(s, want), NULL);
}

void source_expect_abort(struct source *s, const char *why)
{
	Mfd__Abort *a = (Mfd__Abort *)source_expect(s, MFD_WIRE_ABORT);

	if (!strstr(a->reason, why))
		fail_msg("\"%s\" does not mention \"%s\"", a->reason, why);
	protobuf_c_message_free_unpacked(&a->base, NULL);
}

void source_expect_end(struct source *s)
{
	unsigned type;

	assert_null(source_next(s, &type));
}

/* Read messages up to READY; only FAULT may come before it. */
void source_until_ready(struct source *s)
{
	unsigned type = MFD_WIRE_FAULT;
	ProtobufCMessage *m;

	while (type != MFD_WIRE_READY) {
		assert_int_equal(type, MFD_WIRE_FAULT);
		m = source_next(s, &type);
		assert_non_null(m);
		protobuf_c_message_free_unpacked(m, NULL);
	}
}

void source_simple(struct source *s, unsigned type)
{
	Mfd__Commit source_commit = MFD__COMMIT__INIT;
	Mfd__StartedOk started = MFD__STARTED_OK__INIT;
	Mfd__Ping ping = MFD__PING__INIT;

	mfd_control_send(&s->c, type,
			 type == MFD_WIRE_COMMIT ? &source_commit.base :
			 type == MFD_WIRE_PING	 ? &ping.base :
						   &started.base);
}

void source_commit(struct source *s)
{
	source_simple(s, MFD_WIRE_COMMIT);
	source_expect_free(s, MFD_WIRE_COMMITTED);
	assert_in_range(disk_state(s->name, NULL, 0), MFD__SESSION_STATE__COMMITTED,
			MFD__SESSION_STATE__DONE);
}

void source_hello_init(Mfd__Hello *h, const char *name, unsigned channels)
{
	mfd__hello__init(h);
	h->session = (char *)name;
	h->channels = channels;
	h->packet_size = 1 << 20;
	h->checksum = 1;
	h->page_size = PAGE;
	h->source = "testhost";
}

void source_send_hello(struct source *s, const Mfd__Hello *h)
{
	source_dial(&s->c.conn);
	source_greet(&s->c.conn, MFD_WIRE_ROLE_CONTROL, 0, NULL, NULL);
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_HELLO, &h->base), 0);
}

/* Keep what the next connections need to join this session. */
void source_keep(struct source *s, const Mfd__HelloOk *ok)
{
	assert_int_equal(ok->session_id.len, 16);
	assert_int_equal(ok->secret.len, 32);
	memcpy(s->id, ok->session_id.data, 16);
	memcpy(s->secret, ok->secret.data, 32);
	s->channels = ok->channels;
}

void source_take_hello_ok(struct source *s)
{
	Mfd__HelloOk *ok = (Mfd__HelloOk *)source_expect(s, MFD_WIRE_HELLO_OK);

	source_keep(s, ok);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
}

void source_hello_refused(const char *name, unsigned channels, unsigned page_size, const char *arch,
			  const char *why)
{
	struct source s;
	Mfd__Hello h;

	source_init(&s, name);
	source_hello_init(&h, name, channels);
	h.page_size = page_size;
	h.arch = (char *)arch;
	source_send_hello(&s, &h);
	source_expect_abort(&s, why);
	source_close(&s);
}

unsigned source_join(struct source *s, struct mfd_conn *c, unsigned role, unsigned channel)
{
	struct mfd_wire_joined j;

	source_dial(c);
	source_greet(c, role, channel, s->id, s->secret);
	assert_int_equal(mfd_conn_recv(c, &j, sizeof(j)), 0);
	assert_int_equal(le32toh(j.magic), MFD_WIRE_MAGIC_GREETING);
	return le16toh(j.status);
}

void source_join_refused(struct source *s, unsigned role, unsigned channel, unsigned want)
{
	struct mfd_conn c;

	assert_int_equal(source_join(s, &c, role, channel), want);
	mfd_conn_close(&c);
}

void source_join_all(struct source *s, int urgent)
{
	unsigned i;

	for (i = 0; i < s->channels; i++)
		assert_int_equal(source_join(s, &s->ch[i], MFD_WIRE_ROLE_DATA, i),
				 MFD_WIRE_JOIN_OK);
	if (urgent)
		assert_int_equal(source_join(s, &s->ch[MAXCH], MFD_WIRE_ROLE_URGENT, 0),
				 MFD_WIRE_JOIN_OK);
	source_expect_free(s, MFD_WIRE_JOINED);
}

void source_open(struct source *s, const char *name, int postcopy)
{
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, 2);
	h.postcopy = postcopy;
	source_send_hello(s, &h);
	source_take_hello_ok(s);
	assert_int_equal(s->channels, 2);
	source_join_all(s, postcopy);
}

static void resume(struct source *s, const char *outcome, int evidence)
{
	Mfd__Resume r = MFD__RESUME__INIT;

	source_close(s);
	mfd_control_init(&s->c);
	source_dial(&s->c.conn);
	source_greet(&s->c.conn, MFD_WIRE_ROLE_CONTROL, 0, s->id, s->secret);
	r.session = (char *)s->name;
	r.outcome = (char *)outcome;
	r.has_evidence = r.evidence = evidence;
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_RESUME, &r.base), 0);
}

void source_resume(struct source *s, const char *outcome)
{
	resume(s, outcome, 1);
}

ProtobufCMessage *source_ask(struct source *s, const char *outcome, unsigned want)
{
	ProtobufCMessage *m = NULL;
	unsigned type = 0;

	for (int i = 0; i < 500 && !m; i++) {
		if (i)
			usleep(20000);
		source_resume(s, outcome);
		m = source_next(s, &type);
	}
	return expected(m, type, want);
}

void source_resume_old(struct source *s, const char *outcome)
{
	resume(s, outcome, 0);
}
