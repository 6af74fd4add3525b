// SPDX-License-Identifier: GPL-2.0-only
/* `criu-multifd serve`: command line, folder, lock, listening socket; supervise.c does the rest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "command.h"
#include "daemon.h"
#include "flags.h"
#include "hostcriu.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "netaddr.h"
#include "nofile.h"
#include "ours.h"
#include "reread.h"
#include "rights_now.h"
#include "size.h"
#include "sock.h"
#include "supervise.h"
#include "tls.h"
#include "tls_dir.h"

#define MAX_RESTORE_OPTIONS 64
#define LOCK_FILE	    ".lock"
#define PINNED		    4 /* words that are added to the command line */

struct config {
	struct mfd_daemon_options daemon;
	const char *listen;
	int once, insecure, durable;
	const char *tls_dir, *tls_psk, *peers;
	int restore, pid_namespace, huge_pages;
	const char *netns;
	const char *restore_options[MAX_RESTORE_OPTIONS];
	size_t n_restore_options;
	const char *allow_address[MAX_RESTORE_OPTIONS];
	size_t n_allow_address;
	uint32_t threads, max_sessions, stall_ms, keep_ended;
	uint64_t max_memory;
};

enum { PIDS_OWN, PIDS_HOST };
static const char *const pid_namespaces[] = { "own", "host", NULL };

enum { HUGE_ON, HUGE_OFF };
static const char *const huge_pages[] = { "on", "off", NULL };

static int add_restore_option(void *dest, const char *value, struct mfd_error *err)
{
	struct config *c = dest;

	if (c->n_restore_options == MAX_RESTORE_OPTIONS)
		return mfd_error_set(err, -E2BIG, "at most %d of them", MAX_RESTORE_OPTIONS);
	c->restore_options[c->n_restore_options++] = value;
	return 0;
}

static int add_allow_address(void *dest, const char *value, struct mfd_error *err)
{
	struct config *c = dest;

	if (!mfd_netaddr_rule_ok(value))
		return mfd_error_set(err, -EINVAL,
				     "'%.64s': expected an address, a network ADDR/LEN or 'any'",
				     value);
	if (c->n_allow_address == MAX_RESTORE_OPTIONS)
		return mfd_error_set(err, -E2BIG, "at most %d of them", MAX_RESTORE_OPTIONS);
	c->allow_address[c->n_allow_address++] = value;
	return 0;
}

#define MIN_MEMORY (16ULL << 20) /* less is a slip of the pen: not even buffers would fit */

static int set_max_memory(void *dest, const char *value, struct mfd_error *err)
{
	uint64_t bytes;

	if (mfd_size_parse(value, &bytes) || (bytes && bytes < MIN_MEMORY))
		return mfd_error_set(
			err, -EINVAL,
			"'%.64s': expected bytes, as 800M or 64G, at least %lluM; 0 = no limit",
			value, MIN_MEMORY >> 20);
	*(uint64_t *)dest = bytes;
	return 0;
}

static int parse(struct config *c, int argc, char **argv)
{
	const struct mfd_flag flags[] = {
		{ .name = "listen",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c->listen,
		  .arg = "ADDR:PORT",
		  .help = "where sources connect; port 0 = any (127.0.0.1:0);\n"
			  "a socket that systemd passes is taken instead" },
		mfd_daemon_dir(&c->daemon, "where sessions live (" MFD_DEFAULT_DIR ")"),
		{ .name = "once",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &c->once,
		  .help = "end with the first session: 0 when it is done, 1 when it was aborted" },
		{ .name = "restore",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &c->restore,
		  .help = "sources may ask for their session to be restored here at once (migrate --restore)" },
		{ .name = "restore-option",
		  .kind = MFD_FLAG_CALL,
		  .call = add_restore_option,
		  .dest = c,
		  .arg = "OPT",
		  .help = "a word for the command line of such a criu restore, e.g. --restore-option=--tcp-established;\n"
			  "may be given more than once" },
		{ .name = "allow-address",
		  .kind = MFD_FLAG_CALL,
		  .call = add_allow_address,
		  .dest = c,
		  .arg = "ADDR[/LEN]|any",
		  .help = "an address, or every one of a network, that sources may bring along (--move-address), to the\n"
			  "server's own network namespace; may be given more than once" },
		{ .name = "pid-namespace",
		  .kind = MFD_FLAG_CHOICE,
		  .dest = &c->pid_namespace,
		  .arg = "own|host",
		  .choices = pid_namespaces,
		  .help = "own: in a new one per session, so that pids never clash; host: in the server's (own)" },
		{ .name = "network-namespace",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c->netns,
		  .arg = "NAME|PATH",
		  .help = "where such sessions are restored (the server's own)" },
		{ .name = "tls-dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c->tls_dir,
		  .arg = "DIR|off",
		  .help = "folder of certificates: each connection must use TLS, with one of the same CA\n"
			  "(" MFD_TLS_DIR " if it is there)" },
		{ .name = "tls-psk",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c->tls_psk,
		  .arg = "FILE",
		  .help = "pre-shared keys of sources, lines IDENTITY:HEX: TLS with those" },
		{ .name = "peers",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c->peers,
		  .arg = "FILE|off",
		  .help = "what each source may do here, see criu-multifd-peers(5); what it does not name is denied\n"
			  "(" MFD_RIGHTS_FILE " if it is there)" },
		{ .name = "insecure",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &c->insecure,
		  .help = "allow an address that others can reach, without TLS" },
		{ .name = "durable",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &c->durable,
		  .help = "keep pages in DIR itself though that is not a tmpfs" },
		{ .name = "huge-pages",
		  .kind = MFD_FLAG_CHOICE,
		  .dest = &c->huge_pages,
		  .arg = "on|off",
		  .choices = huge_pages,
		  .help = "on: what is restored here (--restore, mode safe) has huge pages at once, where this host\n"
			  "gives them to it (on)" },
		{ .name = "threads",
		  .kind = MFD_FLAG_UINT,
		  .dest = &c->threads,
		  .arg = "N",
		  .max = 256,
		  .help = "threads that install pages in bulk, per session; 0 = one per processor (0). Those that\n"
			  "answer faults come on top: two, and one more for every 8" },
		{ .name = "max-sessions",
		  .kind = MFD_FLAG_UINT,
		  .dest = &c->max_sessions,
		  .arg = "N",
		  .min = 1,
		  .max = 4096,
		  .help = "sessions that may be open at a time (64)" },
		{ .name = "max-memory",
		  .kind = MFD_FLAG_CALL,
		  .call = set_max_memory,
		  .dest = &c->max_memory,
		  .arg = "SIZE",
		  .help = "memory for all sessions together, with k, M, G or T; 0 = no limit (0).\n"
			  "Sources that do not fit wait before they freeze anything" },
		{ .name = "stall-timeout",
		  .kind = MFD_FLAG_UINT,
		  .dest = &c->stall_ms,
		  .arg = "MS",
		  .min = 100,
		  .max = 3600000,
		  .help = "nothing from the source for so long = connection lost (10000)" },
		mfd_daemon_keep_for(
			&c->daemon,
			"close kept descriptors of no session after so long; 0 = never (86400)"),
		{ .name = "keep-ended",
		  .kind = MFD_FLAG_UINT,
		  .dest = &c->keep_ended,
		  .arg = "SECONDS",
		  .max = 3153600000,
		  .help = "forget how a session ended after so long; 0 = never (2592000). Only the last 1000 are shown;\n"
			  "what a source may ask for is kept for each of them, 1000 for each identity" },
		mfd_daemon_state_fd(&c->daemon),
		mfd_daemon_log_level(&c->daemon),
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "serve",
		.usage = "--listen ADDR:PORT [--dir DIR] [--once] [--insecure] ...",
		.summary =
			"Restore server: receives migrations and serves their pages to criu restore --lazy-pages.",
		.notes =
			"A source that may connect to a restore server may run code there as root.\n"
			"\n"
			"--tls-dir and --tls-psk let only those connect that have a certificate of the CA, or a key; 'criu-multifd keys'\n"
			"makes both, and the source has options of the same names. Both flags together allow both.\n"
			"Without --peers each of them may do what the flags here allow to any.\n"
			"\n"
			"--max-memory counts page stores, image files and receive buffers, also the images that ended sessions have left in "
			"DIR\n"
			"(criu-multifd abort SESSION removes them); not what is on a disk, the restored processes themselves, and the "
			"kernel's\n"
			"buffers of connections. A source says how much memory its processes have. In mode safe all of it must fit: a "
			"session\n"
			"larger than SIZE is refused, and one that does not fit beside the others waits in a queue, first come, first "
			"served,\n"
			"while its processes run on (queue-timeout at the source). Memory is given back as pages get into restored "
			"processes:\n"
			"a session that is not restored keeps its share. In mode postcopy a part is enough: the rest of the pages is held "
			"back at\n"
			"the source until the restore has finished and then needs no store, so that a process larger than SIZE can move. "
			"One that\n"
			"grew beyond what was said while it was still running fails at once and runs on at its source if there is no room "
			"for that.",
		.flags = flags,
	};
	struct mfd_flags_args args;

	return mfd_flags_begin(&table, argc, argv, &args);
}

static int fail(const struct mfd_error *err)
{
	mfd_log_error("%s", mfd_error_text(err));
	return MFD_EXIT_FAILED;
}

static int make_folders(const char *dir)
{
	char path[4096], *p;

	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/*
 * The folder and the lock that makes us its only server; the lock is inherited by the worker and
 * ends with the last of both.
 */
static int open_dir(struct mfd_supervise *sv, struct mfd_error *err)
{
	int i, lock, ret = make_folders(sv->dir);

	if (ret)
		return mfd_error_sys(err, ret, "%s", sv->dir);
	sv->dirfd = mfd_ours_claim(sv->dir, LOCK_FILE, err);
	if (sv->dirfd < 0)
		return sv->dirfd;
	lock = mfd_ours_file(sv->dirfd, LOCK_FILE, O_RDWR | O_CREAT, 0600);
	if (lock < 0)
		return mfd_error_sys(err, lock, "%s/" LOCK_FILE, sv->dir);
	/*
	 * A server that was killed a moment ago is not quite gone: its worker's heir (heir.h) is.
	 */
	for (i = 0; (ret = flock(lock, LOCK_EX | LOCK_NB)) && i < 50; i++)
		usleep(20000);
	if (ret)
		return mfd_error_set(err, -EBUSY, "%s: another restore server is at work there",
				     sv->dir);
	sv->lock_fd = lock;
	return 0;
}

/*
 * Socket activation: 0 = none, 1 = sv->listen_fd is systemd's.  The environment is not to reach
 * criu and what it restores.
 */
static int passed_socket(struct mfd_supervise *sv, struct mfd_sock_addr *addr,
			 struct mfd_error *err)
{
	int ret, n = sd_listen_fds(1);

	if (n < 0)
		return mfd_error_sys(err, n, "LISTEN_FDS");
	if (n > 1)
		return mfd_error_set(err, -EINVAL, "systemd passes %d sockets, expected one", n);
	if (!n)
		return 0;
	ret = mfd_sock_listening(SD_LISTEN_FDS_START, addr, err);
	if (ret)
		return ret;
	sv->listen_fd = SD_LISTEN_FDS_START;
	return 1;
}

static int open_socket(struct mfd_supervise *sv, const struct config *c, int secure,
		       struct mfd_sock_addr *addr, struct mfd_error *err)
{
	int passed = passed_socket(sv, addr, err);
	int ret = passed ? passed : mfd_sock_parse(c->listen, 1, addr, err);

	if (ret < 0)
		return ret;
	if (!mfd_sock_is_loopback(addr) && !c->insecure && !secure)
		return mfd_error_set(
			err, -EPERM,
			"%s can be reached by others, and a source that connects may run code here as root: use --tls-dir or "
			"--tls-psk ('criu-multifd keys' makes what they need), loopback (a tunnel), or --insecure in a network "
			"you trust",
			addr->text);
	if (!passed)
		sv->listen_fd = mfd_sock_listen(addr, err);
	if (sv->listen_fd < 0)
		return sv->listen_fd;
	/* accept() must not block when the connection has gone since poll(). */
	fcntl(sv->listen_fd, F_SETFL, fcntl(sv->listen_fd, F_GETFL) | O_NONBLOCK);
	return 0;
}

/* Certificates and keys are read now; connections are plain only if none are asked for. */
static int prepare_tls(struct mfd_server *sv, const struct config *c, struct mfd_error *err)
{
	const struct mfd_tls_config cfg = { .end = MFD_CONN_TARGET,
					    .dir = mfd_tls_dir(
						    c->tls_psk && !c->tls_dir ? "off" : c->tls_dir),
					    .psk_file = c->tls_psk };
	int ret;

	if (!cfg.dir && !cfg.psk_file)
		return 0;
	ret = mfd_tls_load(&sv->tls, &cfg, err); /* for good */
	sv->security = mfd_tls_security(sv->tls);
	return ret;
}

static int no_connection(struct mfd_conn *c, enum mfd_conn_end end,
			 const struct mfd_conn_config *cfg, struct mfd_error *err)
{
	(void)c;
	(void)end;
	(void)cfg;
	return mfd_error_set(err, -EACCES, "TLS could not be loaded when this program started");
}

/* What restoring needs is looked for now: a source shall not find out at its READY. */
static int prepare_restore(struct mfd_restore_host *host, const struct config *c,
			   struct mfd_error *err)
{
	static struct mfd_hostcriu criu; /* the server's for good */
	static char plugins[4096], netns[4096];
	int ret;

	*host = (struct mfd_restore_host){ .own_pids = c->pid_namespace == PIDS_OWN,
					   .options = c->restore_options,
					   .n_options = c->n_restore_options };
	if (!c->restore)
		return c->n_restore_options || c->netns ?
			       mfd_error_set(err, -EINVAL,
					     "without --restore nothing is restored") :
			       0;
	ret = mfd_hostcriu_find(&criu, err);
	if (ret)
		return ret;
	host->criu = criu.path;
	if (!mfd_hostcriu_plugins(plugins, sizeof(plugins), NULL))
		host->plugins = plugins;
	if (!c->netns)
		return 0;
	snprintf(netns, sizeof(netns), "%s%s", strchr(c->netns, '/') ? "" : "/run/netns/",
		 c->netns);
	host->netns = netns;
	return access(netns, R_OK) ?
		       mfd_error_sys(err, -errno, "--network-namespace %s", c->netns) :
		       0;
}

/*
 * The next program (SIGUSR2) is to have TLS and a file of rights if and only if this one has, even
 * if what it would find by itself has come or gone meanwhile: its command line says so.
 */
static void pin(char **words, const char *flag, const char *value)
{
	while (*words)
		words++;
	words[0] = (char *)(uintptr_t)flag;
	words[1] = (char *)(uintptr_t)value;
}

static void pin_tls(struct mfd_listener *l, const struct config *c)
{
	if (!c->tls_dir && !c->tls_psk)
		pin(l->words, "--tls-dir", l->server.security ? MFD_TLS_DIR : "off");
}

static void pin_rights(struct mfd_listener *l)
{
	struct mfd_rights *rights = mfd_rights_now(&l->server.rights);

	if (rights && !l->server.rights.file) {
		l->server.rights.file = MFD_RIGHTS_FILE;
		pin(l->words, "--peers", MFD_RIGHTS_FILE);
	}
	mfd_rights_put(rights);
}

/* In the worker's process. */
static int work(void *arg, const struct mfd_supervise_birth *b)
{
	struct mfd_listener *l = arg;
	struct mfd_server *sv = &l->server;

	l->listen_fd = b->listen_fd;
	l->stop_fd = b->stop_fd;
	l->reread_fd = b->reread_fd;
	mfd_guard_init(&sv->guard, b->guard_fd, b->standby_fd);
	sv->takeover = (struct mfd_takeover){ .after = b->after,
					      .inherited = b->inherited,
					      .guard = &sv->guard };
	return mfd_listener_run(l);
}

/* In the supervisor's process; the worker says what came of it. */
static void reread(void *arg)
{
	struct mfd_listener *l = arg;

	mfd_reread(&l->server, MFD_REREAD_SILENT);
	pin_rights(l);
}

static void configure(struct mfd_server *sv, const struct config *c)
{
	sv->dir = c->daemon.dir;
	sv->threads = c->threads;
	sv->max_sessions = c->max_sessions;
	sv->max_memory = c->max_memory;
	sv->stall_ms = c->stall_ms;
	sv->keep_ended = c->keep_ended;
	sv->allow_address = c->allow_address;
	sv->n_allow_address = c->n_allow_address;
	sv->durable = c->durable;
	sv->huge_pages = c->huge_pages == HUGE_ON;
	sv->once = c->once;
	sv->restore = c->restore;
	mfd_rights_now_init(&sv->rights, c->peers);
}

/*
 * The new program of a server that goes on.  Restored tasks may depend on it: it starts also if it
 * cannot restore anything itself.
 */
static void prepare_again(struct mfd_supervise *sv, const void *config)
{
	static const struct mfd_conn_security closed = { .handshake = no_connection };
	struct mfd_listener *l = sv->arg;
	struct mfd_error err = { 0 };

	if (prepare_tls(&l->server, config, &err)) {
		l->server.security = &closed;
		mfd_log_error("no source can connect from now on: %s", mfd_error_text(&err));
		mfd_error_clear(&err);
	}
	pin_tls(l, config);
	if (mfd_rights_now_read(&l->server.rights, &err)) {
		mfd_rights_now_close(&l->server.rights);
		mfd_log_error("no source can open a session from now on: %s", mfd_error_text(&err));
		mfd_error_clear(&err);
	}
	pin_rights(l);
	if (!prepare_restore(&l->server.criu, config, &err))
		return;
	l->server.restore = 0;
	mfd_log_error("nothing is restored here from now on: %s", mfd_error_text(&err));
}

static int resume(struct mfd_supervise *sv, const struct config *c)
{
	struct mfd_listener *l = sv->arg;
	struct mfd_error err = { 0 };

	sv->dirfd = open(sv->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sv->dirfd < 0)
		return fail((mfd_error_sys(&err, -errno, "%s", sv->dir), &err));
	l->server.dirfd = sv->dirfd;
	return mfd_supervise_resume(sv, (int)c->daemon.state, prepare_again, c);
}

/* The command line has been understood. */
static int serve(const struct config *c, char **words)
{
	struct mfd_listener l = {
		.listen_fd = -1, .request_fd = -1, .reread_fd = -1, .stop_fd = -1, .words = words
	};
	struct mfd_supervise sv = { .dir = c->daemon.dir,
				    .dirfd = -1,
				    .listen_fd = -1,
				    .lock_fd = -1,
				    .keep_ms = (uint64_t)c->daemon.keep_for * 1000,
				    .words = words,
				    .work = work,
				    .reread = reread,
				    .arg = &l };
	struct mfd_error err = { 0 };
	struct mfd_sock_addr addr;

	mfd_log_tag_set("serve");
	mfd_log_level_set((enum mfd_log_level)c->daemon.level);
	mfd_nofile_raise();
	configure(&l.server, c);
	if (c->daemon.state)
		return resume(&sv, c);
	if (prepare_tls(&l.server, c, &err) || mfd_rights_now_read(&l.server.rights, &err) ||
	    prepare_restore(&l.server.criu, c, &err) || open_dir(&sv, &err) ||
	    open_socket(&sv, c, l.server.security != NULL, &addr, &err))
		return fail(&err);
	l.server.dirfd = sv.dirfd;
	pin_tls(&l, c);
	pin_rights(&l);
	return mfd_supervise_run(&sv, addr.text);
}

int mfd_serve_main(int argc, char **argv)
{
	struct config c = { .daemon = MFD_DAEMON_DEFAULTS,
			    .listen = "127.0.0.1:0",
			    .max_sessions = 64,
			    .stall_ms = 10000,
			    .keep_ended = 2592000 };
	char **words; /* for an exec of our own later; parsing reorders argv */
	int ret;

	words = calloc((size_t)argc + 1 + PINNED, sizeof(*words));
	if (!words)
		return MFD_EXIT_FAILED;
	memcpy(words, argv, (size_t)argc * sizeof(*argv));
	ret = parse(&c, argc, argv);
	if (ret < 0)
		ret = serve(&c, words);
	free(words);
	return ret;
}
