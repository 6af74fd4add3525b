// SPDX-License-Identifier: GPL-2.0-only
/*
 * The restore server as a child process, and a source played by hand: every step of the protocol,
 * every refusal, and what is left on disk afterwards.  The server's log is in TMP/log (kept when
 * MFD_TEST_KEEP is set).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "control.h"
#include "image.h"
#include "images/criu.pb-c.h"
#include "io.h"
#include "pagestore.h"
#include "pagetable.h"
#include "proto/control.pb-c.h"
#include "session_file.h"
#include "sock.h"
#include "wire.h"

#define PAGE  4096u
#define BASE  0x10000000ULL /* where the tasks' lazy memory lies */
#define MAXCH 4

/* ---- the server ---- */

static char tmp[32], dir[64], logfile[64];
static int rootfd = -1;
static pid_t server = -1;
static struct mfd_sock_addr addr;

static char *read_log(void)
{
	char *text = NULL;

	mfd_io_read_file(AT_FDCWD, logfile, 16 << 20, &text, NULL);
	return text;
}

static int log_has(const char *what)
{
	char *text = read_log();
	int yes = text && strstr(text, what);

	free(text);
	return yes;
}

static int find_address(void)
{
	char text[72] = "", *all = read_log(), *line = all ? strstr(all, "listening on ") : NULL;
	struct mfd_error err = { 0 };

	if (line && strchr(line, '\n'))
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(line + 13, "\n"), line + 13);
	free(all);
	return text[0] && !mfd_sock_parse(text, 0, &addr, &err);
}

static void wait_listening(void)
{
	int i;

	for (i = 0; i < 500; i++, usleep(10000)) {
		if (find_address())
			return;
	}
	fail_msg("the server does not listen");
}

static void start_server(const char *extra, const char *value)
{
	char *argv[] = { "serve",	"--listen", "127.0.0.1:0", "--dir",	  dir,
			 "--log-level", "debug",    (char *)extra, (char *)value, NULL };
	int fd, argc = 7 + !!extra + !!value;

	unlink(logfile);
	server = fork();
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int sig = 1; sig < 32; sig++)
			signal(sig, SIG_DFL); /* cmocka's handlers are not the server's */
		fd = open(logfile, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 2);
		_exit(mfd_serve_main(argc, argv));
	}
	wait_listening();
	if (rootfd < 0)
		rootfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(rootfd >= 0);
}

static int wait_server(void)
{
	int status, i;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		if (waitpid(server, &status, WNOHANG) == server) {
			server = -1;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
	kill(server, SIGKILL);
	fail_msg("the server does not end");
	return -1;
}

static int stop_server(void)
{
	kill(server, SIGTERM);
	return wait_server();
}

/* The supervisor's latest child: the keeper is started before the worker. */
static pid_t worker_pid(void)
{
	char path[64], *text = NULL, *p;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", server, server);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL), 0);
	for (p = text + strlen(text); p > text && p[-1] == ' '; p--)
		p[-1] = 0;
	p = strrchr(text, ' ');
	pid = atoi(p ? p : text);
	free(text);
	assert_true(pid > 0);
	return pid;
}

static void dump_log(void)
{
	char *text = read_log();

	fprintf(stderr, "---- server ----\n%s----\n", text ? text : "");
	free(text);
}

static int setup(void **state)
{
	(void)state;
	snprintf(tmp, sizeof(tmp), "/tmp/mfd-serve-XXXXXX");
	if (!mkdtemp(tmp))
		return -1;
	snprintf(dir, sizeof(dir), "%s/dir", tmp);
	snprintf(logfile, sizeof(logfile), "%s/log", tmp);
	return 0;
}

/* Stores of sessions that were left on purpose may lie in /dev/shm. */
static void remove_stores(void)
{
	struct mfd_session_file *list = NULL;
	size_t i, n = 0;
	int fd;

	if (rootfd < 0 || mfd_session_file_list(rootfd, &list, &n))
		return;
	for (i = 0; i < n; i++) {
		fd = openat(rootfd, list[i].name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		mfd_pagestore_remove(fd);
		close(fd);
	}
	mfd_session_file_list_free(list, n);
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	if (server > 0) {
		dump_log();
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
		server = -1;
	}
	if (log_has("ThreadSanitizer") || log_has("AddressSanitizer") || log_has("runtime error")) {
		dump_log();
		return -1;
	}
	remove_stores();
	mfd_io_close(&rootfd);
	snprintf(cmd, sizeof(cmd), "umount %s 2>/dev/null; rm -rf %s", dir, tmp);
	if (!getenv("MFD_TEST_KEEP") && system(cmd))
		return -1;
	return 0;
}

/* ---- what is on disk ---- */

static int state_of(const char *name, char *error, size_t len)
{
	struct mfd_session_file f;
	int st;

	if (mfd_session_file_find(rootfd, name, &f))
		return 0;
	st = f.entry ? (int)f.entry->state : -1;
	if (error)
		snprintf(error, len, "%s", f.entry && f.entry->error ? f.entry->error : "");
	mfd_session_file_release(&f);
	return st;
}

static int in_doubt(const char *name)
{
	struct mfd_session_file f;
	int yes;

	if (mfd_session_file_find(rootfd, name, &f))
		return 0;
	yes = f.entry && f.entry->in_doubt;
	mfd_session_file_release(&f);
	return yes;
}

static void wait_state(const char *name, int want)
{
	int i, st = -1;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		st = state_of(name, NULL, 0);
		if (st == want)
			return;
	}
	fail_msg("%s is %s, not %s", name, mfd_session_file_state((Mfd__SessionState)st),
		 mfd_session_file_state((Mfd__SessionState)want));
}

static void wait_doubt(const char *name, int want)
{
	int i;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		if (in_doubt(name) == want)
			return;
	}
	fail_msg("in_doubt is not %d", want);
}

static int has_folder(const char *name)
{
	struct stat st;

	return !fstatat(rootfd, name, &st, AT_SYMLINK_NOFOLLOW);
}

/* Aborted, with `why` somewhere in the reason, and nothing left. */
/* Nonzero: there is an answer. */
static int ask_for(const char *text, char *answer, size_t size)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ssize_t n = -1;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/.serve.sock", dir);
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)) &&
	    send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text))
		n = recv(fd, answer, size - 1, 0);
	answer[n > 0 ? n : 0] = 0;
	close(fd);
	return n > 0;
}

/* Whoever waits for the end is told; the name is free a little later. */
static void wait_free(const char *name)
{
	char text[80], answer[513];
	int i;

	snprintf(text, sizeof(text), "resolve %s run", name);
	for (i = 0; i < 1000 && ask_for(text, answer, sizeof(answer)); i++, usleep(10000))
		if (!strstr(answer, "just end") && !strstr(answer, "busy"))
			return;
}

static void expect_gone(const char *name, const char *why)
{
	char error[512] = "";
	int i;

	wait_state(name, MFD__SESSION_STATE__ABORTED);
	for (i = 0; i < 300 && has_folder(name); i++)
		usleep(10000);
	assert_false(has_folder(name));
	wait_free(name);
	state_of(name, error, sizeof(error));
	if (!strstr(error, why))
		fail_msg("\"%s\" does not mention \"%s\"", error, why);
}

/* ---- the source ---- */

struct source {
	const char *name;
	struct mfd_control c;
	struct mfd_conn ch[MAXCH + 1]; /* the last is the urgent one */
	unsigned channels;
	uint8_t id[16], secret[32];
	uint64_t seq, sync;
	Mfd__End end; /* counts so far */
	uint64_t files, file_bytes;
};

static void dial(struct mfd_conn *c)
{
	struct mfd_error err = { 0 };
	int fd = mfd_sock_connect(&addr, -1, 2000, &err);

	assert_true(fd >= 0);
	mfd_sock_tune(fd, 10000);
	mfd_conn_plain(c, fd);
}

static void greet(struct mfd_conn *c, unsigned role, unsigned channel, const uint8_t *id,
		  const uint8_t *secret)
{
	struct mfd_wire_greeting g = { .magic = MFD_WIRE_MAGIC_GREETING,
				       .version = MFD_WIRE_VERSION };

	g.role = (uint8_t)role;
	g.channel = (uint16_t)channel;
	if (id)
		memcpy(g.session, id, sizeof(g.session));
	if (secret)
		memcpy(g.secret, secret, sizeof(g.secret));
	mfd_wire_greeting_seal(&g);
	assert_int_equal(mfd_conn_send(c, &g, sizeof(g), 0), 0);
}

static ProtobufCMessage *next_msg(struct source *s, unsigned *type)
{
	struct mfd_error err = { 0 };
	ProtobufCMessage *m;

	for (;;) {
		if (mfd_control_recv(&s->c, type, &m, &err))
			return NULL;
		if (*type != MFD_WIRE_PING && *type != MFD_WIRE_PONG)
			return m;
		protobuf_c_message_free_unpacked(m, NULL);
	}
}

static ProtobufCMessage *expect(struct source *s, unsigned want)
{
	unsigned type = 0;
	ProtobufCMessage *m = next_msg(s, &type);

	if (!m)
		fail_msg("connection ended instead of %s", mfd_wire_msg_name(want));
	if (type != want && type == MFD_WIRE_ABORT)
		fail_msg("ABORT instead of %s: %s", mfd_wire_msg_name(want),
			 ((Mfd__Abort *)m)->reason);
	if (type != want)
		fail_msg("%s instead of %s", mfd_wire_msg_name(type), mfd_wire_msg_name(want));
	return m;
}

static void expect_free(struct source *s, unsigned want)
{
	protobuf_c_message_free_unpacked(expect(s, want), NULL);
}

static void expect_abort(struct source *s, const char *why)
{
	Mfd__Abort *a = (Mfd__Abort *)expect(s, MFD_WIRE_ABORT);

	if (!strstr(a->reason, why))
		fail_msg("\"%s\" does not mention \"%s\"", a->reason, why);
	protobuf_c_message_free_unpacked(&a->base, NULL);
}

static void src_init(struct source *s, const char *name)
{
	memset(s, 0, sizeof(*s));
	s->name = name;
	mfd__end__init(&s->end);
	mfd_control_init(&s->c);
}

static void src_close(struct source *s)
{
	unsigned i;

	mfd_control_close(&s->c);
	for (i = 0; i <= MAXCH; i++)
		mfd_conn_close(&s->ch[i]);
}

static void hello_init(Mfd__Hello *h, const char *name, unsigned channels)
{
	mfd__hello__init(h);
	h->session = (char *)name;
	h->channels = channels;
	h->packet_size = 1 << 20;
	h->checksum = 1;
	h->page_size = PAGE;
	h->source = "testhost";
}

static void send_hello(struct source *s, const Mfd__Hello *h)
{
	dial(&s->c.conn);
	greet(&s->c.conn, MFD_WIRE_ROLE_CONTROL, 0, NULL, NULL);
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_HELLO, &h->base), 0);
}

static void take_hello_ok(struct source *s)
{
	Mfd__HelloOk *ok = (Mfd__HelloOk *)expect(s, MFD_WIRE_HELLO_OK);

	assert_int_equal(ok->session_id.len, 16);
	assert_int_equal(ok->secret.len, 32);
	memcpy(s->id, ok->session_id.data, 16);
	memcpy(s->secret, ok->secret.data, 32);
	s->channels = ok->channels;
	protobuf_c_message_free_unpacked(&ok->base, NULL);
}

static unsigned join(struct source *s, struct mfd_conn *c, unsigned role, unsigned channel)
{
	struct mfd_wire_joined j;

	dial(c);
	greet(c, role, channel, s->id, s->secret);
	assert_int_equal(mfd_conn_recv(c, &j, sizeof(j)), 0);
	assert_int_equal(le32toh(j.magic), MFD_WIRE_MAGIC_GREETING);
	return le16toh(j.status);
}

static void join_all(struct source *s, int urgent)
{
	unsigned i;

	for (i = 0; i < s->channels; i++)
		assert_int_equal(join(s, &s->ch[i], MFD_WIRE_ROLE_DATA, i), MFD_WIRE_JOIN_OK);
	if (urgent)
		assert_int_equal(join(s, &s->ch[MAXCH], MFD_WIRE_ROLE_URGENT, 0), MFD_WIRE_JOIN_OK);
	expect_free(s, MFD_WIRE_JOINED);
}

static void src_open(struct source *s, const char *name, int postcopy)
{
	Mfd__Hello h;

	src_init(s, name);
	hello_init(&h, name, 2);
	h.postcopy = postcopy;
	send_hello(s, &h);
	take_hello_ok(s);
	assert_int_equal(s->channels, 2);
	join_all(s, postcopy);
}

static void send_packet(struct source *s, unsigned ch, struct mfd_wire_packet *p, const void *table,
			const void *payload)
{
	struct mfd_conn *c = &s->ch[ch];
	struct iovec iov[3];

	p->sequence = p->type == MFD_WIRE_PACKET_SYNC ? s->sync : s->seq++;
	if (p->type != MFD_WIRE_PACKET_SYNC && !p->hash) {
		p->flags |= MFD_WIRE_PACKET_HASHED;
		p->hash = mfd_wire_hash(table, p->table_len, payload, p->payload_len);
	}
	mfd_wire_packet_seal(p);
	if (p->type != MFD_WIRE_PACKET_SYNC && ch != MAXCH) {
		s->end.packets++;
		s->end.checksum += le64toh(p->header_hash);
	}
	iov[0] = (struct iovec){ p, sizeof(*p) };
	iov[1] = (struct iovec){ (void *)table, le32toh(p->table_len) };
	iov[2] = (struct iovec){ (void *)payload, le32toh(p->payload_len) };
	mfd_conn_sendv(c, iov, 3, 0);
}

static void fill_page(uint8_t *p, uint32_t task, uint64_t vaddr)
{
	unsigned i;

	for (i = 0; i < PAGE / 8; i++)
		((uint64_t *)p)[i] = vaddr * 31 + task + i;
}

/* One packet of one run; zero: without payload. */
static void src_run(struct source *s, unsigned ch, uint32_t task, uint64_t vaddr, unsigned pages,
		    int zero, uint64_t hash)
{
	struct mfd_wire_run run = { .vaddr = vaddr,
				    .pages = pages,
				    .flags = zero ? MFD_WIRE_RUN_ZERO : 0 };
	struct mfd_wire_packet p = {
		.type = MFD_WIRE_PACKET_PAGES, .task = task, .entries = 1, .table_len = sizeof(run)
	};
	uint8_t *buf = malloc((size_t)pages * PAGE);
	unsigned i;

	for (i = 0; i < pages; i++)
		fill_page(buf + (size_t)i * PAGE, task, vaddr + (uint64_t)i * PAGE);
	p.payload_len = p.raw_len = zero ? 0 : pages * PAGE;
	p.hash = hash;
	p.flags = hash ? MFD_WIRE_PACKET_HASHED : 0;
	mfd_wire_runs_seal(&run, 1);
	send_packet(s, ch, &p, &run, buf);
	free(buf);
	if (ch == MAXCH)
		return;
	if (zero)
		s->end.zero_pages += pages;
	else
		s->end.pages += pages;
}

static void src_pages(struct source *s, unsigned ch, uint32_t task, uint64_t vaddr, unsigned pages)
{
	src_run(s, ch, task, vaddr, pages, 0, 0);
}

static void src_file_part(struct source *s, unsigned ch, const char *name, const void *data,
			  size_t len, uint64_t off, uint64_t size)
{
	uint8_t table[sizeof(struct mfd_wire_file) + 255 + 1];
	struct mfd_wire_file f = { .offset = htole64(off),
				   .size = htole64(size),
				   .mode = htole32(04640) };
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_FILE, .entries = 1 };

	/* By hand: mfd_wire_file_seal does not make bad names. */
	f.name_len = htole16((uint16_t)strlen(name));
	memcpy(table, &f, sizeof(f));
	memcpy(table + sizeof(f), name, strlen(name));
	p.table_len = (uint32_t)(sizeof(f) + strlen(name));
	p.payload_len = p.raw_len = (uint32_t)len;
	send_packet(s, ch, &p, table, data);
	s->file_bytes += len;
}

static void src_file(struct source *s, unsigned ch, const char *name, const void *data, size_t len)
{
	src_file_part(s, ch, name, data, len, 0, len);
	s->files++;
}

static uint64_t src_sync(struct source *s)
{
	unsigned i;

	s->sync++;
	for (i = 0; i < s->channels; i++) {
		struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_SYNC };

		send_packet(s, i, &p, NULL, NULL);
	}
	return s->sync;
}

static void src_images_done(struct source *s)
{
	Mfd__Images m = MFD__IMAGES__INIT;

	m.files = s->files;
	m.bytes = s->file_bytes;
	m.sync = src_sync(s);
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_IMAGES, &m.base), 0);
}

static void src_end(struct source *s)
{
	s->end.files = s->files;
	s->end.file_bytes = s->file_bytes;
	s->end.sync = src_sync(s);
	mfd_control_send(&s->c, MFD_WIRE_END, &s->end.base);
}

static void src_simple(struct source *s, unsigned type)
{
	Mfd__Commit commit = MFD__COMMIT__INIT;
	Mfd__StartedOk started = MFD__STARTED_OK__INIT;
	Mfd__Ping ping = MFD__PING__INIT;

	mfd_control_send(&s->c, type,
			 type == MFD_WIRE_COMMIT ? &commit.base :
			 type == MFD_WIRE_PING	 ? &ping.base :
						   &started.base);
}

static void src_resume(struct source *s, const char *outcome)
{
	Mfd__Resume r = MFD__RESUME__INIT;

	src_close(s);
	mfd_control_init(&s->c);
	dial(&s->c.conn);
	greet(&s->c.conn, MFD_WIRE_ROLE_CONTROL, 0, s->id, s->secret);
	r.session = (char *)s->name;
	r.outcome = (char *)outcome;
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_RESUME, &r.base), 0);
}

/* ---- images as CRIU would write them: one task with `pages` lazy pages at BASE ---- */

static char imgdir[96];

static void write_one(int fd, const char *name, uint32_t magic, const ProtobufCMessage *const *e,
		      size_t n)
{
	assert_int_equal(mfd_image_write(fd, name, MFD_IMAGE_COMMON_MAGIC, magic, e, n), 0);
}

static void make_images(uint32_t task, uint64_t vaddr, unsigned pages)
{
	MfdCriu__PstreeEntry ps = MFD_CRIU__PSTREE_ENTRY__INIT;
	MfdCriu__PagemapHead head = MFD_CRIU__PAGEMAP_HEAD__INIT;
	MfdCriu__PagemapEntry pm = MFD_CRIU__PAGEMAP_ENTRY__INIT;
	MfdCriu__VmaEntry vma = MFD_CRIU__VMA_ENTRY__INIT, *vmas[1] = { &vma };
	MfdCriu__MmEntry mm = MFD_CRIU__MM_ENTRY__INIT;
	const ProtobufCMessage *one[2];
	char name[40];
	int fd;

	snprintf(imgdir, sizeof(imgdir), "%s/img", tmp);
	mkdir(imgdir, 0700);
	fd = open(imgdir, O_RDONLY | O_DIRECTORY);
	ps.pid = ps.pgid = ps.sid = task;
	one[0] = &ps.base;
	write_one(fd, "pstree.img", MFD_IMAGE_PSTREE, one, 1);
	head.pages_id = 1;
	pm.vaddr = vaddr;
	pm.has_nr_pages = pm.has_flags = 1;
	pm.nr_pages = pages;
	pm.compat_nr_pages = pages;
	pm.flags = MFD_PE_LAZY;
	one[0] = &head.base;
	one[1] = &pm.base;
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	write_one(fd, name, MFD_IMAGE_PAGEMAP, one, 2);
	vma.start = vaddr;
	vma.end = vaddr + (uint64_t)pages * PAGE;
	vma.prot = PROT_READ | PROT_WRITE;
	vma.flags = MAP_PRIVATE | MAP_ANONYMOUS;
	vma.fd = -1;
	mm.n_vmas = 1;
	mm.vmas = vmas;
	one[0] = &mm.base;
	snprintf(name, sizeof(name), "mm-%u.img", task);
	write_one(fd, name, MFD_IMAGE_MM, one, 1);
	close(fd);
}

static void src_image(struct source *s, unsigned ch, const char *name)
{
	char path[256], *data;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", imgdir, name);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 1 << 20, &data, &len), 0);
	src_file(s, ch, name, data, len);
	free(data);
}

static void src_images(struct source *s, uint32_t task, uint64_t vaddr, unsigned pages)
{
	char name[40];

	make_images(task, vaddr, pages);
	src_image(s, 0, "pstree.img");
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	src_image(s, 1 % s->channels, name);
	snprintf(name, sizeof(name), "mm-%u.img", task);
	src_image(s, 0, name);
	src_images_done(s);
}

static void to_ready(struct source *s, const char *name)
{
	Mfd__Ready *r;

	src_open(s, name, 0);
	src_pages(s, 0, 7, BASE, 8);
	src_run(s, 1, 7, BASE + 8 * PAGE, 4, 1, 0);
	src_pages(s, 1, 7, BASE + 12 * PAGE, 4);
	src_images(s, 7, BASE, 16);
	src_end(s);
	r = (Mfd__Ready *)expect(s, MFD_WIRE_READY);
	assert_int_equal(r->pages, 16);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	assert_int_equal(state_of(name, NULL, 0), MFD__SESSION_STATE__READY);
}

static void commit(struct source *s)
{
	src_simple(s, MFD_WIRE_COMMIT);
	expect_free(s, MFD_WIRE_COMMITTED);
	assert_in_range(state_of(s->name, NULL, 0), MFD__SESSION_STATE__COMMITTED,
			MFD__SESSION_STATE__DONE);
}

static void expect_end(struct source *s)
{
	unsigned type;

	assert_null(next_msg(s, &type));
}

/* ---- criu restore, played: a process whose memory at BASE is served by the pager ---- */

static int connect_lazy(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, i;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s/lazy-pages.socket", dir, name);
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
		fill_page(want, 7, BASE + (uint64_t)i * PAGE);
	return !memcmp(mem + (size_t)i * PAGE, want, PAGE);
}

/*
 * The server has written down which process has our memory; it looks for who has the userfaultfd
 * open.
 */
static void wait_found(const char *name, uint32_t vpid, int sock)
{
	char path[200], line[64], *text;
	int i, found = 0;

	snprintf(path, sizeof(path), "%s/%s/.attached", dir, name);
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

/* Set: the played task lets go of its userfaultfd at once, and then sets *hidden. */
static atomic_int *hidden;

/* Exit code 0: all pages are right.  `hold`: stay alive afterwards. */
static pid_t restore(const char *name, unsigned pages, int zeros, int hold, uint32_t vpid)
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
	if (!hidden)
		wait_found(name, vpid, sock);
	close(uffd);
	if (hidden)
		atomic_store(hidden, 1);
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

static int reap(pid_t pid)
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

/* ---- tests: the good way ---- */

static int stored_page(void *arg, const struct mfd_pagestore_record *r)
{
	uint64_t *sum = arg;

	*sum += r->pages_flags >> 8;
	return 0;
}

static void check_store(const char *name)
{
	int fd = openat(rootfd, name, O_RDONLY | O_DIRECTORY);
	struct mfd_error err = { 0 };
	struct mfd_pagestore *st;
	uint8_t want[PAGE];
	uint64_t pages = 0;

	assert_int_equal(mfd_pagestore_open(fd, &st, stored_page, &pages, &err), 0);
	assert_int_equal(pages, 16);
	fill_page(want, 7, BASE);
	/* channel 0's eight pages or channel 1's four came first */
	if (memcmp(mfd_pagestore_at(st, 0), want, PAGE))
		assert_memory_equal(mfd_pagestore_at(st, 4), want, PAGE);
	mfd_pagestore_close(st);
	close(fd);
}

static void test_safe(void **state)
{
	struct source s;
	struct stat st;

	(void)state;
	start_server(NULL, NULL);
	to_ready(&s, "one");
	assert_true(has_folder("one"));
	assert_int_equal(fstatat(rootfd, "one/pstree.img", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	check_store("one");
	commit(&s);
	src_close(&s);
	assert_int_equal(stop_server(), 0);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__COMMITTED);
}

static void test_safe_done(void **state)
{
	struct source s;
	struct stat st;

	(void)state;
	start_server("--once", NULL);
	to_ready(&s, "one");
	commit(&s);
	src_close(&s);
	assert_int_equal(reap(restore("one", 16, 1, 0, 7)), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(wait_server(), 0);
	assert_int_equal(fstatat(rootfd, "one/pstree.img", &st, 0), 0);
	assert_int_not_equal(fstatat(rootfd, "one/pages.store", &st, AT_SYMLINK_NOFOLLOW), 0);
}

static void test_two_sessions(void **state)
{
	struct source a, b;

	(void)state;
	start_server(NULL, NULL);
	src_open(&a, "a", 0);
	src_open(&b, "b", 0);
	src_pages(&a, 0, 7, BASE, 4);
	src_pages(&b, 0, 7, BASE, 4);
	src_images(&b, 7, BASE, 4);
	src_images(&a, 7, BASE, 4);
	src_end(&a);
	src_end(&b);
	expect_free(&a, MFD_WIRE_READY);
	expect_free(&b, MFD_WIRE_READY);
	commit(&a);
	commit(&b);
	src_close(&a);
	src_close(&b);
	assert_int_equal(stop_server(), 0);
}

static void test_file_in_pieces(void **state)
{
	uint8_t *data = malloc(3 << 20);
	struct source s;
	char *got;
	size_t len;
	int i;

	(void)state;
	for (i = 0; i < 3 << 20; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9));
	start_server(NULL, NULL);
	src_open(&s, "one", 0);
	src_file_part(&s, 1, "pages-1.img", data + (2 << 20), 1 << 20, 2 << 20, 3 << 20);
	src_file_part(&s, 0, "pages-1.img", data, 1 << 20, 0, 3 << 20);
	src_file_part(&s, 1, "pages-1.img", data + (1 << 20), 1 << 20, 1 << 20, 3 << 20);
	s.files++;
	src_file(&s, 0, "empty.img", "", 0);
	src_pages(&s, 0, 7, BASE, 2);
	src_images(&s, 7, BASE, 2);
	src_end(&s);
	expect_free(&s, MFD_WIRE_READY);
	assert_int_equal(mfd_io_read_file(rootfd, "one/pages-1.img", 4 << 20, &got, &len), 0);
	assert_int_equal(len, 3 << 20);
	assert_memory_equal(got, data, 3 << 20);
	free(got);
	free(data);
	commit(&s);
	src_close(&s);
	assert_int_equal(stop_server(), 0);
}

static void test_ping(void **state)
{
	struct mfd_error err = { 0 };
	ProtobufCMessage *m;
	struct source s;
	unsigned type;
	int pinged = 0;

	(void)state;
	start_server("--stall-timeout", "900");
	src_open(&s, "one", 0);
	src_simple(&s, MFD_WIRE_PING);
	assert_int_equal(mfd_control_recv(&s.c, &type, &m, &err), 0);
	protobuf_c_message_free_unpacked(m, NULL);
	assert_int_equal(type, MFD_WIRE_PONG);
	/* Then silence: the server asks, and gives up. */
	for (;;) {
		assert_int_equal(mfd_control_recv(&s.c, &type, &m, &err), 0);
		protobuf_c_message_free_unpacked(m, NULL);
		if (type == MFD_WIRE_ABORT)
			break;
		assert_int_equal(type, MFD_WIRE_PING);
		pinged++;
	}
	assert_true(pinged >= 1);
	src_close(&s);
	expect_gone("one", "stall");
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: refusals ---- */

static void hello_refused(const char *name, unsigned channels, unsigned page_size, const char *arch,
			  const char *why)
{
	struct source s;
	Mfd__Hello h;

	src_init(&s, name);
	hello_init(&h, name, channels);
	h.page_size = page_size;
	h.arch = (char *)arch;
	send_hello(&s, &h);
	expect_abort(&s, why);
	src_close(&s);
}

static void test_hello_refused(void **state)
{
	struct source s;
	Mfd__Hello h;

	(void)state;
	start_server("--max-sessions", "2");
	hello_refused("a/b", 1, PAGE, NULL, "name");
	hello_refused("..", 1, PAGE, NULL, "name");
	hello_refused(".ended", 1, PAGE, NULL, "name");
	hello_refused("session.img", 1, PAGE, NULL, "name");
	hello_refused("a", 0, PAGE, NULL, "channels");
	hello_refused("a", 1, 65536, NULL, "page size");
	hello_refused("a", 1, PAGE, "pdp11", "pdp11");
	/* Too many channels are clamped. */
	src_init(&s, "many");
	hello_init(&h, "many", 1000);
	send_hello(&s, &h);
	take_hello_ok(&s);
	assert_int_equal(s.channels, MFD_WIRE_MAX_CHANNELS);
	/* In use, until it has ended. */
	hello_refused("many", 1, PAGE, NULL, "in use");
	src_close(&s);
	expect_gone("many", "lost");
	src_open(&s, "many", 0);
	src_close(&s);
	expect_gone("many", "lost");
	assert_int_equal(stop_server(), 0);
}

static void test_max_sessions(void **state)
{
	struct source a;

	(void)state;
	start_server("--max-sessions", "1");
	src_open(&a, "a", 0);
	hello_refused("b", 1, PAGE, NULL, "1 sessions");
	src_close(&a);
	expect_gone("a", "lost");
	assert_int_equal(stop_server(), 0);
}

static void refuse_join(struct source *s, unsigned role, unsigned channel, unsigned want)
{
	struct mfd_conn c;

	assert_int_equal(join(s, &c, role, channel), want);
	mfd_conn_close(&c);
}

static void test_join_refused(void **state)
{
	struct mfd_wire_greeting g = { .magic = MFD_WIRE_MAGIC_GREETING,
				       .role = MFD_WIRE_ROLE_DATA };
	struct mfd_wire_joined j;
	struct mfd_conn c;
	struct source s;
	Mfd__Hello h;

	(void)state;
	start_server(NULL, NULL);
	src_init(&s, "one");
	hello_init(&h, "one", 2);
	send_hello(&s, &h);
	take_hello_ok(&s);
	s.secret[31] ^= 1;
	refuse_join(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_SESSION);
	s.secret[31] ^= 1;
	s.id[0] ^= 1;
	refuse_join(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_SESSION);
	s.id[0] ^= 1;
	refuse_join(&s, MFD_WIRE_ROLE_DATA, 2, MFD_WIRE_JOIN_CHANNEL);
	refuse_join(&s, MFD_WIRE_ROLE_DATA, 63, MFD_WIRE_JOIN_CHANNEL);
	refuse_join(&s, MFD_WIRE_ROLE_URGENT, 0, MFD_WIRE_JOIN_ROLE);
	assert_int_equal(join(&s, &s.ch[0], MFD_WIRE_ROLE_DATA, 0), MFD_WIRE_JOIN_OK);
	refuse_join(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_TWICE);
	/* a version nobody speaks */
	dial(&c);
	mfd_wire_greeting_seal(&g);
	g.version = htole16(77);
	mfd_conn_send(&c, &g, sizeof(g), 0);
	assert_int_equal(mfd_conn_recv(&c, &j, sizeof(j)), 0);
	assert_int_equal(le16toh(j.status), MFD_WIRE_JOIN_VERSION);
	mfd_conn_close(&c);
	/* garbage */
	dial(&c);
	mfd_conn_send(&c,
		      "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: nobody knows what this is\r\n\r\n",
		      66, 0);
	assert_int_not_equal(mfd_conn_recv(&c, &j, sizeof(j)), 0);
	mfd_conn_close(&c);
	/* the session goes on */
	assert_int_equal(join(&s, &s.ch[1], MFD_WIRE_ROLE_DATA, 1), MFD_WIRE_JOIN_OK);
	expect_free(&s, MFD_WIRE_JOINED);
	src_close(&s);
	expect_gone("one", "lost");
	assert_int_equal(stop_server(), 0);
}

/*
 * What HELLO_OK says to a source that offers, or does not offer, to be restored while its pages
 * come.
 */
static int early_of(struct source *s, const char *name, int offer, int confirm, int postcopy)
{
	Mfd__HelloOk *ok;
	Mfd__Hello h;
	int early;

	src_init(s, name);
	hello_init(&h, name, 1);
	h.has_early_restore = h.early_restore = offer;
	h.confirm_restore = confirm;
	h.postcopy = postcopy;
	send_hello(s, &h);
	ok = (Mfd__HelloOk *)expect(s, MFD_WIRE_HELLO_OK);
	memcpy(s->id, ok->session_id.data, 16);
	memcpy(s->secret, ok->secret.data, 32);
	s->channels = ok->channels;
	early = ok->early_restore;
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	return early;
}

static void not_early(const char *name, int offer, int confirm, int postcopy)
{
	struct source s;

	assert_false(early_of(&s, name, offer, confirm, postcopy));
	if (!postcopy)
		refuse_join(&s, MFD_WIRE_ROLE_URGENT, 0, MFD_WIRE_JOIN_ROLE);
	join_all(&s, postcopy);
	src_close(&s);
	expect_gone(name, "lost");
}

static void test_early_restore(void **state)
{
	struct source s;

	(void)state;
	start_server("--restore", NULL);
	not_early("old", 0, 1, 0);	/* a source that does not know of it */
	not_early("separate", 1, 0, 0); /* somebody else restores */
	not_early("postcopy", 1, 1, 1); /* there it is so anyway */
	assert_true(early_of(&s, "early", 1, 1, 0));
	join_all(&s, 1); /* JOINED counts the urgent connection */
	src_close(&s);
	expect_gone("early", "lost");
	assert_int_equal(stop_server(), 0);
}

static void test_early_restore_durable(void **state)
{
	(void)state;
	start_server("--restore", "--durable");
	not_early("durable", 1, 1, 0);
	assert_int_equal(stop_server(), 0);
}

static void test_slow_greeting(void **state)
{
	struct mfd_conn c[70];
	struct source s;
	char b;
	int i;

	(void)state;
	start_server(NULL, NULL);
	/*
	 * More than may be pending: the last ones wait in the queue until the first are thrown out.
	 */
	for (i = 0; i < 70; i++)
		dial(&c[i]);
	assert_int_not_equal(mfd_conn_recv(&c[0], &b, 1), -ETIMEDOUT);
	for (i = 0; i < 70; i++)
		mfd_conn_close(&c[i]);
	to_ready(&s, "one");
	src_close(&s);
	wait_doubt("one", 1);
	assert_int_equal(stop_server(), 0);
}

static void data_refused(const char *name, void (*bad)(struct source *s), const char *why)
{
	struct source s;

	src_open(&s, name, 0);
	bad(&s);
	expect_abort(&s, why);
	expect_end(&s);
	src_close(&s);
	expect_gone(name, why);
}

static void bad_hash(struct source *s)
{
	src_run(s, 0, 7, BASE, 4, 0, 12345);
}

static void bad_header(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES, .entries = 1, .table_len = 16 };

	mfd_wire_packet_seal(&p);
	p.table_len ^= 0x40;
	mfd_conn_send(&s->ch[0], &p, sizeof(p), 0);
}

static void bad_table_len(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 0x10000000,
				     .task = 7,
				     .flags = MFD_WIRE_PACKET_HASHED };

	p.table_len = p.entries * 16;
	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void bad_payload_len(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 1U << 31,
				     .raw_len = 1U << 31,
				     .flags = MFD_WIRE_PACKET_HASHED };

	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void bad_runs(struct source *s)
{
	src_run(s, 0, 7, BASE + 1, 1, 0, 0);
}

static void bad_compressed(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 10,
				     .raw_len = 4096,
				     .flags = MFD_WIRE_PACKET_HASHED | MFD_WIRE_PACKET_ZSTD };

	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void bad_unhashed(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 4096,
				     .raw_len = 4096 };

	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void cut_short(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 4096,
				     .raw_len = 4096,
				     .flags = MFD_WIRE_PACKET_HASHED };
	struct mfd_wire_run run = { .vaddr = BASE, .pages = 1 };

	mfd_wire_packet_seal(&p);
	mfd_wire_runs_seal(&run, 1);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
	mfd_conn_send(&s->ch[1], &run, sizeof(run), 0);
	mfd_conn_send(&s->ch[1], "abc", 3, 0);
	mfd_conn_close(&s->ch[1]);
}

static void name_up(struct source *s)
{
	src_file(s, 0, "..", "x", 1);
}

static void name_slash(struct source *s)
{
	src_file(s, 0, "a/b", "x", 1);
}

static void name_own(struct source *s)
{
	src_file(s, 0, "session.img", "x", 1);
}

static void name_store(struct source *s)
{
	src_file(s, 0, "pages.store", "x", 1);
}

static void name_hidden(struct source *s)
{
	src_file(s, 0, ".attached", "x", 1);
}

static void size_changes(struct source *s)
{
	src_file_part(s, 0, "x.img", "abcd", 4, 0, 8);
	src_file_part(s, 0, "x.img", "abcd", 4, 4, 9);
}

static void control_garbage(struct source *s)
{
	mfd_conn_send(&s->c.conn, "this is not a frame at all ...", 30, 0);
}

static void early_commit(struct source *s)
{
	src_simple(s, MFD_WIRE_COMMIT);
}

static void files_lie(struct source *s)
{
	make_images(7, BASE, 1);
	src_image(s, 0, "pstree.img");
	s->files++;
	src_images_done(s);
}

static void no_pstree(struct source *s)
{
	src_file(s, 0, "other.img", "x", 1);
	src_images_done(s);
}

static void count_lies(struct source *s)
{
	src_pages(s, 0, 7, BASE, 4);
	src_images(s, 7, BASE, 4);
	s->end.pages++;
	src_end(s);
}

static void checksum_lies(struct source *s)
{
	src_pages(s, 0, 7, BASE, 4);
	src_images(s, 7, BASE, 4);
	s->end.checksum++;
	src_end(s);
}

static void test_data_refused(void **state)
{
	(void)state;
	start_server(NULL, NULL);
	data_refused("hash", bad_hash, "wrong checksum");
	data_refused("header", bad_header, "channel 0");
	data_refused("table", bad_table_len, "channel 1");
	data_refused("payload", bad_payload_len, "channel 1");
	data_refused("runs", bad_runs, "channel 0");
	data_refused("zstd", bad_compressed, "channel 1");
	data_refused("unhashed", bad_unhashed, "channel 1");
	data_refused("cut", cut_short, "inside a packet");
	data_refused("size", size_changes, "size changed");
	data_refused("early", early_commit, "before READY");
	data_refused("files", files_lie, "image files");
	data_refused("pstree", no_pstree, "pstree.img");
	data_refused("count", count_lies, "pages");
	data_refused("sum", checksum_lies, "checksum");
	assert_int_equal(stop_server(), 0);
}

static void test_names_refused(void **state)
{
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	data_refused("up", name_up, "name");
	data_refused("slash", name_slash, "name");
	data_refused("own", name_own, "not allowed");
	data_refused("store", name_store, "not allowed");
	data_refused("hidden", name_hidden, "name");
	/* garbage on the control connection: no ABORT can be expected, the end is */
	src_open(&s, "garbage", 0);
	control_garbage(&s);
	expect_end(&s);
	src_close(&s);
	expect_gone("garbage", "control");
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: missing pages ---- */

static void ask_missing(struct source *s, const char *name)
{
	Mfd__Need *n;

	src_open(s, name, 0);
	src_pages(s, 0, 7, BASE, 4);
	src_pages(s, 1, 7, BASE + 6 * PAGE, 2);
	src_images(s, 7, BASE, 10);
	src_end(s);
	n = (Mfd__Need *)expect(s, MFD_WIRE_NEED);
	assert_int_equal(n->n_ranges, 2);
	assert_int_equal(n->ranges[0]->task, 7);
	assert_int_equal(n->ranges[0]->vaddr, BASE + 4 * PAGE);
	assert_int_equal(n->ranges[0]->pages, 2);
	assert_int_equal(n->ranges[1]->vaddr, BASE + 8 * PAGE);
	assert_int_equal(n->ranges[1]->pages, 2);
	assert_int_equal(n->pages, 4);
	protobuf_c_message_free_unpacked(&n->base, NULL);
}

static void test_missing(void **state)
{
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	ask_missing(&s, "good");
	src_pages(&s, 0, 7, BASE + 4 * PAGE, 2);
	src_run(&s, 0, 7, BASE + 8 * PAGE, 2, 1, 0);
	src_end(&s);
	expect_free(&s, MFD_WIRE_READY);
	commit(&s);
	src_close(&s);
	ask_missing(&s, "bad");
	src_pages(&s, 0, 7, BASE + 4 * PAGE, 2);
	src_end(&s);
	expect_abort(&s, "task 7 address 0x10008000");
	src_close(&s);
	expect_gone("bad", "2 lazy pages");
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: broken connections ---- */

static void test_disconnects(void **state)
{
	struct source s;
	Mfd__Hello h;
	int step;

	(void)state;
	start_server(NULL, NULL);
	for (step = 0; step < 8; step++) {
		/* when nothing was waited for, the session may not even have begun */
		src_init(&s, step ? "one" : "zero");
		hello_init(&h, s.name, 2);
		send_hello(&s, &h);
		if (step > 0)
			take_hello_ok(&s);
		if (step > 1)
			join(&s, &s.ch[0], MFD_WIRE_ROLE_DATA, 0);
		if (step > 2) {
			join(&s, &s.ch[1], MFD_WIRE_ROLE_DATA, 1);
			expect_free(&s, MFD_WIRE_JOINED);
		}
		if (step > 3)
			src_pages(&s, 0, 7, BASE, 4);
		if (step > 4)
			src_images(&s, 7, BASE, 8);
		if (step > 5) {
			src_end(&s);
			expect_free(&s, MFD_WIRE_NEED);
		}
		if (step == 7)
			mfd_conn_close(&s.ch[1]); /* a data channel alone */
		if (step == 7)
			expect_abort(&s, "channel 1");
		src_close(&s);
		if (step > 0)
			expect_gone("one", "lost");
		/* so that the next round sees its own tombstone */
		mfd_session_file_exhume(rootfd, "one");
	}
	assert_int_equal(stop_server(), 0);
}

static void test_source_aborts(void **state)
{
	struct source s;

	(void)state;
	start_server("--once", NULL);
	to_ready(&s, "one");
	mfd_control_send_abort(&s.c, -EINTR, "changed my mind");
	expect_end(&s);
	src_close(&s);
	expect_gone("one", "changed my mind");
	assert_int_equal(wait_server(), 1);
}

static void test_doubt_commit(void **state)
{
	struct source s, other;
	Mfd__ResumeOk *ok;

	(void)state;
	start_server(NULL, NULL);
	to_ready(&s, "one");
	src_close(&s);
	wait_doubt("one", 1);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__READY);
	hello_refused("one", 1, PAGE, NULL, "in use");
	/* somebody who does not know the secret */
	other = s;
	other.secret[0] ^= 1;
	src_resume(&other, "commit");
	expect_abort(&other, "no such session");
	mfd_control_close(&other.c);
	mfd_control_init(&s.c);
	src_resume(&s, "commit");
	ok = (Mfd__ResumeOk *)expect(&s, MFD_WIRE_RESUME_OK);
	assert_string_equal(ok->state, "READY");
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	expect_free(&s, MFD_WIRE_COMMITTED);
	wait_state("one", MFD__SESSION_STATE__COMMITTED);
	assert_false(in_doubt("one"));
	/* and again: the same answer */
	src_resume(&s, "commit");
	expect_free(&s, MFD_WIRE_RESUME_OK);
	expect_free(&s, MFD_WIRE_COMMITTED);
	src_close(&s);
	assert_int_equal(reap(restore("one", 16, 1, 0, 7)), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	mfd_control_init(&s.c);
	src_resume(&s, "commit");
	expect_free(&s, MFD_WIRE_RESUME_OK);
	expect_free(&s, MFD_WIRE_COMMITTED);
	src_close(&s);
	assert_int_equal(stop_server(), 0);
}

static void test_doubt_abort(void **state)
{
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	to_ready(&s, "one");
	/* the old connections are still open when the source comes back */
	{
		struct source t = s;

		mfd_control_init(&t.c);
		for (unsigned i = 0; i <= MAXCH; i++)
			t.ch[i] = (struct mfd_conn){ 0 };
		src_resume(&t, "abort");
		expect_free(&t, MFD_WIRE_RESUME_OK);
		expect_end(&t);
		src_close(&t);
	}
	src_close(&s);
	expect_gone("one", "by the source");
	assert_int_equal(stop_server(), 0);
}

static void resume_after(void)
{
	struct source s;

	to_ready(&s, "one");
	if (server > 0)
		assert_int_equal(stop_server(), 0);
	expect_end(&s);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__READY);
	start_server(NULL, NULL);
	wait_doubt("one", 1);
	src_resume(&s, "commit");
	expect_free(&s, MFD_WIRE_RESUME_OK);
	expect_free(&s, MFD_WIRE_COMMITTED);
	src_close(&s);
}

static void test_restart_ready(void **state)
{
	(void)state;
	start_server(NULL, NULL);
	resume_after();
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__COMMITTED);
	/* COMMITTED and nothing installed: again, and restore from the third server */
	assert_int_equal(stop_server(), 0);
	start_server(NULL, NULL);
	assert_int_equal(reap(restore("one", 16, 1, 0, 7)), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(stop_server(), 0);
}

static void test_worker_killed(void **state)
{
	struct source s, r;

	(void)state;
	start_server(NULL, NULL);
	to_ready(&s, "one");
	src_open(&r, "moving", 0);
	kill(worker_pid(), SIGSEGV);
	expect_end(&s);
	expect_end(&r);
	src_close(&r);
	expect_gone("moving", "restarted");
	wait_doubt("one", 1);
	src_resume(&s, "commit");
	expect_free(&s, MFD_WIRE_RESUME_OK);
	expect_free(&s, MFD_WIRE_COMMITTED);
	src_close(&s);
	assert_int_equal(reap(restore("one", 16, 1, 0, 7)), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(stop_server(), 0);
}

static void wait_unlocked(void)
{
	int i, fd = openat(rootfd, ".lock", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	for (i = 0; i < 500 && flock(fd, LOCK_EX | LOCK_NB); i++)
		usleep(10000);
	assert_true(i < 500);
	close(fd);
}

static void test_supervisor_killed(void **state)
{
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	src_open(&s, "one", 0);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = -1;
	expect_abort(&s, "ends");
	src_close(&s);
	expect_gone("one", "ends");
	wait_unlocked(); /* the worker ends after its last session */
	start_server(NULL, NULL);
	assert_int_equal(stop_server(), 0);
}

static void test_stop_aborts(void **state)
{
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	src_open(&s, "one", 0);
	kill(server, SIGTERM);
	expect_abort(&s, "ends");
	src_close(&s);
	assert_int_equal(wait_server(), 0);
	expect_gone("one", "ends");
}

static void test_locked(void **state)
{
	char *argv[] = { "serve", "--dir", dir, NULL },
	     *other[] = { "serve", "--listen", "0.0.0.0:0", "--dir", dir, NULL };

	(void)state;
	start_server(NULL, NULL);
	assert_int_equal(mfd_serve_main(3, argv), MFD_EXIT_FAILED);
	assert_int_equal(stop_server(), 0);
	assert_int_equal(mfd_serve_main(5, other), MFD_EXIT_FAILED);
}

static void test_full(void **state)
{
	struct source s;
	int i;

	(void)state;
	mkdir(dir, 0700);
	if (mount("none", dir, "tmpfs", 0, "size=8m"))
		skip();
	start_server(NULL, NULL);
	src_open(&s, "one", 0);
	for (i = 0; i < 64; i++)
		src_pages(&s, (unsigned)i & 1, 7, BASE + (uint64_t)i * 256 * PAGE, 256);
	expect_abort(&s, "page store is full");
	src_close(&s);
	expect_gone("one", "page store is full");
	/* there is room again */
	to_ready(&s, "two");
	commit(&s);
	src_close(&s);
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: requests ---- */

static void ask(const char *text, const char *want)
{
	char answer[513];

	assert_true(ask_for(text, answer, sizeof(answer)));
	if (strncmp(answer, want, strlen(want)))
		fail_msg("%s: \"%s\" instead of \"%s\"", text, answer, want);
}

static void test_requests(void **state)
{
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	ask("abort nobody", "error: no session");
	ask("dance", "error: the requests are");
	ask("abort ../x", "error: the requests are");
	src_open(&s, "one", 0);
	ask("resolve one run", "error: the session is not in doubt");
	ask("abort one", "ok");
	expect_abort(&s, "by request");
	src_close(&s);
	expect_gone("one", "by request");
	to_ready(&s, "two");
	ask("abort two", "error:");
	ask("resolve two run", "error: the session is not in doubt");
	src_close(&s);
	wait_doubt("two", 1);
	ask("resolve two run", "ok");
	wait_state("two", MFD__SESSION_STATE__COMMITTED);
	ask("abort two", "error: the session is committed");
	to_ready(&s, "three");
	src_close(&s);
	wait_doubt("three", 1);
	ask("resolve three discard", "ok");
	expect_gone("three", "discarded");
	/* the source must learn of it */
	mfd_control_init(&s.c);
	src_resume(&s, "commit");
	expect_abort(&s, "no such session");
	src_close(&s);
	/* ended ones can be tidied up */
	assert_int_equal(state_of("three", NULL, 0), MFD__SESSION_STATE__ABORTED);
	ask("abort three", "ok");
	assert_int_equal(state_of("three", NULL, 0), 0);
	assert_int_equal(reap(restore("two", 16, 1, 0, 7)), 0);
	wait_state("two", MFD__SESSION_STATE__DONE);
	wait_free("two");
	ask("abort two", "ok");
	assert_false(has_folder("two"));
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: settings ---- */

struct question {
	pthread_t thread;
	const char *text, *want;
};

static void *ask_main(void *arg)
{
	struct question *q = arg;

	ask(q->text, q->want);
	return NULL;
}

static void ask_later(struct question *q, const char *text, const char *want)
{
	q->text = text;
	q->want = want;
	assert_int_equal(pthread_create(&q->thread, NULL, ask_main, q), 0);
}

/* As src_open, of a source that takes SET. */
static void src_open_settable(struct source *s, const char *name, int postcopy)
{
	Mfd__HelloOk *ok;
	Mfd__Hello h;

	src_init(s, name);
	hello_init(&h, name, 2);
	h.postcopy = postcopy;
	h.has_settings = h.settings = 1;
	h.has_max_bandwidth = 1;
	h.max_bandwidth = 25000000;
	send_hello(s, &h);
	ok = (Mfd__HelloOk *)expect(s, MFD_WIRE_HELLO_OK);
	assert_true(ok->settings);
	memcpy(s->id, ok->session_id.data, 16);
	memcpy(s->secret, ok->secret.data, 32);
	s->channels = ok->channels;
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	join_all(s, postcopy);
}

static void src_setting(struct source *s, uint32_t id, const char *old, const char *value,
			const char *error)
{
	Mfd__Setting m = MFD__SETTING__INIT;

	m.name = "max-bandwidth";
	m.value = (char *)value;
	m.old = (char *)old;
	m.has_id = id > 0;
	m.id = id;
	m.error = (char *)error;
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_SETTING, &m.base), 0);
}

/* The next message is SET with this value: its id. */
static uint32_t expect_set(struct source *s, const char *value)
{
	Mfd__Set *m = (Mfd__Set *)expect(s, MFD_WIRE_SET);
	uint32_t id = m->id;

	assert_string_equal(m->name, "max-bandwidth");
	assert_string_equal(m->value, value);
	assert_int_not_equal(id, 0);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return id;
}

static void wait_limit(const char *name, uint64_t want)
{
	struct mfd_session_file f;
	uint64_t got = 0;

	for (int i = 0; i < 500; i++, usleep(10000)) {
		if (mfd_session_file_find(rootfd, name, &f))
			continue;
		got = f.entry && f.entry->has_max_bandwidth ? f.entry->max_bandwidth : UINT64_MAX;
		mfd_session_file_release(&f);
		if (got == want)
			return;
	}
	fail_msg("the limit of %s is %llu, not %llu", name, (unsigned long long)got,
		 (unsigned long long)want);
}

static void test_set(void **state)
{
	struct question q, late;
	struct source s;
	uint32_t id;

	(void)state;
	start_server(NULL, NULL);
	ask("set nobody max-bandwidth 1", "error: no session");
	ask("set one max-bandwidth", "error: the requests are");
	ask("set one max-bandwidth 1 2", "error: the requests are");
	/* An older source is not sent what it does not know. */
	src_open(&s, "old", 0);
	ask("set old max-bandwidth 1", "error: the criu-multifd of its source is too old");
	ask("abort old", "ok");
	expect_abort(&s, "by request");
	src_close(&s);

	src_open_settable(&s, "one", 0);
	wait_limit("one", 25000000);
	ask_later(&q, "set one max-bandwidth 250000000", "ok max-bandwidth 25000000 250000000");
	id = expect_set(&s, "250000000");
	/* One at a time, and an answer to another question is none. */
	ask("set one max-bandwidth 7", "error: another change is on its way");
	src_setting(&s, id + 1, "1", "2", NULL);
	src_setting(&s, id, "25000000", "250000000", NULL);
	pthread_join(q.thread, NULL);
	wait_limit("one", 250000000);
	/* A source that refuses. */
	ask_later(&q, "set one max-bandwidth x", "error: the source says: bad value");
	src_setting(&s, expect_set(&s, "x"), NULL, "250000000", "bad value 'x'");
	pthread_join(q.thread, NULL);
	/* Changed on the source. */
	src_setting(&s, 0, "250000000", "1000", NULL);
	wait_limit("one", 1000);
	/* A source that is silent, and one that goes. */
	ask_later(&q, "set one max-bandwidth 5", "error: the source has not answered within");
	expect_set(&s, "5");
	pthread_join(q.thread, NULL);
	ask_later(&late, "set one max-bandwidth 6", "error: the source cannot be reached any more");
	expect_set(&s, "6");
	src_close(&s);
	pthread_join(late.thread, NULL);
	expect_gone("one", "lost");
	ask("set one max-bandwidth 1", "error: too late");

	src_open_settable(&s, "two", 0);
	src_pages(&s, 0, 7, BASE, 16);
	src_images(&s, 7, BASE, 16);
	src_end(&s);
	expect_free(&s, MFD_WIRE_READY);
	ask("set two max-bandwidth 1", "error: too late: everything has been sent already");
	commit(&s);
	ask("set two max-bandwidth 1", "error: too late: everything has been sent already");
	src_close(&s);
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: figures ---- */

static void load(const char *name, struct mfd_session_file *f)
{
	assert_int_equal(mfd_session_file_find(rootfd, name, f), 0);
	assert_non_null(f->entry);
}

/* The parts are the whole; times are in their order. */
static void check_sums(const Mfd__SessionEntry *e)
{
	uint64_t pages = 0, zero = 0, wire = 0, files = 0;

	for (size_t i = 0; i < e->n_channel; i++) {
		pages += e->channel[i]->pages;
		zero += e->channel[i]->zero_pages;
		wire += e->channel[i]->wire_bytes;
		files += e->channel[i]->file_bytes;
	}
	assert_int_equal(pages, e->pages);
	assert_int_equal(zero, e->zero_pages);
	assert_int_equal(wire, e->wire_bytes);
	assert_int_equal(files, e->file_bytes);
}

static void test_figures(void **state)
{
	struct mfd_session_file f;
	uint64_t put = 0;
	struct source s;

	(void)state;
	start_server(NULL, NULL);
	src_open(&s, "one", 0);
	src_pages(&s, 0, 7, BASE, 8);
	src_pages(&s, 0, 7, BASE + 12 * PAGE, 4);
	usleep(50000);
	src_run(&s, 1, 7, BASE + 8 * PAGE, 2, 1, 0);
	usleep(50000);
	src_run(&s, 1, 7, BASE + 10 * PAGE, 2, 1, 0);
	src_images(&s, 7, BASE, 16);
	src_end(&s);
	expect_free(&s, MFD_WIRE_READY);
	load("one", &f);
	assert_int_equal(f.entry->n_channel, 2);
	check_sums(f.entry);
	assert_int_equal(f.entry->channel[0]->pages, 12);
	assert_int_equal(f.entry->channel[1]->zero_pages, 4);
	/*
	 * What this channel had to wait for between its two packets, and not what it waited for the
	 * first.
	 */
	assert_in_range(f.entry->channel[1]->stalls, 1, f.entry->channel[1]->packets + 2);
	assert_in_range(f.entry->channel[1]->stall_us, 40000, f.entry->channel[1]->receive_us);
	assert_true(f.entry->started_us <= f.entry->joined_us &&
		    f.entry->joined_us <= f.entry->streaming_us);
	assert_true(f.entry->streaming_us <= f.entry->images_us &&
		    f.entry->images_us <= f.entry->sent_us);
	assert_true(f.entry->sent_us <= f.entry->ready_us);
	assert_int_equal(f.entry->restored_us + f.entry->installed_us, 0);
	mfd_session_file_release(&f);
	/* They survive a server that ends. */
	src_close(&s);
	wait_doubt("one", 1);
	assert_int_equal(stop_server(), 0);
	start_server(NULL, NULL);
	wait_doubt("one", 1);
	load("one", &f);
	check_sums(f.entry);
	assert_int_equal(f.entry->channel[0]->pages, 12);
	assert_true(f.entry->streaming_us > 0);
	mfd_session_file_release(&f);
	ask("resolve one run", "ok");
	assert_int_equal(reap(restore("one", 16, 1, 0, 7)), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	load("one", &f);
	check_sums(f.entry);
	for (size_t i = 0; i < f.entry->n_pager_thread; i++)
		put += f.entry->pager_thread[i]->pages;
	assert_true(f.entry->n_pager_thread >= 2);
	assert_int_equal(put + f.entry->direct_pages + f.entry->dropped_pages +
				 f.entry->left_zero_pages,
			 f.entry->installed_pages);
	assert_true(f.entry->committed_us <= f.entry->restored_us &&
		    f.entry->restored_us <= f.entry->installed_us);
	assert_true(f.entry->installed_us <= f.entry->done_us);
	mfd_session_file_release(&f);
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: --max-memory ---- */

#define M (1ULL << 20)

/* wait_ms < 0: a source that knows nothing of it. */
static void hello_memory(struct source *s, const char *name, uint64_t memory, int wait_ms,
			 int postcopy)
{
	Mfd__Hello h;

	src_init(s, name);
	hello_init(&h, name, 2);
	h.postcopy = postcopy;
	h.has_memory = 1;
	h.memory = memory;
	h.has_wait_ms = wait_ms >= 0;
	h.wait_ms = wait_ms > 0 ? (uint64_t)wait_ms : 0;
	send_hello(s, &h);
}

static void hello_memory_refused(const char *name, uint64_t memory, int wait_ms, const char *why)
{
	struct source s;

	hello_memory(&s, name, memory, wait_ms, 0);
	expect_abort(&s, why);
	src_close(&s);
}

static uint64_t take_queued(struct source *s, unsigned ahead)
{
	Mfd__Queued *q = (Mfd__Queued *)expect(s, MFD_WIRE_QUEUED);
	uint64_t need = q->need;

	assert_int_equal(q->limit, 32 * M);
	assert_true(q->free < need || ahead);
	assert_int_equal(q->ahead, ahead);
	protobuf_c_message_free_unpacked(&q->base, NULL);
	return need;
}

static void send_size(struct source *s, uint64_t bytes)
{
	Mfd__Size m = MFD__SIZE__INIT;

	m.bytes = bytes;
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_SIZE, &m.base), 0);
}

/* What lies between: QUEUED comes every second. */
static void until_hello_ok(struct source *s)
{
	unsigned type = MFD_WIRE_QUEUED;
	ProtobufCMessage *m = NULL;

	while (type == MFD_WIRE_QUEUED) {
		protobuf_c_message_free_unpacked(m, NULL);
		m = next_msg(s, &type);
		assert_non_null(m);
	}
	assert_int_equal(type, MFD_WIRE_HELLO_OK);
	memcpy(s->id, ((Mfd__HelloOk *)m)->session_id.data, 16);
	memcpy(s->secret, ((Mfd__HelloOk *)m)->secret.data, 32);
	s->channels = ((Mfd__HelloOk *)m)->channels;
	protobuf_c_message_free_unpacked(m, NULL);
}

static void test_memory_refused(void **state)
{
	struct source a;

	(void)state;
	start_server("--max-memory", "32M");
	hello_memory_refused("big", 40 * M, 60000, "more than the limit of 32.0 MiB");
	hello_memory(&a, "a", 18 * M, -1, 0);
	take_hello_ok(&a);
	/* A source that would not wait, and one that would not understand that it has to. */
	hello_memory_refused("b", 18 * M, 0, "of the limit of 32.0 MiB are free");
	hello_memory_refused("c", 18 * M, -1, "of the limit of 32.0 MiB are free");
	assert_int_equal(state_of("b", NULL, 0), 0);
	src_close(&a);
	expect_gone("a", "lost");
	/* the folder goes a moment before what was promised does */
	hello_memory(&a, "b", 18 * M, 60000, 0);
	until_hello_ok(&a);
	src_close(&a);
	expect_gone("b", "lost");
	assert_int_equal(stop_server(), 0);
}

static void test_memory_queue(void **state)
{
	struct source a, b, c, d;
	uint64_t need;

	(void)state;
	start_server("--max-memory", "32M");
	hello_memory(&a, "a", 18 * M, 60000, 0);
	take_hello_ok(&a);
	hello_memory(&b, "b", 18 * M, 60000, 0);
	need = take_queued(&b, 0);
	assert_true(need > 18 * M && need < 32 * M);
	hello_memory(&c, "c", 8 * M, 60000, 0);
	take_queued(&c, 1);
	ask("set b max-bandwidth 1", "error: it waits for memory");
	/* Its tasks grow while it waits: it is told, and beyond the limit it is over. */
	send_size(&b, 20 * M);
	while (take_queued(&b, 0) <= need)
		;
	send_size(&b, 64 * M);
	for (unsigned type = MFD_WIRE_QUEUED; type == MFD_WIRE_QUEUED;) {
		ProtobufCMessage *m = next_msg(&b, &type);

		assert_non_null(m);
		assert_true(type == MFD_WIRE_QUEUED ||
			    strstr(((Mfd__Abort *)m)->reason, "more than the limit"));
		protobuf_c_message_free_unpacked(m, NULL);
	}
	src_close(&b);
	expect_gone("b", "more than the limit");
	/* The next of the queue is too large for what is left. */
	hello_memory(&d, "d", 18 * M, 60000, 0);
	take_queued(&d, 1);
	src_close(&d);
	expect_gone("d", "lost");
	take_queued(&c, 0);
	src_close(&a);
	until_hello_ok(&c);
	join_all(&c, 0);
	src_pages(&c, 0, 7, BASE, 4);
	src_images(&c, 7, BASE, 4);
	src_end(&c);
	expect_free(&c, MFD_WIRE_READY);
	commit(&c);
	src_close(&c);
	assert_int_equal(stop_server(), 0);
}

/* More than was announced: as long as there is room; then the source hears of it and goes on. */
static void test_memory_grows(void **state)
{
	struct source a, b;
	int i;

	(void)state;
	start_server("--max-memory", "48M");
	hello_memory(&a, "a", 2 * M, 60000, 0);
	take_hello_ok(&a);
	join_all(&a, 0);
	for (i = 0; i < 8; i++)
		src_pages(&a, (unsigned)i & 1, 7, BASE + (uint64_t)i * M, 256);
	hello_memory(&b, "b", 2 * M, 60000, 0);
	take_hello_ok(&b);
	send_size(&b, 4 * M);
	send_size(&b, 36 * M);
	expect_abort(&b, "session b needs");
	src_close(&b);
	expect_gone("b", "are free");
	for (; i < 64; i++)
		src_pages(&a, (unsigned)i & 1, 7, BASE + (uint64_t)i * M, 256);
	expect_abort(&a, "session a needs");
	src_close(&a);
	expect_gone("a", "more than the limit of 48.0 MiB");
	assert_int_equal(stop_server(), 0);
}

static uint64_t pages_of(const char *name)
{
	struct mfd_session_file f;
	uint64_t n;

	assert_int_equal(mfd_session_file_find(rootfd, name, &f), 0);
	n = f.entry->pages;
	mfd_session_file_release(&f);
	return n;
}

/*
 * Postcopy: a window.  Whoever does not keep to it is not read any further, and neither faults nor
 * the restore wait for that; what was held back then goes straight into the tasks.
 */
static void test_memory_window(void **state)
{
	Mfd__HelloOk *ok;
	struct source s;
	uint64_t room, i;
	Mfd__Room *r;
	pid_t pid;

	(void)state;
	start_server("--max-memory", "32M");
	hello_memory(&s, "one", 200 * M, 60000, 1);
	ok = (Mfd__HelloOk *)expect(&s, MFD_WIRE_HELLO_OK);
	assert_int_equal(ok->memory_limit, 32 * M);
	assert_true(ok->has_room && ok->room > 8 * M && ok->room < 32 * M);
	room = ok->room;
	memcpy(s.id, ok->session_id.data, 16);
	memcpy(s.secret, ok->secret.data, 32);
	s.channels = ok->channels;
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	join_all(&s, 1);
	src_images(&s, 7, BASE, 16);
	expect_free(&s, MFD_WIRE_IMAGES_OK);
	for (i = 0; i < room / M + 3; i++)
		src_pages(&s, 0, 7, 2 * BASE + i * M, 256);
	for (i = 0; i < 1000 && pages_of("one") * PAGE < room - M; i++)
		usleep(20000);
	assert_true(pages_of("one") * PAGE >= room - M);
	sleep(2); /* figures are written once a second */
	assert_true(pages_of("one") * PAGE <= room + M);
	pid = restore("one", 16, 0, 0, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	for (;;) {
		unsigned type;
		ProtobufCMessage *m = next_msg(&s, &type);

		assert_non_null(m);
		r = (Mfd__Room *)m;
		if (type == MFD_WIRE_ROOM && r->bytes == UINT64_MAX) {
			protobuf_c_message_free_unpacked(m, NULL);
			break;
		}
		if (type == MFD_WIRE_FAULT)
			src_pages(&s, MAXCH, 7, ((Mfd__Fault *)m)->range->vaddr, 1);
		else
			assert_int_equal(type, MFD_WIRE_ROOM);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	for (i = 0; i < 16; i++)
		src_pages(&s, (unsigned)i & 1, 7, BASE + i * PAGE, 1);
	for (i = 0; i < 64; i++) /* more than there would ever be room for */
		src_pages(&s, (unsigned)i & 1, 7, 2 * BASE + i * M, 256);
	src_end(&s);
	for (;;) {
		unsigned type;
		ProtobufCMessage *m = next_msg(&s, &type);

		assert_non_null(m);
		protobuf_c_message_free_unpacked(m, NULL);
		if (type == MFD_WIRE_READY)
			break;
		assert_int_equal(type, MFD_WIRE_FAULT);
	}
	commit(&s);
	src_close(&s);
	assert_int_equal(reap(pid), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(stop_server(), 0);
}

/* ---- tests: postcopy ---- */

static void to_restorable(struct source *s, const char *name)
{
	src_open(s, name, 1);
	src_pages(s, 0, 7, BASE, 2);
	src_images(s, 7, BASE, 16);
	expect_free(s, MFD_WIRE_IMAGES_OK);
	assert_int_equal(state_of(name, NULL, 0), MFD__SESSION_STATE__RESTORABLE);
}

static void test_postcopy_early(void **state)
{
	struct source s;

	(void)state;
	start_server("--once", NULL);
	to_restorable(&s, "one");
	src_pages(&s, 1, 7, BASE + 2 * PAGE, 14);
	src_end(&s);
	expect_free(&s, MFD_WIRE_READY);
	commit(&s);
	src_close(&s);
	assert_int_equal(reap(restore("one", 16, 0, 0, 7)), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(wait_server(), 0);
}

/* The pager asks for more than the one page; only that comes on the urgent channel here. */
/*
 * A task that faults has said before that the restore is finished, but a fault is read by another
 * thread than that.
 */
static void wait_restored(const char *name)
{
	char path[200], *text;
	int i, found = 0;

	snprintf(path, sizeof(path), "%s/%s/.attached", dir, name);
	for (i = 0; i < 1000 && !found; i++, usleep(10000)) {
		if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
			continue;
		found = !!strstr(text, "restored");
		free(text);
	}
	assert_true(found);
}

static uint64_t answer_fault(struct source *s)
{
	Mfd__Fault *f = (Mfd__Fault *)expect(s, MFD_WIRE_FAULT);
	uint64_t vaddr = f->range->vaddr;

	assert_int_equal(f->range->task, 7);
	protobuf_c_message_free_unpacked(&f->base, NULL);
	wait_restored(s->name);
	src_pages(s, MAXCH, 7, vaddr, 1);
	return vaddr;
}

static void test_postcopy(void **state)
{
	struct source s;
	pid_t pid;
	int i;

	(void)state;
	start_server("--once", NULL);
	to_restorable(&s, "one");
	pid = restore("one", 16, 0, 0, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	assert_int_equal(answer_fault(&s), BASE + 2 * PAGE);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	for (i = 0; i < 14; i++)
		src_pages(&s, (unsigned)i & 1, 7, BASE + (2 + (uint64_t)i) * PAGE, 1);
	src_end(&s);
	for (;;) {
		unsigned type;
		ProtobufCMessage *m = next_msg(&s, &type);

		assert_non_null(m);
		protobuf_c_message_free_unpacked(m, NULL);
		if (type == MFD_WIRE_READY)
			break;
		assert_int_equal(type, MFD_WIRE_FAULT);
	}
	/* an answer that everything else has overtaken */
	src_pages(&s, MAXCH, 7, BASE + 2 * PAGE, 1);
	usleep(200000);
	commit(&s);
	src_close(&s);
	assert_int_equal(reap(pid), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(wait_server(), 0);
}

static void test_postcopy_lost_early(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	start_server(NULL, NULL);
	to_restorable(&s, "one");
	src_close(&s);
	expect_gone("one", "lost");
	/* a restore that has begun but has no leave yet */
	to_restorable(&s, "two");
	pid = restore("two", 16, 0, 0, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_close(&s);
	expect_gone("two", "lost");
	kill(pid, SIGCONT);
	assert_int_not_equal(reap(pid), 0);
	assert_int_equal(stop_server(), 0);
}

/*
 * What a source does that comes back while the restored task runs: joins again, brings what is
 * needed, ends, commits.
 */
static void come_back(struct source *s)
{
	Mfd__Need *n;
	size_t i;

	src_resume(s, "continue");
	expect_free(s, MFD_WIRE_RESUME_OK);
	mfd__end__init(&s->end);
	s->sync = 0;
	join_all(s, 1);
	n = (Mfd__Need *)expect(s, MFD_WIRE_NEED);
	assert_true(n->n_ranges >= 1);
	for (i = 0; i < n->n_ranges; i++)
		src_pages(s, 0, 7, n->ranges[i]->vaddr, (unsigned)n->ranges[i]->pages);
	protobuf_c_message_free_unpacked(&n->base, NULL);
	src_end(s);
	for (;;) {
		unsigned type;
		ProtobufCMessage *m = next_msg(s, &type);

		assert_non_null(m);
		protobuf_c_message_free_unpacked(m, NULL);
		if (type == MFD_WIRE_READY)
			break;
		assert_int_equal(type, MFD_WIRE_FAULT);
	}
	commit(s);
	src_close(s);
}

/* The network breaks while the restored task runs; the source comes back and goes on. */
static void test_postcopy_resume(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	start_server("--once", NULL);
	to_restorable(&s, "one");
	pid = restore("one", 16, 0, 0, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	answer_fault(&s);
	mfd_conn_close(&s.ch[1]);
	wait_doubt("one", 1);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	come_back(&s);
	assert_int_equal(reap(pid), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(wait_server(), 0);
}

static void kill_worker(void)
{
	pid_t pid = worker_pid();
	int i;

	kill(pid, SIGKILL);
	for (i = 0; i < 500 && worker_pid() == pid; i++)
		usleep(10000);
	assert_int_not_equal(worker_pid(), pid);
}

/*
 * The worker dies, twice, while a restored task lacks pages: the next one serves it, and the source
 * goes on as after a broken link.
 */
static void test_pager_killed(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	start_server("--once", NULL);
	to_restorable(&s, "one");
	pid = restore("one", 16, 0, 0, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	answer_fault(&s);
	kill_worker();
	wait_doubt("one", 1);
	kill_worker();
	wait_doubt("one", 1);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	src_close(&s);
	come_back(&s);
	assert_int_equal(reap(pid), 0);
	wait_state("one", MFD__SESSION_STATE__DONE);
	assert_int_equal(wait_server(), 0);
}

/* ... but not when what a person decided is that they die. */
static void test_pager_killed_discard(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	start_server(NULL, NULL);
	to_restorable(&s, "one");
	pid = restore("one", 16, 0, 1, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	answer_fault(&s);
	kill_worker();
	src_close(&s);
	wait_doubt("one", 1);
	ask("resolve one discard", "ok");
	assert_int_equal(reap(pid), 128 + SIGKILL);
	expect_gone("one", "discarded");
	assert_int_equal(stop_server(), 0);
}

/*
 * A task that cannot be found cannot be killed: it must wait, since what it lacks would be zeros.
 */
static void test_lost(void **state)
{
	struct source s;
	pid_t pid, worker;
	int status, i;

	(void)state;
	hidden = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(hidden, MAP_FAILED);
	start_server(NULL, NULL);
	to_restorable(&s, "one");
	worker = worker_pid();
	kill(worker, SIGSTOP);
	pid = restore("one", 16, 0, 1, 7);
	for (i = 0; i < 1000 && !atomic_load(hidden); i++)
		usleep(10000);
	assert_true(atomic_load(hidden));
	munmap(hidden, PAGE);
	hidden = NULL;
	kill(worker, SIGCONT);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	expect_free(&s, MFD_WIRE_FAULT);
	src_close(&s);
	wait_doubt("one", 1);
	ask("resolve one discard", "ok");
	expect_gone("one", "discarded");
	usleep(300000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	assert_int_equal(reap(pid), 128 + SIGKILL);
	assert_int_equal(stop_server(), 0);
}

static void test_discard_running(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	start_server(NULL, NULL);
	to_restorable(&s, "one");
	pid = restore("one", 16, 0, 1, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	answer_fault(&s);
	src_close(&s);
	wait_doubt("one", 1);
	ask("resolve one run", "error: pages are missing");
	ask("resolve one discard", "ok");
	assert_int_equal(reap(pid), 128 + SIGKILL);
	expect_gone("one", "discarded");
	assert_int_equal(stop_server(), 0);
}

/* Asked to end while a restored task lacks pages: the server waits for them. */
static void test_stop_drains(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	start_server(NULL, NULL);
	to_restorable(&s, "one");
	pid = restore("one", 16, 0, 0, 7);
	expect_free(&s, MFD_WIRE_STARTED);
	src_simple(&s, MFD_WIRE_STARTED_OK);
	answer_fault(&s);
	kill(server, SIGTERM);
	usleep(200000);
	assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
	src_pages(&s, 0, 7, BASE + 2 * PAGE, 14);
	src_end(&s);
	for (;;) {
		unsigned type;
		ProtobufCMessage *m = next_msg(&s, &type);

		assert_non_null(m);
		protobuf_c_message_free_unpacked(m, NULL);
		if (type == MFD_WIRE_READY)
			break;
	}
	commit(&s);
	src_close(&s);
	assert_int_equal(reap(pid), 0);
	assert_int_equal(wait_server(), 0);
	assert_int_equal(state_of("one", NULL, 0), MFD__SESSION_STATE__DONE);
}

static unsigned threads_of(pid_t pid)
{
	char path[64], *text = NULL, *p;
	unsigned n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL), 0);
	p = strstr(text, "Threads:");
	n = p ? (unsigned)atoi(p + 8) : 0;
	free(text);
	return n;
}

static unsigned fds_of(pid_t pid)
{
	char path[64], cmd[96];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	snprintf(cmd, sizeof(cmd), "ls %s | wc -l", path);
	f = popen(cmd, "r");
	if (fscanf(f, "%u", &n) != 1)
		n = 0;
	pclose(f);
	return n;
}

static void test_many(void **state)
{
	unsigned before, fds;
	struct source s;
	char name[32];
	int i;

	(void)state;
	start_server(NULL, NULL);
	/* The first session makes what stays, a sanitizer's threads above all. */
	src_open(&s, "warm", 0);
	src_close(&s);
	expect_gone("warm", "lost");
	usleep(500000);
	before = threads_of(worker_pid());
	fds = fds_of(worker_pid());
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		if (i % 4) {
			src_open(&s, name, 0);
			src_close(&s);
		} else {
			to_ready(&s, name);
			mfd_control_send_abort(&s.c, 0, "enough");
			src_close(&s);
		}
	}
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		wait_state(name, MFD__SESSION_STATE__ABORTED);
	}
	for (i = 0; i < 300 && (threads_of(worker_pid()) > before || fds_of(worker_pid()) > fds);
	     i++)
		usleep(10000);
	assert_int_equal(threads_of(worker_pid()), before);
	assert_int_equal(fds_of(worker_pid()), fds);
	assert_int_equal(stop_server(), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(test_safe),
		T(test_safe_done),
		T(test_two_sessions),
		T(test_file_in_pieces),
		T(test_ping),
		T(test_hello_refused),
		T(test_max_sessions),
		T(test_memory_refused),
		T(test_memory_queue),
		T(test_memory_grows),
		T(test_memory_window),
		T(test_join_refused),
		T(test_early_restore),
		T(test_early_restore_durable),
		T(test_slow_greeting),
		T(test_data_refused),
		T(test_names_refused),
		T(test_missing),
		T(test_disconnects),
		T(test_source_aborts),
		T(test_doubt_commit),
		T(test_doubt_abort),
		T(test_restart_ready),
		T(test_worker_killed),
		T(test_supervisor_killed),
		T(test_stop_aborts),
		T(test_locked),
		T(test_full),
		T(test_requests),
		T(test_set),
		T(test_figures),
		T(test_postcopy_early),
		T(test_postcopy),
		T(test_postcopy_lost_early),
		T(test_postcopy_resume),
		T(test_pager_killed),
		T(test_pager_killed_discard),
		T(test_lost),
		T(test_discard_running),
		T(test_stop_drains),
		T(test_many),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("session_server", tests, NULL, NULL);
}
