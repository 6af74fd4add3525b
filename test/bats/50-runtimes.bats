#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Containers move to another host with contrib/runtimes/move-container; runc itself is as it comes.

bats_require_minimum_version 1.5.0
load helpers
load container

setup()
{
	scratch_up
	need_root
	need_criu
	hosts_up
	containers_up
}

# move_container [OPTIONS]
move_container()
{
	on_a "$MFD_TOP/contrib/runtimes/move-container" \
		--remote "nsenter --net=/run/netns/$NS_B -- bash -c" \
		--server "$SERVER_ADDR" --dir "$SERVER_DIR" --target-multifd "$MFD" \
			--plugins "$PLUGINS" --criu "$CRIU" \
		--runtime "runc --root $SCRATCH/runc-a" \
			--target-runtime "runc --root $SCRATCH/runc-b" \
		--bundle "$SCRATCH/bundle-b" "$@" "$ID"
}

lives_on_b()
{
	[ "$(status_of runc_b)" = running ] || fail "on host b: $(status_of runc_b)" || return 1
	[ -z "$(status_of runc_a)" ] || fail "on host a: $(status_of runc_a)" || return 1
	verify_victim
}

lives_on_a()
{
	[ "$(status_of runc_a)" = running ] || fail "on host a: $(status_of runc_a)" || return 1
	[ -z "$(status_of runc_b)" ] || fail "on host b: $(status_of runc_b)" || return 1
	verify_victim
}

@test "runc, safe: a container moves, every page as it was, with TLS" {
	"$MFD" keys init "$SCRATCH/keys" >/dev/null
	"$MFD" keys add "$SCRATCH/keys" b "$ADDR_B" >/dev/null
	"$MFD" keys add "$SCRATCH/keys" a >/dev/null
	start_server --tls-dir "$SCRATCH/keys/b"
	make_bundle --size 128 --tree 1 --map execrw:4
	run_container
	move_container --tls-dir "$SCRATCH/keys/a"
	lives_on_b
	grep -q 'x509:a' "$SCRATCH/server.err"
	echo "# runc, safe: not running for $(victim_gap) ms" >&3
	runc_b exec "$ID" /bin/busybox touch /data/exec
	[ -e "$VICTIM_DIR/exec" ]
}

@test "runc, postcopy: a container moves, every page as it was" {
	start_server
	make_bundle --size 128 --tree 1 --map execrw:4
	run_container
	move_container --mode postcopy
	lives_on_b
	echo "# runc, postcopy: not running for $(victim_gap) ms" >&3
}

@test "runc, with precopy: rounds while it runs, also where its seccomp filter refuses userfaultfd" {
	start_server
	make_bundle --size 128 --tree 1 --dirty=16:100
	edit_bundle "$SCRATCH/bundle" '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW",
		syscalls: [{names: ["userfaultfd"], action: "SCMP_ACT_ERRNO"}]}'
	run_container
	run -2 move_container --precopy always
	[[ $output == *"--precopy is off, auto or on, not 'always'"* ]]
	CRIU_MULTIFD_PRECOPY_CHECK=always move_container --precopy on
	lives_on_b
	[ "$("$MFD" status --dir "$SERVER_DIR" "$ID" --json | jq '.rounds >= 1')" = true ]
}

@test "runc: without shared storage the files are copied while the container stands still" {
	start_server
	make_bundle --size 16
	run_container
	edit_bundle "$SCRATCH/bundle-b" '.root.path = "rootfs"'
	echo before >"$VICTIM_DIR/file"
	move_container --copy
	[ "$(cat "$SCRATCH/bundle-b/rootfs/data/file")" = before ]
	VICTIM_DIR=$SCRATCH/bundle-b/rootfs/data lives_on_b
}

@test "runc: no restore server: one line, and the container runs on" {
	start_server
	make_bundle --size 8
	run_container
	kill -KILL "$SERVER_PID"
	run -1 --separate-stderr move_container
	[[ $stderr == *"'$ID' runs on here"* ]]
	lives_on_a
}

@test "runc, postcopy: a restore that fails: given up, and the container runs on" {
	start_server
	make_bundle --size 64
	run_container
	# Once all of its memory is there it would be kept, as in safe mode.
	on_a tc qdisc add dev eth0 root tbf rate 200mbit burst 512k latency 20ms
	edit_bundle "$SCRATCH/bundle-b" '.root.path = "/nonexistent"'
	run -1 --separate-stderr move_container --mode postcopy
	[[ $stderr == *"'$ID' runs on here"* ]]
	lives_on_a
}

@test "runc: SIGTERM in the middle: given up, and the container runs on" {
	start_server
	make_bundle --size 64
	run_container
	on_a tc qdisc add dev eth0 root tbf rate 200mbit burst 512k latency 20ms
	start move move_container
	local move=$STARTED_PID rc=0
	eventually 20 grep -q 'channels joined' "$SCRATCH/server.err"
	kill -TERM "$(pgrep -P "$move")"
	wait "$move" || rc=$?
	[ "$rc" = 1 ]
	grep -q "'$ID' runs on here" "$SCRATCH/move.err"
	lives_on_a
}

@test "runc, safe: a restore that fails is tried again with the command that is shown" {
	local again

	start_server
	make_bundle --size 8
	run_container
	mv "$SCRATCH/bundle-b" "$SCRATCH/bundle-c"
	mkdir "$SCRATCH/bundle-b"
	jq '.root.path = "/nonexistent"' "$SCRATCH/bundle-c/config.json" \
		>"$SCRATCH/bundle-b/config.json"
	run -3 --separate-stderr move_container
	again=${stderr##*to try again: }
	cp "$SCRATCH/bundle-c/config.json" "$SCRATCH/bundle-b"
	on_b bash -c "$again" </dev/null >/dev/null 2>&1
	lives_on_b
}

@test "runc: what cannot be moved is refused before anything is done" {
	start_server
	make_bundle --size 8
	run -2 --separate-stderr move_container
	[[ $stderr == *'no container'* ]]
	run_container
	run -2 --separate-stderr move_container --bundle /nonexistent
	[[ $stderr == *'no bundle'* ]]
	run -2 --separate-stderr move_container --dir /nonexistent
	run -2 --separate-stderr move_container --plugins /nonexistent
	run -2 --separate-stderr move_container --mode fast
	lives_on_a
}

# with_etc COMMAND...: with $SCRATCH/etc laid over /etc, for this command and what it starts.
with_etc()
{
	unshare --mount sh -c 'mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/etc.work" /etc && exec "$@"' \
		"$SCRATCH" "$@"
}

@test "runc: configured by files alone, /etc/criu/runc.conf and /etc/criu-multifd.conf" {
	start_server
	make_bundle --size 16
	run_container
	mkdir -p "$SCRATCH"/{etc/criu,etc.work,images}
	sed "s|^libdir .*|libdir $PLUGINS|" "$MFD_TOP/contrib/runtimes/runc.conf" \
		>"$SCRATCH/etc/criu/runc.conf"
	printf 'target = %s\nsession = test\n' "$SERVER_ADDR" >"$SCRATCH/etc/criu-multifd.conf"
	with_etc nsenter --net=/run/netns/"$NS_A" -- runc --root "$SCRATCH/runc-a" --criu "$CRIU" \
		checkpoint \
		--image-path "$SCRATCH/images" --work-path "$SCRATCH/images" "$ID" </dev/null \
			>/dev/null 2>&1
	wait_session test committed
	rm "$SCRATCH/etc/criu-multifd.conf"
	with_etc nsenter --net=/run/netns/"$NS_B" -- runc --root "$SCRATCH/runc-b" --criu "$CRIU" \
		restore -d \
		--bundle "$SCRATCH/bundle-b" --image-path "$SERVER_DIR/test" \
			--work-path "$SERVER_DIR/test" \
		"$ID" </dev/null >/dev/null 2>&1
	wait_session test 'done'
	lives_on_b
}

@test "runc: plain checkpoint and restore beside an installed plugin that is not configured" {
	make_bundle --size 16
	run_container
	mkdir "$SCRATCH/images"
	CRIU_LIBS_DIR=$PLUGINS runc_a checkpoint --image-path "$SCRATCH/images" \
		--work-path "$SCRATCH/images" "$ID" \
		</dev/null >/dev/null 2>&1
	[ -z "$(status_of runc_a)" ]
	CRIU_LIBS_DIR=$PLUGINS runc_a restore -d --bundle "$SCRATCH/bundle" \
		--image-path "$SCRATCH/images" \
		--work-path "$SCRATCH/images" "$ID" </dev/null >/dev/null 2>&1
	grep -q multifd "$SCRATCH/images/dump.log"
	[ ! -e "$SCRATCH/images/multifd-send.log" ]
	lives_on_a
}

# Podman on two hosts: /etc of each is its own, as is all that Podman keeps.
podman_hosts()
{
	local h

	# conmon's, which Podman leaves
	[ -e /sys/fs/cgroup/freezer/libpod_parent ] || [ -e /sys/fs/cgroup/libpod_parent ] ||
		register undo find /sys/fs/cgroup -depth -type d -path "*/libpod_parent*" \
			-exec rmdir {} ';'

	printf '[containers]\napparmor_profile = ""\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nlock_type = "file"\n' \
		>"$SCRATCH/containers.conf"
	export CONTAINERS_CONF=$SCRATCH/containers.conf
	for h in a b; do
		mkdir -p "$SCRATCH/etc-$h" "$SCRATCH/etc-$h.work"
		start "etc-$h" unshare --mount sh -c '
			mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0,workdir=$0.work" \
				/etc &&
			echo ready && exec sleep 1000' "$SCRATCH/etc-$h"
		eventually 5 grep -q ready "$SCRATCH/etc-$h.out"
		[ $h = a ] && ETC_A=$STARTED_PID || ETC_B=$STARTED_PID
	done
	PODMAN_A="podman --root $SCRATCH/store-a --runroot $SCRATCH/run-a --tmpdir $SCRATCH/tmp-a --runtime $(command -v runc)"
	PODMAN_B="podman --root $SCRATCH/store-b --runroot $SCRATCH/run-b --tmpdir $SCRATCH/tmp-b --runtime $(command -v runc)"
}

# shellcheck disable=SC2086  # lists of words
podman_a()
{
	on_a nsenter --mount="/proc/$ETC_A/ns/mnt" -- $PODMAN_A "$@"
}

# shellcheck disable=SC2086
podman_b()
{
	on_b nsenter --mount="/proc/$ETC_B/ns/mnt" -- $PODMAN_B "$@"
}

@test "podman through runc: a container moves by its name, no file of the configuration stays behind" {
	local root

	start_server
	make_bundle
	podman_hosts
	tar -C "$SCRATCH/bundle/rootfs" -cf "$SCRATCH/image.tar" .
	podman_a import -q "$SCRATCH/image.tar" localhost/victim
	podman_b import -q "$SCRATCH/image.tar" localhost/victim
	podman_a run -d --name web --network none --cgroup-parent "/$ID-podman" \
		--ulimit nofile=4096:4096 \
		--ulimit nproc=4096:4096 localhost/victim /bin/sh \
			-c '/bin/victim --size 64 /data & wait'
	eventually 30 podman_a exec web grep -q ^ready /data/victim.log
	nsenter --net=/run/netns/"$NS_A" --mount="/proc/$ETC_A/ns/mnt" \
		-- "$MFD_TOP/contrib/runtimes/move-container" \
		--remote "nsenter --net=/run/netns/$NS_B --mount=/proc/$ETC_B/ns/mnt -- bash -c" \
		--server "$SERVER_ADDR" --dir "$SERVER_DIR" --target-multifd "$MFD" \
			--plugins "$PLUGINS" --criu "$CRIU" \
		--runtime "$PODMAN_A" --target-runtime "$PODMAN_B" web
	# Not even exited: it could be started a second time.
	run ! podman_a inspect web
	[ "$(podman_b inspect -f '{{.State.Status}}' web)" = running ]
	# Its files can be seen from that host's mount namespace only.
	root=$(podman_b inspect -f '{{.GraphDriver.Data.MergedDir}}' web)
	VICTIMCTL="$SCRATCH/victimctl"
	printf '#!/bin/sh\nexec nsenter --mount=/proc/%s/ns/mnt -- %s "$@"\n' "$ETC_B" \
		"$MFD_TOP/test/tools/victimctl" >"$VICTIMCTL"
	chmod +x "$VICTIMCTL"
	verify_victim "$root/data"
	echo "# podman: not running for $(victim_gap 0 "$root/data") ms" >&3
	[ ! -e "$SCRATCH/etc-a/criu-multifd.conf" ]
	[ ! -e "$SCRATCH/etc-a/criu" ]
	[ ! -e "$SCRATCH/etc-b/criu" ]
	podman_b rm -f -t 0 web
}

# Debian 12's crun has no CRIU, Debian 13's has.
@test "crun: a container moves, or the one line that says why not" {
	need_criu
	if ! crun --version | grep -q '+CRIU'; then
		SERVER_ADDR=127.0.0.1:1 SERVER_DIR=$SCRATCH
		run -2 --separate-stderr move_container --runtime crun --target-runtime crun
		[[ $stderr == *'crun was built without CRIU'* ]]
		return
	fi
	start_server
	make_bundle --size 64
	register undo crun --root "$SCRATCH/crun-a" delete -f "$ID"
	register undo crun --root "$SCRATCH/crun-b" delete -f "$ID"
	on_a crun --root "$SCRATCH/crun-a" --cgroup-manager=cgroupfs run \
		-d --bundle "$SCRATCH/bundle" "$ID" \
		</dev/null >/dev/null 2>&1
	eventually 30 grep -q '^ready' "$VICTIM_DIR/victim.log"
	move_container --runtime "crun --root $SCRATCH/crun-a --cgroup-manager=cgroupfs" \
		--target-runtime "crun --root $SCRATCH/crun-b --cgroup-manager=cgroupfs"
	verify_victim
	[ "$(on_b crun --root "$SCRATCH/crun-b" state "$ID" | jq -r .status)" = running ]
}
