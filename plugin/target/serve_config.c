// SPDX-License-Identifier: GPL-2.0-only
/* The command line of `criu-multifd serve`. */
#include <errno.h>

#include "command.h"
#include "flags.h"
#include "netaddr.h"
#include "rights_now.h"
#include "serve_config.h"
#include "size.h"
#include "tls_dir.h"

static const char *const pid_namespaces[] = { "own", "host", NULL };

static const char *const huge_pages[] = { "on", "off", NULL };

static int add_restore_option(void *dest, const char *value, struct mfd_error *err)
{
	struct mfd_serve_config *c = dest;

	if (c->n_restore_options == MFD_SERVE_MAX_WORDS)
		return mfd_error_set(err, -E2BIG, "at most %d of them", MFD_SERVE_MAX_WORDS);
	c->restore_options[c->n_restore_options++] = value;
	return 0;
}

static int add_allow_address(void *dest, const char *value, struct mfd_error *err)
{
	struct mfd_serve_config *c = dest;

	if (!mfd_netaddr_rule_ok(value))
		return mfd_error_set(err, -EINVAL,
				     "'%.64s': expected an address, a network ADDR/LEN or 'any'",
				     value);
	if (c->n_allow_address == MFD_SERVE_MAX_WORDS)
		return mfd_error_set(err, -E2BIG, "at most %d of them", MFD_SERVE_MAX_WORDS);
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

int mfd_serve_config_parse(struct mfd_serve_config *c, int argc, char **argv)
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
		{ .name = "ssh",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c->ssh,
		  .arg = "start",
		  .help = "for migrate --to ssh://HOST, which starts this: a key on standard input, --once, and the\n"
			  "end with that of standard input unless a session is open" },
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

	*c = (struct mfd_serve_config){ .daemon = MFD_DAEMON_DEFAULTS,
					.max_sessions = 64,
					.stall_ms = 10000,
					.keep_ended = 2592000 };
	c->daemon.dir = NULL; /* where --ssh puts it is not the usual place */
	return mfd_flags_begin(&table, argc, argv, &args);
}
