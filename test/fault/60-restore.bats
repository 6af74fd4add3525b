#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The restore on the target goes wrong: the session is as good as before, and a second restore
# works; a restored task that dies takes no other task with it.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	start_server
}

committed_session()
{
	start_victim "$@"
	dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" committed
}

# failing STAGE: an action script for CRIU that fails there.
failing()
{
	printf '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != %s ]\n' "$1" >"$SCRATCH/fails.$1"
	chmod +x "$SCRATCH/fails.$1"
	echo "$SCRATCH/fails.$1"
}

# From post-restore on CRIU has said that all tasks exist: their pages are installed, and a failure
# is CRIU's to answer for.
@test "a restore that fails before the tasks exist: the next one works" {
	committed_session --size 32
	# Not with `run`: it sets variables.
	if restore_lazily "$SERVER_DIR/$SESSION" --action-script "$(failing pre-restore)"; then
		fail 'the restore did not fail'
	fi
	stop_copy
	[ "$(status_of state)" = committed ]
	runs_on_target
}

@test "criu restore is killed at random moments: the next one works" {
	local i

	seed
	committed_session --size 32 --tree 2
	for ((i = 0; i < 8; i++)); do
		start "killed.$i" nsenter --net=/run/netns/"$NS_B" -- unshare --pid --mount --fork \
			--kill-child --mount-proc \
			"$CRIU" restore -D "$SERVER_DIR/$SESSION" -d -v4 -o "killed.$i.log" \
				--lazy-pages
		eventually 10 test -s "$SERVER_DIR/$SESSION/killed.$i.log"
		sleep_randomly 60
		kill -KILL "$STARTED_PID" 2>/dev/null || true
		on_b_kill_all
		eventually 5 no_restore || return 1
		# It may have said that all tasks exist just before it died: then they did.
		[ "$(status_of state)" = committed ] || break
	done
	[ "$(status_of state)" = 'done' ] || runs_on_target
}

# Everything on host b but the server.
on_b_kill_all()
{
	local pid

	for pid in $(ip netns pids "$NS_B"); do
		[ "$(readlink "/proc/$pid/exe")" = "$(realpath "$MFD")" ] || kill -KILL "$pid"
	done 2>/dev/null || true
}

no_restore()
{
	local pid

	for pid in $(ip netns pids "$NS_B"); do
		[ "$(readlink "/proc/$pid/exe")" = "$(realpath "$MFD")" ] || is_dead "$pid" ||
			return 1
	done
}

child_of()
{
	CHILD=$(pgrep -P "$1" | head -n 1)
	[ -n "$CHILD" ]
}

@test "a restored task is killed while its pages are being installed: the others go on, the session is done" {
	committed_session --size 96 --tree 2
	restore_lazily "$SERVER_DIR/$SESSION"
	eventually 5 child_of "$RESTORED_PID"
	kill -KILL "$CHILD"
	wait_session "$SESSION" 'done'
	assert_gone "$CHILD"
	assert_not_frozen "$RESTORED_PID"
}

@test "every restored task is killed while pages are being installed: the session is done, the server lives" {
	committed_session --size 96
	restore_lazily "$SERVER_DIR/$SESSION"
	kill -KILL "$RESTORE_INIT"
	wait_session "$SESSION" 'done'
	assert_running "$SERVER_PID"
	SESSION=next
	committed_session --name next --size 16
	runs_on_target
}
