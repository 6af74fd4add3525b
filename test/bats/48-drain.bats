#!/usr/bin/env bats
# Lists of pids; variables of helpers.bash; jq's programs.
# shellcheck disable=SC2016,SC2046,SC2153
# SPDX-License-Identifier: GPL-2.0-only
# `criu-multifd drain`: a host is emptied, onto two others. The plan itself is in
# test/unit/test_drain.c.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
	VICTIMS=()
}

# two_targets [FLAGS]: sets TO, TARGET1, TARGET2, SERVER1, SERVER2.
two_targets()
{
	SERVER_NAME=server1 SERVER_DIR=$SCRATCH/sessions1 start_server --restore \
		--pid-namespace own "$@"
	TARGET1=$SERVER_ADDR SERVER1=$SERVER_PID
	SERVER_NAME=server2 SERVER_DIR=$SCRATCH/sessions2 start_server --restore \
		--pid-namespace own "$@"
	TARGET2=$SERVER_ADDR SERVER2=$SERVER_PID
	TO=$TARGET1,$TARGET2
}

# victims N [FLAGS]: sets VICTIMS, their pids, and PIDS, with commas.
victims()
{
	local i n=$1

	for ((i = 0; i < n; i++)); do
		start_victim --name "v$i" "${@:2}"
		VICTIMS+=("$VICTIM_PID")
	done
	PIDS=$(IFS=, && echo "${VICTIMS[*]}")
}

drain()
{
	on_a "$MFD" drain --dir "$SCRATCH/drain" --session a --connect-timeout 2000 \
		--stall-timeout 1000 "$@"
}

all_moved()
{
	local i

	for i in "${!VICTIMS[@]}"; do
		assert_gone "${VICTIMS[i]}" || return 1
		verify_victim "$SCRATCH/v$i" || return 1
	done
	[ "$(copies_there)" = "${#VICTIMS[@]}" ]
}

# group NAME PID...: a control group of version 2 below the test's, with these processes.  Both
# hosts have it: a restore must ignore it, or the copies are found there.
group()
{
	local v2=/sys/fs/cgroup pid

	[ -e $v2/cgroup.controllers ] || v2=/sys/fs/cgroup/unified
	[ -e $v2/cgroup.controllers ] || skip 'kernel lacks a mounted cgroup v2'
	SLICE=mfd-${SCRATCH##*.}.slice
	[ -e "$v2/$SLICE" ] || { mkdir "$v2/$SLICE" && register undo rmdir "$v2/$SLICE"; }
	GROUP=$v2/$SLICE/$1
	mkdir "$GROUP"
	register undo rmdir "$GROUP"
	for pid in "${@:2}"; do echo "$pid" >"$GROUP/cgroup.procs"; done
}

# state_there PID FILE: the state of that process in drain's summary.
state_of_pid()
{
	jq -r --argjson pid "$1" 'select(.event == "summary").processes[] |
		select(.pid == $pid).state' "$2"
}

# has_event NAME FILE [N]: it was told so often at least.
has_event()
{
	[ "$(grep -c "\"event\":\"$1\"" "$2")" -ge "${3:-1}" ]
}

@test "a slice: two targets, one that cannot move; dry-run, JSON, metrics; then it is empty" {
	local hold=$SCRATCH/hold
	two_targets
	victims 4 --size 4
	mkdir "$hold"
	start hold on_a "$TOOLS/holder" ring "$hold"
	eventually 10 test -s "$hold/pid" || skip 'kernel lacks io_uring, or may not use it here'
	HOLDER=$(cat "$hold/pid")
	register pid "$HOLDER"
	group one.service "${VICTIMS[@]:0:2}"
	group two.service "${VICTIMS[@]:2:2}" "$HOLDER"

	run drain --to "$TO" --slice "$SLICE" --dry-run
	echo "$output"
	[[ $output == *"4 to move, "*", 4 at once; 1 cannot move, 0 in doubt"* ]]
	[[ $output == *"$HOLDER  holder"*'cannot move, runs on here: '*io_uring* ]]
	[ "$(grep -c "$TARGET1" <<<"$output") $(grep -c "$TARGET2" <<<"$output")" = '2 2' ]
	[ "$(copies_there)" = 0 ]

	run -1 --separate-stderr drain --to "$TO" --slice "$SLICE" --parallel 2 --json \
		--metrics "$SCRATCH/drain.prom" -- --manage-cgroups=ignore
	echo "$output" >"$SCRATCH/json"
	echo "$stderr"
	all_moved
	assert_running "$HOLDER"
	[ "$(state_of_pid "$HOLDER" "$SCRATCH/json")" = cannot-move ]
	jq -se '.[0].event == "plan" and .[-1].event == "summary" and .[-1].exit_code == 1
		and .[-1].empty == false and .[-1].counts.moved == 4
		and ([.[-1].targets[].moved] == [2, 2])
		and ([.[-1].processes[] | select(.state == "moved").pause_ms > 0] | all)
		and ([.[] | select(.event == "ended")] | length) == 4' "$SCRATCH/json"
	grep -qx 'criu_multifd_drain_processes{state="moved"} 4' "$SCRATCH/drain.prom"
	grep -qx 'criu_multifd_drain_processes{state="cannot-move"} 1' "$SCRATCH/drain.prom"
	grep -qx 'criu_multifd_drain_empty 0' "$SCRATCH/drain.prom"
	[ "$(tail -n 1 "$SCRATCH/drain.prom")" = '# EOF' ]
	[ "$(grep -c '^criu_multifd_drain_pause_seconds{' "$SCRATCH/drain.prom")" = 4 ]
	[ "$(stat -c %a "$SCRATCH/drain.prom")" = 644 ]
	[ -z "$(find "$SCRATCH/drain" -name 'criu-multifd.*')" ] # no sender left anything

	kill -KILL "$HOLDER"
	assert_gone "$HOLDER"
	run -0 drain --to "$TO" --slice "${SLICE%.slice}" --metrics "$SCRATCH/drain.prom"
	[[ $output == *'0 moved, 0 left here'* ]]
	grep -qx 'criu_multifd_drain_empty 1' "$SCRATCH/drain.prom"
}

@test "a unit by its name, a control group by its path, a container by its id" {
	local id=0123456789abcdef0123456789abcdef
	two_targets
	victims 3 --size 1
	group one.service "${VICTIMS[0]}"
	run -0 drain --to "$TO" --unit one --dry-run
	[[ $output == *"${VICTIMS[0]}  victim"* && $output == *'1 to move'* ]]
	group "docker-$id.scope" "${VICTIMS[1]}"
	run -0 drain --to "$TO" --container "${id:0:12}" --dry-run
	[[ $output == *"${VICTIMS[1]}  victim"* && $output == *'1 to move'* ]]
	run -0 drain --to "$TO" --cgroup "/$SLICE" --pid "${VICTIMS[2]}" --dry-run
	[[ $output == *'3 to move'* ]]
	run -0 drain --to "$TO" --cgroup "$GROUP" --dry-run
	[[ $output == *'1 to move'* ]]
	mkdir "$GROUP/one.service"
	register undo rmdir "$GROUP/one.service"
	# What a user may name, and may give any name, is not the unit.
	chown 65534 "$GROUP/one.service"
	run -0 drain --to "$TO" --unit one --dry-run
	[[ $output == *'1 to move'* ]]
	chown 0 "$GROUP/one.service"
	run -4 drain --to "$TO" --unit one --dry-run
	[[ $output == *"--unit one: there are 2: say which by --cgroup /$SLICE/"* ]]
}

@test "a target dies in the middle: what it had goes to the other" {
	local rc=0
	two_targets
	victims 3 --size 8
	start drain drain --to "$TO" --pid "$PIDS" --json --parallel 3 --max-bandwidth 24M
	DRAIN=$STARTED_PID
	eventually 10 grep -q '"event":"begun"' "$SCRATCH/drain.out"
	eventually 10 grep -q streaming $(find "$SCRATCH/drain" -name events.json)
	kill -KILL "$SERVER1" $(pgrep -P "$SERVER1")
	wait "$DRAIN" || rc=$?
	cat "$SCRATCH/drain.err"
	[ "$rc" = 0 ]
	all_moved
	jq -se '.[-1].counts.moved == 3
		and ([.[-1].processes[] | select(.tries == 2)] | length) >= 1
		and .[-1].targets[1].moved >= 2' "$SCRATCH/drain.out"
	grep -q 'another try (.*/migrate.log)' "$SCRATCH/drain.err"
}

@test "Ctrl-C lets what is on its way end, twice aborts it; run again it goes on" {
	local rc=0
	two_targets
	victims 3 --size 4
	start first drain --to "$TO" --pid "$PIDS" --parallel 1 --max-bandwidth 8M --json
	eventually 10 has_event begun "$SCRATCH/first.out"
	kill -INT "$(ours_in "$NS_A" drain)"
	wait "$STARTED_PID" || rc=$?
	cat "$SCRATCH/first.err"
	[ "$rc" = 2 ]
	jq -se '.[-1].counts | .moved == 1 and .["not-begun"] == 2' "$SCRATCH/first.out"
	[ "$(copies_there)" = 1 ]

	rc=0
	start second drain --to "$TO" --pid "$PIDS" --parallel 1 --max-bandwidth 1M --json
	eventually 10 has_event begun "$SCRATCH/second.out"
	kill -INT "$(ours_in "$NS_A" drain)"
	eventually 5 grep -q 'nothing new is begun' "$SCRATCH/second.err"
	kill -INT "$(ours_in "$NS_A" drain)"
	wait "$STARTED_PID" || rc=$?
	cat "$SCRATCH/second.err"
	[ "$rc" = 1 ]
	jq -se '.[-1].counts | .failed == 1 and .["not-begun"] == 1' "$SCRATCH/second.out"
	for pid in "${VICTIMS[@]}"; do
		is_dead "$pid" || assert_not_frozen "$pid"
	done

	# One has moved: it is gone from here, and that is no error.
	run -0 drain --to "$TO" --pid "$PIDS"
	all_moved
}

@test "the deadline: nothing is begun that would not end before it" {
	two_targets
	victims 2 --size 8
	run -2 drain --to "$TO" --pid "$PIDS" --max-bandwidth 1M --deadline 5s
	echo "$output"
	[[ $output == *'and not end before the deadline'* ]]
	[[ $output == *'0 moved, 2 left here'* ]]
	# What was begun in good faith is ended by its migrate; it runs on here.
	run -1 drain --to "$TARGET1" --pid "${VICTIMS[0]}" --max-rounds 3 --timeout 0.3 \
		--max-bandwidth 1M
	echo "$output"
	[[ $output == *'the time was up'* && $output == *migrate.log* ]]
	assert_not_frozen "${VICTIMS[0]}"
}

@test "in doubt: named and not touched" {
	local rc=0 left
	victims 1 --size 12
	start_server --restore --pid-namespace own
	start drain drain --to "$SERVER_ADDR" --pid "$PIDS" --mode postcopy --channels 1 \
		--max-bandwidth 25Mbit
	SESSION=a.victim.$PIDS
	eventually 20 has_state running
	kill -KILL $(ours_in "$NS_A" send)
	wait "$STARTED_PID" || rc=$?
	cat "$SCRATCH/drain.out"
	[ "$rc" = 3 ]
	left=$(find "$SCRATCH/drain/$SESSION" -name '.multifd-send.img')
	[ -n "$left" ]
	run -3 drain --to "$SERVER_ADDR" --pid "$PIDS"
	echo "$output"
	[[ $output == *"$PIDS  victim"*'IN DOUBT: no sender runs any more'* ]]
	[[ $output == *"criu-multifd resolve --source ${left%/*}"* ]]
	[[ $output == *'0 to move'* ]]
	is_held "$PIDS"
}

@test "a process is started again by its supervisor: the host is not empty" {
	two_targets
	victims 1 --size 1
	group one.service "${VICTIMS[0]}"
	start again bash -c 'until [ -s "$0" ]; do sleep 0.02; done; echo $$ >"$1/cgroup.procs"
		exec sleep 100' "$SCRATCH/drain/a.victim.${VICTIMS[0]}/events.json" "$GROUP"
	run -1 drain --to "$TO" --unit one -- --manage-cgroups=ignore
	echo "$output"
	[[ $output == *'began meanwhile, runs here'* && $output == *'1 moved, 1 left here'* ]]
}

@test "a drain that is killed does not harm what it began; a second one at a time is refused" {
	two_targets
	victims 1 --size 8
	start drain drain --to "$TO" --pid "$PIDS" --max-bandwidth 16M --json
	eventually 10 has_event begun "$SCRATCH/drain.out"
	eventually 10 grep -q streaming "$SCRATCH/drain/a.victim.$PIDS/events.json"
	run -4 drain --to "$TO" --pid "$PIDS"
	[[ $output == *"another drain is at work in $SCRATCH/drain"* ]]
	kill -KILL "$(ours_in "$NS_A" drain)"
	run -3 drain --to "$TO" --pid "$PIDS"
	echo "$output"
	[[ $output == *'an earlier move is at work'* ]]
	eventually 10 is_dead "$PIDS"
	eventually 5 grep -q '"result":"released"' "$SCRATCH/drain/a.victim.$PIDS/events.json"
	verify_victim "$SCRATCH/v0"
}

@test "bad input: each error names what is wrong, and nothing is begun" {
	victims 1 --size 1
	fails 64 '--to HOST[,HOST...] is missing' "$MFD" drain --pid 1
	fails 64 'what is to be moved is missing' "$MFD" drain --to a:1
	fails 64 "--to: a target is empty" drain --to a:1, --pid 1
	fails 64 "a:1 is there twice" drain --to a:1,a:1 --pid 1
	fails 64 "bad value 'b'" drain --to a:1,b --pid 1
	fails 64 "--parallel: '0' is not a number from 1 to 256" drain --to a:1 --pid 1 --parallel 0
	fails 64 "--deadline: 'soon' is no time" drain --to a:1 --pid 1 --deadline soon
	fails 64 "'2020-01-01 00:00' is over already" drain --to a:1 --pid 1 \
		--deadline '2020-01-01 00:00'
	fails 64 "--max-bandwidth: " drain --to a:1 --pid 1 --max-bandwidth fast
	fails 64 "--unit: 'a/b' is not a name" drain --to a:1 --unit a/b
	fails 64 "--target is what drain gives" drain --to a:1 --pid 1 --target b:1
	fails 64 'given by migrate itself' drain --to a:1 --pid 1 -- --images-dir /tmp
	fails 4 "--pid 1,x: 'x' is not the number of a process" drain --to a:1 --pid 1,x
	fails 4 '--pid 4194300: there is no process' drain --to a:1 --pid 4194300
	fails 4 '--unit nothing.service: nothing of it runs here' drain --to a:1 \
		--unit nothing.service
	fails 4 '--cgroup /no/such' drain --to a:1 --cgroup /no/such
	fails 4 '--metrics /no/such/file' drain --to a:1 --pid "$PIDS" --metrics /no/such/file
	fails 4 "--dir /no/such" drain --to a:1 --pid "$PIDS" --dir /no/such
	CRIU=/nowhere fails 4 '/nowhere' drain --to a:1 --pid "$PIDS"
	fails 1 'is this program or one of its ancestors' drain --to a:1 --pid $$
	fails 1 'Connection refused' drain --to "$ADDR_B:9" --pid "$PIDS"
	assert_not_frozen "$PIDS"
}
