#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# contrib/: systemd units and what the server must do for them, the sample configuration,
# completion.

bats_require_minimum_version 1.5.0
load helpers

# ---- systemd -------------------------------------------------------------------------------------

# activated [OPTIONS OF activate --] [FLAGS OF serve]: as systemd starts it; sets SERVER_ADDR.
activated()
{
	local how=()

	while [[ ${1:-} == -[uan] ]]; do
		if [ "$1" = -u ]; then how+=("$1"); shift; else how+=("$1" "$2"); shift 2; fi
	done
	SERVER_DIR=$SCRATCH/sessions
	start server "$TOOLS/activate" "${how[@]}" "$MFD" serve --dir "$SERVER_DIR" "$@"
	SERVER_PID=$STARTED_PID
	eventually 20 listening_line server || fail 'neither ready nor ended'
}

@test "the units are what systemd takes" {
	[ -n "$(command -v systemd-analyze)" ] || skip 'systemd-analyze is not installed'
	mkdir "$SCRATCH/units"
	for f in "$MFD_TOP"/contrib/systemd/*; do
		sed "s,/usr/local/sbin/criu-multifd,$MFD," "$f" >"$SCRATCH/units/${f##*/}"
	done
	run -0 systemd-analyze verify --man=no "$SCRATCH/units/"*
	[ -z "$output" ] || fail "$output"
}

@test "no setting of the service makes a mount namespace or a filter that restored tasks would inherit" {
	local unit=$MFD_TOP/contrib/systemd/criu-multifd.service

	! grep -E '^(Private|Protect|ReadOnly|ReadWrite|Inaccessible|Bind|Root(Dir|Im)|TemporaryFile|NoNewPriv|SystemCall|Restrict|Memory|Lock|Capab)' "$unit" || fail 'that would be inherited'
	grep -qx 'Type=notify' "$unit"
	grep -qx 'KillMode=process' "$unit"
	# A word that is typed wrong is not tried again.
	run -64 "$MFD" serve --bogus
	grep -qx 'RestartPreventExitStatus=64' "$unit"
}

@test "socket activation: a socket that is passed is listened on, and READY=1 comes from the main process" {
	activated --listen 127.0.0.1:1
	grep -qx "listening ${SERVER_ADDR##*:}" "$SCRATCH/server.out"
	eventually 5 grep -qx 'main READY=1' "$SCRATCH/server.out"
	! grep '^other' "$SCRATCH/server.out" || fail 'systemd would not listen to that process'
	: <"/dev/tcp/127.0.0.1/${SERVER_ADDR##*:}"
	kill "$SERVER_PID"
	wait "$SERVER_PID"
	grep -qx 'main STOPPING=1' "$SCRATCH/server.out"
}

@test "socket activation: a session comes through" {
	need_criu
	start_victim
	activated
	dump_with_plugin "$VICTIM_PID" "$SCRATCH/img"
	wait_session "$SESSION" committed
	assert_gone "$VICTIM_PID"
	restore_lazily "$SERVER_DIR/$SESSION"
	verify_victim
}

@test "socket activation: an address that others can reach is refused without --insecure" {
	activated -a 0.0.0.0
	run -1 wait "$SERVER_PID"
	grep -q 'can be reached by others' "$SCRATCH/server.err"
	[ "$(wc -l <"$SCRATCH/server.err")" = 1 ]
	activated -a 0.0.0.0 --insecure
	[ -n "$SERVER_ADDR" ]
}

@test "socket activation: two sockets, and one that is not TCP, are refused with one line" {
	activated -n 2
	run -1 wait "$SERVER_PID"
	grep -q 'systemd passes 2 sockets, expected one' "$SCRATCH/server.err"
	activated -u
	run -1 wait "$SERVER_PID"
	grep -q 'is not a TCP socket that listens' "$SCRATCH/server.err"
}

@test "socket activation by systemd's own tool" {
	local port

	[ -n "$(command -v systemd-socket-activate)" ] ||
		skip 'systemd-socket-activate is not installed'
	port=$((20000 + RANDOM % 20000))
	start server systemd-socket-activate -l 127.0.0.1:$port "$MFD" serve \
		--dir "$SCRATCH/sessions"
	eventually 5 ss_listens $port
	: <"/dev/tcp/127.0.0.1/$port"
	eventually 10 grep -q "^listening on 127.0.0.1:$port$" "$SCRATCH/server.err"
}

ss_listens()
{
	ss -ltn "sport = :$1" | grep -q LISTEN
}

@test "in the journal lines carry their priority and no prefix" {
	run -0 bash -c 'exec 2>"$1"; JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) "$MFD" serve --listen 192.0.2.1:1' - "$SCRATCH/log" || true
	grep -q '^<3>192\.0\.2\.1:1 can be reached' "$SCRATCH/log"
}

# ---- the sample configuration --------------------------------------------------------------------

# "NAME = DEFAULT" of every option, from the manual.
options_of_manual()
{
	"$MFD" --help=man | awk '
		/^\.SH /	{ inside = $2 == "OPTIONS"; next }
		inside && /^\.B /	{ name = $2; gsub(/\\/, "", name); next }
		inside && name	{ value = ""
				  if (match($0, / Default: .*\.$/)) 
				  	value = " " substr($0, RSTART + 10, RLENGTH - 11)
				  gsub(/\\/, "", value)
				  print name " =" value
				  name = "" }'
}

@test "the sample configuration holds every option with its default, and nothing else" {
	options_of_manual | sort >"$SCRATCH/manual"
	sed -n 's/^#\([a-z-]* =\)/\1/p' "$MFD_TOP/contrib/criu-multifd.conf" |
		sort >"$SCRATCH/sample"
	[ "$(wc -l <"$SCRATCH/manual")" -gt 15 ]
	diff "$SCRATCH/manual" "$SCRATCH/sample"
}

@test "the sample configuration is taken as it is, and with every option that has a default switched on" {
	export CRIU_MULTIFD_CONFIG=$SCRATCH/conf

	cp "$MFD_TOP/contrib/criu-multifd.conf" "$SCRATCH/conf"
	run ! "$MFD" migrate -t 1
	[[ $output == *'--to ADDR:PORT is missing'* ]]
	sed 's/^#\([a-z-]* = .\)/\1/' "$MFD_TOP/contrib/criu-multifd.conf" >"$SCRATCH/conf"
	run ! "$MFD" migrate -t 1
	[[ $output == *'--to ADDR:PORT is missing'* ]]
}

# ---- completion ----------------------------------------------------------------------------------

# complete_line WORDS...: what may stand for the last of them.
complete_line()
{
	bash -c '. "$1"; shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_criu_multifd
		printf "%s\n" "${COMPREPLY[@]}"' - "$MFD_TOP/contrib/completions/criu-multifd.bash" "$MFD" "$@"
}

@test "completion: verbs" {
	run -0 complete_line ''
	for verb in $("$MFD" --help=verbs) help; do
		grep -qx "$verb" <<<"$output" || fail "no $verb"
	done
	run -0 complete_line re
	[ "$(sort <<<"$output" | tr '\n' ' ')" = 'resolve restore ' ]
	run -0 complete_line help mig
	[ "$output" = migrate ]
}

@test "completion: every flag of every verb" {
	for verb in $("$MFD" --help=verbs); do
		complete_line "$verb" -- >/dev/null
		complete_line "$verb" - >"$SCRATCH/flags"
		for flag in $("$MFD" "$verb" --help | grep -oE '^ +(-., )?--[a-z-]+' |
			grep -oE -e '--[a-z-]+'); do
			grep -qx -e "$flag" "$SCRATCH/flags" || fail "$verb: no $flag"
		done
	done
	grep -qx -e -t <(complete_line migrate -)
}

@test "completion: values, sessions, and nothing behind --" {
	run -0 complete_line migrate --mode ''
	[ "$output" = $'safe\npostcopy' ]
	run -0 complete_line migrate --mode = p
	[ "$output" = postcopy ]
	run -0 complete_line migrate --cpr ''
	[ "$output" = $'auto\noff' ]
	run -0 complete_line migrate -t $$
	grep -qx $$ <<<"$output"
	mkdir -p "$SCRATCH/d/web" "$SCRATCH/d/.hidden"
	run -0 complete_line status --dir "$SCRATCH/d" ''
	[ "$output" = web ]
	run -0 complete_line migrate -t 1 -- --tcp
	[ -z "$output" ]
}

# complete_zsh WORDS...: what _criu-multifd of zsh offers for the last of them.
complete_zsh()
{
	zsh -f -c 'completion=$1; shift
		compadd() { [ "$1" != -- ] || shift; print -rl -- "$@"; }
		compset() { :; }
		words=("$@") CURRENT=$#
		source $completion' - "$MFD_TOP/contrib/completions/_criu-multifd" "$MFD" "$@" \
		</dev/null
}

# complete_fish WORDS...: the same of fish.
complete_fish()
{
	timeout 20 fish --no-config -c 'source $argv[1]
		complete -C (string join " " -- (string escape -n -- $argv[2..-1]))' \
		"$MFD_TOP/contrib/completions/criu-multifd.fish" "criu-multifd" "$@" \
		</dev/null | cut -f 1
}

# each_completion SHELL: as of bash above.
each_completion()
{
	local verb flag
	PATH=$(dirname "$MFD"):$PATH
	"complete_$1" '' >"$SCRATCH/verbs"
	for verb in $("$MFD" --help=verbs) help; do
		grep -qx "$verb" "$SCRATCH/verbs" || fail "no $verb"
	done
	# They are asked in the same way of each verb, which takes a while.
	for verb in migrate serve status; do
		"complete_$1" "$verb" - >"$SCRATCH/flags"
		"complete_$1" "$verb" -- >>"$SCRATCH/flags"
		for flag in $("$MFD" "$verb" --help | grep -oE '^ +(-., )?--[a-z-]+' |
			grep -oE -e '--[a-z-]+'); do
			grep -qx -e "$flag" "$SCRATCH/flags" || fail "$verb: no $flag"
		done
	done
	[ "$("complete_$1" migrate --mode '' | sort | tr '\n' ' ')" = 'postcopy safe ' ]
	mkdir -p "$SCRATCH/d/web"
	grep -qx web <<<"$("complete_$1" status --dir "$SCRATCH/d" '')"
	! grep -q tcp <<<"$("complete_$1" migrate -t 1 -- --tcp)"
}

@test "completion of zsh" {
	[ -n "$(command -v zsh)" ] || skip 'zsh is not installed'
	each_completion zsh
}

@test "completion of fish" {
	[ -n "$(command -v fish)" ] || skip 'fish is not installed'
	each_completion fish
}

@test "completion is what shellcheck takes" {
	[ -n "$(command -v shellcheck)" ] || skip 'shellcheck is not installed'
	shellcheck -s bash "$MFD_TOP/contrib/completions/criu-multifd.bash"
}
