// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dump: what CRIU cannot take goes to the keeper and into the dump's CPR table.
 *
 * Every entry is saved in the table under (name, id) and appended to the table's journal, from
 * which the sender makes the same table (lib/cpr_log.h).  cpr-fds.img is that table written out: by
 * the sender before it ships the images, or without a sender at the end of the dump, here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cpr_hooks.h"
#include "cpr_describe.h"
#include "cpr_log.h"
#include "cpr_runtime.h"
#include "cpr_scan.h"
#include "cpr_tty.h"
#include "host.h"
#include "io.h"
#include "keeper_client.h"

/* CRIU's hooks have no context argument; one process makes one dump. */
static struct {
	struct mfd_cpr *table; /* NULL: the dump is not this plugin's */
	int keeper, log;       /* -1 = none */
	char session[256];
	char *patterns; /* option cpr */
	unsigned kept;
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
	int dir = mfd_host_image_dir();

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
	dump.table = mfd_cpr_new(NULL);
	dump.patterns = o->cpr ? strdup(o->cpr) : NULL;
	if (choose_session(o) || !dump.table || (o->cpr && !dump.patterns))
		return mfd_error_set(err, -ENOMEM, "no memory");
	snprintf(dump.session, sizeof(dump.session), "%s", o->session);
	ret = o->keeper ? reach_keeper(o, err) : 0;
	if (ret)
		return ret;
	dump.log = mfd_cpr_log_open(mfd_host_image_dir(), dump.session);
	if (dump.log < 0)
		return mfd_error_sys(err, dump.log, "%s in the image folder", MFD_CPR_LOG_NAME);
	leave_link(o->keeper);
	return 0;
}

int mfd_cpr_dump_running(int pid, struct mfd_error *err)
{
	return dump.table ? mfd_scan_refuse(pid, err) : 0;
}

/* One key stands for one descriptor, in the table as with the keeper. */
static int is_new(const struct mfd_cpr_described *d, struct mfd_error *err)
{
	if (mfd_cpr_get(dump.table, d->name, d->item.id, NULL))
		return 0;
	return mfd_error_set(err, -EEXIST, "two descriptors are called %s (%llu)", d->name,
			     (unsigned long long)d->item.id);
}

static int note(const struct mfd_cpr_described *d, struct mfd_error *err)
{
	const char *why = NULL;
	int ret = mfd_cpr_log_add(dump.log, &d->item, &why);

	if (!ret)
		ret = mfd_cpr_save_item(dump.table, &d->item);
	return ret ? mfd_error_set(err, ret, "%s cannot be noted in cpr-fds.img: %s", d->name,
				   why ? why : strerror(-ret)) :
		     0;
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

/* To the keeper if there is one, else to be had as `otherwise` says; into the table in any case. */
static int save(struct mfd_cpr_described *d, int fd, Mfd__CprHow otherwise, struct mfd_error *err)
{
	int ret = is_new(d, err);

	d->item.record.how = dump.keeper >= 0 ? MFD__CPR_HOW__KEPT : otherwise;
	if (!ret && dump.keeper >= 0)
		ret = hand_over(d, fd, err);
	return ret ? ret : note(d, err);
}

static int may_reopen(const struct mfd_cpr_record *r)
{
	return r->path &&
	       (r->kind == MFD__CPR_KIND__CHARDEV || r->kind == MFD__CPR_KIND__BLOCKDEV ||
		r->kind == MFD__CPR_KIND__REG || r->kind == MFD__CPR_KIND__DIRECTORY);
}

static const char *how_it_comes(Mfd__CprHow how)
{
	return how == MFD__CPR_HOW__KEPT   ? "kept" :
	       how == MFD__CPR_HOW__REOPEN ? "to be opened again" :
					     "to be offered on the target";
}

static int take(struct mfd_cpr_described *d, int fd, struct mfd_error *err)
{
	const struct mfd_cpr_record *r = &d->item.record;
	int ret = save(d, fd, may_reopen(r) ? MFD__CPR_HOW__REOPEN : MFD__CPR_HOW__OFFERED, err);

	if (!ret)
		mfd_host_info("descriptor %s (%llu) comes along, %s", d->name,
			      (unsigned long long)d->item.id, how_it_comes(r->how));
	return ret;
}

/*
 * With --ext-unix-sk CRIU connects it again to the socket of that name; it can do so only with
 * datagram sockets, and asks plugins before it looks at its option.
 */
static int is_for_criu(const struct mfd_cpr_socket *s)
{
	return s->family == AF_UNIX && s->type == SOCK_DGRAM && s->peer_address_len &&
	       (mfd_host_was_told("--ext-unix-sk") || mfd_host_was_told("-x"));
}

static int dump_one(int fd, int id, int is_unix, struct mfd_error *err)
{
	static struct mfd_cpr_described d; /* large; CRIU has one thread */
	int ret;

	if (!dump.table)
		return -ENOTSUP;
	ret = mfd_cpr_describe(fd, &d);
	if (ret)
		return mfd_error_sys(err, ret, "descriptor %#x", (unsigned)id);
	if (is_unix && is_for_criu(&d.item.socket)) {
		mfd_host_info("%s is left to --ext-unix-sk", d.name);
		return -ENOTSUP;
	}
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
 * no process would have.
 */
static int take_shared(void *ctx, int fd, struct mfd_cpr_described *d)
{
	struct mfd_cpr_record *r = &d->item.record;
	int is_pipe = r->kind == MFD__CPR_KIND__PIPE;

	if (!mfd_cpr_claims(dump.patterns, d->name) ||
	    (is_pipe && mfd_cpr_runtime_gives(mfd_host_image_dir(), d->name)))
		return 0;
	if (is_pipe)
		r->inherit_id = d->name;
	if (dump.keeper >= 0)
		return take(d, fd, ctx);
	if (is_pipe)
		return save(d, fd, MFD__CPR_HOW__INHERITED, ctx);
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
	ret = save(d, fd, MFD__CPR_HOW__INHERITED, ctx);
	if (!ret)
		mfd_host_info(
			"terminal %s (%s) of process %u, descriptor %u: its other end stays here, CRIU is told --external '%s'",
			d->name, r->path ? r->path : "no path", d->owner.pid, d->owner.fd, d->name);
	return ret;
}

int mfd_cpr_dump_frozen(int pid, struct mfd_error *err)
{
	int ret;

	if (!dump.table)
		return 0;
	ret = mfd_scan_shared(pid, take_shared, err);
	ret = ret ? ret : mfd_tty_scan(pid, take_terminal, err);
	return ret && !err->code ?
		       mfd_error_sys(err, ret, "descriptors shared with other processes") :
		       ret;
}

/* A sender has written the image and removed the journal before it shipped the images. */
static int is_written(void)
{
	return !mfd_cpr_count(dump.table) ||
	       faccessat(mfd_host_image_dir(), MFD_CPR_LOG_NAME, F_OK, AT_SYMLINK_NOFOLLOW);
}

static int write_image(void)
{
	struct mfd_cpr_image_header header = { 0 };
	const char *why = "no memory";
	int ret = mfd_cpr_header_now(&header, dump.session);

	if (!ret)
		ret = mfd_cpr_store(dump.table, mfd_host_image_dir(), &header, &why);
	if (ret)
		mfd_host_error("cpr-fds.img: %s", why);
	mfd_cpr_header_release(&header);
	return ret;
}

static void keep_what_was_taken(void)
{
	if (!is_written() && write_image())
		return; /* the journal stays */
	mfd_cpr_log_discard(mfd_host_image_dir());
	if (mfd_cpr_count(dump.table))
		mfd_host_info("%zu descriptors come along, %u of them kept",
			      mfd_cpr_count(dump.table), dump.kept);
}

void mfd_cpr_dump_end(int ret)
{
	if (dump.log >= 0) {
		mfd_io_close(&dump.log);
		if (!ret) {
			keep_what_was_taken();
		} else {
			mfd_cpr_log_discard(mfd_host_image_dir());
			unlinkat(mfd_host_image_dir(), MFD_KEEPER_LINK, 0);
		}
	}
	if (dump.keeper >= 0 && ret)
		mfd_keeper_drop(dump.keeper, dump.session, NULL, 0, MFD_KEEPER_KEPT);
	mfd_io_close(&dump.keeper);
	mfd_cpr_free(dump.table);
	free(dump.patterns);
	dump.table = NULL;
	dump.patterns = NULL;
}
