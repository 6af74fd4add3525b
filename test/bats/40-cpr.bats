#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Inherited descriptors come along: kept on one host, opened again or offered on another, refused by
# name.

bats_require_minimum_version 1.5.0
# bats file_tags=alone
load helpers
load cpr

CPRFD=$TOOLS/cprfd

setup()
{
	scratch_up
	need_root
	need_criu
	SESSION=test
	IMG=$SCRATCH/img
	mkdir "$IMG"
}

# start_holder KIND...: sets OUTSIDE_PID and VICTIM_PID; HOLDER is their folder.
start_holder()
{
	HOLDER=$SCRATCH/holder.$RANDOM
	mkdir "$HOLDER"
	start outside ${NS_A:+nsenter --net=/run/netns/"$NS_A" --} "$CPRFD" start "$HOLDER" "$@"
	OUTSIDE_PID=$STARTED_PID
	eventually 20 grep -qs ready "$HOLDER/victim.log" ||
		fail "the victim is not ready: $(cat "$SCRATCH/outside.err")"
	VICTIM_PID=$(cat "$HOLDER/victim.pid")
	register pid "$VICTIM_PID"
}

checked()
{
	[ "$(grep -c '^checked' "$HOLDER/victim.log")" -gt "$1" ]
}

# Every descriptor works, and the outside party has noticed nothing.
check_holder()
{
	local before

	before=$(grep -c '^checked' "$HOLDER/victim.log") || true
	kill -USR1 "$RESTORED_PID"
	eventually 30 checked "$before" || fail 'the restored process does not answer'
	tail -n 1 "$HOLDER/victim.log" | grep -q 'bad 0$' || {
		grep '^check ' "$HOLDER/victim.log" >&2; return 1; }
}

# same_as_outside N: the victim's first N descriptors are the open file descriptions that they were.
same_as_outside()
{
	local fd

	for ((fd = 3; fd < 3 + $1; fd++)); do
		"$CPRFD" kcmp "$RESTORED_PID" $fd "$OUTSIDE_PID" $((fd + 1000)) ||
			fail "descriptor $fd is another description"
	done
}

round_trip()
{
	start_keeper
	start_holder "$@"
	dump_kept
	[ "$(held "$KEEPER_DIR")" = $# ]
	assert_gone "$VICTIM_PID"
	restore_kept
	check_holder
	same_as_outside $#
	[ "$(held "$KEEPER_DIR")" = 0 ]
}

@test "kept: /dev/fuse" {
	[ -c /dev/fuse ] || skip 'kernel lacks FUSE'
	round_trip fuse
}

@test "kept: /dev/userfaultfd" {
	[ -c /dev/userfaultfd ] || skip 'kernel lacks /dev/userfaultfd'
	round_trip uffddev
}

@test "kept: a bpf map, its value intact" {
	round_trip bpf
}

@test "kept: a perf event" {
	round_trip perf
}

@test "kept: a memfd and an eventfd shared with another process" {
	round_trip memfd eventfd
}

@test "kept: a pipe to another process, data in flight delivered once" {
	round_trip pipe
	[ "$(grep -c 'queued before the dump' "$HOLDER/outside.log")" = 1 ]
	[ "$(grep -c ping "$HOLDER/outside.log")" = 1 ]
}

@test "kept: unix stream, datagram and seqpacket sockets of another process, data in flight" {
	round_trip stream dgram seqpacket
}

@test "kept: ends of socketpairs, data in flight" {
	round_trip pair-stream pair-dgram pair-seqpacket
}

@test "kept: listening sockets of a service manager" {
	round_trip listen-unix listen-tcp
}

@test "kept: all at once, twice" {
	start_keeper
	start_holder fuse bpf perf memfd eventfd pipe pipe stream stream dgram pair-seqpacket \
		pair-seqpacket
	dump_kept
	restore_kept
	check_holder
	same_as_outside 12
	kill -9 "$RESTORE_INIT"
}

release_keeps()
{
	SESSION=v$VERSION IMG=$SCRATCH/img.$VERSION
	mkdir "$IMG"
	start_holder fuse bpf memfd eventfd pipe stream pair-dgram
	dump_kept
	restore_kept
	check_holder
	same_as_outside 7
	kill -9 "$RESTORE_INIT"
}

@test "kept: with every CRIU release that can be had" {
	start_keeper
	every_criu release_keeps
}

@test "kept: 10,000 descriptors" {
	[ "$(ulimit -Hn)" -ge 20000 ] || skip "RLIMIT_NOFILE is $(ulimit -Hn), 20000 are needed"
	start_keeper
	start_holder 'fuse*5000' 'bpf*5000'
	dump_kept
	[ "$(held "$KEEPER_DIR")" = 10000 ]
	restore_kept
	check_holder
	[ "$(held "$KEEPER_DIR")" = 0 ]
}

@test "kept: what the images name is shown" {
	start_keeper
	start_holder fuse pair-stream
	dump_kept
	"$MFD" show "$IMG/cpr-fds.img" | jq \
		-e '[.entries[] | select(.name == "/dev/fuse" and .how == "KEPT")] | length == 1'
	"$MFD" show "$IMG/cpr-fds.img" | jq -e '[.entries[] | select(.kind == "UNIX_STREAM")][0].socket | .inode > 0 and .peer_inode > 0'
}

@test "a failed dump gives everything back" {
	start_keeper
	start_holder fuse pair-stream
	CRIU_MULTIFD_CPR='/dev/*' run ! dump_kept # after the first was handed over
	grep -q '/dev/fuse .* comes along' "$IMG/dump.log"
	[ "$(held "$KEEPER_DIR")" = 0 ]
	[ ! -e "$IMG/.cpr-fds.log" ]
	RESTORED_PID=$VICTIM_PID check_holder
}

@test "a failed restore leaves them for the next one" {
	start_keeper
	start_holder fuse pair-stream
	dump_kept
	printf '#!/bin/sh\ntest "$CRTOOLS_SCRIPT_ACTION" != post-restore\n' >"$SCRATCH/script"
	chmod +x "$SCRATCH/script"
	restore_refused --action-script "$SCRATCH/script"
	grep -q 'Forking task' "$IMG/restore.log"
	[ "$(held "$KEEPER_DIR")" = 2 ]
	restore_kept
	check_holder
	same_as_outside 2
}

@test "patterns: what is not claimed stays CRIU's" {
	start_keeper
	start_holder fuse bpf
	CRIU_MULTIFD_CPR='/dev/*' run ! dump_kept
	grep -q "anon_inode:bpf-map is not claimed" "$IMG/dump.log"
	CRIU_MULTIFD_CPR=off run ! dump_kept
	grep -q "Can't dump file" "$IMG/dump.log"
	RESTORED_PID=$VICTIM_PID check_holder
	CRIU_MULTIFD_CPR='/dev/*,anon_inode:bpf-map' dump_kept
	restore_kept
	check_holder
}

@test "what no process can keep is refused before anything is frozen" {
	local kind

	start_keeper
	for kind in uring vsock secret; do
		start_holder fuse $kind || { grep \
			-q 'not permitted\|not implemented\|not supported' "$SCRATCH/outside.err" &&
			continue; }
		run ! dump_kept
		grep -q "multifd: process $VICTIM_PID, descriptor 4 is " "$IMG/dump.log"
		run ! grep -q 'Seized task' "$IMG/dump.log"
		kill -0 "$VICTIM_PID"
		[ "$(held "$KEEPER_DIR")" = 0 ]
	done
}

@test "the keeper: a restore without it, and one where it has lost what it held, fail by name" {
	start_keeper
	start_holder bpf
	dump_kept
	"$MFD" cpr --dir "$KEEPER_DIR" drop $SESSION
	restore_refused
	grep -q 'multifd: descriptor anon_inode:bpf-map .* cannot be restored: the keeper has none' "$IMG/restore.log"
	run ! grep -q 'Forking task' "$IMG/restore.log"
	kill "$KEEPER_PID"
	assert_gone "$KEEPER_PID"
	restore_refused
	grep -q 'multifd: descriptor anon_inode:bpf-map .* there is no keeper' "$IMG/restore.log"
	run ! grep -q 'Forking task' "$IMG/restore.log"
}

@test "the keeper: only root and its own user may ask" {
	start_keeper
	chmod 755 "$SCRATCH" "$KEEPER_DIR"
	chmod 666 "$KEEPER_DIR/.keeper.sock"
	run ! setpriv --reuid 65534 --clear-groups "$MFD" cpr --dir "$KEEPER_DIR" list
}

@test "the keeper: offers are listed, conflict, and are dropped" {
	start_keeper
	"$MFD" cpr --dir "$KEEPER_DIR" offer s /dev/zero:7 </dev/zero
	"$MFD" cpr --dir "$KEEPER_DIR" offer s 'pipe:[12]' </dev/null
	run -1 "$MFD" cpr --dir "$KEEPER_DIR" offer s /dev/zero:7 </dev/zero
	"$MFD" cpr --dir "$KEEPER_DIR" list --json |
		jq -e '.[0] | .name == "/dev/zero" and .id == 7 and .how == "offered"'
	"$MFD" cpr --dir "$KEEPER_DIR" list --json |
		jq -e '.[1] | .name == "pipe:[12]" and .id == null'
	"$MFD" cpr --dir "$KEEPER_DIR" drop s /dev/zero:7
	[ "$(held "$KEEPER_DIR")" = 1 ]
	"$MFD" cpr --dir "$KEEPER_DIR" drop s
	[ "$(held "$KEEPER_DIR")" = 0 ]
	run -1 "$MFD" cpr --dir "$KEEPER_DIR" drop s
}

@test "the keeper: what no restore asks for is closed in time" {
	start_keeper --keep-for 1
	"$MFD" cpr --dir "$KEEPER_DIR" offer s x </dev/null
	mkdir "$KEEPER_DIR/live"
	"$MFD" cpr --dir "$KEEPER_DIR" offer live x </dev/null
	sleep 3
	[ "$(held "$KEEPER_DIR")" = 1 ]
	"$MFD" cpr --dir "$KEEPER_DIR" list --json | jq -e '.[0].session == "live"'
}

@test "the keeper goes on in a new program with all it holds" {
	cp "$MFD" "$SCRATCH/mfd"
	KEEPER_DIR=$SCRATCH/keeper
	mkdir -p "$KEEPER_DIR"
	start keeper "$SCRATCH/mfd" keeper --dir "$KEEPER_DIR"
	KEEPER_PID=$STARTED_PID
	eventually 5 test -S "$KEEPER_DIR/.keeper.sock"
	start_holder bpf memfd pair-stream
	dump_kept
	cp "$MFD" "$SCRATCH/mfd.new"
	mv "$SCRATCH/mfd.new" "$SCRATCH/mfd"
	kill -USR2 "$KEEPER_PID"
	eventually 5 grep -q 'new program.*3 descriptors' "$SCRATCH/keeper.err"
	printf '#!/bin/false\n' >"$SCRATCH/mfd.new"
	chmod +x "$SCRATCH/mfd.new"
	mv "$SCRATCH/mfd.new" "$SCRATCH/mfd"
	kill -USR2 "$KEEPER_PID"
	eventually 5 grep -q 'was not replaced' "$SCRATCH/keeper.err"
	[ "$(held "$KEEPER_DIR")" = 3 ]
	restore_kept
	check_holder
	same_as_outside 3
}

# ---- with a restore server ----

@test "one host, through the restore server: kept by its keeper, dropped at the end" {
	start_server
	start_holder fuse bpf memfd pipe stream
	dump_to_server CRIU_MULTIFD_KEEPER="$SERVER_DIR/.keeper.sock"
	wait_session $SESSION committed
	[ "$(held "$SERVER_DIR")" = 5 ]
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait_session $SESSION 'done'
	check_holder
	same_as_outside 5
	[ "$(held "$SERVER_DIR")" = 0 ]
	[ ! -e "$SERVER_DIR/$SESSION/.cpr.sock" ]
}

@test "one host, postcopy: kept by the server's keeper" {
	start_server
	start_holder fuse eventfd pipe pair-seqpacket
	start dump dump_to_server CRIU_MULTIFD_MODE=postcopy \
		CRIU_MULTIFD_KEEPER="$SERVER_DIR/.keeper.sock"
	local dump=$STARTED_PID
	wait_session $SESSION ready
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait "$dump"
	wait_session $SESSION 'done'
	assert_gone "$VICTIM_PID"
	check_holder
	same_as_outside 4
	[ "$(held "$SERVER_DIR")" = 0 ]
}

@test "one host: the descriptors survive the server's worker and its upgrade" {
	cp "$MFD" "$SCRATCH/mfd"
	MFD=$SCRATCH/mfd start_server
	start_holder bpf pair-stream
	dump_to_server CRIU_MULTIFD_KEEPER="$SERVER_DIR/.keeper.sock"
	wait_session $SESSION committed
	kill -9 "$(pgrep -n -P "$SERVER_PID")"
	eventually 5 grep -q 'worker .* died' "$SCRATCH/server.err"
	eventually 5 test -S "$SERVER_DIR/.serve.sock"
	cp "$MFD" "$SCRATCH/mfd.new"
	mv "$SCRATCH/mfd.new" "$SCRATCH/mfd"
	eventually 5 "$MFD" cpr --dir "$SERVER_DIR" exec
	eventually 5 grep -q 'serve.*new program' "$SCRATCH/server.err"
	eventually 5 grep -q 'keeper.*new program.*2 descriptors' "$SCRATCH/server.err"
	"$MFD" cpr --dir "$SERVER_DIR" exec || { sleep 1; "$MFD" cpr --dir "$SERVER_DIR" exec; }
	sleep 1
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait_session $SESSION 'done'
	check_holder
	same_as_outside 2
}

@test "another host: opened again by its path" {
	hosts_up
	start_server
	start_holder fuse
	dump_to_server
	wait_session $SESSION committed
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait_session $SESSION 'done'
	check_holder
}

@test "another host: offered by name; without the offer the source runs on and is told the name" {
	hosts_up
	start_server
	start_holder bpf
	run ! dump_to_server
	grep -q "descriptor anon_inode:bpf-map .* cannot be had here" "$SCRATCH/img/dump.log"
	assert_running "$VICTIM_PID"
	RESTORED_PID=$VICTIM_PID check_holder
	# The other host's own map: here a process holds one and offers it.
	"$CPRFD" offer bpf "$MFD" cpr --dir "$SERVER_DIR" offer $SESSION anon_inode:bpf-map
	dump_to_server
	wait_session $SESSION committed
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait_session $SESSION 'done'
	check_holder
	[ "$(held "$SERVER_DIR")" = 0 ]
}

@test "another host: a pipe is bound to the offered end, criu-multifd restore" {
	local name

	hosts_up
	start_server
	start_holder pipe
	name=$(readlink "/proc/$VICTIM_PID/fd/3")
	mkfifo "$SCRATCH/fifo"
	sleep 60 <>"$SCRATCH/fifo" &
	register pid $!
	"$MFD" cpr --dir "$SERVER_DIR" offer $SESSION "$name" <>"$SCRATCH/fifo"
	dump_to_server
	wait_session $SESSION committed
	assert_gone "$VICTIM_PID"
	STARTED=1
	start restore ${NS_B:+nsenter --net=/run/netns/"$NS_B" --} unshare --pid --mount --fork \
		--kill-child --mount-proc \
		bash -c "$NS_INIT" init "$SCRATCH/restore.rc" "$MFD" restore --dir "$SERVER_DIR" \
			$SESSION -- --pidfile "$SCRATCH/pid"
	eventually 5 namespace_init "$STARTED_PID"
	register pid "$RESTORE_INIT"
	eventually 30 test -s "$SCRATCH/restore.rc"
	[ "$(cat "$SCRATCH/restore.rc")" = 0 ] || {
		cat "$SCRATCH/restore.err"; grep -E 'multifd|Error' \
		"$SERVER_DIR/$SESSION/restore.log"; false; }
	RESTORED_PID=$(host_pid "$RESTORE_INIT" "$(cat "$SCRATCH/pid")")
	check_holder
	timeout 2 head -c 5 "$SCRATCH/fifo" | grep -q ping
}

@test "another host: a file that lies elsewhere is offered under the path it had" {
	hosts_up
	start_server
	start_holder file
	"$MFD" cpr --dir "$SERVER_DIR" offer $SESSION "$HOLDER/file" <>"$SCRATCH/elsewhere"
	dump_to_server
	wait_session $SESSION committed
	rm "$HOLDER/file"
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait_session $SESSION 'done'
	check_holder
	grep -q ping "$SCRATCH/elsewhere"
}

# ---- containers ----

# run_container KIND...: in a container without a network namespace of its own, descriptors from
# outside it. CONFIG: more for its config.json.
run_container()
{
	make_bundle "$CPRFD" "$(printf '"%s",' victim /data "$@" | sed 's/,$//')" "${CONFIG:-}"
	[ -z "${CONFIG:-}" ] || chown -R 100000:100000 "$SCRATCH/bundle/rootfs"
	HOLDER=$SCRATCH/bundle/rootfs/data
	# shellcheck disable=SC2086  # a command
	start outside "$CPRFD" start "$HOLDER" "$@" -- $RUNC run -d --preserve-fds $# \
		--bundle "$SCRATCH/bundle" "$ID"
	OUTSIDE_PID=$STARTED_PID
	eventually 20 grep -qs ready "$HOLDER/victim.log" ||
		fail "no container: $(cat "$SCRATCH/runc.log")"
	VICTIM_PID=$($RUNC state "$ID" | jq .pid)
}

@test "runc: a container's devices, pipes and sockets from outside are kept" {
	start_keeper
	run_container fuse bpf eventfd memfd pipe stream pair-stream pair-dgram
	runc_with_plugin checkpoint --image-path "$IMG" --work-path "$IMG" "$ID" || {
		grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	[ "$(held "$KEEPER_DIR")" = 8 ]
	assert_gone "$VICTIM_PID"
	runc_with_plugin restore -d --bundle "$SCRATCH/bundle" --image-path "$IMG" \
		--work-path "$IMG" "$ID" >/dev/null 2>&1 ||
		{ grep -E 'multifd|Error' "$IMG/restore.log"; false; }
	RESTORED_PID=$($RUNC state "$ID" | jq .pid)
	check_holder
	same_as_outside 8
	[ "$(held "$KEEPER_DIR")" = 0 ]
}

@test "runc: the same in a user namespace, whose root has no rights here" {
	local map='[{ containerID: 0, hostID: 100000, size: 65536 }]'

	start_keeper
	chmod 711 "$SCRATCH"
	CONFIG=".linux.namespaces += [{ type: \"user\" }] | .linux.uidMappings = $map | .linux.gidMappings = $map" \
		run_container fuse bpf eventfd memfd pipe stream pair-stream pair-dgram
	runc_with_plugin checkpoint --image-path "$IMG" --work-path "$IMG" "$ID" || {
		grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	[ "$(held "$KEEPER_DIR")" = 8 ]
	[ "$(awk '{ print $1, $2, $3 }' "/proc/$$/uid_map")" = '0 0 4294967295' ]
	runc_with_plugin restore -d --bundle "$SCRATCH/bundle" --image-path "$IMG" \
		--work-path "$IMG" "$ID" >/dev/null 2>&1 ||
		{ grep -E 'multifd|Error' "$IMG/restore.log"; false; }
	RESTORED_PID=$($RUNC state "$ID" | jq .pid)
	[ "$(awk '{ print $2 }' "/proc/$RESTORED_PID/uid_map")" = 100000 ]
	check_holder
	same_as_outside 8
}

# set_sysctl NAME VALUE: until the test ends.
set_sysctl()
{
	register undo sysctl -q -w "$1=$(sysctl -n "$1")"
	sysctl -q -w "$1=$2"
}

runc_to_server()
{
	CRIU_LIBS_DIR=$PLUGINS CRIU_MULTIFD_TARGET=$SERVER_ADDR \
		CRIU_MULTIFD_KEEPER=$SERVER_DIR/.keeper.sock CRIU_MULTIFD_SESSION=$SESSION \
		$RUNC checkpoint --lazy-pages --image-path "$IMG" --work-path "$IMG" "$ID" \
			</dev/null
}

@test "runc: a user namespace, through a restore server" {
	local map='[{ containerID: 0, hostID: 100000, size: 65536 }]'

	[ -e /proc/sys/vm/unprivileged_userfaultfd ] ||
		skip 'kernel lacks vm.unprivileged_userfaultfd'
	start_server
	chmod 711 "$SCRATCH"
	CONFIG=".linux.namespaces += [{ type: \"user\" }] | .linux.uidMappings = $map | .linux.gidMappings = $map" \
		run_container fuse bpf eventfd stream
	set_sysctl vm.unprivileged_userfaultfd 0
	run ! runc_to_server
	grep -q 'multifd: .*needs sysctl vm.unprivileged_userfaultfd=1' "$IMG/dump.log"
	RESTORED_PID=$VICTIM_PID check_holder
	set_sysctl vm.unprivileged_userfaultfd 1
	runc_to_server || { grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	wait_session $SESSION committed
	[ "$(stat -c '%a %g' "$SERVER_DIR/$SESSION")" = '710 100000' ]
	[ "$(stat -c '%a %g' "$SERVER_DIR/$SESSION/session.img")" = '600 0' ]
	CRIU_LIBS_DIR=$PLUGINS $RUNC restore -d --lazy-pages --bundle "$SCRATCH/bundle" \
		--image-path "$SERVER_DIR/$SESSION" \
		--work-path "$SERVER_DIR/$SESSION" "$ID" </dev/null >/dev/null 2>&1 ||
		{ grep -E 'multifd|Error' "$SERVER_DIR/$SESSION/restore.log"; false; }
	wait_session $SESSION 'done'
	RESTORED_PID=$($RUNC state "$ID" | jq .pid)
	check_holder
	same_as_outside 4
}

@test "runc: standard output stays the runtime's" {
	start_keeper
	run_container fuse
	kill "$OUTSIDE_PID"
	$RUNC delete -f "$ID"
	rm "$HOLDER"/*
	jq '.process.args = ["/bin/cprfd", "victim", "/data", "null"]' \
		"$SCRATCH/bundle/config.json" >"$SCRATCH/config"
	mv "$SCRATCH/config" "$SCRATCH/bundle/config.json"
	$RUNC run -d --bundle "$SCRATCH/bundle" "$ID" </dev/null 2>/dev/null |
		cat >"$SCRATCH/first.txt" 3>&- &
	register pid $!
	eventually 20 grep -qs ready "$HOLDER/victim.log"
	[[ $(readlink "/proc/$($RUNC state "$ID" | jq .pid)/fd/1") == pipe:* ]]
	runc_with_plugin checkpoint --image-path "$IMG" --work-path "$IMG" "$ID" || {
		grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	jq -e '.[1] | startswith("pipe:")' "$IMG/descriptors.json"
	[ "$(held "$KEEPER_DIR")" = 0 ]
	runc_with_plugin restore -d --bundle "$SCRATCH/bundle" --image-path "$IMG" \
		--work-path "$IMG" "$ID" 2>/dev/null 3>&- |
		cat >"$SCRATCH/second.txt" 3>&- &
	register pid $!
	eventually 20 runs_again
}

runs_again()
{
	local pid

	pid=$($RUNC state "$ID" 2>/dev/null | jq 'select(.status == "running") | .pid') &&
		[ -n "$pid" ] &&
		[[ $(readlink "/proc/$pid/fd/1") == pipe:* ]]
}
