# shellcheck shell=bash disable=SC2034,SC2154  # variables of the files that source this
# SPDX-License-Identifier: GPL-2.0-only
#
# What bench, soak and demo share: test/bats/helpers.bash outside of bats, control groups as meters,
# and migrations that are timed by $EPOCHREALTIME and by waiting for children, never by polling.

skip()
{
	die "$*"
}

MFD_TOP=${MFD_TOP:-$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")}
# shellcheck source=test/bats/helpers.bash
. "$MFD_TOP/test/bats/helpers.bash"
set -u
export LC_ALL=C.UTF-8

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# arena_up: the scratch folder (on a tmpfs), gone at any end.
arena_up()
{
	BATS_TEST_TMPDIR=${TMPDIR:-/tmp}
	# "make" exits on the first signal, whose sender expects everything to end.
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	trap 'arena_down' EXIT
	scratch_up
}

arena_down()
{
	trap '' INT TERM HUP
	disown -a # so that the shell does not report them as killed
	[ -z "${SCRATCH:-}" ] || clean_up "$SCRATCH"
}

# keep_memory: no free memory goes back to a hypervisor until the arena is down, else what was
# warmed is cold again in the middle of a run. Sets WARM, how the program warm is called.  Upstream
# kernels let the order of what is reported be raised only to the largest there is, not beyond.
keep_memory()
{
	local file=/sys/module/page_reporting/parameters/page_reporting_order old none

	WARM=("$BUILD/test/bench/warm")
	read -r old 2>/dev/null <"$file" && [[ $old =~ ^[0-9]{1,2}$ ]] ||
		return 0 # nothing is reported
	none=$(awk '{ if (NF - 4 > most) most = NF - 4 } END { print most }' /proc/buddyinfo)
	[ "$old" -lt "$none" ] || return 0
	register undo sh -c "echo $old >$file"
	{ echo "$none" >"$file"; } 2>/dev/null || WARM+=(--hold)
}

# loopback_up: one network namespace for both ends, so that no other bytes are counted and no
# port is taken.
loopback_up()
{
	NS_A=mfd-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
	NS_B=$NS_A ADDR_A=127.0.0.1 ADDR_B=127.0.0.1
	register netns "$NS_A"
	ip netns add "$NS_A" && ip -n "$NS_A" link set lo up
}

# ---- meters --------------------------------------------------------------------------------------

# now: microseconds, in NOW; no fork.
now()
{
	NOW=${EPOCHREALTIME/[.,]/}
}

# Where our process is in hierarchy $1, as a folder we may make others in; cgroup v1.
v1_folder()
{
	local path

	path=$(awk -F : -v c="$1" '$2 == c { print $3 }' /proc/self/cgroup)
	[ -d "/sys/fs/cgroup/$1$path" ] || path=''
	echo "/sys/fs/cgroup/$1${path%/}"
}

# meter_new NAME: control groups that count CPU time and memory of what runs by `metered NAME`.
meter_new()
{
	local dir

	METERS=${METERS:-$(if [ -d /sys/fs/cgroup/cpuacct ]; then
		echo "$(v1_folder cpuacct)" "$(v1_folder memory)"
	else
		echo /sys/fs/cgroup
	fi)}
	for dir in $METERS; do
		register undo rmdir "$dir/mfd-$1-$$"
		mkdir "$dir/mfd-$1-$$" || return 1
	done
}

metered()
{
	local dir

	for dir in $METERS; do
		echo "$BASHPID" >"$dir/mfd-$1-$$/cgroup.procs"
	done
	shift
	exec "$@"
}

# meter_cpu_of NAME PID: its processor time counts there from now on; its memory stays where it was
# counted.
meter_cpu_of()
{
	echo "$2" >"${METERS%% *}/mfd-$1-$$/cgroup.procs"
}

# meter_quiet NAME: nothing runs there any more.
meter_quiet()
{
	[ -z "$(<"${METERS%% *}/mfd-$1-$$/cgroup.procs")" ]
}

# meter_cpu NAME: seconds.
meter_cpu()
{
	if [ -e "${METERS%% *}/mfd-$1-$$/cpuacct.usage" ]; then
		awk '{ print $1 / 1e9 }' "${METERS%% *}/mfd-$1-$$/cpuacct.usage"
	else
		awk '$1 == "usage_usec" { print $2 / 1e6 }' "${METERS%% *}/mfd-$1-$$/cpu.stat"
	fi
}

# meter_peak NAME: bytes, "null" where the kernel does not tell.
meter_peak()
{
	cat "${METERS##* }/mfd-$1-$$/memory.max_usage_in_bytes" 2>/dev/null ||
		cat "${METERS##* }/mfd-$1-$$/memory.peak" 2>/dev/null || echo null
}

# meter_used NAME: bytes at this moment; 0 where the kernel does not tell.
meter_used()
{
	cat "${METERS##* }/mfd-$1-$$/memory.usage_in_bytes" 2>/dev/null ||
		cat "${METERS##* }/mfd-$1-$$/memory.current" 2>/dev/null || echo 0
}

meter_end()
{
	local dir

	# What a server has restored outlives it.
	# shellcheck disable=SC2046
	kill -9 $(cat "${METERS%% *}/mfd-$1-$$/cgroup.procs") 2>/dev/null
	for dir in $METERS; do
		eventually 5 rmdir "$dir/mfd-$1-$$" 2>/dev/null
	done
}

# Bytes that went over the loopback device so far, with all headers.
wire_bytes()
{
	ip -n "$NS_A" -s -j link show lo | jq '.[0].stats64.tx.bytes'
}

# ---- a place to restore to -----------------------------------------------------------------------

# The first process of the namespace: runs the commands it is told, answers with their status,
# reaps.
# shellcheck disable=SC2016
NAMESPACE_INIT='exec 3<>"$1" 4<>"$2"; while IFS= read -r line <&3; do eval "$line" 3>&- 4>&-; echo $? >&4; done'

# namespace_up METER: a pid namespace on host b, in which restore_here restores; sets RESTORE_INIT,
# its first process. Made beforehand, so that it takes no time in a timed run.
namespace_up()
{
	local in=$SCRATCH/namespace.ask out=$SCRATCH/namespace.answer

	rm -f "$in" "$out"
	mkfifo "$in" "$out"
	start namespace metered "$1" ${NS_B:+nsenter --net=/run/netns/"$NS_B" --} \
		unshare --pid --mount --fork --kill-child --mount-proc bash -c "$NAMESPACE_INIT" \
			init "$in" "$out"
	NAMESPACE=$STARTED_PID
	exec {NAMESPACE_ASK}<>"$in" {NAMESPACE_ANSWER}<>"$out"
	eventually 5 namespace_init "$NAMESPACE" && [ -n "$RESTORE_INIT" ] || return 1
	register pid "$RESTORE_INIT"
}

# restore_here IMGDIR [criu options]: returns criu's status.
restore_here()
{
	local rc words

	words=("$CRIU" restore -D "$1" -d -v1 -o restore.log --manage-cgroups=ignore "${@:2}")
	echo "${words[*]@Q}" >&"$NAMESPACE_ASK"
	read -r -t 60 -u "$NAMESPACE_ANSWER" rc && return "$rc"
}

namespace_down()
{
	echo 'exit 0' >&"$NAMESPACE_ASK"
	wait "$NAMESPACE"
	exec {NAMESPACE_ASK}>&- {NAMESPACE_ANSWER}>&-
}
