#!/usr/bin/env bats
# shellcheck disable=SC2016  # jq's variables
# SPDX-License-Identifier: GPL-2.0-only
# A limit that is changed on the way, from either side, and what both sides count: it must add up.

bats_require_minimum_version 1.5.0
# bats file_tags=alone
load helpers
load moves

setup()
{
	hosts_setup
	IMG=$SCRATCH/img.$SESSION
}

# begin LIMIT MIB [MODE]: a move that is on its way, with bytes on the wire; sets DUMP.
begin()
{
	start_victim --size "$2"
	CRIU_MULTIFD_MODE=${3:-safe} CRIU_MULTIFD_MAX_BANDWIDTH=$1 start dump dump_with_plugin \
		"$VICTIM_PID" "$IMG"
	DUMP=$STARTED_PID
	eventually 10 has_begun
}

has_begun()
{
	[ "$(source_json bytes_wire)" -gt 0 ] 2>/dev/null
}

source_json()
{
	"$MFD" status --source "$IMG" --json 2>/dev/null | jq -r ".$1"
}

target_json()
{
	"$MFD" status --dir "$SERVER_DIR" "$SESSION" --json | jq -r ".$1"
}

# now_and_bytes: milliseconds, and how much the sender has sent by then.
now_and_bytes()
{
	local bytes

	bytes=$(source_json bytes_wire)
	echo "$(date +%s%3N) $bytes"
}

# Bytes per second over one second.
measure()
{
	local t0 b0 t1 b1

	read -r t0 b0 <<<"$(now_and_bytes)"
	sleep 1
	read -r t1 b1 <<<"$(now_and_bytes)"
	RATE=$(((b1 - b0) * 1000 / (t1 - t0)))
	echo "$RATE bytes per second"
}

# holds RATE: never more than it (5 %, and as much for our own clock); less only when the machine is
# busy each time.
holds()
{
	local try

	for try in 1 2 3; do
		measure
		[ "$RATE" -le $(($1 * 110 / 100)) ] || fail "$RATE bytes per second instead of $1"
		[ "$RATE" -lt $(($1 * 90 / 100)) ] || return 0
	done
	fail "$RATE bytes per second instead of $1, $try times"
}

limit_is()
{
	[ "$(target_json max_bandwidth)" = "$1" ]
}

finish()
{
	wait "$DUMP"
	wait_session "$SESSION" committed
	assert_gone "$VICTIM_PID"
}

# ---- set -----------------------------------------------------------------------------------------

@test "set on the target: 200 Mbit become 2 Gbit while it runs, and status says so" {
	start_server
	begin 200Mbit 384
	eventually 3 limit_is 25000000
	[[ $("$MFD" status --dir "$SERVER_DIR") == *'(max 25 MB/s)'* ]]
	holds 25000000
	run -0 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth 2Gbit
	[ "$output" = 'max-bandwidth: 200 Mbit/s -> 2 Gbit/s' ]
	eventually 3 limit_is 250000000
	[ "$(source_json max_bandwidth)" = 250000000 ] || is_dead "$DUMP"
	local before=$SECONDS
	finish
	# At 25 MB/s what was left would have taken more than ten seconds.
	[ $((SECONDS - before)) -le 6 ]
	[ "$(summary max_bandwidth)" = 250000000 ]
	[ "$(summary 'channel | map(.limited) | add')" -gt 0 ]
	restore_lazily "$SERVER_DIR/test"
	moved_well
}

@test "set on the source: slower, then without a limit; the target's status follows" {
	start_server
	begin 800Mbit 512
	run -0 "$MFD" set --source "$IMG" max-bandwidth 10M
	[ "$output" = 'max-bandwidth: 800 Mbit/s -> 80 Mbit/s' ]
	eventually 3 limit_is 10000000
	holds 10000000
	run -0 "$MFD" set -D "$IMG" max-bandwidth unlimited
	[ "$output" = 'max-bandwidth: 80 Mbit/s -> unlimited' ]
	eventually 3 limit_is 0
	finish
	restore_lazily "$SERVER_DIR/test"
	moved_well
}

@test "set in postcopy, while the tasks run on the target" {
	start_server
	begin 80Mbit 256 postcopy
	wait_session test ready
	restore_lazily "$SERVER_DIR/test"
	run -0 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth 0
	[ "$output" = 'max-bandwidth: 80 Mbit/s -> unlimited' ]
	wait "$DUMP"
	wait_session test 'done'
	moved_well
}

@test "set: what cannot be is said" {
	start_server
	run -64 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth fast
	[[ $output == *"bad value 'fast' for max-bandwidth: expected bytes per second"* ]]
	run -64 "$MFD" set --dir "$SERVER_DIR" test channels 8
	[[ $output == *"unknown setting 'channels': what can be set is max-bandwidth"* ]]
	run -64 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth
	[[ $output == *'SESSION, setting or value is missing'* ]]
	run -64 "$MFD" set --source "$IMG" test max-bandwidth 1M
	run -1 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth 1M
	[[ $output == "criu-multifd: no session 'test' in $SERVER_DIR" ]]
	run -1 "$MFD" set --source "$SCRATCH" max-bandwidth 1M
	[[ $output == *"no sender is at work in $SCRATCH"* ]]
	run -1 "$MFD" set --dir "$SCRATCH" test max-bandwidth 1M
	[[ $output == *"no server serves $SCRATCH"* ]]
	start_victim --size 16
	dump_with_plugin "$VICTIM_PID" "$IMG"
	wait_session test committed
	run -1 "$MFD" set --dir "$SERVER_DIR" test max-bandwidth 1M
	[[ $output == *'too late: everything has been sent already'* ]]
	restore_lazily "$SERVER_DIR/test"
	moved_well
}

# ---- figures -------------------------------------------------------------------------------------

# adds_up FILE FIELD PART: in the JSON of FILE, FIELD is the sum of .channel[].PART and of
# .urgent's, where there is such a channel.
adds_up()
{
	jq -e --arg whole "$2" --arg part "$3" \
		'([.channel[], .urgent // empty] | map(.[$part]) | add) == .[$whole]' "$1" ||
		fail "$2 is not the sum of $3"
}

in_order()
{
	jq -e '.timeline | map(.ms) | . == sort' "$1" || fail 'times out of order'
	jq -e --arg want "$2" \
		'[.timeline[].phase] - ([.timeline[].phase] - ($want / " ")) == ($want / " ")' \
		"$1" ||
		fail "the phases are $(jq -c '.timeline | map(.phase)' "$1")"
}

check_source()
{
	local pair

	for pair in bytes_wire:bytes packets:packets pages:pages zero_pages:zero_pages \
		bytes_images:bytes_images stalls:stalls \
		zerocopy_sent:zerocopy_sent zerocopy_copied:zerocopy_copied \
			packets_compressed:packets_compressed; do
		adds_up "$1" "${pair%:*}" "${pair#*:}"
	done
	jq -e '.channel | length == 4 and all(.stalls == .blocked + .reclaims + .limited)' "$1"
	jq -e '.producer.payloads >= .producer.stalls and .producer.payloads >= ([.channel[].packets] | add)' "$1"
}

check_target()
{
	local pair

	for pair in bytes_wire:bytes pages:pages zero_pages:zero_pages file_bytes:file_bytes; do
		adds_up "$1" "${pair%:*}" "${pair#*:}"
	done
	jq -e '.stalls == ([.channel[].stalls] | add)' "$1"
	jq -e '.pager | (.thread | length >= 2) and (.thread | all(.bytes == .pages * 4096))' "$1"
	jq -e '.installed_pages == ([.pager.thread[].pages] | add) + .pager.direct_pages
		+ .pager.dropped_pages +
		.pager.left_zero_pages' "$1"
}

@test "safe: what channels counted adds up, is the same on both sides, and stays when the session is done" {
	start_server
	start_victim --size 64 --fill half
	CRIU_MULTIFD_ZEROCOPY=on move safe
	moved_well
	"$MFD" status --dir "$SERVER_DIR" test --json >"$SCRATCH/target.json"
	check_source "$IMG/multifd-send.json"
	check_target "$SCRATCH/target.json"
	[ "$(jq -c '.channel | map([.bytes, .packets, .pages, .zero_pages])' \
		"$IMG/multifd-send.json")" = \
		"$(jq -c '.channel | map([.bytes, .packets, .pages, .zero_pages])' \
			"$SCRATCH/target.json")" ]
	in_order "$IMG/multifd-send.json" \
		'start hello joined frozen dumped images sent ready released committed'
	in_order "$SCRATCH/target.json" \
		'hello joined streaming images sent ready committed restored installed done'
	[ "$(jq -c .urgent "$SCRATCH/target.json")" = null ]
	run -0 "$MFD" status --dir "$SERVER_DIR" -v
	[[ $output == *CHANNEL*BYTES*STALLED* ]] && [[ $output == *PAGER*INSTALLED* ]] &&
		[[ $output == *committed*' ms'* ]]
	[ "$(grep -cE '^    [0-3] .* ms$' <<<"$output")" = 4 ]
	# The sender is gone; its last words are there.
	run -0 "$MFD" status --source "$IMG" --channels
	[[ $output == 'test: released, to '* ]] && [[ $output == *ZEROCOPY*COPIED* ]]
	[ "$(source_json result)" = released ]
}

# touch_victim MIB: the last ones of the restored process's large mapping, as its own faults would.
# /proc/PID/mem does not wait for pages.
touch_victim()
{
	local addr pages

	read -r addr pages < <(victim_map main)
	addr=$((addr + pages * 4096 - ($1 << 20)))
	perl -e 'my ($pid, $at, $mib) = @ARGV;
		my $readv = `uname -m` =~ /^x86_64/ ? 310 : 270;
		for my $i (0 .. $mib * 256 - 1) {
			my $page = "\0" x 4096;
			syscall($readv, int($pid), pack("PQ", $page, 4096), 1,
				pack("QQ", $at + $i * 4096, 4096), 1, 0) == 4096
					or die "process_vm_readv: $!\n";
		}' "$RESTORED_PID" "$addr" "$1"
}

@test "postcopy: what channels counted adds up, with the channel that answers faults" {
	start_server
	begin 80Mbit 64 postcopy
	wait_session test ready
	restore_lazily "$SERVER_DIR/test"
	touch_victim 4
	# While it runs both sides can be asked.
	[ "$(source_json urgent.packets)" -gt 0 ]
	[ "$(source_json connected)" = true ]
	"$MFD" set --source "$IMG" max-bandwidth unlimited
	wait "$DUMP"
	wait_session test 'done'
	moved_well
	"$MFD" status --dir "$SERVER_DIR" test --json >"$SCRATCH/target.json"
	check_source "$IMG/multifd-send.json"
	check_target "$SCRATCH/target.json"
	[ "$(jq .urgent.bytes "$SCRATCH/target.json")" = \
		"$(jq .urgent.bytes "$IMG/multifd-send.json")" ]
	[ "$(jq .urgent.packets "$SCRATCH/target.json")" -gt 0 ]
	[ "$(jq .remote_faults "$SCRATCH/target.json")" \
		-ge "$(jq .urgent.packets "$SCRATCH/target.json")" ]
	# Each page that was asked for was waited for, and its network's part is the smaller one.
	jq -e '.fault_latency.count >= .fault_network.count and .fault_network.count > 0
		and .fault_network.p50_us > 0 and .fault_network.p50_us <= .fault_latency.max_us
		and .fault_latency.p50_us <= .fault_latency.p99_us
		and .fault_latency.p99_us <= .fault_latency.max_us
		and .fault_latency.count == ([.fault_latency.histogram[].count] | add)' \
		"$SCRATCH/target.json"
	jq -e '.fault_latency.count > 0 and .fault_network.count > 0' "$IMG/multifd-send.json"
	run -0 "$MFD" status --dir "$SERVER_DIR" -v
	[[ $output == *WAITED*P50*P99*LONGEST*faults*network* ]]
	in_order "$IMG/multifd-send.json" \
		'start hello joined frozen dumped images running sent ready released committed'
	in_order "$SCRATCH/target.json" \
		'hello joined streaming images restorable running sent ready committed'
}

# At 40 Mbit/s, 64 MiB take 13 s, but nothing is left to send when the process has asked for all of
# it.
@test "postcopy: what was asked for is not sent once more" {
	local began

	start_server
	begin 40Mbit 64 postcopy
	wait_session test ready
	restore_lazily "$SERVER_DIR/test"
	began=$SECONDS
	verify_victim
	wait "$DUMP"
	wait_session test 'done'
	moved_well
	[ $((SECONDS - began)) -lt 8 ]
	jq -e '.pages == ([.channel[].pages] | add) + .urgent.pages' "$IMG/multifd-send.json"
	jq -e '.urgent.pages > 2000 and .pages >= 16384 and .pages < 16384 * 1.2' \
		"$IMG/multifd-send.json"
}

# on_few_cpus [SHELL COMMAND]: a criu, to be given as CRIU, that has one processor for itself and
# for the sender.
on_few_cpus()
{
	local cpus

	cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)
	criu_after few "taskset -pc $cpus \$\$ >/dev/null${1:+; $1}"
}

@test "few processors: the sender rests for CRIU in postcopy, and never in safe mode" {
	start_server
	start_victim --size 64
	CRIU=$(on_few_cpus) dump_with_plugin "$VICTIM_PID" "$IMG"
	[ "$(source_json producer.rests)" = 0 ]
	[ "$(source_json tasks_held)" = 1 ]
	start_victim --name post --size 64
	SESSION=post IMG=$SCRATCH/img.post
	CRIU_MULTIFD_MODE=postcopy CRIU=$(on_few_cpus) start dump dump_with_plugin "$VICTIM_PID" \
		"$IMG"
	DUMP=$STARTED_PID
	wait_session post ready
	restore_lazily "$SERVER_DIR/post"
	wait "$DUMP"
	wait_session post 'done'
	[ "$(source_json producer.rests)" -gt 0 ]
	jq -e '.producer | .rest_ms > .3 * .rests and .rests < .payloads' "$IMG/multifd-send.json"
	moved_well
}

# A clock that is ahead by another 0.1 ms each time it is asked: what is asked twice and must not
# differ, does.
leaping_clock()
{
	cat >"$SCRATCH/leap.c" <<-'END'
		#define _GNU_SOURCE
		#include <stdatomic.h>
		#include <sys/syscall.h>
		#include <time.h>
		#include <unistd.h>
		int clock_gettime(clockid_t id, struct timespec *ts)
		{
			static atomic_long ahead;
			long ns, ret = syscall(SYS_clock_gettime, id, ts);

			if (ret || id != CLOCK_MONOTONIC)
				return (int)ret;
			ns = ts->tv_nsec + atomic_fetch_add(&ahead, 100000);
			ts->tv_sec += ns / 1000000000;
			ts->tv_nsec = ns % 1000000000;
			return 0;
		}
	END
	cc -shared -fPIC -O2 -o "$SCRATCH/leap.so" "$SCRATCH/leap.c"
}

@test "few processors: a rest that ends while it is looked at is the end of that rest, not of the sender" {
	start_server
	leaping_clock
	start_victim --size 64
	DUMP_TIMEOUT=20 CRIU_MULTIFD_MODE=postcopy \
		CRIU=$(on_few_cpus "export LD_PRELOAD=$SCRATCH/leap.so") start dump \
		dump_with_plugin "$VICTIM_PID" "$IMG"
	DUMP=$STARTED_PID
	wait_session test ready
	restore_lazily "$SERVER_DIR/test"
	wait "$DUMP"
	wait_session test 'done'
	[ "$(source_json producer.rests)" -gt 0 ]
	moved_well
}

@test "tasks of 64 MiB and more are gone before their memory: of each one, and of no small one" {
	start_server
	start_victim --size 80 --tree 3
	dump_with_plugin "$VICTIM_PID" "$IMG"
	is_dead "$VICTIM_PID"
	[ "$(source_json tasks)" -gt 1 ]
	[ "$(source_json tasks_held)" = "$(source_json tasks)" ]
	start_victim --name small --size 16
	SESSION=small IMG=$SCRATCH/img.small
	dump_with_plugin "$VICTIM_PID" "$IMG"
	[ "$(source_json tasks_held)" = 0 ]
}

@test "migrate --json: the summary has it all, and the events say where the sender can be found" {
	start_server --restore
	start_victim --size 32
	on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" --session test --restore \
		--json >"$SCRATCH/events"
	tail -n 1 "$SCRATCH/events" >"$SCRATCH/summary.json"
	check_source "$SCRATCH/summary.json"
	in_order "$SCRATCH/summary.json" \
		'start hello joined frozen dumped images sent ready restored released committed'
	jq -es 'map(select(.event == "phase")) | length > 3 and all(.images_dir | startswith("/"))' "$SCRATCH/events"
	# Also those that were over before the first look.
	jq -es '["connecting", "freezing", "streaming", "verifying", "releasing", "released"] - map(select(.event == "phase").phase) == []' "$SCRATCH/events"
	wait_session test 'done'
	"$MFD" status --dir "$SERVER_DIR" test --json >"$SCRATCH/target.json"
	check_target "$SCRATCH/target.json"
	# Restored while pages still come, or after that.
	in_order "$SCRATCH/target.json" 'hello joined streaming images sent ready committed done'
	in_order "$SCRATCH/target.json" 'images restored committed done'
	in_order "$SCRATCH/target.json" 'restored installed done'
}

@test "status --source: no sender there and never was" {
	run -1 "$MFD" status --source "$SCRATCH"
	[[ $output == *"no sender is at work in $SCRATCH, and there is no summary"* ]]
	run -64 "$MFD" status --source "$SCRATCH" test
}
