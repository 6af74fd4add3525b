#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A target that cannot be used: the dump fails before anything is frozen, with one clear line in
# CRIU's log.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
}

# A dump to SERVER_ADDR that must fail within LIMIT ms, with a line that matches PATTERN, and freeze
# nothing.
refused()
{
	local limit pattern=$2 before

	before=$(now)
	dump
	limit=$(patient "$1")
	[ "$(awk -v a="$before" -v b="$(now)" 'BEGIN { printf "%d", (b - a) * 1000 }')" \
		-le "$limit" ] ||
		fail "took longer than $limit ms" || return 1
	aborted_well "$before" "$1" "$pattern" || return 1
	! grep -aq 'Seized task' "$IMG/dump.log" || fail 'tasks were frozen'
	eventually 5 no_senders || fail "senders are left: $(senders)"
}

@test "connection refused" {
	start_victim --size 4
	SERVER_ADDR=$ADDR_B:1
	refused 1000 "$ADDR_B:1: Connection refused"
}

@test "no route" {
	start_victim --size 4
	SERVER_ADDR=192.0.2.1:7000
	refused 1000 '192.0.2.1:7000: Network is unreachable'
}

@test "a host that does not answer: connect-timeout" {
	start_victim --size 4
	# An address in the net that no host has, but whose neighbour entry exists: no ICMP comes
	# back.
	on_a ip route add 192.0.2.0/24 via "$ADDR_B"
	on_b ip route add blackhole 192.0.2.0/24
	SERVER_ADDR=192.0.2.1:7000
	CRIU_MULTIFD_CONNECT_TIMEOUT=700 refused 2500 '192.0.2.1:7000: Connection timed out'
}

@test "a name that cannot be resolved" {
	start_victim --size 4
	SERVER_ADDR=nowhere.invalid:7000
	refused 30000 'nowhere.invalid'
}

@test "a sender that refuses, and has not read what it was asked, is heard all the same" {
	start_victim --size 4
	printf '#!/bin/sh\nsleep 0.2\nexec %s "$@"\n' "$MFD" >"$SCRATCH/slow"
	chmod +x "$SCRATCH/slow"
	SERVER_ADDR=nowhere.invalid:7000
	CRIU_MULTIFD_PROGRAM=$SCRATCH/slow refused 30000 'nowhere.invalid'
}

@test "a listener that is not our server: closes at once, says nothing, speaks garbage, speaks HTTP" {
	local what

	start_victim --size 4
	export CRIU_MULTIFD_STALL_TIMEOUT=1000
	for what in close nothing garbage http; do
		echo "# $what"
		start "$what" nsenter --net=/run/netns/"$NS_B" -- python3 -uc "$STRANGER" \
			"$ADDR_B" "$what"
		local stranger=$STARTED_PID
		SERVER_ADDR=''
		eventually 10 listening_line "$what"
		refused 2500 "HELLO|control channel|lost|reset|no restore server"
		kill -KILL "$stranger"
	done
}

STRANGER='
import os, socket, sys
s = socket.socket()
s.bind((sys.argv[1], 0))
s.listen(8)
print("listening on %s:%d" % s.getsockname(), file=sys.stderr)
keep = []
while True:
    c, _ = s.accept()
    what = sys.argv[2]
    if what == "close":
        c.close()
        continue
    if what == "garbage":
        c.sendall(os.urandom(65536))
    if what == "http":
        c.recv(10)
        c.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    keep.append(c)
'

@test "another version of the protocol" {
	start_victim --size 4
	start_server
	start_badlink --version 77
	refused 1000 'version'
}

@test "a name in use" {
	start_server
	start_victim --name one --size 4
	dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" committed
	start_victim --name two --size 4
	refused 1000 'in use'
}

@test "a wrong secret, a flipped bit in any message before the freeze" {
	local event

	start_victim --size 4
	start_server
	export CRIU_MULTIFD_STALL_TIMEOUT=1000
	for event in join hello hello_ok joined; do
		echo "# flip $event"
		start_badlink --flip "$event"
		refused 2500 'HELLO|join|JOINED|control channel|no such session|another protocol'
		assert_fault_happened
		nothing_left
		stop_badlink
	done
}

@test "a message left out before the freeze" {
	local event

	start_victim --size 4
	start_server
	export CRIU_MULTIFD_STALL_TIMEOUT=1000
	for event in hello hello_ok join_ok joined; do
		echo "# drop $event"
		start_badlink --drop "$event"
		refused 2500 'HELLO|join|JOINED'
		assert_fault_happened
		nothing_left
		stop_badlink
	done
}

# noise BYTES: at the server's port.
noise()
{
	on_a bash -c "head -c $1 /dev/urandom >/dev/tcp/${REAL_ADDR%:*}/${REAL_ADDR##*:}" \
		2>/dev/null || true
}

@test "garbage on the server's port before, during and after a session disturbs no session" {
	local n

	start_server
	start_victim --size 32
	start_badlink --bandwidth 32000000
	for n in 1 63 64 65 4096 1000000; do noise $n; done
	start_dump
	while ! is_dead "$DUMP"; do
		for n in 1 64 76 100000; do noise $n; done
	done
	end_dump
	[ "$DUMP_RC" = 0 ]
	for n in 1 64 76 100000; do noise $n; done
	runs_on_target
	for n in 1 64 76 100000; do noise $n; done
	[ "$(status_of state)" = 'done' ]
	assert_running "$SERVER_PID"
}

@test "200 connections that say nothing do not keep a real one out" {
	start_server
	start_victim --size 4
	start idle nsenter --net=/run/netns/"$NS_A" -- python3 -uc "$IDLE" "${SERVER_ADDR%:*}" \
		"${SERVER_ADDR##*:}"
	eventually 10 grep -q ready "$SCRATCH/idle.err"
	local before
	before=$(now)
	dump
	[ "$DUMP_RC" = 0 ]
	[ "$(awk -v a="$before" -v b="$(now)" 'BEGIN { printf "%d", (b - a) * 1000 }')" -le 4000 ]
	runs_on_target
}

IDLE='
import socket, sys, time
keep = []
for i in range(200):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    keep.append(s)
time.sleep(0.3)
print("ready", file=sys.stderr)
time.sleep(1000)
'
