#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Moves a redis with a live client from one host to another, in safe and in postcopy mode, and draws
# what the client felt: the time each of its requests took. The hosts, three network namespaces on a
# bridge, are gone afterwards.
#
#	test/demo/redis.sh [--mode safe|postcopy]... [--fill MIB] [--out DIR] [--no-chart]
#
# Default: both modes, 320 MiB, build/demo. DIR/redis-MODE.latency has a line "SECONDS MS" for each
# request, SECONDS from the moment the move began; DIR/redis.svg shows them if gnuplot is there; the
# terminal always gets a chart of text. Exit status: 0 all as promised, 77 there is no redis-server
# here (contrib/setup), 1 otherwise.
#
# shellcheck disable=SC2119,SC2154  # the helpers' arguments are optional; their variables
cd "$(dirname "$0")/../.." || exit 1
. test/bench/lib.bash
. test/apps/apps.bash

LOG_LINES=8
MODES=() FILL=320 OUT=$BUILD/demo CHART=y
BEFORE=1 AFTER=2 # seconds that are drawn

usage()
{
	sed -n '3,/^# Exit/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"
}

while [ $# -gt 0 ]; do
	case $1 in
	--mode) MODES+=("$2"); shift ;;
	--fill) FILL=$2; shift ;;
	--out) OUT=$2; shift ;;
	--no-chart) CHART='' ;;
	-h|--help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done
[ ${#MODES[@]} -gt 0 ] || MODES=(safe postcopy)

if [ -t 1 ]; then
	bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
else
	bold='' green='' red='' off=''
fi

title()
{
	printf '\n%s%s%s\n' "$bold" "$*" "$off"
}

say()
{
	printf '   %s\n' "$*"
}

good()
{
	printf ' %s✓%s %s\n' "$green" "$off" "$*"
}

bad()
{
	printf ' %s✗ %s%s\n' "$red" "$*" "$off"
	show_logs >&2
	exit 1
}

# Seconds since the move began.
since()
{
	awk -v us=$(($1 - MOVE_BEGAN)) 'BEGIN { printf "%.2f", us / 1e6 }'
}

# The longest time any request took that was under way, for each column: log scale, a row for each
# power of ten and half.
text_chart()
{
	awk -v from="-$BEFORE" -v to="$AFTER" -v columns=72 -v ran="$(since "$MOVE_RAN")" \
		-v ended="$(since "$MOVE_ENDED")" '
		function column(t) { return int((t - from) / (to - from) * columns) }
		{
			last = column($1 + $2 / 1000)
			for (c = column($1); c <= last && c < columns; c++)
				if (c >= 0 && $2 > max[c])
					max[c] = $2
		}
		END {
			for (row = 3; row > -2; row -= 0.5) {
				label = row == int(row) ? sprintf("%7.6g ms", 10 ^ row) : ""
				line = ""
				for (c = 0; c < columns; c++)
					if (max[c] > 10 ^ (row - 0.5))
						line = line "█"
					else
						line = line (c == column(0) ? "┊" : " ")
				printf "   %10s │%s\n", label, line
			}
			line = ""
			for (c = 0; c < columns; c++)
				line = line (c == column(0) || c == column(ran) ||
					c == column(ended) ? "┴" : "─")
			printf "   %10s └%s\n", "", line
			printf "   %10s  %*s%s\n", "", column(0), "",
				"0 s: the move begins; " ran " s: it runs on host b; " \
				ended " s: all of its pages are there"
		}' "$1"
}

# A panel for each mode, a box for each request: as wide as it took, and as high. Of those that
# began within 4 ms only the longest is drawn.
svg_chart()
{
	local mode plots=''

	for mode in "${MODES[@]}"; do
		awk 'int($1 * 250) != bucket { if (NR > 1) print from, took; took = 0;
			bucket = int($1 * 250); from = bucket / 250 }
			$2 > took { took = $2 }
			END { print from, took }' "$OUT/redis-$mode.latency" \
				>"$SCRATCH/redis-$mode.boxes"
		plots+="set title '$mode mode'
		plot '$SCRATCH/redis-$mode.boxes' using 1:2:1:(\$1 \\
			+ (\$2 > 4 ? \$2 / 1000 : 0.004)):(0.01):2 \\
			with boxxyerror fill solid noborder lc rgb '#3060a0' notitle
		"
	done
	gnuplot <<-END || return 1
	set terminal svg size 900,$((60 + 240 * ${#MODES[@]})) font 'sans,13' background 'white'
	set output '$OUT/redis.svg'
	set multiplot layout ${#MODES[@]},1 title 'redis with $FILL MiB moves to another host: what its client feels'
	set xlabel 'seconds since the move began'
	set ylabel 'one request, ms'
	set logscale y
	set yrange [0.01:2000]
	set format y '%g'
	set xrange [-$BEFORE:$AFTER]
	set grid ytics
	set arrow from 0, graph 0 to 0, graph 1 nohead dt 2 lc 'grey'
	$plots
	END
}

redis_up()
{
	start_redis || bad 'redis does not start'
	on_c redis-cli -h "$SERVICE" debug populate 2000 other 100 >/dev/null
	DIGEST=$(redis_digest)
	start_client redis 6379 --fill "$FILL" --interval 500 || bad 'the client does not start'
	say "host a: redis-server, process $APP_PID, $(awk '/^VmRSS/ { print int($2 / 1024) }' \
		"/proc/$APP_PID/status") MiB;" \
		"host c: a client that counts, writes and reads over one connection to $SERVICE"
	sleep "$BEFORE"
	client_goes_on 100 || bad 'the client does not get on'
}

# The service address is host a's again, and nothing is left of the first move.
rewind()
{
	kill -KILL "$RESTORE_INIT"
	on_a nft flush ruleset
	ip -n "$NS_B" addr del "$SERVICE/24" dev eth0
	ip -n "$NS_A" addr add "$SERVICE/24" dev eth0
	on_a arping -q -A -c 1 -I eth0 "$SERVICE"
	rm -rf "$SCRATCH/redis"
}

move_redis()
{
	SESSION=redis-$1
	title "redis moves, $1 mode"
	redis_up
	move_app "$1" "${APP_OPTIONS[@]}" >"$SCRATCH/move.out" 2>&1 || bad 'the move failed'
	good "host b: it runs after $(since \
		"$MOVE_RAN") s, all of its pages are there after $(since "$MOVE_ENDED") s;" \
		"$(jq -r '(.gbit_per_s * 10 | round / 10) as $rate
			| "\(.bytes_memory / 1048576 | round) MiB of memory, \($rate) Gbit/s"' \
			"$IMG/multifd-send.json")"
	client_goes_on 500 || bad 'the client does not get on'
	sleep "$AFTER"
	stop_client || bad 'a write was lost, or the connection'
	good "the client: $(word requests "$CLIENT_SAYS") requests over one connection, $(word \
		writes "$CLIENT_SAYS") writes" \
		"acknowledged, not one lost; all $(word kept "$CLIENT_SAYS") values read back"
	on_c redis-cli -h "$SERVICE" -n 1 flushdb >/dev/null
	[ "$(redis_digest)" = "$DIGEST" ] || bad 'DEBUG DIGEST differs'
	good 'DEBUG DIGEST of what no client touched is the same on both hosts'
	good "its longest wait: $(word longest_ms "$CLIENT_SAYS") ms; usually $(awk \
		-v us="$(word median_us "$CLIENT_SAYS")" \
		'BEGIN { print us / 1000 }') ms"
	awk -v began="$MOVE_BEGAN" '{ printf "%.6f %.3f\n", ($1 - began) / 1e6, $2 / 1000 }' \
		"$CLIENT_LOG" \
		>"$OUT/redis-$1.latency"
	[ -z "$CHART" ] || text_chart "$OUT/redis-$1.latency"
	rewind
}

command -v redis-server >/dev/null || { echo "${0##*/}: no redis-server here: run contrib/setup" \
	>&2; exit 77; }
need_root
CRIU=$(criu_bin) || die 'no criu: run contrib/setup'
[ -x "$MFD" ] || die "there is no $MFD: run make"
mkdir -p "$OUT"
MFD_TEST_TLS=1 arena_up # certificates of both hosts
unset SSLKEYLOGFILE
lan_up || die 'no network namespaces to be had'
title "redis under load, moved with CRIU $("$CRIU" --version | sed -n 's/^Version: *//p')"
say "hosts a $ADDR_A, b $ADDR_B and c $ADDR_C on one bridge; the service is $SERVICE"
start_server --tls-dir "$TLS_KEYS/b" || bad 'the server did not start'
for mode in "${MODES[@]}"; do
	move_redis "$mode"
done
if [ -n "$CHART" ] && command -v gnuplot >/dev/null; then
	svg_chart && good "drawn: $OUT/redis.svg"
fi
title "All as promised, in $SECONDS s."
