// SPDX-License-Identifier: GPL-2.0-only
/* Connected sockets and children for unit tests. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pair.h"

static void die(const char *what)
{
	perror(what);
	abort();
}

void pair_tcp(int fd[2], int small_window)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = 16 << 10;
	socklen_t len = sizeof(sa);

	if (small_window)
		setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (l < 0 || bind(l, (void *)&sa, sizeof(sa)) || listen(l, 1) ||
	    getsockname(l, (void *)&sa, &len))
		die("listen");
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd[0] < 0 || connect(fd[0], (void *)&sa, sizeof(sa)))
		die("connect");
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fd[1] < 0)
		die("accept");
	close(l);
}

void pair_pattern(void *buf, size_t len, uint64_t seed)
{
	unsigned char *p = buf;
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1;

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		p[i] = (unsigned char)(x >> i % 8 * 8) | 1;
	}
}

pid_t pair_frozen_child(void)
{
	return pair_frozen_after(NULL, NULL);
}

pid_t pair_frozen_after(void (*first)(void *), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (first)
			first(arg);
		raise(SIGSTOP);
		_exit(0);
	}
	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		die("waitpid");
	return pid;
}

pid_t pair_counting_child(volatile uint64_t *count)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		(*count)++;
		usleep(1000);
	}
}

unsigned pair_counting(const volatile uint64_t *count, unsigned n)
{
	uint64_t before[n];
	unsigned running = 0;

	memcpy(before, (const void *)count, sizeof(before));
	usleep(150000);
	for (unsigned i = 0; i < n; i++)
		running += count[i] != before[i];
	return running;
}

void pair_reap(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

unsigned long pair_smaps_kib(pid_t pid, const char *field, const void *at)
{
	unsigned long from, to, kib = 0;
	char path[64], line[512];
	int counts = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		die(path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			counts = !at || (from <= (uintptr_t)at && (uintptr_t)at < to);
		else if (counts && !strncmp(line, field, strlen(field)))
			kib += strtoul(line + strlen(field), NULL, 10);
	}
	fclose(f);
	return kib;
}

int pair_status(pid_t pid, unsigned timeout_ms)
{
	int status;

	for (unsigned i = 0; i <= timeout_ms; i += 5) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		usleep(5000);
	}
	pair_reap(pid);
	return -1;
}

int pair_in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(fn());
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void pair_time_limit(unsigned seconds)
{
	alarm(seconds);
}
