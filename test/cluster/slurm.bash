# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# Two compute nodes, n1 and n2, and a head with slurmctld, all of the real Slurm, in namespaces of
# this machine. Needs helpers.bash. The head shares n1's network.

slurm_setup()
{
	local program

	scratch_up
	need_root
	need_criu
	for program in munged slurmctld slurmdbd mariadbd slurmd srun; do
		command -v "$program" >/dev/null || skip "no $program (make check-slurm installs it)"
	done
	hosts_up
	ROOT=$SCRATCH/slurm
	mkdir -p "$ROOT"
	declare -gA NS=([head]=$NS_A [n1]=$NS_A [n2]=$NS_B)
	declare -gA ADDR=([head]=$ADDR_A [n1]=$ADDR_A [n2]=$ADDR_B)
	slurm_files
	node_up head
	node_up n1
	node_up n2
	eventually 60 node_is n1 IDLE || { on head scontrol show nodes; fail 'no n1'; }
	eventually 60 node_is n2 IDLE || { on head scontrol show nodes; fail 'no n2'; }
}

slurm_files()
{
	dd if=/dev/urandom of="$ROOT/munge.key" bs=128 count=1 status=none
	cat >"$ROOT/hosts" <<-END
	127.0.0.1 localhost
	$ADDR_A head n1
	$ADDR_B n2
	END
	cat >"$ROOT/slurm.conf" <<-END
	ClusterName=mfd
	SlurmctldHost=head($ADDR_A)
	SlurmUser=root
	AuthType=auth/munge
	StateSaveLocation=/run/slurmctld
	SlurmdSpoolDir=/run/slurmd
	SlurmctldPidFile=/run/slurmctld.pid
	SlurmdPidFile=/run/slurmd.pid
	ProctrackType=proctrack/linuxproc
	TaskPlugin=task/none
	JobAcctGatherType=jobacct_gather/linux
	JobAcctGatherFrequency=1
	AccountingStorageType=accounting_storage/slurmdbd
	AccountingStorageHost=head
	AccountingStoreFlags=job_comment
	SelectType=select/cons_tres
	SelectTypeParameters=CR_Core
	MpiDefault=none
	ReturnToService=2
	SlurmdTimeout=20
	KillWait=5
	SlurmdParameters=config_overrides
	HealthCheckProgram=$ROOT/drain
	HealthCheckInterval=2
	HealthCheckNodeState=ANY
	NodeName=n1 NodeAddr=$ADDR_A CPUs=2
	NodeName=n2 NodeAddr=$ADDR_B CPUs=2
	PartitionName=all Nodes=n1,n2 Default=YES
	END
	cat >"$ROOT/slurmdbd.conf" <<-END
	AuthType=auth/munge
	DbdHost=head
	SlurmUser=root
	StorageType=accounting_storage/mysql
	StorageUser=root
	StorageLoc=slurm
	END
	# What slurmd runs gets little of an environment.
	cat >"$ROOT/drain" <<-END
	#!/bin/sh
	PATH=${MFD%/*}:$PATH CRIU=$CRIU exec $MFD_TOP/contrib/slurm/drain
	END
	chmod +x "$ROOT/drain"
}

node_up()
{
	start "node.$1" nsenter --net=/run/netns/"${NS[$1]}" -- unshare -m -u -i -p -f \
		--mount-proc --kill-child \
		"$MFD_TOP/test/cluster/slurmnode" "$1" "${ADDR[$1]}" "$ROOT"
	eventually 10 node_init "$1" "$STARTED_PID"
}

# on NODE COMMAND...
on()
{
	nsenter -t "$(cat "$ROOT/$1.init")" -m -u -i -p -n --wd=/ -- env \
		SLURM_CONF=/etc/slurm/slurm.conf "${@:2}"
}

# node_is NAME STATE: as slurmctld has it, IDLE+DRAIN, say.
node_is()
{
	[[ " $(on head scontrol show node "$1" -o 2>/dev/null) " == *" State=$2 "* ]]
}
