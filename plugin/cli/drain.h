/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu-multifd drain: moves what runs in units, control groups, containers or slices, or a list of
 * processes, to other hosts.
 *
 *	drain.c			the verb: what is left from before, list, run, look again, the end
 *	drain_args.c		command line; drain_time.c what --deadline takes
 *	drain_pick.c		which process trees are meant
 *	drain_item.c		one of them, and what its session is called
 *	drain_look.c		each tree as check sees it
 *	drain_left.c		what an earlier run has left in the folder
 *	drain_plan.c		order, target, deadline: computes, and knows no process
 *	drain_run.c		the moves: start, signals, end
 *	drain_move.c		one move: a process `criu-multifd migrate`, and what it tells
 *	drain_table.c		for people: the list, what is on its way, the summary
 *	drain_json.c		for programs
 *	drain_metrics.c		for node_exporter's folder
 *	drain_words.c		states: their words and their exit codes
 *
 * It decides nothing about a process: each move is a `criu-multifd migrate` of its own, which
 * writes its events and its log into files, so a move goes on though this program is killed.  What
 * is known of earlier runs is in these files and in what a sender leaves (images/source.proto);
 * what has moved is gone from the host and needs no record.
 */
#ifndef MFD_DRAIN_H
#define MFD_DRAIN_H

#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "migrate.h"

#define MFD_DRAIN_TARGETS 64 /* a bit each of mfd_drain_item.tried */
#define MFD_DRAIN_PICKS	  64
#define MFD_DRAIN_EXTRA	  67 /* words of migrate's that are handed on */
#define MFD_DRAIN_DIR	  "/run/criu-multifd.drain"
#define MFD_DRAIN_UNKNOWN UINT64_MAX /* of a target's room */

/* In the order of what the exit code tells: the last one that an item has wins. */
enum mfd_drain_state {
	MFD_DRAIN_WAITING,
	MFD_DRAIN_MOVING,
	MFD_DRAIN_MOVED,
	MFD_DRAIN_STORED, /* complete there, and not restored: an operator's to do */
	MFD_DRAIN_GONE,	  /* had ended by itself before it was begun */
	MFD_DRAIN_LATE,	  /* not begun: the time, a signal, no target */
	MFD_DRAIN_CANNOT, /* and was not tried */
	MFD_DRAIN_FAILED, /* runs on here */
	MFD_DRAIN_DIED,	  /* while it was being moved */
	MFD_DRAIN_NEW,	  /* began to run here meanwhile */
	MFD_DRAIN_BUSY,	  /* a sender of an earlier run is at work */
	MFD_DRAIN_DOUBT,
	MFD_DRAIN_BOTH, /* runs here and there */
	MFD_DRAIN_STATES
};

struct mfd_drain_state_words {
	const char *id;	  /* in JSON and metrics */
	const char *text; /* for people */
	int code;	  /* of this program's exit */
};
extern const struct mfd_drain_state_words mfd_drain_states[MFD_DRAIN_STATES];

struct mfd_drain_target {
	char *to;		 /* as migrate's --to */
	uint64_t room;		 /* bytes that it can take, MFD_DRAIN_UNKNOWN */
	uint64_t given;		 /* bytes of what was sent, or is on its way */
	unsigned running, moved; /* processes */
	unsigned failures;	 /* one after the other */
};

struct mfd_drain_item {
	pid_t pid;
	uint64_t start; /* its start time: pids are used again */
	char name[64], group[128], session[200];
	enum mfd_drain_state state;
	char why[900];
	char note[400]; /* of check: what may be in the way, or slow */
	uint64_t bytes, still_ms;

	/* the move */
	int target; /* -1: none yet */
	uint64_t tried;
	unsigned tries;
	pid_t migrate; /* 0: none runs */
	int events;    /* the file, read as it grows; -1 */
	char *line;    /* of it, not complete yet */
	size_t line_len;
	char phase[32];
	double percent;
	uint64_t rate;
	uint64_t begun_ms;

	/* its summary */
	double total_ms, pause_ms; /* pause < 0: not known */
	uint64_t bytes_memory, bytes_wire;
	int target_failed; /* bool: it could not be reached, or refused */
	int again;	   /* bool: another target may do better */
	char error[700];
};

enum mfd_drain_pick_kind {
	MFD_DRAIN_UNIT,
	MFD_DRAIN_CGROUP,
	MFD_DRAIN_CONTAINER,
	MFD_DRAIN_SLICE,
	MFD_DRAIN_PIDS,
};

struct mfd_drain_pick {
	enum mfd_drain_pick_kind kind;
	const char *value;
};

struct mfd_drain {
	/* the command line */
	struct mfd_migrate m; /* options, criu's words: what every move has */
	struct mfd_drain_pick picks[MFD_DRAIN_PICKS];
	unsigned n_picks;
	uint32_t parallel;
	uint64_t deadline_ms; /* CLOCK_MONOTONIC, 0 = none */
	uint64_t bandwidth;   /* of all together, 0: as configured */
	const char *dir, *metrics, *session;
	int dry_run, no_restore;
	const char *extra[MFD_DRAIN_EXTRA]; /* words that are handed on to migrate */
	unsigned n_extra;

	int dirfd;
	struct mfd_drain_target targets[MFD_DRAIN_TARGETS];
	unsigned n_targets;
	struct mfd_drain_item *items;
	size_t n, room;
	unsigned moving;
	double pace;   /* how long a move takes, as a multiple of what check expects */
	int stop;      /* signals that asked for an end: 1 nothing new, 2 abort */
	int said_stop; /* of it, what was passed on */
	int signals;
	uint64_t begun_us; /* CLOCK_REALTIME */
	unsigned drawn;	   /* lines of the live table */
	uint64_t drawn_ms, metrics_ms;
	int terminal;
};

/* ---- drain_args.c ---- */

/* -1 = go on, else the exit code. */
int mfd_drain_args(struct mfd_drain *d, int argc, char **argv);
/* "ADDR:PORT[=ROOM][,...]", "ssh://..."; 0 or -EINVAL with what is wrong with which of them. */
int mfd_drain_args_targets(struct mfd_drain *d, const char *list, struct mfd_error *err);

/* ---- drain_time.c ---- */

/*
 * "30m", "90s", "2h", "23:30", "2026-12-01 06:00", "@EPOCH": seconds since 1970, from `now`.
 * A time of day that is over is tomorrow's.  0 or -EINVAL with what is allowed.
 */
int mfd_drain_time(const char *text, int64_t now, int64_t *when, struct mfd_error *err);

/* ---- drain_pick.c ---- */

/*
 * Add the trees that are meant, one item each.  0 or -errno with a sentence.  again: after the
 * moves, when some of what is named may be gone.
 */
int mfd_drain_pick(struct mfd_drain *d, int again, struct mfd_error *err);
/* ---- drain_item.c ---- */

struct mfd_drain_item *mfd_drain_item_add(struct mfd_drain *d, pid_t pid);
/* The name of a session: letters, digits, dot, dash, underscore; cut where it is too long. */
void mfd_drain_item_session(char *to, size_t len, const char *prefix, const char *name, pid_t pid);

/* ---- drain_look.c, drain_left.c ---- */

void mfd_drain_look(struct mfd_drain *d, struct mfd_drain_item *it);
/* Open and lock the folder, and find what is in doubt there.  0 or -errno with a sentence. */
int mfd_drain_left_open(struct mfd_drain *d, struct mfd_error *err);
int mfd_drain_left(struct mfd_drain *d, struct mfd_error *err);
/* Nonzero: an earlier run had a session for that process. */
int mfd_drain_left_knows(const struct mfd_drain *d, pid_t pid);
/*
 * 1 if a sender has left something to be settled, or that cannot be known: the item is in doubt
 * then, whatever migrate said.  has_ended: its migrate; then a sender that is just ending is none.
 */
int mfd_drain_left_look(struct mfd_drain *d, struct mfd_drain_item *it, int has_ended);
/* What became of a move whose migrate has died. */
void mfd_drain_left_judge(struct mfd_drain *d, struct mfd_drain_item *it);

/* ---- drain_plan.c ---- */

/* The largest first. */
void mfd_drain_plan_sort(struct mfd_drain_item *items, size_t n);
/* For an item of so many bytes, tried on these before: an index, or -1. */
int mfd_drain_plan_target(const struct mfd_drain_target *t, unsigned n, uint64_t bytes,
			  uint64_t tried);
/* How long the move will take, in ms. */
uint64_t mfd_drain_plan_expect(const struct mfd_drain *d, const struct mfd_drain_item *it);
/* Nonzero: begun now, it would end before the deadline. */
int mfd_drain_plan_fits(const struct mfd_drain *d, const struct mfd_drain_item *it, uint64_t now);
/* The next one to begin, with its target; NULL: none now. */
struct mfd_drain_item *mfd_drain_plan_next(struct mfd_drain *d, uint64_t now, int *target);
/* A move began; it ended: by its target's fault, or well. */
void mfd_drain_plan_begun(struct mfd_drain *d, struct mfd_drain_item *it, int target);
void mfd_drain_plan_ended(struct mfd_drain *d, struct mfd_drain_item *it);
/* Where everything would go if it went at once: what a dry run shows. Sets targets of items. */
void mfd_drain_plan_spread(struct mfd_drain *d);

/* ---- drain_move.c ---- */

int mfd_drain_move_start(struct mfd_drain *d, struct mfd_drain_item *it, int target,
			 struct mfd_error *err);
/* Read the events that have come. */
void mfd_drain_move_read(struct mfd_drain_item *it);
/* One line of them. */
void mfd_drain_move_event(struct mfd_drain_item *it, const char *line);
/* It has ended with this status of waitpid. */
void mfd_drain_move_end(struct mfd_drain *d, struct mfd_drain_item *it, int status);

/* ---- drain_run.c ---- */

/* From here on signals ask for an end. 0 or -errno. */
int mfd_drain_run_signals(struct mfd_drain *d);
void mfd_drain_run(struct mfd_drain *d);

/* ---- drain_table.c, drain_json.c, drain_metrics.c ---- */

void mfd_drain_table_plan(const struct mfd_drain *d, FILE *f);
void mfd_drain_table_summary(const struct mfd_drain *d, FILE *f);
/* What is on its way; returns the number of lines. */
unsigned mfd_drain_table_live(const struct mfd_drain *d, FILE *f, uint64_t now_ms);
void mfd_drain_table_draw(struct mfd_drain *d);	 /* on a terminal */
void mfd_drain_table_clear(struct mfd_drain *d); /* before another line */
void mfd_drain_table_say(struct mfd_drain *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* An event on a line: "plan", "summary" of all; "begun", "ended" of an item. */
struct json_object *mfd_drain_json(const struct mfd_drain *d, const char *event);
struct json_object *mfd_drain_json_item(const struct mfd_drain *d, const struct mfd_drain_item *it,
					const char *event);
void mfd_drain_json_print(struct json_object *j);

/* OpenMetrics text, which the Prometheus format's readers take, too. */
void mfd_drain_metrics_text(const struct mfd_drain *d, int over, FILE *f);
/* Replace --metrics FILE. 0 or -errno with a sentence. */
int mfd_drain_metrics(const struct mfd_drain *d, int over, struct mfd_error *err);

/* ---- drain_words.c ---- */

int mfd_drain_code(const struct mfd_drain *d); /* of the exit, as the items stand */
size_t mfd_drain_count(const struct mfd_drain *d, enum mfd_drain_state state, uint64_t *bytes);
/* Set the state with the reason. */
void mfd_drain_set(struct mfd_drain_item *it, enum mfd_drain_state state, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int mfd_drain_is_left(enum mfd_drain_state state);  /* something of it is on this host */
int mfd_drain_is_there(enum mfd_drain_state state); /* all of it is on the target */

#endif
