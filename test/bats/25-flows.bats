#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A session's connections are flows that hashes of ports tell apart.

bats_require_minimum_version 1.5.0
# bats file_tags=alone
load helpers
load moves

setup()
{
	hosts_setup
	start_server
}

# Local ports of all connections to the server, in order.
local_ports()
{
	on_a ss -Htn state established dst "$SERVER_ADDR" |
		awk '{ n = split($3, a, ":"); print a[n] }' | sort -n
}

there_are()
{
	PORTS=$(local_ports)
	[ "$(wc -l <<<"$PORTS")" -eq "$1" ]
}

# row N [LIST]: N ports in a row, the first a multiple of N, are among PORTS.
row()
{
	awk -v n="$1" '{ has[$1] = 1 }
		END { for (p in has) if (p % n == 0) { for (i = 0; i < n && (p + i) in has; i++);
			if (i == n) exit 0 }; exit 1 }' <<<"$PORTS"
}

# throttled MODE CHANNELS: a dump that takes its time.
throttled()
{
	CRIU_MULTIFD_MODE=$1 CRIU_MULTIFD_CHANNELS=$2 CRIU_MULTIFD_MAX_BANDWIDTH=20M \
		start dump dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
	DUMP=$STARTED_PID
}

@test "eight channels leave from eight ports in a row" {
	start_victim --size 64
	throttled safe 8
	eventually 10 there_are 9 || fail "connections from: $PORTS"
	row 8 || fail "no row of eight: $PORTS"
	wait "$DUMP"
	wait_session "$SESSION" committed
	restore_lazily "$SERVER_DIR/$SESSION"
	moved_well
	# Bytes did go over each of them.
	[ "$(jq '[.channel[] | select(.bytes > 1000000)] | length' \
		"$SCRATCH/img.$SESSION/multifd-send.json")" = 8 ]
}

@test "postcopy: the urgent connection is one more of the row" {
	start_victim --size 64
	throttled postcopy 3
	eventually 10 there_are 5 || fail "connections from: $PORTS"
	row 4 || fail "no row of four: $PORTS"
	wait_session "$SESSION" ready
	restore_lazily "$SERVER_DIR/$SESSION"
	wait "$DUMP"
	wait_session "$SESSION" 'done'
	moved_well
}

@test "no room for a row: it moves all the same" {
	start_victim --size 64
	on_a sysctl -qw net.ipv4.ip_local_port_range='40001 40014'
	throttled safe 8
	eventually 10 there_are 9 || fail "connections from: $PORTS"
	[ "$(head -n 1 <<<"$PORTS")" -ge 40001 ]
	[ "$(tail -n 1 <<<"$PORTS")" -le 40014 ]
	wait "$DUMP"
	wait_session "$SESSION" committed
	restore_lazily "$SERVER_DIR/$SESSION"
	moved_well
}
