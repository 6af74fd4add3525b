#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# An assertion fails in the server's worker: its line is in the log, the worker ends, and the next
# one takes over what the session is by then. MFD_TEST_BREAK names the phase that the worker must
# not enter.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
}

# start_broken_server PHASE
start_broken_server()
{
	MFD_TEST_BREAK=$1 start_server
}

# assertion_failed PHASE_BEFORE PLAN
assertion_failed()
{
	grep -q "assertion failed: .*; session $SESSION, plan $2, phase $1" "$SCRATCH/server.err" ||
		fail "no assertion in the log: $(cat "$SCRATCH/server.err")" || return 1
	grep -q 'worker .* died of signal 6' "$SCRATCH/server.err" ||
		fail 'the worker did not end by SIGABRT' || return 1
	! grep -q 'too often' "$SCRATCH/server.err" || fail 'more than one worker died' || return 1
}

@test "the worker's assertion fails when COMMIT is on disk: the source hears of the commit, the tasks run on the target" {
	start_victim --size 16
	start_broken_server committed
	dump
	[ "$DUMP_RC" = 0 ]
	assertion_failed ready safe
	runs_on_target
}

@test "the worker's assertion fails when READY is on disk, before the source knows: the source runs on, nothing is left" {
	local at

	start_victim --size 16
	start_broken_server ready
	at=$(now)
	dump
	[ "$DUMP_RC" != 0 ]
	assertion_failed images safe
	aborted_well "$at" 60000
	nothing_left
}

@test "postcopy: the worker's assertion fails at READY while the restored tasks run: taken over, every byte is right" {
	start_victim --size 16
	start_broken_server ready
	export CRIU_MULTIFD_MODE=postcopy
	start_badlink --bandwidth 16000000
	start_dump
	wait_session "$SESSION" ready
	restore_lazily "$SERVER_DIR/$SESSION"
	victim_actions
	end_dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" 'done' 60
	assertion_failed running postcopy
	moved_well
}
