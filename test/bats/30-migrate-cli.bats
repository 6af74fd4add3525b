#!/usr/bin/env bats
# Lists of pids; scripts that are written; variables of helpers.bash.
# shellcheck disable=SC2016,SC2046,SC2153,SC2209
# SPDX-License-Identifier: GPL-2.0-only
# `criu-multifd migrate` and `serve --restore`: one command moves it; input that is wrong is refused
# in one line, and nothing is begun.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
}

@test "migrate, safe: released when everything is there; the restore is a person's" {
	start_server
	start_victim --size 64
	run -0 migrate
	[[ $output == *"is complete on $SERVER_ADDR as session test"* ]]
	[[ $output == *'it runs nowhere yet; to run it, there: criu-multifd restore'* ]]
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

# bats test_tags=tls
@test "migrate --restore, safe: runs there, gone here, with a downtime" {
	start_server --restore
	start_victim --size 64
	migrate --restore --json >"$SCRATCH/json"
	runs_there
	valid_json "$SCRATCH/json"
	wait_session test 'done'
	tail -n 1 "$SCRATCH/json" | jq -e '.result == "released" and .downtime_ms > 0
		and .downtime_ms < 30000 and .error == null and
		.stream_ms > 0 and .stream_ms <= .frozen_ms'
	tail -n 1 "$SCRATCH/json" |
		jq -e '.pages >= 16384 and .bytes_memory >= 67108864 and .session == "test"'
	no_folders_left
}

# bats test_tags=tls
@test "migrate --restore, postcopy: runs there, gone here, with a downtime" {
	start_server --restore
	start_victim --size 64
	migrate --restore --mode postcopy --json >"$SCRATCH/json"
	runs_there
	valid_json "$SCRATCH/json"
	wait_session test 'done'
	tail -n 1 "$SCRATCH/json" |
		jq -e '.result == "released" and .downtime_ms > 0 and .mode == "postcopy"'
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
	SESSION=back fails 4 'only the namespace as a whole can move' on_a "$MFD" migrate \
		-t "$init" --to "$SERVER_ADDR"
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

	grep -q -v '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled ||
		skip 'kernel lacks transparent huge pages, or may give none'
	start_server --restore
	start_victim --size 64 --huge
	before=$(huge_of "$VICTIM_PID")
	[ "$before" -ge $((48 * 1024)) ]
	# What comes when CRIU has ended: with all of it at once there would be little.
	migrate --restore --max-bandwidth 300Mbit
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
	[[ $output == *"needs on the target: number $VICTIM_PID"*'--pid-namespace own'* ]]
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
	CRIU_MULTIFD_CONFIG=$SCRATCH/conf CRIU_MULTIFD_CHANNELS=5 migrate --channels 2 \
		--json >"$SCRATCH/json"
	[ "$(tail -n 1 "$SCRATCH/json" | jq .channels)" = 2 ]
	valid_json "$SCRATCH/json"
}

@test "migrate --images-dir: kept, logs and all" {
	start_server
	start_victim --size 8
	migrate -D "$SCRATCH/images" >"$SCRATCH/out" 2>"$SCRATCH/err"
	[ -s "$SCRATCH/images/dump.log" ] && [ -s "$SCRATCH/images/inventory.img" ] &&
		[ -s "$SCRATCH/images/multifd-send.json" ]
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

# ---- bad input: one line, a code, nothing changed ------------------------------------------------

@test "bad input here: nothing is begun" {
	local kernel
	start_victim --size 4
	SERVER_ADDR=127.0.0.1:1
	VICTIM_PID=4194300 fails 4 'there is no process 4194300' migrate
	kernel=$(pgrep -P 2 | head -n 1)
	[ -z "$kernel" ] || VICTIM_PID=$kernel fails 4 'is a thread of the kernel' migrate
	VICTIM_PID=$$ fails 4 'is this program or one of its ancestors' migrate
	fails 4 'the process that was meant has ended' migrate --tree-start 1
	fails 64 "'x' is not a number of clock ticks" migrate --tree-start x
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

# The hierarchy of version 2, mounted for this test; and a group in it, frozen, with the victim.
frozen_group()
{
	local v2=/sys/fs/cgroup group

	[ -e $v2/cgroup.controllers ] || v2=/sys/fs/cgroup/unified
	[ -e $v2/cgroup.controllers ] || skip 'kernel lacks a mounted cgroup v2'
	group=$v2/mfd-${SCRATCH##*.}
	mkdir "$group"
	register undo rmdir "$group"
	register undo sh -c "echo 0 >$group/cgroup.freeze; sleep 0.2"
	echo "$VICTIM_PID" >"$group/cgroup.procs"
	echo 1 >"$group/cgroup.freeze"
	FROZEN=$group
}

@test "bad input: a process that its control group has frozen" {
	start_victim --size 1
	SERVER_ADDR=127.0.0.1:1
	frozen_group
	fails 4 "is frozen by its control group $FROZEN" migrate
	echo 0 >"$FROZEN/cgroup.freeze"
	assert_not_frozen "$VICTIM_PID"
}

@test "bad input: a thread, and a user that is not root" {
	start_victim --size 4 --threads 2
	local tid
	tid=$(basename "$(find "/proc/$VICTIM_PID/task" -mindepth 1 -maxdepth 1 ! \
		-name "$VICTIM_PID" | head -n 1)")
	VICTIM_PID=$tid fails 4 'is a thread of process' on_a "$MFD" migrate -t "$tid" \
		--to 127.0.0.1:1
	command -v setpriv >/dev/null || skip 'no setpriv'
	chmod 755 "$SCRATCH"
	fails 4 'must be run as root' setpriv --reuid 65534 --clear-groups "$MFD" migrate \
		-t "$VICTIM_PID" --to 127.0.0.1:1
}

@test "bad input: usage and configuration are code 64" {
	start_victim --size 4
	SERVER_ADDR=127.0.0.1:1
	fails 64 '-t PID is missing' "$MFD" migrate --to 127.0.0.1:1
	fails 64 "'x' is not the number of a process" "$MFD" migrate -t x --to 127.0.0.1:1
	fails 64 '--to ADDR:PORT is missing' "$MFD" migrate -t "$VICTIM_PID"
	fails 64 "migrate: --to: bad value 'nonsense'" "$MFD" migrate -t "$VICTIM_PID" --to nonsense
	fails 64 'from 1 to 65535' "$MFD" migrate -t "$VICTIM_PID" --to 127.0.0.1:99999
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
	CRIU_MULTIFD_RESTORE_OPTION=pre-exec fails 5 \
		"'pre-exec' is not one that a source may ask for" migrate
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
		    why = b"this server speaks version %s, the source version 1"
		    why %= sys.argv[2].encode()
		    body = b"\x0a" + bytes([len(why)]) + why
		    body += b"\x10\xa3\xff\xff\xff\xff\xff\xff\xff\xff\x01"
		    c.sendall(struct.pack("<IHHI", 0x4d43464d, 15, 0, len(body)) + body)
		    c.recv(4096)
		    c.close()
	END
}

port_is_free()
{
	[ -z "$(ip netns pids "$NS_B")" ]
}

@test "bad input: a target of another version says which" {
	local version
	command -v python3 >/dev/null || skip 'no python3'
	start_victim --size 4
	for version in 0 2; do
		start "fake$version" nsenter --net=/run/netns/"$NS_B" -- bash \
			-c "$(declare -f fake_server); ADDR_B=$ADDR_B fake_server $version"
		eventually 20 grep -q up "$SCRATCH/fake$version.out" ||
			fail "$(cat "$SCRATCH/fake$version.err")"
		# What is no server of ours has no certificate either.
		CRIU_MULTIFD_TLS_DIR=off SERVER_ADDR=$ADDR_B:7 fails 5 \
			"this server speaks version $version, the source version 1" migrate
		kill $(ip netns pids "$NS_B")
		eventually 5 port_is_free # for the next one
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

# answers PORT TEXT: on host b something listens there that says this to each that connects.
answers()
{
	SERVER_ADDR=$ADDR_B:$1
	start "other.$1" on_b python3 -c 'import socket, sys
s = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
while True:
	c = s.accept()[0]
	c.recv(64)
	c.sendall(sys.argv[2].encode())
	c.close()' "$1" "$2"
	eventually 10 grep -q up "$SCRATCH/other.$1.out"
}

@test "migrate: another tracer, as the criu of another migrate, is named" {
	start_server
	start_victim --size 4
	# shellcheck disable=SC2016  # python's own
	start tracer python3 -uc '
import ctypes, sys, time
ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0)  # PTRACE_SEIZE
print("traced", file=sys.stderr)
time.sleep(60)' "$VICTIM_PID"
	eventually 10 grep -q traced "$SCRATCH/tracer.err"
	fails 1 "criu cannot hold it, since process $STARTED_PID (python3) does" migrate --no-check
	[[ $output == *"process $VICTIM_PID was not moved, it runs on here"* ]]
	runs_here
}

@test "migrate: another service's port is said to be that" {
	start_victim --size 4
	answers 7 'SSH-2.0-OpenSSH_9.2p1 Debian'
	fails 5 "what listens on $SERVER_ADDR is no restore server of criu-multifd" migrate
	answers 8 ''
	fails 5 "$SERVER_ADDR has closed the connection without a word" migrate
	one_here
	assert_not_frozen "$VICTIM_PID"
}

@test "migrate: a full TMPDIR is an error that names it" {
	start_server
	start_victim --size 4
	mkdir "$SCRATCH/tmp"
	register undo umount -l "$SCRATCH/tmp"
	mount -t tmpfs -o size=16k,nr_inodes=8 none "$SCRATCH/tmp"
	dd if=/dev/zero of="$SCRATCH/tmp/fill" bs=4k count=4 2>/dev/null || :
	TMPDIR=$SCRATCH/tmp fails 4 "criu-multifd." migrate
	[[ $output == *'is full: 16.0 KiB in all, 0 B free'* ]]
	# Later, when criu writes its images.
	rm "$SCRATCH/tmp/fill"
	mount -o remount,size=32k,nr_inodes=1000 "$SCRATCH/tmp"
	run on_a env TMPDIR="$SCRATCH/tmp" "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR"
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *'is full: 32.0 KiB in all'* ]]
	runs_here
}

@test "serve: what restoring needs is looked for at the start" {
	fails 1 'without --restore nothing is restored' timeout 10 "$MFD" serve \
		--listen 127.0.0.1:0 --dir "$SCRATCH/d" \
		--restore-option=--tcp-close
	fails 1 '--network-namespace nowhere' timeout 10 "$MFD" serve --listen 127.0.0.1:0 \
		--dir "$SCRATCH/d" --restore \
		--network-namespace nowhere
	fails 1 "--restore-option: criu restore says: unrecognized option '--bogus'" timeout 10 \
		"$MFD" serve --listen 127.0.0.1:0 --dir "$SCRATCH/d" --restore \
		--restore-option=--bogus
	fails 1 '--restore-option: criu restore ' timeout 10 "$MFD" serve --listen 127.0.0.1:0 \
		--dir "$SCRATCH/d" --restore --restore-option=--tcp-close \
		--restore-option=tcp-established
	# But where sessions wait for it, it comes up.
	"$TOOLS/mksession" "$SCRATCH/old" s state=READY
	start old "$MFD" serve --listen 127.0.0.1:0 --dir "$SCRATCH/old" --restore \
		--restore-option=--bogus
	eventually 10 grep -q 'going on all the same, since there are sessions' "$SCRATCH/old.err"
	eventually 10 grep -q '^listening on' "$SCRATCH/old.err"
	kill "$STARTED_PID"
	CRIU=/bin/true fails 1 'CRIU=/bin/true' timeout 10 "$MFD" serve --listen 127.0.0.1:0 \
		--dir "$SCRATCH/d" --restore
}
