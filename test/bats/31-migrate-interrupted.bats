#!/usr/bin/env bats
# Lists of pids; scripts that are written; variables of helpers.bash.
# shellcheck disable=SC2016,SC2046,SC2153
# SPDX-License-Identifier: GPL-2.0-only
# `criu-multifd migrate`, interrupted or failing at every phase: its exit code can be trusted, and
# exactly one copy runs, on this side or on that.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
}

migrate_pid()
{
	MIGRATE_PID=$(pgrep -f "^$MFD migrate -t $VICTIM_PID ")
}

# Short phases are not always seen; then the end is.
phase_or_end()
{
	grep -q "\"phase\":\"$1\"\|summary" "$SCRATCH/migrate.out"
}

# interrupt SIGNAL PHASE [FLAGS]: send the signal when that phase is reported; sets INTERRUPTED.
interrupt()
{
	local sig=$1 phase=$2

	shift 2
	start migrate migrate --json "$@"
	INTERRUPTED=$STARTED_PID
	eventually 5 migrate_pid || return 1
	[ "$phase" = start ] || eventually 20 phase_or_end "$phase" || return 1
	kill "-$sig" "$MIGRATE_PID" 2>/dev/null || true
}

@test "Ctrl-C and SIGTERM at every phase of a safe move: one copy, and the exit code says where" {
	local phase sig rc
	# Longer than the pages take, beside which it runs: there is a phase in which nothing else
	# is missing.
	CRIU=$(slow_restore 2.5) start_server --restore
	for phase in start connecting freezing streaming verifying restoring releasing; do
		for sig in INT TERM; do
			SESSION=$phase-$sig
			start_victim --name "$SESSION" --size 256
			rc=0
			interrupt $sig $phase --restore
			wait "$INTERRUPTED" || rc=$?
			echo "$SESSION: exit $rc, $(tail -n 1 "$SCRATCH/migrate.out" |
				jq -c '[.result, .error]')"
			# Before the program has read its command line a signal ends it as any
			# other.
			if [ "$phase" = start ] && [ "$rc" -gt 128 ] &&
				[ ! -s "$SCRATCH/migrate.out" ]; then
				one_here
				stop_victim
				continue
			fi
			valid_json "$SCRATCH/migrate.out"
			if [ "$rc" = 0 ]; then
				[[ $phase != st* && $phase != restoring ]]
				eventually 5 one_there
				verify_victim
				wait_session "$SESSION" 'done'
				kill -KILL $(strangers)
				eventually 5 nothing_there
			else
				# By the sender, or before there was one.
				[[ $sig = INT && $rc = 130 || $rc = 1 ]]
				eventually 5 one_here
				verify_victim
				eventually 5 test ! -e "$SERVER_DIR/$SESSION"
				nothing_there
				stop_victim
			fi
		done
	done
}

# bats test_tags=tls
@test "Ctrl-C while pages stream: aborted, and quickly" {
	start_server --restore
	start_victim --size 1024
	local rc=0
	interrupt INT streaming --restore --precopy off --channels 1 --checksum on
	wait "$INTERRUPTED" || rc=$?
	[ "$rc" = 130 ]
	runs_here
	[ "$(tail -n 1 "$SCRATCH/migrate.out" | jq -r .result)" = aborted ]
	no_folders_left
}

@test "Ctrl-C in postcopy before the restore has succeeded: aborted" {
	local rc=0
	CRIU=$(slow_restore 5) start_server --restore
	start_victim --size 16
	interrupt INT restoring --restore --mode postcopy
	wait "$INTERRUPTED" || rc=$?
	[ "$rc" = 130 ]
	runs_here
}

@test "Ctrl-C in postcopy when the tasks run on the target: too late, and said so" {
	local rc=0
	start_server --restore
	start_victim --size 64
	nsenter --net=/run/netns/"$NS_A" tc qdisc add dev eth0 root tbf rate 200mbit burst 64kb \
		latency 1s
	start migrate migrate --restore --mode postcopy
	MIGRATING=$STARTED_PID
	eventually 20 has_state running
	eventually 5 migrate_pid
	kill -INT "$MIGRATE_PID"
	wait "$MIGRATING"
	grep -q 'Interrupt: cannot be aborted any more: too late' "$SCRATCH/migrate.err"
	# One thing, and that is it.
	if grep -q aborting "$SCRATCH/migrate.err"; then fail 'it says two things'; fi
	grep -q 'source kept for' "$SCRATCH/migrate.out"
	runs_there
}

@test "migrate --timeout: code 2, the source runs on" {
	CRIU=$(slow_restore 10) start_server --restore
	start_victim --size 16
	fails 2 'the time was up' migrate --restore --timeout 1
	runs_here
}

# timed SECONDS COMMAND...: it takes no longer.
timed()
{
	local end=$((SECONDS + $1))

	shift
	"$@"
	[ "$SECONDS" -le "$end" ] || fail "it took $((SECONDS - end)) s too long"
}

ends_with()
{
	local rc=0

	wait "$INTERRUPTED" || rc=$?
	[ "$rc" = "$1" ] || fail "it ended with $rc"
}

@test "a target that does not answer at all: --timeout and Ctrl-C end it at once, with their codes" {
	local worker

	start_server --restore
	start_victim --size 16
	worker=$(server_worker)
	kill -STOP "$worker" "$SERVER_PID"
	timed 4 fails 2 'the time was up' migrate --timeout 1
	interrupt INT connecting
	timed 3 ends_with 130
	kill -CONT "$SERVER_PID" "$worker"
	runs_here
}

@test "a target without an answer: restore-timeout, the source runs on" {
	CRIU=$(slow_restore 10) start_server --restore
	start_victim --size 16
	fails 1 'has not restored the tasks within 1000 ms' migrate --restore --restore-timeout 1s
	runs_here
}

@test "a restore that fails: criu's words arrive, the source runs on, the target is clean" {
	local mode
	printf '#!/bin/sh\n[ "$1$2" != restore--lazy-pages ] || set -- "$@" --bogus\nexec %s "$@"\n' \
		"$CRIU" >"$SCRATCH/bogus"
	chmod +x "$SCRATCH/bogus"
	CRIU=$SCRATCH/bogus start_server --restore
	start_victim --size 16
	for mode in safe postcopy; do
		SESSION=$mode
		fails 1 "criu restore failed: " migrate --restore --mode $mode
		[[ $output == *"unrecognized option '--bogus'"* ]]
		runs_here
		[[ $(status_json error) == *bogus* ]]
		has_state aborted
	done
}

@test "a criu on the target that dies: the source runs on" {
	local mode
	printf '#!/bin/sh\n[ "$1" != restore ] || kill -9 $$\nexec %s "$@"\n' "$CRIU" \
		>"$SCRATCH/dying"
	chmod +x "$SCRATCH/dying"
	CRIU=$SCRATCH/dying start_server --restore
	start_victim --size 16
	for mode in safe postcopy; do
		SESSION=$mode
		fails 1 'criu restore failed' migrate --restore --mode $mode
		runs_here
	done
}

@test "the target's server is killed while it restores: one copy, here" {
	CRIU=$(slow_restore 60) start_server --restore
	start_victim --size 16
	start migrate migrate --restore --json
	local pid=$STARTED_PID rc=0
	eventually 20 grep -q '"phase":"restoring"' "$SCRATCH/migrate.out"
	kill -KILL $(ours_in "$NS_B" serve)
	# It tries to tell a target that may hold everything for a minute; the tasks run on from the
	# beginning of that.
	eventually 10 one_here
	verify_victim
	kill -KILL $(ours_in "$NS_A" send) || true
	wait "$pid" || rc=$?
	[ "$rc" = 1 ]
	one_here
}
