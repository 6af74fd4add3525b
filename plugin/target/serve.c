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

#include "by_ssh.h"
#include "command.h"
#include "criuwords.h"
#include "hostcriu.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "nofile.h"
#include "ours.h"
#include "probe_look.h"
#include "reread.h"
#include "rights_now.h"
#include "serve_config.h"
#include "session_file.h"
#include "sock.h"
#include "supervise.h"
#include "tls.h"
#include "tls_dir.h"

#define LOCK_FILE ".lock"
#define PINNED	  8 /* words that are added to the command line */

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

static int open_socket(struct mfd_supervise *sv, const struct mfd_serve_config *c, int secure,
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
static int prepare_tls(struct mfd_server *sv, const struct mfd_serve_config *c,
		       struct mfd_error *err)
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

/* Sessions that have not ended lie there: the only copy of tasks may be among them. */
static int has_sessions(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), has = 0;
	struct mfd_session_file *list = NULL;
	size_t n = 0;

	if (fd >= 0 && !mfd_session_file_list(fd, &list, &n))
		for (size_t i = 0; i < n; i++)
			has |= !list[i].ended;
	mfd_session_file_list_free(list, n);
	mfd_io_close(&fd);
	return has;
}

/*
 * What is wrong keeps a server from being started, but not from coming up again where sessions wait
 * for it: another criu, or other rights, than last time.
 */
static int goes_on_with_sessions(const struct mfd_serve_config *c, const char *what,
				 const struct mfd_error *err)
{
	if (!has_sessions(c->daemon.dir))
		return 0;
	mfd_log_error("%s: %s; going on all the same, since there are sessions in %s", what,
		      mfd_error_text(err), c->daemon.dir);
	return 1;
}

/* Before it is a folder that cannot be made, or a restore that fails. */
static int check_rights(const struct mfd_serve_config *c, struct mfd_error *err)
{
	struct mfd_error no = { 0 };

	if (!geteuid())
		return 0;
	mfd_error_set(
		&no, -EPERM,
		"must be run as root: it keeps the memory of other users' processes, and CRIU "
		"must restore them");
	return goes_on_with_sessions(c, "serve", &no) ?
		       0 :
		       mfd_error_set(err, no.code, "%s", mfd_error_text(&no));
}

/* What restoring needs is looked for now: a source shall not find out at its READY. */
static int prepare_restore(struct mfd_restore_host *host, const struct mfd_serve_config *c,
			   struct mfd_error *err)
{
	static struct mfd_hostcriu criu; /* the server's for good */
	static char plugins[4096], netns[4096], version[32];
	struct mfd_error no = { 0 };
	int ret;

	*host = (struct mfd_restore_host){ .own_pids = c->pid_namespace == MFD_SERVE_PIDS_OWN,
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
	snprintf(version, sizeof(version), "%d.%d.%d", criu.major, criu.minor, criu.patch);
	host->version = version;
	if (c->n_restore_options &&
	    mfd_criuwords_check(criu.path, c->restore_options, c->n_restore_options, &no) &&
	    !goes_on_with_sessions(c, "--restore-option", &no))
		return mfd_error_set(err, -EINVAL, "--restore-option: %s", mfd_error_text(&no));
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

static void pin_tls(struct mfd_listener *l, const struct mfd_serve_config *c)
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
	if (l->ssh)
		mfd_by_ssh_in_worker(l->ssh);
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

static void ready(void *arg, const char *address)
{
	struct mfd_listener *l = arg;

	if (l->ssh)
		mfd_by_ssh_announce(l->ssh, address);
}

/*
 * --ssh: what is not on the command line follows from how it was started.  A later program takes
 * the same folder and key.
 */
static int begin_by_ssh(struct mfd_by_ssh *s, struct mfd_serve_config *c, char **words,
			struct mfd_error *err)
{
	int ret = c->daemon.state ? mfd_by_ssh_again(s, c->ssh, c->daemon.dir, err) :
				    mfd_by_ssh_begin(s, c->daemon.dir, err);

	if (ret)
		return ret;
	c->once = 1;
	c->daemon.dir = s->dir;
	c->tls_dir = NULL;
	c->tls_psk = s->key;
	if (!c->listen)
		c->listen = mfd_by_ssh_address();
	if (!c->daemon.state)
		pin(words, "--ssh", s->own);
	return 0;
}

static void configure(struct mfd_server *sv, const struct mfd_serve_config *c)
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
	sv->huge_pages = c->huge_pages == MFD_SERVE_HUGE_ON;
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

static int resume(struct mfd_supervise *sv, const struct mfd_serve_config *c)
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
static int serve(struct mfd_serve_config *c, char **words, struct mfd_by_ssh *ssh)
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
				    .ready = ready,
				    .arg = &l };
	struct mfd_error err = { 0 };
	struct mfd_sock_addr addr;

	mfd_log_tag_set("serve");
	mfd_log_level_set((enum mfd_log_level)c->daemon.level);
	if (check_rights(c, &err))
		return fail(&err);
	mfd_nofile_raise();
	l.ssh = c->ssh ? ssh : NULL;
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
	if (l.ssh && mfd_by_ssh_detach(l.ssh, &err))
		return fail(&err);
	return mfd_supervise_run(&sv, addr.text);
}

/* What is made for a server that ssh starts goes with it, however it ends. */
static int serve_any(struct mfd_serve_config *c, char **words)
{
	struct mfd_by_ssh ssh = MFD_BY_SSH_NONE;
	struct mfd_error err = { 0 };
	int ret = c->ssh ? begin_by_ssh(&ssh, c, words, &err) : 0;

	if (!c->daemon.dir)
		c->daemon.dir = MFD_DEFAULT_DIR;
	if (!c->listen)
		c->listen = "127.0.0.1:0";
	ret = ret ? fail(&err) : serve(c, words, &ssh);
	mfd_by_ssh_end(&ssh);
	return ret;
}

int mfd_serve_main(int argc, char **argv)
{
	struct mfd_serve_config c = { 0 };
	char **words; /* for an exec of our own later; parsing reorders argv */
	int ret;

	if (argc == 2 && !strcmp(argv[1], MFD_PROBE_LOOK_WORD))
		return mfd_probe_look_main();
	words = calloc((size_t)argc + 1 + PINNED, sizeof(*words));
	if (!words)
		return MFD_EXIT_FAILED;
	memcpy(words, argv, (size_t)argc * sizeof(*argv));
	ret = mfd_serve_config_parse(&c, argc, argv);
	if (ret < 0)
		ret = serve_any(&c, words);
	free(words);
	return ret;
}
