#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Once the verdict is out, the sender concludes nothing from what it cannot see: a task that it
# cannot look at is neither alive nor dead. It waits, says for what, and answers a person.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	start_server
}

verdict_is_out()
{
	grep -q 'releasing the tasks' "$IMG/multifd-send.log" 2>/dev/null
}

# CRIU waits for its verdict, stopped, and the verdict is out. Sets CRIU_PID and WORKER.
stop_criu_at_verdict()
{
	start_badlink --stall-before ready
	start_dump
	eventually 20 fault_happened
	CRIU_PID=$(criu_pid)
	kill -STOP "$CRIU_PID"
	heal
	eventually 20 verdict_is_out
	sender_pids
}

says()
{
	"$MFD" status --source "$IMG" | grep -q "$1"
}

@test "the sender has no descriptor left when it looks for the tasks' end: COMMIT is told once it has" {
	start_victim --size 16
	stop_criu_at_verdict
	prlimit --pid "$WORKER" --nofile=3:
	kill -CONT "$CRIU_PID"
	assert_gone "$VICTIM_PID"
	sleep 2 # an ABORT would have ended the session by now
	[ "$(status_of state)" = ready ]
	prlimit --pid "$WORKER" --nofile=1024:
	end_dump
	[ "$DUMP_RC" = 0 ]
	runs_on_target
}

@test "a task that cannot die, in a frozen cgroup v1: status names it, resolve is refused, thawed it has moved" {
	local group=/sys/fs/cgroup/freezer/mfd-${SCRATCH##*.}

	[ -e /sys/fs/cgroup/freezer/cgroup.procs ] || skip 'kernel lacks the freezer of cgroup v1'
	mkdir "$group"
	register undo rmdir "$group"
	register undo sh -c "echo THAWED >$group/freezer.state; sleep 0.2"
	start_victim --size 16
	echo "$VICTIM_PID" >"$group/cgroup.procs"
	stop_criu_at_verdict
	echo FROZEN >"$group/freezer.state"
	kill -CONT "$CRIU_PID"
	eventually 10 says "process $VICTIM_PID is being ended and cannot die.*${group##*/}"
	run -1 timeout 5 "$MFD" resolve --source "$IMG" --run
	[[ $output == *'too late'* ]]
	kill -TERM "$WORKER"
	sleep 0.5
	[ "$(status_of state)" = ready ]
	echo THAWED >"$group/freezer.state"
	end_dump
	[ "$DUMP_RC" = 0 ]
	runs_on_target
}
