# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # variables of helpers.bash and of the round
# SPDX-License-Identifier: GPL-2.0-only
#
# The rounds in which a container of runc moves: `runc checkpoint` and `runc restore` take the place
# of `migrate` and of `criu restore`, and CRIU is runc's child. The victim is the first process of
# the container; it is in the network namespace of its host, by which processes are known
# (procs.bash).

start_container()
{
	local dir

	containers_up || return 1
	make_bundle
	for dir in bundle bundle-b; do
		edit_bundle "$SCRATCH/$dir" "
			.process.args = [\"/bin/victim\", \"--size\", \"$PLAN_MIB\", \"--fill\",
				\"$PLAN_FILL\", \"--tree\", \"$PLAN_TREE\", \"/data\"] |
			.linux.namespaces |= map(select(.type != \"network\")) |
			.mounts |= map(select(.destination != \"/sys\" and
				.destination != \"/sys/fs/cgroup\"))"
	done
	run_container || return 1
	VICTIM_PID=$(runc_a state "$ID" | jq .pid)
	register pid "$VICTIM_PID"
}

# with_plugin NAME NETWORK-NAMESPACE COMMAND: CRIU takes it from its environment, through runc.
with_plugin()
{
	start "$1" nsenter --net=/run/netns/"$2" -- env LD_PRELOAD="$JUMPS" \
		PRELOAD_JUMP="$SCRATCH/jump" CRIU_LIBS_DIR="$PLUGINS" "${@:3}"
}

start_checkpoint()
{
	mkdir -p "$IMG"
	with_plugin migrate "$NS_A" CRIU_MULTIFD_TARGET="$SERVER_ADDR" \
		CRIU_MULTIFD_SESSION="$SESSION" CRIU_MULTIFD_MODE="${PLAN#runc-}" \
		CRIU_MULTIFD_CHANNELS="$PLAN_CHANNELS" CRIU_MULTIFD_COMPRESS="$PLAN_COMPRESS" \
		CRIU_MULTIFD_MAX_BANDWIDTH="${PLAN_RATE}M" CRIU_MULTIFD_STALL_TIMEOUT=2s \
		CRIU_MULTIFD_CONNECT_TIMEOUT=3s \
		runc --root "$SCRATCH/runc-a" --criu "$CRIU" --log "$SCRATCH/checkpoint.err" \
			checkpoint --lazy-pages --image-path "$IMG" --work-path "$IMG" "$ID"
}

# What a failed restore left would be in the way of the next one.
start_container_restore()
{
	runc_b delete -f "$ID" >/dev/null 2>&1
	with_plugin "restore.$RESTORES" "$NS_B" bash -c '"${@:2}"; echo $? >"$1.new"; mv "$1.new" "$1"' \
		restore "$RESTORING.rc" \
		runc --root "$SCRATCH/runc-b" --criu "$CRIU" \
			--log "$SCRATCH/runc-restore.$RESTORES.err" \
			restore -d --lazy-pages --bundle "$SCRATCH/bundle-b" \
			--image-path "$SERVER_DIR/$SESSION" --work-path "$SERVER_DIR/$SESSION" "$ID"
}

# runc's own record of a container that is not there any more, when runc was killed.
containers_down()
{
	runc_a delete -f "$ID" >/dev/null 2>&1
	runc_b delete -f "$ID" >/dev/null 2>&1
}
