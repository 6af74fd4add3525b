# shellcheck shell=bash disable=SC2034  # T0 and T1 are for the files that source this
# SPDX-License-Identifier: GPL-2.0-only
#
# QEMU's multifd as a competitor: the memory of a guest that never runs goes to another QEMU.
#
# What it is: machine "none" with nothing but memory, no processor, no firmware, no device, TCG; the
# guest's memory is QEMU's own (anonymous, in huge pages where the kernel gives them, which QEMU
# asks for) and holds just what the process that the others migrate holds. What it is not: there are
# no processes to be stopped, described and restored, so its time is that of memory alone.
#
# QEMU's commands go through a pair of FIFOs (QMP), its answers and events come line by line.

# Why there is no QEMU to be measured, nothing if there is.
qemu_missing()
{
	command -v "$QEMU" >/dev/null || { echo \
		"there is no $QEMU (contrib/setup --bench installs it)"; return; }
	"$QEMU" -machine help 2>/dev/null | grep -q '^none ' || echo "$QEMU has no machine \"none\""
}

QEMU=${QEMU:-qemu-system-x86_64}
declare -A QEMU_PID QMP_IN QMP_OUT

# qemu_up NAME MIB [OPTIONS]: paused, and a child of ours.
qemu_up()
{
	local name=$1 mib=$2 pipe=$SCRATCH/qmp-$1 in out line

	rm -f "$pipe.in" "$pipe.out"
	mkfifo "$pipe.in" "$pipe.out"
	exec {in}<>"$pipe.in" {out}<>"$pipe.out"
	QMP_IN[$name]=$in QMP_OUT[$name]=$out
	start "qemu-$name" metered "$name" nsenter --net=/run/netns/"$NS_A" -- "$QEMU" \
		-S -machine none -accel tcg -m "${mib}M" \
		-nodefaults -display none -qmp pipe:"$pipe" "${@:3}"
	QEMU_PID[$name]=$STARTED_PID
	read -r -t 20 -u "$out" line && [[ $line == *'"QMP"'* ]] &&
		qmp "$name" qmp_capabilities >/dev/null
}

qemu_down()
{
	local in=${QMP_IN[$1]} out=${QMP_OUT[$1]}

	qmp "$1" quit >/dev/null
	wait "${QEMU_PID[$1]}"
	exec {in}>&- {out}>&-
}

# qmp NAME COMMAND [ARGUMENTS, JSON]: prints what it returns.
qmp()
{
	local line

	printf '{"execute": "%s"%s}\n' "$2" "${3:+, \"arguments\": $3}" >&"${QMP_IN[$1]}"
	while read -r -t 60 -u "${QMP_OUT[$1]}" line; do
		case $line in
		'{"return"'*) jq -c .return <<<"$line"; return 0 ;;
		'{"error"'*) echo "QEMU ($1): $2: $line" >&2; return 1 ;;
		esac
	done
	echo "QEMU ($1): $2: no answer" >&2
	return 1
}

# The end of a migration, as NAME sees it.
qemu_completed()
{
	local line

	while read -r -t 120 -u "${QMP_OUT[$1]}" line; do
		case $line in
		*'"event": "MIGRATION"'*'"status": "completed"'*) return 0 ;;
		*'"event": "MIGRATION"'*'"status": "failed"'* | '{"error"'*) echo \
			"QEMU ($1): $line" >&2; return 1 ;;
		esac
	done
	echo "QEMU ($1): the migration does not end" >&2
	return 1
}

# qemu_settings CHANNELS: of both sides, which must agree. max-bandwidth 0: unlimited, where the
# default is 128 MiB/s.
qemu_settings()
{
	local side

	for side in source target; do
		qmp "$side" migrate-set-capabilities \
			'{"capabilities": [{"capability": "multifd", "state": true},
			{"capability": "events", "state": true}]}' >/dev/null &&
			qmp "$side" migrate-set-parameters \
				"{\"multifd-channels\": $1, \"max-bandwidth\": 0}" >/dev/null ||
			return 1
	done
	qmp target migrate-incoming '{"uri": "tcp:127.0.0.1:7000"}' >/dev/null
}

# qemu_prepare: from the victim, which ends, to a paused guest with its memory.
qemu_prepare()
{
	local map

	map=$(victim_map main)
	qemu_up source "$SIZE" &&
		"$BUILD/test/bench/guestmem" copy "$VICTIM_PID:${map% *}" "${QEMU_PID[source]}" \
			"$SIZE" && stop_victim
}

# As the other run_*, with two QEMUs that are ready.
run_qemu()
{
	now && T0=$NOW
	printf '{"execute": "migrate", "arguments": {"uri": "tcp:127.0.0.1:7000"}}\n' \
		>&"${QMP_IN[source]}"
	qemu_completed target || return 1
	now && T1=$NOW
	qemu_completed source
}

# What QEMU itself says of it.
qemu_account()
{
	qmp source query-migrate
}

qemu_verify()
{
	"$BUILD/test/bench/guestmem" compare "${QEMU_PID[source]}" "${QEMU_PID[target]}" "$SIZE"
}
