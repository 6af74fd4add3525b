#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Postcopy with serve --restore: the warden of what was restored outlives the server, and holds the
# userfaultfds of tasks that lack pages; of others it holds none.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load ../bats/migrate

setup()
{
	migrate_setup
	export CRIU_MULTIFD_MODE=postcopy
	start_server --restore
}

# Two tasks restored and running there, most of the memory still to come; sets MIGRATING, WARDEN and
# COPY, one of the tasks.
begin_running()
{
	IMG=$SCRATCH/images
	start_victim --size 24 --tree 1
	start migrate migrate --restore -D "$IMG" --max-bandwidth 4Mbit
	MIGRATING=$STARTED_PID
	eventually 30 has_state running || return 1
	COPY=$(strangers | head -n 1)
	WARDEN=$(wardens)
	eventually 10 holds 2 || fail "the warden holds $(uffds_of "$WARDEN")"
}

wardens()
{
	local pid

	for pid in $(ip netns pids "$NS_B"); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != mfd-warden ] || echo "$pid"
	done
}

uffds_of()
{
	find "/proc/$1/fd" -lname 'anon_inode:\[userfaultfd\]' | wc -l
}

# holds N: userfaultfds.
holds()
{
	[ "$(uffds_of "$WARDEN")" = "$1" ]
}

# Supervisor, worker, heir, standby and keeper.
the_server()
{
	ours_in "$NS_B" serve
}

server_has()
{
	[ "$(the_server | wc -w)" = "$1" ]
}

# Promise: never a page of zeros, whichever processes of the server die; and never two copies.
@test "every process of the server killed at once: the tasks wait for their pages, a new server ends them, the source's go on when told" {
	local answer=0 address=$SERVER_ADDR

	begin_running
	eventually 10 server_has 5
	# shellcheck disable=SC2046
	kill -KILL $(the_server)
	eventually 10 server_has 0
	"$VICTIMCTL" verify --dir "$VICTIM_DIR" --timeout 3 || answer=$?
	[ "$answer" = 2 ] || fail "the tasks did not wait: victimctl verify ends with $answer"
	assert_running "$COPY"
	holds 2
	SERVER_NAME=again SERVER_PORT=${address##*:} start_server --restore
	eventually 10 nothing_there || fail "restored tasks are left: $(strangers)"
	eventually 5 is_dead "$WARDEN"
	[ "$(copies_here)" = 0 ]
	wait "$MIGRATING" || true
	run -0 on_a "$MFD" resolve --source "$IMG" --run
	assert_not_frozen "$VICTIM_PID"
	verify_victim
}

another_program()
{
	grep -q 'serve\]: info: new program' "$SCRATCH/server.err"
}

another_worker()
{
	local pid

	pid=$(server_worker)
	[ -n "$pid" ] && [ "$pid" != "$1" ]
}

# A userfaultfd that is held too long makes a task wait when it discards memory, forks, or touches
# for the first time what is zero.
@test "another worker takes over in the middle, then another program: the warden holds the userfaultfds until every page is in, and none after that" {
	local pid

	begin_running
	pid=$(server_worker)
	kill -KILL "$pid"
	eventually 10 another_worker "$pid"
	[ "$(status_json state)" = running ]
	pid=$(server_worker)
	kill -USR2 "$SERVER_PID"
	eventually 10 another_program
	eventually 10 another_worker "$pid"
	[ "$(status_json state)" = running ]
	holds 2 || fail "the warden holds $(uffds_of "$WARDEN")"
	eventually 30 "$MFD" set --source "$IMG" max-bandwidth 100Mbit
	victim_actions
	wait "$MIGRATING"
	wait_session "$SESSION" 'done' 30
	eventually 10 holds 0 || fail "the warden holds $(uffds_of "$WARDEN")"
	victim_actions
	verify_victim
}
