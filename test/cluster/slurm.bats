#!/usr/bin/env bats
# Variables of helpers.bash and slurm.bash.
# shellcheck disable=SC2030,SC2031,SC2153,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# contrib/slurm under the real slurmctld, slurmd, slurmdbd and munge: `make check-slurm`.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load nodes
load slurm

setup()
{
	slurm_setup
}

# A step of both nodes that carries a victim and ends with 7, as job 1, from the head.
submit()
{
	VICTIM_DIR=$SCRATCH/job
	mkdir -p "$VICTIM_DIR"
	start srun on head srun --nodes=2 --ntasks-per-node=1 --no-kill --chdir="$SCRATCH" \
		"$MFD_TOP/contrib/slurm/carry" -d "$SCRATCH/folder" -s --insecure \
		sh -c "trap : USR1; $VICTIM --size 32 $VICTIM_DIR; echo ends; exit 7"
	SRUN=$STARTED_PID
	eventually 30 grep -qs ^ready "$VICTIM_DIR/victim.log" || fail 'the job does not start'
	eventually 30 test -s "$SCRATCH/folder/at.n2" || fail 'n2 does not wait'
}

# move FROM TO [OPTIONS]: as a step of the job.
move()
{
	on head srun --jobid=1 --overlap -N1 -n1 -w "$1" --chdir=/ \
		"$MFD_TOP/contrib/slurm/move" 1.0 "${@:2}"
}

# below NODE: the pids there that Slurm counts as the step's, by their names.
below()
{
	local pid

	for pid in $(on "$1" scontrol listpids 1.0 | awk 'NR > 1 { print $1 }'); do
		on "$1" cat "/proc/$pid/comm" 2>/dev/null || :
	done
}

accounted_on()
{
	below "$1" | grep -qx victim
}

# One copy, with every byte as it was: the one that was started, never another.
same_one()
{
	[ "$(grep -c ^ready "$VICTIM_DIR/victim.log")" = 1 ] || fail 'it was started again' ||
		return 1
	[ "$(pgrep -fc -- "^$VICTIM .*$VICTIM_DIR")" = 1 ] || fail 'there are two' || return 1
	verify_victim
}

verified_often()
{
	[ "$(grep -c '^verified all OK' "$VICTIM_DIR/victim.log")" -ge "$1" ]
}

# end_victim NODE: as it ends itself; srun's exit status is RC.
end_victim()
{
	RC=0
	on "$1" pkill -TERM -x victim # of that node's pid namespace
	wait "$SRUN" || RC=$?
}

# accounts_say LINE: of sacct, for the job and each of its steps.
accounts_say()
{
	on head sacct -D -n -P -j 1 -o JobID,State,ExitCode,NodeList,NTasks | grep -qxF "$1"
}

# has_left NODE: to that one alone.
has_left()
{
	[ "$(on head squeue -h -j 1 -o '%T %N')" = "RUNNING $1" ]
}

@test "a job moves to the other node of its allocation and back, and is accounted where it is" {
	submit
	accounted_on n1
	move n1 n2
	eventually 20 accounted_on n2 || { below n2; fail 'not below the slurmstepd of n2'; }
	run ! accounted_on n1
	same_one
	[ "$(on head squeue -h -j 1 -o %k)" = '1.0 runs on n2' ]
	# A signal to the step is meant for the command, which verifies its memory.
	on head scancel --signal=USR1 1.0
	eventually 20 verified_often 2
	move n2 n1 --precopy on
	eventually 20 accounted_on n1
	run ! accounted_on n2
	same_one
	move n1 n2
	eventually 20 accounted_on n2
	end_victim n2
	[ "$RC" = 7 ]
	grep -q 'n2: task 1: Exited with exit code 7' "$SCRATCH/srun.err"
	grep -qx ends "$SCRATCH/folder/output"
	eventually 20 accounts_say '1.0|FAILED|7:0|n[1-2]|2' || fail "$(on head sacct -D -P -j 1)"
	eventually 20 node_is n1 IDLE
	[ -z "$(on n1 ls /run/criu-multifd.slurm)" ]
	[ -z "$(on n2 ls /run/criu-multifd.slurm)" ]
}

@test "a node that is drained moves its job and leaves it; the job goes on and ends as it ends" {
	submit
	on head scontrol update nodename=n1 state=drain reason=test
	eventually 60 has_left n2 || fail "$(on n1 tail /run/criu-multifd.slurm/1.0/*.log)"
	eventually 20 node_is n1 IDLE+DRAIN
	accounted_on n2
	same_one
	end_victim n2
	[ "$RC" = 7 ]
	eventually 20 accounts_say '1|FAILED|7:0|n2|' || fail "$(on head sacct -D -P -j 1)"
}

@test "the target's node dies in the middle: the job runs on where it was, and ends with 137 if killed" {
	submit
	start move move n1 n2 --max-bandwidth 4M --stall-timeout 2000 --precopy off
	eventually 30 on n1 grep -qs streaming /run/criu-multifd.slurm/1.0/moving/migrate.log
	kill -KILL "$(cat "$ROOT/n2.init")"
	wait "$STARTED_PID" && fail 'it has moved'
	accounted_on n1
	same_one
	[ "$(on head squeue -h -j 1 -o %T)" = RUNNING ]
	# All of it, the shell that would have told of its end, too.
	on n1 pkill -KILL -f "^sh -c exec 2>&1"
	eventually 30 grep -qsx 137 "$SCRATCH/folder/status"
	eventually 30 grep -q 'n1: task 0: Exited with exit code 137' "$SCRATCH/srun.err"
}

@test "the node that it has left dies: the job goes on without it" {
	submit
	move n1 n2
	eventually 20 accounted_on n2
	kill -KILL "$(cat "$ROOT/n1.init")"
	eventually 120 node_is n1 DOWN+NOT_RESPONDING || fail "$(on head scontrol show node n1)"
	eventually 20 has_left n2
	same_one
	end_victim n2
	[ "$RC" = 7 ]
	eventually 20 accounts_say '1|FAILED|7:0|n2|' || fail "$(on head sacct -D -P -j 1)"
}
