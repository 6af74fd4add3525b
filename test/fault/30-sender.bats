#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Whichever process dies on the source, the source's tasks do not stay frozen before the verdict,
# and exactly one copy runs after it.
#
# Promised for CRIU itself: killed while it waits for the verdict, its tasks run on (the kernel
# detaches a dead tracer). Killed while it has code inside a task, that task is in the hands of
# CRIU's own design, with or without us, and not tested.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	start_server
}

# hold PHASE: start a dump that stands still in that phase; sets SUPERVISOR and WORKER.
hold()
{
	case $1 in
	connecting) start_badlink --stall-before joined ;;
	streaming) start_badlink --stall-after-bytes 3000000 ;;
	images) start_badlink --stall-before images ;;
	verify) start_badlink --stall-before end ;;
	ready) start_badlink --stall-before ready ;;
	esac
	start_dump
	eventually 20 fault_happened
	eventually 5 sender_pids
}

# After all were killed that were to be: as aborted_well, from the time of the kill.
survived()
{
	end_dump
	aborted_well "$1" 1000 "$2" || return 1
	heal
	nothing_left || return 1
	stop_badlink
}

PHASES='connecting streaming images verify ready'

@test "the worker is killed, in each phase: the supervisor aborts the dump, the source runs on within a second" {
	local phase at

	start_victim --size 16
	for phase in $PHASES; do
		echo "# $phase"
		hold "$phase"
		at=$(now)
		kill -KILL "$WORKER"
		survived "$at" 'died'
	done
}

# Promise: a worker that finds an invariant of its own broken ends, and that is survived as any
# other death.
@test "the worker ends by an assertion, before and after END: the supervisor aborts the dump, the source runs on within a second" {
	local phase at

	start_victim --size 16
	export PRELOAD_CLOCK_BACK=$SCRATCH/clock.back
	DUMP_PRELOAD=$TOOLS/preload_clock.so
	for phase in streaming verify; do
		echo "# $phase"
		hold "$phase"
		: >"$PRELOAD_CLOCK_BACK"
		at=$(now)
		heal
		survived "$at" 'died'
		grep -q "assertion failed: .*session $SESSION, phase " "$IMG/multifd-send.log"
	done
}

@test "the supervisor is killed, in each phase: the worker goes on by itself" {
	local phase

	for phase in $PHASES; do
		echo "# $phase"
		SESSION=$phase
		start_victim --name "$phase" --size 16
		hold "$phase"
		kill -KILL "$SUPERVISOR"
		heal
		end_dump
		[ "$DUMP_RC" = 0 ]
		runs_on_target
		eventually 10 no_senders
		stop_copy
		stop_badlink
	done
}

@test "worker and supervisor are killed at once, in each phase: the plugin's switch aborts, the source runs on within a second" {
	local phase at

	start_victim --size 16
	for phase in $PHASES; do
		echo "# $phase"
		hold "$phase"
		at=$(now)
		kill -KILL "$WORKER" "$SUPERVISOR"
		end_dump
		aborted_well "$at" 1000 'died|gone'
		heal
		# No process is left that could tell a target that has everything; END may have come
		# through when the link healed.
		[ "$phase" != ready ] || assert_in_doubt ready
		discard_if_in_doubt
		nothing_left
		stop_badlink
	done
}

@test "the worker is killed at 20 random moments: exactly one copy" {
	local i

	seed
	start_badlink --bandwidth 12000000
	for ((i = 0; i < 20; i++)); do
		fresh_victim "$i"
		start_dump
		eventually 10 sender_pids
		sleep_randomly 900
		kill -KILL "$WORKER" 2>/dev/null || true
		end_dump
		echo "# $i: $DUMP_RC, $(plugin_errors | head -n 1)"
		one_copy
	done
}

@test "worker and supervisor are killed at 10 random moments: exactly one copy" {
	local i

	seed
	start_badlink --bandwidth 12000000
	for ((i = 0; i < 10; i++)); do
		fresh_victim "$i"
		start_dump
		eventually 10 sender_pids
		sleep_randomly 900
		kill -KILL "$WORKER" "$SUPERVISOR" 2>/dev/null || true
		end_dump
		echo "# $i: $DUMP_RC, $(plugin_errors | head -n 1)"
		# Killed between READY and COMMIT: only a look at the source tells which one it is
		# to be.
		if [ "$DUMP_RC" != 0 ]; then
			discard_if_in_doubt
		elif ! wait_session "$SESSION" committed 2; then
			assert_in_doubt ready
			resolve run
		fi
		one_copy
	done
}

# While every channel is blocked the sender looks at its signals only after the stall timeout.
@test "SIGTERM to the sender, in each phase: as an abort, with its name in CRIU's log" {
	local phase at

	start_victim --size 16
	for phase in images verify ready; do
		echo "# $phase"
		hold "$phase"
		at=$(now)
		kill -TERM "$WORKER" "$SUPERVISOR"
		survived "$at" 'stopped by Terminated'
	done
}

@test "CRIU is killed while it waits for the verdict: the tasks run on, the target forgets" {
	local phase at

	start_victim --size 16
	for phase in verify ready; do
		echo "# $phase"
		hold "$phase"
		at=$(now)
		kill -KILL "$(criu_pid)"
		survived "$at"
	done
}

# Promise: forward only. The verdict is out and CRIU, which stands still, is killed when one task of
# the tree has died: the copy on the target is the one that is complete.
at_gate()
{
	grep -aq 'Starting lazy pages server' "$IMG/dump.log" 2>/dev/null
}

@test "CRIU is killed while it ends the tree: the rest of the tree is ended, and the target runs" {
	local criu child

	start_victim --size 32 --tree 3
	child=$(pgrep -P "$VICTIM_PID" | head -n 1)
	start_badlink --slow 4000000
	start_dump
	eventually 20 at_gate
	criu=$(criu_pid)
	kill -STOP "$criu"
	heal
	eventually 10 grep -q 'releasing the tasks' "$IMG/multifd-send.log"
	kill -KILL "$child"
	kill -KILL "$criu"
	end_dump
	runs_on_target
	eventually 10 no_senders
	grep -q 'have died by the verdict: ending the others' "$IMG/multifd-send.log"
	stop_badlink
}

@test "CRIU's dump itself fails: the source runs on, the target forgets" {
	start_victim --size 16
	printf '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]\n' >"$SCRATCH/fails"
	chmod +x "$SCRATCH/fails"
	dump --action-script "$SCRATCH/fails"
	aborted_well "$(now)" 1000
	nothing_left
	dump
	[ "$DUMP_RC" = 0 ]
	runs_on_target
}

@test "the worker is killed after its verdict, while CRIU is stopped: another one finishes the commit" {
	local criu

	start_victim --size 16
	hold ready
	criu=$(criu_pid)
	kill -STOP "$criu"
	heal
	eventually 10 grep -q 'releasing the tasks' "$IMG/multifd-send.log"
	kill -KILL "$WORKER"
	sleep 1
	kill -CONT "$criu"
	end_dump
	[ "$DUMP_RC" = 0 ] || fail "the dump failed: $(plugin_errors)"
	no_senders || eventually 10 no_senders
	runs_on_target
	stop_badlink
}

is_frozen()
{
	[ "$(cat "$1/freezer.state")" != THAWED ]
}

# Promise: CRIU freezes a container, as runc asks it to, seizes it and thaws it. If CRIU dies in
# between, the container runs on all the same.
@test "CRIU is killed while it has the control group of its tasks frozen: worker or supervisor thaws it" {
	local group=/sys/fs/cgroup/freezer/mfd-${SCRATCH##*.} with at

	[ -e /sys/fs/cgroup/freezer/cgroup.procs ] || skip 'kernel lacks the freezer of cgroup v1'
	mkdir "$group"
	register undo rmdir "$group"
	register undo sh -c "echo THAWED >$group/freezer.state; sleep 0.2"
	start_victim --size 16
	echo "$VICTIM_PID" >"$group/cgroup.procs"
	DUMP_PRELOAD=$TOOLS/preload_freeze.so
	for with in CRIU worker; do
		echo "# $with"
		start_badlink --stall-before joined
		start_dump --freeze-cgroup "$group"
		eventually 20 fault_happened
		eventually 5 sender_pids
		CRIU_PID=$(criu_pid)
		[ "$with" = worker ] || WORKER=''
		heal
		eventually 20 is_frozen "$group"
		# shellcheck disable=SC2086
		kill -KILL "$CRIU_PID" $WORKER
		at=$(now)
		end_dump
		eventually 5 no_senders
		[ "$(cat "$group/freezer.state")" = THAWED ]
		aborted_well "$at" 1000
		grep -q "left the tasks frozen by the control group $group" "$IMG/multifd-send.log"
		nothing_left
		stop_badlink
	done
}
