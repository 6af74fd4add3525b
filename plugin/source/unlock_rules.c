// SPDX-License-Identifier: GPL-2.0-only
/* CRIU's rules of nftables and iptables, removed by their own programs; see unlock_rules.h. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "procfile.h"
#include "unlock_rules.h"

#define RUN_NAME 72
#define MARK	 "0xC114" /* of packets of CRIU itself, which its rules let through */

/* In a child, in the network namespace of the tree's root. */
static void exec_in_net(pid_t root, char *const argv[])
{
	char path[40];
	int net, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/%d/ns/net", root);
	net = open(path, O_RDONLY | O_CLOEXEC);
	if (net < 0 || setns(net, CLONE_NEWNET))
		_exit(1);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO); /* there may be no such rule, nor such a program */
	execvp(argv[0], argv);
	_exit(1);
}

/* Nonzero: it has succeeded. */
static int run(pid_t root, const char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (!pid)
		exec_in_net(root, (char *const *)(const void *)argv);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

static int run_script(pid_t root, const char *script)
{
	return run(root, (const char *const[]){ "sh", "-c", script, NULL });
}

/* CRIU cuts its name off where its buffer ends. */
static unsigned delete_table(pid_t root, const char *criu_run)
{
	char name[3][RUN_NAME];

	snprintf(name[0], RUN_NAME, "CRIU-%.63s", criu_run);
	snprintf(name[1], RUN_NAME, "CRIU-%.21s", criu_run);
	snprintf(name[2], RUN_NAME, "CRIU-%d", root);
	for (size_t i = criu_run[0] ? 0 : 2; i < 3; i++)
		if (run(root,
			(const char *const[]){ "nft", "delete", "table", "inet", name[i], NULL }))
			return 1;
	return 0;
}

unsigned mfd_unlock_rules_begin(struct mfd_unlock_rules *r, pid_t root, const char *criu_run)
{
	static const char chains[] = "rc=1; for i in iptables ip6tables; do "
				     "$i -w -n -L CRIU || continue; "
				     "while $i -w -D INPUT -j CRIU; do :; done; "
				     "while $i -w -D OUTPUT -j CRIU; do :; done; "
				     "$i -w -F CRIU && $i -w -X CRIU && rc=0; done; exit $rc",
			  connections[] = "for i in iptables ip6tables; do $i -w -S; done | "
					  "grep -qi 'mark ! --mark " MARK " .*-j DROP'";
	unsigned n = delete_table(root, criu_run);

	if (mfd_procfile_namespace(root, "net") != mfd_procfile_own_namespace("net"))
		n += (unsigned)run_script(root, chains);
	*r = (struct mfd_unlock_rules){ root, run_script(root, connections) };
	return n;
}

/* An address as iptables takes it. */
struct end {
	char address[INET6_ADDRSTRLEN], port[8];
	int v6;
};

/* 0; -1: not of a family that CRIU locks. */
static int read_end(const struct sockaddr_in6 *a, struct end *e)
{
	const struct sockaddr_in *v4 = (const void *)a;
	const void *address = &v4->sin_addr;

	if (a->sin6_family != AF_INET && a->sin6_family != AF_INET6)
		return -1;
	e->v6 = a->sin6_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a->sin6_addr);
	if (a->sin6_family == AF_INET6)
		address = e->v6 ? (const void *)&a->sin6_addr : &a->sin6_addr.s6_addr[12];
	snprintf(e->port, sizeof(e->port), "%u", ntohs(a->sin6_port)); /* at the same place */
	return inet_ntop(e->v6 ? AF_INET6 : AF_INET, address, e->address, sizeof(e->address)) ? 0 :
												-1;
}

static int delete_rule(const struct mfd_unlock_rules *r, const char *chain, const struct end *from,
		       const struct end *to)
{
	return run(r->root, (const char *const[]){ to->v6 ? "ip6tables" : "iptables",
						   "-w",
						   "-t",
						   "filter",
						   "-D",
						   chain,
						   "--protocol",
						   "tcp",
						   "-m",
						   "mark",
						   "!",
						   "--mark",
						   MARK,
						   "--source",
						   from->address,
						   "--sport",
						   from->port,
						   "--destination",
						   to->address,
						   "--dport",
						   to->port,
						   "-j",
						   "DROP",
						   NULL });
}

unsigned mfd_unlock_rules_of(const struct mfd_unlock_rules *r, int fd)
{
	struct sockaddr_in6 here, there;
	socklen_t len = sizeof(here), tlen = sizeof(there);
	struct end a, b;

	if (!r->by_connections || getsockname(fd, (void *)&here, &len) ||
	    getpeername(fd, (void *)&there, &tlen) || read_end(&here, &a) || read_end(&there, &b))
		return 0;
	return (unsigned)(delete_rule(r, "INPUT", &b, &a) + delete_rule(r, "OUTPUT", &a, &b));
}
