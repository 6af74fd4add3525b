#!/usr/bin/env bats
# shellcheck disable=SC2153  # variables of helpers.bash
# SPDX-License-Identifier: GPL-2.0-only
# `serve --max-memory`: what the server takes stays below it, a source that does not fit waits
# before it freezes anything or is refused with a clear word, and nothing is lost.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
}

# A victim and its dump in the background, as session NAME: dump_in_background NAME [VICTIM
# OPTIONS]; sets DUMP and VICTIM_PID.
dump_in_background()
{
	SESSION=$1
	start_victim --name "$1" "${@:2}"
	start "dump.$1" dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$1"
	DUMP=$STARTED_PID
}

# of NAME FIELD
of()
{
	"$MFD" status --dir "$SERVER_DIR" "$1" --json 2>/dev/null | jq -r ".$2"
}

of_is()
{
	[ "$(of "$1" "$2")" = "$3" ]
}

memory()
{
	"$MFD" status --dir "$SERVER_DIR" --json | jq -r ".memory.$1"
}

memory_is()
{
	[ "$(memory "$1")" = "$2" ]
}

is_queued()
{
	of_is "$1" held queued
}

# From here on the most that stores and images take is noted, in KiB.
watch_memory()
{
	start watch bash -c 'max=0
		while :; do
			now=$(du -skL "$1" 2>/dev/null | cut -f 1)
			[ "${now:-0}" -le "$max" ] || { max=$now; echo "$max"; }
			sleep 0.01
		done' watch "$SERVER_DIR"
}

peak_kib()
{
	tail -n 1 "$SCRATCH/watch.out"
}

# LIMIT_MIB AT_LEAST_MIB: it was watched while there was something to see.
assert_peak()
{
	local peak

	peak=$(peak_kib)
	echo "peak $((peak / 1024)) MiB, server $(sed -n 's/^VmHWM:[[:space:]]*//p' \
		"/proc/$(worker)/status")"
	[ "$peak" -le $(($1 * 1024)) ] || fail "the stores took $((peak / 1024)) MiB, more than $1"
	[ "$peak" -ge $(($2 * 1024)) ] || fail "only $((peak / 1024)) MiB were seen"
}

# The supervisor's youngest child.
worker()
{
	pgrep -n -P "$SERVER_PID"
}

# Supervisor and worker of the sender of a session.
senders_of()
{
	local pid

	for pid in $(ip netns pids "$NS_A"); do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != *'send --from-plugin'* ]] ||
			[ "$(readlink "/proc/$pid/cwd")" != "$SCRATCH/img.$1" ] || echo "$pid"
	done 2>/dev/null
}

restore_and_check()
{
	wait_session "$1" committed
	restore_lazily "$SERVER_DIR/$1"
	wait_session "$1" 'done'
	VICTIM_DIR=$SCRATCH/$1
	verify_victim
	assert_not_frozen "$RESTORED_PID"
}

@test "safe: the second of two sessions that do not fit together waits, its process runs meanwhile, and both arrive" {
	local first gap

	start_server --max-memory 300M
	watch_memory
	dump_in_background one --size 256
	first=$VICTIM_PID
	wait "$DUMP"
	assert_gone "$first"
	dump_in_background two --size 256
	eventually 10 is_queued two || fail "$("$MFD" status --dir "$SERVER_DIR")"
	of_is two state receiving
	of_is two memory_promised 0
	memory_is waiting 1 || eventually 3 memory_is waiting 1
	memory_is limit $((300 << 20))
	"$MFD" status --dir "$SERVER_DIR" | grep -q 'two  *waits for memory'
	"$MFD" status --dir "$SERVER_DIR" | grep \
		-q 'Memory: .* of 300 MiB set aside, .* in use; 1 of 2 sessions wait'
	# What is set in the queue counts afterwards, and the target hears of it.
	run -1 "$MFD" set --dir "$SERVER_DIR" two max-bandwidth 2Gbit
	[[ $output == *'it waits for memory, its channels are not connected yet'* ]] ||
		fail "$output"
	"$MFD" set --source "$SCRATCH/img.two" max-bandwidth 2Gbit
	sleep 3
	is_queued two
	assert_not_frozen "$VICTIM_PID"
	gap=$(victim_gap)
	[ "${gap%.*}" -lt 1000 ] || fail "it stood still for $gap ms in the queue"
	restore_and_check one
	wait "$DUMP"
	assert_gone "$VICTIM_PID"
	of_is two max_bandwidth 250000000
	[ "$(jq .queued_ms "$SCRATCH/img.two/multifd-send.json" | cut -d. -f1)" -ge 3000 ]
	grep -q 'the target has no memory for us yet, the tasks run on: .*are needed' \
		"$SCRATCH/img.two/multifd-send.log"
	restore_and_check two
	assert_peak 300 250
}

@test "safe: a session that is larger than the limit is refused before anything is frozen, and says so" {
	start_server --max-memory 100M
	start_victim --size 128
	run -1 dump_with_plugin "$VICTIM_PID" "$SCRATCH/img"
	grep -qE 'session test needs 13[0-9]\.[0-9] MiB of memory here, more than the limit of 100\.0 MiB' "$SCRATCH/img/dump.log"
	source_runs_on
	[ "$(victim_gap | cut -d. -f1)" -lt 500 ]
	run -5 on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR"
	[[ $output == *'needs 13'*'more than the limit of 100.0 MiB for all sessions'* ]] ||
		fail "$output"
	source_runs_on
}

@test "safe: of a size that is not known before the freeze, too much ends the dump at once" {
	local pid

	# Of an RPC the command line says nothing: here neither, the option is cut off.
	start_server --max-memory 100M
	start_victim --size 128
	mkdir "$SCRATCH/img"
	echo "tree $VICTIM_PID" >"$SCRATCH/criu.conf"
	run -1 on_a env CRIU_MULTIFD_TARGET="$SERVER_ADDR" CRIU_MULTIFD_SESSION="$SESSION" timeout \
		60 "$CRIU" dump \
		--config "$SCRATCH/criu.conf" -D "$SCRATCH/img" --lazy-pages -L "$PLUGINS" \
			--address 127.0.0.1 -v4 -o dump.log </dev/null
	grep -qE 'session test needs 13[0-9]\.[0-9] MiB of memory here, more than the limit' \
		"$SCRATCH/img/dump.log" \
		"$SCRATCH/img/multifd-send.log"
	source_runs_on
	[ "$(victim_gap | cut -d. -f1)" -lt 2000 ] || fail "frozen for $(victim_gap) ms"
}

@test "postcopy: a process larger than the limit moves, held back until it is restored" {
	local before

	start_server --max-memory 128M
	watch_memory
	start_victim --size 320
	export CRIU_MULTIFD_MODE=postcopy
	start dump.test dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.test"
	DUMP=$STARTED_PID
	wait_session test ready
	eventually 10 of_is test held pages ||
		fail "$("$MFD" status --dir "$SERVER_DIR" test --json)"
	before=$(of test pages)
	sleep 11	# longer than any stall timeout
	[ "$(of test pages)" = "$before" ] || fail 'pages came though there is no room'
	restore_lazily "$SERVER_DIR/test"
	wait "$DUMP"
	wait_session test 'done'
	moved_well
	[ "$(summary pages)" -ge $((320 * 256)) ]
	[ "$(summary held_ms | cut -d. -f1)" -ge 10000 ] ||
		fail "held for $(summary held_ms) ms"
	grep -q "held: the target's memory limit leaves room for" \
		"$SCRATCH/img.test/multifd-send.log"
	assert_peak 128 40
}

@test "postcopy: two processes larger than the limit, restored by the server" {
	local pids=()

	# Pages that come before the restore must be stored.
	CRIU=$(slow_restore 1.5) start_server --max-memory 160M --restore
	watch_memory
	for s in one two; do
		start_victim --name $s --size 200
		pids+=("$VICTIM_PID")
		start migrate.$s on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" \
			--session $s --restore --json --mode postcopy
		eval "$s=$STARTED_PID"
	done
	# shellcheck disable=SC2154
	wait "$one" "$two"
	for s in one two; do
		wait_session $s 'done'
		VICTIM_DIR=$SCRATCH/$s
		verify_victim
		[ "$(tail -n 1 "$SCRATCH/migrate.$s.out" | jq -r .result)" = released ]
	done
	assert_gone "${pids[0]}"
	assert_gone "${pids[1]}"
	assert_peak 160 20
}

@test "postcopy: larger than the limit, and the worker dies while pages follow" {
	local dump

	start_server --max-memory 128M
	watch_memory
	start_victim --size 256
	export CRIU_MULTIFD_MODE=postcopy CRIU_MULTIFD_MAX_BANDWIDTH=60M
	start dump.test dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.test"
	dump=$STARTED_PID
	wait_session test ready
	restore_lazily "$SERVER_DIR/test"
	eventually 10 of_is test state running
	kill -KILL "$(worker)"
	eventually 10 grep -q 'test: .* userfaultfds taken over' "$SCRATCH/server.err"
	wait "$dump"
	wait_session test 'done'
	moved_well
	[ "$(summary reconnects)" -ge 1 ]
	eventually 5 memory_is sessions 0
	assert_peak 128 1
}

@test "a source that is killed in the queue, or while it sends, gives back what it had" {
	start_server --max-memory 300M --stall-timeout 3000
	CRIU_MULTIFD_MAX_BANDWIDTH=4M dump_in_background one --size 200
	local one=$VICTIM_PID
	eventually 10 of_is one memory_promised "$(of one memory_promised)"
	dump_in_background two --size 200
	eventually 10 is_queued two
	dump_in_background three --size 200
	eventually 10 is_queued three
	memory_is waiting 2 || eventually 3 memory_is waiting 2
	# The one in the queue: its workers and its supervisor.
	local three=$DUMP three_pid=$VICTIM_PID
	# shellcheck disable=SC2046  # a list
	kill -KILL $(senders_of two)
	eventually 10 of_is two state aborted
	is_queued three
	# And the one that sends.
	# shellcheck disable=SC2046  # a list
	kill -KILL $(senders_of one)
	wait "$three"
	assert_gone "$three_pid"
	eventually 10 assert_not_frozen "$one"
	restore_and_check three
}

@test "queue-timeout: the source does not wait for ever, or not at all, and runs on" {
	start_server --max-memory 150M
	dump_in_background one --size 100
	wait "$DUMP"
	SESSION=two
	start_victim --name two --size 100
	CRIU_MULTIFD_QUEUE_TIMEOUT=2s run -1 dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.two"
	grep -q 'the target had no memory for the session within 2000 ms (queue-timeout): .*are needed' "$SCRATCH/img.two/dump.log"
	eventually 5 of_is two state aborted
	[[ $(of two error) == *'would not wait for memory any longer'* ]] || fail "$(of two error)"
	CRIU_MULTIFD_QUEUE_TIMEOUT=0 run -1 dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.two.2"
	grep -q 'session two needs .* of memory here, .* of the limit of 150.0 MiB are free' \
		"$SCRATCH/img.two.2/dump.log"
	run -5 on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" --session two \
		--queue-timeout 1s
	[[ $output == *'waiting for memory on the target'*'it runs on here: the target had no memory'* ]] || fail "$output"
	assert_not_frozen "$VICTIM_PID"
	verify_victim
	SESSION=one
	restore_and_check one
}

@test "what ended sessions have left counts, and no source waits for that" {
	mkdir -p -m 700 "$SCRATCH/sessions/old"
	head -c 100M /dev/zero >"$SCRATCH/sessions/old/pages-1.img"
	start_server --max-memory 150M
	eventually 10 memory_is ended $((100 << 20)) # a server looks when it starts, then seldom
	start_victim --size 100
	run -1 dump_with_plugin "$VICTIM_PID" "$SCRATCH/img"
	grep -q 'are free (criu-multifd serve --max-memory; images of ended sessions hold 100.0 MiB)' "$SCRATCH/img/dump.log"
	assert_not_frozen "$VICTIM_PID"
	rm -r "$SERVER_DIR/old"
	SESSION=two
	dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.two"
	VICTIM_DIR=$SCRATCH/victim wait_session two committed
}

@test "migrate: waiting is shown, and Ctrl-C in the queue ends it at once" {
	start_server --max-memory 150M
	dump_in_background one --size 100
	wait "$DUMP"
	start_victim --name two --size 100
	start migrate on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" --session two --json
	local migrate=$STARTED_PID rc=0
	eventually 10 grep -q '"phase":"queued"' "$SCRATCH/migrate.out"
	kill -INT "$(pgrep -f "^$MFD migrate -t $VICTIM_PID ")"
	wait "$migrate" || rc=$?
	[ "$rc" = 130 ]
	[ "$(tail -n 1 "$SCRATCH/migrate.out" | jq -r .result)" = aborted ]
	eventually 5 of_is two state aborted
	eventually 5 memory_is waiting 0
	assert_not_frozen "$VICTIM_PID"
	verify_victim
}

@test "a worker that dies and a server that is started again know what is taken" {
	start_server --max-memory 150M
	dump_in_background one --size 100
	wait "$DUMP"
	eventually 5 memory_is sessions 1
	kill -KILL "$(worker)"
	eventually 5 grep -q 'one: reloaded' "$SCRATCH/server.err"
	eventually 5 memory_is sessions 1
	[ "$(memory promised)" -ge $((100 << 20)) ]
	dump_in_background two --size 100
	eventually 10 is_queued two
	# The one that waits hears of the end, and runs on.
	kill "$SERVER_PID"
	wait "$SERVER_PID"
	! wait "$DUMP" || fail 'moved to a server that ends'
	assert_not_frozen "$VICTIM_PID"
	[ "$(memory limit)" = null ]
	SERVER_NAME=again start_server --max-memory 150M
	dump_in_background three --size 100
	eventually 10 is_queued three
	[ "$(memory promised)" -ge $((100 << 20)) ]
	SESSION=one restore_and_check one
	wait "$DUMP"
	restore_and_check three
}

@test "what is not a size is refused, and so is one that nothing fits in" {
	run -64 "$MFD" serve --dir "$SCRATCH/s" --max-memory 3X
	[[ $output == *'max-memory'*'expected bytes, as 800M or 64G'* ]]
	run -64 "$MFD" serve --dir "$SCRATCH/s" --max-memory 1M
	[[ $output == *'at least 16M'* ]]
}
