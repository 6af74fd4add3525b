/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commit protocol of criu-multifd, for spin.  README.md says what is checked and what is left
 * out; the rules are those of plugin/DESIGN.md.
 *
 *	source	CRIU; the sender's worker and its supervisor, whose phase is in shared memory
 *	target	the server's worker and its supervisor, whose phase is in session.img; the standby is
 *		a third holder of userfaultfds, so that no two faults end all of them
 *	link	messages wait in queues, and are lost when it is cut
 *	person	acts when nothing moves by itself any more, and only after a look at both ends
 *
 * The plans and the target's phases are those of proto/turns.h; enter() asserts that a transition
 * is in the table of plugin/target/session/phase.c.  A page is in the model only as "every page has
 * come" and "restored tasks lack pages", and, with rounds, as copies that are older than they should
 * be: on their way behind newer ones, in the store, in restored tasks.
 *
 * PLAN 0..4 as enum mfd_plan_id; FAULTS how many may happen; BREAK the rule that is left out.
 */
#ifndef PLAN
#define PLAN 0
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef BREAK
#define BREAK 0
#endif

#define CONFIRM (PLAN == 1 || PLAN == 2 || PLAN == 4) /* the server restores */
#define EARLY	(PLAN == 2)			      /* ... while pages still come, stopped */
#define POST	(PLAN == 3 || PLAN == 4)	      /* the tasks run while pages still come */

#define RULE(n)		 (BREAK != (n))
#define TELL_AFTER_DEATH 1  /* COMMIT only when every task of the source is dead */
#define EVIDENCE	 2  /* "no such session" is unknown, not "nothing runs there" */
#define HELD		 3  /* after leave to run the tasks are held by more than CRIU */
#define FORWARD		 4  /* once one task has died after the verdict the others are ended */
#define FATE		 5  /* restored tasks that died before READY leave the source frozen */
#define STORE_FIRST	 6  /* a phase is stored before it is told */
#define NO_RESUME	 7  /* after leave to run the source goes on only by evidence or a person */
#define NO_RUN		 8  /* nothing restored runs before leave */
#define KEEP		 9  /* from READY on the target keeps the session when the link breaks */
#define DEAD_MAN	 10 /* CRIU's dump fails when every process of the sender has died */
#define TAKE_OVER	 11 /* a dead worker's tasks are taken over */
#define ALONE		 12 /* the sender alone is at the gate */
#define ORDER		 13 /* a round's pages are sent after the round before has come */
#define STALE		 14 /* what is out of date in the store is void before IMAGES */
#define FRESH		 15 /* READY only if every page is as new as the source believes */

mtype = { RUN, FROZEN, PART, DEAD, NONE, STOPPED };		     /* a copy of the tasks */
mtype = { ROUNDS, DUMPING, GATE, KILLING, GONE };		     /* CRIU */
mtype = { S_STREAM, S_RUNNING, S_COMMITTING, S_RELEASED, S_OVER };   /* the sender */
mtype = { ROUND, IMAGES_M, END, STARTED_OK, COMMIT, ABORT };	     /* messages of the source */
mtype = { R_COMMIT, R_ABORT, R_CONT };				     /* ... RESUME with an outcome */
mtype = { ROUND_OK, IMAGES_OK, STARTED, READY_M, RESTORED_M, COMMITTED_M }; /* of the target */
mtype = { R_OK, UNKNOWN };					     /* ... answers to RESUME */
mtype = { STREAMING, IMAGES, RESTORABLE, RUNNING, READY, RESTORED }; /* the target */
mtype = { COMMITTED, DONE, ABORTED };

#include "transitions.pml" /* LEGAL(from, to), made from the table in phase.c */

/* ---- source ---- */
mtype src = RUN;
bool held; /* by a frozen control group, whatever becomes of CRIU */
mtype criu = ROUNDS; /* in the plugin's init hook: no task is frozen */
bool yes, no; /* what lies at the gate: the first that came decides */
mtype sph = S_STREAM;
bool w = true, sup = true; /* worker, supervisor */
bool aborting;		   /* the sender has decided; shared memory */
bool sdoubt;
bool told; /* the target has answered how it ended */
/* The worker's own. */
bool sent_images, sent_end, asked, got_ready, got_restored;
byte rounds;	/* that were begun before the dump */
bool await_ok;	/* ROUND was sent */

/* ---- target ---- */
mtype tph = STREAMING;
bool tw = true, ts = true; /* worker, supervisor */
bool tdoubt, pages_in, lacks, asked_leave;
bool ran;	   /* restored tasks have run; a tombstone says so, too */
bool whole = true; /* the store has what it ever had: a restore can be repeated */
mtype tgt = NONE;
bool foreign; /* the server that answers knows no such session */
bool old;     /* the store has a copy that a newer one should have replaced */
bool dirty;   /* ... that one which is still to come will replace */
bool got_old; /* restored tasks were served with one of these */

/* ---- link, faults ---- */
bool conn = true, up = true;
chan s2t = [3] of { mtype };
chan t2s = [3] of { mtype, mtype };
byte faults = FAULTS;
byte air;    /* rounds whose pages are on their way */
bool behind; /* of two, the newer pages have come first */
/* A copy that was complete, and the source told so, was killed from outside: a death, no loss. */
bool late;

#define ROOM(q)	  (len(q) < 3)
#define ABORTABLE (tph == STREAMING || tph == IMAGES || tph == RESTORABLE)
#define UNDECIDED (tph == READY || tph == RESTORED)
#define OVER	  (tph == DONE || tph == ABORTED)
#define FATE_OF	  (ran -> DEAD : NONE) /* what a tombstone says */

inline src_run() { assert(tgt != RUN); src = RUN }
inline tgt_run() { assert(src != RUN && !got_old); tgt = RUN; ran = true; whole = false }
inline enter(to) { assert(LEGAL(tph, to)); tph = to }

inline cut()
{
	conn = false;
	asked = false;
	await_ok = false; air = 0; behind = false;
	do
	:: len(s2t) > 0 -> s2t?_
	:: len(s2t) == 0 -> break
	od;
	do
	:: len(t2s) > 0 -> t2s?_,_
	:: len(t2s) == 0 -> break
	od
}

/* ================================ source ================================ */

active proctype Criu()
{
end:	do
	:: atomic { criu == ROUNDS && no -> criu = GONE }
	:: atomic { criu == DUMPING -> criu = GATE }
	:: atomic { criu == GATE && yes -> criu = KILLING }
	:: atomic { criu == GATE && no && !yes ->
		criu = GONE;
		if
		:: !held -> src_run()
		:: else
		fi }
	:: atomic { criu == KILLING && src == FROZEN -> src = PART }
	:: atomic { criu == KILLING && src == PART -> src = DEAD; criu = GONE }
	:: atomic { criu == KILLING && src == DEAD -> criu = GONE }
	/* The dead man's switch is in CRIU's process. */
	:: atomic { (criu == GATE || criu == DUMPING || criu == ROUNDS) && !w && !sup && !yes && !no &&
		    sph == S_STREAM && RULE(DEAD_MAN) -> no = true }
	od
}

inline close_gate()
{
	if
	:: !yes -> no = true
	:: else
	fi
}

inline give_up() { aborting = true; close_gate() }

/* The target has shown that nothing runs there, and that nothing ever will. */
inline go_on_here()
{
	held = false; aborting = true; told = true; sph = S_STREAM;
	if
	:: criu == GONE && src == FROZEN -> src_run()
	:: else -> close_gate()
	fi
}

active proctype Sender()
{
	mtype m, st;

end:	do
	/* -- rounds, as long as it likes, and then the dump -- */
	:: atomic { w && conn && criu == ROUNDS && sph == S_STREAM && !aborting && rounds < 2 &&
		    (!await_ok || !RULE(ORDER)) && ROOM(s2t) ->
		rounds++; air++; await_ok = true; s2t!ROUND }
	:: atomic { w && conn && criu == ROUNDS && sph == S_STREAM && !aborting && !no &&
		    (!await_ok || !RULE(ORDER)) ->
		criu = DUMPING; src = FROZEN; dirty = rounds > 0; rounds = 0 }

	/* -- what it sends while the dump goes on -- */
	:: atomic { w && conn && sph == S_STREAM && !aborting && criu == GATE && !sent_images ->
		s2t!IMAGES_M; sent_images = true }
	:: atomic { w && conn && (sph == S_STREAM || sph == S_RUNNING) && !aborting &&
		    sent_images && !sent_end -> s2t!END; sent_end = true }

	/* -- the verdict: first in shared memory, then at the gate -- */
	:: atomic { w && conn && !aborting && got_ready && (got_restored || !CONFIRM) &&
		    len(t2s) == 0 && (sph == S_STREAM || sph == S_RUNNING) -> sph = S_COMMITTING }
	:: atomic { w && sph == S_COMMITTING && criu == GATE && !no && !yes -> yes = true }
	/* What became of the tasks decides. */
	:: atomic { w && sph == S_COMMITTING && criu == GONE && src == DEAD -> sph = S_RELEASED }
	:: atomic { w && sph == S_COMMITTING && criu == GONE && src == PART ->
		if
		:: RULE(FORWARD) -> src = DEAD
		:: else -> src_run(); aborting = true; sph = S_STREAM
		fi }
	:: atomic { w && sph == S_COMMITTING && criu == GONE && src == FROZEN && held -> src = DEAD }
	:: atomic { w && sph == S_COMMITTING && criu == GONE && src == RUN ->
		aborting = true; sph = S_STREAM }
	:: atomic { w && sph == S_COMMITTING && conn && !RULE(TELL_AFTER_DEATH) && !asked ->
		s2t!COMMIT; asked = true }

	/* -- CRIU or the link is lost -- */
	:: atomic { w && sph == S_STREAM && !aborting && (criu == GONE || !conn) -> give_up() }
	:: atomic { w && sph == S_RUNNING && criu == GONE && !RULE(NO_RESUME) && src == FROZEN ->
		held = false; src_run(); aborting = true; sph = S_STREAM }
	:: atomic { w && sph == S_RUNNING && !conn && !sdoubt -> sdoubt = true; got_ready = false }
	:: atomic { w && sph == S_RUNNING && !conn && sdoubt && up && tw && !foreign ->
		conn = true; s2t!R_CONT }
	:: atomic { w && sph == S_RUNNING && !conn && sdoubt && up && tw && foreign && !asked ->
		asked = true; t2s!UNKNOWN,NONE; conn = true }

	/* -- telling the target how it ended, until it has answered -- */
	:: atomic { w && sph == S_RELEASED && !told && conn && !asked -> s2t!COMMIT; asked = true }
	:: atomic { w && sph == S_RELEASED && !told && !conn && up && tw && !foreign ->
		conn = true; s2t!R_COMMIT; asked = true }
	:: atomic { w && sph == S_RELEASED && !told && !conn && up && tw && foreign &&
		    !RULE(EVIDENCE) -> told = true }
	:: atomic { w && sph == S_RELEASED && told -> sph = S_OVER; sdoubt = false }
	:: atomic { w && aborting && sph == S_STREAM && criu == GONE && !told && conn && !asked ->
		s2t!ABORT; asked = true; told = true }
	:: atomic { w && aborting && sph == S_STREAM && criu == GONE && !told && !conn && up && tw &&
		    !foreign -> conn = true; s2t!R_ABORT; asked = true }
	:: atomic { w && aborting && sph == S_STREAM && criu == GONE && told -> sph = S_OVER }

	/* -- what the target says -- */
	:: atomic { w && conn && len(t2s) > 0 -> t2s?m,st;
		if
		/* The tasks are held first: CRIU may have died just now, and let them go. */
		:: m == STARTED && sph == S_STREAM && !aborting && criu == GONE && RULE(HELD) ->
			give_up()
		:: m == STARTED && sph == S_STREAM && !aborting && (criu != GONE || !RULE(HELD)) ->
			sph = S_RUNNING; got_restored = true; s2t!STARTED_OK; held = RULE(HELD)
		:: m == ROUND_OK -> await_ok = false
		:: m == READY_M -> got_ready = true; sdoubt = false
		:: m == RESTORED_M -> got_restored = true
		:: m == COMMITTED_M ->
			got_ready = true; got_restored = true; told = true; sdoubt = false
		:: m == ABORT && aborting -> told = true
		:: m == ABORT && sph == S_STREAM && !aborting -> give_up(); told = true
		:: m == ABORT && sph == S_RUNNING && (st == NONE || !RULE(FATE)) -> go_on_here()
		:: m == ABORT && sph == S_RUNNING && st == DEAD && RULE(FATE) ->
			sdoubt = true; got_ready = false
		:: m == R_OK && (st == NONE || st == DEAD) && aborting -> told = true
		:: m == R_OK && (st == COMMITTED || st == DONE || st == RUNNING) && aborting ->
			told = true; sdoubt = true
		:: m == R_OK && st == NONE && sph == S_RUNNING -> go_on_here()
		:: m == R_OK && st == DEAD && sph == S_RUNNING -> sdoubt = true
		:: m == R_OK && (st == NONE || st == DEAD) && sph == S_RELEASED ->
			told = true; sdoubt = true
		:: m == R_OK && st == RUNNING && sph == S_RUNNING -> sent_end = false; sdoubt = false
		:: m == UNKNOWN && sph == S_RUNNING && RULE(EVIDENCE) -> conn = false
		:: m == UNKNOWN && sph == S_RUNNING && !RULE(EVIDENCE) -> go_on_here()
		:: else
		fi }

	/* -- a worker died: the supervisor starts another, which finishes what it finds -- */
	:: atomic { !w && sup && sph != S_OVER ->
		w = true; asked = false; got_ready = false;
		got_restored = (sph == S_RUNNING || sph == S_COMMITTING);
		sent_images = true; sent_end = true }
	od
}

/* ================================ target ================================ */

inline t_abort(tell)
{
	tgt = (tgt == NONE -> NONE : DEAD);
	enter(ABORTED); tdoubt = false;
	if
	:: tell && conn && ROOM(t2s) -> t2s!ABORT,FATE_OF
	:: else
	fi
}

/* COMMIT, from the source or by a person. */
inline t_commit() { enter(COMMITTED); tdoubt = false }

/* What the next worker makes of session.img. */
inline reload()
{
	asked_leave = false;
	if
	:: ABORTABLE -> t_abort(false)
	:: tph == RUNNING || UNDECIDED ->
		tdoubt = true;
		if
		:: !RULE(TAKE_OVER) && tgt != NONE -> tgt = DEAD
		/* A restore that can be repeated is undone. */
		:: RULE(TAKE_OVER) && tgt == STOPPED && whole && tph == RESTORED ->
			tgt = NONE; enter(READY)
		:: RULE(TAKE_OVER) && tgt == STOPPED && whole && tph == READY -> tgt = NONE
		:: else
		fi
	:: else ->
		if
		:: !RULE(TAKE_OVER) && tgt != NONE && lacks -> tgt = DEAD
		:: else
		fi
	fi
}

active proctype Target()
{
	mtype m;

end:	do
	/* -- pages of a round: those of two at once come in any order -- */
	:: atomic { tw && conn && air == 2 -> air = 1;
		if
		:: behind = true
		:: true
		fi }
	:: atomic { tw && conn && air == 1 -> air = 0; old = old || behind; behind = false }

	/* -- messages, ROUND behind its pages -- */
	:: atomic { tw && !foreign && conn && ROOM(t2s) && len(s2t) > 0 &&
		    !(s2t?[ROUND] && air > 0) -> s2t?m;
		if
		:: m == ROUND && tph == STREAMING -> t2s!ROUND_OK,NONE
		:: m == IMAGES_M && tph == STREAMING ->
			enter(IMAGES);
			dirty = dirty && !RULE(STALE);
			if
			:: POST -> enter(RESTORABLE); t2s!IMAGES_OK,NONE
			:: else
			fi
		:: m == END && (tph == IMAGES || tph == RESTORABLE || tph == RUNNING) &&
		   !(old && RULE(FRESH)) -> pages_in = true; dirty = false
		:: m == END && (tph == IMAGES || tph == RESTORABLE) && old && RULE(FRESH) ->
			t_abort(true)
		:: m == STARTED_OK && tph == RESTORABLE -> enter(RUNNING)
		:: (m == COMMIT || m == R_COMMIT) && UNDECIDED -> t_commit(); t2s!COMMITTED_M,NONE
		:: (m == COMMIT || m == R_COMMIT || m == R_CONT) &&
		   (tph == COMMITTED || tph == DONE) -> t2s!COMMITTED_M,NONE
		:: m == ABORT && !(tph == COMMITTED || OVER) -> t_abort(false)
		:: (m == R_COMMIT || m == R_CONT || m == R_ABORT) && tph == ABORTED ->
			t2s!R_OK,FATE_OF
		:: m == R_ABORT && (ABORTABLE || UNDECIDED) -> t_abort(false); t2s!R_OK,FATE_OF
		:: m == R_ABORT && (tph == RUNNING || tph == COMMITTED || tph == DONE) ->
			t2s!R_OK,tph
		:: m == R_CONT && tph == RUNNING -> tdoubt = false; t2s!R_OK,RUNNING
		:: m == R_CONT && ABORTABLE -> t_abort(false); t2s!R_OK,FATE_OF
		:: m == R_CONT && UNDECIDED ->
			tdoubt = false; t2s!READY_M,NONE;
			if
			:: tph == RESTORED && ROOM(t2s) -> t2s!RESTORED_M,NONE
			:: else
			fi
		:: else
		fi }

	/* -- everything is here: READY.  What restored tasks lack comes from the store. -- */
	:: atomic { tw && pages_in && conn && ROOM(t2s) && !(EARLY && tgt == STOPPED && lacks) &&
		    (tph == IMAGES || tph == RESTORABLE || tph == RUNNING) &&
		    (tgt != DEAD || !RULE(FATE)) ->
		if
		:: RULE(STORE_FIRST) -> enter(READY)
		:: else
		fi;
		t2s!READY_M,NONE }
	:: atomic { tw && !RULE(STORE_FIRST) && pages_in && (tph == IMAGES || tph == RUNNING) ->
		enter(READY) }
	:: atomic { tw && pages_in && lacks && (tgt == STOPPED || tgt == RUN) -> lacks = false }

	/* -- a restore by the server -- */
	:: atomic { tw && CONFIRM && tgt == NONE && whole &&
		    ((EARLY && tph == IMAGES) || (POST && tph == RESTORABLE) || tph == RUNNING ||
		     UNDECIDED || tph == COMMITTED) ->
		tgt = STOPPED; lacks = true; whole = !EARLY; got_old = old || dirty }
	/* ... or by a person: after COMMIT, in postcopy from RESTORABLE on. */
	:: atomic { tw && !CONFIRM && tgt == NONE && whole &&
		    ((POST && (tph == RESTORABLE || tph == RUNNING || UNDECIDED)) ||
		     tph == COMMITTED) -> tgt = STOPPED; lacks = true; got_old = old || dirty }
	:: atomic { tw && tgt == STOPPED && !RULE(NO_RUN) && (tph == RESTORABLE || UNDECIDED) ->
		tgt_run() }

	/* -- leave to run is asked for, or the restore is told -- */
	:: atomic { tw && conn && POST && tph == RESTORABLE && tgt == STOPPED && ROOM(t2s) &&
		    !asked_leave -> t2s!STARTED,NONE; asked_leave = true }
	:: atomic { tw && conn && CONFIRM && tph == READY && tgt == STOPPED && !lacks &&
		    ROOM(t2s) -> enter(RESTORED); t2s!RESTORED_M,NONE }
	:: atomic { tw && (tph == RUNNING || tph == COMMITTED) && tgt == STOPPED -> tgt_run() }

	/* -- the link is lost -- */
	:: atomic { tw && !foreign && !conn && ABORTABLE -> t_abort(false) }
	:: atomic { tw && !foreign && !conn && (tph == RUNNING || UNDECIDED) && !tdoubt ->
		if
		:: RULE(KEEP) -> tdoubt = true
		:: else -> t_abort(false)
		fi }

	/* -- restored tasks have died -- */
	:: atomic { tw && tgt == DEAD && !OVER && tph != COMMITTED && !(tph == READY && whole) ->
		t_abort(true) }
	:: atomic { tw && tgt == DEAD && whole && (tph == READY || tph == COMMITTED) -> tgt = NONE }

	:: atomic { tw && tph == COMMITTED && tgt == RUN && !lacks -> enter(DONE) }

	/* -- a worker died: the supervisor starts another -- */
	:: atomic { !tw && ts -> tw = true; reload() }
	od
}

/* ================================ faults ================================ */

active proctype Faults()
{
end:	do
	:: atomic { faults > 0 && w && sph != S_OVER -> faults--; w = false; cut() }
	:: atomic { faults > 0 && sup -> faults--; sup = false }
	/* What is left of a tree that CRIU was ending runs for a moment: see FORWARD. */
	:: atomic { faults > 0 && criu != GONE -> faults--; criu = GONE;
		if
		:: src == FROZEN && !held -> src_run()
		:: else
		fi }
	:: atomic { faults > 0 && tw -> faults--; tw = false; cut() }
	:: atomic { faults > 0 && ts -> faults--; ts = false }
	:: atomic { faults > 0 && conn -> faults--; cut() }
	:: atomic { faults > 0 && conn -> faults--; cut(); up = false }
	/* Restored tasks are killed from outside. */
	:: atomic { faults > 0 && (tgt == STOPPED || tgt == RUN) -> faults--;
		late = late || tph == RESTORED || tph == COMMITTED || tph == DONE ||
		       (POST && tph == READY);
		tgt = DEAD }
	/* Another server answers: with another folder, or unable to load the session. */
	:: atomic { faults > 0 && tw && !foreign -> faults--; cut(); foreign = true;
		if
		:: tgt == STOPPED && whole -> tgt = NONE
		:: else
		fi }
	/* A copy is older than the source believes, whatever the reason. */
	:: atomic { faults > 0 && !POST && criu == ROUNDS && rounds > 0 -> faults--; old = true }
	/* A user without rights is first at the gate. */
	:: atomic { faults > 0 && !RULE(ALONE) && criu == GATE && !yes && !no ->
		faults--; yes = true }
	:: faults == 0 -> break
	od
}

/* ================================ a person ================================ */

active proctype Person()
{
	do
	:: timeout ->
		if
		/* -- what is mended without a decision: the link, the folder, what was killed -- */
		:: atomic { !up -> up = true }
		:: atomic { up && foreign -> foreign = false; cut(); tw = false; ts = true }
		:: atomic { up && !foreign && !tw && !ts && !OVER -> ts = true }
		:: atomic { up && !foreign && !w && !sup && sph != S_OVER && sph != S_STREAM &&
			    (criu == GATE || held || sph == S_RELEASED || sph == S_COMMITTING ||
			     src == PART) -> sup = true }
		/* -- decisions -- */
		:: atomic { up && !foreign && tdoubt && UNDECIDED && src == DEAD &&
			    sph == S_OVER -> t_commit() }
		:: atomic { up && !foreign && tdoubt && (tph == RUNNING || UNDECIDED) &&
			    src == RUN && tgt != RUN -> t_abort(false) }
		:: atomic { up && sdoubt && sph == S_RUNNING && tph == ABORTED &&
			    (tgt == NONE || tgt == DEAD) -> go_on_here() }
		:: atomic { up && !foreign && tdoubt && tph == RUNNING && tgt == DEAD ->
			t_abort(false) }
		:: else -> break
		fi
	od;
	/* Nothing moves any more, and nothing is left to decide: one copy runs. */
	assert((src == RUN && tgt != RUN) || (src != RUN && tgt == RUN) || late)
}
