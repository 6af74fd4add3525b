#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The restore on the target goes wrong: the session is as good as before, and a second restore works; a restored task that dies takes
# nobody with it.

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
	start_victim --size 32 "$@"
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

@test "a restore that fails before, while and after the tasks are built: the next one works" {
	local stage

	committed_session
	for stage in pre-restore setup-namespaces post-restore; do
		echo "# $stage"
		run ! restore_lazily "$SERVER_DIR/$SESSION" --action-script "$(failing $stage)"
		[ "$(status_of state)" = committed ]
	done
	runs_on_target
}

@test "criu restore is killed as soon as it has a task: the next one works" {
	committed_session --tree 2
	local i
	for i in 1 2 3; do
		start "restore.$i" on_b unshare --pid --mount --fork --kill-child --mount-proc \
			"$CRIU" restore -D "$SERVER_DIR/$SESSION" -d -v4 -o "killed.$i.log" --lazy-pages
		eventually 10 grep -aq 'Forking task\|Connecting to lazy' "$SERVER_DIR/$SESSION/killed.$i.log"
		sleep "0.00$i"
		pkill -KILL -P "$STARTED_PID" || true
		kill -KILL "$STARTED_PID" 2>/dev/null || true
		eventually 5 is_dead "$STARTED_PID"
	done
	runs_on_target
}

child_of()
{
	CHILD=$(pgrep -P "$1" | head -n 1)
	[ -n "$CHILD" ]
}

@test "a restored task is killed while its pages are being installed: the others go on, the session is done" {
	committed_session --size 192 --tree 2
	restore_lazily "$SERVER_DIR/$SESSION"
	eventually 5 child_of "$RESTORED_PID"
	kill -KILL "$CHILD"
	wait_session "$SESSION" 'done'
	assert_gone "$CHILD"
	assert_not_frozen "$RESTORED_PID"
}

@test "every restored task is killed while pages are being installed: the session is done, the server lives" {
	committed_session --size 192
	restore_lazily "$SERVER_DIR/$SESSION"
	kill -KILL "$RESTORE_INIT"
	wait_session "$SESSION" 'done'
	assert_running "$SERVER_PID"
	SESSION=next
	committed_session --name next
	runs_on_target
}
