# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# SPDX-License-Identifier: GPL-2.0-only
#
# What the fault tests share: a link that breaks on purpose, and the outcomes that are promised
# (plugin/DESIGN.md, "Commit protocol").
# Needs helpers.bash and moves.bash.
#
# The outcomes:
#	aborted_well	the dump failed, the source runs on in time, nothing is left on the target
#	moved_well	(moves.bash) the source is gone, the copy runs
#	one_copy	whichever of both it was: exactly one runs, with every byte as it was
# A gap that the victim itself has noticed is the measure of "in time".

# start_badlink [badlink options]: on host a, in front of the server; SERVER_ADDR becomes its
# address. Sets BADLINK_PID.
start_badlink()
{
	BADLINKS=$((${BADLINKS:-0} + 1))
	BADLINK_ERR=$SCRATCH/badlink.$BADLINKS.err
	REAL_ADDR=${REAL_ADDR:-$SERVER_ADDR}
	start "badlink.$BADLINKS" ${NS_A:+nsenter --net=/run/netns/"$NS_A" --} \
		"$TOOLS/badlink" --listen "${ADDR_A:-127.0.0.1}:0" --to "$REAL_ADDR" "$@"
	BADLINK_PID=$STARTED_PID
	eventually 10 listening_line "badlink.$BADLINKS"
	[ -n "$SERVER_ADDR" ] || fail "badlink $* does not start"
}

stop_badlink()
{
	kill -KILL "$BADLINK_PID"
	SERVER_ADDR=$REAL_ADDR
}

# When the fault happened, in seconds; nothing when it did not.
fault_time()
{
	sed -n 's/^badlink: \(cut\|stall\|drop\|flip\|garbage\) .* at \([0-9.]*\)$/\2/p' \
		"$BADLINK_ERR" | head -n 1
}

fault_happened()
{
	[ -n "$(fault_time)" ]
}

assert_fault_happened()
{
	fault_happened || fail "the fault never happened: $(cat "$BADLINK_ERR")"
}

heal()
{
	kill -USR1 "$BADLINK_PID"
	eventually 5 grep -q '^badlink: healed' "$BADLINK_ERR"
}

# A stalled link breaks: what was held up is lost.
cut_now()
{
	kill -USR2 "$BADLINK_PID"
	eventually 5 grep -q '^badlink: cut by signal' "$BADLINK_ERR"
}

now()
{
	date +%s.%N
}

# late_ms TIME: how long after it the victim had not run; 0 = it ran.
late_ms()
{
	awk -v t="$1" '$1 == "gap" && $5 == "rank=0" && $3 / 1000000 > t && $3 > end { end = $3 }
		END { printf "%d\n", end ? end / 1000 - t * 1000 : 0 }' "$VICTIM_DIR/victim.log"
}

# What the plugin has said in CRIU's log as errors; the same again for the task it was about does
# not count.
plugin_errors()
{
	sed -n 's/^([0-9.]*) Error: multifd: \(task [0-9]*: \)\{0,1\}//p' "$IMG/dump.log" | sort -u
}

# status JSON-FIELD
status_of()
{
	"$MFD" status --dir "$SERVER_DIR" "${2:-$SESSION}" --json 2>/dev/null | jq -r ".$1"
}

status_is()
{
	[ "$(status_of "$1")" = "$2" ]
}

# in_doubt [STATE]
assert_in_doubt()
{
	eventually 10 status_is in_doubt true ||
		fail "not in doubt: $("$MFD" status --dir "$SERVER_DIR" "$SESSION")"
	[ -z "${1:-}" ] || [ "$(status_of state)" = "$1" ] ||
		fail "state is $(status_of state), not $1"
	"$MFD" status --dir "$SERVER_DIR" | grep -q 'IN DOUBT' ||
		fail 'status does not show the doubt'
	[ "$(status_of advice)" != null ] || fail 'status gives no advice'
}

# resolve run|discard: by the command line; as long as that has no such verb, in the server's own
# words (requests.c).
resolve()
{
	if "$MFD" help resolve >/dev/null 2>&1; then
		"$MFD" resolve --dir "$SERVER_DIR" "$SESSION" "$1"
		return
	fi
	python3 - "$SERVER_DIR/.serve.sock" "resolve $SESSION $1" <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		s.connect(sys.argv[1])
		s.send(sys.argv[2].encode())
		answer = s.recv(512).decode()
		sys.exit(None if answer == "ok" else answer)
	END
}

decided()
{
	[[ "$(status_of in_doubt) $(status_of state)" =~ true|done|aborted|committed|^\ *$ ]]
}

# The source runs on: whatever the target holds must go.
discard_if_in_doubt()
{
	eventually 10 decided || return 1
	[ "$(status_of in_doubt)" != true ] || resolve discard
}

# Without a fork: on a slow machine a migration was over before it had been found.
senders()
{
	local dir words

	for dir in /proc/[0-9]*; do
		[ "$dir/ns/net" -ef "/run/netns/$NS_A" ] || continue
		mapfile -d '' -t words <"$dir/cmdline"
		[[ "${words[*]}" != *'send --'* ]] || is_dead "${dir#/proc/}" ||
			echo "${dir#/proc/}"
	done 2>/dev/null
}

# Supervisor and worker; nothing until both are there.
sender_pids()
{
	local all pid parent

	SUPERVISOR='' WORKER=''
	all=$(senders)
	for pid in $all; do
		read -r _ _ _ parent _ <"/proc/$pid/stat" || continue
		[[ " ${all//$'\n'/ } " != *" $parent "* ]] || { SUPERVISOR=$parent WORKER=$pid; }
	done 2>/dev/null
	[ -n "$WORKER" ]
}

no_senders()
{
	[ -z "$(senders)" ]
}

dump_starts()
{
	grep -aq "$1" "$IMG/dump.log" 2>/dev/null || is_dead "$DUMP"
}

criu_pid()
{
	pgrep --ns $$ --nslist pid -f "^$CRIU dump -t $VICTIM_PID " | head -n 1
}

# start_dump [criu options]: the dump in the background; sets DUMP and IMG, a folder of its own.
start_dump()
{
	DUMPS=$((${DUMPS:-0} + 1))
	IMG=$SCRATCH/img.$DUMPS
	start "dump.$DUMPS" dump_with_plugin "$VICTIM_PID" "$IMG" "$@"
	DUMP=$STARTED_PID
}

end_dump()
{
	DUMP_RC=0
	wait "$DUMP" || DUMP_RC=$?
}

# dump [criu options]: sets DUMP_RC and IMG.
dump()
{
	start_dump "$@"
	end_dump
}

# aborted_well TIME LIMIT_MS [PATTERN]: after a dump that had to fail, with a fault at TIME. The
# pattern is for the plugin's line in CRIU's log.
aborted_well()
{
	local late limit

	limit=$(patient "$2")
	[ "$DUMP_RC" != 0 ] || fail 'the dump succeeded' || return 1
	[ "$DUMP_RC" != 124 ] || fail 'the dump did not end' || return 1
	assert_not_frozen "$VICTIM_PID" || return 1
	late=$(late_ms "$1")
	[ "$late" -le "$limit" ] ||
		fail "the source was frozen for $late ms after the fault, more than $limit" ||
		return 1
	if [ -n "${3:-}" ]; then
		[ "$(plugin_errors | wc -l)" = 1 ] ||
			fail "not one line in CRIU's log: $(plugin_errors)" || return 1
		plugin_errors | grep -qE "$3" || fail "not '$3': $(plugin_errors)" || return 1
	fi
	verify_victim >/dev/null || fail 'the memory of the source is damaged' || return 1
}

# And nothing is left on either side; needs a link that works.
nothing_left()
{
	assert_target_clean 10 || return 1
	eventually 10 no_senders || fail "senders are left: $(senders)"
}

# The session is complete on the target and nothing runs on the source: let it run there and look.
runs_on_target()
{
	assert_gone "$VICTIM_PID" || return 1
	wait_session "$SESSION" committed 10 || return 1
	restore_lazily "$SERVER_DIR/$SESSION" || fail 'the restore failed' || return 1
	wait_session "$SESSION" 'done' || return 1
	moved_well
}

# one_copy: after a dump that ended either way with the link intact.
one_copy()
{
	if [ "$DUMP_RC" = 0 ]; then
		runs_on_target
	else
		assert_not_frozen "$VICTIM_PID" || return 1
		verify_victim >/dev/null || return 1
		nothing_left
	fi
}

# Random moments can be had again: FAULT_SEED=N bats FILE.
seed()
{
	RANDOM=${FAULT_SEED:-$$}
	echo "# FAULT_SEED=${FAULT_SEED:-$$}" >&3
}

# sleep_randomly MS: less than that, less than a second.
sleep_randomly()
{
	sleep "0.$(printf %03d $((RANDOM % $1)))"
}

# fresh_victim NAME: a running one; the old one if it still runs here.
fresh_victim()
{
	if [ -z "${VICTIM_PID:-}" ] || is_dead "$VICTIM_PID"; then
		stop_copy
		start_victim --name "v$1" --size 16
	fi
}

stop_copy()
{
	[ -z "${RESTORE_INIT:-}" ] || kill -KILL "$RESTORE_INIT"
	RESTORE_INIT=''
}

fault_setup()
{
	hosts_setup
	REAL_ADDR=''
}
