#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The connection breaks at every point of the commit table: before the verdict the source runs on
# within a second and the target forgets; after it exactly one copy runs.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	fault_setup
	start_server
}

# cut_row HOW EVENT LIMIT PATTERN [MORE BADLINK OPTIONS]: one dump that must fail.
cut_row()
{
	local how=$1 event=$2 limit=$3 pattern=$4

	shift 4
	echo "# $CRIU_MULTIFD_MODE: --$how $event $*"
	start_badlink "--$how" "$event" "$@"
	dump
	assert_fault_happened || return 1
	aborted_well "$(fault_time)" "$limit" "$pattern" || return 1
	heal # where END had been sent the target may be waiting for the source's word
	nothing_left || return 1
	stop_badlink
}

# not_frozen_row: the same, and CRIU had not begun.
not_frozen_row()
{
	cut_row "$@" || return 1
	! grep -aq 'Seized task' "$IMG/dump.log" ||
		fail 'tasks were frozen though the target cannot be used'
}

before_freezing()
{
	local how event

	while read -r how event; do
		not_frozen_row "$how" "$event" 1000 'HELLO|JOINED|join|connect' || return 1
	done <<-'END'
		cut-before greeting
		cut-before hello
		cut-after hello
		cut-before hello_ok
		cut-after hello_ok
		cut-before join
		cut-after join
		cut-before join_ok
		cut-before joined
	END
}

@test "steps 1 and 2, cut: the dump fails before anything is frozen (safe)" {
	start_victim --size 16
	export CRIU_MULTIFD_MODE=safe
	before_freezing
	# All that was in vain: the same name, the same victim, a good link.
	move safe
	moved_well
}

@test "steps 1 and 2, cut: the dump fails before anything is frozen (postcopy)" {
	start_victim --size 16
	export CRIU_MULTIFD_MODE=postcopy
	before_freezing
	not_frozen_row cut-before join_urgent 1000 join
}

@test "steps 3 to 5, cut (safe): the source runs on within a second, the target forgets" {
	local how event more

	start_victim --size 16
	export CRIU_MULTIFD_MODE=safe
	while read -r how event more; do
		# shellcheck disable=SC2086  # words
		cut_row "$how" "$event" 1000 'lost|reset|pipe|channel|closed' $more || return 1
	done <<-END
		cut-after joined
		cut-before pages
		cut-after pages --skip 7
		cut-after-bytes 1
		cut-after-bytes 100000
		cut-after-bytes 8000000
		cut-before file
		cut-after file --skip 3
		cut-before sync
		cut-after sync --skip 2
		cut-before images
		cut-after images
		cut-before end
	END
	move safe
	moved_well
}

@test "steps 3 to 5, cut (postcopy, no restore yet): the source runs on within a second, the target forgets" {
	local how event more

	start_victim --size 16
	export CRIU_MULTIFD_MODE=postcopy
	while read -r how event more; do
		# shellcheck disable=SC2086  # words
		cut_row "$how" "$event" 1000 'lost|reset|pipe|channel|closed' $more || return 1
	done <<-END
		cut-after joined
		cut-before pages
		cut-after-bytes 8000000
		cut-before images
		cut-before images_ok
		cut-after images_ok
		cut-before end
	END
}

# bats test_tags=tls
@test "step 6, cut before READY arrives: the source runs on; the target is in doubt and hears of it when the link heals" {
	local mode

	start_victim --size 16
	for mode in safe postcopy; do
		echo "# $mode"
		export CRIU_MULTIFD_MODE=$mode
		start_badlink --cut-before ready
		dump
		assert_fault_happened
		aborted_well "$(fault_time)" 1000 'lost|reset'
		assert_in_doubt ready
		heal
		nothing_left
		stop_badlink
	done
}

@test "step 6, cut before READY arrives, for good: status says in doubt, resolve discard ends it" {
	start_victim --size 16
	start_badlink --cut-before ready
	dump
	aborted_well "$(fault_time)" 1000 'lost|reset'
	assert_in_doubt ready
	run ! wait_session "$SESSION" committed 1
	resolve discard
	assert_target_clean
}

has_decided()
{
	is_dead "$VICTIM_PID" || grep -q 'Dumping FAILED' "$IMG/dump.log"
}

# READY and the end of the connection may be seen in one look, and then READY does not count: the
# target that said it may have been told otherwise since.
@test "step 6, cut right after READY: it is let go, or it runs on here; one copy in either case" {
	start_victim --size 16
	start_badlink --cut-after ready
	start_dump
	eventually 20 fault_happened
	eventually 5 has_decided
	if is_dead "$VICTIM_PID"; then
		echo '# let go'
		heal
		end_dump
		[ "$DUMP_RC" = 0 ]
		runs_on_target
		eventually 10 no_senders
	else
		echo '# runs on'
		end_dump
		aborted_well "$(fault_time)" 1000 'lost|reset|closed'
		assert_in_doubt ready
		heal
		nothing_left
	fi
}

@test "steps 7 and 8, cut around COMMIT: the source has let go; the copy runs when the link heals" {
	local how event

	while read -r how event; do
		echo "# --$how $event"
		SESSION=$how.$event
		start_victim --name "$SESSION" --size 16
		start_badlink "--$how" "$event"
		start_dump
		eventually 20 fault_happened
		assert_gone "$VICTIM_PID"
		heal
		end_dump
		[ "$DUMP_RC" = 0 ]
		runs_on_target
		eventually 10 no_senders
		stop_copy
		stop_badlink
	done <<-END
		cut-before commit
		cut-after commit
		cut-before committed
		cut-after committed
	END
}

@test "step 8, cut before COMMIT, for good: the session is kept in doubt and runs after resolve run" {
	start_victim --size 16
	start_badlink --cut-before commit
	dump
	[ "$DUMP_RC" = 0 ]
	assert_gone "$VICTIM_PID"
	assert_in_doubt ready
	# shellcheck disable=SC2046  # a list
	kill -KILL $(senders)
	resolve run
	runs_on_target
}
