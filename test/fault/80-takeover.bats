#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The server's worker is killed while restored tasks lack pages, and while they fork, move, discard
# and unmap memory: another worker takes over, the tasks notice a delay and nothing else.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	start_server
	KILLS=0
}

another_worker()
{
	local pid

	pid=$(server_worker)
	[ -n "$pid" ] && [ "$pid" != "$1" ]
}

is_restored()
{
	grep -qsx restored "$SERVER_DIR/$SESSION/.attached" || [ "$(status_of state)" = 'done' ]
}

# kill_workers N MS: so many, at random moments after the restore is finished.  Tells how many met a
# session that was not done; nothing here takes time in which it could become so.
kill_workers()
{
	local i pid hits=0 attached=$SERVER_DIR/$SESSION/.attached

	pid=$(server_worker)
	until grep -qsx restored "$attached"; do
		[ -e "$SERVER_DIR/$SESSION" ] || return 1
	done
	for ((i = 0; i < $1; i++)); do
		sleep_randomly "$2"
		[ ! -e "$attached" ] || hits=$((hits + 1))
		kill -KILL "$pid"
		eventually 10 another_worker "$pid" || return 1
		pid=$(server_worker)
	done
	echo "$hits" >"$SCRATCH/hits.$SESSION"
}

start_killer()
{
	start "killer.$SESSION" kill_workers "$@"
	KILLER=$STARTED_PID
}

end_killer()
{
	wait "$KILLER" || fail "the killer failed: $(cat "$SCRATCH/killer.$SESSION.err")" ||
		return 1
	echo "# $SESSION: $(cat "$SCRATCH/hits.$SESSION") kills before it was done" >&3
	KILLS=$((KILLS + $(cat "$SCRATCH/hits.$SESSION")))
}

taken_over()
{
	! grep -q 'cannot be taken over\|lost track\|too often' "$SCRATCH/server.err" ||
		fail 'a takeover failed' || return 1
}

# All memory, then what changes mappings while pages are missing, then all memory again.
survives()
{
	victim_actions || return 1
	wait_session "$SESSION" 'done' 60 || return 1
	moved_well || return 1
	taken_over
}

@test "safe: the worker is killed three times in each of several restores while the tasks run: done, every byte is right" {
	local i

	seed
	for ((i = 0; i < 5; i++)); do
		SESSION=safe$i
		start_victim --name "$SESSION" --size 384 --tree 2
		dump
		[ "$DUMP_RC" = 0 ]
		wait_session "$SESSION" committed
		start_killer 3 60
		restore_lazily "$SERVER_DIR/$SESSION"
		survives
		end_killer
		stop_copy
	done
	[ "$KILLS" -ge 5 ]
}

# A restore in the background tells what it set through a file.
restore_and_tell()
{
	local rc=0

	restore_lazily "$SERVER_DIR/$SESSION" || rc=$?
	echo "RESTORE_INIT=$RESTORE_INIT RESTORED_PID=$RESTORED_PID" >"$1"
	return $rc
}

@test "postcopy: the worker is killed three times in each of several restores while pages arrive: done, every byte is right" {
	local i restore

	seed
	export CRIU_MULTIFD_MODE=postcopy
	for ((i = 0; i < 4; i++)); do
		SESSION=post$i
		start_victim --name "$SESSION" --size 32
		start_badlink --bandwidth 8000000
		start_dump
		wait_session "$SESSION" ready
		start_killer 3 600
		STARTED=$i # in the background it cannot count
		start "restoring.$i" restore_and_tell "$SCRATCH/restored.$i"
		restore=$STARTED_PID
		wait "$restore"
		# shellcheck disable=SC1090
		. "$SCRATCH/restored.$i"
		victim_actions
		end_dump
		[ "$DUMP_RC" = 0 ]
		survives
		end_killer
		stop_copy
		stop_badlink
	done
	[ "$KILLS" -ge 6 ]
}

@test "the worker is killed at random moments of a restore that is not finished: it fails or is taken over, the next one works" {
	local i pid

	seed
	start_victim --size 64 --tree 2
	dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" committed
	for ((i = 0; i < 6; i++)); do
		pid=$(server_worker)
		rm -f "$SERVER_DIR/$SESSION/restore.log"
		start "killing.$i" nsenter --net=/run/netns/"$NS_B" -- unshare --pid --mount \
			--fork --kill-child --mount-proc \
			"$CRIU" restore -D "$SERVER_DIR/$SESSION" -v4 -o "restore.log" --lazy-pages
		eventually 10 test -s "$SERVER_DIR/$SESSION/restore.log"
		sleep_randomly 25
		kill -KILL "$pid"
		eventually 10 another_worker "$pid"
		if is_restored; then
			kill -KILL "$STARTED_PID"
			break
		fi
		# What it has restored is dead, and so is it.
		eventually 20 is_dead "$STARTED_PID"
		[ "$(status_of state)" = committed ]
	done
	echo "# $i restores failed" >&3
	is_restored || runs_on_target
	wait_session "$SESSION" 'done' 20
}

# Action script: CRIU waits at ACTION, from SCRATCH/held on until there is SCRATCH/go.
hold_criu_at()
{
	cat >"$SCRATCH/hold" <<-END
		#!/bin/sh
		[ "\$CRTOOLS_SCRIPT_ACTION" = $1 ] || exit 0
		: >"$SCRATCH/held"
		until [ -e "$SCRATCH/go" ]; do sleep 0.02; done
	END
	chmod +x "$SCRATCH/hold"
}

# held_restore ACTION [WORD...]: of a session that is committed, held there; sets CRIU_RUNS.  CRIU,
# or what WORDs start with it, is the first process of a pid namespace.
held_restore()
{
	start_victim --size 64 --tree 2
	dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" committed
	HELD_SOCKETS=$(sockets_of "$SERVER_PID")
	hold_criu_at "$1"
	shift
	start restoring nsenter --net=/run/netns/"$NS_B" -- unshare --pid --mount --fork \
		--kill-child --mount-proc "$@" \
		"$CRIU" restore -D "$SERVER_DIR/$SESSION" -v4 -o restore.log --lazy-pages \
			--action-script "$SCRATCH/hold"
	CRIU_RUNS=$STARTED_PID
	eventually 20 test -e "$SCRATCH/held"
}

sockets_of()
{
	find "/proc/$1/fd" -lname 'socket:*' | wc -l
}

# The supervisor has its connection.
is_connected()
{
	[ "$(sockets_of "$SERVER_PID")" -gt "$HELD_SOCKETS" ]
}

logged()
{
	[ "$(grep -ac "$1" "$SERVER_DIR/$SESSION/restore.log")" -ge "$2" ]
}

fails_and_the_next_works()
{
	local pid

	pid=$(server_worker)
	kill -KILL "$pid"
	eventually 10 another_worker "$pid" || return 1
	eventually 20 is_dead "$CRIU_RUNS" || fail 'criu restore does not end' || return 1
	[ "$(status_of state)" = committed ] || return 1
	! is_restored || return 1
	runs_on_target
}

@test "the worker is killed with userfaultfds in the connection that it has not read: that restore ends, the next one works" {
	held_restore pre-restore
	eventually 10 is_connected
	kill -STOP "$(server_worker)"
	touch "$SCRATCH/go"
	eventually 20 logged 'uffd: Sending PID' 3
	sleep 0.3 # until they wait for pages
	assert_running "$CRIU_RUNS"
	fails_and_the_next_works
}

@test "the worker is killed when CRIU looks at its children no more: that restore ends, the next one works" {
	held_restore post-restore
	kill -STOP "$(pgrep -P "$(pgrep -P "$CRIU_RUNS")" -x victim)"
	touch "$SCRATCH/go"
	eventually 20 logged 'Unlock network' 1
	sleep 0.3 # until it waits for the one that is stopped
	assert_running "$CRIU_RUNS"
	fails_and_the_next_works
}

@test "criu restore is killed: what it had restored so far does not stay" {
	local criu pid

	# shellcheck disable=SC2016
	held_restore post-restore bash -c '"$@"; while :; do sleep 3600 & wait $!; done' init
	criu=$(pgrep -P "$(pgrep -P "$CRIU_RUNS")" -x criu)
	pid=$(pgrep -P "$criu" -x victim)
	kill -KILL "$criu"
	touch "$SCRATCH/go"
	eventually 10 is_dead "$pid" || fail "process $pid waits for ever"
	[ "$(status_of state)" = committed ]
	runs_on_target
}

standby()
{
	pgrep -P "$SERVER_PID" -x mfd-standby
}

# kill_all PID...: as soon as a restore is finished.
kill_all()
{
	until grep -qsx restored "$SERVER_DIR/$SESSION/.attached"; do
		[ -e "$SERVER_DIR/$SESSION" ] || return 1
	done
	kill -KILL "$@"
}

# meet_and_kill PID...: restore, kill these in the middle of the fill, and ANSWER = 2 when a task
# lacks pages.
meet_and_kill()
{
	local killer

	start "killer.$SESSION" kill_all "$@"
	killer=$STARTED_PID
	restore_lazily "$SERVER_DIR/$SESSION"
	wait "$killer" || true
	ANSWER=0
	"$VICTIMCTL" verify --dir "$VICTIM_DIR" --timeout 3 || ANSWER=$?
	[ "$ANSWER" != 1 ] || fail "$SESSION: memory is damaged"
}

@test "supervisor and worker killed at once while the tasks run: they wait for their pages, and a new server brings them" {
	local i waited=0 standby

	for i in 1 2 3; do
		SESSION=both$i
		start_victim --name "$SESSION" --size 512
		dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
		wait_session "$SESSION" committed
		standby=$(standby)
		meet_and_kill "$SERVER_PID" "$(server_worker)"
		SERVER_NAME=again$i start_server
		waited=$((waited + (ANSWER == 2)))
		wait_session "$SESSION" 'done' 20
		verify_victim
		eventually 5 is_dead "$standby"
		kill -KILL "$RESTORE_INIT"
	done
	echo "# $waited of 3 met a task that lacked pages" >&3
}

another_program()
{
	grep -q 'serve\]: info: new program' "$SCRATCH/server.err"
}

@test "the server is replaced in place while restored tasks lack pages: they notice a delay" {
	local killer

	export CRIU_MULTIFD_MODE=postcopy
	start_victim --size 128 --tree 2
	start_badlink --bandwidth 30000000
	start_dump
	wait_session "$SESSION" ready
	STARTED=0
	start restoring restore_and_tell "$SCRATCH/restored"
	killer=$STARTED_PID
	wait "$killer"
	# shellcheck disable=SC1090
	. "$SCRATCH/restored"
	[ "$(status_of state)" = running ]
	kill -USR2 "$SERVER_PID"
	eventually 10 another_program
	end_dump
	[ "$DUMP_RC" = 0 ]
	survives
	grep -q 'userfaultfds taken over' "$SCRATCH/server.err"
}

# The source's only copy is frozen meanwhile: it comes back over new connections.
@test "supervisor and worker killed at once in postcopy while pages are still to come: a new server on that address goes on" {
	local restore

	export CRIU_MULTIFD_MODE=postcopy
	start_victim --size 128
	start_badlink --bandwidth 30000000
	start_dump
	wait_session "$SESSION" ready
	STARTED=0
	start restoring restore_and_tell "$SCRATCH/restored"
	restore=$STARTED_PID
	wait "$restore"
	# shellcheck disable=SC1090
	. "$SCRATCH/restored"
	[ "$(status_of state)" = running ]
	kill -KILL "$SERVER_PID" "$(server_worker)"
	SERVER_NAME=again SERVER_PORT=${REAL_ADDR##*:} start_server
	end_dump
	[ "$DUMP_RC" = 0 ]
	wait_session "$SESSION" 'done' 30
	moved_well
}

# Promise: never a page of zeros. No process can serve these tasks any more, so they wait until a
# new server ends them.
@test "supervisor, worker and standby killed at once: tasks wait for their pages, and a new server ends them" {
	local i waited=0

	for i in 1 2 3; do
		SESSION=all$i
		start_victim --name "$SESSION" --size 512
		dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
		wait_session "$SESSION" committed
		meet_and_kill "$SERVER_PID" "$(standby)" "$(server_worker)"
		SERVER_NAME=gone$i start_server
		if [ "$ANSWER" = 2 ]; then
			waited=$((waited + 1))
			eventually 10 is_dead "$RESTORED_PID" ||
				fail "$SESSION: the restored task still waits"
		fi
		kill -KILL "$RESTORE_INIT"
	done
	echo "# $waited of 3 met a task that lacked pages" >&3
}
