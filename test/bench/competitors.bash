# shellcheck shell=bash disable=SC2034,SC2154  # variables of the files that source this
# SPDX-License-Identifier: GPL-2.0-only
#
# What test/bench/run measures. Each run_* finds the process in VICTIM_PID, an empty folder in RUN
# and a namespace to restore to, and writes RUN/began when criu dump is executed. T1: the last page
# is in, T2: no process is at work any more. All return non-zero when something failed; the logs are
# in RUN.

# The shell stamps the moment and becomes CRIU: what it takes to get that far counts for no side.
dump()
{
	# shellcheck disable=SC2016  # for that shell
	(metered source nsenter --net=/run/netns/"$NS_A" -- \
		bash -c 'echo "${EPOCHREALTIME/[.,]/}" >"$0"; exec "$@"' "$RUN/began" "$CRIU" dump \
			-t "$VICTIM_PID" -D "$RUN" -v1 -o dump.log \
		--manage-cgroups=ignore --address 127.0.0.1 "$@" </dev/null)
}

# status_pipe: a pipe in STATUS for --status-fd; ready_on_pipe waits for CRIU's byte there.
status_pipe()
{
	local fifo=$SCRATCH/status.$1

	[ -p "$fifo" ] || mkfifo "$fifo"
	exec {STATUS}<>"$fifo"
}

ready_on_pipe()
{
	local byte

	IFS= read -r -d '' -t 60 -u "$STATUS" byte
}

run_stock()
{
	local dump lazy dump_ready lazy_ready go=$SCRATCH/lazy.go

	# In its control group and namespaces already: what that takes (20 ms) counts for no side.
	[ -p "$go" ] || mkfifo "$go"
	status_pipe dump && dump_ready=$STATUS
	status_pipe lazy && lazy_ready=$STATUS
	# shellcheck disable=SC2016  # for that shell
	(metered target nsenter --net=/run/netns/"$NS_B" -- bash \
		-c 'read -r go <"$0"; exec "$@" </dev/null' "$go" \
		"$CRIU" lazy-pages --page-server --address 127.0.0.1 --port 7000 -D "$RUN" -v3 \
			-o lazy.log \
		--status-fd "$lazy_ready") &
	lazy=$!
	dump --lazy-pages --port 7000 --status-fd "$dump_ready" &
	dump=$!
	STATUS=$dump_ready
	ready_on_pipe || return 1
	echo go >"$go"
	STATUS=$lazy_ready
	ready_on_pipe || return 1
	restore_here "$RUN" --lazy-pages || return 1
	wait "$lazy" || return 1
	tail -n 1 "$RUN/lazy.log" | grep -q 'Disconnect from the page server' || return 1
	T1=$(stat -c %.6Y "$RUN/lazy.log")
	T1=${T1/./}
	exec {dump_ready}>&- {lazy_ready}>&-
	wait "$dump" || return 1
	now && T2=$NOW
}

run_pageserver()
{
	local server

	(metered target nsenter --net=/run/netns/"$NS_B" -- "$CRIU" page-server \
		--address 127.0.0.1 --port 7000 -D "$RUN" \
		-v1 -o page-server.log </dev/null) &
	server=$!
	eventually 10 port_listens 7000
	dump --page-server --port 7000 || return 1
	wait "$server" || return 1
	restore_here "$RUN" || return 1
	now && T1=$NOW T2=$NOW
}

port_listens()
{
	[ -n "$(on_b ss -Hltn "sport = :$1")" ]
}

# ---- ours ----------------------------------------------------------------------------------------

server_up()
{
	SERVER_DIR=$RUN/sessions
	mkdir -p "$SERVER_DIR"
	rm -f "$SCRATCH/server.err" # the last one's has an address, too
	start server metered target nsenter --net=/run/netns/"$NS_B" -- \
		"$MFD" serve --listen 127.0.0.1:0 --dir "$SERVER_DIR" --insecure --restore \
			--restore-option=--manage-cgroups=ignore
	SERVER_PID=$STARTED_PID
	eventually 10 listening_line server
	[ -n "$SERVER_ADDR" ]
}

server_down()
{
	{ kill "$SERVER_PID"; wait "$SERVER_PID"; } 2>/dev/null
}

# In a session's status: the moment in which the pager had put in the last page.
# shellcheck disable=SC2016
installed='(.timeline[] | select(.phase == "installed").ms) as $ms | .started_us + ($ms * 1000 | round)'

# run_mfd safe|confirm|precopy|postcopy CHANNELS [COMPRESSION]; CHANNELS may be "default".
run_mfd()
{
	local goal=committed dump
	local -x CRIU_MULTIFD_TARGET=$SERVER_ADDR CRIU_MULTIFD_SESSION=bench CRIU_MULTIFD_MODE=$1

	case $1 in
	confirm) goal='' CRIU_MULTIFD_MODE=safe; local -x CRIU_MULTIFD_CONFIRM=restore ;;
	precopy) goal='' CRIU_MULTIFD_MODE=safe
		local -x CRIU_MULTIFD_CONFIRM=restore CRIU_MULTIFD_PRECOPY=on ;;
	postcopy) goal=ready ;;
	esac
	[ "$2" = default ] || local -x CRIU_MULTIFD_CHANNELS=$2
	[ -z "${3:-}" ] || local -x CRIU_MULTIFD_COMPRESS=$3
	dump --lazy-pages -L "$PLUGINS" &
	dump=$!
	if [ -n "$goal" ]; then
		"$MFD" wait --dir "$SERVER_DIR" bench --for "$goal" --timeout 60 || return 1
		restore_here "$SERVER_DIR/bench" --lazy-pages || return 1
	fi
	"$MFD" wait --dir "$SERVER_DIR" bench --for "done" --timeout 60 || return 1
	wait "$dump" || return 1
	now && T2=$NOW
	T1=$("$MFD" status --dir "$SERVER_DIR" --json bench | jq -e "$installed")
}
