// SPDX-License-Identifier: GPL-2.0-only
/*
 * The plugin: CRIU's hooks, translated into questions to the sender.
 *
 * Unconfigured (neither target nor keeper) it does nothing in any dump, and in a restore nothing
 * without cpr-fds.img, unless the server restores (hold_restored.h).  It has no threads, and never
 * ends the process: tasks are frozen while it runs.
 *
 * One phase says how far CRIU is, as far as the plugin has been told:
 *
 *	IDLE --init--> DUMP --PAUSE_DEVICES--> RUNNING --CHECKPOINT_DEVICES--> FROZEN --exit--> IDLE
 *	IDLE --init--> RESTORE --exit--> IDLE
 *
 * CRIU calls PAUSE_DEVICES and CHECKPOINT_DEVICES once for each task, the root of the tree first;
 * only the first call of each is a step.  A table names the phases in which a hook does anything.
 */
#include <errno.h>

#include <criu/criu-plugin.h>

#include "cpr_hooks.h"
#include "error.h"
#include "heldgroup.h"
#include "hide.h"
#include "hold_restored.h"
#include "host.h"
#include "io.h"
#include "late_undo.h"
#include "options.h"
#include "sender.h"

enum phase {
	IDLE,	 /* not configured, not begun or over */
	DUMP,	 /* begun; nothing is frozen */
	RUNNING, /* the tree was looked at while it ran */
	FROZEN,	 /* every task is frozen, and what can only be taken then is taken */
	RESTORE,
};

#define IN(phase)   (1U << (phase))
#define IN_ANY_DUMP (IN(DUMP) | IN(RUNNING) | IN(FROZEN))

/* CRIU calls hooks without a context argument; one process makes one dump or one restore. */
static enum phase phase = IDLE;
static struct mfd_sender sender = { .link = -1 };

static int read_options(struct mfd_options *o, struct mfd_error *err)
{
	int ret = mfd_host_options(o, err);

	if (!ret)
		ret = mfd_options_from_env(o, err);
	if (!ret)
		ret = mfd_options_from_file(o, NULL, err);
	if (!ret && (o->target || o->keeper))
		ret = mfd_options_check(o, err);
	return ret;
}

static int begin_dump(void)
{
	struct mfd_options o;
	struct mfd_error err = { 0 };
	int ret;

	mfd_options_init(&o);
	ret = read_options(&o, &err);
	if (!ret)
		ret = mfd_cpr_dump_begin(&o, &err);
	if (!ret && o.target)
		ret = mfd_host_prepare(&err);
	if (!ret && o.target)
		ret = mfd_hide_begin(&o, &err);
	if (!ret && o.target)
		ret = mfd_sender_start(&sender, &o, &err);
	if (ret) {
		mfd_host_error("%s", mfd_error_text(&err));
		mfd_hide_end();
		mfd_cpr_dump_end(ret);
	} else {
		phase = o.target || o.keeper ? DUMP : IDLE;
		if (o.target)
			mfd_host_info("connected to %s over %u channels", o.target, o.channels);
	}
	mfd_options_free(&o);
	return ret ? -1 : 0;
}

static int begin_restore(void)
{
	struct mfd_options o;
	struct mfd_error err = { 0 };
	int ret;

	if (!mfd_cpr_restore_wanted())
		return 0;
	mfd_options_init(&o);
	ret = read_options(&o, &err);
	if (!ret)
		ret = mfd_cpr_restore_begin(&o, &err);
	if (ret)
		mfd_host_error("%s", mfd_error_text(&err));
	else
		phase = RESTORE;
	mfd_options_free(&o);
	return ret ? -1 : 0;
}

static int plugin_init(int stage)
{
	if (stage == CR_PLUGIN_STAGE__DUMP)
		return begin_dump();
	return stage == CR_PLUGIN_STAGE__RESTORE ? begin_restore() : 0;
}

/*
 * The tasks do not run on: their copies may, and the peers of their connections must not hear from
 * here.  LEAVE is the last word of a sender that has died.
 */
static int is_held(const struct mfd_link_msg *reply)
{
	return reply->type == MFD_LINK_HELD || reply->type == MFD_LINK_LEAVE;
}

static void end_dump(int ret)
{
	struct mfd_link_msg reply;

	mfd_hide_end();
	mfd_cpr_dump_end(ret);
	if (sender.link < 0)
		return;
	mfd_sender_end(&sender, ret, &reply);
	if (ret && !is_held(&reply))
		mfd_late_undo();
	if (reply.type == MFD_LINK_OK || reply.type == MFD_LINK_COMMIT)
		mfd_host_info("%s", reply.text);
	else if (reply.type)
		mfd_host_error("%s", reply.text);
	else if (ret)
		mfd_host_error("the sender is gone; the tasks run on");
}

static void end_restore(int ret)
{
	mfd_hold_restored_end();
	mfd_cpr_restore_end(ret);
}

static void plugin_exit(int stage, int ret)
{
	if (stage == CR_PLUGIN_STAGE__RESTORE)
		end_restore(ret);
	else if (stage == CR_PLUGIN_STAGE__DUMP)
		end_dump(ret);
	phase = IDLE;
}

/* ---- what each hook does ---- */

static int on_pause(int pid, int unused, struct mfd_error *err)
{
	int ret = mfd_heldgroup_refuse(pid, err);

	(void)unused;
	if (!ret)
		ret = mfd_sender_freezes(&sender, err);
	if (ret)
		return ret;
	phase = RUNNING;
	return mfd_cpr_dump_running(pid, err);
}

/*
 * Every task is frozen and CRIU has not put its parasite into any: what can be read only now
 * (executable anonymous pages) is read before the sender answers.
 */
static int on_frozen(int pid, int unused, struct mfd_error *err)
{
	struct mfd_error said = { 0 };
	int ret = 0, given = -1;

	(void)unused;
	if (phase != FROZEN)
		ret = mfd_cpr_dump_frozen(pid, err);
	phase = FROZEN;
	if (ret || sender.link < 0)
		return ret;
	ret = mfd_sender_ask(&sender, MFD_LINK_TASK, pid, &given, &said);
	if (!ret && given >= 0)
		ret = mfd_hide_task(pid, given, &said);
	mfd_io_close(&given);
	return ret ? mfd_error_set(err, ret, "task %d: %s", pid, mfd_error_text(&said)) : 0;
}

/* CRIU 4.3: the last place where a dump that succeeded can still be made to fail. */
static int on_finish(int ret, int unused, struct mfd_error *err)
{
	(void)unused;
	return sender.link < 0 || ret ? 0 :
					mfd_sender_ask(&sender, MFD_LINK_FINISH, ret, NULL, err);
}

static int on_restore_ext(int id, int unused, struct mfd_error *err)
{
	(void)unused;
	return mfd_cpr_restore_fd(false, id, err);
}

static int on_restore_unix(int id, int unused, struct mfd_error *err)
{
	(void)unused;
	return mfd_cpr_restore_fd(true, id, err);
}

/* With or without cpr-fds.img. */
static int on_late(int pid, int unused, struct mfd_error *err)
{
	(void)unused;
	(void)err;
	mfd_hold_restored(pid);
	return 0;
}

/*
 * ASKED: CRIU wants one plugin to do something; -ENOTSUP leaves it to the others.  TOLD: every
 * plugin is to hear it, so the answer is -ENOTSUP unless it failed.
 */
enum kind { TOLD, ASKED };

static const struct hook {
	unsigned phases;
	enum kind kind;
	int (*run)(int a, int b, struct mfd_error *err);
} hooks[] = {
	[CR_PLUGIN_HOOK__PAUSE_DEVICES] = { IN(DUMP), TOLD, on_pause },
	[CR_PLUGIN_HOOK__CHECKPOINT_DEVICES] = { IN_ANY_DUMP, TOLD, on_frozen },
	[CR_PLUGIN_HOOK__DUMP_EXT_FILE] = { IN_ANY_DUMP, ASKED, mfd_cpr_dump_ext },
	[CR_PLUGIN_HOOK__DUMP_UNIX_SK] = { IN_ANY_DUMP, ASKED, mfd_cpr_dump_unix },
	[MFD_HOST_HOOK_DUMP_FINISH] = { IN_ANY_DUMP, TOLD, on_finish },
	[CR_PLUGIN_HOOK__RESUME_DEVICES_LATE] = { IN(IDLE) | IN(RESTORE), TOLD, on_late },
	[CR_PLUGIN_HOOK__RESTORE_EXT_FILE] = { IN(RESTORE), ASKED, on_restore_ext },
	[CR_PLUGIN_HOOK__RESTORE_UNIX_SK] = { IN(RESTORE), ASKED, on_restore_unix },
};

/* CRIU takes any other failure than -ENOTSUP for the end of the dump or restore. */
static int call(unsigned hook, int a, int b)
{
	const struct hook *h = &hooks[hook];
	struct mfd_error err = { 0 };
	int ret;

	if (!(h->phases & IN(phase)))
		return -ENOTSUP;
	ret = h->run(a, b, &err);
	if (h->kind == ASKED ? ret >= 0 || ret == -ENOTSUP : !ret)
		return h->kind == ASKED ? ret : -ENOTSUP;
	mfd_host_error("%s", mfd_error_text(&err));
	return -1;
}

/* ---- as CRIU calls them ---- */

static int pause_devices(int pid)
{
	return call(CR_PLUGIN_HOOK__PAUSE_DEVICES, pid, 0);
}

static int checkpoint_devices(int pid)
{
	return call(CR_PLUGIN_HOOK__CHECKPOINT_DEVICES, pid, 0);
}

static int resume_devices_late(int pid)
{
	return call(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, pid, 0);
}

static int dump_ext_file(int fd, int id)
{
	return call(CR_PLUGIN_HOOK__DUMP_EXT_FILE, fd, id);
}

static int dump_unix_sk(int fd, int id)
{
	return call(CR_PLUGIN_HOOK__DUMP_UNIX_SK, fd, id);
}

static int dump_finish(int ret)
{
	return call(MFD_HOST_HOOK_DUMP_FINISH, ret, 0);
}

/* From older hosts the second argument is whatever the register held. */
static int restore_ext_file(int id, bool *retry_needed)
{
	if (mfd_host_has_retry())
		*retry_needed = false;
	return call(CR_PLUGIN_HOOK__RESTORE_EXT_FILE, id, 0);
}

static int restore_unix_sk(int id)
{
	return call(CR_PLUGIN_HOOK__RESTORE_UNIX_SK, id, 0);
}

/*
 * Under the name CRIU looks up; the header's own declaration has room for that header's hooks only.
 */
extern struct mfd_host_desc mfd_plugin_desc __asm__("CR_PLUGIN_DESC")
	__attribute__((visibility("default")));
struct mfd_host_desc mfd_plugin_desc = {
	.name = "multifd",
	.init = plugin_init,
	.exit = plugin_exit,
	.hooks = {
		[CR_PLUGIN_HOOK__DUMP_UNIX_SK] = dump_unix_sk,
		[CR_PLUGIN_HOOK__RESTORE_UNIX_SK] = restore_unix_sk,
		[CR_PLUGIN_HOOK__DUMP_EXT_FILE] = dump_ext_file,
		[CR_PLUGIN_HOOK__RESTORE_EXT_FILE] = restore_ext_file,
		[CR_PLUGIN_HOOK__RESUME_DEVICES_LATE] = resume_devices_late,
		[CR_PLUGIN_HOOK__PAUSE_DEVICES] = pause_devices,
		[CR_PLUGIN_HOOK__CHECKPOINT_DEVICES] = checkpoint_devices,
		[MFD_HOST_HOOK_DUMP_FINISH] = dump_finish,
	},
};

/* Runs in dlopen(), before CRIU looks at the descriptor. */
static void __attribute__((constructor)) describe(void)
{
	mfd_host_describe(&mfd_plugin_desc);
}
