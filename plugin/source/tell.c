// SPDX-License-Identifier: GPL-2.0-only
/* RESUME with an outcome, until it is heard. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "give_address.h"
#include "io.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "tell.h"
#include "uplink.h"

#define RETRY_MS     300
#define MAX_RETRY_MS 30000
/* a target that knows nothing of the session need not be told that the tasks run on here */
#define UNKNOWN_MS 3000

static const char *const words[] = { [MFD_TELL_ABORT] = "abort", [MFD_TELL_COMMIT] = "commit" };

static int hear_committed(struct mfd_uplink *s, struct mfd_error *err)
{
	ProtobufCMessage *msg = NULL;
	unsigned type = 0;
	int ret = mfd_control_recv(&s->control, &type, &msg, err);

	if (!ret && type != MFD_WIRE_COMMITTED)
		ret = mfd_error_set(err, -EPROTO, "the target answers the commit with %s",
				    mfd_wire_msg_name(type));
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

static int both_run(const char *state)
{
	return !strcmp(state, "COMMITTED") || !strcmp(state, "DONE");
}

/* It hangs up on what it cannot take, such as the death of tasks whose pages it lacks. */
#define HUNG_UP \
	"%s has ended the connection without an answer ('criu-multifd status' there may say why)"

static int has_hung_up(int ret)
{
	return ret == -ECONNRESET || ret == -EPIPE || ret == -ECONNABORTED;
}

static int tell_once(const struct mfd_options *o, struct mfd_shared *sh,
		     enum mfd_outcome_told outcome, struct mfd_error *err)
{
	struct mfd_uplink s = { .wake_fd = -1 };
	char state[MFD_UPLINK_STATE];
	int ret = mfd_uplink_resume(&s, o, sh, words[outcome], state, err);

	if (!ret && outcome == MFD_TELL_COMMIT)
		ret = hear_committed(&s, err);
	else if (!ret && both_run(state))
		ret = mfd_error_set(err, -EEXIST,
				    "session '%s' has been committed on %s (%s): both copies run",
				    sh->session, sh->target.text, state);
	mfd_control_close(&s.control);
	if (ret == -ECANCELED && s.proof == MFD_PROOF_RAN && outcome == MFD_TELL_ABORT)
		mfd_log_error("BOTH HAVE RUN: the tasks run on here, and restored ones ran on %s "
			      "before they were ended there: %s",
			      sh->target.text, mfd_error_text(err));
	if (ret == -ECANCELED && s.proof == MFD_PROOF_NONE)
		ret = err->code = -ENOENT; /* the text says what it answers */
	if (ret && !err->code)
		mfd_error_sys(err, ret, has_hung_up(ret) ? HUNG_UP : "waiting for %s's answer",
			      sh->target.text);
	return ret;
}

int mfd_tell_is_heard(int ret)
{
	return !ret || ret == -ECANCELED || ret == -EEXIST;
}

int mfd_tell(const struct mfd_options *o, struct mfd_shared *sh, enum mfd_outcome_told outcome,
	     unsigned give_up_ms, struct mfd_error *err)
{
	uint64_t start = mfd_io_now_ms(),
		 end = give_up_ms == MFD_TELL_FOREVER ? UINT64_MAX : start + give_up_ms;
	unsigned pause = RETRY_MS;
	int ret;

	if (outcome == MFD_TELL_COMMIT)
		mfd_address_release(o);
	for (;;) {
		mfd_error_clear(err);
		ret = tell_once(o, sh, outcome, err);
		if (!ret || ret == -ECANCELED || ret == -EEXIST || mfd_io_now_ms() >= end)
			return ret;
		if (ret == -ENOENT && outcome == MFD_TELL_ABORT &&
		    mfd_io_now_ms() - start > UNKNOWN_MS)
			return ret;
		usleep(pause * 1000);
		if (give_up_ms == MFD_TELL_FOREVER)
			pause = pause * 2 < MAX_RETRY_MS ? pause * 2 : MAX_RETRY_MS;
	}
}
