#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A process on a terminal whose other end stays behind: kept on one host, given another terminal on
# the next, refused by name without one.

bats_require_minimum_version 1.5.0
load helpers
load cpr

PTYHOST=$TOOLS/ptyhost
CPRFD=$TOOLS/cprfd
# What the victim makes of its terminal and what the terminal is made as.
MARKS='size=33x101 intr=7 echo=0'

setup()
{
	scratch_up
	need_root
	need_criu
	SESSION=test
	IMG=$SCRATCH/img
	mkdir "$IMG"
}

# start_pty NAME MODE COMMAND...: a terminal whose master is held, in SCRATCH/NAME.
start_pty()
{
	local name=$1

	shift
	mkdir "$SCRATCH/$name"
	start "$name" ${NS_A:+nsenter --net=/run/netns/"$NS_A" --} setsid "$PTYHOST" \
		"$SCRATCH/$name" "$@"
	PTY_PID=$STARTED_PID
	eventually 10 test -e "$SCRATCH/$name/ready" ||
		fail "no terminal: $(cat "$SCRATCH/$name.err")"
}

# start_on_terminal MODE [PATH]: sets VICTIM_PID and TTY, CRIU's name of its terminal; NAME of it is
# "source".
start_on_terminal()
{
	start_pty source "$1" "$PTYHOST" echo "${@:2}"
	VICTIM_PID=$(cat "$SCRATCH/source/pid")
	register pid "$VICTIM_PID"
	eventually 5 grep -q ready "$SCRATCH/source/screen"
	TTY=$(tty_name "$(cat "$SCRATCH/source/slave")")
}

# As criu has it: st_rdev and st_dev. stat(1) prints the first as major and minor.
tty_name()
{
	printf 'tty[%x:%x]' $((0x$(stat -c %t "$1") << 8 | 0x$(stat -c %T "$1"))) \
		"$(stat -c %d "$1")"
}

type_on()
{
	printf %b "$2" | timeout 5 tee "$SCRATCH/$1/keys" >/dev/null
}

shows()
{
	eventually 10 grep -q "$2" "$SCRATCH/$1/screen" ||
		fail "the screen of $1 lacks '$2': $(cat "$SCRATCH/$1/screen")"
}

# works_on NAME mine|no WORD: input, output, window size and modes are there, and the key for an
# interrupt where it is the session's.
works_on()
{
	type_on "$1" "$3\\n"
	shows "$1" "got $3 $MARKS session=$2"
	[ "$2" = mine ] || return 0
	type_on "$1" '\007'
	shows "$1" interrupted
}

# offer_on NAME SERVER_DIR OFFER: a new terminal there, 24 x 80 before the restore.
offer_on()
{
	NS_A='' start_pty "$1" with "$MFD" cpr --dir "$2" offer "$SESSION" "$3"
	eventually 5 test -e "$SCRATCH/$1/rc"
	[ "$(cat "$SCRATCH/$1/rc")" = 0 ]
}

# ---- one host ----

@test "kept: a session's terminal; the session has not noticed, what was typed meanwhile is there" {
	start_keeper
	start_on_terminal session
	start grab "$PTYHOST" grab "$VICTIM_PID" 0
	local grab=$STARTED_PID
	works_on source mine before
	dump_kept
	assert_gone "$VICTIM_PID"
	grep -qF "multifd: terminal $TTY ($(cat \
		"$SCRATCH/source/slave")) of process $VICTIM_PID, descriptor 0" "$IMG/dump.log"
	"$MFD" cpr --dir "$KEEPER_DIR" list --json |
		jq -e --arg n "$TTY" 'length == 1 and .[0].name == $n and .[0].how == "kept"'
	: >"$SCRATCH/source/screen"
	type_on source 'meanwhile\n'
	restore_kept
	shows source "got meanwhile $MARKS session=mine"
	works_on source mine after
	run ! grep -q 'hung up' "$SCRATCH/source/screen"
	"$CPRFD" kcmp "$RESTORED_PID" 0 "$grab" 3
	[ "$(held "$KEEPER_DIR")" = 0 ]
}

@test "kept: the terminal does not hang up while only the keeper has it" {
	start_keeper
	start_on_terminal session
	dump_kept
	assert_gone "$VICTIM_PID"
	sleep 0.5
	run ! grep -q 'hung up' "$SCRATCH/source/screen"
	restore_kept
	works_on source mine again
}

@test "kept: a terminal that is no session's, opened several times" {
	start_keeper
	start_on_terminal split
	dump_kept
	[ "$(held "$KEEPER_DIR")" = 1 ]
	restore_kept
	works_on source no after
}

@test "kept: /dev/tty, opened to read alone" {
	start_keeper
	start_on_terminal session /dev/tty
	start grab "$PTYHOST" grab "$VICTIM_PID" 3
	local grab=$STARTED_PID
	dump_kept
	[ "$(held "$KEEPER_DIR")" = 2 ]
	restore_kept
	works_on source mine after
	"$CPRFD" kcmp "$RESTORED_PID" 3 "$grab" 3
}

release_keeps()
{
	SESSION=v$VERSION IMG=$SCRATCH/img.$VERSION
	mkdir "$IMG"
	start_on_terminal session
	dump_kept
	restore_kept
	works_on source mine "$VERSION"
	kill -9 "$RESTORE_INIT" "$PTY_PID"
	mv "$SCRATCH/source" "$SCRATCH/source.$VERSION"
}

@test "kept: with every CRIU release that can be had" {
	start_keeper
	every_criu release_keeps
}

@test "what is in the images is shown" {
	start_keeper
	start_on_terminal session
	dump_kept
	"$MFD" show "$IMG/cpr-fds.img" | jq -e --arg n "$TTY" \
		--arg p "$(cat "$SCRATCH/source/slave")" --argjson pid "$VICTIM_PID" \
		'.entries | length == 2 and (.[1] | .name == $n and .inherit_id == $n
			and .kind == "TTY" and .how == "KEPT" and .path == $p
		and .device.major == 136 and .owners[0].pid == $pid)'
}

@test "a terminal that the keeper has lost is named before anything runs; another may be offered" {
	start_keeper
	start_on_terminal session
	dump_kept
	"$MFD" cpr --dir "$KEEPER_DIR" drop $SESSION
	shows source 'hung up'
	restore_refused
	grep -qF "terminal $TTY of process $VICTIM_PID, descriptor 0, cannot be restored" \
		"$IMG/restore.log"
	run ! grep -q 'Forking task' "$IMG/restore.log"
	"$MFD" cpr --dir "$KEEPER_DIR" offer $SESSION "$TTY" </dev/null
	restore_refused
	grep -qF "offered for $TTY is no terminal" "$IMG/restore.log"
	run ! grep -q 'Forking task' "$IMG/restore.log"
	"$MFD" cpr --dir "$KEEPER_DIR" drop $SESSION
	"$MFD" cpr --dir "$KEEPER_DIR" offer $SESSION "$TTY" <>/dev/ptmx
	restore_refused
	grep -q 'master of a pseudo terminal: its slave is needed' "$IMG/restore.log"
	"$MFD" cpr --dir "$KEEPER_DIR" drop $SESSION
	offer_on other "$KEEPER_DIR" "$TTY"
	restore_kept
	works_on other mine there
}

@test "an offer that can only be read is opened to write, too" {
	start_keeper
	start_on_terminal session
	start_pty other plain sleep 60
	dump_kept
	"$MFD" cpr --dir "$KEEPER_DIR" drop $SESSION
	"$MFD" cpr --dir "$KEEPER_DIR" offer $SESSION tty <"$(cat "$SCRATCH/other/slave")"
	restore_kept
	works_on other mine there
}

@test "what is not claimed, and what --external names, is as ever" {
	start_keeper
	start_on_terminal session
	CRIU_MULTIFD_CPR='anon_inode:*' run ! dump_kept
	grep -q 'Found slave peer index' "$IMG/dump.log"
	works_on source mine still
	CRIU_MULTIFD_CPR='anon_inode:*' dump_kept --external "$TTY"
	printf '#!/bin/sh\nexec "%s" "$@" 7<>"%s"\n' "$CRIU" "$(cat "$SCRATCH/source/slave")" \
		>"$SCRATCH/criu"
	chmod +x "$SCRATCH/criu"
	CRIU=$SCRATCH/criu restore_kept --inherit-fd "fd[7]:$TTY"
	works_on source mine given
}

@test "a shell's job is left to --shell-job" {
	start_keeper
	start_on_terminal job
	run ! dump_kept
	grep -q "multifd: the terminal of process $VICTIM_PID, descriptor 0, is that of session" \
		"$IMG/dump.log"
	run ! grep -q -- "--external '" "$IMG/dump.log"
	dump_kept --shell-job
	[ ! -e "$IMG/cpr-fds.img" ]
}

@test "a terminal whose master comes along is CRIU's" {
	start_keeper
	start_pty source session "$PTYHOST" echo
	VICTIM_PID=$PTY_PID
	eventually 5 grep -q ready "$SCRATCH/source/screen"
	dump_kept
	[ ! -e "$IMG/cpr-fds.img" ]
	run ! grep -q -- "--external '" "$IMG/dump.log"
	restore_kept
	works_on source mine both
}

# ---- another host ----

migrate()
{
	on_a "$MFD" migrate -t "$VICTIM_PID" --to "$SERVER_ADDR" --session "$SESSION" "$@"
}

@test "another host, migrate --restore: refused by name, then onto the terminal that is offered" {
	hosts_up
	start_server --restore
	start_on_terminal session
	run -1 migrate --restore -D "$IMG"
	[[ $output == *"descriptor $TTY "*"cannot be had here: offer one with 'criu-multifd cpr offer $SESSION $TTY'"* ]] || { echo "$output"; false; }
	works_on source mine still
	run ! grep -q 'hung up' "$SCRATCH/source/screen"
	offer_on other "$SERVER_DIR" "$TTY"
	migrate --restore
	assert_gone "$VICTIM_PID"
	works_on other mine there
	shows source 'hung up'
	wait_session $SESSION 'done'
	[ "$(held "$SERVER_DIR")" = 0 ]
}

@test "another host: /dev/tty is the terminal that is offered" {
	hosts_up
	start_server --restore
	start_on_terminal session /dev/tty
	offer_on other "$SERVER_DIR" "$TTY"
	migrate --restore
	works_on other mine there
}

@test "another host: an interactive shell and its jobs" {
	hosts_up
	start_server --restore
	start_pty source session env TERM=dumb bash --noprofile --norc -i
	VICTIM_PID=$(cat "$SCRATCH/source/pid")
	register pid "$VICTIM_PID"
	type_on source "word=brought; PS1='READY> '; sleep 1000 &\n"
	shows source 'READY> $'
	TTY=$(tty_name "$(cat "$SCRATCH/source/slave")")
	offer_on other "$SERVER_DIR" "$TTY"
	migrate --restore
	type_on other 'echo $word-along; jobs\n'
	shows other brought-along
	shows other 'Running.*sleep 1000'
	type_on other 'fg\n'
	shows other '^sleep 1000'
	type_on other '\032'
	shows other 'Stopped.*sleep 1000'
	# What has become of it says the kernel: bash itself sometimes misses the end of a stopped
	# job, moved or not.
	job=$(pgrep -P "$(status_json restored_pid)" -x sleep)
	[ "$(state_of "$job")" = T ]
	type_on other 'kill %%\n'
	assert_gone "$job"
	type_on other 'echo $word-to-the-end\n'
	shows other brought-to-the-end
}

@test "another host, postcopy: an offer for whatever terminal it is" {
	hosts_up
	start_server --restore
	start_on_terminal session
	offer_on other "$SERVER_DIR" tty
	migrate --restore --mode postcopy
	wait_session $SESSION 'done'
	works_on other mine there
	[ "$(held "$SERVER_DIR")" = 0 ]
}

# restore_on NAME: criu-multifd restore on a new terminal; sets RC.
restore_on()
{
	start_pty "$1" with unshare --pid --mount --fork --kill-child --mount-proc bash \
		-c "$NS_INIT" init "$SCRATCH/$1.rc" \
		${NS_B:+nsenter --net=/run/netns/"$NS_B" --} "$MFD" restore --dir "$SERVER_DIR" \
			$SESSION
	# Its session is its own, so the end of the terminal's keeper is not its end.
	eventually 5 test -s "$SCRATCH/$1/pid"
	register pid "$(cat "$SCRATCH/$1/pid")"
	eventually 30 test -e "$SCRATCH/$1.rc"
	RC=$(cat "$SCRATCH/$1.rc")
}

@test "another host, criu-multifd restore: its own terminal serves a process that leads no session" {
	hosts_up
	start_server
	start_on_terminal plain
	migrate
	NS_A='' restore_on other
	[ "$RC" = 0 ] || { grep multifd "$SERVER_DIR/$SESSION/restore.log"; false; }
	wait_session $SESSION 'done'
	works_on other no there
}

@test "another host, criu-multifd restore: no terminal is taken away" {
	hosts_up
	start_server
	start_on_terminal session
	migrate
	NS_A='' restore_on other
	[ "$RC" != 0 ]
	grep -qF "terminal $TTY of process" "$SERVER_DIR/$SESSION/restore.log"
	run ! grep -q 'Forking task' "$SERVER_DIR/$SESSION/restore.log"
	offer_on third "$SERVER_DIR" "$TTY"
	restore_lazily "$SERVER_DIR/$SESSION" -L "$PLUGINS"
	wait_session $SESSION 'done'
	works_on third mine there
}

# ---- containers ----

# start_console NAME: waits for a console at SCRATCH/NAME.sock.
start_console()
{
	mkdir "$SCRATCH/$1"
	start "$1" "$PTYHOST" "$SCRATCH/$1" console "$SCRATCH/$1.sock"
	eventually 5 test -S "$SCRATCH/$1.sock"
}

@test "runc: a container's console stays the runtime's" {
	start_keeper
	make_bundle "$PTYHOST" '"echo"' \
		'.process.terminal = true | .process.consoleSize = { height: 33, width: 101 }'
	start_console source
	$RUNC run -d --console-socket "$SCRATCH/source.sock" --bundle "$SCRATCH/bundle" "$ID" \
		</dev/null
	shows source ready
	works_on source mine before
	runc_with_plugin checkpoint --image-path "$IMG" --work-path "$IMG" "$ID" || {
		grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	run ! grep -q -- "--external '" "$IMG/dump.log"
	[ "$(held "$KEEPER_DIR")" = 0 ]
	shows source 'hung up'
	start_console other
	runc_with_plugin restore -d --console-socket "$SCRATCH/other.sock" \
		--bundle "$SCRATCH/bundle" --image-path "$IMG" \
		--work-path "$IMG" "$ID" || { grep -E 'multifd|Error' "$IMG/restore.log"; false; }
	works_on other mine after
}

@test "runc: a terminal of the host that a container was started on is kept" {
	start_keeper
	make_bundle "$PTYHOST" '"echo"'
	# shellcheck disable=SC2086  # a command
	start_pty source plain $RUNC run -d --bundle "$SCRATCH/bundle" "$ID"
	shows source ready
	VICTIM_PID=$($RUNC state "$ID" | jq .pid)
	works_on source no before
	runc_with_plugin checkpoint --image-path "$IMG" --work-path "$IMG" "$ID" || {
		grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	[ "$(held "$KEEPER_DIR")" = 1 ]
	assert_gone "$VICTIM_PID"
	run ! grep -q 'hung up' "$SCRATCH/source/screen"
	runc_with_plugin restore -d --bundle "$SCRATCH/bundle" --image-path "$IMG" \
		--work-path "$IMG" "$ID" >/dev/null 2>&1 ||
		{ grep -E 'multifd|Error' "$IMG/restore.log"; false; }
	works_on source no after
	[ "$(held "$KEEPER_DIR")" = 0 ]
}

@test "runc: a container's console, through a restore server" {
	start_server
	make_bundle "$PTYHOST" '"echo"' '.process.terminal = true'
	start_console source
	$RUNC run -d --console-socket "$SCRATCH/source.sock" --bundle "$SCRATCH/bundle" "$ID" \
		</dev/null
	shows source ready
	CRIU_LIBS_DIR=$PLUGINS CRIU_MULTIFD_TARGET=$SERVER_ADDR CRIU_MULTIFD_SESSION=$SESSION \
		$RUNC checkpoint --lazy-pages --image-path "$IMG" --work-path "$IMG" "$ID" \
			</dev/null ||
		{ grep -E 'multifd|Error' "$IMG/dump.log"; false; }
	wait_session $SESSION committed
	start_console other
	CRIU_LIBS_DIR=$PLUGINS $RUNC restore -d --lazy-pages \
		--console-socket "$SCRATCH/other.sock" --bundle "$SCRATCH/bundle" \
		--image-path "$SERVER_DIR/$SESSION" --work-path "$SERVER_DIR/$SESSION" "$ID" \
			</dev/null ||
		{ grep -E 'multifd|Error' "$SERVER_DIR/$SESSION/restore.log"; false; }
	wait_session $SESSION 'done'
	type_on other 'there\n'
	shows other 'got there .*session=mine'
}
