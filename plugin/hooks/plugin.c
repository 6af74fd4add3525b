// SPDX-License-Identifier: GPL-2.0-only
/*
 * The plugin: CRIU's hooks, translated into questions to the sender.
 *
 * Unconfigured (neither target nor keeper) it does nothing in any dump, and in a restore nothing
 * without cpr-fds.img.  It has no threads, keeps -ENOTSUP for the hooks it shares with other
 * plugins, so that those behind it run too, and never ends the process: tasks are frozen while it
 * runs.
 */
#include <errno.h>

#include <criu/criu-plugin.h>

#include "cpr.h"
#include "error.h"
#include "host.h"
#include "options.h"
#include "netlock.h"
#include "sender.h"

/* CRIU calls hooks without a context argument; one process makes one dump. */
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
		ret = mfd_sender_start(&sender, &o, &err);
	if (ret) {
		mfd_host_error("%s", mfd_error_text(&err));
		mfd_cpr_dump_end(ret);
	} else if (o.target)
		mfd_host_info("connected to %s over %u channels", o.target, o.channels);
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
	mfd_options_free(&o);
	return ret ? -1 : 0;
}

static int plugin_init(int stage)
{
	if (stage == CR_PLUGIN_STAGE__DUMP)
		return begin_dump();
	return stage == CR_PLUGIN_STAGE__RESTORE ? begin_restore() : 0;
}

static void plugin_exit(int stage, int ret)
{
	struct mfd_link_msg reply;

	if (stage == CR_PLUGIN_STAGE__RESTORE)
		mfd_cpr_restore_end(ret);
	if (stage == CR_PLUGIN_STAGE__DUMP)
		mfd_cpr_dump_end(ret);
	if (stage != CR_PLUGIN_STAGE__DUMP || sender.link < 0)
		return;
	if (ret)
		mfd_netlock_undo();
	mfd_sender_end(&sender, ret, &reply);
	if (reply.type == MFD_LINK_OK || reply.type == MFD_LINK_COMMIT)
		mfd_host_info("%s", reply.text);
	else if (reply.type)
		mfd_host_error("%s", reply.text);
	else if (ret)
		mfd_host_error("the sender is gone; the tasks run on");
}

/*
 * Every task is frozen and none infected: what only can be read now (executable anonymous pages) is
 * read before the answer.
 */
static int task_frozen(int pid)
{
	struct mfd_error err = { 0 };

	if (mfd_cpr_dump_frozen(pid, &err)) {
		mfd_host_error("%s", mfd_error_text(&err));
		return -1;
	}
	if (sender.link < 0)
		return -ENOTSUP;
	if (mfd_sender_ask(&sender, MFD_LINK_TASK, pid, &err)) {
		mfd_host_error("task %d: %s", pid, mfd_error_text(&err));
		return -1;
	}
	return -ENOTSUP;
}

static int pause_devices(int pid)
{
	struct mfd_error err = { 0 };

	if (!mfd_cpr_dump_pause(pid, &err))
		return -ENOTSUP;
	mfd_host_error("%s", mfd_error_text(&err));
	return -1;
}

/* CRIU takes any other failure than -ENOTSUP for the end of the dump or restore. */
static int outcome(int ret, const struct mfd_error *err)
{
	if (ret >= 0 || ret == -ENOTSUP)
		return ret;
	mfd_host_error("%s", mfd_error_text(err));
	return -1;
}

static int dump_ext_file(int fd, int id)
{
	struct mfd_error err = { 0 };

	return outcome(mfd_cpr_dump_ext(fd, id, &err), &err);
}

static int dump_unix_sk(int fd, int id)
{
	struct mfd_error err = { 0 };

	return outcome(mfd_cpr_dump_unix(fd, id, &err), &err);
}

/* On older hosts the second argument is whatever the register held. */
static int restore_ext_file(int id, bool *retry_needed)
{
	struct mfd_error err = { 0 };

	if (mfd_host_has_retry())
		*retry_needed = false;
	return outcome(mfd_cpr_restore_fd(false, id, &err), &err);
}

static int restore_unix_sk(int id)
{
	struct mfd_error err = { 0 };

	return outcome(mfd_cpr_restore_fd(true, id, &err), &err);
}

/* CRIU 4.3: the last place where a dump that succeeded can still be made to fail. */
static int dump_finish(int ret)
{
	struct mfd_error err = { 0 };

	if (sender.link < 0 || ret)
		return -ENOTSUP;
	if (mfd_sender_ask(&sender, MFD_LINK_FINISH, ret, &err)) {
		mfd_host_error("%s", mfd_error_text(&err));
		return -1;
	}
	return -ENOTSUP;
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
		[CR_PLUGIN_HOOK__PAUSE_DEVICES] = pause_devices,
		[CR_PLUGIN_HOOK__CHECKPOINT_DEVICES] = task_frozen,
		[MFD_HOST_HOOK_DUMP_FINISH] = dump_finish,
	},
};

/* Runs in dlopen(), before CRIU looks at the descriptor. */
static void __attribute__((constructor)) describe(void)
{
	mfd_host_describe(&mfd_plugin_desc);
}
