// SPDX-License-Identifier: GPL-2.0-only
/*
 * victim: the process that tests and benches migrate. Every byte of its memory can be verified at
 * any time.
 *
 * Theory of operation
 *
 * Memory is a table of regions. What a page must hold follows from the region's seed, the page's
 * index in the region and the page's owner (the process of the tree that wrote it last), so nothing
 * has to be remembered except the owner, and a page that was swapped with another one, lost, or
 * taken from the wrong process is found. The table and the owners live in migrated memory
 * themselves; they carry a checksum with a non-zero salt, so that a table which came back as zeros
 * is an error and not an empty table that verifies.
 *
 * The processes of a tree talk through one shared anonymous mapping ("control"), which CRIU dumps
 * by itself and never lazily. It is also the second witness of the --dirty sequence number: a whole
 * round of writes that is lost leaves private memory consistent with itself, but not with the
 * control page.
 *
 * Limits: registers (FPU, AVX) are not verified; the log is opened for each line, so no regular
 * file is open when CRIU looks, unless it looks at just that moment; commands are polled every
 * tick, by rank 0 only.
 *
 * See usage() for options. Log lines (DIR/victim.log):
 *
 *	map NAME ADDR PAGES			one per region, before "ready"
 *	skipped KIND REASON			a mapping kind this machine cannot have
 *	ready PID
 *	gap START END US rank=R mono=US		did not run from START to END (CLOCK_REALTIME, us)
 *	verify OK pages=N us=T pid=P rank=R
 *	verify BAD mapping=M page=I offset=O addr=A pid=P rank=R WHY
 *	verified all OK|BAD procs=N pages=N us=T	the answer to SIGUSR1 or DIR/cmd-verify
 *	action NAME OK|BAD us=T pid=P rank=R
 *	actions all OK|BAD procs=N pages=N us=T	the answer to SIGUSR2 or DIR/cmd-actions
 *	pong TICKS				the answer to DIR/cmd-ping
 *	exit REASON
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "victim.h"

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		want_verify = 1;
	else if (sig == SIGUSR2)
		want_actions = 1;
	else
		want_exit = sig;
}

static void catch_signals(void)
{
	struct sigaction fault = { .sa_sigaction = verify_on_fault, .sa_flags = SA_SIGINFO },
			 plain = { .sa_handler = on_signal };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGUSR1, &plain, NULL);
	sigaction(SIGUSR2, &plain, NULL);
	sigaction(SIGTERM, &plain, NULL);
}

static void __attribute__((noreturn, noinline)) live(void)
{
	uintptr_t area = (uintptr_t)alloca((opt.stack_pages + 1) * PAGE);

	stack_area = (uint8_t *)(area + -area % PAGE);
	control = region_map((sizeof(*control) + PAGE - 1) / PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED);
	kinds_make();
	tree_grow(0);
	tree_settle();
	command_run();
}

/*
 * Nothing that the caller had open may reach CRIU: a terminal or a pipe to the outside cannot be
 * dumped.
 */
static void close_files(void)
{
	int fd, i;

	syscall(SYS_close_range, 3, ~0U, 0);
	if (opt.keep_stdio)
		return;
	fd = open("/dev/null", O_RDWR);
	for (i = 0; i < 3; i++)
		if (fd < 0 || dup2(fd, i) < 0)
			fail("/dev/null: %s", strerror(errno));
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	options_parse(argc, argv);
	if (chdir(argv[optind])) {
		perror(argv[optind]);
		return 1;
	}
	close_files();
	umask(022);
	/*
	 * CRIU wants the session leader inside the dumped tree; a group leader cannot become one.
	 */
	if (getsid(0) != getpid() && setsid() < 0) {
		if (fork())
			_exit(0);
		setsid();
	}
	catch_signals();
	live();
}
