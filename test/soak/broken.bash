# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-only
#
# Outcomes that are wrong on purpose, so that a test can show that each is reported
# (../bats/77-soak.bats). SOAK_BREAK names one.

# The pids of the copy, on either host; the round has settled.
of_the_copy()
{
	scan
	copies '*'
}

break_outcome()
{
	[ -n "${SOAK_BREAK:-}" ] || return 0
	settle || return 0
	case $SOAK_BREAK in
	second-copy)
		start second nsenter --net=/run/netns/"$([ "$HERE" = 0 ] && echo "$NS_A" ||
			echo "$NS_B")" -- "$VICTIM" --size 1 --tree "$PLAN_TREE" \
			"$(mktemp -d "$SCRATCH/second.XXXXXX")" ;;
	ran-twice)
		echo 'gap 1 2 1 rank=0 mono=1' >>"$VICTIM_DIR/victim.log"
		echo 'gap 1 3 2 rank=0 mono=1' >>"$VICTIM_DIR/victim.log" ;;
	byte)
		of_the_copy
		# shellcheck disable=SC2046  # an address and a number
		set -- $(awk '$1 == "map" { print $3 }' "$VICTIM_DIR/victim.log" | tail -n 1)
		flip_byte "${FOUND[0]}" "$1" ;;
	process) start stray on_a sleep 1000 ;;
	frozen)
		of_the_copy
		kill -STOP "${FOUND[@]}" ;;
	lost)
		of_the_copy
		kill -KILL "${FOUND[@]}" ;;
	file) : >"$SCRATCH/disk-a/left" ;;
	esac
}
