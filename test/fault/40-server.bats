#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The restore server dies: before the commit the source runs on and a new server on the same folder
# has nothing left of the session; a session that was ready survives it.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	SERVER_PORT=7391 # the next server must be found at the same place
}

server_pids()
{
	echo "$SERVER_PID $(pgrep -P "$SERVER_PID" | tr '\n' ' ')"
}

kill_server()
{
	# shellcheck disable=SC2046  # a list
	kill -KILL $(server_pids)
	eventually 5 is_dead "$SERVER_PID"
}

# Also when the first one has left its worker, which ends by itself.
restart_server()
{
	local front=$SERVER_ADDR

	RESTARTS=$((${RESTARTS:-0} + 1))
	SERVER_NAME=server.$RESTARTS start_server
	SERVER_ADDR=$front
}

not_worker()
{
	local w

	w=$(server_worker)
	[ -n "$w" ] && [ "$w" != "$1" ]
}

# A dump that failed: in time, with nothing left. One that came through first: the copy runs.
either_way()
{
	if [ "$DUMP_RC" != 0 ]; then
		aborted_well "$1" 1000 \
			'lost|reset|pipe|channel|refused|HELLO|join|JOINED|handshake|server ends' ||
			return 1
		discard_if_in_doubt || return 1
	fi
	one_copy
}

@test "the server is killed at random moments of a safe and a postcopy dump: exactly one copy" {
	local i at modes=(safe postcopy)

	seed
	start_server
	start_badlink --bandwidth 10000000
	for ((i = 0; i < 10; i++)); do
		export CRIU_MULTIFD_MODE=${modes[i % 2]}
		fresh_victim "$i"
		start_dump
		eventually 10 sender_pids
		sleep_randomly 900
		at=$(now)
		kill_server
		restart_server
		end_dump
		echo "# $i: $CRIU_MULTIFD_MODE $DUMP_RC $(plugin_errors | head -n 1)"
		either_way "$at"
	done
}

@test "the server's worker alone is killed at random moments: exactly one copy, the server goes on" {
	local i at worker modes=(safe postcopy)

	seed
	start_server
	start_badlink --bandwidth 16000000
	for ((i = 0; i < 4; i++)); do
		export CRIU_MULTIFD_MODE=${modes[i % 2]}
		fresh_victim "$i"
		start_dump
		eventually 10 sender_pids
		sleep_randomly 900
		at=$(now)
		worker=$(server_worker)
		kill -KILL "$worker"
		eventually 5 not_worker "$worker"
		end_dump
		either_way "$at"
	done
}

@test "the server is killed at READY, before the source knows: the source runs on, the new server hears of it" {
	local at

	start_victim --size 16
	start_server
	start_badlink --stall-before ready
	start_dump
	eventually 20 fault_happened
	wait_session "$SESSION" ready
	kill_server
	restart_server
	[ "$(status_of state)" = ready ]
	assert_in_doubt ready
	at=$(now)
	cut_now # READY is lost, and only now does the source see that its connections have ended
	end_dump
	aborted_well "$at" 1000 'lost|reset|pipe|channel'
	assert_in_doubt ready
	heal
	nothing_left
}

# bats test_tags=tls
@test "the server is killed between READY and COMMIT: the source has let go, the new server commits when it is told" {
	start_victim --size 16
	start_server
	start_badlink --stall-before commit
	start_dump
	eventually 20 fault_happened
	assert_gone "$VICTIM_PID"
	kill_server
	restart_server
	assert_in_doubt ready
	heal
	end_dump
	[ "$DUMP_RC" = 0 ]
	runs_on_target
}

@test "the server is killed after COMMIT, before the restore: the new server serves it" {
	start_victim --size 16
	start_server
	dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" committed
	kill_server
	restart_server
	runs_on_target
}

@test "SIGTERM to the server while pages arrive: the source runs on, nothing is left" {
	local at

	start_victim --size 16
	start_server
	start_badlink --bandwidth 4000000
	start_dump
	eventually 10 sender_pids
	eventually 10 status_is state receiving
	at=$(now)
	kill -TERM "$SERVER_PID"
	end_dump
	# With handshakes some channels may not have joined yet.
	aborted_well "$at" 1000 "restore server ends${MFD_TEST_TLS:+|no such session}"
	eventually 5 is_dead "$SERVER_PID"
	nothing_left
}

# small_folder SIZE: the server's, on a file system of its own.
small_folder()
{
	SERVER_DIR=$SCRATCH/small
	mkdir "$SERVER_DIR"
	register undo umount -l "$SERVER_DIR"
	mount -t tmpfs -o size="$1" tmpfs "$SERVER_DIR"
}

@test "the folder of the sessions is full: a clean abort that names the page store" {
	start_victim --size 16
	small_folder 8m
	start_server
	dump
	aborted_well "$(now)" 1000 'page store is full'
	nothing_left
	# The same name again, with room.
	mount -o remount,size=64m "$SERVER_DIR"
	dump
	[ "$DUMP_RC" = 0 ]
	runs_on_target
	stop_copy
}

@test "the folder of the sessions is full: a clean abort that names the image" {
	# Shared memory is no lazy memory: it travels as a file.
	start_victim --size 1 --map shared-anon:16
	small_folder 8m
	start_server
	dump
	aborted_well "$(now)" 1000 'pages-[0-9]*.img'
	plugin_errors | grep -q 'small.* is full: 8.0 MiB in all'
	nothing_left
}

@test "the folder of the sessions is full when the source has let go: the commit is stored all the same" {
	start_victim --size 4
	small_folder 32m
	start_server
	start_badlink --stall-before commit
	start_dump
	eventually 20 fault_happened
	! dd if=/dev/zero of="$SERVER_DIR/filler" bs=4k 2>/dev/null
	heal
	end_dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" committed
	[ "$(status_of error)" = null ]
	rm "$SERVER_DIR/filler"
	runs_on_target
}
