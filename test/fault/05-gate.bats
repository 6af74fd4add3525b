#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The sender alone decides how CRIU's dump ends: neither a local user without rights nor the death
# of a process of ours does.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	start_server
	export CRIU_MULTIFD_MODE=safe
}

# strangers WHAT: an action script for CRIU, which runs it between listen() and accept(). A user
# without rights connects to every port that CRIU listens on by then, and does there WHAT: close,
# send or hold (for as long as the test takes).
strangers()
{
	cat >"$SCRATCH/strangers" <<-'END'
		#!/bin/bash
		[ "$CRTOOLS_SCRIPT_ACTION" = status-ready ] || exit 0
		set -m
		dir=$(dirname "$0") what=$(cat "$0.what")
		for port in $(ss -Hltnp "( sport > 1023 )" | grep -F "pid=$PPID," |
			awk '{ sub(/.*:/, "", $4); print $4 }'); do
			for i in 1 2 3; do
				# CRIU has a backlog of one: those that come later wait.
				timeout 20 setpriv --reuid 65534 --regid 65534 --clear-groups \
					bash -c '
					exec 5<>/dev/tcp/127.0.0.1/$0 || exit
					case $1 in
					send) printf "%0100d" 0 >&5 ;;
					hold) exec sleep 20 ;;
					esac' "$port" "$what" </dev/null >/dev/null 2>&1 &
				echo "$port $!" >>"$0.connected"
			done
		done
		sleep 0.5
	END
	echo "$1" >"$SCRATCH/strangers.what"
	: >"$SCRATCH/strangers.connected"
	chmod 755 "$SCRATCH/strangers"
}

# Those that hold on end with the test.
teardown()
{
	local pid

	while read -r _ pid; do
		kill -TERM "$pid" 2>/dev/null || :
	done <"$SCRATCH/strangers.connected" 2>/dev/null || :
	scratch_down
}

@test "the gate: connections of a local user to CRIU's port decide nothing, and delay nothing" {
	local what

	for what in close send hold; do
		SESSION=s-$what
		start_victim --name "v-$what" --size 16
		strangers "$what"
		dump --action-script "$SCRATCH/strangers"
		[ -s "$SCRATCH/strangers.connected" ] || fail 'no stranger has found the port'
		[ "$DUMP_RC" = 0 ] || fail "$what: the dump failed: $(plugin_errors)"
		runs_on_target || fail "$what: it does not run on the target"
		stop_copy
	done
}

@test "the gate: such connections do not let a dump succeed that fails" {
	local what

	for what in close send hold; do
		SESSION=f-$what
		start_victim --name "w-$what" --size 16
		strangers "$what"
		start_badlink --cut-before ready
		dump --action-script "$SCRATCH/strangers"
		[ -s "$SCRATCH/strangers.connected" ] || fail 'no stranger has found the port'
		assert_fault_happened
		aborted_well "$(fault_time)" 3000 || fail "$what"
		heal
		nothing_left
		stop_badlink
		kill -KILL "$VICTIM_PID"
	done
}

@test "the gate: --ps-socket 512 opens no port at all" {
	start_victim --size 16
	strangers close
	dump --action-script "$SCRATCH/strangers" --ps-socket 512
	[ ! -s "$SCRATCH/strangers.connected" ] ||
		fail "CRIU listens: $(cat "$SCRATCH/strangers.connected")"
	[ "$DUMP_RC" = 0 ] || fail "the dump failed: $(plugin_errors)"
	grep -aq 'ps socket 512' "$IMG/dump.log" || fail 'CRIU does not use the socket'
	runs_on_target
}

@test "the gate: another --ps-socket is refused before anything is frozen" {
	start_victim --size 16
	dump --ps-socket 700
	[ "$DUMP_RC" != 0 ] || fail 'the dump succeeded'
	plugin_errors | grep -q -- '--ps-socket 512' || fail "no word about it: $(plugin_errors)"
	! grep -aq 'Seized task' "$IMG/dump.log" || fail 'tasks were frozen'
	assert_not_frozen "$VICTIM_PID"
}

# Promise: seen as CRIU has parsed it, whichever way it was told.
refused_by_config()
{
	local way

	# CRIU's files are searched in the home of its environment.
	mkdir -p "$SCRATCH/home/.criu"
	for way in abbreviated home config environment; do
		set --
		unset CRIU_CONFIG_FILE
		rm -f "$SCRATCH/home/.criu/default.conf"
		case $way in
		abbreviated) set -- --ps-s 700 ;;
		home) echo 'ps-socket 700' >"$SCRATCH/home/.criu/default.conf" ;;
		config)
			echo 'ps-socket=700' >"$SCRATCH/700.conf"
			set -- --config "$SCRATCH/700.conf"
			;;
		environment)
			echo 'ps-socket 700' >"$SCRATCH/700.conf"
			export CRIU_CONFIG_FILE=$SCRATCH/700.conf
			;;
		esac
		HOME=$SCRATCH/home dump "$@"
		[ "$DUMP_RC" != 0 ] || fail "$way: the dump succeeded" || return 1
		plugin_errors | grep -q -- '--ps-socket 512' ||
			fail "$way: no word about it: $(plugin_errors)" || return 1
		! grep -aq 'Seized task' "$IMG/dump.log" || fail "$way: frozen" || return 1
	done
	unset CRIU_CONFIG_FILE
	assert_not_frozen "$VICTIM_PID"
}

@test "the gate: another --ps-socket in a configuration file of CRIU, or abbreviated, is refused before anything is frozen" {
	start_victim --size 16
	every_criu refused_by_config
}

@test "the gate: criu's limit of open files is raised, or named before anything is frozen" {
	start_victim --size 16
	(
		ulimit -n 400
		dump
		[ "$DUMP_RC" != 0 ] || fail 'the dump succeeded'
		plugin_errors | grep -q 'gate needs number 513: raise the limit' ||
			fail "no word about it: $(plugin_errors)"
		! grep -aq 'Seized task' "$IMG/dump.log" || fail 'tasks were frozen'
	)
	assert_not_frozen "$VICTIM_PID"
	SESSION=more
	DUMPS=1
	ulimit -S -n 400
	dump
	[ "$DUMP_RC" = 0 ] || fail "the dump failed: $(plugin_errors)"
	runs_on_target
	stop_copy
}

# Promise: a dump that fails at the gate, where CRIU undoes nothing by itself any more, leaves no
# file that CRIU has made among the task's.
@test "the gate: a dump that fails there leaves no name that CRIU gave to a removed file" {
	local dir=$SCRATCH/files

	mkdir "$dir"
	echo here >"$dir/removed"
	ln "$dir/removed" "$dir/other"
	# shellcheck disable=SC2016
	start opener ${NS_A:+nsenter --net=/run/netns/"$NS_A"} setsid sh -c \
		'exec 9<"$1/removed"; rm "$1/removed"; : >"$1/ready"; exec sleep 1000' sh "$dir"
	VICTIM_PID=$STARTED_PID
	eventually 5 test -e "$dir/ready"
	start_badlink --stall-before ready
	start_dump --link-remap
	eventually 20 fault_happened
	eventually 5 test -e "$dir"/link_remap.*
	cut_now
	end_dump
	[ "$DUMP_RC" != 0 ]
	[ -d "/proc/$VICTIM_PID" ]
	[ "$(ls "$dir")" = $'other\nready' ] || fail "left: $(ls "$dir")"
	kill -KILL "$VICTIM_PID"
}
