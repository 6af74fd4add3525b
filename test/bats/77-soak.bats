#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The soak of faults (test/soak) reports what is wrong: outcomes that are broken on purpose.

bats_require_minimum_version 1.5.0
load helpers

# The round of this seed moves a process in postcopy; its fault, a peer that greets and greets,
# changes nothing.
MOVES=636
# A tree of two, restored early; its fault is a peer, too.
TREE=6

setup()
{
	scratch_up
	need_root
	need_criu
	export SOAK_KEEP=$SCRATCH/failures
}

# reports BREAK SEED TEXT: one failure of one round, with its reason, its seed and a report.
reports()
{
	SOAK_BREAK=$1 run -1 "$MFD_TOP/test/soak/run" --rounds 1 --seed "$2"
	echo "$output"
	grep -q "FAILED: $3" <<<"$output"
	[[ $output == *"1 rounds, 1 failures"* ]]
	[[ $output == *"again: make soak-faults ROUNDS=1 SEED=$2"* ]]
	grep -q "$3" "$SOAK_KEEP/$2/report"
}

@test "soak: a seed is a round, and another seed another one" {
	local soak=$MFD_TOP/test/soak/round

	[ "$("$soak" --plan 1)" = "$("$soak" --plan 1)" ]
	[ "$(for i in {1..50}; do "$soak" --plan "$i"; done | sort -u | wc -l)" -gt 45 ]
	[[ $("$soak" --plan $MOVES) == postcopy*'x 1; precopy; peer greetings'* ]]
	[[ $("$soak" --plan $TREE) == early*'x 2; peer hello'* ]]
}

@test "soak: what holds is no failure" {
	run -0 "$MFD_TOP/test/soak/run" --rounds 1 --seed $MOVES --tap
	echo "$output"
	[[ $output == *"ok 1 - $MOVES postcopy"*"runs there"* ]]
	[[ $output == *"1..1"*"1 rounds, 0 failures"* ]]
}

@test "soak: a second copy, beside one that moved" {
	reports second-copy $MOVES 'two copies run'
}

@test "soak: a second copy that ran for a moment" {
	reports ran-twice $MOVES 'both copies have run'
}

@test "soak: a byte that is wrong" {
	reports byte $TREE 'bytes are wrong'
}

@test "soak: no copy at all" {
	reports lost $MOVES 'LOST'
}

@test "soak: a copy that is frozen, and no process says so" {
	reports frozen $TREE 'frozen.*, and no status says why'
}

@test "soak: a process that is left" {
	reports process $TREE 'left: '
}

@test "soak: a file that is left" {
	reports file $TREE 'left on the source: '
}
