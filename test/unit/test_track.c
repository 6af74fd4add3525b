// SPDX-License-Identifier: GPL-2.0-only
/* NOT SANITIZED: it tracks processes of its own kind, and those reserve 20 TiB then. */
/*
 * Attaching a tracker: what the process notices (nothing), and what is found of it afterwards.
 * test_track_chaos.c has the rule itself.
 */
/* LDFLAGS: -Wl,--wrap=ioctl */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "pair.h"
#include "procfile.h"
#include "track.h"

#define PAGE 4096UL

/* What a child tells: shared with it. */
static struct {
	volatile int ready, errors, done;
	volatile uint64_t count;
	char *volatile memory;
} * told;

static int group_setup(void **state)
{
	told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return told == MAP_FAILED;
}

static pid_t start(void (*child)(void))
{
	uint64_t end = mfd_io_now_ms() + 5000;
	pid_t pid;

	if (mfd_track_supported())
		skip();
	memset((void *)told, 0, sizeof(*told));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child();
		_exit(0);
	}
	while (!told->ready && mfd_io_now_ms() < end)
		usleep(1000);
	assert_true(told->ready);
	usleep(20000);
	return pid;
}

static unsigned descriptors(pid_t pid)
{
	char path[64];
	unsigned n = 0;

	for (int i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, i);
		n += !access(path, F_OK) || errno == EACCES;
	}
	return n;
}

/* ---- calls that are interrupted ---- */

static int wait_nanosleep(void)
{
	return nanosleep(&(struct timespec){ 1, 0 }, NULL);
}

static int wait_poll(void)
{
	return poll(NULL, 0, 1000);
}

static int wait_select(void)
{
	return select(0, NULL, NULL, NULL, &(struct timeval){ 1, 0 });
}

static int wait_futex(void)
{
	int word = 0, ret;

	ret = (int)syscall(SYS_futex, &word, FUTEX_WAIT, 0, &(struct timespec){ 1, 0 }, NULL, 0);
	return ret < 0 && errno == ETIMEDOUT ? 0 : ret;
}

static int wait_epoll(void)
{
	int fd = epoll_create1(0), ret;
	struct epoll_event e;

	ret = epoll_wait(fd, &e, 1, 1000);
	close(fd);
	return ret;
}

static int wait_signal(void)
{
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ret = sigtimedwait(&set, NULL, &(struct timespec){ 1, 0 });
	return ret < 0 && errno == EAGAIN ? 0 : ret;
}

static int wait_recv(void)
{
	int fd[2], ret;
	char c;

	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 1, 0 },
		   sizeof(struct timeval));
	ret = (int)recv(fd[0], &c, 1, 0);
	close(fd[0]);
	close(fd[1]);
	return ret < 0 && errno == EAGAIN ? 0 : ret;
}

static int (*const waits[])(void) = { wait_nanosleep, wait_poll,   wait_select, wait_futex,
				      wait_epoll,     wait_signal, wait_recv };
static int which;

static void wait_in_call(void)
{
	told->ready = 1;
	told->errors = waits[which]() < 0 ? errno : 0;
	told->done = 1;
}

static void no_call_is_interrupted(void **state)
{
	for (which = 0; which < (int)(sizeof(waits) / sizeof(*waits)); which++) {
		pid_t pid = start(wait_in_call);
		unsigned before = descriptors(pid);
		struct mfd_track t;

		mfd_track_attach(&t, pid);
		assert_string_equal(t.why, "");
		assert_int_equal(told->done, 0);
		assert_int_equal(descriptors(pid), before);
		print_message("# call %d: stopped for %u us\n", which, t.stopped_us);
		assert_int_equal(pair_status(pid, 5000), 0);
		assert_int_equal(told->done, 1);
		assert_int_equal(told->errors, 0);
		mfd_track_detach(&t);
	}
}

/* Registers of all kinds, while it computes. */
static void compute(void)
{
	volatile double d = 1;
	uint64_t x = 1, y = 1;

	told->ready = 1;
	while (!told->done) {
		uint64_t a = x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		double e = d;

		for (int i = 0; i < 50; i++) {
			y = y * 6364136223846793005ULL + 1442695040888963407ULL;
			e = e * 1.0000001;
		}
		for (int i = 0; i < 49; i++)
			a = a * 6364136223846793005ULL + 1442695040888963407ULL;
		told->errors |= a != y;
		x = y;
		told->count++;
	}
}

static void a_program_computes_on(void **state)
{
	pid_t pid = start(compute);

	for (int i = 0; i < 100; i++) {
		struct mfd_track t;

		mfd_track_attach(&t, pid);
		assert_string_equal(t.why, "");
		mfd_track_detach(&t);
	}
	told->done = 1;
	assert_int_equal(pair_status(pid, 2000), 0);
	assert_int_equal(told->errors, 0);
}

/* In the moment in which the thread stands, with its registers elsewhere. */
static void die_with_all_of_the_group(int fd, void *arg)
{
	kill(0, SIGKILL);
}

static void the_trackers_death_does_not_matter(void **state)
{
	pid_t victim = start(compute), tracker;
	struct mfd_inject in;
	uint64_t count;
	int status;

	for (int i = 0; i < 3; i++) {
		tracker = fork();
		if (!tracker) {
			setpgid(0, 0);
			mfd_inject_userfaultfd(victim, die_with_all_of_the_group, NULL, &in);
			_exit(0);
		}
		assert_int_equal(waitpid(tracker, &status, 0), tracker);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		usleep(50000);
		count = told->count;
		usleep(50000);
		assert_true(told->count > count);
	}
	told->done = 1;
	assert_int_equal(pair_status(victim, 2000), 0);
	assert_int_equal(told->errors, 0);
}

/* ---- where it is hard, or cannot be done ---- */

static void stand_stopped(void)
{
	told->ready = 1;
	raise(SIGSTOP);
	told->done = 1;
}

static void a_stopped_process_stays_stopped(void **state)
{
	pid_t pid = start(stand_stopped);
	struct mfd_procfile_stat st;
	struct mfd_track t;

	mfd_track_attach(&t, pid);
	assert_string_equal(t.why, "");
	usleep(20000);
	assert_int_equal(mfd_procfile_stat(pid, &st), 0);
	assert_int_equal(st.state, 'T');
	assert_int_equal(told->done, 0);
	kill(pid, SIGCONT);
	assert_int_equal(pair_status(pid, 2000), 0);
	mfd_track_detach(&t);
}

static void forbid(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof(f) / sizeof(*f), f };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	told->errors = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) != 0;
	told->ready = 1;
	while (!told->done)
		usleep(1000);
}

static void a_filter_of_calls_does_not_matter(void **state)
{
	pid_t pid = start(forbid);
	struct mfd_track t;

	mfd_track_attach(&t, pid);
	assert_string_equal(t.why, "");
	told->done = 1;
	assert_int_equal(told->errors, 0);
	assert_int_equal(pair_status(pid, 2000), 0);
	mfd_track_detach(&t);
}

static void use_up_descriptors(void)
{
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 16, 16 });
	while (dup(0) >= 0)
		;
	told->ready = 1;
	while (!told->done)
		usleep(1000);
}

static void have_a_userfaultfd(void)
{
	told->errors = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1) < 0;
	told->ready = 1;
	while (!told->done)
		usleep(1000);
}

/* From here on each call of it is a SIGSYS. */
static void dispatch_calls(void)
{
	static volatile char selector;

	told->errors =
		prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0UL, 0UL, &selector) != 0;
	selector = SYSCALL_DISPATCH_FILTER_BLOCK;
	told->ready = 1;
	while (!told->done)
		told->count++;
	selector = SYSCALL_DISPATCH_FILTER_ALLOW;
}

static void refuses(void (*child)(void), const char *why)
{
	pid_t pid = start(child);
	struct mfd_run run;
	struct mfd_track t;

	mfd_track_attach(&t, pid);
	print_message("# untracked: %s\n", t.why);
	assert_non_null(strstr(t.why, why));
	mfd_track_begin(&t);
	assert_int_equal(mfd_track_next(&t, &run, 1), 0);
	told->done = 1;
	assert_int_equal(told->errors, 0);
	assert_int_equal(pair_status(pid, 2000), 0);
	mfd_track_detach(&t);
}

static void what_cannot_be_tracked_says_why_and_runs_on(void **state)
{
	refuses(use_up_descriptors, "descriptor");
	refuses(have_a_userfaultfd, "userfaultfd of its own");
	refuses(dispatch_calls, "dispatches its system calls itself");
}

static void be_traced(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	told->ready = 1;
	while (!told->done)
		usleep(1000);
}

static void a_traced_process_is_not_tracked(void **state)
{
	refuses(be_traced, "traced");
}

/* ---- what is found ---- */

static void write_when_told(void)
{
	char *m = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *later = NULL;

	memset(m, 1, 64 * PAGE);
	told->memory = m;
	told->ready = 1;
	for (uint64_t done = 0; !told->done; usleep(500)) {
		if (told->count == done)
			continue;
		done = told->count;
		if (done == 1) {
			m[3 * PAGE] = 2;
			m[4 * PAGE] = 2;
		} else if (done == 2) {
			later = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			memset(later, 1, 8 * PAGE);
			told->memory = later;
		} else if (done == 3) {
			char *argv[] = { "sleep", "5", NULL };

			execv("/bin/sleep", argv);
		}
		told->ready = (int)done + 1;
	}
}

static void step(int n)
{
	told->count = (uint64_t)n;
	for (int i = 0; i < 1000 && told->ready != n + 1; i++)
		usleep(1000);
}

/* How many pages of [from, from + n pages) a round finds. */
static uint64_t found(struct mfd_track *t, char *from, uint64_t n)
{
	uint64_t first = (uintptr_t)from, end = first + n * PAGE, pages = 0;
	struct mfd_run r;

	mfd_track_begin(t);
	while (mfd_track_next(t, &r, 1) > 0)
		for (uint64_t p = 0; p < r.pages; p++)
			pages += r.vaddr + p * PAGE >= first && r.vaddr + p * PAGE < end;
	return pages;
}

static void rounds_find_what_was_written(void **state)
{
	pid_t pid = start(write_when_told);
	char *m = told->memory;
	struct mfd_track t;

	mfd_track_attach(&t, pid);
	assert_int_equal(found(&t, m, 64), 64);
	assert_int_equal(found(&t, m, 64), 0);
	step(1);
	assert_int_equal(found(&t, m, 64), 2);
	step(2);
	assert_true(mfd_track_count(&t) >= 8);
	assert_int_equal(found(&t, told->memory, 8), 8);
	assert_int_equal(found(&t, told->memory, 8), 0);
	told->count = 3; /* another program: its memory is new */
	usleep(100000);
	mfd_track_begin(&t);
	assert_string_equal(t.why, "");
	assert_true(mfd_track_count(&t) > 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	mfd_track_begin(&t);
	assert_true(t.why[0]);
	mfd_track_detach(&t);
}

/* ---- two that track the same memory ---- */

static void only_one_tracks_a_process(void **state)
{
	pid_t pid = start(write_when_told);
	char *m = told->memory;
	struct mfd_track t, second;

	mfd_track_attach(&t, pid);
	assert_int_equal(found(&t, m, 64), 64);
	mfd_track_attach(&second, pid);
	print_message("# untracked: %s\n", second.why);
	assert_non_null(strstr(second.why, "another program tracks it"));
	step(1);
	assert_int_equal(found(&second, m, 64), 0);
	mfd_track_detach(&second);
	assert_int_equal(found(&t, m, 64), 2);
	assert_string_equal(t.why, "");
	pair_reap(pid);
	mfd_track_detach(&t);
}

/* As a child of vfork() or posix_spawn() does before it runs another program. */
static int share_memory(void *pid)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	*(volatile pid_t *)pid = getpid();
	while (!told->done)
		usleep(1000);
	_exit(0);
}

static void have_a_child_in_the_same_memory(void)
{
	static char stack[65536];
	volatile pid_t child = 0;

	clone(share_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)&child);
	while (!child)
		usleep(1000);
	told->count = (uint64_t)child;
	told->ready = 1;
	waitpid(child, NULL, 0);
}

static void memory_is_tracked_for_one_of_its_processes(void **state)
{
	pid_t pid = start(have_a_child_in_the_same_memory);
	struct mfd_track t, child;

	mfd_track_attach(&t, pid);
	assert_string_equal(t.why, "");
	mfd_track_attach(&child, (pid_t)told->count);
	assert_non_null(strstr(child.why, "shares its memory"));
	mfd_track_detach(&child);
	told->done = 1;
	assert_int_equal(pair_status(pid, 2000), 0);
	mfd_track_detach(&t);
}

/* Of a mapping that appears between two rounds: pages of it are for another to handle. */
static void a_mapping_of_anothers_ends_the_tracking(void **state)
{
	pid_t pid = start(write_when_told);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct mfd_inject in;
	struct mfd_track t;

	mfd_track_attach(&t, pid);
	found(&t, told->memory, 64);
	step(2);
	assert_int_equal(mfd_inject_userfaultfd(pid, NULL, NULL, &in), 0);
	assert_int_equal(ioctl(in.fd, UFFDIO_API, &api), 0);
	r.range.start = (uintptr_t)told->memory;
	r.range.len = 8 * PAGE;
	assert_int_equal(ioctl(in.fd, UFFDIO_REGISTER, &r), 0);
	found(&t, told->memory, 8);
	assert_non_null(strstr(t.why, "another program tracks it"));
	pair_reap(pid);
	close(in.fd);
	mfd_track_detach(&t);
}

/* ---- a scan that fails ---- */

static int protecting_scans = -1; /* that still succeed; negative: all */
static int was_cleared;		  /* bool: protection of told->memory was taken back */

static int is_of(const struct uffdio_range *r, const char *memory)
{
	return (uintptr_t)memory >= r->start && (uintptr_t)memory < r->start + r->len;
}

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	int is_scan = _IOC_TYPE(request) == 'f' && _IOC_NR(request) == 16;

	if (is_scan && ((uint64_t *)arg)[1] && protecting_scans >= 0 && !protecting_scans--) {
		__real_ioctl(fd, request, arg); /* it has protected pages by then */
		errno = EFAULT;
		return -1;
	}
	if (request == UFFDIO_WRITEPROTECT && !((struct uffdio_writeprotect *)arg)->mode)
		was_cleared |= is_of(&((struct uffdio_writeprotect *)arg)->range, told->memory);
	return __real_ioctl(fd, request, arg);
}

/* Protection that pages of it have brought along would pass for that of a scan. */
static void what_is_registered_has_no_protection_yet(void **state)
{
	pid_t pid = start(write_when_told);
	struct mfd_track t;

	mfd_track_attach(&t, pid);
	was_cleared = 0;
	found(&t, told->memory, 64);
	assert_true(was_cleared);
	step(2);
	was_cleared = 0;
	found(&t, told->memory, 8);
	assert_true(was_cleared);
	was_cleared = 0;
	found(&t, told->memory, 8);
	assert_false(was_cleared);
	pair_reap(pid);
	mfd_track_detach(&t);
}

static void a_scan_that_fails_ends_the_tracking(void **state)
{
	pid_t pid = start(write_when_told);
	struct mfd_vmas vmas;
	struct mfd_track t;
	size_t n;

	mfd_track_attach(&t, pid);
	found(&t, told->memory, 64);
	step(1);
	protecting_scans = 1;
	found(&t, told->memory, 64);
	protecting_scans = -1;
	print_message("# untracked: %s\n", t.why);
	assert_true(t.why[0]);
	assert_int_equal(mfd_pagescan_vmas(pid, &vmas, NULL), 0);
	n = vmas.n;
	assert_int_equal(mfd_track_stopped(&t, &vmas, 0), 0);
	assert_int_equal(vmas.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(vmas.v[i].look, MFD_LOOK_ALL);
	mfd_pagescan_vmas_free(&vmas);
	pair_reap(pid);
	mfd_track_detach(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_is_interrupted),
		cmocka_unit_test(a_program_computes_on),
		cmocka_unit_test(the_trackers_death_does_not_matter),
		cmocka_unit_test(a_stopped_process_stays_stopped),
		cmocka_unit_test(a_filter_of_calls_does_not_matter),
		cmocka_unit_test(what_cannot_be_tracked_says_why_and_runs_on),
		cmocka_unit_test(a_traced_process_is_not_tracked),
		cmocka_unit_test(rounds_find_what_was_written),
		cmocka_unit_test(only_one_tracks_a_process),
		cmocka_unit_test(memory_is_tracked_for_one_of_its_processes),
		cmocka_unit_test(a_mapping_of_anothers_ends_the_tracking),
		cmocka_unit_test(a_scan_that_fails_ends_the_tracking),
		cmocka_unit_test(what_is_registered_has_no_protection_yet),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
