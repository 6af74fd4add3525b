// SPDX-License-Identifier: GPL-2.0-only
/*
 * Starts a program as systemd would: activate [-u] [-a ADDR] [-n N] COMMAND...
 *
 * N listening TCP sockets on ADDR (127.0.0.1) are its descriptors 3, 4 ...; -u: a UDP socket
 * instead.  What comes to its NOTIFY_SOCKET is printed, a line each, with "main" or "other" for the
 * process that sent it; "listening PORT" comes first.  Ends with its exit code.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static void pass_on(int sig)
{
	kill(child, sig);
}

static void die(const char *what)
{
	perror(what);
	exit(127);
}

static void listener(int fd, const char *addr, int type)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int s = socket(AF_INET, type, 0);

	inet_pton(AF_INET, addr, &sin.sin_addr);
	if (s < 0 || bind(s, (struct sockaddr *)&sin, len) ||
	    (type == SOCK_STREAM && listen(s, 16)))
		die("socket");
	getsockname(s, (struct sockaddr *)&sin, &len);
	printf("listening %d\n", ntohs(sin.sin_port));
	if (s != fd && (dup2(s, fd) < 0 || close(s)))
		die("dup2");
}

static int notify_socket(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int one = 1, s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n;
	char name[64];

	n = snprintf(name, sizeof(name), "@mfd-activate-%d", getpid());
	memcpy(un.sun_path + 1, name + 1, (size_t)n - 1);
	if (s < 0 ||
	    bind(s, (struct sockaddr *)&un, (socklen_t)(sizeof(un.sun_family) + (size_t)n)) ||
	    setsockopt(s, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)))
		die("notify socket");
	setenv("NOTIFY_SOCKET", name, 1);
	return fcntl(s, F_DUPFD_CLOEXEC, 100);
}

static void start(char **argv, int n)
{
	char text[16];

	child = fork();
	if (child < 0)
		die("fork");
	if (child)
		return;
	snprintf(text, sizeof(text), "%d", n);
	setenv("LISTEN_FDS", text, 1);
	snprintf(text, sizeof(text), "%d", getpid());
	setenv("LISTEN_PID", text, 1);
	execvp(argv[0], argv);
	die(argv[0]);
}

static void print_message(int s)
{
	char buf[1024], control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = { buf, sizeof(buf) - 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(s, &m, MSG_DONTWAIT);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct ucred cred = { 0 };

	if (n <= 0)
		return;
	buf[n] = 0;
	if (c && c->cmsg_type == SCM_CREDENTIALS)
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	printf("%s %s\n", cred.pid == child ? "main" : "other", buf);
}

int main(int argc, char **argv)
{
	const char *addr = "127.0.0.1";
	int n = 1, type = SOCK_STREAM, opt, s, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((opt = getopt(argc, argv, "+ua:n:")) != -1) {
		if (opt == 'u')
			type = SOCK_DGRAM;
		else if (opt == 'a')
			addr = optarg;
		else if (opt == 'n')
			n = atoi(optarg);
		else
			return 127;
	}
	if (optind == argc)
		return 127;
	s = notify_socket();
	for (int i = 0; i < n; i++)
		listener(3 + i, addr, type);
	start(argv + optind, n);
	for (int i = 0; i < n; i++)
		close(3 + i);
	signal(SIGTERM, pass_on);
	for (;;) {
		struct pollfd p = { .fd = s, .events = POLLIN };
		int got = poll(&p, 1, 50);

		if (got > 0)
			print_message(s);
		else if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}
