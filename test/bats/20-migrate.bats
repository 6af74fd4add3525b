#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A live process tree moves to another host through the plugin: what must arrive, in which shapes.

bats_require_minimum_version 1.5.0
load helpers
load moves

setup()
{
	hosts_setup
	start_server
}

# bats test_tags=tls
@test "safe: a process moves, every page as it was, the source is gone" {
	start_victim --size 64
	move safe
	moved_well
	[ "$(summary result)" = released ]
	[ "$(summary pages)" -ge 16384 ]
}

# bats test_tags=tls
@test "postcopy: a process moves, every page as it was, the source is gone" {
	start_victim --size 64
	move postcopy
	moved_well
	[ "$(summary mode)" = postcopy ]
}

@test "safe: a tree with copy-on-write memory and threads" {
	start_victim --size 48 --tree 3 --depth 2 --threads 4
	move safe
	moved_well
}

@test "postcopy: a tree with copy-on-write memory and threads" {
	start_victim --size 48 --tree 3 --depth 2 --threads 4
	move postcopy
	moved_well
}

@test "safe: every kind of mapping" {
	start_victim --size 8 --map all
	move safe
	moved_well
}

@test "postcopy: every kind of mapping" {
	start_victim --size 8 --map all
	move postcopy
	moved_well
}

@test "safe: a restored task that forks, remaps, discards and unmaps while pages are missing" {
	start_victim --size 128
	start actions victim_actions fork,remap,remove,unmap
	local actions=$STARTED_PID
	move safe
	wait "$actions"
	assert_gone "$VICTIM_PID"
	verify_victim
}

@test "postcopy: a restored task that forks, remaps, discards and unmaps while pages are missing" {
	start_victim --size 128
	CRIU_MULTIFD_MODE=postcopy start dump dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
	local dump=$STARTED_PID
	wait_session "$SESSION" ready
	start actions victim_actions fork,remap,remove,unmap
	local actions=$STARTED_PID
	restore_lazily "$SERVER_DIR/$SESSION"
	wait "$actions"
	wait "$dump"
	wait_session "$SESSION" 'done'
	assert_gone "$VICTIM_PID"
	verify_victim
}

@test "sizes from 1 MiB to 512 MiB, 1 to 16 channels, zero-copy in every setting" {
	local size channels zerocopy
	while read -r size channels zerocopy; do
		[ -z "${MFD_TEST_TLS:-}" ] || zerocopy=auto # "on" is refused with TLS
		echo "size $size, $channels channels, zerocopy $zerocopy"
		SESSION=s$size.$channels
		start_victim --name "v$size.$channels" --size "$size" --fill half
		CRIU_MULTIFD_CHANNELS=$channels CRIU_MULTIFD_ZEROCOPY=$zerocopy move safe
		moved_well
		[ "$(summary channels)" = "$channels" ]
		[ "$zerocopy" != on ] || [ "$(summary zerocopy_sent)" -gt 0 ]
		[ "$(summary zerocopy_sent)" = "$(summary zerocopy_completed)" ]
		[ "$zerocopy" != off ] || [ "$(summary zerocopy_sent)" = 0 ]
		kill -9 "$RESTORE_INIT"
	done <<-END
		1 1 off
		3 2 auto
		16 16 on
		64 8 on
		512 4 auto
	END
}

@test "compressed memory arrives as it was, and less of it travels" {
	local how
	for how in lz4 zstd auto; do
		echo "compress $how"
		SESSION=$how
		start_victim --name "v$how" --size 64 --fill text
		# A slow link: auto must find that it pays.
		CRIU_MULTIFD_COMPRESS=$how CRIU_MULTIFD_MAX_BANDWIDTH=50M move safe
		moved_well
		[ "$(summary packets_compressed)" -ge 32 ]
		[ "$(summary bytes_wire)" -lt $((40 << 20)) ]
		kill -9 "$RESTORE_INIT"
	done
}

@test "zero pages are recognised and do not travel" {
	start_victim --size 64 --fill zero
	move safe
	moved_well
	[ "$(summary zero_pages)" -ge 16000 ]
	[ "$(summary bytes_wire)" -lt $((16 << 20)) ]
}

@test "4 GiB" {
	start_victim --size 4096
	move safe
	moved_well
}

@test "two sessions at once" {
	start_victim --name one --size 96
	local one_pid=$VICTIM_PID one_dir=$VICTIM_DIR
	start_victim --name two --size 96
	SESSION=two start dump2 dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.two"
	local dump2=$STARTED_PID
	SESSION=one dump_with_plugin "$one_pid" "$SCRATCH/img.one"
	wait "$dump2"
	for s in one two; do
		wait_session $s committed
		restore_lazily "$SERVER_DIR/$s"
		wait_session $s 'done'
	done
	assert_gone "$one_pid"
	assert_gone "$VICTIM_PID"
	verify_victim "$one_dir"
	verify_victim "$VICTIM_DIR"
}

@test "the same session name again after the first has ended" {
	start_victim --name one --size 8
	move safe
	moved_well
	start_victim --name two --size 8
	move safe
	moved_well
}

@test "a session name in use is refused before anything is frozen" {
	start_victim --name one --size 8
	dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
	wait_session "$SESSION" committed
	start_victim --name two --size 8
	run ! dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.again"
	grep -q 'in use' "$SCRATCH/img.again/dump.log"
	run ! grep -q 'Seized task' "$SCRATCH/img.again/dump.log"
	assert_not_frozen "$VICTIM_PID"
}

@test "unconfigured, the plugin does nothing" {
	start_victim --size 8
	mkdir "$SCRATCH/img"
	on_a "$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/img" -L "$PLUGINS" -v4 -o dump.log \
		</dev/null
	[ ! -e "$SCRATCH/img/multifd-send.log" ]
	restore_in_namespace "$SCRATCH/img" -L "$PLUGINS"
	verify_victim
}

@test "without --lazy-pages: a clear message, an aborted session, complete local images" {
	start_victim --size 8
	mkdir "$SCRATCH/img"
	run on_a env CRIU_MULTIFD_TARGET="$SERVER_ADDR" CRIU_MULTIFD_SESSION="$SESSION" \
		"$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/img" -L "$PLUGINS" -v4 -o dump.log
	grep -q 'needs --lazy-pages' "$SCRATCH/img/dump.log"
	run -1 wait_session "$SESSION" ready 10
	assert_target_clean
	if is_dead "$VICTIM_PID"; then
		restore_in_namespace "$SCRATCH/img"
	fi
	verify_victim
}

@test "bad configuration: the dump fails before anything is frozen and names the place" {
	start_victim --size 4
	mkdir "$SCRATCH/img"
	printf '# sample\nchannels = many\n' >"$SCRATCH/conf"
	run ! on_a env CRIU_MULTIFD_TARGET="$SERVER_ADDR" CRIU_MULTIFD_CONFIG="$SCRATCH/conf" \
		"$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/img" --lazy-pages -L "$PLUGINS" -v4 \
			-o dump.log
	grep -q 'conf:2' "$SCRATCH/img/dump.log"
	run ! on_a env CRIU_MULTIFD_TARGET="$SERVER_ADDR" CRIU_MULTIFD_CHANELS=3 \
		"$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/img" --lazy-pages -L "$PLUGINS" -v4 \
			-o dump.log
	grep -q 'CRIU_MULTIFD_CHANELS' "$SCRATCH/img/dump.log"
	run ! grep -q 'Seized task' "$SCRATCH/img/dump.log"
	assert_not_frozen "$VICTIM_PID"
}

@test "restore into another network namespace" {
	start_victim --size 16
	dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
	wait_session "$SESSION" committed
	NS_B='' restore_lazily "$SERVER_DIR/$SESSION"
	wait_session "$SESSION" 'done'
	moved_well
}

release_moves()
{
	SESSION=v$VERSION
	start_victim --name "v$VERSION" --size 32 --tree 1
	move safe
	moved_well
	kill -9 "$RESTORE_INIT"
	SESSION=p$VERSION
	start_victim --name "p$VERSION" --size 32
	move postcopy
	moved_well
	kill -9 "$RESTORE_INIT"
}

@test "every CRIU release that can be had" {
	every_criu release_moves
}
