// SPDX-License-Identifier: GPL-2.0-only
/* The pair of sockets at CRIU's gate, and the accept() that hands it out. Theory in gate_pair.h. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gate_end.h"
#include "gate_pair.h"
#include "interpose.h"
#include "pluginlink.h"

/*
 * The process that has made the pair, 0: none.  File-scope, since accept() and a signal handler
 * have no argument to find it by; a process dumps one tree.
 */
static pid_t maker;
/* CRIU's end, to be known again: after CRIU has closed it the number may be another file. */
static ino_t criu_end;

/* CRIU also accepts on unix sockets (its parasites connect to it): those calls are none of ours. */
static int is_page_server(int fd)
{
	int listening = 0, domain = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) || !listening)
		return 0;
	len = sizeof(int);
	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       (domain == AF_INET || domain == AF_INET6);
}

/* CRIU writes the peer's address to its log and fails when it cannot. */
static void name_loopback(struct sockaddr *address, socklen_t *len)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	if (!address || !len)
		return;
	memcpy(address, &sa, *len < sizeof(sa) ? *len : sizeof(sa));
	*len = sizeof(sa);
}

static int gate_accept(int fd, struct sockaddr *address, socklen_t *len)
{
	if (maker != getpid() || !is_page_server(fd))
		return accept4(fd, address, len, 0);
	name_loopback(address, len);
	return MFD_LINK_GATE_CRIU;
}

/* The numbers must lie below CRIU's limit of open files: its soft one is raised if need be. */
static int make_room(struct mfd_error *err)
{
	const rlim_t need = MFD_LINK_GATE_SENDER + 1;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= need)
		return 0;
	if (r.rlim_max < need)
		return mfd_error_set(
			err, -EMFILE,
			"criu may have %llu descriptors open, and the gate needs "
			"number %d: raise the limit (ulimit -n 1024) before criu starts",
			(unsigned long long)r.rlim_max, MFD_LINK_GATE_SENDER);
	r.rlim_cur = r.rlim_max < 1024 ? r.rlim_max : 1024;
	return setrlimit(RLIMIT_NOFILE, &r) ? mfd_error_sys(err, -errno, "ulimit -n 1024") : 0;
}

/* dup3() would close what the process has open under that number. */
static int move_to(int fd, int number, struct mfd_error *err)
{
	int at = fcntl(fd, F_DUPFD_CLOEXEC, number);

	if (at == number)
		return 0;
	if (at < 0)
		return mfd_error_sys(err, -errno, "the gate: descriptor %d", number);
	close(at);
	return mfd_error_set(
		err, -EBUSY,
		"the gate: descriptor %d is open in criu's process already; start criu "
		"without it",
		number);
}

/* Of a socket; 0 if there is none. */
static ino_t inode_of(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

int mfd_gate_pair_make(struct mfd_error *err)
{
	int pair[2], ret = make_room(err);

	if (ret)
		return ret;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return mfd_error_sys(err, -errno, "the gate: socketpair");
	ret = move_to(pair[0], MFD_LINK_GATE_CRIU, err);
	if (!ret) {
		ret = move_to(pair[1], MFD_LINK_GATE_SENDER, err);
		if (ret)
			close(MFD_LINK_GATE_CRIU);
	}
	close(pair[0]);
	close(pair[1]);
	if (ret)
		return ret;
	maker = getpid();
	criu_end = inode_of(MFD_LINK_GATE_CRIU);
	ret = mfd_interpose("accept", gate_accept, NULL);
	if (!ret)
		return 0;
	mfd_gate_pair_close();
	return mfd_error_sys(err, ret, "the gate: criu's accept() cannot be replaced");
}

void mfd_gate_pair_fail(void)
{
	if (maker == getpid())
		mfd_gate_end_close(MFD_LINK_GATE_SENDER);
}

/* CRIU has closed its end if it has come to the gate. */
void mfd_gate_pair_close(void)
{
	if (maker != getpid())
		return;
	maker = 0;
	close(MFD_LINK_GATE_SENDER);
	if (criu_end && inode_of(MFD_LINK_GATE_CRIU) == criu_end)
		close(MFD_LINK_GATE_CRIU);
}
