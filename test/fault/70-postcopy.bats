#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Postcopy after a restore has begun. Before leave to run (STARTED_OK) every failure is an abort:
# what was restored is killed, the source runs on. After it neither side goes on by itself: the
# source stays frozen, the tasks on the target block on what they lack, both say so, and a link that
# heals brings everything to its end.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

RATE=2000000

setup()
{
	fault_setup
	export CRIU_MULTIFD_MODE=postcopy
	start_server
}

# begin BADLINK-OPTION...: a dump through a link that is slow until it is healed, and a restore
# beside it; sets DUMP and RESTORE.
begin()
{
	start_badlink "${SPEED:---slow}" "$RATE" "$@"
	start_dump
	wait_session "$SESSION" ready || return 1
	RESTORES=$((${RESTORES:-0} + 1))
	start "restoring.$RESTORES" restore_and_tell "$SCRATCH/restored.$RESTORES"
	RESTORE=$STARTED_PID
}

# A restore in the background tells what it set through a file.
restore_and_tell()
{
	local rc=0

	restore_lazily "$SERVER_DIR/$SESSION" || rc=$?
	echo "RESTORE_INIT=$RESTORE_INIT RESTORED_PID=$RESTORED_PID" >"$1"
	return $rc
}

end_restore()
{
	[ -n "$RESTORE" ] || return 0
	RESTORE_RC=0
	wait "$RESTORE" || RESTORE_RC=$?
	RESTORE=''
	# shellcheck disable=SC1090
	. "$SCRATCH/restored.$RESTORES"
}

# begin_running BADLINK-OPTION...: and the restored tasks run.
begin_running()
{
	begin "$@" || return 1
	end_restore
	[ "$RESTORE_RC" = 0 ] || fail 'the restore failed' || return 1
	[ "$(status_of state)" = running ] || fail "state is $(status_of state), not running"
}

frozen()
{
	[[ $(state_of "$VICTIM_PID") = [tT] ]]
}

# It stays so: nothing decides by itself. Two looks, a second apart.
assert_stays_frozen()
{
	frozen || fail "the source is not frozen: $(state_of "$VICTIM_PID")" || return 1
	sleep 1
	frozen || fail 'the source went on by itself while its copy may run' || return 1
	! is_dead "$DUMP" || fail 'the dump ended by itself'
}

# held PID: no process can make it run.  A task in a frozen control group looks asleep.
assert_held()
{
	local before

	before=$(switches "$1") || return 1
	[ -n "$before" ] || fail "process $1 has ended" || return 1
	kill -CONT "$1"
	sleep 0.3 # the kernel wakes it for a moment, and it sleeps again
	before=$(switches "$1")
	sleep 1
	[ "$(switches "$1")" = "$before" ] || fail 'the source runs beside its copy'
}

victims_on_target()
{
	local pid

	for pid in $(ip netns pids "$NS_B"); do
		[ "$(readlink "/proc/$pid/exe")" != "$(realpath "$VICTIM")" ] || is_dead "$pid" ||
			echo "$pid"
	done 2>/dev/null
}

no_victims_on_target()
{
	[ -z "$(victims_on_target)" ]
}

# And nothing of it runs.
restore_has_failed()
{
	end_restore
	[ "$RESTORE_RC" != 0 ] || fail 'the restore succeeded' || return 1
	eventually 5 no_victims_on_target || fail "restored tasks are left: $(victims_on_target)" ||
		return 1
	stop_copy
}

ends_well()
{
	end_dump
	[ "$DUMP_RC" = 0 ] || fail 'the dump failed' || return 1
	end_restore
	[ "$RESTORE_RC" = 0 ] || fail 'the restore failed' || return 1
	wait_session "$SESSION" 'done' || return 1
	moved_well
}

@test "cut before leave is asked: what was restored is killed, the source runs on within a second" {
	start_victim --size 32
	begin --cut-before started
	end_dump
	assert_fault_happened
	aborted_well "$(fault_time)" 1000 'lost|reset|pipe|channel'
	heal
	restore_has_failed
	nothing_left
}

@test "cut before leave arrives: the source stays frozen until it knows that nothing runs, then it runs on" {
	start_victim --size 32
	begin --cut-before started_ok
	eventually 20 fault_happened
	assert_stays_frozen
	grep -q 'stay frozen' "$IMG/multifd-send.log"
	local at
	at=$(now)
	heal
	end_dump
	aborted_well "$at" 1500
	restore_has_failed
	nothing_left
}

@test "cut while the tasks run on the target: the source stays frozen, they block and status says so, a healed link ends it well" {
	start_victim --size 32
	begin_running
	cut_now
	start verifying verify_victim # needs pages that are only at the source
	local verifying=$STARTED_PID
	assert_stays_frozen
	assert_in_doubt running
	! is_dead "$verifying"
	heal
	wait "$verifying"
	ends_well
}

# bats test_tags=tls
@test "cut before END: recovered over new connections" {
	start_victim --size 32
	begin --cut-before end
	eventually 20 fault_happened
	heal
	end_dump
	end_restore
	# Nothing ran there yet, or it did: one copy in any case.
	[ "$DUMP_RC" != 0 ] || wait_session "$SESSION" 'done'
	[ "$DUMP_RC" != 0 ] || moved_well
	[ "$DUMP_RC" = 0 ] || assert_not_frozen "$VICTIM_PID"
	[ "$DUMP_RC" = 0 ] || no_victims_on_target
}

@test "stall after leave was given: noticed, and a healed link ends it well" {
	export CRIU_MULTIFD_STALL_TIMEOUT=2000
	kill -TERM "$SERVER_PID"
	eventually 5 is_dead "$SERVER_PID"
	start_server --stall-timeout 2000
	start_victim --size 32
	RATE=4000000 begin_running --stall-after committed
	kill -USR2 "$BADLINK_PID"
	eventually 5 fault_happened
	assert_in_doubt running
	assert_stays_frozen
	heal
	ends_well
}

connected_again()
{
	[ "$(grep -c 'connected to .* again' "$IMG/multifd-send.log")" = "$1" ]
}

@test "the link breaks three times: recovered each time" {
	local i

	start_victim --size 32
	RATE=4000000 SPEED=--bandwidth begin_running
	cut_now
	for i in 1 2; do
		heal
		eventually 20 connected_again "$i" || return 1
		kill -USR2 "$BADLINK_PID"
		assert_stays_frozen
	done
	heal
	ends_well
	[ "$(jq -r .reconnects "$IMG/multifd-send.json")" -ge 3 ]
}

@test "a limit that is changed while the link is down holds when it is back; figures of both connections add up" {
	local json=$SCRATCH/target.json

	start_victim --size 32
	RATE=4000000 SPEED=--bandwidth begin_running
	run -0 "$MFD" set --dir "$SERVER_DIR" "$SESSION" max-bandwidth 900M
	[ "$output" = 'max-bandwidth: unlimited -> 7.2 Gbit/s' ]
	cut_now
	eventually 10 lost_it
	run -1 "$MFD" set --dir "$SERVER_DIR" "$SESSION" max-bandwidth 5M
	[[ $output == *'its source is not connected'* ]]
	run -0 "$MFD" set --source "$IMG" max-bandwidth 800M
	[ "$output" = 'max-bandwidth: 7.2 Gbit/s -> 6.4 Gbit/s' ]
	heal
	ends_well
	"$MFD" status --dir "$SERVER_DIR" "$SESSION" --json >"$json"
	[ "$(jq .max_bandwidth "$json")" = 800000000 ]
	[ "$(jq .max_bandwidth "$IMG/multifd-send.json")" = 800000000 ]
	for json in "$json" "$IMG/multifd-send.json"; do
		jq -e '[.channel[], .urgent] as $all | .bytes_wire == ($all | map(.bytes) | add) and .pages == ($all | map(.pages) | add)' \
			"$json"
	done
	# More than the last connection alone has sent.
	[ "$(jq .pages "$IMG/multifd-send.json")" -ge $((32 << 8)) ]
}

lost_it()
{
	[ "$("$MFD" status --source "$IMG" --json | jq .connected)" = false ]
}

# bats test_tags=tls
@test "the worker is killed after leave was given: the supervisor starts another one, which ends it well" {
	start_victim --size 32
	begin_running
	cut_now
	eventually 5 sender_pids
	kill -KILL "$WORKER"
	assert_stays_frozen
	heal
	ends_well
}

@test "the worker ends by an assertion after leave was given: the supervisor starts another one, which ends it well" {
	export PRELOAD_CLOCK_BACK=$SCRATCH/clock.back
	start_victim --size 32
	DUMP_PRELOAD=$TOOLS/preload_clock.so
	begin_running
	: >"$PRELOAD_CLOCK_BACK"
	heal
	ends_well
	grep -q "assertion failed: .*session $SESSION, phase running" "$IMG/multifd-send.log"
	grep -q 'taking over' "$IMG/multifd-send.log"
}

# all_killed: the restored tasks run, pages are missing, and every process of the sender is dead.
all_killed()
{
	start_victim --size 32
	begin
	eventually 60 status_is state running
	eventually 5 sender_pids
	kill -KILL "$SUPERVISOR" "$WORKER"
	assert_stays_frozen
	assert_in_doubt running
}

# Promise: in doubt is a state, whatever has died. It is shown, and settled in one try, by what lies
# in the folder alone.
@test "worker and supervisor are killed after leave was given: frozen, status says so, and after resolve --discard there resolve --run lets it go on" {
	all_killed
	run -0 "$MFD" status --source "$IMG"
	[[ $output == *'IN DOUBT: no sender runs any more'*"resolve --source $IMG --run"* ]]
	source_is sender false
	[[ $(of_source held_by) == *criu-multifd.hold.* ]]
	[ "$(of_source tasks_alive)" = 1 ]
	# A folder that hosts share: on another one nothing is said of tasks that are not in sight.
	run -0 unshare --uts bash -c 'hostname elsewhere; exec "$0" status --source "$1" --json' \
		"$MFD" "$IMG"
	jq -e '.tasks_alive == null and .held_by == null
		and (.advice | test("sent from host .* settle it there"))' <<<"$output"
	resolve discard
	eventually 5 no_victims_on_target
	end_restore || :
	assert_held "$VICTIM_PID"
	heal
	# From elsewhere the target would only seem to be out of reach.
	run -1 "$MFD" resolve --source "$IMG" --run
	[[ $output == *'another network namespace'* ]]
	assert_held "$VICTIM_PID"
	run -0 on_a "$MFD" resolve --source "$IMG" --run
	end_dump
	[ "$DUMP_RC" != 0 ]
	assert_not_frozen "$VICTIM_PID"
	verify_victim
	eventually 10 no_senders
	nothing_kept
}

# Nothing of a settled session is left in CRIU's folder, nor the group that held its tasks.
nothing_kept()
{
	eventually 10 no_senders || fail 'a sender is left' || return 1
	[ ! -e "$IMG/.multifd-send.img" ] || fail 'something is kept' || return 1
	[ ! -e "$IMG/.multifd-send.lock" ] || fail 'the lock is left' || return 1
	is_dead "$VICTIM_PID" || ! grep -q criu-multifd.hold "/proc/$VICTIM_PID/cgroup" 2>/dev/null
}

@test "worker, supervisor and CRIU are killed after leave was given: a sender that is started again goes on with the session to its end" {
	all_killed
	kill -KILL "$(criu_pid)"
	end_dump
	assert_held "$VICTIM_PID"
	heal
	run -0 on_a "$MFD" resolve --source "$IMG" --retry
	end_restore
	wait_session "$SESSION" 'done'
	moved_well
	eventually 10 no_senders
	[ "$(jq -r .result "$IMG/multifd-send.json")" = released ]
	nothing_kept
}

@test "a sender in doubt is ended by SIGTERM: what is left is settled as after its death" {
	start_victim --size 32
	begin
	eventually 60 status_is state running
	cut_now
	eventually 10 lost_it
	eventually 5 sender_pids
	kill -TERM "$WORKER"
	end_dump
	eventually 10 no_senders
	assert_held "$VICTIM_PID"
	source_is sender false
	resolve discard
	end_restore || :
	heal
	run -0 on_a "$MFD" resolve --source "$IMG" --run
	assert_not_frozen "$VICTIM_PID"
	verify_victim
	nothing_kept
}

# Promise: after leave to run CRIU is needed for nothing. Its death lets no task run, not even one
# that gets a SIGCONT.
@test "CRIU is killed after leave was given: the source stays frozen and serves its pages, and it ends well" {
	start_victim --size 64
	begin
	eventually 60 status_is state running
	kill -KILL "$(criu_pid)"
	end_dump
	[ "$DUMP_RC" != 0 ] || fail 'criu ended well'
	[ "$(status_of state)" = running ] || fail "too late: $(status_of state)"
	assert_held "$VICTIM_PID"
	heal
	end_restore
	wait_session "$SESSION" 'done'
	moved_well
	eventually 10 no_senders
	grep -q 'CRIU has ended; the tasks stay frozen here' "$IMG/multifd-send.log"
	[ "$(jq -r .result "$IMG/multifd-send.json")" = released ]
	[ "$(jq .ran_here "$IMG/multifd-send.json")" = false ]
}

@test "CRIU is killed after leave was given and the link is cut: nothing runs twice, and a healed link ends it well" {
	start_victim --size 64
	begin
	eventually 60 status_is state running
	cut_now
	eventually 10 lost_it
	kill -KILL "$(criu_pid)"
	end_dump
	assert_held "$VICTIM_PID"
	assert_in_doubt running
	heal
	end_restore
	wait_session "$SESSION" 'done'
	moved_well
}

of_source()
{
	"$MFD" status --source "$IMG" --json | jq -r ".$1"
}

source_is()
{
	[ "$(of_source "$1")" = "$2" ]
}

# Promise: only an error of the link is worth another connection. What the killed task had is
# nowhere else; a person decides, on both sides, in one try.
@test "the source's frozen task is killed while pages are missing: no storm of connections, status says why, resolve and SIGTERM have an effect" {
	start_victim --size 32
	begin
	eventually 60 status_is state running
	kill -KILL "$VICTIM_PID" # whose pages are the next
	eventually 30 source_is in_doubt true
	sleep 3
	[ "$(wc -l <"$IMG/multifd-send.log")" -lt 20 ] || fail 'the log grows'
	[[ $(of_source doubt) = *'task '*'No such process'* ]] || fail "why: $(of_source doubt)"
	[ "$(of_source tries) $(of_source next_try_ms)" = '0 null' ]
	run -0 "$MFD" status --source "$IMG"
	[[ $output == *'--run is refused'*'not any more, but by'*'--retry'* ]]
	assert_in_doubt running
	resolve discard
	eventually 5 sender_pids
	kill -TERM "$WORKER"
	end_dump
	eventually 10 no_senders
	[ "$(jq -r .result "$IMG/multifd-send.json")" = in-doubt ]
	grep -q 'IN DOUBT: the tasks stay frozen here' "$IMG/multifd-send.log"
	end_restore || :
}

# Promise: there is no way back once everything is there and the copy runs. CRIU does not move, so
# the worker dies between its verdict and the death of the tasks.
@test "the worker is killed after its verdict while CRIU is stopped: another one ends the tasks and tells the target" {
	local criu

	start_victim --size 64
	begin
	eventually 60 status_is state running
	criu=$(criu_pid)
	kill -STOP "$criu"
	heal
	eventually 20 status_is state ready
	eventually 5 grep -q releasing "$IMG/multifd-send.log"
	eventually 5 sender_pids
	kill -KILL "$WORKER"
	wait_session "$SESSION" 'done'
	kill -CONT "$criu"
	end_dump
	end_restore
	moved_well
}

everything_is_in()
{
	[ "$(status_of installed_pages)" = "$(status_of lazy_pages)" ]
}

# A tree that runs on the target and lacks nothing, while its source waits for a READY that was cut
# off.
ready_is_lost()
{
	start_victim --size 32 --tree 2
	RATE=200000000 SPEED=--bandwidth begin --cut-before ready || return 1
	end_restore
	[ "$RESTORE_RC" = 0 ] || fail 'the restore failed' || return 1
	assert_in_doubt ready || return 1
	eventually 10 everything_is_in
}

# Promise: never both run. A task that lacks nothing is not held by the server any more, but
# discarded all the same, with what it has forked.
@test "every page is in, the link breaks, a person discards the copy: it is killed, and the source goes on when told to" {
	ready_is_lost
	verify_victim
	[ -n "$(victims_on_target)" ]
	resolve discard
	eventually 5 no_victims_on_target
	run -0 on_a "$MFD" resolve --source "$IMG" --run
	end_dump
	[ "$DUMP_RC" != 0 ]
	assert_not_frozen "$VICTIM_PID"
	verify_victim
}

# Promise: never lost. READY is out, so the source may have let go: a copy that lacks nothing
# outlives any server.
@test "every page is in, READY may have come: the copy survives all of the server, killed or stopped, and goes on after resolve --run" {
	ready_is_lost
	# shellcheck disable=SC2046  # a list
	kill -KILL "$SERVER_PID" $(pgrep -P "$SERVER_PID")
	SERVER_NAME=server.2 start_server
	assert_in_doubt ready
	verify_victim
	kill -TERM "$SERVER_PID"
	eventually 5 is_dead "$SERVER_PID"
	SERVER_NAME=server.3 start_server
	assert_in_doubt ready
	verify_victim
	resolve run
	wait_session "$SESSION" 'done'
	run -0 "$MFD" resolve --source "$IMG" --discard
	end_dump
	assert_gone "$VICTIM_PID"
	assert_not_frozen "$RESTORED_PID"
	verify_victim
}

# Promise: what has run is not rolled back by itself. The source learns from the tombstone that the
# tasks ran and are dead, and only a person lets its own go on.
@test "the server is killed after leave was given: the tasks there are killed, the source stays frozen, in doubt, and goes on when told to" {
	SERVER_PORT=7392
	kill -TERM "$SERVER_PID"
	eventually 5 is_dead "$SERVER_PID"
	start_server
	start_victim --size 32
	begin_running
	cut_now
	assert_in_doubt running
	# shellcheck disable=SC2046  # a list
	kill -KILL "$SERVER_PID" $(pgrep -P "$SERVER_PID")
	assert_stays_frozen
	local front=$SERVER_ADDR
	SERVER_NAME=server.2 start_server
	SERVER_ADDR=$front
	heal
	eventually 20 grep -q 'ran on .* and are dead there' "$IMG/multifd-send.log"
	eventually 5 no_victims_on_target
	assert_stays_frozen
	run -0 "$MFD" status --source "$IMG" --json
	[ "$(jq -r .in_doubt <<<"$output")" = true ]
	[[ $("$MFD" status --source "$IMG") == *'IN DOUBT: '*'was restarted'* ]]
	run -0 on_a "$MFD" resolve --source "$IMG" --run
	end_dump
	[ "$DUMP_RC" != 0 ]
	assert_not_frozen "$VICTIM_PID"
	verify_victim
}

# bats test_tags=tls
@test "a restored task is killed while pages are missing: the others go on, the session is done" {
	start_victim --size 32 --tree 2
	begin
	end_restore
	heal
	[ "$RESTORE_RC" = 0 ]
	local child
	child=$(pgrep -P "$RESTORED_PID" | head -n 1)
	kill -KILL "$child"
	end_dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" 'done'
	assert_gone "$VICTIM_PID"
	assert_not_frozen "$RESTORED_PID"
}

# Promise: never both run. CRIU resumes the source when its post-dump script has failed, though it
# went through the whole transfer.
@test "postcopy, a post-dump script that fails: the copy that has run goes on, the source dies" {
	start_victim --size 32
	printf '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || exit 3\n' >"$SCRATCH/act"
	chmod +x "$SCRATCH/act"
	CRIU_MULTIFD_MODE=postcopy CRIU_MULTIFD_MAX_BANDWIDTH=5M \
		start dump dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION" \
			--action-script "$SCRATCH/act"
	wait_session "$SESSION" ready
	restore_lazily "$SERVER_DIR/$SESSION"
	wait_session "$SESSION" 'done'
	assert_gone "$VICTIM_PID"
	verify_victim
	assert_not_frozen "$RESTORED_PID"
}
