// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keeper of descriptors (keeperproc.h) as a child of the supervisor.  It notices the
 * supervisor's death by its end of the link.  If an earlier server has left a keeper, ours ends at
 * once, by itself, and that one serves on.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "keeperproc.h"
#include "log.h"
#include "supervisor.h"

/* In the child. */
static int be_keeper(struct mfd_supervisor *su, int link)
{
	int code;

	mfd_io_close(&su->signals);
	mfd_io_close(&su->sv->listen_fd);
	mfd_io_close(&su->stop_fd);
	mfd_io_close(&su->sv->lock_fd);
	mfd_io_close(&su->deposits.standby.link);
	mfd_io_close(&su->deposits.standby.orphans);
	mfd_io_close(&su->deposits.standby.orphans_end);
	mfd_deposits_close(&su->deposits);
	code = mfd_keeper_run(su->sv->dir, link, su->sv->keep_ms);
	fflush(NULL);
	return code;
}

int mfd_supervisor_start_keeper(struct mfd_supervisor *su)
{
	int pair[2];

	mfd_assert(su->keeper <= 0 && su->keeper_link < 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	su->keeper = fork();
	if (!su->keeper) {
		close(pair[0]);
		_exit(be_keeper(su, pair[1]));
	}
	close(pair[1]);
	su->keeper_link = pair[0];
	return su->keeper < 0 ? -errno : 0;
}

/* A keeper that was killed has lost what it held; later sessions need another one. */
void mfd_supervisor_look_at_keeper(struct mfd_supervisor *su)
{
	int status;

	if (su->keeper <= 0 || waitpid(su->keeper, &status, WNOHANG) != su->keeper)
		return;
	mfd_io_close(&su->keeper_link);
	su->keeper = 0;
	if (!WIFSIGNALED(status))
		return;
	mfd_log_error("the keeper died of signal %d (%s); the descriptors it held are closed",
		      WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (mfd_supervisor_may_restart(su) && mfd_supervisor_start_keeper(su))
		mfd_log_error("cannot start a keeper: %s", strerror(errno));
}

void mfd_supervisor_end_keeper(struct mfd_supervisor *su)
{
	int status;

	if (su->keeper <= 0)
		return;
	kill(su->keeper, SIGTERM);
	while (waitpid(su->keeper, &status, 0) < 0 && errno == EINTR)
		;
	su->keeper = 0;
	mfd_io_close(&su->keeper_link);
}
