#!/usr/bin/env bats
# shellcheck disable=SC2046,SC2153  # lists of pids; variables of helpers.bash
# SPDX-License-Identifier: GPL-2.0-only
# Restored while pages still come: whatever fails or dies meanwhile, exactly one copy runs, with
# every byte.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
	export CRIU_MULTIFD_PRECOPY=off # with rounds no page is left to come
}

# early_restored: a safe session on a slow link is restored and stopped while its pages still come.
early_restored()
{
	start_server --restore --stall-timeout 1000
	start_victim --size 256
	start migrate migrate --restore --stall-timeout 1s --max-bandwidth 400Mbit
	MIGRATING=$STARTED_PID
	eventually 20 grep -q 'test: restored as process' "$SCRATCH/server.err"
	has_state receiving
	[ "$(copies_there)" = 0 ]
	[ -n "$(strangers)" ]
}

@test "safe: restored while pages still come, they go into the stopped tasks, which go on when the source is gone" {
	early_restored
	wait "$MIGRATING"
	runs_there
	wait_session test 'done'
	"$MFD" status --dir "$SERVER_DIR" test --json |
		jq -e '(.timeline | map({(.phase): .ms}) | add) as $t | $t.restored < $t.sent and
		(.timeline | map(.ms) | . == sort) and .pager.direct_pages > 1000
			and .urgent != null'
	restored_once
	no_folders_left
}

# bats test_tags=tls
@test "safe: the network is cut while pages come into stopped tasks: they are killed, the source runs on" {
	local rc=0
	early_restored
	ip -n "$NS_A" link set eth0 down
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	ip -n "$NS_A" link set eth0 up
	eventually 5 nothing_there
	runs_here
}

@test "safe: the worker dies while pages come into stopped tasks: they are killed, the source runs on" {
	local rc=0
	early_restored
	kill_worker_now
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	eventually 5 nothing_there
	runs_here
}

@test "safe: a stopped task dies while pages come: nothing is left there, the source runs on" {
	local rc=0 pid
	early_restored
	for pid in $(strangers); do
		[[ $(readlink "/proc/$pid/exe") != *victim* ]] || kill -KILL "$pid"
	done
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	grep -q 'a restored task has died' "$SCRATCH/migrate.err"
	eventually 5 nothing_there
	runs_here
}

@test "safe: abort by a person while pages come into stopped tasks: they are killed, the source runs on" {
	local rc=0
	early_restored
	"$MFD" abort --dir "$SERVER_DIR" test
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	eventually 5 nothing_there
	runs_here
}

# Whichever process died: the victim runs on one side, with every byte, and nothing is left on the
# other.
one_copy_after()
{
	local rc=$1

	if is_dead "$VICTIM_PID"; then
		runs_there
		wait_session "$SESSION" 'done'
		kill -KILL $(strangers)
	else
		[ "$rc" != 0 ] || fail 'released, says migrate, and it is here'
		eventually 5 one_here || fail "running here $(copies_here), there $(copies_there)"
		assert_not_frozen "$VICTIM_PID"
		verify_victim
		eventually 5 test ! -e "$SERVER_DIR/$SESSION"
	fi
	eventually 5 nothing_there
}

@test "safe: the worker, or all of the server, is killed at random moments around an early restore: exactly one copy" {
	local i rc at here=0 there=0

	RANDOM=${FAULT_SEED:-$$}
	echo "# FAULT_SEED=${FAULT_SEED:-$$}" >&3
	SERVER_PORT=7392
	start_server --restore --stall-timeout 2000
	for ((i = 0; i < 10; i++)); do
		SESSION=r$i rc=0
		start_victim --name "r$i" --size 48
		# About 0.4 s of pages.
		start "migrate.$i" migrate --restore --stall-timeout 2s --max-bandwidth 1Gbit
		MIGRATING=$STARTED_PID
		at=$((RANDOM % 600))
		eventually 20 test -e "$SERVER_DIR/$SESSION"
		sleep "0.$(printf %03d $at)"
		if ((i % 2)); then
			kill_worker_now
		else
			kill -KILL "$SERVER_PID" $(ours_in "$NS_B" serve)
			SERVER_NAME=again.$i start_server --restore --stall-timeout 2000
		fi
		wait "$MIGRATING" || rc=$?
		if is_dead "$VICTIM_PID"; then there=$((there + 1)); else here=$((here + 1)); fi
		one_copy_after "$rc"
		is_dead "$VICTIM_PID" || kill -KILL "$VICTIM_PID"
	done
	echo "# it stayed $here times and moved $there times" >&3
}

@test "the server's worker dies when the tasks run: they are taken over, not restored a second time" {
	local i
	start_server --restore
	for i in safe postcopy; do
		SESSION=$i
		start_victim --name "v$i" --size 512
		start migrate migrate --restore --mode $i
		MIGRATING=$STARTED_PID
		eventually 20 grep -q "$i: the restored tasks go on" "$SCRATCH/server.err"
		kill_worker_now
		eventually 5 grep -q "$i: reloaded\|$i: done" "$SCRATCH/server.err"
		wait "$MIGRATING" || true
		wait_session "$i" 'done'
		runs_there
		[ "$(grep -c "$i: restoring" "$SCRATCH/server.err")" = 1 ]
		kill -KILL $(strangers)
		eventually 5 nothing_there
	done
}
