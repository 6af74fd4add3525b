#!/usr/bin/env bats
# Variables of helpers.bash; jq's programs.
# shellcheck disable=SC2016,SC2153
# SPDX-License-Identifier: GPL-2.0-only
# `criu-multifd check`, and what `migrate` does with it: each finding is true of the real CRIU, and
# what needs nothing has none. test/unit/test_check.c has the findings of each kind.

bats_require_minimum_version 1.5.0
load helpers
load migrate
load ../apps/apps

setup()
{
	migrate_setup
}

# hold KIND: a process of test/unit/holds.c on host a; sets VICTIM_PID.
hold()
{
	HOLD_DIR=$SCRATCH/hold.$1
	mkdir -p "$HOLD_DIR"
	start "hold.$1" ${NS_A:+nsenter --net=/run/netns/"$NS_A" --} "$TOOLS/holder" "$1" \
		"$HOLD_DIR"
	eventually 10 test -s "$HOLD_DIR/pid" || fail "no $1" || return 1
	VICTIM_PID=$(cat "$HOLD_DIR/pid")
	register pid "$VICTIM_PID"
}

# check_says FILTER [FLAGS]: of the findings of VICTIM_PID.
check_says()
{
	on_a "$MFD" check -t "$VICTIM_PID" --json "${@:2}" | jq -r "$1"
}

ids()
{
	check_says '[.findings[].id] | join(",")' "$@"
}

# dump_alone [CRIU OPTIONS]: CRIU by itself; the process runs on.
dump_alone()
{
	rm -rf "$SCRATCH/alone"
	mkdir "$SCRATCH/alone"
	on_a timeout 60 "$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/alone" -o dump.log -v1 \
		--leave-running "$@" </dev/null >"$SCRATCH/alone.out" 2>&1
}

@test "each option that check asks for is needed, and is enough" {
	local kind found options
	while read -r kind found; do
		case $found in
		tcp-established* | file-locks | shell-job | ghost-limit | link-remap | \
			ext-unix-sk) ;;
		*) continue ;;
		esac
		[ "$kind" != in-flight ] || continue # below
		hold "$kind"
		run -1 on_a "$MFD" check -t "$VICTIM_PID" --no-auto-options
		[[ $output == *"needs an option, --"* ]]
		read -ra options <<<"$(check_says '.options | join(" ")')"
		echo "$kind: ${options[*]}"
		! dump_alone || fail "$kind: moves without ${options[*]}"
		dump_alone "${options[@]}" || fail "$kind: does not move with ${options[*]}"
		run -0 on_a "$MFD" check -t "$VICTIM_PID" --no-auto-options -- "${options[@]}"
		run -0 on_a "$MFD" check -t "$VICTIM_PID"
		kill -KILL "$VICTIM_PID"
	done < <("$TOOLS/holder" --list)
}

@test "what cannot move cannot be dumped; migrate refuses it before anything is begun" {
	local kind found
	SERVER_ADDR=127.0.0.1:1
	while read -r kind found; do
		case $found in
		unmovable | socket-kind | mount-outside | sysv-ipc | nested-namespace) ;;
		*) continue ;;
		esac
		hold "$kind" || continue
		! dump_alone || fail "$kind: can be dumped"
		run -1 on_a "$MFD" check -t "$VICTIM_PID"
		[[ $output == *'cannot move'* ]]
		run -4 migrate
		[[ $output == *'--no-check'* ]]
		kill -KILL "$VICTIM_PID"
	done < <("$TOOLS/holder" --list)
	no_folders_left
}

@test "what has no finding is dumped as it is" {
	local kind found
	while read -r kind found; do
		[ -z "$found" ] || continue
		hold "$kind"
		dump_alone || fail "$kind: $(cat "$SCRATCH/alone/dump.log")"
		kill -KILL "$VICTIM_PID"
	done < <("$TOOLS/holder" --list)
}

@test "migrate adds the options, says so, and moves" {
	local kind option
	start_server --restore --pid-namespace own
	while read -r kind option; do
		hold "$kind"
		SESSION=$kind
		run -0 migrate --restore
		echo "$output"
		[[ $output == *"adds $option"* ]]
		assert_gone "$VICTIM_PID"
	done <<-'END'
	ghost --ghost-limit=2M
	journal --ext-unix-sk
	connected --tcp-established
	job --shell-job
	END
	# The copy would wait for a lock that its original holds: not with --restore on one machine.
	hold flock
	SESSION=flock
	run -0 migrate
	[[ $output == *'adds --file-locks'* ]]
	assert_gone "$VICTIM_PID"
	restore_lazily "$SERVER_DIR/flock" --file-locks
	grep -q 'FLOCK' "/proc/$RESTORED_PID/fdinfo/3"
}

@test "--no-auto-options and --no-check: nothing is added, and it runs on here" {
	start_server --restore
	hold ghost
	run -1 migrate --no-auto-options
	[[ $output == *'needs an option, --ghost-limit=2M'* ]]
	assert_running "$VICTIM_PID"
	run -1 migrate --no-check
	[[ $output != *ghost-limit=* ]]
	assert_running "$VICTIM_PID"
	# One that is too small is none, and a larger one is not made smaller.
	[ "$(check_says '.options[]' -- --ghost-limit 1M)" = --ghost-limit=2M ]
	[ "$(check_says '.options | length' -- --ghost-limit 5M)" = 0 ]
	[ "$(check_says '.options | length' -- --ghost-limit=5M)" = 0 ]
}

@test "connections that are not accepted yet: named, never cut unasked" {
	hold in-flight
	run -1 on_a "$MFD" check -t "$VICTIM_PID"
	[[ $output == *'--skip-in-flight: TCP connections'* ]]
	! dump_alone --tcp-established
	dump_alone --tcp-established --skip-in-flight
}

@test "check --json and its exit codes" {
	start_victim --size 8 --tree 2 --threads 2
	run -0 on_a "$MFD" check -t "$VICTIM_PID" --json
	jq -e '.moves and .findings == [] and .options == [] and .processes == 3
		and .bytes_memory > 8000000 and .standstill_ms > 0' <<<"$output"
	fails 4 'there is no process' "$MFD" check -t 999999999
	fails 64 '-t PID is missing' "$MFD" check
	fails 64 'no-such' "$MFD" check -t 1 --no-such
	CRIU=/nowhere fails 4 '/nowhere' on_a "$MFD" check -t "$VICTIM_PID"
}

@test "the victims of the other tests need nothing" {
	start_victim --size 32 --huge --map all:4 --threads 3 --zombie
	[ -z "$(ids)" ]
	start_victim --name tree --size 8 --tree 2 --depth 2
	[ -z "$(ids)" ]
}

# service NAME EXPECTED: what check finds of APP_PID; uids as a host sees them that may read limits.
service()
{
	local found

	VICTIM_PID=$APP_PID
	found=$(LD_PRELOAD=$(tool prlimit_shim.so) ids)
	[ "$found" = "$2" ] || fail "$1: '$found', not '$2'"
}

@test "services: redis, with and without a client" {
	need_program redis-server redis-cli
	hosts_down
	lan_up
	start_redis
	service redis ''
	start_client redis 6379
	client_goes_on 10
	service redis tcp-established
}

@test "services: nginx, postgresql" {
	need_program nginx psql
	hosts_down
	lan_up
	printf '%s\n' 'daemon off; worker_processes 2;' "pid $SCRATCH/nginx.pid;" \
		"error_log $SCRATCH/nginx-error.log; events {}" \
		"http { access_log off; server { listen 127.0.0.1:8080; } }" >"$SCRATCH/nginx.conf"
	start_app nginx nginx -c "$SCRATCH/nginx.conf"
	wait_app 8080
	service nginx ''
	start_postgres
	service postgres ''
}

@test "services: python, sqlite in a transaction, node, java" {
	need_program python3 node java
	hosts_down
	lan_up
	start_heap python3 "$APPS/heap.py" 8
	service python ''
	cat >"$SCRATCH/sqlite.py" <<-'END'
	import sqlite3, sys, time
	db = sqlite3.connect(sys.argv[1], isolation_level=None)
	db.execute("create table t (x)")
	db.execute("begin exclusive")
	print("ready", flush=True)
	time.sleep(1000)
	END
	start_app sqlite python3 "$SCRATCH/sqlite.py" "$SCRATCH/db"
	eventually 20 grep -q ready "$SCRATCH/sqlite.out"
	service sqlite file-locks
	rm -rf "$SCRATCH/heap"
	start_heap node "$APPS/heap.js" 8
	service node ''
	rm -rf "$SCRATCH/heap"
	start_heap java -Xmx256m "$APPS/Heap.java" 8
	service java ''
}

# ---- what the target lacks ----

# A server that does not see $SCRATCH/only-here.
start_blind_server()
{
	cat >"$SCRATCH/blind" <<-END
		#!/bin/sh
		[ "\$1" = serve ] || exec "$MFD" "\$@"
		exec unshare --mount sh -c 'mount -t tmpfs none "$SCRATCH/only-here" && exec "$MFD" "\$@"' \
			serve "\$@"
	END
	chmod +x "$SCRATCH/blind"
	MFD=$SCRATCH/blind start_server "$@"
}

@test "check --to, and migrate --restore: a file that the target lacks is named before anything is frozen" {
	mkdir "$SCRATCH/only-here" "$SCRATCH/hold"
	cp "$TOOLS/holder" "$SCRATCH/only-here/holder"
	start_blind_server --restore
	start hold on_a "$SCRATCH/only-here/holder" nothing "$SCRATCH/hold"
	eventually 10 test -s "$SCRATCH/hold/pid"
	VICTIM_PID=$(cat "$SCRATCH/hold/pid")
	register pid "$VICTIM_PID"
	run -1 on_a "$MFD" check -t "$VICTIM_PID" --to "$SERVER_ADDR" --restore
	echo "$output"
	[[ $output == *"needs on the target: "*"$SCRATCH/only-here/holder is not there"* ]]
	fails 5 "$SERVER_ADDR cannot restore it: $SCRATCH/only-here/holder is not there" \
		migrate --restore
	[ "$(state_of "$VICTIM_PID")" = S ]
	[ ! -e "$SERVER_DIR/$SESSION" ]
	# Not asked, it is the restore that fails, and the process runs on here.
	run -1 migrate --restore --no-check-target
	[[ $output != *'cannot restore it: '* ]]
	assert_running "$VICTIM_PID"
	# Where a person restores it, it is said, and may be seen to.
	run -0 migrate
	[[ $output == *"needs on the target: $SCRATCH/only-here/holder is not there"* ]]
}

@test "check --to: a target that lacks nothing, and one that is too old to say" {
	start_server --restore
	hold nothing
	run -0 on_a "$MFD" check -t "$VICTIM_PID" --to "$SERVER_ADDR" --restore
	# What has no build id is compared by its size, and a log is not.
	echo data >"$SCRATCH/data"
	start data on_a setsid bash -c \
		'exec 5<"$0" 6>>"$0.log" 7<>"$0"; echo $$ >"$0.pid"; exec sleep 1000' \
		"$SCRATCH/data"
	eventually 10 test -s "$SCRATCH/data.pid"
	register pid "$(cat "$SCRATCH/data.pid")"
	run on_a "$MFD" check -t "$(cat "$SCRATCH/data.pid")" --to "$SERVER_ADDR" --restore --json
	jq -e '[.findings[].id | select(startswith("target") and . != "target-unseen")] == []
		and .target.criu and .target.kernel' <<<"$output"
	start old on_b python3 -c 'import socket, struct
s = socket.create_server(("", 7))
print("up", flush=True)
while True:
	c = s.accept()[0]
	c.recv(4096)
	body = b"\x0a\x01x\x10" + b"\xb9" + b"\xff" * 8 + b"\x01"
	c.sendall(struct.pack("<IHHI", int("'"$(frame_magic)"'", 16), 15, 0, len(body)) + body)
	c.recv(4096)
	c.close()'
	eventually 10 grep -q up "$SCRATCH/old.out"
	run --separate-stderr -0 on_a "$MFD" check -t "$VICTIM_PID" --to "$ADDR_B:7"
	# shellcheck disable=SC2154
	[[ $stderr == *'is too old to say what it lacks'* ]]
	run -4 on_a "$MFD" check -t "$VICTIM_PID" --to "$ADDR_B:9"
	[[ $output == *"$ADDR_B:9"* ]]
}

# lose on_b|on_a: full-sized packets that come to that host, whose links carry 9000 bytes.
lose()
{
	on_a nft flush ruleset
	on_b nft flush ruleset
	"$1" nft -f - <<-END
		table inet lose {
			chain in {
				type filter hook prerouting priority 0;
				meta length > 3000 drop
			}
		}
	END
}

@test "check --to, and migrate: a path that loses full-sized packets is named beforehand" {
	[ -n "$(command -v nft)" ] || skip 'nft is not installed'
	ip -n "$NS_A" link set eth0 mtu 9000
	ip -n "$NS_B" link set eth0 mtu 9000
	start_server --restore
	hold nothing
	run -0 on_a "$MFD" check -t "$VICTIM_PID" --to "$SERVER_ADDR" --restore
	lose on_b
	fails 5 "full-sized packets to $SERVER_ADDR are lost, and short ones arrive (eth0" migrate
	[ "$(state_of "$VICTIM_PID")" = S ]
	lose on_a
	run -1 on_a "$MFD" check -t "$VICTIM_PID" --to "$SERVER_ADDR"
	[[ $output == *"full-sized packets from $SERVER_ADDR are lost"* ]]
	[[ $output == *'(eth0 here lets packets have 9000 bytes)'* ]]
	[[ $output == *'ip link set dev'*'tcp_mtu_probing=1'* ]]
}

frame_magic()
{
	sed -n 's/^#define MFD_WIRE_MAGIC_FRAME[[:space:]]*\(0x[0-9a-f]*\).*/\1/p' \
		"$MFD_TOP/proto/wire.h"
}
