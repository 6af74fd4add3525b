/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu-multifd migrate: runs `criu dump --lazy-pages` with the plugin, shows how far it is, and
 * says how it ended.
 *
 *	migrate.c		folder, the end
 *	migrate_args.c		command line and configuration, of check, too
 *	migrate_check.c		what can be known to be wrong before anything is begun
 *	migrate_ssh.c		--to ssh://: a server on the other host; migrate_ssh_url.c its name
 *	migrate_look.c		the process, as check looks at it, and options that it needs
 *	migrate_probe.c		what the target lacks; migrate_talk.c the connection for it
 *	migrate_path.c		whether full-sized packets cross
 *	migrate_run.c		CRIU's process, signals, abort
 *	migrate_report.c	progress and the summary, for people and as JSON
 *
 * It decides nothing: the sender, which the plugin starts, commits or aborts, and goes on doing so
 * should this program be killed. It learns from the sender through struct mfd_progress and
 * multifd-send.json, and asks it to abort by its request socket.
 */
#ifndef MFD_MIGRATE_H
#define MFD_MIGRATE_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "check.h"
#include "error.h"
#include "hostcriu.h"
#include "migrate_ssh.h"
#include "options.h"
#include "progress.h"

struct mfd_migrate_report {
	int json, terminal; /* terminal: one line, redrawn */
	unsigned phase;	    /* the last one shown */
	int lost, drawn;    /* drawn: a line without an end stands there */
	unsigned round;	    /* of precopy, that was shown */
	uint64_t start_us, shown_us, stream_us;
	uint64_t rate_us, rate_bytes, rate; /* bytes per second, smoothed; measured since ... */
	double percent;			    /* the most that was shown */
};

struct mfd_migrate {
	/* the command line */
	uint32_t pid;
	uint64_t start; /* field 22 of its /proc/PID/stat, 0: whichever has that pid */
	const char *to, *images;
	int restore, json, no_check, no_check_target, no_auto;
	uint64_t timeout_ms; /* 0 = none */
	char **criu_args;
	int n_criu_args;
	struct mfd_migrate_ssh ssh;
	int by_ssh;		   /* bool: --to says so */
	char **all_args;	   /* with those that were added; NULL: none were */
	char *asked_options;	   /* restore-option as the person gave it */
	char restore_options[512]; /* what CRIU's dump options mean for the restore */
	struct mfd_check check;	   /* what was found */
	int is_check;		   /* bool: nothing is moved */

	struct mfd_options o; /* effective */
	struct mfd_hostcriu criu;
	char plugins[4096];
	char dir[4096]; /* CRIU's image and work directory */
	int private_dir;
	struct mfd_progress *progress;
	struct mfd_migrate_report report;

	/* the run */
	pid_t criu_pid;
	int criu_ended, criu_status;
	int stop;	    /* the signal that asked for an abort, or MFD_MIGRATE_TIMEOUT */
	int asked, refused; /* the sender has agreed to abort; it is too late for that */
	int alone;	    /* the sender connects still, and is left to end by itself */
	int sender_gone;    /* every process of it has died, after leave to run */
	uint64_t looked_ms; /* for the sender */
	uint64_t start_ms, stop_ms;
};

#define MFD_MIGRATE_TIMEOUT (-1)

/* ---- migrate_args.c ---- */

struct mfd_migrate_words {
	const char *verb, *usage, *summary, *notes;
	int needs_target; /* and moves something */
};

/* Parse into m, which is all zero: -1 = go on, else the exit code. */
int mfd_migrate_args(struct mfd_migrate *m, const struct mfd_migrate_words *w, int argc,
		     char **argv);
/*
 * Check a flag of the table of options, and hand it on in the environment: `other` of a table of
 * flags whose other_arg is a struct mfd_options.
 */
int mfd_migrate_args_option(void *arg, int argc, char **argv, int *i, struct mfd_error *err);
/* Read m->o anew, from the environment and the file. */
int mfd_migrate_args_read(struct mfd_migrate *m, struct mfd_error *err);
/* After options of criu were added: what they mean for the restore, too. */
int mfd_migrate_args_again(struct mfd_migrate *m, struct mfd_error *err);
/* The sender finds in its environment what the server of --to ssh:// needs. */
int mfd_migrate_args_by_ssh(struct mfd_migrate *m, struct mfd_error *err);
void mfd_migrate_args_free(struct mfd_migrate *m);

/* ---- migrate_look.c ---- */

/*
 * Look at the process; c is all zero, and the caller's to free.  Options that it needs are added to
 * those of criu, unless that is switched off.  0 or -errno with a sentence.
 */
int mfd_migrate_look_into(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err);
/* The same before a move, into m->check: say what was found, and refuse what cannot move. */
int mfd_migrate_look(struct mfd_migrate *m, struct mfd_error *err);
/* Then the target, once its address is known: refuse what it could not restore for certain. */
int mfd_migrate_look_there(struct mfd_migrate *m, struct mfd_error *err);

/* ---- migrate_probe.c ---- */

/*
 * Ask the target of m->o, and add what it lacks to c.  0; -EPROTONOSUPPORT: it is too old to
 * answer; or another -errno, of which the session's opening will tell more.
 */
int mfd_migrate_probe(struct mfd_migrate *m, struct mfd_check *c, struct mfd_error *err);

/* ---- migrate_check.c ---- */

/* Nonzero: `word` is criu's option `name` (without dashes), long or by its letter. */
int mfd_migrate_is_option(const char *word, const char *name);

/* 0 or -errno with a sentence. */
int mfd_migrate_check_host(struct mfd_error *err);
int mfd_migrate_check_pid(uint32_t pid, struct mfd_error *err);
/* --tree-start: is it still the process that was meant? */
int mfd_migrate_check_start(const struct mfd_migrate *m, struct mfd_error *err);
/* Refuses options that are migrate's own or would defeat it; fills restore_options. */
int mfd_migrate_check_criu_args(struct mfd_migrate *m, struct mfd_error *err);

/* From here on signals ask for an abort, which mfd_migrate_run sees to. */
void mfd_migrate_block_signals(void);
void mfd_migrate_watched_signals(sigset_t *set); /* which those are, and SIGCHLD */
/* Until CRIU and the sender have ended.  -errno: could not be started. */
int mfd_migrate_run(struct mfd_migrate *m, struct mfd_error *err);

void mfd_migrate_report_begin(struct mfd_migrate *m);
void mfd_migrate_report_tick(struct mfd_migrate *m); /* at any time, often */
/* A line for people that does not spoil the redrawn one. */
void mfd_migrate_report_say(struct mfd_migrate *m, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What was found, as an event: with --json alone. */
void mfd_migrate_report_check(struct mfd_migrate *m, const struct mfd_check *c);
/* result: "released", "in-doubt", "aborted", "failed"; error may be NULL. */
void mfd_migrate_report_end(struct mfd_migrate *m, const char *result, int code, const char *error);

#endif
