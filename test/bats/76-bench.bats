#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# test/bench/run and what is made of its results: what is measured is what is said, and nothing is
# measured that did not work.

bats_require_minimum_version 1.5.0
# bats file_tags=alone
load helpers

bench()
{
	"$MFD_TOP/test/bench/run" --json "$SCRATCH/r.json" "$@"
}

# runs WHAT MIB FILL MS...: lines as test/bench/run writes them.
runs()
{
	local what=$1 mib=$2 fill=$3 rep=0 ms

	shift 3
	for ms in "$@"; do
		rep=$((rep + 1))
		jq -cn --arg what "$what" --argjson mib "$mib" --arg fill "$fill" --argjson ms \
			"$ms" --argjson rep $rep '
			{what: $what, mib: $mib, fill: $fill, channels: "default", rep: $rep,
				commit: "x", ms: $ms, paused_ms: ($ms / 2),
			cpu_source_s: ($mib / 4096), cpu_target_s: ($mib / 2048),
				peak_source_bytes: 1048576,
			peak_target_bytes: ($mib * 1.5 * 1048576), wire_bytes: ($mib * 1048576 / 2),
			sender: (if $what == "safe" then {bytes_memory: ($mib * 1048576),
				stream_ms: ($ms / 4)} else null end)}'
	done >>"$SCRATCH/r.jsonl"
}

report()
{
	"$MFD_TOP/test/bench/report" --json "$SCRATCH/r.json" "$SCRATCH/r.jsonl"
}

# of JQ: it is true of the report.
of()
{
	jq -e "$1" "$SCRATCH/r.json" >/dev/null ||
		fail "not so: $1: $(jq -c '.summary, .goals' "$SCRATCH/r.json")"
}

@test "report: medians, the least and the most, ratios, per GiB and per byte" {
	runs stock 1024 random 1600 1500 1000 1400 9000
	runs safe 1024 random 400 600 500 550
	runs pipeline 1024 random 200
	run -0 report
	of '[.summary[] | select(.what == "stock").ms] == [{median: 1500, min: 1000, max: 9000}]'
	of '[.summary[] | select(.what == "safe").ms] == [{median: 525, min: 400, max: 600}]'
	of '[.summary[] | select(.what == "safe").x_stock] | .[0] > 2.857 and .[0] < 2.858'
	of '[.summary[] | select(.what == "safe") | .cpu_source_s_per_gib.median,
		.cpu_target_s_per_gib.median, .cpu_s_per_gib.median]
		== [0.25, 0.5, 0.75]'
	of '[.summary[] | select(.what == "safe") | .peak_target_per_byte.median, .wire_per_byte.median] == [1.5, 0.5]'
	# 1 GiB in 525 / 4 ms, beside 1 GiB in 200 ms.
	of '.goals[] | select(.goal == "1 GiB, safe: while pages flow, of the bare pipeline") | .is > 1.52 and .is < 1.53 and .reached'
	grep -q 'safe  *4  *525  *400-600  *2.86' <<<"$output"
}

@test "report: a goal is reached, not reached, or not measured" {
	runs stock 1024 random 1500
	runs safe 1024 random 525
	run -0 report
	grep -Eq '^reached +2.86 +>= 2 +1 GiB, safe: total time, first goal' <<<"$output"
	grep -Eq '^NOT reached +2.86 +>= 3 +1 GiB, safe: total time, times' <<<"$output"
	grep -Eq '^NOT reached +1.5 +<= 1.2 +1 GiB, safe: peak' <<<"$output"
	grep -Eq '^NOT reached +0.75 +< 0.75 +1 GiB, safe: CPU' <<<"$output"
	! grep -q 'postcopy' <<<"$output" || fail 'that was not measured'
	of '[.goals[] | select(.goal | test("postcopy|4 GiB|half zero|of QEMU")).reached] | length > 0 and all(. == null)'
}

@test "report: other numbers of channels do not count for the goals, and have no part in the medians" {
	runs safe 1024 random 500
	sed 's/"channels":"default"/"channels":"1"/; s/"ms":500/"ms":5/' "$SCRATCH/r.jsonl" \
		>"$SCRATCH/more"
	cat "$SCRATCH/more" >>"$SCRATCH/r.jsonl"
	runs stock 1024 random 1000
	run -0 report
	of '[.summary[] | select(.what == "safe") | .channels, .ms.median] | sort_by(type) == [5, 500, "1", "default"]'
	of '.goals[0].is == 2'
}

@test "run: verified migrations are measured, and what was stopped is continued" {
	need_criu
	run -0 bench --sizes 8 --fills text --reps 1 --what 'stock safe+zstd pageserver'
	[ "$(wc -l <"$SCRATCH/r.jsonl")" = 3 ]
	of '[.summary[] | select(.what == "safe+zstd").wire_per_byte.median] | .[0] > 0.05 and .[0] < 0.6'
	of '[.summary[] | select(.what == "stock").wire_per_byte.median] | .[0] > 1'
	of '[.runs[] | .ms > 0 and .paused_ms > 0 and .cpu_source_s > 0 and .cpu_target_s > 0 and .peak_target_bytes > 8388608] | all'
	of '[.runs[].sender] | map(. != null) == [false, true, false]'

	sed -i 2d "$SCRATCH/r.jsonl"
	cp "$SCRATCH/r.jsonl" "$SCRATCH/before"
	run -0 --separate-stderr bench --sizes 8 --fills text --reps 1 \
		--what 'stock safe+zstd pageserver' --continue --plan
	[ "$output" = '8 text default safe+zstd 1' ]
	run -0 bench --sizes 8 --fills text --reps 1 --what 'stock safe+zstd pageserver' --continue
	[ "$(wc -l <"$SCRATCH/r.jsonl")" = 3 ]
	head -n 2 "$SCRATCH/r.jsonl" | cmp - "$SCRATCH/before"
}

@test "run: competitors take turns, and what cannot be measured is left out with a reason" {
	export QEMU=/nowhere/qemu
	run -0 --separate-stderr bench --plan --sizes 64 --fills 'random text' --reps 2
	[ "$(head -n 6 <<<"$output" | cut -d ' ' -f 4 | tr '\n' ' ')" = \
		'stock pageserver safe confirm postcopy pipeline ' ]
	[ "$(sed -n 7p <<<"$output")" = '64 random default stock 2' ]
	grep -qx '64 text default safe+lz4 1' <<<"$output"
	! grep -q 'text default pipeline' <<<"$output" || fail 'it never looks at what it carries'
	! grep -q qemu <<<"$output" || fail 'there is none'
	[[ $stderr == *'QEMU is left out: there is no /nowhere/qemu'* ]]

	run -0 --separate-stderr bench --plan --sizes '8 99999999' --what stock --reps 1 \
		--fills random
	[ "$output" = '8 random default stock 1' ]
	[[ $stderr == *'99999999 MiB are left out: '*' MiB of memory are free'* ]]
	run -1 bench --plan --what nothing
	[[ $output == *'nothing is called nothing'* ]]
}

@test "guestmem: copies memory between processes, and sees one byte that differs" {
	guestmem=$BUILD/test/bench/guestmem
	start_victim --size 3 --fill half --seed 1
	a=$VICTIM_PID map=$(victim_map main)
	start_victim --name other --size 3 --fill random --seed 2
	b=$VICTIM_PID map_b=$(victim_map main)
	run -1 "$guestmem" compare "$a:${map% *}" "$b:${map_b% *}" 3
	[[ $output == *'the memories differ in the MiB at 0' ]]
	"$guestmem" copy "$a:${map% *}" "$b:${map_b% *}" 3
	"$guestmem" compare "$a:${map% *}" "$b:${map_b% *}" 3
	flip_byte "$b" $((${map_b% *} + 2097153))
	run -1 "$guestmem" compare "$a:${map% *}" "$b:${map_b% *}" 3
	[[ $output == *'differ in the MiB at 0x200000' ]]
	run -1 "$guestmem" compare "$a:${map% *}" "$b" 77777
	[[ $output == *"process $b has 0 mappings of 77777 MiB, not one" ]]
}
