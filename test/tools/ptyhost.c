// SPDX-License-Identifier: GPL-2.0-only
/*
 * ptyhost: the process that holds the master of a pseudo terminal, and the process on its slave.
 *
 *	ptyhost DIR session COMMAND...	COMMAND leads a session, whose terminal it is
 *	ptyhost DIR plain COMMAND...	the same without a controlling terminal
 *	ptyhost DIR split COMMAND...	plain, opened three times: 0 to read, 1 and 2 to write
 *	ptyhost DIR job COMMAND...	the terminal is that of COMMAND's parent's session
 *	ptyhost DIR with COMMAND...	COMMAND has it as 0 alone; its exit code goes to DIR/ret
 *	ptyhost DIR console SOCKET	the master comes through SOCKET, as from runc
 *	ptyhost grab PID FD		holds that description as its own 3
 *	ptyhost echo [PATH]		the process: answers a line with what its terminal is like,
 *					SIGINT with "interrupted"; reads from PATH
 *
 * DIR/pid is COMMAND's, DIR/slave the slave's path.  What is written to the fifo DIR/keys is typed,
 * what appears is in DIR/screen; "[hung up]" there when the last slave was closed.  The size is 33
 * x 101.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char *dir;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "ptyhost: %s: %s\n", what, strerror(errno));
	exit(2);
}

static const char *in_dir(const char *name)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* Whole or not at all: tests wait for it. */
static void put(const char *name, const char *text)
{
	char tmp[4200];
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s/.%s", dir, name);
	f = fopen(tmp, "w");
	if (!f || fprintf(f, "%s\n", text) < 0 || fclose(f) || rename(tmp, in_dir(name)))
		die(tmp);
}

/* ---- the process on the terminal ---- */

static void on_interrupt(int sig)
{
	(void)sig;
	(void)!write(1, "interrupted\n", 12);
}

static void answer(const char *line)
{
	struct winsize w = { 0 };
	struct termios t;
	int ctty = open("/dev/tty", O_RDWR | O_NOCTTY);
	char text[400];
	int n;

	ioctl(0, TIOCGWINSZ, &w);
	tcgetattr(0, &t);
	n = snprintf(text, sizeof(text), "got %s size=%ux%u intr=%u echo=%d session=%s\n", line,
		     w.ws_row, w.ws_col, t.c_cc[VINTR], !!(t.c_lflag & ECHO),
		     ctty < 0		       ? "no" :
		     tcgetpgrp(0) == getpgrp() ? "mine" :
						 "other");
	if (ctty >= 0)
		close(ctty);
	if (write(1, text, (size_t)n) != n)
		_exit(4);
}

static int be_echo(const char *path)
{
	struct sigaction sa = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
	struct termios t;
	char line[256];
	int from = path ? open(path, O_RDONLY | O_NOCTTY) : 0;
	ssize_t n;

	if (from < 0 || tcgetattr(from, &t))
		die("no terminal");
	t.c_cc[VINTR] = 7;
	t.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(0, TCSANOW, &t);
	sigaction(SIGINT, &sa, NULL);
	if (write(1, "ready\n", 6) != 6)
		return 4;
	while ((n = read(from, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EINTR)) {
		line[n > 0 ? n : 0] = 0;
		line[strcspn(line, "\n")] = 0;
		answer(line);
	}
	return 3;
}

/* ---- the process that holds the master ---- */

static int open_master(void)
{
	struct winsize w = { .ws_row = 33, .ws_col = 101 };
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) || unlockpt(master) || ioctl(master, TIOCSWINSZ, &w))
		die("a pseudo terminal");
	put("slave", ptsname(master));
	return master;
}

static int receive_master(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char name[256], control[CMSG_SPACE(sizeof(int))];
	struct iovec v = { name, sizeof(name) };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c, fd;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 1))
		die(path);
	c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
	if (c < 0 || recvmsg(c, &m, MSG_CMSG_CLOEXEC) < 0 || !CMSG_FIRSTHDR(&m))
		die("no terminal came");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	close(c);
	close(s);
	unlink(path);
	return fd;
}

static void attach(const char *slave, const char *mode)
{
	int fd, n = strcmp(mode, "with") ? 3 : 1;

	for (int i = 0; i < n; i++) {
		int how = !strcmp(mode, "split") ? (i ? O_WRONLY : O_RDONLY) : O_RDWR;

		if (i && strcmp(mode, "split")) {
			dup2(0, i);
			continue;
		}
		fd = open(slave, how | O_NOCTTY);
		if (fd < 0 || (fd != i && dup2(fd, i) < 0))
			die(slave);
		if (fd != i)
			close(fd);
	}
}

static void start_command(const char *mode, char **argv)
{
	char slave[256], text[16];
	int fd = open(in_dir("slave"), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, slave, sizeof(slave) - 1);
	pid_t pid;

	slave[n > 0 ? n - 1 : 0] = 0;
	close(fd);
	if (!strcmp(mode, "job")) {
		setsid();
		fd = open(slave, O_RDWR | O_CLOEXEC); /* now it is this session's */
	}
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		if (strcmp(mode, "job"))
			setsid();
		attach(slave, mode);
		if (!strcmp(mode, "session"))
			ioctl(0, TIOCSCTTY, 0);
		close_range(3, ~0U, 0);
		if (strcmp(mode, "with") && chdir("/"))
			die("/");
		execvp(argv[0], argv);
		die(argv[0]);
	}
	snprintf(text, sizeof(text), "%d", pid);
	put("pid", text);
}

static void reap(void)
{
	char text[16];
	int status;

	if (waitpid(-1, &status, WNOHANG) > 0) {
		snprintf(text, sizeof(text), "%d",
			 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		put("rc", text);
	}
}

/* Returns 0 when nothing could be read. */
static int relay(int from, int to)
{
	char b[4096];
	ssize_t n = read(from, b, sizeof(b));

	return n > 0 && write(to, b, (size_t)n) == n;
}

static void __attribute__((noreturn)) hold(int master, int screen)
{
	int keys, hung = 0;

	keys = open(in_dir("keys"), O_RDWR | O_CLOEXEC);
	if (keys < 0)
		die("keys");
	put("ready", "yes");
	for (;;) {
		struct pollfd p[2] = { { .fd = keys, .events = POLLIN },
				       { .fd = hung ? -1 : master, .events = POLLIN } };

		reap();
		hung = 0;
		poll(p, 2, 50);
		if (p[0].revents & POLLIN)
			relay(keys, master);
		if (p[1].revents && !relay(master, screen)) {
			hung = 1; /* look again after a while: the next slave may be opened */
			if (!access(in_dir("said"), F_OK))
				continue;
			put("said", "yes");
			if (write(screen, "[hung up]\n", 10) != 10)
				die("screen");
		}
	}
}

static void __attribute__((noreturn)) grab(int pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
	    got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (got < 0 || dup2(got, 9) < 0 || dup2(9, 3) < 0)
		die("grab");
	close_range(4, ~0U, 0);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int master, screen;

	if (argc == 4 && !strcmp(argv[1], "grab"))
		grab(atoi(argv[2]), atoi(argv[3]));

	if ((argc == 2 || argc == 3) && !strcmp(argv[1], "echo"))
		return be_echo(argv[2]);
	if (argc < 4) {
		fprintf(stderr,
			"usage: ptyhost DIR session|plain|split|job|with COMMAND... | DIR console SOCKET | echo [PATH]\n");
		return 2;
	}
	dir = argv[1];
	screen = open(in_dir("screen"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (screen < 0 || mkfifo(in_dir("keys"), 0600))
		die(dir);
	master = strcmp(argv[2], "console") ? open_master() : receive_master(argv[3]);
	if (strcmp(argv[2], "console"))
		start_command(argv[2], argv + 3);
	hold(master, screen);
}
