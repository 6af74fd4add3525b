#!/usr/bin/env bats
# shellcheck disable=SC2046,SC2153  # lists of pids; variables of helpers.bash
# SPDX-License-Identifier: GPL-2.0-only
# In doubt: restored and stopped, and then silence, or a server that ends; `criu-multifd resolve`
# and a source that comes back settle it.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate
load ../fault/fault

setup()
{
	migrate_setup
}

@test "resolve: usage" {
	fails 64 'SESSION is missing' "$MFD" resolve --run
	fails 64 'expected one of --run and --discard' "$MFD" resolve s
	fails 64 'expected one of --run and --discard' "$MFD" resolve s --run --discard
	fails 64 'and no SESSION' "$MFD" resolve --source "$SCRATCH" s --run
	fails 64 "is not the name of a session" "$MFD" resolve ../s --run
	fails 1 'no server serves' "$MFD" resolve --dir "$SCRATCH" s --run
	fails 1 'no sender is at work in' "$MFD" resolve --source "$SCRATCH" --run
}

@test "resolve: not in doubt, unknown session" {
	start_server
	fails 1 "no session 'unknown' in $SERVER_DIR" \
		"$MFD" resolve --dir "$SERVER_DIR" unknown --discard
	start_victim --size 4
	migrate
	fails 1 'not in doubt' "$MFD" resolve --dir "$SERVER_DIR" test --run
}

@test "RESTORED and then silence: stopped and in doubt there; resolve --discard kills it, the source runs on" {
	local rc=0
	in_doubt_restored
	[[ $("$MFD" status --dir "$SERVER_DIR") == *'IN DOUBT: restored and stopped'* ]]
	[ "$(copies_there)" = 0 ]
	[ -n "$(strangers)" ]
	"$MFD" resolve --dir "$SERVER_DIR" test --discard
	eventually 5 nothing_there
	kill -CONT $(ours_in "$NS_A" send)
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	runs_here
}

@test "restored and in doubt: a SIGCONT by the task's own user does not let it run; the source is the one that goes on" {
	local pid rc=0
	in_doubt_restored --stall-timeout 4000
	[ "$(copies_here) $(copies_there)" = '0 0' ]
	local held
	held=$(status_json held_by)
	[[ $held == *criu-multifd.held.* ]]
	for pid in $(strangers); do
		setpriv --reuid "$(stat -c %u "/proc/$pid")" kill -CONT "$pid"
	done
	sleep 0.5
	[ "$(copies_there)" = 0 ]
	kill -CONT $(ours_in "$NS_A" send)
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	runs_here
	# The copy that ran there would have come back from a long pause, too.
	[ "$(awk '$1 == "gap" && $4 > 1000000' "$VICTIM_DIR/victim.log" | wc -l)" = 1 ]
	! grep -q 'BOTH HAVE RUN' "$SCRATCH/server.err"
	[ -z "$(find /sys/fs/cgroup -name "${held##*/}")" ]
}

@test "RESTORED and then silence: resolve --run lets it go on when the source is dead" {
	in_doubt_restored
	# The whole source host goes down.
	local pid
	for pid in $(ip netns pids "$NS_A"); do kill -KILL "$pid"; done
	assert_gone "$VICTIM_PID"
	"$MFD" resolve --dir "$SERVER_DIR" test --run
	runs_there
	wait_session test 'done'
}

resolved_runs_there()
{
	"$MFD" resolve --dir "$SERVER_DIR" test --run
	runs_there
	wait_session test 'done'
}

# As start_server, with the restored tasks in the server's pid namespace, which is no host's here.
start_server_host_pids()
{
	start server nsenter --net=/run/netns/"$NS_B" -- unshare --pid --fork --kill-child \
		--mount-proc "$MFD" serve --listen "$ADDR_B:0" --dir "$SERVER_DIR" --insecure \
		--restore --pid-namespace host
	eventually 20 listening_line server
	SERVER_PID=$(pgrep -P "$STARTED_PID" | head -n 1)
}

# Promise: the warden keeps the tasks together; its end is theirs only where it is the first process
# of their namespace.
@test "RESTORED, pid namespace of the host, and the warden is killed: the tasks live, and the commit is theirs" {
	local rc=0

	IMG=$SCRATCH/images SERVER_DIR=$SCRATCH/sessions
	mkdir "$SERVER_DIR"
	start_server_host_pids
	start_badlink --stall-before restored
	start_victim --size 16
	start migrate migrate --restore -D "$IMG" --max-bandwidth 200Mbit
	MIGRATING=$STARTED_PID
	eventually 20 has_state restored
	eventually 10 fault_happened
	kill -KILL "$(pgrep -x mfd-warden --ns "$SERVER_PID" --nslist pid)"
	heal
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 0 ]
	wait_session test 'done'
	assert_gone "$VICTIM_PID"
	VERIFY_TIMEOUT=20 verify_victim
}

@test "RESTORED, and the server's worker dies: it stays, stopped; the source that comes back keeps its tasks" {
	local rc=0
	in_doubt_restored
	kill_worker
	[ "$(copies_there)" = 0 ]
	[ -n "$(strangers)" ]
	kill -CONT $(ours_in "$NS_A" send)
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	eventually 5 nothing_there
	runs_here
}

@test "RESTORED, the server's worker dies and the source, too: it stays, stopped, and goes on after resolve --run" {
	in_doubt_restored
	kill_worker
	source_host_dies
	[ "$(copies_there)" = 0 ]
	resolved_runs_there
	restored_once
}

@test "RESTORED, the server's worker dies: resolve --discard ends it" {
	in_doubt_restored
	kill_worker
	source_host_dies
	"$MFD" resolve --dir "$SERVER_DIR" test --discard
	eventually 5 nothing_there
	eventually 5 has_state aborted
}

@test "READY and not restored yet, and the server ends in good order: nothing is kept, the source runs on" {
	local rc=0
	ready_unrestored
	kill "$SERVER_PID"
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	wait "$SERVER_PID" || true
	runs_here
}

@test "READY and not restored yet, and the worker dies: the source runs on" {
	local rc=0
	ready_unrestored
	kill_worker_now
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	eventually 5 nothing_there
	eventually 10 has_state aborted
	runs_here
}

@test "RESTORED, and the server ends in good order: it stays, stopped, and the next server lets it go on" {
	in_doubt_restored
	kill "$SERVER_PID"
	wait "$SERVER_PID" || true
	[ -n "$(strangers)" ]
	[ "$(copies_there)" = 0 ]
	source_host_dies
	SERVER_NAME=second start_server --restore
	[ "$(status_json in_doubt)" = true ]
	resolved_runs_there
	restored_once
}

@test "RESTORED, and all of the server is killed: it stays, stopped, and the next server lets it go on" {
	local pids
	in_doubt_restored
	eventually 10 grep -q 'every page is in the stopped tasks' "$SCRATCH/server.err"
	pids="$SERVER_PID $(ours_in "$NS_B" serve)"
	kill -KILL $pids
	source_host_dies
	[ "$(copies_there)" = 0 ]
	SERVER_NAME=second start_server --restore
	eventually 5 in_doubt
	resolved_runs_there
	restored_once
}

@test "durable: restored when all is verified; RESTORED and the worker's death end it, and it is restored again" {
	in_doubt_restored --durable
	kill_worker
	eventually 5 nothing_there
	source_host_dies
	resolved_runs_there
	restored_once 2
}

@test "RESTORED, durable, and the server ends in good order: kept, and restored again by the next one" {
	in_doubt_restored --durable
	kill "$SERVER_PID"
	wait "$SERVER_PID" || true
	eventually 5 nothing_there
	source_host_dies
	SERVER_NAME=second start_server --restore
	[ "$(status_json in_doubt)" = true ]
	resolved_runs_there
}

# postcopy_cut: the restored tasks run, pages are missing, the network is gone. Sets IMG.
postcopy_cut()
{
	IMG=$SCRATCH/images
	start_server --restore --stall-timeout 1000
	start_victim --size 256
	# Five seconds for all of it: it can be cut in the middle.
	start migrate migrate --restore --mode postcopy --stall-timeout 1s --channels 1 \
		--max-bandwidth 400Mbit -D "$IMG"
	MIGRATING=$STARTED_PID
	eventually 20 has_state running
	ip -n "$NS_A" link set eth0 down
	eventually 20 grep -q 'until it is back' "$IMG/multifd-send.log"
}

# postcopy_slow: the restored tasks run, and pages still come. Sets IMG.
postcopy_slow()
{
	IMG=$SCRATCH/images
	start_server --restore
	start_victim --size 256
	start migrate migrate --restore --mode postcopy --channels 1 \
		--max-bandwidth 200Mbit -D "$IMG"
	MIGRATING=$STARTED_PID
	eventually 20 has_state running
	eventually 10 grep -q 'restored as process' "$SCRATCH/server.err"
}

@test "postcopy cut for good: resolve --source --run, after --discard on the target" {
	postcopy_cut
	[ "$(copies_here)" = 0 ]
	eventually 20 in_doubt
	# What is held can move nowhere, before that is settled.
	fails 4 'held frozen in' on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" \
		--session other
	mkdir "$SCRATCH/others"
	start others on_a "$MFD" serve --listen 127.0.0.1:7000 --dir "$SCRATCH/others"
	eventually 10 grep -q 'listening on' "$SCRATCH/others.err"
	SERVER_ADDR=127.0.0.1:7000 SESSION=other run -1 \
		dump_with_plugin "$VICTIM_PID" "$SCRATCH/other"
	grep -q 'held frozen in' "$SCRATCH/other/dump.log"
	"$MFD" resolve --dir "$SERVER_DIR" test --discard
	eventually 5 nothing_there
	"$MFD" resolve --source "$IMG" --run
	eventually 10 one_here
	verify_victim
	ip -n "$NS_A" link set eth0 up
	local rc=0
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	one_here
}

# Promise: the only good copy is not ended for one that has died. Out of memory, or killed.
@test "postcopy, all restored tasks are killed while pages are missing: in doubt, resolve settles it" {
	local rc=0 pid
	postcopy_slow
	for pid in $(strangers); do kill -KILL "$pid"; done
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 3 ]
	eventually 20 has_state aborted
	eventually 20 grep -q 'ran on .* and are dead there' "$IMG/multifd-send.log"
	[ "$(copies_here)" = 0 ]
	! is_dead "$VICTIM_PID"
	[[ $("$MFD" status --dir "$SERVER_DIR") == *'have all died before the commit'*'resolve'* ]]
	[[ $("$MFD" status --source "$IMG") == *'IN DOUBT: '*'have all died'* ]]
	"$MFD" resolve --source "$IMG" --run
	eventually 10 one_here
	verify_victim
}

# Stopped tasks die by no will of theirs.
@test "durable, RESTORED, and a stopped task is killed before the commit: it is restored once more" {
	local pid
	in_doubt_restored --durable
	for pid in $(strangers); do kill -KILL "$pid"; done
	source_host_dies
	resolved_runs_there
	restored_once 2
}

# Promise: no verb waits for ever beside a session in doubt.
@test "postcopy, every process of the sender is killed: migrate ends with code 3, resolve --source goes on with the session" {
	local rc=0
	postcopy_slow
	kill -KILL $(ours_in "$NS_A" send)
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 3 ]
	grep -q "in doubt: the sender has died; .*resolve --source $IMG settles it" \
		"$SCRATCH/migrate.err"
	[ "$(copies_here)" = 0 ]
	[[ $("$MFD" status --source "$IMG") == *'no sender runs any more'* ]]
	run -4 migrate --mode postcopy -D "$IMG" || :
	run -1 on_a "$MFD" resolve --source "$IMG" --run
	[[ $output == *'its target is connected'* || $output == *'it is the target'* ]]
	runs_there
	wait_session test 'done'
}

# Promise: what ran beside its copy is said, by the command that moved it.
@test "postcopy, a task here is let run by a person beside its copy: migrate says so" {
	local rc=0 group=/sys/fs/cgroup/unified
	[ -d "$group" ] || group=/sys/fs/cgroup
	postcopy_slow
	kill -KILL "$(pgrep --ns $$ --nslist pid -f "^$CRIU dump --tree $VICTIM_PID ")"
	echo "$VICTIM_PID" >"$group/cgroup.procs"
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 0 ]
	grep -q "a task of process $VICTIM_PID ran here beside its copy" "$SCRATCH/migrate.err"
}
