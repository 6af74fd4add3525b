#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# contrib/plots/draw: what is in the table is in the picture, and what is no table is refused.

bats_require_minimum_version 1.5.0
load helpers

draw()
{
	"$MFD_TOP/contrib/plots/draw" --title 'A & b, <c>_d' --x channels --y 'GB/s' "$@"
}

table()
{
	printf '%b\n' "$@" >"$SCRATCH/t.tsv"
}

three_lines()
{
	table 'x\tsafe\tQEMU\tlow\tsafe:min\tsafe:max' '1\t1.5\t1.55\t0.1\t1\t2' \
		'2\t3\t3.01\t-\t2.5\t3.5' '16\t3.1\t3.1\t0.2\t3\t3.3'
}

@test "lines: every series, every tick, the spread and the title are drawn" {
	[ -n "$(command -v gnuplot)" ] || skip 'gnuplot is not installed'
	three_lines
	draw --kind lines --logx --ratio-line '2.4=80 %' --out "$SCRATCH/t.svg" "$SCRATCH/t.tsv"
	for text in safe QEMU low 16 '80 %' channels GB/s; do
		grep -qE ">$text</(text|tspan)>" "$SCRATCH/t.svg" || fail "no $text"
	done
	grep -qF '<title>A &amp; b, &lt;c&gt;_d</title>' "$SCRATCH/t.svg"
	grep -q '<rect .*fill *= *"#ffffff"' "$SCRATCH/t.svg"
	for colour in '0, 114, 178' '213,  94,   0' '0, 158, 115'; do
		grep -qF "rgb($colour)" "$SCRATCH/t.svg" ||
			grep -qF "rgb(  $colour)" "$SCRATCH/t.svg" || fail "no line of $colour"
	done
}

@test "lines: names of lines that end at one height are a line of text apart" {
	three_lines
	run -0 draw --kind lines --script "$SCRATCH/t.tsv"
	apart=$(sed -n 's/^set label "\(safe\|QEMU\)" at graph [0-9.]*, graph \([0-9.]*\) .*/\2/p' \
		<<<"$output" | sort -n |
		awk 'NR == 1 { low = $1 } NR == 2 { print (($1 - low) * (440 - 110) >= 19.5 ? "yes" : "no") }')
	[ "$apart" = yes ] || fail "$output"
}

@test "bars: groups have names, bars their values" {
	[ -n "$(command -v gnuplot)" ] || skip 'gnuplot is not installed'
	table 'x\tstock\tsafe' '64 MiB\t300\t190' '1 GiB\t1500\t-'
	draw --kind bars --logy --out "$SCRATCH/t.svg" "$SCRATCH/t.tsv"
	for text in '64 MiB' '1 GiB' stock safe 300 190 1500; do
		grep -qE ">$text</(text|tspan)>" "$SCRATCH/t.svg" || fail "no $text"
	done
}

@test "a series takes the colour that it is given" {
	table 'x\ta\tb' '1\t2\t3'
	run -0 draw --kind lines --colours '3 1' --script "$SCRATCH/t.tsv"
	grep -q 'label "a" .* tc rgb "#009E73"' <<<"$output"
	grep -q 'label "b" .* tc rgb "#0072B2"' <<<"$output"
	run -1 draw --kind lines --colours '0 1' --script "$SCRATCH/t.tsv"
}

@test "join: all pictures are in one, each with marks of its own" {
	[ -n "$(command -v gnuplot)" ] || skip 'gnuplot is not installed'
	three_lines
	for i in 1 2 3; do
		draw --kind lines --size 400x300 --out "$SCRATCH/$i.svg" "$SCRATCH/t.tsv"
	done
	"$MFD_TOP/contrib/plots/join" --title 'a < b' --note 'n & m' --out "$SCRATCH/all.svg" \
		"$SCRATCH"/[123].svg
	[ "$(grep -c '<svg' "$SCRATCH/all.svg")" = 4 ]
	[ "$(grep -c '</svg>' "$SCRATCH/all.svg")" = 4 ]
	grep -q 'width="800" height="630"' "$SCRATCH/all.svg"
	grep -qF '<svg x="0" y="300"' "$SCRATCH/all.svg"
	grep -qF 'a &lt; b' "$SCRATCH/all.svg" && grep -qF 'n &amp; m' "$SCRATCH/all.svg"
	# A name that is defined twice, or used and defined nowhere.
	grep -oE "id=['\"][^'\"]*" "$SCRATCH/all.svg" | sed "s/id=.//" | sort >"$SCRATCH/ids"
	[ -z "$(uniq -d "$SCRATCH/ids")" ] || fail "$(uniq -d "$SCRATCH/ids")"
	grep -oE "(url\(|xlink:href=['\"])#[^'\")]*" "$SCRATCH/all.svg" | sed 's/.*#//' |
		sort -u >"$SCRATCH/used"
	[ -s "$SCRATCH/used" ]
	[ -z "$(comm -13 <(sort -u "$SCRATCH/ids") "$SCRATCH/used")" ]
}

@test "a table that is none is refused, by name and line, and nothing is written" {
	refused()
	{
		run -1 draw --kind lines --out "$SCRATCH/t.svg" "${@:2}" "$SCRATCH/t.tsv"
		[[ $output == *"t.tsv: $1"* ]] || fail "$output"
		[ ! -e "$SCRATCH/t.svg" ]
	}

	table 'x\ta\tb' '1\t2'
	refused 'line 2: 2 cells, the header has 3'
	table 'x\ta' '1\ttwo'
	refused 'line 2: "two" is no number'
	table 'x\ta\ta' '1\t2\t3'
	refused 'line 1: column 3 has no name of its own'
	table 'x\ta\tb:min\tb:max' '1\t2\t3\t4'
	refused 'b:m'
	table 'x\ta\ta:min' '1\t2\t3'
	refused 'a needs both :min and :max'
	table 'x\ta' '1\t-'
	refused 'nothing to draw'
	table 'x\ta' '1\t0'
	refused 'a logarithmic axis cannot show 0' --logy
	rm "$SCRATCH/t.tsv"
	refused 'cannot be read'
}
