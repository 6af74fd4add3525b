// SPDX-License-Identifier: GPL-2.0-only
/* `criu restore` played by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criu.h"
#include "disk.h"
#include "io.h"
#include "server.h"
#include "source.h"

atomic_int *criu_hidden;

static int connect_lazy(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, i;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s/lazy-pages.socket", server_dir, name);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	for (i = 0; i < 300; i++, usleep(10000)) {
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return fd;
	}
	return -1;
}

static int make_uffd(void *mem, size_t len)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
					      UFFD_FEATURE_EVENT_REMOVE |
					      UFFD_FEATURE_EVENT_UNMAP };
	struct uffdio_register reg = { .range = { (uintptr_t)mem, len },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		return -1;
	return fd;
}

/* Whether page i of task 7 is what src_pages sends, or zero for 8..11 as in to_ready. */
static int page_right(const uint8_t *mem, unsigned i, int zeros)
{
	uint8_t want[PAGE] = { 0 };

	if (!zeros || i < 8 || i > 11)
		source_fill_page(want, 7, BASE + (uint64_t)i * PAGE);
	return !memcmp(mem + (size_t)i * PAGE, want, PAGE);
}

/*
 * Wait until the server has written down this process as the one that has the memory: it looks for
 * the process that has the userfaultfd open.
 */
static void wait_found(const char *name, uint32_t vpid, int sock)
{
	char path[200], line[64], *text;
	int i, found = 0;

	snprintf(path, sizeof(path), "%s/%s/.attached", server_dir, name);
	snprintf(line, sizeof(line), " %u %d ", vpid, getpid());
	for (i = 0; i < 2000 && !found; i++) {
		struct pollfd p = { .fd = sock, .events = POLLRDHUP };

		if (!mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL)) {
			found = !!strstr(text, line);
			free(text);
		}
		/* refused, or the server is dead */
		found |= poll(&p, 1, 5) == 1;
	}
}

pid_t criu_restore(const char *name, unsigned pages, int zeros, int hold, uint32_t vpid)
{
	uint32_t fin = 0x52535446;
	pid_t pid = fork();
	int sock, uffd;
	uint8_t *mem;
	unsigned i;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(3, ~0U, 0); /* the source's connections must not live on in here */
	mem = mmap((void *)BASE, (size_t)pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	sock = connect_lazy(name);
	if (mem == MAP_FAILED || sock < 0)
		_exit(10);
	uffd = make_uffd(mem, (size_t)pages * PAGE);
	if (uffd < 0 || mfd_io_write_all(sock, &vpid, 4) ||
	    mfd_io_send_fds(sock, "x", 1, &uffd, 1) < 0)
		_exit(11);
	/* As CRIU's restorer does, which need not wait: its tasks are known by their own pids. */
	if (!criu_hidden)
		wait_found(name, vpid, sock);
	close(uffd);
	if (criu_hidden)
		atomic_store(criu_hidden, 1);
	if (mfd_io_write_all(sock, &fin, 4))
		_exit(12);
	for (i = 0; i < pages; i++) {
		if (!page_right(mem, i, zeros))
			_exit(13);
	}
	if (hold)
		pause();
	_exit(0);
}

int criu_reap(pid_t pid)
{
	int status, i;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return -1;
}

/*
 * A task that faults has said before that the restore is finished, but a fault is read by another
 * thread than that.
 */
void criu_expect_done(pid_t pid, const char *name)
{
	assert_int_equal(criu_reap(pid), 0);
	disk_wait_state(name, MFD__SESSION_STATE__DONE);
}

void criu_wait_restored(const char *name)
{
	char path[200], *text;
	int i, found = 0;

	snprintf(path, sizeof(path), "%s/%s/.attached", server_dir, name);
	for (i = 0; i < 1000 && !found; i++, usleep(10000)) {
		if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
			continue;
		found = !!strstr(text, "restored");
		free(text);
	}
	assert_true(found);
}
