# shellcheck shell=bash disable=SC2153,SC2154  # variables of helpers.bash and of the round
# SPDX-License-Identifier: GPL-2.0-only
#
# The kinds of faults. Each is a function do_KIND WHAT DURATION_MS that lets the fault happen, and
# ends it again after its duration; it prints what was done. A fault that is not met (its moment
# never comes, or the process is not there) says so: that is no failure.

ms_now()
{
	local now=$EPOCHREALTIME

	MS=$((${now/./} / 1000))
}

# nap MS: without a fork.
nap()
{
	local seconds

	printf -v seconds '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
	read -rt "$seconds" <>"$SCRATCH/never" || :
}

# found ROLE: waits for a process of that role, since some are there for a moment only; sets FOUND.
found()
{
	local i

	for ((i = 0; i < 60; i++)); do
		role "$1"
		[ ${#FOUND[@]} = 0 ] || return 0
		[ ! -e "$SCRATCH/ended" ] || return 1
		nap 20
	done
	return 1
}

# ---- kinds ---------------------------------------------------------------------------------------

do_kill()
{
	found "$1" || return 1
	[ "$1" != warden ] || status_json state >"$SCRATCH/warden-killed-in"
	[ "$1" != criu-dump ] || : >"$SCRATCH/criu-dump-killed"
	kill -KILL "${FOUND[@]}" 2>/dev/null
	echo "${FOUND[*]}"
}

do_stop()
{
	local pids

	found "$1" || return 1
	pids=("${FOUND[@]}")
	kill -STOP "${pids[@]}" 2>/dev/null
	echo "${pids[*]}"
	nap "$2"
	kill -CONT "${pids[@]}" 2>/dev/null
}

# A link that is stalled already is cut by the next signal.
do_stall()
{
	kill -USR2 "$BADLINK_PID"
	nap "$2"
	kill -USR1 "$BADLINK_PID"
}

do_cut()
{
	kill -USR2 "$BADLINK_PID"
	nap 5
	kill -USR2 "$BADLINK_PID"
	nap "$2"
	kill -USR1 "$BADLINK_PID"
}

# fill DISK MS
fill()
{
	local file=$1/filler.$BASHPID

	dd if=/dev/zero of="$file" bs=1M 2>/dev/null
	nap "$2"
	rm -f "$file"
}

do_full-target()
{
	fill "$SCRATCH/disk-b" "$2"
}

do_full-source()
{
	fill "$SCRATCH/disk-a" "$2"
}

# limited RESOURCE ROLE MS VALUE-OF-PID: a limit of what the process has already, and back again.
limited()
{
	local pid old=() i=0

	found "$2" || return 1
	for pid in "${FOUND[@]}"; do
		old+=("$(prlimit --pid "$pid" --"$1" --output SOFT,HARD --noheadings | tr -s ' ' ' ')")
		prlimit --pid "$pid" --"$1=$("$4" "$pid"):" || return 1
	done 2>/dev/null
	echo "${FOUND[*]}"
	nap "$3"
	for pid in "${FOUND[@]}"; do
		read -r soft hard <<<"${old[i++]}"
		prlimit --pid "$pid" --"$1=$soft:$hard"
	done 2>/dev/null
	return 0
}

open_files()
{
	local files=("/proc/$1/fd/"*)

	echo ${#files[@]}
}

address_space()
{
	local pages

	read -r pages _ <"/proc/$1/statm"
	echo $((pages * 4096))
}

do_descriptors()
{
	limited nofile "$1" "$2" open_files
}

do_memory()
{
	limited as "$1" "$2" address_space
}

do_peer()
{
	on_b timeout $(($2 / 1000 + 10)) "$MFD_TOP/test/soak/rogue" "$REAL_ADDR" "$1" "$2" \
		"$SESSION" 2>&1
}

# The clock of the day, for all programs of the round; it stays where it is put.
do_clock()
{
	perl -e 'print pack("q", shift)' -- "$1" |
		dd of="$SCRATCH/jump" conv=notrunc status=none
}

# ---- one fault -----------------------------------------------------------------------------------

# inject NUMBER KIND WHAT ANCHOR DELAY DURATION: in a shell of its own.
inject()
{
	local out=$SCRATCH/fault.$1 said

	until [ -e "$SCRATCH/anchor.$4" ]; do
		[ ! -e "$SCRATCH/ended" ] || { echo 'not met' >"$out"; : >"$out.over"; return; }
		nap 4
	done
	nap "$5"
	ms_now
	echo "$((MS - BEGAN)) ms" >"$out"
	if ! "do_$2" "$3" "$6" >>"$out" 2>"$out.err"; then
		echo 'no such process' >>"$out"
	fi
	ms_now
	echo "over after $((MS - BEGAN)) ms" >>"$out"
	: >"$out.over"
}

# Words by which the server's log and the progress that `migrate` shows tell of a moment.
ANCHOR_WORDS=(
	'opened *: opened by *'
	'joined *: * channels joined*'
	'restorable *: restorable,*'
	'restoring *: restoring'
	'restored *: restored*'
	'ready *: ready:*'
	'committed *: committed*'
	'round * ms *round *'
	'freezing * ms  freezing*'
	'streaming * ms  streaming*'
	'releasing * ms  releasing*'
)

# watch_anchors LOG: makes a file for each moment that a line of it tells of; as long as the round
# lasts. A line may come in pieces.
watch_anchors()
{
	local line='' part fd word

	exec {fd}<"$1"
	while [ -e "$SCRATCH/jump" ]; do
		if ! IFS= read -r part <&"$fd"; then
			line+=$part
			nap 3
			continue
		fi
		line+=$part
		for word in "${ANCHOR_WORDS[@]}"; do
			# shellcheck disable=SC2053  # a pattern
			[[ $line != ${word#* } ]] || : >"$SCRATCH/anchor.${word%% *}"
		done
		line=''
	done
}
