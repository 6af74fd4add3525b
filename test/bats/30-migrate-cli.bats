#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2046,SC2153,SC2209  # lists of pids; scripts that are written; variables of helpers.bash
# SPDX-License-Identifier: GPL-2.0-only
# `criu-multifd migrate`, `serve --restore` and `resolve`: one command moves it, and its exit code can be trusted: whatever happens
# there is exactly one running copy, on this side or on that.

bats_require_minimum_version 1.5.0
load helpers
load moves

setup()
{
	scratch_up
	need_root
	need_criu
	SESSION=test
	hosts_up
	export TMPDIR=$SCRATCH
}

# migrate [FLAGS]: the victim to the server, as session $SESSION.
migrate()
{
	on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" --session "$SESSION" "$@"
}

# fails CODE TEXT COMMAND...: that exit code, and one line that says so.
fails()
{
	local code=$1 text=$2

	shift 2
	run "-$code" "$@"
	echo "$output"
	[[ $output == *"$text"* ]]
}

has_state()
{
	[ "$(status_json state)" = "$1" ]
}

# Everything on host b that is neither the server nor the warden of what was restored: pids.
strangers()
{
	local pid exe

	for pid in $(ip netns pids "$NS_B"); do
		exe=$(readlink "/proc/$pid/exe") || continue
		is_dead "$pid" || [ "$exe" = "$(realpath "$MFD")" ] || echo "$pid"
	done
}

# ours_in NETNS VERB: pids of criu-multifd VERB there.
ours_in()
{
	local pid

	for pid in $(ip netns pids "$1"); do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) == *"criu-multifd $2 "* ]] && echo "$pid"
	done
	return 0
}

copies_there()
{
	local pid n=0

	for pid in $(strangers); do
		[[ $(readlink "/proc/$pid/exe") == *victim* ]] && [[ $(state_of "$pid") != [Tt] ]] && n=$((n + 1))
	done
	echo "$n"
}

copies_here()
{
	if is_dead "$VICTIM_PID" || [[ $(state_of "$VICTIM_PID") == [Tt] ]]; then echo 0; else echo 1; fi
}

one_here()
{
	[ "$(copies_here) $(copies_there)" = '1 0' ]
}

one_there()
{
	[ "$(copies_here) $(copies_there)" = '0 1' ]
}

nobody_there()
{
	[ -z "$(strangers)" ]
}

# A victim of one process: it runs there, with every byte, and is gone here.
runs_there()
{
	eventually 5 one_there || fail "running here $(copies_here), there $(copies_there)"
	verify_victim
}

runs_here()
{
	eventually 5 one_here || fail "running here $(copies_here), there $(copies_there)"
	assert_not_frozen "$VICTIM_PID"
	verify_victim
	assert_target_clean
}

no_folders_left()
{
	[ -z "$(find "$SCRATCH" -maxdepth 1 -name 'criu-multifd.*')" ]
}

# valid_json FILE: one object per line, the last one the summary with all its fields.
valid_json()
{
	local key

	jq -es 'all(type == "object" and has("event"))' "$1" >/dev/null
	[ "$(tail -n 1 "$1" | jq -r .event)" = summary ]
	for key in session result channels pages zero_pages bytes_memory bytes_wire total_ms frozen_ms downtime_ms stream_ms gbit_per_s \
		zerocopy_sent zerocopy_copied error; do
		tail -n 1 "$1" | jq -e "has(\"$key\")" >/dev/null || fail "the summary has no $key"
	done
}

# ---- it moves --------------------------------------------------------------------------------------------------

@test "migrate, safe: released when everything is there; the restore is a person's" {
	start_server
	start_victim --size 64
	run -0 migrate
	[[ $output == *"moved to $SERVER_ADDR as session test"* ]]
	assert_gone "$VICTIM_PID"
	wait_session test committed
	restore_lazily "$SERVER_DIR/test"
	moved_well
	no_folders_left
}

@test "migrate, postcopy: waits for the restore" {
	start_server
	start_victim --size 64
	start migrate migrate --mode postcopy
	local pid=$STARTED_PID
	wait_session test ready
	restore_lazily "$SERVER_DIR/test"
	wait "$pid"
	moved_well
}

@test "migrate --restore, safe: runs there, gone here, with a downtime" {
	start_server --restore
	start_victim --size 64
	migrate --restore --json >"$SCRATCH/json"
	runs_there
	valid_json "$SCRATCH/json"
	wait_session test 'done'
	tail -n 1 "$SCRATCH/json" | jq -e '.result == "released" and .downtime_ms > 0 and .downtime_ms < 30000 and .error == null and
		.stream_ms > 0 and .stream_ms <= .frozen_ms'
	tail -n 1 "$SCRATCH/json" | jq -e '.pages >= 16384 and .bytes_memory >= 67108864 and .session == "test"'
	no_folders_left
}

@test "migrate --restore, postcopy: runs there, gone here, with a downtime" {
	start_server --restore
	start_victim --size 64
	migrate --restore --mode postcopy --json >"$SCRATCH/json"
	runs_there
	valid_json "$SCRATCH/json"
	wait_session test 'done'
	tail -n 1 "$SCRATCH/json" | jq -e '.result == "released" and .downtime_ms > 0 and .mode == "postcopy"'
}

@test "migrate --restore: a tree with threads and copy-on-write memory, both modes" {
	local mode
	start_server --restore
	for mode in safe postcopy; do
		SESSION=$mode
		start_victim --name "v$mode" --size 32 --tree 3 --depth 2 --threads 4
		migrate --restore --mode "$mode"
		assert_gone "$VICTIM_PID"
		wait_session "$mode" 'done'
		verify_victim
	done
}

@test "migrate --restore: twice the same process, there and back" {
	start_server --restore
	start_victim --size 16
	migrate --restore
	runs_there
	wait_session test 'done'
	local init
	init=$(status_json restored_pid)
	SESSION=back fails 4 'only the namespace as a whole can move' on_a "$MFD" migrate -t "$init" --to "$SERVER_ADDR"
}

# KiB that a process has in huge pages.
huge_of()
{
	awk '$1 == "AnonHugePages:" { print $2 }' "/proc/$1/smaps_rollup"
}

huge_there()
{
	huge_of "$(status_json restored_pid)"
}

@test "migrate --restore: huge pages are huge pages at once" {
	local before

	grep -q -v '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled || skip 'kernel lacks transparent huge pages, or may give none'
	start_server --restore
	start_victim --size 64 --huge
	before=$(huge_of "$VICTIM_PID")
	[ "$before" -ge $((48 * 1024)) ]
	# What comes when CRIU has ended: with all of it at once there would be little.
	migrate --restore --max-bandwidth 2Gbit
	wait_session test 'done'
	[ "$(huge_there)" -ge $((before / 2)) ] || fail "$(huge_there) KiB of $before"
	runs_there
	verify_victim
}

@test "migrate --restore: serve --huge-pages off" {
	start_server --restore --huge-pages off
	start_victim --size 64 --huge
	migrate --restore --max-bandwidth 2Gbit
	wait_session test 'done'
	[ "$(huge_there)" -le 2048 ] || fail "$(huge_there) KiB"
	verify_victim
}

@test "migrate --restore: the tasks outlive the server" {
	start_server --restore --once
	start_victim --size 16
	migrate --restore
	wait_session test 'done'
	wait "$SERVER_PID"
	runs_there
}

@test "migrate --restore: a task that was stopped stays stopped, the warden ends with the tasks" {
	start_server --restore
	start_victim --size 8
	kill -STOP "$VICTIM_PID"
	migrate --restore
	assert_gone "$VICTIM_PID"
	local pid warden
	pid=$(strangers)
	[ "$(state_of "$pid")" = T ]
	warden=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
	kill -CONT "$pid"
	runs_there
	wait_session test 'done'
	kill -KILL "$pid"
	assert_gone "$warden"
}

@test "migrate --restore: the server's pid and network namespaces" {
	start_server --restore --pid-namespace host --network-namespace "$NS_A"
	start_victim --size 8
	# The same pid cannot be had twice in one namespace: the restore fails, the source runs on.
	fails 1 'criu restore failed' migrate --restore
	[ "$(copies_here)" = 1 ]
	verify_victim
	kill "$SERVER_PID"
	wait "$SERVER_PID" || true
	SERVER_NAME=second start_server --restore --network-namespace "$NS_A"
	migrate --restore
	assert_gone "$VICTIM_PID"
	wait_session test 'done'
	[ "$(copies_there)" = 0 ]
	verify_victim
}

@test "migrate --restore: options for criu dump reach the restore" {
	start_server --restore
	start_victim --size 8
	migrate --restore -- --shell-job --file-locks --manage-cgroups=ignore --network-lock skip
	runs_there
	tr '\0' ' ' <"$SERVER_DIR/test/restore.log" | grep -q . # the server kept it
}

@test "migrate: flags win over environment and file" {
	start_server
	start_victim --size 8
	printf 'channels = 7\npacket-size = 64k\n' >"$SCRATCH/conf"
	CRIU_MULTIFD_CONFIG=$SCRATCH/conf CRIU_MULTIFD_CHANNELS=5 migrate --channels 2 --json >"$SCRATCH/json"
	[ "$(tail -n 1 "$SCRATCH/json" | jq .channels)" = 2 ]
	valid_json "$SCRATCH/json"
}

@test "migrate --images-dir: kept, logs and all" {
	start_server
	start_victim --size 8
	migrate -D "$SCRATCH/images" >"$SCRATCH/out" 2>"$SCRATCH/err"
	[ -s "$SCRATCH/images/dump.log" ] && [ -s "$SCRATCH/images/inventory.img" ] && [ -s "$SCRATCH/images/multifd-send.json" ]
	[ ! -e "$SCRATCH/images/.progress" ]
	grep -q released "$SCRATCH/err"
	run ! grep -q $'\r' "$SCRATCH/err"
}

@test "migrate: on a terminal one line is redrawn" {
	command -v script >/dev/null || skip 'no script(1)'
	start_server
	start_victim --size 64
	export SERVER_ADDR VICTIM_PID
	script -qec "nsenter --net=/run/netns/$NS_A $MFD migrate -t $VICTIM_PID --to $SERVER_ADDR --session test" "$SCRATCH/tty" \
		>/dev/null
	grep -q $'\r' "$SCRATCH/tty"
	grep -q '\[####################\] 100%' "$SCRATCH/tty"
}

# ---- bad input: one line, a code, nothing changed --------------------------------------------------------------

@test "bad input here: nothing is begun" {
	local kernel
	start_victim --size 4
	SERVER_ADDR=127.0.0.1:1
	VICTIM_PID=4194300 fails 4 'there is no process 4194300' migrate
	kernel=$(pgrep -P 2 | head -n 1)
	[ -z "$kernel" ] || VICTIM_PID=$kernel fails 4 'is a thread of the kernel' migrate
	VICTIM_PID=$$ fails 4 'is this program or one of its ancestors' migrate
	sleep 0 &
	local zombie=$!
	eventually 5 is_dead "$zombie"
	if [ -e "/proc/$zombie" ]; then VICTIM_PID=$zombie fails 4 'has ended already' migrate; fi
	unshare -p -f --kill-child bash -c 'sleep 60 & wait' &
	register pid $!
	local inner
	eventually 5 pgrep -P "$(pgrep -P $!)"
	inner=$(pgrep -P "$(pgrep -P $!)")
	VICTIM_PID=$inner fails 4 'only the namespace as a whole can move' migrate
	CRIU=/bin/true fails 4 'CRIU=/bin/true' migrate
	printf '#!/bin/sh\necho Version: 3.17.1\n' >"$SCRATCH/old"
	chmod +x "$SCRATCH/old"
	CRIU=$SCRATCH/old fails 4 '3.17.1; 4.1.1 or later is needed' migrate
	cp "$MFD" "$SCRATCH/lonely"
	MFD=$SCRATCH/lonely fails 4 'multifd_plugin.so is neither' migrate
	fails 4 '--images-dir' migrate --images-dir /proc/nothing/there
	assert_not_frozen "$VICTIM_PID"
	no_folders_left
}

@test "bad input: a thread, and somebody who is not root" {
	start_victim --size 4 --threads 2
	local tid
	tid=$(basename "$(find "/proc/$VICTIM_PID/task" -mindepth 1 -maxdepth 1 ! -name "$VICTIM_PID" | head -n 1)")
	VICTIM_PID=$tid fails 4 'is a thread of process' on_a "$MFD" migrate -t "$tid" --to 127.0.0.1:1
	command -v setpriv >/dev/null || skip 'no setpriv'
	chmod 755 "$SCRATCH"
	fails 4 'must be run as root' setpriv --reuid 65534 --clear-groups "$MFD" migrate -t "$VICTIM_PID" --to 127.0.0.1:1
}

@test "bad input: usage and configuration are code 64" {
	start_victim --size 4
	SERVER_ADDR=127.0.0.1:1
	fails 64 '-t PID is missing' "$MFD" migrate --to 127.0.0.1:1
	fails 64 "'x' is not the number of a process" "$MFD" migrate -t x --to 127.0.0.1:1
	fails 64 '--to ADDR:PORT is missing' "$MFD" migrate -t "$VICTIM_PID"
	fails 64 'HOST:PORT' "$MFD" migrate -t "$VICTIM_PID" --to nonsense
	fails 64 '--channels' migrate --channels 65
	fails 64 "unknown flag '--chanels'" migrate --chanels 4
	CRIU_MULTIFD_MODE=fast fails 64 'CRIU_MULTIFD_MODE' migrate
	fails 64 'given by migrate itself' migrate -- --images-dir /tmp
	fails 64 'would leave the tasks here' migrate -- -R
	fails 64 'would leave the tasks here' migrate -- --leave-stopped
	assert_not_frozen "$VICTIM_PID"
}

@test "bad input: a target that cannot be used is code 5, and nothing was frozen" {
	start_server
	start_victim --size 4
	SERVER_ADDR=$ADDR_B:9 fails 5 'Connection refused' migrate
	SERVER_ADDR=no-such-host.invalid:9 fails 5 'no-such-host.invalid' migrate
	fails 5 'this server does not restore by itself' migrate --restore
	CRIU_MULTIFD_RESTORE_OPTION=pre-exec fails 5 "'pre-exec' is not one that a source may ask for" migrate
	CRIU_MULTIFD_RESTORE_OPTION=network-lock=/bin/sh fails 5 'network-lock' migrate
	assert_not_frozen "$VICTIM_PID"
	no_folders_left
	run ! grep -r 'Seized task' "$SCRATCH" --include=dump.log
}

# fake_server VERSION: answers every control connection as a server of that version would.
fake_server()
{
	python3 - "$ADDR_B" "$1" <<-'END'
		import socket, struct, sys
		s = socket.socket()
		s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		s.bind((sys.argv[1], 7))
		s.listen()
		print("up", flush=True)
		while True:
		    c, _ = s.accept()
		    c.recv(64)
		    why = b"this server speaks version %s, the source version 1" % sys.argv[2].encode()
		    body = b"\x0a" + bytes([len(why)]) + why + b"\x10" + (2**64 - 93).to_bytes(8, "little")[:0] + b"\xa3\xff\xff\xff\xff\xff\xff\xff\xff\x01"
		    c.sendall(struct.pack("<IHHI", 0x4d43464d, 15, 0, len(body)) + body)
		    c.recv(4096)
		    c.close()
	END
}

@test "bad input: a target of another version says which" {
	local version
	command -v python3 >/dev/null || skip 'no python3'
	start_victim --size 4
	for version in 0 2; do
		start "fake$version" nsenter --net=/run/netns/"$NS_B" -- bash -c "$(declare -f fake_server); ADDR_B=$ADDR_B fake_server $version"
		eventually 5 grep -q up "$SCRATCH/fake$version.out"
		SERVER_ADDR=$ADDR_B:7 fails 5 "this server speaks version $version, the source version 1" migrate
		kill $(ip netns pids "$NS_B")
	done
	assert_not_frozen "$VICTIM_PID"
}

@test "bad input: criu's own complaint is told, its logs stay" {
	start_server
	start_victim --size 4
	fails 1 "unrecognized option '--bogus'" migrate -- --bogus
	[[ $output == *'the logs are in '* ]]
	runs_here
}

@test "serve: what restoring needs is looked for at the start" {
	fails 1 'without --restore nothing is restored' timeout 10 "$MFD" serve --listen 127.0.0.1:0 --dir "$SCRATCH/d" \
		--restore-option=--tcp-close
	fails 1 '--network-namespace nowhere' timeout 10 "$MFD" serve --listen 127.0.0.1:0 --dir "$SCRATCH/d" --restore \
		--network-namespace nowhere
	CRIU=/bin/true fails 1 'CRIU=/bin/true' timeout 10 "$MFD" serve --listen 127.0.0.1:0 --dir "$SCRATCH/d" --restore
}

# ---- interruptions: exactly one running copy, always -----------------------------------------------------------

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
	# Longer than the pages take, beside which it runs: there is a phase in which nothing else is missing.
	CRIU=$(slow_restore 1.5) start_server --restore
	for phase in start connecting freezing streaming verifying restoring releasing; do
		for sig in INT TERM; do
			SESSION=$phase-$sig
			start_victim --name "$SESSION" --size 256
			rc=0
			interrupt $sig $phase --restore
			wait "$INTERRUPTED" || rc=$?
			echo "$SESSION: exit $rc, $(tail -n 1 "$SCRATCH/migrate.out" | jq -c '[.result, .error]')"
			# Before the program has read its command line a signal ends it as any other.
			if [ "$phase" = start ] && [ "$rc" -gt 128 ]; then
				[ ! -s "$SCRATCH/migrate.out" ]
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
				eventually 5 nobody_there
			else
				[ "$rc" = 1 ]
				eventually 5 one_here
				verify_victim
				eventually 5 test ! -e "$SERVER_DIR/$SESSION"
				nobody_there
				stop_victim
			fi
		done
	done
}

@test "Ctrl-C while pages stream: aborted, and quickly" {
	start_server --restore
	start_victim --size 1024
	local rc=0
	interrupt INT streaming --restore --channels 1 --checksum on
	wait "$INTERRUPTED" || rc=$?
	[ "$rc" = 1 ]
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
	[ "$rc" = 1 ]
	runs_here
}

@test "Ctrl-C in postcopy when the tasks run on the target: too late, and said so" {
	local rc=0
	start_server --restore
	start_victim --size 64
	nsenter --net=/run/netns/"$NS_A" tc qdisc add dev eth0 root tbf rate 200mbit burst 64kb latency 1s
	start migrate migrate --restore --mode postcopy
	MIGRATING=$STARTED_PID
	eventually 20 has_state running
	eventually 5 migrate_pid
	kill -INT "$MIGRATE_PID"
	wait "$MIGRATING"
	grep -q 'cannot be aborted any more: too late' "$SCRATCH/migrate.err"
	runs_there
}

@test "migrate --timeout: code 2, the source runs on" {
	CRIU=$(slow_restore 10) start_server --restore
	start_victim --size 16
	fails 2 'the time was up' migrate --restore --timeout 1
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
	start_server --restore --restore-option=--bogus
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
	printf '#!/bin/sh\n[ "$1" != restore ] || kill -9 $$\nexec %s "$@"\n' "$CRIU" >"$SCRATCH/dying"
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
	# It tries to tell a target that may hold everything for a minute; the tasks run on from the beginning of that.
	eventually 10 one_here
	verify_victim
	kill -KILL $(ours_in "$NS_A" send) || true
	wait "$pid" || rc=$?
	[ "$rc" = 1 ]
	one_here
}

# ---- resolve ---------------------------------------------------------------------------------------------------

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
	fails 1 'no session nobody' "$MFD" resolve --dir "$SERVER_DIR" nobody --discard
	start_victim --size 4
	migrate
	fails 1 'not in doubt' "$MFD" resolve --dir "$SERVER_DIR" test --run
}

# ready_unrestored [FLAGS OF THE SERVER]: the session is verified there, and its restore waits until $SCRATCH/go-on exists.
ready_unrestored()
{
	cat >"$SCRATCH/waiting" <<-END
		#!/bin/sh
		[ "\$1" = restore ] || exec $CRIU "\$@"
		touch $SCRATCH/about-to
		while [ ! -e $SCRATCH/go-on ]; do sleep 0.01; done
		exec $CRIU "\$@"
	END
	chmod +x "$SCRATCH/waiting"
	CRIU=$SCRATCH/waiting start_server --restore --stall-timeout 1000 "$@"
	start_victim --size 16
	start migrate migrate --restore
	MIGRATING=$STARTED_PID
	eventually 20 test -e "$SCRATCH/about-to" || return 1
	eventually 20 has_state ready
}

# in_doubt_restored [FLAGS OF THE SERVER]: the session is restored there, stopped, and its source stands still: it has not heard of that.
in_doubt_restored()
{
	ready_unrestored "$@" || return 1
	kill -STOP $(ours_in "$NS_A" send)
	touch "$SCRATCH/go-on"
	eventually 20 has_state restored || return 1
	eventually 20 in_doubt
}

in_doubt()
{
	[ "$(status_json in_doubt)" = true ]
}

@test "RESTORED and then silence: stopped and in doubt there; resolve --discard kills it, the source runs on" {
	local rc=0
	in_doubt_restored
	[[ $("$MFD" status --dir "$SERVER_DIR") == *'IN DOUBT: restored and stopped'* ]]
	[ "$(copies_there)" = 0 ]
	[ -n "$(strangers)" ]
	"$MFD" resolve --dir "$SERVER_DIR" test --discard
	eventually 5 nobody_there
	kill -CONT $(ours_in "$NS_A" send)
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	runs_here
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

# kill_worker: the server's; its supervisor starts another.
kill_worker()
{
	kill_worker_now
	eventually 10 grep -q 'reloaded, READY, in doubt' "$SCRATCH/server.err"
}

kill_worker_now()
{
	local pid

	for pid in $(pgrep -P "$SERVER_PID"); do
		# The supervisor's other child, which keeps descriptors, has one thread.
		[ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] || kill -KILL "$pid"
	done
}

restored_once()
{
	[ "$(cat "$SCRATCH"/*.err | grep -c 'test: restoring')" = "${1:-1}" ]
}

source_host_dies()
{
	local pid

	for pid in $(ip netns pids "$NS_A"); do kill -KILL "$pid"; done
	assert_gone "$VICTIM_PID"
}

resolved_runs_there()
{
	"$MFD" resolve --dir "$SERVER_DIR" test --run
	runs_there
	wait_session test 'done'
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
	eventually 5 nobody_there
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
	eventually 5 nobody_there
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
	eventually 5 nobody_there
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
	eventually 5 nobody_there
	source_host_dies
	resolved_runs_there
	restored_once 2
}

@test "RESTORED, durable, and the server ends in good order: kept, and restored again by the next one" {
	in_doubt_restored --durable
	kill "$SERVER_PID"
	wait "$SERVER_PID" || true
	eventually 5 nobody_there
	source_host_dies
	SERVER_NAME=second start_server --restore
	[ "$(status_json in_doubt)" = true ]
	resolved_runs_there
}

# early_restored: a safe session on a slow link is restored and stopped while its pages still come.
early_restored()
{
	start_server --restore --stall-timeout 1000
	start_victim --size 256
	start migrate migrate --restore --stall-timeout 1s --max-bandwidth 1Gbit
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
	"$MFD" status --dir "$SERVER_DIR" test --json | jq -e '(.timeline | map({(.phase): .ms}) | add) as $t | $t.restored < $t.sent and
		(.timeline | map(.ms) | . == sort) and .pager.direct_pages > 1000 and .urgent != null'
	restored_once
	no_folders_left
}

@test "safe: the network is cut while pages come into stopped tasks: they are killed, the source runs on" {
	local rc=0
	early_restored
	ip -n "$NS_A" link set eth0 down
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	ip -n "$NS_A" link set eth0 up
	eventually 5 nobody_there
	runs_here
}

@test "safe: the worker dies while pages come into stopped tasks: they are killed, the source runs on" {
	local rc=0
	early_restored
	kill_worker_now
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	eventually 5 nobody_there
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
	eventually 5 nobody_there
	runs_here
}

@test "safe: abort by a person while pages come into stopped tasks: they are killed, the source runs on" {
	local rc=0
	early_restored
	"$MFD" abort --dir "$SERVER_DIR" test
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	eventually 5 nobody_there
	runs_here
}

# Whoever it was that died: it runs on one side, with every byte, and nothing is left on the other.
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
	eventually 5 nobody_there
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
		eventually 5 nobody_there
	done
}

# postcopy_cut: the restored tasks run, pages are missing, the network is gone. Sets IMG.
postcopy_cut()
{
	IMG=$SCRATCH/images
	start_server --restore --stall-timeout 1000
	start_victim --size 256
	# Two seconds for all of it: it can be cut in the middle.
	start migrate migrate --restore --mode postcopy --stall-timeout 1s --channels 1 --max-bandwidth 1Gbit -D "$IMG"
	MIGRATING=$STARTED_PID
	eventually 20 has_state running
	ip -n "$NS_A" link set eth0 down
	eventually 20 grep -q 'until it is back' "$IMG/multifd-send.log"
}

@test "postcopy cut for good: resolve --source --run, after --discard on the target" {
	postcopy_cut
	[ "$(copies_here)" = 0 ]
	eventually 20 in_doubt
	"$MFD" resolve --dir "$SERVER_DIR" test --discard
	eventually 5 nobody_there
	"$MFD" resolve --source "$IMG" --run
	eventually 10 one_here
	verify_victim
	ip -n "$NS_A" link set eth0 up
	local rc=0
	wait "$MIGRATING" || rc=$?
	[ "$rc" = 1 ]
	one_here
}
