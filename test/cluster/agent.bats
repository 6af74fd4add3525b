#!/usr/bin/env bats
# Lists of pids; variables of helpers.bash.
# shellcheck disable=SC2034,SC2046,SC2153
# SPDX-License-Identifier: GPL-2.0-only
# contrib/pacemaker/process, each action by itself, as Pacemaker calls it: `make check-cluster`.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load ../bats/migrate

setup()
{
	migrate_setup
	[ -e /usr/lib/ocf/lib/heartbeat/ocf-shellfuncs ] ||
		skip 'no resource-agents (make check-cluster installs them)'
	SESSION=app SERVER_DIR=$SCRATCH/b.sessions
}

# agent a|b ACTION [PARAMETER=VALUE]...: as on that node.
agent()
{
	local node=$1 action=$2 word set=()

	shift 2
	for word in "command=$VICTIM --size ${SIZE:-4} $SCRATCH/app" "program=$MFD" \
		"dir=$SCRATCH/$node.sessions" "statedir=$SCRATCH/$node.agent" \
		"addresses=b=${SERVER_ADDR%:*}" "port=${SERVER_ADDR##*:}" \
		CRM_meta_timeout=20000 CRM_meta_migrate_target=b "$@"; do
		set+=("OCF_RESKEY_$word")
	done
	"on_$node" env OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=app HA_LOGFACILITY=none \
		HA_LOGFILE="$SCRATCH/agent.log" "${set[@]}" \
		"$MFD_TOP/contrib/pacemaker/process" "$action"
}

started()
{
	mkdir -p "$SCRATCH/app"
	run -7 agent a monitor
	agent a start 3>&-
	read -r VICTIM_PID _ <"$SCRATCH/a.agent/app/pid"
	register pid "$VICTIM_PID"
	VICTIM_DIR=$SCRATCH/app
	eventually 20 grep -q ready "$SCRATCH/app/victim.log"
	agent a monitor
}

@test "start, monitor, migrate_to, migrate_from, stop" {
	start_server --restore
	started
	agent a start # again: it runs already
	[ "$(grep -c ^ready "$SCRATCH/app/victim.log")" = 1 ]
	agent a migrate_to
	agent b migrate_from
	run -7 agent a monitor
	agent b monitor
	runs_there
	# The agent's own record went with a reboot, say: what came is found.
	rm -r "$SCRATCH/b.agent"
	agent b monitor
	agent b stop
	[ "$(copies_there)" = 0 ]
	run -7 agent b monitor
	agent b stop
}

@test "a move that fails: it runs on, and the reason is told" {
	SERVER_ADDR=$ADDR_B:9
	started
	run -1 agent a migrate_to
	echo "$output"
	[[ $output == *'ocf-exit-reason:not moved to b, it runs on here: '*'Connection refused'* ]]
	agent a monitor
	assert_not_frozen "$VICTIM_PID"
	agent a stop
	assert_gone "$VICTIM_PID"
}

@test "in doubt: start, stop and monitor fail, and touch nothing" {
	local action
	start_server --restore
	SIZE=24 started
	start move agent a migrate_to "migrate_options=--mode postcopy --max-bandwidth 50Mbit"
	eventually 20 has_state running
	kill -KILL $(ours_in "$NS_A" send)
	wait "$STARTED_PID" && fail 'it is said to have moved'
	grep -q 'ocf-exit-reason:the move to b is in doubt' "$SCRATCH/move.err"
	for action in monitor start stop; do
		run -1 agent a "$action"
		[[ $output == *"ocf-exit-reason:app: in doubt; see criu-multifd status --source"* ]]
	done
	is_held "$VICTIM_PID"
	[ "$(grep -c ^ready "$SCRATCH/app/victim.log")" = 1 ]
}

@test "meta-data, validate-all, and wrong parameters" {
	local out
	SERVER_ADDR=$ADDR_B:9
	out=$(agent a meta-data)
	xmllint --noout - <<<"$out"
	agent a validate-all
	run -6 agent a validate-all command=
	run -6 agent a validate-all port=x
	run -5 agent a validate-all program=/no/such
	run -3 agent a nonsense
}

@test "stop ends all of it, also what outlives its first process; until then it is not stopped" {
	local rest
	SERVER_ADDR=$ADDR_B:9
	# The first process ends at once when it is told to; the other takes no notice.
	printf '#!/bin/sh\n(trap "" TERM; exec sleep 60) &\nexec sleep 1000\n' >"$SCRATCH/two"
	chmod +x "$SCRATCH/two"
	agent a start "command=$SCRATCH/two" 3>&-
	read -r VICTIM_PID _ <"$SCRATCH/a.agent/app/pid"
	register pid "$VICTIM_PID"
	rest=$(pgrep -P "$VICTIM_PID")
	register pid "$rest"
	agent a stop CRM_meta_timeout=4000
	is_dead "$VICTIM_PID"
	is_dead "$rest"
	# It crashes, and a child runs on.
	agent a start "command=$SCRATCH/two" 3>&-
	read -r VICTIM_PID _ <"$SCRATCH/a.agent/app/pid"
	rest=$(pgrep -P "$VICTIM_PID")
	register pid "$rest"
	kill -KILL "$VICTIM_PID"
	run -1 agent a monitor
	[[ $output == *'others of it run on'* ]]
	run -1 agent a start
	agent a stop CRM_meta_timeout=4000
	is_dead "$rest"
	run -7 agent a monitor
}

@test "what cannot be known is in doubt; what lives needs no program; a stranger is not adopted" {
	start_server --restore
	started
	agent a monitor program=/no/such
	agent a migrate_to
	agent b migrate_from
	runs_there
	wait_session app 'done'
	rm -r "$SCRATCH/b.agent"
	run -1 agent b monitor program=/no/such
	[[ $output == *'in doubt, or not known'* ]]
	run -1 agent b stop program=/no/such
	[ "$(copies_there)" = 1 ]
	# The pid of its record is a process's that began at another time.
	cat >"$SCRATCH/other" <<-END
		#!/bin/sh
		"$MFD" "\$@" | sed 's/"restored_pid": *[0-9]*/"restored_pid": 1/'
	END
	chmod +x "$SCRATCH/other"
	run -1 agent b monitor program="$SCRATCH/other"
	run -1 agent b stop program="$SCRATCH/other"
	agent b stop
	[ "$(copies_there)" = 0 ]
	# A record that cannot be read.
	printf x >"$SERVER_DIR/app/session.img"
	for action in monitor start stop; do
		run -1 agent b "$action"
	done
}
