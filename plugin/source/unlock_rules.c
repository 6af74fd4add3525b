// SPDX-License-Identifier: GPL-2.0-only
/* CRIU's rules of nftables and iptables, removed by their own programs; see unlock_rules.h. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "unlock_rules.h"

#define RUN_NAME 72
#define PATH	 "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
#define MARK	 "0xC114" /* of packets of CRIU itself, which its rules let through */
#define WAIT	 "5"	  /* s, for another program that changes rules */
#define NONE	 "1"	  /* exit code: there is nothing */

/* ---- their programs ---- */

/* In a child. */
static void __attribute__((noreturn)) exec_in_net(int netns, int out, char *const argv[])
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (setns(netns, CLONE_NEWNET))
		_exit(127);
	dup2(out >= 0 ? out : null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO); /* there may be no such rule, nor such a program */
	setenv("PATH", PATH, 1);   /* a person's may not have them */
	execvp(argv[0], argv);
	_exit(127);
}

/* Its exit code, 127: there is no such program. */
static int finish(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ?
		       WEXITSTATUS(status) :
		       127;
}

static int run(int netns, const char *const argv[])
{
	pid_t pid = fork();

	if (!pid)
		exec_in_net(netns, -1, (char *const *)(const void *)argv);
	return finish(pid);
}

/* ---- tables and chains ---- */

/* CRIU cuts its name off where its buffer ends.  1: it was there, and is not any more. */
static int delete_table(int netns, const char *criu_run, int root)
{
	char name[3][RUN_NAME];

	snprintf(name[0], RUN_NAME, "CRIU-%.63s", criu_run);
	snprintf(name[1], RUN_NAME, "CRIU-%.21s", criu_run);
	snprintf(name[2], RUN_NAME, "CRIU-%d", root);
	for (size_t i = criu_run[0] ? 0 : 2; i < 3; i++)
		if (!run(netns,
			 (const char *const[]){ "nft", "delete", "table", "inet", name[i], NULL }))
			return 1;
	return 0;
}

/*
 * One jump from each of the two chains is one dump's; more are those of several at once.  1: it was
 * there and is not any more; -1: it is left.
 */
static int delete_chain(int netns, unsigned locked)
{
	static const char script[] =
		"rc=" NONE "; for i in iptables ip6tables; do "
		"$i -w " WAIT " -n -L CRIU >/dev/null || continue; "
		"[ \"$1\" != 0 ] && [ $($i -w " WAIT " -S INPUT | grep -c -- '-j CRIU$') -le 1 ] "
		"|| exit 2; "
		"$i -w " WAIT " -D INPUT -j CRIU; $i -w " WAIT " -D OUTPUT -j CRIU; "
		"$i -w " WAIT " -F CRIU && $i -w " WAIT " -X CRIU || exit 2; rc=0; done; exit $rc";
	int code = run(netns,
		       (const char *const[]){ "sh", "-c", script, "sh", locked ? "1" : "0", NULL });

	return code == 2 ? -1 : !code;
}

/* ---- rules of connections ---- */

static int read_end(const struct sockaddr_in6 *a, struct mfd_unlock_end *e)
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

int mfd_unlock_connection_of(int fd, struct mfd_unlock_connection *c)
{
	struct sockaddr_in6 here, there;
	socklen_t len = sizeof(here), tlen = sizeof(there), plen = sizeof(int);
	int protocol = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &plen) || protocol != IPPROTO_TCP ||
	    getsockname(fd, (void *)&here, &len) || getpeername(fd, (void *)&there, &tlen))
		return -1;
	return read_end(&here, &c->here) || read_end(&there, &c->there) ? -1 : 0;
}

/* The word behind `option` in a rule, without a prefix length. */
static int is_word(const char *rule, const char *option, const char *word)
{
	const char *at = strstr(rule, option);
	size_t n = strlen(word);

	return at && !strncmp(at + strlen(option), word, n) &&
	       strchr(" /\n", at[strlen(option) + n]) != NULL;
}

static int is_from_to(const char *rule, const struct mfd_unlock_end *from,
		      const struct mfd_unlock_end *to)
{
	return is_word(rule, " -s ", from->address) && is_word(rule, " -d ", to->address) &&
	       is_word(rule, " --sport ", from->port) && is_word(rule, " --dport ", to->port);
}

/* 0: it is gone. */
static int delete_rule(int netns, const char *chain, const struct mfd_unlock_end *from,
		       const struct mfd_unlock_end *to)
{
	return run(netns, (const char *const[]){ to->v6 ? "ip6tables" : "iptables",
						 "-w",
						 WAIT,
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

/* 1: it was a connection's of the tasks, and is gone; -1: it is left; 0: it is another's. */
static int try_rule(int netns, const char *rule, const struct mfd_unlock_connection *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (is_from_to(rule, &c[i].there, &c[i].here))
			return delete_rule(netns, "INPUT", &c[i].there, &c[i].here) ? -1 : 1;
		if (is_from_to(rule, &c[i].here, &c[i].there))
			return delete_rule(netns, "OUTPUT", &c[i].here, &c[i].there) ? -1 : 1;
	}
	return 0;
}

struct count {
	unsigned done, left;
};

static void count(struct count *k, int ret)
{
	k->done += ret > 0;
	k->left += ret < 0;
}

static void delete_rules(int netns, const struct mfd_unlock_connection *c, size_t n,
			 struct count *k)
{
	static const char *const argv[] = { "sh", "-c",
					    "for i in iptables ip6tables; do $i -w " WAIT
					    " -S; done | "
					    "grep -i 'mark ! --mark " MARK " .*-j DROP'",
					    NULL };
	char rule[512];
	int pair[2];
	pid_t pid;
	FILE *f;

	if (!n || pipe2(pair, O_CLOEXEC))
		return;
	pid = fork();
	if (!pid)
		exec_in_net(netns, pair[1], (char *const *)(const void *)argv);
	close(pair[1]);
	f = fdopen(pair[0], "r");
	while (f && fgets(rule, sizeof(rule), f))
		count(k, try_rule(netns, rule, c, n));
	if (f)
		fclose(f);
	else
		close(pair[0]);
	finish(pid);
}

void mfd_unlock_rules(int netns, const char *criu_run, int root, int own_netns, unsigned locked,
		      const struct mfd_unlock_connection *c, size_t n)
{
	struct count k = { 0 };

	count(&k, delete_table(netns, criu_run, root));
	if (!own_netns)
		count(&k, delete_chain(netns, locked));
	else
		delete_rules(netns, c, n, &k);
	if (k.done)
		mfd_log_info("criu has ended and left rules that lock the network of the tasks: %u "
			     "are removed",
			     k.done);
	if (k.left || (locked && !k.done))
		mfd_log_warn(
			"criu's rules may lock the network of the tasks still: look for them "
			"in their network namespace, in 'nft list ruleset' (table CRIU-...) and "
			"'iptables -S' (chain CRIU, or mark " MARK "), and remove them");
}
