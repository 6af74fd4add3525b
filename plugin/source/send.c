// SPDX-License-Identifier: GPL-2.0-only
/*
 * `criu-multifd send`, the process that the plugin starts: read the configuration, prepare log and
 * shared memory, supervise.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "assert.h"
#include "command.h"
#include "io.h"
#include "kept.h"
#include "log.h"
#include "ours.h"
#include "pluginlink.h"
#include "progress.h"
#include "secure.h"
#include "send_phase.h"
#include "send_supervisor.h"
#include "worker.h"

/* A process that reads CRIU's output to its end must not wait for the sender. */
static void leave_output(int log_fd)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (log_fd < 0 || null < 0)
		return;
	dup2(null, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO); /* a sanitizer's report */
	close(null);
}

/* CRIU's work directory is the current one, as for its own log. */
static int open_log(const struct mfd_options *o)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND;
	int fd = o->log_file ? open(o->log_file, flags | O_CLOEXEC, 0600) :
			       mfd_ours_file(AT_FDCWD, "multifd-send.log", flags, 0600);

	if (fd >= 0)
		mfd_log_fd_set(fd);
	leave_output(fd);
	mfd_log_tag_set("send");
	mfd_log_level_set((enum mfd_log_level)o->log_level);
	return fd;
}

static int read_config(struct mfd_options *o, struct mfd_error *err)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", MFD_LINK_CONF);
	return mfd_options_from_file(o, path, err);
}

/* Unique enough to tell the sessions of a target apart: host, process, second. */
static void name_session(char *name, size_t len)
{
	char host[64] = "host";
	struct timespec now;

	gethostname(host, sizeof(host) - 1);
	clock_gettime(CLOCK_REALTIME, &now);
	for (char *p = host; *p; p++)
		if (*p == '/' || *p < ' ' || *p == '.')
			*p = '-';
	snprintf(name, len, "%s-%d-%lld", host, getpid(), (long long)now.tv_sec);
}

static int prepare(struct mfd_options *o, struct mfd_shared *sh, struct mfd_error *err)
{
	int ret;

	mfd_assert(mfd_send_phase(sh) == MFD_SEND_CONNECTING);
	mfd_assert(!sh->connected);
	if (!o->target)
		return mfd_error_set(err, -EINVAL, "no target");
	atomic_store(&sh->max_bandwidth, o->max_bandwidth);
	ret = mfd_sock_parse(o->target, 0, &sh->target, err);
	if (!ret)
		ret = mfd_secure_load(o, &sh->security, err);
	if (ret)
		return ret;
	if (!o->session) {
		name_session(sh->session, sizeof(sh->session));
		return 0;
	}
	if (!mfd_wire_name_ok(o->session, strlen(o->session)))
		return mfd_error_set(
			err, -EINVAL,
			"session = %s: a name of 1 to 255 characters without '/', not starting with '.'",
			o->session);
	strcpy(sh->session, o->session); /* the length has been checked */
	return 0;
}

static void refuse(int link, const struct mfd_error *err)
{
	struct mfd_link_msg m = { .type = MFD_LINK_FAILED, .value = err->code };
	struct mfd_progress *p = mfd_progress_open();

	if (p) {
		p->code = err->code;
		p->failed_in = MFD_PROGRESS_CONNECTING;
		snprintf(p->error, sizeof(p->error), "%s", mfd_error_text(err));
		mfd_progress_phase(p, MFD_PROGRESS_ABORTED);
		mfd_progress_close(p);
	}
	snprintf(m.text, sizeof(m.text), "%s", mfd_error_text(err));
	mfd_io_send_fds(link, &m, sizeof(m), NULL, 0);
}

static struct mfd_shared *share(struct mfd_error *err)
{
	void *sh = mmap(NULL, sizeof(struct mfd_shared), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (sh != MAP_FAILED)
		return sh;
	mfd_error_sys(err, -errno, "shared memory");
	return NULL;
}

static int from_plugin(struct mfd_options *o)
{
	struct mfd_error err = { 0 };
	struct mfd_shared *sh = NULL;
	int ret, log_fd;

	fcntl(MFD_LINK_FD, F_SETFD, FD_CLOEXEC);
	ret = read_config(o, &err);
	close(MFD_LINK_CONF);
	log_fd = ret ? -1 : open_log(o);
	if (!ret)
		sh = share(&err);
	if (sh)
		ret = mfd_kept_begin(sh, &err);
	if (sh && !ret)
		ret = prepare(o, sh, &err);
	if (!sh || ret) {
		mfd_log_error("%s", err.text);
		refuse(MFD_LINK_FD, &err);
		if (sh)
			mfd_kept_end(sh);
		return MFD_EXIT_FAILED;
	}
	return mfd_supervisor_run(o, sh, MFD_LINK_FD, log_fd);
}

/* By `resolve --source`, with its decision: every process of the sender before has died. */
static int again(struct mfd_options *o, const char *what)
{
	struct mfd_error err = { 0 };
	struct mfd_shared *sh = share(&err);
	int ret = sh ? mfd_kept_again(sh, o, &err) : err.code, log_fd;

	if (!ret)
		ret = mfd_secure_load(o, &sh->security, &err);
	if (!ret && sh->kept == MFD__SOURCE_STATE__FREEZING && strcmp(what, "run"))
		ret = mfd_error_set(&err, -EBUSY,
				    "the tasks are frozen by the control group %s: --run thaws it, "
				    "nothing else does",
				    sh->freezer);
	if (ret) {
		mfd_log_error("%s", err.text); /* to the person: not in a log yet */
		return MFD_EXIT_REFUSED;
	}
	mfd_send_phase_again(sh);
	log_fd = open_log(o);
	mfd_log_info("a sender goes on with session '%s', whose sender was gone", sh->session);
	return mfd_supervisor_again(o, sh, log_fd, !strcmp(what, "discard"));
}

int mfd_send_main(int argc, char **argv)
{
	int is_first = argc == 2 && !strcmp(argv[1], "--from-plugin"),
	    is_again = argc == 3 && !strcmp(argv[1], "--again"), ret;
	struct mfd_options o;

	if (!is_first && !is_again) {
		fprintf(stderr,
			"criu-multifd send is started by the plugin inside criu dump; see criu-multifd(8)\n");
		return MFD_EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	mfd_options_init(&o);
	ret = is_first ? from_plugin(&o) : again(&o, argv[2]);
	mfd_options_free(&o);
	return ret;
}
