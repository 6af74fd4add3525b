#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A link on which nothing moves any more, but no connection ends: both ends notice within their
# stall timeout, and the source runs on within a second more.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

STALL=1000

setup()
{
	fault_setup
	export CRIU_MULTIFD_STALL_TIMEOUT=${STALL}ms
	start_server --stall-timeout $STALL
}

# stall_row HOW EVENT [MORE BADLINK OPTIONS]
stall_row()
{
	local how=$1 event=$2

	shift 2
	echo "# ${CRIU_MULTIFD_MODE:-safe}: --$how $event $*"
	start_badlink "--$how" "$event" "$@"
	dump
	assert_fault_happened || return 1
	aborted_well "$(fault_time)" $((STALL + 1000)) 'HELLO|join|JOINED|lost|timed out|channel' ||
		return 1
	# The target finds out by itself, while the link is still dead; only one that has everything
	# waits for the source's word.
	[ -n "${COMPLETE:-}" ] || assert_target_clean 10 || return 1
	heal
	nothing_left || return 1
	stop_badlink
}

@test "steps 1 and 2, stall: the dump fails before anything is frozen" {
	local how event

	start_victim --size 16
	while read -r how event; do
		stall_row "$how" "$event" || return 1
		run ! grep -aq 'Seized task' "$IMG/dump.log"
	done <<-END
		stall-before greeting
		stall-before hello_ok
		stall-before join_ok
		stall-before joined
	END
}

@test "steps 3 to 5, stall (safe): noticed, the source runs on, the target forgets" {
	local how event more

	start_victim --size 32
	while read -r how event more; do
		# shellcheck disable=SC2086  # words
		stall_row "$how" "$event" $more || return 1
	done <<-END
		stall-after joined
		stall-after-bytes 1000000
		stall-before images
		stall-before end
	END
	COMPLETE=1 stall_row stall-before ready
}

@test "steps 3 to 5, stall (postcopy, no restore yet): noticed, the source runs on, the target forgets" {
	local how event more

	start_victim --size 32
	export CRIU_MULTIFD_MODE=postcopy
	while read -r how event more; do
		# shellcheck disable=SC2086  # words
		stall_row "$how" "$event" $more || return 1
	done <<-END
		stall-after-bytes 1000000
		stall-before images
	END
	COMPLETE=1 stall_row stall-before images_ok
	COMPLETE=1 stall_row stall-before ready
}

# From the first try that has failed on status says that it is in doubt, why, and what is left.
says_untold()
{
	"$MFD" status --source "$IMG" --json |
		jq -e '.phase == "releasing" and .in_doubt and (.doubt | length > 0) and
			(.advice | startswith("The tasks here are dead"))' >/dev/null
}

# bats test_tags=tls
@test "step 8, stall before COMMIT: the source has let go, the copy runs when the link heals" {
	local look

	start_victim --size 16
	start_badlink --stall-before commit
	start_dump
	eventually 20 fault_happened
	assert_gone "$VICTIM_PID"
	assert_in_doubt ready
	for look in 1 2; do # the sender is telling the target, which does not answer
		run -0 --separate-stderr "$MFD" status --source "$IMG" --json
		jq -e '.acknowledged == false and .held_by == null' <<<"$output"
		sleep 1
	done
	eventually 10 says_untold
	heal
	end_dump
	[ "$DUMP_RC" = 0 ]
	runs_on_target
}

@test "slow is not stalled: a transfer of several stall timeouts succeeds" {
	local mode

	for mode in safe postcopy; do
		SESSION=$mode
		start_victim --name "$mode" --size 16
		start_badlink --bandwidth 5000000
		move "$mode"
		moved_well
		[ "$(jq -r .total_ms "$IMG/multifd-send.json" | cut -d. -f1)" -gt $((2 * STALL)) ]
		stop_copy
		stop_badlink
	done
}
