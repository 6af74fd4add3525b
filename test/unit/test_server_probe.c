// SPDX-License-Identifier: GPL-2.0-only
/* PROBE: what a target lacks, asked without a session. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fuse.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buildid.h"
#include "life.h"
#include "players/server.h"
#include "players/source.h"
#include "probe.h"
#include "probe_look.h"
#include "procfile.h"

static Mfd__Probed *ask(struct source *s, const Mfd__Probe *p)
{
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_PROBE, &p->base), 0);
	return (Mfd__Probed *)source_expect(s, MFD_WIRE_PROBED);
}

static void begin(struct source *s)
{
	source_init(s, "probe");
	source_dial(&s->c.conn);
	source_greet(&s->c.conn, MFD_WIRE_ROLE_CONTROL, 0, NULL, NULL);
}

/* What the server says of one file: 0, or enum probe_fault. */
static int fault_of(struct source *s, Mfd__ProbeFile *f)
{
	Mfd__Probe p = MFD__PROBE__INIT;
	Mfd__Probed *r;
	int fault;

	p.n_file = 1;
	p.file = &f;
	r = ask(s, &p);
	fault = r->n_file ? (int)r->file[0]->fault : 0;
	assert_true(r->n_file < 2);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	return fault;
}

static void test_files(void **state)
{
	Mfd__ProbeFile f = MFD__PROBE_FILE__INIT;
	uint8_t id[MFD_BUILDID_MAX];
	char self[4096] = "";
	struct source s;
	struct stat st;
	size_t len;
	int fd;

	(void)state;
	server_start("--restore", NULL);
	begin(&s);
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	fd = open(self, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	len = mfd_buildid_read(fd, id);
	close(fd);
	f.path = self;
	f.has_size = 1;
	f.size = (uint64_t)st.st_size;
	assert_int_equal(fault_of(&s, &f), 0);
	f.size++;
	assert_int_equal(fault_of(&s, &f), MFD__PROBE_FAULT__SIZE);
	f.size -= 2;
	assert_int_equal(fault_of(&s, &f), MFD__PROBE_FAULT__SIZE);
	f.has_grows = f.grows = 1; /* by now it may be larger */
	assert_int_equal(fault_of(&s, &f), 0);
	f.has_size = 0; /* CRIU does not look at it either */
	f.has_grows = f.grows = 0;
	f.size = 1;
	assert_int_equal(fault_of(&s, &f), 0);
	f.has_build_id = len > 0;
	f.build_id = (ProtobufCBinaryData){ len, id };
	assert_int_equal(fault_of(&s, &f), 0);
	f.has_size = 1; /* as CRIU: the size first */
	assert_int_equal(fault_of(&s, &f), MFD__PROBE_FAULT__SIZE);
	f.size = (uint64_t)st.st_size;
	assert_int_equal(fault_of(&s, &f), 0);
	id[0] ^= 1;
	assert_int_equal(fault_of(&s, &f), len ? MFD__PROBE_FAULT__BUILD : 0);
	f.has_folder = f.folder = 1;
	assert_int_equal(fault_of(&s, &f), MFD__PROBE_FAULT__KIND);
	f.path = "/";
	assert_int_equal(fault_of(&s, &f), 0);
	f.path = "/usr/no/such/file";
	assert_int_equal(fault_of(&s, &f), MFD__PROBE_FAULT__MISSING);
	f.path = "not/absolute";
	assert_int_equal(fault_of(&s, &f), 0);
	source_close(&s);
	source_to_ready(&s, "one"); /* no name is taken, nothing is in the way */
	source_commit(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* A server that restores nothing shows a peer nothing of its files and processes. */
static void test_untrusted(void **state)
{
	Mfd__ProbeFile f = MFD__PROBE_FILE__INIT;
	uint32_t pid = 1;
	Mfd__Probe p = MFD__PROBE__INIT;
	Mfd__ProbeFile *list = &f;
	struct source s;
	Mfd__Probed *r;

	(void)state;
	server_start(NULL, NULL);
	begin(&s);
	f.path = "/usr/no/such/file";
	p.n_file = 1;
	p.file = &list;
	p.n_pid = 1;
	p.pid = &pid;
	r = ask(&s, &p);
	assert_int_equal(r->n_file, 0);
	assert_int_equal(r->n_pid, 0);
	assert_true(r->has_memory_free);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static void test_host(void **state)
{
	uint32_t pids[] = { 1, (uint32_t)getpid(), 4194303 };
	Mfd__Probe p = MFD__PROBE__INIT;
	char boot[MFD_LIFE_BOOT];
	struct source s;
	Mfd__Probed *r;

	(void)state;
	server_start_with((const char *const[]){ "--restore", "--pid-namespace", "host" }, 3);
	begin(&s);
	p.pid = pids;
	p.n_pid = 3;
	r = ask(&s, &p); /* of another machine */
	assert_int_equal(r->n_pid, 2);
	assert_int_equal(r->pid[1], getpid());
	assert_true(r->memory_all >= r->memory_free && r->memory_free > 0);
	assert_int_equal(!r->userfaultfd, !mfd_probe_userfaultfd());
	assert_true(r->kernel && r->program_version && r->criu_version && r->machine);
	assert_true(r->descriptors && r->pid_max && r->threads_free && r->map_max);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	assert_int_equal(mfd_life_boot(boot), 0);
	p.boot_id = boot;
	r = ask(&s, &p); /* of this one: they are the source's own */
	assert_int_equal(r->n_pid, 0);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	p.has_confirm_restore = p.confirm_restore = 1;
	r = ask(&s, &p); /* this server would restore beside them */
	assert_int_equal(r->n_pid, 2);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	source_simple(&s, MFD_WIRE_COMMIT); /* nothing else may follow */
	source_expect_end(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static size_t taken(struct source *s, Mfd__Probe *p)
{
	Mfd__Probed *r = ask(s, p);
	size_t n = r->n_port;

	assert_true(!n || !r->port[0]);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	return n;
}

static void test_ports(void **state)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	int fd, six;
	Mfd__ProbePort port = MFD__PROBE_PORT__INIT, *list = &port;
	Mfd__Probe p = MFD__PROBE__INIT;
	socklen_t len = sizeof(a), len6 = sizeof(a6);
	uint8_t any[16] = { 0 }, local[4] = { 127, 0, 0, 1 }, other[4] = { 127, 0, 0, 2 };
	char boot[MFD_LIFE_BOOT];
	struct source s;

	(void)state;
	server_start("--restore", NULL); /* which does not have this one's socket */
	begin(&s);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	six = socket(AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (void *)&a, len) || listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (void *)&a, &len), 0);
	p.n_port = 1;
	p.port = &list;
	port.port = ntohs(a.sin_port);
	port.address = (ProtobufCBinaryData){ 4, local };
	assert_int_equal(taken(&s, &p), 1);
	port.address.data = any;
	assert_int_equal(taken(&s, &p), 1);
	port.address.data = other; /* both can listen */
	assert_int_equal(taken(&s, &p), 0);
	port.address = (ProtobufCBinaryData){ 5, any };
	assert_int_equal(taken(&s, &p), 0);
	port.address = (ProtobufCBinaryData){ 4, local };
	assert_int_equal(mfd_life_boot(boot), 0);
	p.boot_id = boot;
	p.has_net_ns = 1;
	p.net_ns = 1; /* another network of this machine */
	assert_int_equal(taken(&s, &p), 1);
	p.net_ns = mfd_procfile_own_namespace("net"); /* the source's own */
	assert_int_equal(taken(&s, &p), 0);
	p.boot_id = NULL;
	close(fd);
	assert_int_equal(taken(&s, &p), 0);
	if (!bind(six, (void *)&a6, len6)) {
		assert_int_equal(listen(six, 1), 0);
		assert_int_equal(getsockname(six, (void *)&a6, &len6), 0);
		port.port = ntohs(a6.sin6_port);
		port.address = (ProtobufCBinaryData){ 16, any };
		assert_int_equal(taken(&s, &p), 1);
	}
	close(six);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* Bytes of padding that come for `p`, which has some or asks for some. */
static size_t padding_of(struct source *s, const Mfd__Probe *p)
{
	Mfd__Probed *r = ask(s, p);
	size_t n = r->padding.len;

	assert_true(r->has_padding && !r->has_memory_free && !r->cpu_flags);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	return n;
}

static void test_padding(void **state)
{
	static uint8_t bytes[60 << 10];
	Mfd__Probe p = MFD__PROBE__INIT;
	struct source s;
	Mfd__Probed *r;

	(void)state;
	server_start(NULL, NULL);
	begin(&s);
	r = ask(&s, &p);
	assert_int_equal(r->padding_max, sizeof(bytes));
	assert_int_equal(r->has_padding, 0);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	p.has_padding = 1;
	p.padding = (ProtobufCBinaryData){ sizeof(bytes), bytes };
	assert_int_equal(padding_of(&s, &p), 0);
	p.has_padding = 0;
	p.has_answer_padding = 1;
	assert_int_equal(padding_of(&s, &p), 0);
	p.answer_padding = 5000;
	assert_int_equal(padding_of(&s, &p), 5000);
	p.answer_padding = UINT32_MAX;
	assert_int_equal(padding_of(&s, &p), sizeof(bytes));
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* ---- a file system that does not answer ---- */

/* Mounted here; its daemon is this test, which says hello and then nothing. */
static int mount_mute(const char *dir)
{
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = 31 };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(out) };
	struct iovec v[] = { { &head, sizeof(head) }, { &out, sizeof(out) } };
	static char request[1 << 17];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[80];

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd < 0 || mount("mute", dir, "fuse", MS_NOSUID | MS_NODEV, options))
		return -1;
	assert_true(read(fd, request, sizeof(request)) > 0);
	head.unique = ((struct fuse_in_header *)request)->unique;
	assert_int_equal(writev(fd, v, 2), head.len);
	return fd;
}

/* From then on the process that asks cannot be killed. */
static void take_request(int fd)
{
	static char request[1 << 17];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(read(fd, request, sizeof(request)) > 0);
}

/*
 * Of how many files it is known, the first, that nothing is wrong with them.  waited: the next one
 * was given its time; else no process could look at it.
 */
static uint32_t hear_looked_at(struct source *s, int waited)
{
	Mfd__Probed *r = (Mfd__Probed *)source_expect(s, MFD_WIRE_PROBED);
	uint32_t n;

	assert_true(r->has_looked_at && r->has_memory_free);
	assert_int_equal(r->has_looked_ms, waited);
	assert_true(!waited || r->looked_ms >= MFD_PROBE_LOOK_MS);
	n = r->looked_at;
	assert_int_equal(r->n_file, 0);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	return n;
}

static void test_mute(void **state)
{
	Mfd__ProbeFile f[3], *list[3] = { &f[0], &f[1], &f[2] };
	Mfd__Probe p = MFD__PROBE__INIT;
	char dir[] = "/tmp/mfd-mute.XXXXXX", path[40];
	struct source s[3];
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		print_message("# skip: nothing can be mounted here\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	server_start("--restore", NULL);
	fd = mount_mute(dir);
	if (fd >= 0) {
		snprintf(path, sizeof(path), "%s/file?", dir);
		for (size_t i = 0; i < 3; i++)
			mfd__probe_file__init(&f[i]);
		f[0].path = f[2].path = "/usr/no/such/file";
		f[1].path = path;
		p.n_file = 3;
		p.file = list;
		f[0].path = "/";
		f[0].has_folder = f[0].folder = 1;
		for (size_t i = 0; i < 3; i++)
			begin(&s[i]);
		for (size_t i = 0; i < 2; i++) { /* of two names, so that the kernel asks twice */
			path[strlen(path) - 1] = (char)('0' + i);
			assert_int_equal(mfd_control_send(&s[i].c, MFD_WIRE_PROBE, &p.base), 0);
			take_request(fd);
		}
		assert_int_equal(hear_looked_at(&s[0], 1), 1);
		assert_int_equal(hear_looked_at(&s[1], 1), 1);
		/* The two that hang are what this peer may have: there is no third. */
		assert_int_equal(mfd_control_send(&s[2].c, MFD_WIRE_PROBE, &p.base), 0);
		assert_int_equal(hear_looked_at(&s[2], 0), 0);
		close(fd); /* what hangs is told that it is over, and dies */
		for (int tries = 0, fault = 0; !fault; tries++) {
			Mfd__Probed *r;

			assert_true(tries < 500);
			p.file = &list[2];
			p.n_file = 1;
			r = ask(&s[tries / 50 % 3], &p);
			fault = !r->has_looked_at;
			assert_int_equal(r->n_file, fault);
			protobuf_c_message_free_unpacked(&r->base, NULL);
			usleep(20000);
		}
		for (size_t i = 0; i < 3; i++)
			source_close(&s[i]);
		umount2(dir, MNT_DETACH);
	}
	assert_int_equal(server_stop(), 0);
	rmdir(dir);
	if (fd < 0) {
		print_message("# skip: kernel lacks FUSE\n");
		skip();
	}
}

/* As a container without it. */
static void deny_userfaultfd(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog prog = { .len = sizeof(f) / sizeof(*f), .filter = f };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(2);
}

static void test_userfaultfd_denied(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		deny_userfaultfd();
		_exit(mfd_probe_userfaultfd() != -EPERM);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_files),
		SERVER_TEST(test_untrusted),
		SERVER_TEST(test_host),
		SERVER_TEST(test_ports),
		SERVER_TEST(test_padding),
		SERVER_TEST(test_mute),
		cmocka_unit_test(test_userfaultfd_denied),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_probe", tests, NULL, NULL);
}
