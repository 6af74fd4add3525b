// SPDX-License-Identifier: GPL-2.0-only
/* Dump: what CRIU cannot take goes to the keeper and into cpr-fds.img. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criu/criu-plugin.h>

#include "cpr.h"
#include "cpr_describe.h"
#include "cpr_log.h"
#include "cpr_scan.h"
#include "cpr_tty.h"
#include "host.h"
#include "io.h"
#include "keeper_client.h"

/* CRIU's hooks have no context argument; one process makes one dump. */
static struct {
	int active, looked, scanned;
	int keeper, log; /* -1 = none */
	char session[256];
	char *patterns;
	unsigned kept, noted;
} dump = { .keeper = -1, .log = -1 };

/* As the sender would: unique enough among the sessions of one keeper or server. */
static int choose_session(struct mfd_options *o)
{
	char host[64] = "host", name[160];
	struct timespec now;

	if (o->session)
		return 0;
	gethostname(host, sizeof(host) - 1);
	for (char *p = host; *p; p++) {
		if (*p == '/' || *p < ' ' || *p == '.')
			*p = '-';
	}
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(name, sizeof(name), "%s-%d-%lld", host, getpid(), (long long)now.tv_sec);
	o->session = strdup(name);
	return o->session ? 0 : -ENOMEM;
}

/*
 * The restore on this host finds the keeper by it, whatever its configuration. Names with a dot are
 * not shipped.
 */
static void leave_link(const char *keeper)
{
	int dir = criu_get_image_dir();

	unlinkat(dir, MFD_KEEPER_LINK, 0);
	if (keeper && symlinkat(keeper, dir, MFD_KEEPER_LINK))
		mfd_host_warn("no link to the keeper in the image folder: %s", strerror(errno));
}

static int reach_keeper(const struct mfd_options *o, struct mfd_error *err)
{
	int ret;

	dump.keeper = mfd_keeper_connect(o->keeper);
	if (dump.keeper < 0)
		return mfd_error_sys(err, dump.keeper, "keeper %s", o->keeper);
	ret = mfd_keeper_begin(dump.keeper, dump.session);
	return ret ? mfd_error_sys(err, ret, "keeper %s, session %s", o->keeper, dump.session) : 0;
}

int mfd_cpr_dump_begin(struct mfd_options *o, struct mfd_error *err)
{
	int ret;

	if ((!o->target && !o->keeper) || (o->cpr && !strcmp(o->cpr, "off")))
		return 0;
	if (choose_session(o))
		return mfd_error_set(err, -ENOMEM, "no memory");
	snprintf(dump.session, sizeof(dump.session), "%s", o->session);
	dump.patterns = o->cpr ? strdup(o->cpr) : NULL;
	ret = o->keeper ? reach_keeper(o, err) : 0;
	if (ret)
		return ret;
	dump.log = mfd_cpr_log_open(criu_get_image_dir(), dump.session);
	if (dump.log < 0)
		return mfd_error_sys(err, dump.log, "%s in the image folder", MFD_CPR_LOG_NAME);
	leave_link(o->keeper);
	dump.active = 1;
	return 0;
}

/* CRIU calls it for the root of the tree first, and then nothing is frozen yet. */
int mfd_cpr_dump_pause(int pid, struct mfd_error *err)
{
	if (!dump.active || dump.looked)
		return 0;
	dump.looked = 1;
	return mfd_scan_refuse(pid, err);
}

static int note(const struct mfd_cpr_described *d, struct mfd_error *err)
{
	const char *why = NULL;
	int ret = mfd_cpr_log_add(dump.log, &d->item, &why);

	if (ret)
		return mfd_error_set(err, ret, "%s cannot be noted in cpr-fds.img: %s", d->name,
				     why ? why : strerror(-ret));
	dump.noted++;
	return 0;
}

static int hand_over(const struct mfd_cpr_described *d, int fd, struct mfd_error *err)
{
	int ret = mfd_keeper_put(dump.keeper, dump.session, d->name, d->item.id, fd);

	if (ret)
		return mfd_error_sys(err, ret, "handing %s (%llu) to the keeper", d->name,
				     (unsigned long long)d->item.id);
	dump.kept++;
	return 0;
}

static int may_reopen(const struct mfd_cpr_record *r)
{
	return r->path &&
	       (r->kind == MFD__CPR_KIND__CHARDEV || r->kind == MFD__CPR_KIND__BLOCKDEV ||
		r->kind == MFD__CPR_KIND__REG || r->kind == MFD__CPR_KIND__DIRECTORY);
}

static int take(struct mfd_cpr_described *d, int fd, struct mfd_error *err)
{
	struct mfd_cpr_record *r = &d->item.record;
	int ret = 0;

	if (dump.keeper >= 0) {
		r->how = MFD__CPR_HOW__KEPT;
		ret = hand_over(d, fd, err);
	} else {
		r->how = may_reopen(r) ? MFD__CPR_HOW__REOPEN : MFD__CPR_HOW__OFFERED;
	}
	ret = ret ? ret : note(d, err);
	if (!ret)
		mfd_host_info("descriptor %s (%llu) comes along, %s", d->name,
			      (unsigned long long)d->item.id,
			      r->how == MFD__CPR_HOW__KEPT   ? "kept" :
			      r->how == MFD__CPR_HOW__REOPEN ? "to be opened again" :
							       "to be offered on the target");
	return ret;
}

static int dump_one(int fd, int id, int is_unix, struct mfd_error *err)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	int ret;

	if (!dump.active)
		return -ENOTSUP;
	ret = mfd_cpr_describe(fd, &d);
	if (ret)
		return mfd_error_sys(err, ret, "descriptor %#x", (unsigned)id);
	if (!mfd_cpr_claims(dump.patterns, d.name)) {
		mfd_host_info("%s is not claimed by cpr = %s", d.name, dump.patterns);
		return -ENOTSUP;
	}
	d.item.id = (uint32_t)id;
	d.item.record.criu_id = (uint32_t)id;
	d.item.record.has |= MFD_CPR_HAS_CRIU_ID;
	if (is_unix != (d.item.socket.family == AF_UNIX))
		return mfd_error_set(err, -EINVAL, "%s came through the wrong hook", d.name);
	return take(&d, fd, err);
}

int mfd_cpr_dump_ext(int fd, int id, struct mfd_error *err)
{
	return dump_one(fd, id, 0, err);
}

int mfd_cpr_dump_unix(int fd, int id, struct mfd_error *err)
{
	return dump_one(fd, id, 1, err);
}

/*
 * Without a keeper only a pipe is worth a note, since a restore can be offered one; its other end
 * would be nobody's.
 */
static int take_shared(void *ctx, int fd, struct mfd_cpr_described *d)
{
	struct mfd_cpr_record *r = &d->item.record;
	int is_pipe = r->kind == MFD__CPR_KIND__PIPE;

	if (!mfd_cpr_claims(dump.patterns, d->name) ||
	    (is_pipe && mfd_cpr_is_runtimes(criu_get_image_dir(), d->name)))
		return 0;
	if (is_pipe)
		r->inherit_id = d->name;
	if (dump.keeper >= 0)
		return take(d, fd, ctx);
	if (is_pipe) {
		r->how = MFD__CPR_HOW__INHERITED;
		return note(d, ctx);
	}
	mfd_host_warn("process %u shares descriptor %u (%s) with another one; the copy will not",
		      d->owner.pid, d->owner.fd, d->name);
	return 0;
}

/* CRIU dumps it without more ado when told of it; what is noted is for the restore. */
static int take_terminal(void *ctx, int fd, struct mfd_cpr_described *d)
{
	struct mfd_cpr_record *r = &d->item.record;
	int ret;

	if (!mfd_cpr_claims(dump.patterns, d->name) &&
	    !mfd_cpr_claims(dump.patterns, r->path ? r->path : "")) {
		mfd_host_info("terminal %s is not claimed by cpr = %s", d->name, dump.patterns);
		return 0;
	}
	ret = mfd_tty_declare(d->name, ctx);
	if (ret)
		return ret;
	r->how = dump.keeper >= 0 ? MFD__CPR_HOW__KEPT : MFD__CPR_HOW__INHERITED;
	ret = dump.keeper >= 0 ? hand_over(d, fd, ctx) : 0;
	ret = ret ? ret : note(d, ctx);
	if (!ret)
		mfd_host_info(
			"terminal %s (%s) of process %u, descriptor %u: its other end stays here, CRIU is told --external '%s'",
			d->name, r->path ? r->path : "no path", d->owner.pid, d->owner.fd, d->name);
	return ret;
}

int mfd_cpr_dump_frozen(int pid, struct mfd_error *err)
{
	int ret;

	if (!dump.active || dump.scanned)
		return 0;
	dump.scanned = 1;
	ret = mfd_scan_shared(pid, take_shared, err);
	ret = ret ? ret : mfd_tty_scan(pid, take_terminal, err);
	return ret && !err->code ?
		       mfd_error_sys(err, ret, "descriptors shared with other processes") :
		       ret;
}

static void seal(void)
{
	const char *why = NULL;

	/* With a target the sender has sealed it already, before it shipped the images. */
	if (mfd_cpr_log_seal(criu_get_image_dir(), &why))
		mfd_host_error("cpr-fds.img: %s", why);
	else if (dump.noted)
		mfd_host_info("%u descriptors come along, %u of them kept", dump.noted, dump.kept);
}

void mfd_cpr_dump_end(int ret)
{
	if (dump.log >= 0) {
		mfd_io_close(&dump.log);
		if (ret) {
			mfd_cpr_log_discard(criu_get_image_dir());
			unlinkat(criu_get_image_dir(), MFD_KEEPER_LINK, 0);
		} else {
			seal();
		}
	}
	if (dump.keeper >= 0 && ret)
		mfd_keeper_drop(dump.keeper, dump.session, NULL, 0, MFD_KEEPER_KEPT);
	mfd_io_close(&dump.keeper);
	free(dump.patterns);
	dump.patterns = NULL;
	dump.active = 0;
}
