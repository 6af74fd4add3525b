/* SPDX-License-Identifier: GPL-2.0-only */
/* Control messages over a socket: round trips, refusals, ends in the middle, many senders. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "control.h"
#include "io.h"
#include "wire.h"
#include "proto/control.pb-c.h"

struct pair {
	struct mfd_control a, b;
	int fd; /* of a */
};

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	if (!p || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -1;
	mfd_control_init(&p->a);
	mfd_control_init(&p->b);
	p->fd = fds[0];
	mfd_conn_plain(&p->a.conn, fds[0]);
	mfd_conn_plain(&p->b.conn, fds[1]);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	mfd_control_close(&p->a);
	mfd_control_close(&p->b);
	free(p);
	return 0;
}

static void test_hello(void **state)
{
	struct pair *p = *state;
	Mfd__Hello hello = MFD__HELLO__INIT, *got;
	char session[] = "web-1",
	     *options[] = { (char[]){ "--tcp-established" }, (char[]){ "--shell-job" } };
	struct mfd_error err = { .code = 0 };
	ProtobufCMessage *msg;
	unsigned type;

	hello.session = session;
	hello.channels = 8;
	hello.packet_size = 1 << 20;
	hello.checksum = 1;
	hello.page_size = 4096;
	hello.n_restore_option = 2;
	hello.restore_option = options;
	assert_int_equal(mfd_control_send(&p->a, MFD_WIRE_HELLO, &hello.base), 0);
	assert_int_equal(mfd_control_recv(&p->b, &type, &msg, &err), 0);
	assert_int_equal(type, MFD_WIRE_HELLO);
	got = (Mfd__Hello *)msg;
	assert_string_equal(got->session, "web-1");
	assert_int_equal(got->channels, 8);
	assert_int_equal(got->n_restore_option, 2);
	assert_string_equal(got->restore_option[1], "--shell-job");
	protobuf_c_message_free_unpacked(msg, NULL);
}

/* Every type of the table arrives as itself; empty ones have no body. */
static void test_every_type(void **state)
{
	static const struct {
		unsigned type;
		const ProtobufCMessageDescriptor *d;
	} empty[] = {
		{ MFD_WIRE_JOINED, &mfd__joined__descriptor },
		{ MFD_WIRE_IMAGES_OK, &mfd__images_ok__descriptor },
		{ MFD_WIRE_NEED, &mfd__need__descriptor },
		{ MFD_WIRE_STARTED, &mfd__started__descriptor },
		{ MFD_WIRE_STARTED_OK, &mfd__started_ok__descriptor },
		{ MFD_WIRE_RESTORED, &mfd__restored__descriptor },
		{ MFD_WIRE_COMMIT, &mfd__commit__descriptor },
		{ MFD_WIRE_COMMITTED, &mfd__committed__descriptor },
		{ MFD_WIRE_PING, &mfd__ping__descriptor },
		{ MFD_WIRE_PONG, &mfd__pong__descriptor },
	};
	struct pair *p = *state;
	ProtobufCMessage *msg, *got;
	unsigned type;
	size_t i;

	for (i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		msg = calloc(1, empty[i].d->sizeof_message);
		protobuf_c_message_init(empty[i].d, msg);
		assert_int_equal(mfd_control_send(&p->a, empty[i].type, msg), 0);
		assert_int_equal(mfd_control_recv(&p->b, &type, &got, NULL), 0);
		assert_int_equal(type, empty[i].type);
		assert_ptr_equal(got->descriptor, empty[i].d);
		protobuf_c_message_free_unpacked(got, NULL);
		/* Under another type it is refused before a byte is sent. */
		assert_int_equal(mfd_control_send(&p->a, empty[i].type + 1, msg), -EINVAL);
		free(msg);
	}
}

static void test_unknown_type_to_send(void **state)
{
	struct pair *p = *state;
	Mfd__Ping ping = MFD__PING__INIT;

	assert_int_equal(mfd_control_send(&p->a, 0, &ping.base), -EINVAL);
	assert_int_equal(mfd_control_send(&p->a, MFD_WIRE_MSG_MAX + 1, &ping.base), -EINVAL);
	assert_int_equal(mfd_control_send(&p->a, UINT32_MAX, &ping.base), -EINVAL);
}

static void test_abort(void **state)
{
	struct pair *p = *state;
	ProtobufCMessage *msg;
	unsigned type;

	assert_int_equal(mfd_control_send_abort(&p->b, -ENOSPC, "disk full"), 0);
	assert_int_equal(mfd_control_recv(&p->a, &type, &msg, NULL), 0);
	assert_int_equal(type, MFD_WIRE_ABORT);
	assert_string_equal(((Mfd__Abort *)msg)->reason, "disk full");
	assert_int_equal(((Mfd__Abort *)msg)->code, -ENOSPC);
	protobuf_c_message_free_unpacked(msg, NULL);
}

static int recv_raw(struct pair *p, unsigned type, uint32_t len, const void *body, size_t body_len,
		    const char *says)
{
	struct mfd_wire_frame f = { .type = (uint16_t)type, .len = len };
	struct mfd_error err = { .code = 0 };
	ProtobufCMessage *msg;
	int ret;

	mfd_wire_frame_seal(&f);
	assert_int_equal(mfd_io_write_all(p->fd, &f, sizeof(f)), 0);
	assert_int_equal(mfd_io_write_all(p->fd, body, body_len), 0);
	ret = mfd_control_recv(&p->b, &type, &msg, &err);
	assert_int_equal(err.code, ret);
	assert_non_null(strstr(err.text, says));
	return ret;
}

static void test_bad_frames(void **state)
{
	struct pair *p = *state;

	assert_int_equal(recv_raw(p, 0, 0, "", 0, "unknown type"), -EPROTO);
	assert_int_equal(recv_raw(p, MFD_WIRE_MSG_MAX + 1, 0, "", 0, "unknown type"), -EPROTO);
	assert_int_equal(recv_raw(p, MFD_WIRE_PING, MFD_WIRE_MAX_FRAME + 1, "", 0, "longer"),
			 -EPROTO);
	assert_int_equal(recv_raw(p, MFD_WIRE_PING, UINT32_MAX, "", 0, "longer"), -EPROTO);
	/* A required field is missing; junk. */
	assert_int_equal(recv_raw(p, MFD_WIRE_HELLO, 0, "", 0, "HELLO"), -EPROTO);
	assert_int_equal(recv_raw(p, MFD_WIRE_ABORT, 3, "\xff\xff\xff", 3, "ABORT"), -EPROTO);
}

/* They are from newer peers. */
static void test_unknown_field(void **state)
{
	struct pair *p = *state;
	struct mfd_wire_frame f = { .type = MFD_WIRE_ABORT, .len = 6 };
	ProtobufCMessage *msg;
	unsigned type;

	mfd_wire_frame_seal(&f);
	assert_int_equal(mfd_io_write_all(p->fd, &f, sizeof(f)), 0);
	/* field 99 */
	assert_int_equal(mfd_io_write_all(p->fd, "\x0a\x01x\x98\x06\x05", 6), 0);
	assert_int_equal(mfd_control_recv(&p->b, &type, &msg, NULL), 0);
	assert_string_equal(((Mfd__Abort *)msg)->reason, "x");
	protobuf_c_message_free_unpacked(msg, NULL);
}

static void test_magic(void **state)
{
	struct pair *p = *state;
	struct mfd_error err = { .code = 0 };
	ProtobufCMessage *msg;
	unsigned type;

	assert_false(p->b.understood);
	assert_int_equal(mfd_io_write_all(p->fd, "GET / HTTP/1.1\r\n\r\n", 18), 0);
	assert_int_equal(mfd_control_recv(&p->b, &type, &msg, &err), -EPROTO);
	assert_non_null(strstr(err.text, "no message where one should begin"));
	assert_false(p->b.understood);
}

/* The peer goes away after `keep` bytes of a frame with a body of 10 bytes. */
static int ends_after(struct pair *p, size_t keep)
{
	struct mfd_wire_frame f = { .type = MFD_WIRE_ABORT, .len = 10 };
	unsigned char bytes[sizeof(f) + 10] = { 0 };
	ProtobufCMessage *msg;
	unsigned type;

	mfd_wire_frame_seal(&f);
	memcpy(bytes, &f, sizeof(f));
	assert_int_equal(mfd_io_write_all(p->fd, bytes, keep), 0);
	mfd_conn_close(&p->a.conn);
	return mfd_control_recv(&p->b, &type, &msg, NULL);
}

static void test_end_before(void **state)
{
	assert_int_equal(ends_after(*state, 0), -ECONNRESET);
}

static void test_end_in_frame(void **state)
{
	assert_int_equal(ends_after(*state, 5), -EPIPE);
}

static void test_end_before_body(void **state)
{
	assert_int_equal(ends_after(*state, 12), -EPIPE);
}

static void test_end_in_body(void **state)
{
	assert_int_equal(ends_after(*state, 20), -EPIPE);
}

static void test_send_to_gone(void **state)
{
	struct pair *p = *state;
	Mfd__Ping ping = MFD__PING__INIT;

	mfd_conn_close(&p->b.conn);
	assert_int_equal(mfd_control_send(&p->a, MFD_WIRE_PING, &ping.base), -EPIPE);
	mfd_conn_close(&p->a.conn);
	assert_int_equal(mfd_control_send(&p->a, MFD_WIRE_PING, &ping.base), -ENOTCONN);
}

static void test_too_long(void **state)
{
	struct pair *p = *state;
	Mfd__Abort msg = MFD__ABORT__INIT;
	char *reason = malloc(MFD_WIRE_MAX_FRAME + 1);

	memset(reason, 'x', MFD_WIRE_MAX_FRAME);
	reason[MFD_WIRE_MAX_FRAME] = '\0';
	msg.reason = reason;
	assert_int_equal(mfd_control_send(&p->a, MFD_WIRE_ABORT, &msg.base), -EMSGSIZE);
	free(reason);
}

#define SENDERS 4
#define EACH	300

static void *sender(void *arg)
{
	struct pair *p = arg;
	char reason[2000];
	int i;

	memset(reason, 'r', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	for (i = 0; i < EACH; i++)
		if (mfd_control_send_abort(&p->a, i, reason + i))
			return arg;
	return NULL;
}

/* Messages of several threads do not mix. */
static void test_many_senders(void **state)
{
	struct pair *p = *state;
	pthread_t t[SENDERS];
	ProtobufCMessage *msg;
	unsigned type;
	void *res;
	int i;

	for (i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, sender, p), 0);
	for (i = 0; i < SENDERS * EACH; i++) {
		Mfd__Abort *got;

		assert_int_equal(mfd_control_recv(&p->b, &type, &msg, NULL), 0);
		got = (Mfd__Abort *)msg;
		assert_int_equal(strlen(got->reason), 1999 - got->code);
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	for (i = 0; i < SENDERS; i++) {
		pthread_join(t[i], &res);
		assert_null(res);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello),
		TEST(test_every_type),
		TEST(test_unknown_type_to_send),
		TEST(test_abort),
		TEST(test_bad_frames),
		TEST(test_unknown_field),
		TEST(test_magic),
		TEST(test_end_before),
		TEST(test_end_in_frame),
		TEST(test_end_before_body),
		TEST(test_end_in_body),
		TEST(test_send_to_gone),
		TEST(test_too_long),
		TEST(test_many_senders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
