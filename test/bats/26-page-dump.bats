#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# page-dump: the sender, not CRIU, lists the pages of large mappings.

bats_require_minimum_version 1.5.0
load helpers
load moves

setup()
{
	hosts_setup
	start_server
	export CRIU_MULTIFD_PAGE_DUMP=plugin
}

# Each kind of mapping, and once more at 20 MiB those that can be so large.
kinds_large()
{
	local kind

	echo --map all
	for kind in plain heap protnone readonly guard thp exec execrw sparse many \
		shared-anon remapped wiped reserve "$@"; do
		echo --map "$kind:20"
	done
}

listed_by_plugin()
{
	[ "$(summary page_dump)" = plugin ] || fail "listed by $(summary page_dump)" || return 1
	[ "$(summary pages_listed)" -ge "$1" ] || fail "only $(summary pages_listed) pages"
}

@test "safe: every kind of mapping, small and large" {
	need_swap
	# shellcheck disable=SC2046
	start_victim --size 20 $(kinds_large swapped)
	move safe
	moved_well
	listed_by_plugin 50000
}

@test "postcopy: every kind of mapping, small and large" {
	# shellcheck disable=SC2046
	start_victim --size 20 $(kinds_large)
	move postcopy
	moved_well
	listed_by_plugin 45000
}

@test "a tree with copy-on-write memory, threads and locked memory" {
	start_victim --size 40 --map locked:20 --map hugetlb:20 --map file-private:20 \
		--tree 3 --depth 2 --threads 4
	move safe
	moved_well
	listed_by_plugin 100000
}

# lazy_pages MODE: one line for each page that the image lists as lazy, as it came to the target;
# the victim runs on here.
lazy_pages()
{
	local img vaddr n
	local -x CRIU_MULTIFD_PAGE_DUMP=$1 CRIU_MULTIFD_MODE=postcopy SESSION=list.$1
	local -x CRIU_MULTIFD_MAX_BANDWIDTH=30M # there is time to look

	start "dump.$1" dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$1"
	wait_session "$SESSION" ready >&2 || return 1
	for img in "$SERVER_DIR/$SESSION"/pagemap-[0-9]*.img; do
		"$MFD" show "$img" | jq -r --arg img "${img##*/}" '.entries[] | select(.vaddr) |
			select(.flags | index("LAZY")) | "\($img) \(.vaddr) \(.nr_pages)"'
	done | while read -r img vaddr n; do # not every awk reads 0x
		echo "$img $((vaddr)) $n"
	done | awk '{ for (i = 0; i < $3; i++) print $1, $2 + i * 4096 }' >"$SCRATCH/list.$1"
	"$MFD" abort --dir "$SERVER_DIR" "$SESSION" >&2
	! wait "$STARTED_PID" || return 1
	assert_not_frozen "$VICTIM_PID"
}

@test "the image lists the pages that CRIU would list, and no others" {
	# shellcheck disable=SC2046
	start_victim --size 20 $(kinds_large) --threads 2
	lazy_pages criu
	lazy_pages plugin
	[ "$(wc -l <"$SCRATCH/list.criu")" -ge 50000 ]
	diff "$SCRATCH/list.criu" "$SCRATCH/list.plugin" >&2
}

@test "a sender whose scan finds too little is noticed: nothing moves, the tasks run on" {
	start_victim --size 64
	# shellcheck disable=SC2034
	DUMP_PRELOAD=$TOOLS/preload_blind.so
	run -1 dump_with_plugin "$VICTIM_PID" "$SCRATCH/img.$SESSION"
	grep -q 'pages that task .* has, only .* were found' "$SCRATCH/img.$SESSION/dump.log"
	source_runs_on
}

@test "CRIU that lists the pages all the same: none is listed twice" {
	start_victim --size 64
	# Its own switch for a kernel without PAGEMAP_SCAN.
	CRIU_FAULT=135 move safe
	moved_well
	[ "$(summary page_dump)" = criu ]
	[ "$(summary pages_listed)" = 0 ]
}

@test "without --lazy-pages CRIU's own images have all pages" {
	local img=$SCRATCH/img.$SESSION

	start_victim --size 64
	mkdir "$img"
	run -1 env CRIU_MULTIFD_TARGET="$SERVER_ADDR" "$CRIU" dump -t "$VICTIM_PID" -D "$img" \
		-L "$PLUGINS" -v4 -o dump.log
	grep -q 'page-dump = plugin: this criu was not told --lazy-pages' "$img/dump.log"
	assert_not_frozen "$VICTIM_PID"
	rm -r "$img"
	mkdir "$img"
	CRIU_MULTIFD_PAGE_DUMP=auto CRIU_MULTIFD_TARGET=$SERVER_ADDR on_a "$CRIU" dump \
		-t "$VICTIM_PID" -D "$img" -L "$PLUGINS" -v4 -o dump.log || :
	grep -q 'page-dump: criu lists all pages' "$img/dump.log"
	restore_in_namespace "$img"
	verify_victim
}

# 1 GiB in four processes: more pipes than CRIU may have descriptors here, each of 4 MiB at most.
few_descriptors()
{
	(
		ulimit -n 520
		CRIU_MULTIFD_PAGE_DUMP=$1 dump_with_plugin "$VICTIM_PID" "$2"
	)
}

@test "16 GiB of mappings, partly filled, with few descriptors" {
	local stock=$SCRATCH/img.stock

	start_victim --size 0 --map reserve:4096 --tree 3
	SESSION=$SESSION.stock run -1 few_descriptors criu "$stock"
	grep -q 'Too many open files' "$stock/dump.log"
	assert_not_frozen "$VICTIM_PID"
	few_descriptors plugin "$SCRATCH/img.$SESSION"
	wait_session "$SESSION" committed
	restore_lazily "$SERVER_DIR/$SESSION"
	wait_session "$SESSION" 'done'
	moved_well
	listed_by_plugin 262144
}

with_this_criu()
{
	export SESSION=$1.$VERSION
	start_victim --name "$SESSION" --size 64 --map protnone:20 --map sparse:20 --map thp:20
	move "$1"
	moved_well
	listed_by_plugin 16384
	stop_victim
}

# auto: on with each release that is tested.
both_ways()
{
	local -x CRIU_MULTIFD_PAGE_DUMP=auto

	with_this_criu safe
	with_this_criu postcopy
}

@test "every release of CRIU" {
	every_criu both_ways
}
