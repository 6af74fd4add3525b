// SPDX-License-Identifier: GPL-2.0-only
/* The network lock of a CRIU that is killed: what it has locked answers again, and nothing else. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shared.h"
#include "unlock.h"

static struct mfd_shared *sh;

/* A namespace with loopback alone. */
static void enter_net(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

#define SHORT_MS 300 /* a locked connection's silence */
#define LONG_MS	 20000

/* Two ends of a connection; the ports are those of its first and its second end. */
struct connection {
	int fd[2];
	unsigned port[2];
};

static unsigned port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	assert_int_equal(getsockname(fd, (void *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static void join(struct connection *c)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(l, (void *)&a, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (void *)&a, &len), 0);
	c->fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(c->fd[0], (void *)&a, len), 0);
	c->fd[1] = accept(l, NULL, NULL);
	close(l);
	for (int i = 0; i < 2; i++)
		c->port[i] = port_of(c->fd[i]);
}

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return system(command);
}

/* As CRIU's iptables_connection_switch(). */
static int lock_connection(const struct connection *c)
{
	static const char *const chain[] = { "INPUT", "OUTPUT" };
	int ret = 0;

	for (int i = 0; i < 2; i++)
		ret |= shell("iptables -w -t filter -I %s --protocol tcp -m mark ! --mark 0xC114 "
			     "--source 127.0.0.1 --sport %u --destination 127.0.0.1 --dport %u -j "
			     "DROP 2>/dev/null",
			     chain[i], c->port[!i], c->port[i]);
	return ret;
}

static int repair(int fd, int on)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
}

/*
 * Nonzero: what one end says comes to the other within so many ms.  What was dropped before is sent
 * again first, after as long as the connection was locked.
 */
static int talks(const struct connection *c, int ms)
{
	struct timeval wait = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	char byte = 'x';

	setsockopt(c->fd[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return send(c->fd[0], &byte, 1, MSG_DONTWAIT) == 1 && recv(c->fd[1], &byte, 1, 0) == 1;
}

/* The task has one end of the first connection; the other belongs to another dump. */
static pid_t task_with(const struct connection *c, const struct connection *other)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	close(c->fd[1]);
	close(other->fd[0]);
	close(other->fd[1]);
	pause();
	_exit(0);
}

static void lock_by(const char *how)
{
	if (!strcmp(how, "nft"))
		assert_int_equal(
			shell("nft 'add table inet CRIU-run; add chain inet CRIU-run "
			      "input { type filter hook input priority 0; policy drop; }'"),
			0);
	else
		assert_int_equal(shell("printf '*filter\n:CRIU - [0:0]\n-I INPUT -j CRIU\n"
				       "-I OUTPUT -j CRIU\n-A CRIU -m mark --mark 0xC114 -j "
				       "ACCEPT\n-A CRIU -j DROP\nCOMMIT\n' | "
				       "iptables-restore -w --noflush"),
				 0);
}

static void unlock(pid_t task)
{
	struct mfd_unlock u;

	memset(sh, 0, sizeof(*sh));
	sh->task[0] = (struct mfd_shared_task){ .pid = 1, .starttime = 1 }; /* it died with criu */
	assert_int_equal(mfd_shared_task_fill(&sh->task[1], task), 0);
	atomic_store(&sh->ntasks, 2);
	strcpy(sh->criu_run, "run");
	sh->criu = 1;
	sh->criu_start = 1; /* it has died */
	mfd_unlock_network(&u, sh);
	mfd_unlock_end(&u, sh);
	assert_int_equal(kill(task, SIGKILL), 0);
	assert_int_equal(waitpid(task, NULL, 0), task);
}

/* In the sender's own network namespace: rules for each connection. */
static void test_connections(void **state)
{
	struct connection c, other;
	pid_t task;

	(void)state;
	enter_net();
	join(&c);
	join(&other);
	assert_true(talks(&c, LONG_MS));
	if (lock_connection(&c) || lock_connection(&other)) {
		print_message("no iptables with -m mark\n");
		skip();
	}
	assert_int_equal(repair(c.fd[0], 1), 0);
	task = task_with(&c, &other);
	unlock(task);
	assert_true(talks(&c, LONG_MS));
	assert_false(talks(&other, SHORT_MS));
}

/* In a network namespace of the tasks' own: all of it is locked. */
static void test_namespace(void **state)
{
	/* the last: a chain that may be another dump's, for no socket here was in TCP_REPAIR */
	static const char *const how[] = { "nft", "iptables", "iptables" };
	struct connection c, other;
	pid_t task;
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), net;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		enter_net();
		join(&c);
		join(&other);
		task = task_with(&c, &other);
		lock_by(how[i]);
		assert_false(talks(&c, SHORT_MS));
		if (i == 1)
			assert_int_equal(repair(c.fd[0], 1), 0);
		net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		assert_int_equal(setns(home, CLONE_NEWNET), 0);
		unlock(task);
		assert_int_equal(setns(net, CLONE_NEWNET), 0);
		assert_int_equal(!talks(&c, i == 2 ? SHORT_MS : LONG_MS), i == 2);
		close(net);
	}
	close(home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_namespace),
	};

	if (geteuid()) {
		printf("1..0 # SKIP not root\n");
		return 0;
	}
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
