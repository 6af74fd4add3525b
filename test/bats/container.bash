# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
#
# Containers of runc on the two hosts, with the victim in them. Needs helpers.bash.

# containers_up: after hosts_up; sets ID, the container's name.
containers_up()
{
	command -v runc >/dev/null || fail 'no runc: run contrib/setup' || return 1
	ID=mfd-${SCRATCH##*.}
	# What a test leaves that ends anywhere. The cgroups of both hosts are here, on one kernel.
	register undo find /sys/fs/cgroup -depth -type d -path "*/$ID-*" -exec rmdir {} ';'
	register undo sh -c "cat /sys/fs/cgroup/freezer/$ID-*/cgroup.procs \
		/sys/fs/cgroup/freezer/$ID-*/*/cgroup.procs \
		/sys/fs/cgroup/$ID-*/*/cgroup.procs \
		| xargs -r sh -c 'kill -KILL \"\$@\"; sleep 0.5' sh"
	register undo runc --root "$SCRATCH/runc-a" delete -f "$ID"
	register undo runc --root "$SCRATCH/runc-b" delete -f "$ID"
}

runc_a()
{
	on_a runc --root "$SCRATCH/runc-a" --criu "$CRIU" "$@"
}

runc_b()
{
	on_b runc --root "$SCRATCH/runc-b" --criu "$CRIU" "$@"
}

# make_bundle VICTIM OPTIONS...: busybox and the victim, in a network namespace of its own as is
# runc's default.
make_bundle()
{
	local root=$SCRATCH/bundle/rootfs lib

	mkdir -p "$root"/{bin,proc,sys,dev,tmp,data}
	cp "$(command -v busybox)" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	ln -s busybox "$root/bin/grep"
	cp "$VICTIM" "$root/bin/victim"
	for lib in $(ldd "$VICTIM" | grep -o '/[^ ]*'); do
		mkdir -p "$root${lib%/*}"
		cp -L "$lib" "$root$lib"
	done
	VICTIM_DIR=$root/data
	(cd "$SCRATCH/bundle" && runc spec)
	edit_bundle "$SCRATCH/bundle" \
		".process.terminal = false | .process.rlimits = [] | .root.readonly = false |
		.process.args = [\"/bin/sh\", \"-c\", \"/bin/victim \$0 /data & wait\", \"$*\"] |
		.linux.cgroupsPath = \"/$ID-a\""
	# Host b's: the same files, as on shared storage. Two hosts on one kernel share cgroups, so
	# those differ.
	mkdir "$SCRATCH/bundle-b"
	cp "$SCRATCH/bundle/config.json" "$SCRATCH/bundle-b"
	edit_bundle "$SCRATCH/bundle-b" ".linux.cgroupsPath = \"/$ID-b\" | .root.path = \"$root\""
}

# edit_bundle DIR JQ-FILTER
edit_bundle()
{
	jq "$2" "$1/config.json" >"$1/config.new"
	mv "$1/config.new" "$1/config.json"
}

run_container()
{
	runc_a --log "$SCRATCH/runc-run.log" run -d --bundle "$SCRATCH/bundle" "$ID" </dev/null \
		>/dev/null 2>&1
	eventually 30 grep -q '^ready' "$VICTIM_DIR/victim.log"
}

# status_of runc_a|runc_b: empty where there is no such container.
status_of()
{
	"$1" state "$ID" 2>/dev/null | jq -r .status
}
