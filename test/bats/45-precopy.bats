#!/usr/bin/env bats
# Variables of helpers.bash.
# shellcheck disable=SC2016,SC2046,SC2153
# SPDX-License-Identifier: GPL-2.0-only
# Precopy: memory is sent in rounds while the tasks run.  Each move compares every page that counts
# as not written (precopy-check = always), and no difference may be found.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
}

# precopy [FLAGS]: the victim moves with rounds; sets JSON, the summary.
precopy()
{
	migrate --restore --precopy on --precopy-check always --json "$@" >"$SCRATCH/json"
	JSON=$(tail -n 1 "$SCRATCH/json")
	echo "$JSON" | jq -c '[.downtime_ms, .precopy]'
}

# says FILTER: of the summary.
says()
{
	jq -e "$1" <<<"$JSON" >/dev/null || fail "not $1: $(jq -c .precopy <<<"$JSON")"
}

had_rounds()
{
	says '.result == "released" and .precopy.rounds >= 1 and .precopy.check_pages > 1000 and
		.precopy.check_unsuspected == 0 and .precopy.tasks[0].tracked'
}

# bats test_tags=tls
@test "rounds, then a stop: every page is right, in safe mode and in postcopy" {
	local mode
	start_server --restore
	for mode in safe postcopy; do
		SESSION=$mode
		start_victim --name "v$mode" --size 128 --dirty=32:200
		precopy --mode "$mode"
		had_rounds
		assert_gone "$VICTIM_PID"
		wait_session "$mode" 'done'
		verify_victim
	done
}

@test "a tree with threads and every kind of mapping moves with rounds" {
	start_server --restore
	start_victim --size 64 --dirty=16:100 --tree 2 --threads 4 --map all:4
	precopy
	had_rounds
	says '[.precopy.tasks[] | select(.tracked)] | length >= 3'
	wait_session test 'done'
	verify_victim
}

@test "what can be neither reached nor hurried: precopy-else, max-rounds, downtime-limit" {
	start_server --restore
	start_victim --size 64 --dirty=64:1000
	fails 1 'they run on here' migrate --restore --precopy on --precopy-else abort \
		--downtime-limit 1 --max-rounds 2 --max-bandwidth 20M
	runs_here
	nothing_registered
	precopy --max-rounds 1 --downtime-limit 1
	had_rounds
	says '.precopy.rounds == 1 and .precopy.stop_reason != "under way"'
	runs_there
}

@test "migrate does so by itself from 256 MiB on, and says why it does not; off is off" {
	local mib
	start_server --restore
	for mib in 16 272; do
		SESSION=$mib
		start_victim --name "v$mib" --size "$mib"
		migrate --restore --json $([ "$mib" != 16 ] || echo --precopy off) >"$SCRATCH/json"
		JSON=$(tail -n 1 "$SCRATCH/json")
		case $mib in
		16) says '.precopy == null and .precopy_why == null' ;;
		272) says '.precopy.rounds >= 1 and .precopy.tasks[0].tracked' ;;
		esac
		wait_session "$SESSION" 'done'
		verify_victim
	done
	SESSION=small
	start_victim --name small --size 16
	migrate --restore --json >"$SCRATCH/json"
	JSON=$(tail -n 1 "$SCRATCH/json")
	says '.precopy == null and (.precopy_why | contains("256 MiB"))'
}

# Nothing of ours is left in the victim: no descriptor, no mapping with write protection.
nothing_registered()
{
	local pid=$VICTIM_PID

	! grep -q '^VmFlags:.* uw' "/proc/$pid/smaps"
	! readlink "/proc/$pid"/fd/* | grep -q userfaultfd
}

in_a_round()
{
	grep -q '"phase":"precopy"' "$SCRATCH/migrate.out"
}

# begin_rounds [FLAGS]: a slow first round is under way; sets MIGRATING.
begin_rounds()
{
	start migrate migrate --restore --precopy on --precopy-check always --json \
		--max-bandwidth 60M "$@"
	MIGRATING=$STARTED_PID
	eventually 20 in_a_round
	sleep 0.3
	grep -q '^VmFlags:.* uw' "/proc/$VICTIM_PID/smaps"
}

# ended_here: migrate has failed, and the task has not noticed.
ended_here()
{
	local rc=0

	wait "$MIGRATING" || rc=$?
	echo "exit $rc: $(tail -n 1 "$SCRATCH/migrate.out" | jq -c '[.result, .error]')"
	[ "$rc" != 0 ]
	eventually 5 one_here
	eventually 5 nothing_registered
	assert_not_frozen "$VICTIM_PID"
	verify_victim
	nothing_there
}

@test "compression, and a rate that is set while rounds run" {
	start_server --restore
	start_victim --size 256 --fill half --dirty=32:100
	begin_rounds --compress lz4
	run -0 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth unlimited
	wait "$MIGRATING"
	JSON=$(tail -n 1 "$SCRATCH/migrate.out")
	had_rounds
	says '.packets_compressed > 0 and .max_bandwidth == 0 and
		.gbit_per_s * .total_ms > 0.5 * 8e-6 * .bytes_wire and
		.gbit_per_s * (.total_ms - .frozen_ms) < 2 * 8e-6 * .bytes_wire'
	wait_session test 'done'
	verify_victim
}

@test "Ctrl-C, every kill and a cut in a round: the task runs on, nothing stays registered" {
	local how
	start_server --restore
	start_victim --size 256 --dirty=32:100
	for how in ctrl-c worker sender criu server; do
		SESSION=$how
		echo "== $how"
		begin_rounds
		case $how in
		ctrl-c) kill -INT "$(pgrep -f "^$MFD migrate -t $VICTIM_PID ")" ;;
		worker) kill -KILL "$(ours_in "$NS_A" send | tail -n 1)" ;;
		sender) kill -KILL $(ours_in "$NS_A" send) ;;
		criu) kill -KILL "$(pgrep -f " dump --tree $VICTIM_PID ")" ;;
		server) kill -KILL $(ours_in "$NS_B" serve) ;;
		esac
		ended_here
		[ "$how" = server ] || eventually 10 test ! -e "$SERVER_DIR/$SESSION"
	done
}
