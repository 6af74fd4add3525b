# SPDX-License-Identifier: GPL-2.0-only
#
# The tools of the other tests: a victim verifies what is right, finds what is wrong, and stock CRIU
# can move it. A test that cannot fail proves nothing, so most of these break something on purpose.

# bats file_tags=alone
load helpers

# kind_verifies KIND: and one changed byte of it is found.
kind_verifies()
{
	local addr pages

	start_victim --size 0 --map "$1"
	! grep "^skipped" "$VICTIM_DIR/victim.log"
	verify_victim
	read -r addr pages < <(victim_map "$1")
	[ "$pages" -gt 0 ]
	flip_byte "$VICTIM_PID" $((addr + 4096 * 7 + 4095))
	run verify_victim
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"verify BAD mapping=$1 page=7 offset=4095 "* ]]
	[[ $output == *"verified all BAD"* ]]
	flip_byte "$VICTIM_PID" $((addr + 4096 * 7 + 4095))
	verify_victim
}

@test "victim: plain memory" { kind_verifies plain; }
@test "victim: heap (brk)" { kind_verifies heap; }
@test "victim: PROT_NONE with content" { kind_verifies protnone; }
@test "victim: transparent huge pages" { kind_verifies thp; }
@test "victim: JIT code, read and execute" { kind_verifies exec; }
@test "victim: JIT code, writable" { kind_verifies execrw; }
@test "victim: mlocked memory" { kind_verifies locked; }
@test "victim: read-only memory" { kind_verifies readonly; }
@test "victim: sparse memory" { kind_verifies sparse; }
@test "victim: stack" { kind_verifies stack; }
@test "victim: shared file on tmpfs" { kind_verifies tmpfs; }
@test "victim: memfd" { kind_verifies memfd; }
@test "victim: shared anonymous memory" { kind_verifies shared-anon; }
@test "victim: private pages of a file" { kind_verifies file-private; }
@test "victim: mremapped memory" { kind_verifies remapped; }
@test "victim: many small mappings" { kind_verifies many; }

@test "victim: guard pages" {
	start_victim --size 0 --map guard
	if grep 'kernel lacks' "$VICTIM_DIR/victim.log"; then
		skip 'kernel lacks MADV_GUARD_INSTALL'; fi
	stop_victim
	kind_verifies guard
}

@test "victim: hugetlb" {
	need_hugetlb
	kind_verifies hugetlb
}

@test "victim: swapped out memory" {
	need_swap
	start_victim --size 0 --map swapped:8
	awk '/^VmSwap:/ { print; exit !($2 > 4000) }' "/proc/$VICTIM_PID/status"
	stop_victim
	kind_verifies swapped
}

@test "victim: every way to fill" {
	for fill in random zero half text; do
		start_victim --size 160 --fill $fill
		verify_victim
		peek "$VICTIM_PID" "$(victim_map main | cut -d' ' -f1)" $((4 << 20)) \
			>"$SCRATCH/$fill"
		echo "$fill $(zstd -c -1 "$SCRATCH/$fill" | wc -c)" >>"$SCRATCH/sizes"
		stop_victim
		rm "$VICTIM_DIR/victim.log"
	done
	cat "$SCRATCH/sizes"
	awk '{ size[$1] = $2 / 4194304 } END {
		exit !(size["random"] > 0.999 && size["zero"] < 0.01 &&
		size["half"] > 0.49 && size["half"] < 0.52 &&
		size["text"] > 0.05 && size["text"] < 0.4) }' "$SCRATCH/sizes"
}

@test "victim: a lost page, and two pages exchanged, are found" {
	start_victim --size 8
	read -r addr _ < <(victim_map main)
	peek "$VICTIM_PID" $((addr + 40960)) 4096 >"$SCRATCH/p10"
	peek "$VICTIM_PID" $((addr + 45056)) 4096 >"$SCRATCH/p11"
	head -c 4096 /dev/zero | poke "$VICTIM_PID" $((addr + 40960))
	run verify_victim
	echo "$output"
	[[ $output == *"mapping=main page=10 "*"page is zero"* ]]
	poke "$VICTIM_PID" $((addr + 40960)) <"$SCRATCH/p11"
	poke "$VICTIM_PID" $((addr + 45056)) <"$SCRATCH/p10"
	run verify_victim
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"mapping=main page=10 "*"mapping=main page=11 "* ]]
}

@test "victim: a process tree, threads and memory that changes" {
	start_victim --size 16 --map all --tree 2 --depth 2 --threads 3 --dirty=4 --zombie
	run verify_victim
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == "verified all OK procs=7 "* ]]
	sleep 0.3
	verify_victim
}

@test "victim: an error in one process of a tree is told with its rank" {
	start_victim --size 4 --tree 3
	child=$(pgrep -P "$VICTIM_PID" | sed -n 2p)
	read -r addr _ < <(victim_map main)
	flip_byte "$child" $((addr + 4096 * 100))
	run verify_victim
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"verify BAD mapping=main page=100 offset=0 "*" pid=$child rank=2 "* ]]
	[ "$(grep -c '^verify OK' "$VICTIM_DIR/victim.log")" = 3 ]
	kill -KILL "$child"
	run verify_victim
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"pid=$child"*died* ]]
}

@test "victim: writes to memory that changes are checked" {
	start_victim --size 0 --dirty=16:1
	read -r addr pages < <(victim_map dirty)
	# The writer needs more than 4 s to come round: it cannot repair both before they are seen.
	kill -STOP "$VICTIM_PID"
	for page in 0 $((pages / 2)); do
		flip_byte "$VICTIM_PID" $((addr + 4096 * page + 99))
	done
	kill -CONT "$VICTIM_PID"
	run verify_victim
	echo "$output"
	[ "$status" = 1 ]
	[[ $output =~ verify\ BAD\ mapping=dirty\ page=(0|$((pages / 2)))\ offset=99\  ]]
}

@test "victim: fork, remap, remove and unmap" {
	start_victim --size 16 --map plain --tree 1 --dirty=1
	for action in fork remap remove unmap; do
		run victim_actions $action
		echo "$output"
		[ "$status" = 0 ]
	done
	run victim_actions
	[ "$status" = 0 ]
	verify_victim
	[ "$(grep -c '^action [a-z]* OK' "$VICTIM_DIR/victim.log")" = 16 ]
}

@test "victim: signals do what the files do" {
	start_victim --size 1
	kill -USR1 "$VICTIM_PID"
	eventually 5 grep -q '^verified all OK' "$VICTIM_DIR/victim.log"
	kill -USR2 "$VICTIM_PID"
	eventually 5 grep -q '^actions all OK' "$VICTIM_DIR/victim.log"
	kill "$VICTIM_PID"
	assert_gone "$VICTIM_PID"
	grep '^exit signal 15 ' "$VICTIM_DIR/victim.log"
}

@test "victim: a pause is measured" {
	start_victim --size 1
	since=$(date +%s.%N)
	assert_not_frozen "$VICTIM_PID"
	kill -STOP "$VICTIM_PID"
	run assert_not_frozen "$VICTIM_PID"
	[ "$status" = 1 ]
	sleep 0.3
	kill -CONT "$VICTIM_PID"
	sleep 0.1
	gap=$(victim_gap "$since")
	echo "$gap ms"
	awk -v gap="$gap" 'BEGIN { exit !(gap >= 300 && gap < 1500) }'
	[ "$(victim_gap "$(date +%s.%N)")" = 0.0 ]
	assert_not_frozen "$VICTIM_PID"
}

# Every kind of mapping that this machine has, but not swap: that would slow the machine down for
# the other tests.
start_big_victim()
{
	need_criu
	need_hugetlb
	hosts_up
	start_victim --size "$1" --fill random --map all --tree 2 --threads 3 --dirty=8 --zombie
	verify_victim
	mkdir "$SCRATCH/img"
}

@test "stock criu: eager dump and restore of everything, in another pid namespace" {
	start_big_victim 48
	on_a "$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/img" -v4 -o dump.log
	assert_gone "$VICTIM_PID"
	restore_in_namespace "$SCRATCH/img"
	assert_not_frozen "$RESTORED_PID"
	[ "$RESTORED_PID" != "$VICTIM_PID" ]
	before=$(tail -n 1 "$VICTIM_DIR/victim.log")
	run verify_victim
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == "verified all OK procs=3 "* ]]
	# A pid as seen from here does as well.
	"$VICTIMCTL" verify "$RESTORED_PID"
	victim_actions
	kill -KILL "$RESTORE_INIT"
	assert_gone "$RESTORED_PID"
}

@test "stock criu: lazy restore, with fork, remap, remove and unmap while pages are missing" {
	start_big_victim 256
	on_a "$CRIU" dump -t "$VICTIM_PID" -D "$SCRATCH/img" -v4 -o dump.log
	start lazy-pages ${NS_B:+nsenter --net=/run/netns/"$NS_B" --} "$CRIU" lazy-pages \
		-D "$SCRATCH/img" -v4 -o lazy.log
	daemon=$STARTED_PID
	eventually 5 test -S "$SCRATCH/img/lazy-pages.socket"
	# Asked for before it runs again, so that it acts at its first tick: the daemon copies 3
	# GB/s from the start.
	start actions victim_actions
	asked=$STARTED_PID
	restore_lazily "$SCRATCH/img"
	wait "$asked"
	verify_victim
	wait "$daemon"
	# The events did come: else this proved nothing.
	for event in FORK REMAP REMOVE UNMAP; do
		grep -q -E "uffd: .*$event" "$SCRATCH/img/lazy.log" ||
			fail "no $event event in lazy.log"
	done
}

@test "helpers: everything started is gone after kill -9 of the test" {
	need_root
	at=@	# bats takes every line that begins with it for a test, also in here
	cat >"$SCRATCH/inner.bats" <<-END
		load $MFD_TOP/test/bats/helpers
		${at}test "inner" {
			hosts_up
			start_victim --size 4 --tree 2
			start sleeper on_b sh -c 'setsid sleep 1001 & exec setsid sleep 1000'
			both_sleep() {
				[ "\$(ip netns pids "\$NS_B" | xargs -r ps -o comm= -p |
					grep -c -x sleep)" = 2 ]
			}
			eventually 5 both_sleep
			register undo touch "$SCRATCH/undone"
			{
				echo "\$SCRATCH"
				ip netns pids "\$NS_A"
				ip netns pids "\$NS_B"
			} >"$SCRATCH/inner.new"
			echo "\$NS_A \$NS_B" >"$SCRATCH/inner.ns"
			echo \$\$ >"$SCRATCH/inner.pid"
			mv "$SCRATCH/inner.new" "$SCRATCH/inner.list"
			on_a sleep 1000
		}
	END
	# Its own guard does the rest.
	register undo sh -c 'kill -KILL "$(cat "$0")"' "$SCRATCH/inner.pid"
	start inner env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin VICTIM="$VICTIM" MFD="$MFD" \
		BUILD="$BUILD" setsid bats "$SCRATCH/inner.bats"
	eventually 20 test -s "$SCRATCH/inner.list"
	cat "$SCRATCH/inner.list"
	{ read -r dir && mapfile -t pids; } <"$SCRATCH/inner.list"
	# A tree of three or more, and the two that sleep.
	[ "${#pids[@]}" -ge 5 ]
	[ -d "$dir" ]
	kill -KILL "$(cat "$SCRATCH/inner.pid")"
	eventually 10 test ! -e "$dir"
	for pid in "${pids[@]}"; do
		assert_gone "$pid"
	done
	for ns in $(cat "$SCRATCH/inner.ns"); do
		[ ! -e "/run/netns/$ns" ]
	done
	[ -e "$SCRATCH/undone" ]
}
