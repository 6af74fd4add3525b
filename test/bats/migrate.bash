# Lists of pids; variables of helpers.bash.
# shellcheck shell=bash disable=SC2034,SC2046,SC2153,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# `criu-multifd migrate` to `serve --restore`: what is asked for, and on which side a copy runs.
# Needs helpers.bash and moves.bash.

migrate_setup()
{
	hosts_setup
	export TMPDIR=$SCRATCH
}

# keys_setup: a CA, and certificates of both hosts; sets KEYS, their folder.
keys_setup()
{
	KEYS=$SCRATCH/keys
	"$MFD" keys init "$KEYS" >/dev/null
	"$MFD" keys add "$KEYS" b "$ADDR_B" 127.0.0.1 >/dev/null
	"$MFD" keys add "$KEYS" a >/dev/null
}

# migrate [FLAGS]: the victim to the server, as session $SESSION.
migrate()
{
	on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" --session "$SESSION" "$@"
}

# fails CODE TEXT COMMAND...: that exit code, and one line that says so.
fails()
{
	local code=$1 text=$2

	shift 2
	run "-$code" "$@"
	echo "$output"
	[[ $output == *"$text"* ]]
}

has_state()
{
	[ "$(status_json state)" = "$1" ]
}

# Everything on host b that is neither the server nor the warden of what was restored: pids.
strangers()
{
	local dir

	# Without a fork: pages come meanwhile, and on a slow machine they were all there.
	for dir in /proc/[0-9]*; do
		[ "$dir/ns/net" -ef "/run/netns/$NS_B" ] && ! [ "$dir/exe" -ef "$MFD" ] &&
			[ -e "$dir/exe" ] && ! is_dead "${dir#/proc/}" && echo "${dir#/proc/}"
	done 2>/dev/null
	return 0
}

# ours_in NETNS VERB: pids of criu-multifd VERB there.
ours_in()
{
	local pid

	for pid in $(ip netns pids "$1"); do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) == *"criu-multifd $2 "* ]] &&
			echo "$pid"
	done
	return 0
}

# is_held PID: stopped, or in a frozen control group of ours.
is_held()
{
	[[ $(state_of "$1") == [Tt] ]] ||
		grep -qs '^0::.*/criu-multifd\.\(hold\|held\)\.' "/proc/$1/cgroup"
}

copies_there()
{
	local pid n=0

	for pid in $(strangers); do
		[[ $(readlink "/proc/$pid/exe") == *victim* ]] &&
			! is_held "$pid" && n=$((n + 1))
	done
	echo "$n"
}

copies_here()
{
	if is_dead "$VICTIM_PID" || is_held "$VICTIM_PID"; then
		echo 0; else echo 1; fi
}

one_here()
{
	[ "$(copies_here) $(copies_there)" = '1 0' ]
}

one_there()
{
	[ "$(copies_here) $(copies_there)" = '0 1' ]
}

nothing_there()
{
	[ -z "$(strangers)" ]
}

# A victim of one process: it runs there, with every byte, and is gone here.
runs_there()
{
	eventually 5 one_there || fail "running here $(copies_here), there $(copies_there)"
	verify_victim
}

runs_here()
{
	eventually 5 one_here || fail "running here $(copies_here), there $(copies_there)"
	assert_not_frozen "$VICTIM_PID"
	verify_victim
	assert_target_clean
}

no_folders_left()
{
	[ -z "$(find "$SCRATCH" -maxdepth 1 -name 'criu-multifd.*')" ]
}

# valid_json FILE: one object per line, the last one the summary with all its fields.
valid_json()
{
	local key

	jq -es 'all(type == "object" and has("event"))' "$1" >/dev/null
	[ "$(tail -n 1 "$1" | jq -r .event)" = summary ]
	for key in session result channels pages zero_pages bytes_memory bytes_wire total_ms \
		frozen_ms downtime_ms stream_ms gbit_per_s \
		zerocopy_sent zerocopy_copied error; do
		tail -n 1 "$1" | jq -e "has(\"$key\")" >/dev/null || fail "the summary has no $key"
	done
}

# ready_unrestored [FLAGS OF THE SERVER]: the session is verified there, and its restore waits until
# $SCRATCH/go-on exists.
ready_unrestored()
{
	cat >"$SCRATCH/waiting" <<-END
		#!/bin/sh
		[ "\$1" = restore ] || exec $CRIU "\$@"
		touch $SCRATCH/about-to
		while [ ! -e $SCRATCH/go-on ]; do sleep 0.01; done
		exec $CRIU "\$@"
	END
	chmod +x "$SCRATCH/waiting"
	CRIU=$SCRATCH/waiting start_server --restore --stall-timeout 1000 "$@"
	start_victim --size 16
	start migrate migrate --restore
	MIGRATING=$STARTED_PID
	eventually 20 test -e "$SCRATCH/about-to" || return 1
	eventually 20 has_state ready
}

# in_doubt_restored [FLAGS OF THE SERVER]: the session is restored there, stopped, and its source
# stands still: it has not heard of that.
in_doubt_restored()
{
	ready_unrestored "$@" || return 1
	kill -STOP $(ours_in "$NS_A" send)
	touch "$SCRATCH/go-on"
	eventually 20 has_state restored || return 1
	eventually 20 in_doubt
}

in_doubt()
{
	[ "$(status_json in_doubt)" = true ]
}

# kill_worker: the server's; its supervisor starts another.
kill_worker()
{
	kill_worker_now
	eventually 10 grep -q 'reloaded, READY, in doubt' "$SCRATCH/server.err"
}

kill_worker_now()
{
	local pid

	for pid in $(pgrep -P "$SERVER_PID"); do
		# The supervisor's other child, which keeps descriptors, has one thread.
		[ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] ||
			kill -KILL "$pid"
	done
}

restored_once()
{
	[ "$(cat "$SCRATCH"/*.err | grep -c 'test: restoring')" = "${1:-1}" ]
}

source_host_dies()
{
	local pid

	for pid in $(ip netns pids "$NS_A"); do kill -KILL "$pid"; done
	assert_gone "$VICTIM_PID"
}
