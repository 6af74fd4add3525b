# shellcheck shell=bash disable=SC2034  # variables are for the tests that load this
# SPDX-License-Identifier: GPL-2.0-only
#
# What the bats tests share: a scratch folder, two hosts, a victim, a server, CRIU, and a clean end.
#
# Use: "load helpers" defines setup and teardown; a test file that has its own calls scratch_up and
# scratch_down in them.
#
# Clean end: whatever is started is written to SCRATCH/.registry first: pids with their start time
# (so that a reused pid is never hit), network namespaces (whatever runs in one of them is ours,
# also processes that detached themselves), and commands that undo something. scratch_down works the
# list off; if bats itself dies, by kill -9 too, a guard in a session of its own does: this very
# file, run as a program, watching the test's process.
#
# Functions that set variables (hosts_up, start_*, restore_*) must not be called through `run`: that
# is a subshell.

HELPERS=$(realpath "${BASH_SOURCE[0]}")
MFD_TOP=${MFD_TOP:-$(dirname "$(dirname "$(dirname "$HELPERS")")")}
BUILD=$(realpath -m "${MFD_BUILD:-${BUILD:-$MFD_TOP/build}}")
PLUGINS=${MFD_PLUGINS:-$BUILD/plugins}
TOOLS=${MFD_TOOLS:-$BUILD/test/tools}
MFD=${MFD:-$BUILD/criu-multifd}
VICTIM=${VICTIM:-$TOOLS/victim}
VICTIMCTL=$MFD_TOP/test/tools/victimctl
export BUILD VICTIM MFD
case :$PATH: in
*":${MFD%/*}:"*) ;;
*) PATH=${MFD%/*}:$PATH ;;
esac

# ---- the registry --------------------------------------------------------------------------------

# When the process started, in clock ticks since boot: with the pid, a name that is never reused.
start_time()
{
	local stat

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# shellcheck disable=SC2086  # fields behind the name, which may hold anything
	set -- ${stat##*) }
	echo "${20}"
}

# register pid PID | register netns NAME | register undo COMMAND...
register()
{
	case $1 in
	pid) echo "pid $2 $(start_time "$2")" ;;
	netns) echo "netns $2" ;;
	undo) shift && printf 'undo %s\n' "${*@Q}" ;;
	esac >>"$SCRATCH/.registry"
}

# Sets STATE, empty when there is no such process. Asked often, so without a fork.  One line, read
# at once: between two reads of a longer file a process may get another name, by exec, and all lines
# another place.
read_state()
{
	local line=''

	read -r line 2>/dev/null <"/proc/$1/stat" || :
	STATE=${line##*) }
	STATE=${STATE%% *}
}

state_of()
{
	local STATE

	read_state "$1"
	echo "$STATE"
}

is_dead()
{
	local STATE

	read_state "$1"
	[ -z "$STATE" ] || [ "$STATE" = Z ] || [ "$STATE" = X ]
}

# Those of the registry that still run.
registered_pids()
{
	local kind name start pid

	while read -r kind name start; do
		case $kind in
		pid)
			if ! is_dead "$name" && [ "$(start_time "$name")" = "$start" ]; then
				echo "$name"; fi
			;;
		netns)
			for pid in $(ip netns pids "$name" 2>/dev/null); do
				is_dead "$pid" || echo "$pid"
			done
			;;
		esac
	done <"$1/.registry" | sort -u
}

# clean_up SCRATCH: may be interrupted anywhere and run again.
clean_up()
{
	local dir=$1 i pids quiet=0 kind rest

	[ -e "$dir/.registry" ] || return 0
	for ((i = 0; i < 200 && quiet < 2; i++)); do
		pids=$(registered_pids "$dir")
		# Twice nothing: a process that is just forking may have been missed the first time.
		if [ -z "$pids" ]; then
			quiet=$((quiet + 1))
			continue
		fi
		quiet=0
		# shellcheck disable=SC2086  # a list
		kill -KILL $pids 2>/dev/null
		sleep 0.02
	done
	tac "$dir/.registry" | while read -r kind rest; do
		case $kind in
		undo) eval "timeout -k 1 10 $rest" </dev/null ;;
		netns) [ ! -e "/run/netns/$rest" ] || ip netns del "$rest" ;;
		esac
	done >/dev/null 2>&1
	rm -rf --one-file-system "$dir"
}

# guard SCRATCH PID START: wait until that process or the folder is gone.
guard()
{
	while [ -e "$1/.registry" ]; do
		[ "$(start_time "$2")" = "$3" ] || { clean_up "$1"; return; }
		sleep 0.2
	done
}

# Bats waits for each process that holds its descriptors.
close_fds()
{
	local fd

	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
}

# ---- scratch folder ------------------------------------------------------------------------------

scratch_up()
{
	local base=$BATS_TEST_TMPDIR

	[ "$(stat -f -c %T /dev/shm 2>/dev/null)" != tmpfs ] || [ ! -w /dev/shm ] || base=/dev/shm
	SCRATCH=$(mktemp -d "$base/mfd-test.XXXXXX")
	: >"$SCRATCH/.registry"
	(
		close_fds
		exec setsid bash "$HELPERS" guard "$SCRATCH" "$$" "$(start_time $$)"
	) </dev/null >/dev/null 2>&1 &
	disown
	NS_A='' NS_B='' SESSION=${SESSION:-test}
	STARTED=0
	[ -z "${MFD_TEST_TLS:-}" ] || tls_up
}

# MFD_TEST_TLS: the same tests, with certificates on every connection. Servers get theirs in
# start_server; sources find theirs in the environment, and badlink the keys of each connection.
tls_up()
{
	TLS_KEYS=$SCRATCH/.tls
	"$MFD" keys init "$TLS_KEYS" >/dev/null
	"$MFD" keys add "$TLS_KEYS" b >/dev/null
	"$MFD" keys add "$TLS_KEYS" a >/dev/null
	export CRIU_MULTIFD_TLS_DIR=$TLS_KEYS/a CRIU_MULTIFD_TLS_HOSTNAME=b
	export SSLKEYLOGFILE=$SCRATCH/.tls/secrets
}

scratch_down()
{
	[ -n "${SCRATCH:-}" ] || return 0
	[ -n "${BATS_TEST_COMPLETED:-}" ] || [ -n "${BATS_TEST_SKIPPED:-}" ] || show_logs
	clean_up "$SCRATCH"
}

show_logs()
{
	local f

	while read -r f; do
		echo "--- ${f#"$SCRATCH"/} (last lines)"
		tail -n "${LOG_LINES:-25}" "$f"
	done < <(find "$SCRATCH" -type f -size +0 \( -name '*.log' -o -name '*.err' \
		-o -name '*.out' -o -name screen \))
}

setup()
{
	scratch_up
}

teardown()
{
	scratch_down
}

# ---- small things --------------------------------------------------------------------------------

fail()
{
	echo "$*" >&2
	return 1
}

# patient MS: that many, or up to five times as many while processes wait for a processor: what is
# promised is promised of a host that is not short of them.
patient()
{
	awk -v ms="$1" -F '[= ]' '/^some/ { n = $3 < 80 ? 100 / (100 - $3) : 5 }
		END { printf "%d\n", ms * (n ? n : 1) }' /proc/pressure/cpu 2>/dev/null || echo "$1"
}

# eventually SECONDS COMMAND...: try it until it succeeds, for that long (see patient).
eventually()
{
	local start=$SECONDS limit=$1

	shift
	until "$@"; do
		if [ $((SECONDS - start)) -gt "$limit" ]; then
			sleep 0.5
			[ $(((SECONDS - start) * 1000)) -le "$(patient $((limit * 1000)))" ] ||
				return 1
		fi
		sleep 0.02
	done
}

# start NAME COMMAND...: in the background (a function may do), output to SCRATCH/NAME.out and .err;
# sets STARTED_PID, which `wait` accepts.
start()
{
	local name=$1

	shift
	(
		close_fds
		[ "$(type -t "$1")" = file ] && exec "$@"
		"$@"
	) </dev/null >"$SCRATCH/$name.out" 2>"$SCRATCH/$name.err" &
	STARTED_PID=$!
	register pid "$STARTED_PID"
}

need_root()
{
	[ "$(id -u)" = 0 ] || skip 'needs root'
}

# criu_bin: print the criu to use; fails with a message when there is none.
criu_bin()
{
	local c

	for c in "${CRIU:-}" "$("$MFD_TOP/contrib/setup" --print-criu 2>/dev/null)" \
		"$(command -v criu)"; do
		[ -n "$c" ] && [ -x "$c" ] && { echo "$c"; return; }
	done
	echo 'no criu: run contrib/setup or set CRIU' >&2
	return 1
}

need_criu()
{
	need_root
	CRIU=$(criu_bin) || fail 'no criu to test with'
	export CRIU
}

# Can $CRIU dump the simplest process here, without us? Where there are no hardware breakpoints, as
# on some virtual machines, CRIU 4.1.1 waits for one for ever.
criu_works()
{
	local rc=0

	start works setsid sleep 1000
	mkdir "$SCRATCH/works.$STARTED_PID"
	timeout -k 1 10 "$CRIU" dump -t "$STARTED_PID" -D "$SCRATCH/works.$STARTED_PID" -v0 \
		--manage-cgroups=ignore || rc=$?
	kill -9 "$STARTED_PID" 2>/dev/null || :
	return "$rc"
}

# criu_after NAME COMMANDS: a criu, to be given as CRIU, that does those first, in sh; "$@" are its
# arguments.
criu_after()
{
	printf '#!/bin/sh\n%s\nexec %q "$@"\n' "$2" "$CRIU" >"$SCRATCH/$1"
	chmod +x "$SCRATCH/$1"
	echo "$SCRATCH/$1"
}

# slow_restore SECONDS: a criu that takes its time before it restores.
slow_restore()
{
	criu_after slow "[ \"\$1\" != restore ] || sleep $1"
}

# every_criu COMMAND...: run it with each release of CRIU that is tested, in CRIU and VERSION. Last
# in a test, for it is skipped where one of them cannot be had, or is of no use, after the others.
every_criu()
{
	local VERSION missing='' useless=''
	local -x CRIU

	for VERSION in 4.1.1 4.2.1 4.3; do
		if ! CRIU=$(env -u CRIU "$MFD_TOP/contrib/setup" --criu $VERSION \
			--print-criu 2>/dev/null); then
			missing+=" $VERSION"
		elif ! criu_works; then
			useless+=" $VERSION"
		else
			echo "CRIU $VERSION"
			"$@"
		fi
	done
	[ -z "$missing" ] || skip "no CRIU$missing (contrib/setup --criu VERSION fetches it)"
	[ -z "$useless" ] ||
		skip "kernel lacks what CRIU$useless needs: by itself it cannot dump a sleep here"
}

# Let hugetlb mappings be had on demand; nothing stays reserved.
need_hugetlb()
{
	local f=/proc/sys/vm/nr_overcommit_hugepages old

	[ -e $f ] || skip 'kernel lacks hugetlb'
	old=$(cat $f)
	[ "$old" -lt 64 ] || return 0
	register undo sh -c "echo $old >$f"
	echo 64 >$f
}

need_swap()
{
	local file=$BATS_TEST_TMPDIR/swap

	# One that is full is of no use.
	awk 'NR > 1 && $3 - $4 >= 32768 { room = 1 } END { exit !room }' /proc/swaps && return 0
	dd if=/dev/zero of="$file" bs=1M count=64 status=none
	chmod 600 "$file"
	mkswap "$file" >/dev/null
	register undo swapoff "$file"
	swapon "$file" || skip 'kernel lacks swap, or may not use a swap file here'
}

# ---- two hosts -----------------------------------------------------------------------------------

# Sets NS_A, NS_B, ADDR_A, ADDR_B; the device is called eth0 on both.
hosts_up()
{
	local id net=$((RANDOM % 16384 * 4))

	need_root
	id=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
	NS_A=mfd-$id-a NS_B=mfd-$id-b
	ADDR_A=10.200.$((net / 256)).$((net % 256 + 1))
	ADDR_B=10.200.$((net / 256)).$((net % 256 + 2))
	register netns "$NS_A"
	register netns "$NS_B"
	ip netns add "$NS_A"
	ip netns add "$NS_B"
	ip link add eth0 netns "$NS_A" type veth peer name eth0 netns "$NS_B"
	ip -n "$NS_A" addr add "$ADDR_A/30" dev eth0
	ip -n "$NS_B" addr add "$ADDR_B/30" dev eth0
	for id in lo eth0; do
		ip -n "$NS_A" link set "$id" up
		ip -n "$NS_B" link set "$id" up
	done
}

# The set-up of a test that moves something with the real CRIU from one host to the other, as
# $SESSION.
hosts_setup()
{
	scratch_up
	need_root
	need_criu
	SESSION=test
	hosts_up
}

# Ends everything on them; scratch_down does so too.
hosts_down()
{
	local ns pid

	for ns in $NS_A $NS_B; do
		for _ in {1..100}; do
			pid=$(ip netns pids "$ns")
			[ -n "$pid" ] || break
			# shellcheck disable=SC2086  # a list
			kill -KILL $pid 2>/dev/null
			sleep 0.02
		done
		ip netns del "$ns"
	done
	NS_A='' NS_B=''
}

# nsenter and not `ip netns exec`: cgroups and mounts stay as they are. Without hosts_up both are
# this machine.
on_a()
{
	${NS_A:+nsenter --net=/run/netns/"$NS_A" --} "$@"
}

on_b()
{
	${NS_B:+nsenter --net=/run/netns/"$NS_B" --} "$@"
}

# ---- victim --------------------------------------------------------------------------------------

# start_victim [--name NAME] [VICTIM OPTIONS]: on host a; sets VICTIM_PID and VICTIM_DIR.
start_victim()
{
	local name=victim

	[ "${1:-}" != --name ] || { name=$2; shift 2; }
	[ -x "$VICTIM" ] || fail "there is no $VICTIM: run make tests" || return 1
	VICTIM_DIR=$SCRATCH/$name
	VICTIM_PID=$(on_a "$VICTIMCTL" start --dir "$VICTIM_DIR" --timeout 120 "$@")
	register pid "$VICTIM_PID"
}

# The victim_* functions take an optional folder, default VICTIM_DIR, and work wherever the victim
# has been moved.
verify_victim()
{
	"$VICTIMCTL" verify --dir "${1:-$VICTIM_DIR}" --timeout "${VERIFY_TIMEOUT:-60}"
}

# victim_actions [LIST [DIR]]
victim_actions()
{
	"$VICTIMCTL" actions --dir "${2:-$VICTIM_DIR}" --timeout "${VERIFY_TIMEOUT:-60}" "${1:-}"
}

# victim_gap [SINCE [DIR]]: the longest pause in ms.
victim_gap()
{
	"$VICTIMCTL" gaps --dir "${2:-$VICTIM_DIR}" "${1:-0}"
}

stop_victim()
{
	"$VICTIMCTL" stop --dir "${1:-$VICTIM_DIR}"
}

# victim_map NAME [DIR]: address (0x...) and number of pages, as the latest victim of that folder
# began.
victim_map()
{
	awk -v name="$1" '$1 == "map" && $2 == name { found = $3 " " $4 } END { print found }' \
		"${2:-$VICTIM_DIR}/victim.log"
}

# peek PID ADDRESS LENGTH: raw bytes of a process; poke PID ADDRESS: write standard input there.
peek()
{
	dd if="/proc/$1/mem" bs=4096 iflag=skip_bytes,count_bytes skip="$(($2))" count="$3" \
		status=none
}

poke()
{
	dd of="/proc/$1/mem" bs=4096 oflag=seek_bytes seek="$(($2))" conv=notrunc status=none
}

# Change one byte, whatever it was.
flip_byte()
{
	local byte

	byte=$(peek "$1" "$2" 1 | od -An -tu1)
	printf %b "\\x$(printf %x $((byte ^ 1)))" | poke "$1" "$2"
}

# ---- server and sessions -------------------------------------------------------------------------

listening_line()
{
	SERVER_ADDR=$(sed -n 's/.*listening on \([^ ]*:[0-9]*\).*/\1/p' "$SCRATCH/$1.err" |
		head -n 1)
	[ -n "$SERVER_ADDR" ] || is_dead "$STARTED_PID"
}

# start_server [serve options]: on host b; sets SERVER_ADDR, SERVER_PID, SERVER_DIR. SERVER_NAME
# names its log.
start_server()
{
	local name=${SERVER_NAME:-server} secure=(--insecure)

	[ -z "${MFD_TEST_TLS:-}" ] || secure=(--tls-dir "$TLS_KEYS/b")
	[[ " $*" != *' --tls'* ]] || secure=()
	SERVER_DIR=${SERVER_DIR:-$SCRATCH/sessions}
	mkdir -p "$SERVER_DIR"
	start "$name" ${NS_B:+nsenter --net=/run/netns/"$NS_B" --} \
		"$MFD" serve --listen "${ADDR_B:-127.0.0.1}:${SERVER_PORT:-0}" --dir "$SERVER_DIR" \
			"${secure[@]}" "$@"
	SERVER_PID=$STARTED_PID
	eventually 20 listening_line "$name"
	[ -n "$SERVER_ADDR" ] || { cat "$SCRATCH/$name.err" >&2; fail 'the server did not start'; }
}

# The server's worker: of the supervisor's two children the one that has an heir; the other is the
# keeper.
server_worker()
{
	local pid

	for pid in $(pgrep -P "$SERVER_PID"); do
		[ -z "$(pgrep -P "$pid" -x mfd-heir)" ] || echo "$pid"
	done
}

# dump_with_plugin PID IMGDIR [criu options]: on host a, session $SESSION; returns what criu
# returns.
dump_with_plugin()
{
	local pid=$1 img=$2

	shift 2
	mkdir -p "$img"
	on_a env CRIU_MULTIFD_TARGET="$SERVER_ADDR" CRIU_MULTIFD_SESSION="$SESSION" \
		${DUMP_PRELOAD:+LD_PRELOAD="$DUMP_PRELOAD"} \
		timeout -k 5 "${DUMP_TIMEOUT:-120}" "$CRIU" dump -t "$pid" -D "$img" --lazy-pages \
			-L "$PLUGINS" \
		--address 127.0.0.1 -v4 -o dump.log "$@" </dev/null
}

# The first process of the new namespace: runs criu, tells the result, and reaps for the rest of its
# life.
# shellcheck disable=SC2016
NS_INIT='rc=$1; shift; "$@"; echo $? >"$rc.new"; mv "$rc.new" "$rc"; while :; do sleep 3600 & wait $!; done'

# host_pid INIT VPID: the pid, as seen from here, of the process that is VPID in the pid namespace
# of INIT.
host_pid()
{
	local ns pid

	ns=$(readlink "/proc/$1/ns/pid")
	# One program looks at all processes; those of other namespaces are left out after that.
	for pid in $(grep -hs '^NSpid:' /proc/[0-9]*/status |
		awk -v pid="$2" 'NF > 2 && $NF == pid { print $2 }'); do
		[ "$(readlink "/proc/$pid/ns/pid" 2>/dev/null)" = "$ns" ] && {
			echo "$pid"; return 0; }
	done
	return 1
}

# restore_in_namespace IMGDIR [criu options]: `criu restore` on host b in a pid namespace of its
# own, which stays. Returns what criu returned; sets RESTORE_INIT, the namespace's first process
# (kill it to end all of them), and RESTORED_PID, both as seen from here.
restore_in_namespace()
{
	local img=$1 base

	shift
	STARTED=$((STARTED + 1))
	base=$SCRATCH/restore.$STARTED
	start "restore.$STARTED" ${NS_B:+nsenter --net=/run/netns/"$NS_B" --} \
		unshare --pid --mount --fork --kill-child --mount-proc bash -c "$NS_INIT" init \
			"$base.rc" \
		"$CRIU" restore -D "$img" -d -v4 -o restore.log --pidfile "$base.pid" "$@"
	RESTORED_PID='' RESTORE_INIT=''
	eventually 5 namespace_init "$STARTED_PID" || return 1
	register pid "$RESTORE_INIT"
	eventually "${RESTORE_TIMEOUT:-60}" test -s "$base.rc" || {
		echo 'criu restore does not end' >&2; return 1; }
	[ "$(cat "$base.rc")" = 0 ] || return "$(cat "$base.rc")"
	RESTORED_PID=$(host_pid "$RESTORE_INIT" "$(cat "$base.pid")")
}

# The child of `unshare --fork`: the one in another pid namespace. Before it, the shell that became
# unshare has children, too.
namespace_init()
{
	local pid ns

	for pid in $(pgrep -P "$1"); do
		ns=$(readlink "/proc/$pid/ns/pid") || continue
		[ "$ns" != "$(readlink /proc/self/ns/pid)" ] || continue
		RESTORE_INIT=$pid
		return 0
	done
	is_dead "$1"
}

# restore_lazily IMGDIR [criu options]: as above, with the pages from IMGDIR/lazy-pages.socket.
restore_lazily()
{
	restore_in_namespace "$1" --lazy-pages "${@:2}"
}

# status_json FIELD [SESSION]
status_json()
{
	"$MFD" status --dir "$SERVER_DIR" "${2:-$SESSION}" --json 2>/dev/null | jq -r ".$1"
}

# wait_session SESSION ready|committed|done [SECONDS]
wait_session()
{
	"$MFD" wait --dir "$SERVER_DIR" "$1" --for "$2" --timeout "${3:-30}"
}

# ---- assertions ----------------------------------------------------------------------------------

assert_running()
{
	! is_dead "$1" || fail "process $1 does not run: state '$(state_of "$1")'"
}

# Dead is enough: to reap it is init's affair, and init takes its time on some machines.
assert_gone()
{
	eventually "${2:-5}" is_dead "$1" || fail "process $1 is still there: state '$(state_of \
		"$1")'"
}

switches()
{
	awk '/^voluntary_ctxt_switches:/ { print $2 }' "/proc/$1/status" 2>/dev/null
}

has_ticked()
{
	[ "$(switches "$1")" != "$2" ]
}

# Neither stopped nor traced, and its main thread goes on: a victim sleeps and wakes every tick.
assert_not_frozen()
{
	local state before

	assert_running "$1" || return 1
	state=$(state_of "$1")
	[[ $state != [Tt] ]] || fail "process $1 is stopped: state '$state'" || return 1
	before=$(switches "$1")
	eventually 3 has_ticked "$1" "$before" || fail "process $1 does not tick: state '$state'"
}

# What is done keeps its images; they are back when a newcomer of its name came to nothing.
images_of_aborted()
{
	local dir found

	found=$(find "$SERVER_DIR" -mindepth 1 -name 'pagemap-*.img' -printf '%h\n' | sort -u)
	for dir in $found; do
		[ "$(status_json state "${dir##*/}")" = 'done' ] || echo "$dir/pagemap-*.img"
	done
}

# Nothing of an aborted session is left on host b: no process but the server's own, no socket, no
# images, no pages.
target_is_clean()
{
	local pid ours

	ours="$(realpath "$MFD") $(readlink "/proc/$SERVER_PID/exe")"
	for pid in $([ -z "$NS_B" ] || ip netns pids "$NS_B"); do
		if ! is_dead "$pid" && [[ " $ours " != *" $(readlink "/proc/$pid/exe") "* ]]; then
			CLEAN_WHY="process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
			return 1
		fi
	done
	CLEAN_WHY=$(find "$SERVER_DIR" -mindepth 1 \( -name lazy-pages.socket \
		-o -size +1024k \); images_of_aborted)
	[ -z "$CLEAN_WHY" ]
}

assert_target_clean()
{
	CLEAN_WHY=''
	eventually "${1:-5}" target_is_clean || fail "left on the target: $CLEAN_WHY"
}

if [ "${BASH_SOURCE[0]}" = "$0" ] && [ "${1:-}" = guard ]; then
	shift
	guard "$@"
fi
