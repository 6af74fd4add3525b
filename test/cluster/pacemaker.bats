#!/usr/bin/env bats
# Variables of helpers.bash and cluster.bash.
# shellcheck disable=SC2153,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# contrib/pacemaker/process under the real corosync and pacemaker: `make check-cluster`.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load ../bats/migrate
load nodes
load cluster

setup()
{
	cluster_setup
}

# victim_resource NAME: a process of the cluster that can verify its memory; waits until it runs.
victim_resource()
{
	mkdir -p "$SCRATCH/$1"
	resource "$1" "$VICTIM --size 16 $SCRATCH/$1" "${2:-}"
	eventually 60 settled_on "$1" n1 || { ops "$1" n1; fail "$1 does not start"; }
	eventually 20 grep -q ready "$SCRATCH/$1/victim.log"
}

# One copy, with every byte as it was: the one that was started, never another.
same_one()
{
	[ "$(copies "$SCRATCH/$1")" = 1 ] || fail "$1: $(copies "$SCRATCH/$1") copies" || return 1
	[ "$(grep -c '^ready' "$SCRATCH/$1/victim.log")" = 1 ] || fail "$1 was started again" ||
		return 1
	verify_victim "$SCRATCH/$1"
}

# settled_on NAME NODE: it runs there, and Pacemaker has nothing left to do.
settled_on()
{
	runs_on "$1" "$2" && crm "$2" crm_resource --wait --timeout 1s 2>/dev/null
}

none()
{
	[ "$(copies "$SCRATCH/$1")" = 0 ]
}

streaming()
{
	grep -qs streaming \
		"/proc/$(cat "$ROOT/$1.init")/root/run/criu-multifd.pacemaker/$2/migrate.log"
}

@test "standby drains a node: two resources at once go to the other and back, nothing is lost" {
	victim_resource a
	victim_resource b '--precopy on'
	standby n1 on
	eventually 90 settled_on a n2 || { ops a n2; fail 'a does not move'; }
	eventually 90 settled_on b n2 || { ops b n2; fail 'b does not move'; }
	same_one a
	same_one b
	standby n1 off
	eventually 90 settled_on a n1 || { ops a n1; fail 'a does not move back'; }
	eventually 90 settled_on b n1
	same_one a
	same_one b
	# What is stopped is gone.
	crm n1 crm_resource -r a --meta -p target-role -v Stopped
	eventually 60 none a
}

# failed_on NAME NODE: its migrate_to has, and Pacemaker has noted that.
failed_on()
{
	crm "$2" crm_mon -1 | grep -qE "^  \* $1(_migrate_to_0| migrate_to) on $2 .*'error'"
}

@test "the target's node dies in the middle: the process runs on where Pacemaker has it" {
	victim_resource a '--max-bandwidth 4M --stall-timeout 2000 --precopy off'
	standby n1 on
	eventually 60 streaming n1 a || { ops a n1; fail 'it does not move'; }
	kill_node n2
	eventually 60 failed_on a n1 || { ops a n1; fail 'Pacemaker has not seen that'; }
	same_one a
	runs_on a n1 # blocked there: an operator cleans up
}

begun_again()
{
	[ "$(grep -c '^ready' "$SCRATCH/$1/victim.log")" = 2 ] && [ "$(copies "$SCRATCH/$1")" = 1 ]
}

@test "the source's node dies in the middle: the process is started anew on the other, once" {
	victim_resource a '--max-bandwidth 4M --stall-timeout 2000 --precopy off'
	standby n1 on
	eventually 60 streaming n1 a || { ops a n1; fail 'it does not move'; }
	kill_node n1
	eventually 90 settled_on a n2 || { ops a n2; fail 'a does not start'; }
	eventually 20 begun_again a
	crm n2 "$MFD" status --dir /run/criu-multifd a | grep -q 'aborted'
	verify_victim "$SCRATCH/a"
}

@test "the link is cut in the middle: the survivor of the fencing has the only copy" {
	victim_resource a '--max-bandwidth 4M --stall-timeout 2000 --precopy off'
	standby n1 on
	eventually 60 streaming n1 a || { ops a n1; fail 'it does not move'; }
	ip -n "$NS_A" link set eth0 down
	eventually 90 is_dead "$(cat "$ROOT/n2.init")" || { ops a n1; fail 'n2 is not fenced'; }
	eventually 60 failed_on a n1 || { ops a n1; fail 'Pacemaker has not seen that'; }
	same_one a
	runs_on a n1
}
