# SPDX-License-Identifier: GPL-2.0-only
#
# What the command says and does where no server is needed: verbs, flags, wait, status, show, abort.

load helpers

bats_require_minimum_version 1.5.0

MKSESSION=$TOOLS/mksession
CORPUS=$MFD_TOP/test/fuzz/corpus/image

setup()
{
	scratch_up
	DIR=$SCRATCH/sessions
	[ -x "$MKSESSION" ] || fail "there is no $MKSESSION: run make tests"
}

# session [--ended] NAME [FIELD=VALUE]...
session()
{
	local ended=()

	[ "$1" != --ended ] || { ended=("$1"); shift; }
	"$MKSESSION" "${ended[@]}" "$DIR" "$@"
}

# says STATUS PART COMMAND...: it ends so and says that; on standard error if not 0.
says()
{
	local want=$1 part=$2

	shift 2
	run --separate-stderr "$@"
	echo "status $status stdout: $output stderr: $stderr"
	[ "$status" = "$want" ]
	if [ "$want" = 0 ]; then
		[[ $output == *"$part"* ]]
		[ -z "$stderr" ]
	else
		[[ $stderr == *"$part"* ]]
	fi
}

still_waits()
{
	if is_dead "$STARTED_PID"; then fail 'it has ended already'; fi
}

one_line()
{
	# shellcheck disable=SC2154  # set by run
	[ "${#stderr_lines[@]}" = 1 ]
}

# image NAME SEED [B]: the first (or second) image of a fuzzing seed.
image()
{
	local seed=$CORPUS/$2 len

	len=$(od -An -N2 -tu2 "$seed")
	if [ "${3:-}" = B ]; then
		tail -c +$((len + 3)) "$seed" >"$SCRATCH/$1"
	else
		tail -c +3 "$seed" | head -c $((len)) >"$SCRATCH/$1"
	fi
}

# ---- main ----------------------------------------------------------------------------------------

@test "main: no verb" { says 64 "Usage: criu-multifd VERB" "$MFD"; }
@test "main: --help" { says 0 "  wait " "$MFD" --help; }
@test "main: help" { says 0 "  serve " "$MFD" help; }
@test "main: help VERB" { says 0 "Usage: criu-multifd wait" "$MFD" help wait; }
@test "main: VERB --help is the same" { [ "$("$MFD" help wait)" = "$("$MFD" wait --help)" ]; }
@test "main: help for an unknown verb" {
	says 64 "unknown verb 'wiat'; is 'wait' meant?" "$MFD" help wiat
}
@test "main: unknown verb with a suggestion" { says 64 "unknown verb 'stauts'; is 'status' meant?" "$MFD" stauts; }
@test "main: unknown verb without one" { says 64 "unknown verb 'xyzzy'" "$MFD" xyzzy; }

@test "main: --version" {
	run "$MFD" --version
	[ "$status" = 0 ]
	[[ $output =~ ^criu-multifd\ [^\ ]+$ ]]
}

@test "main: every verb explains itself" {
	local verb

	for verb in $("$MFD" help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
		run "$MFD" help "$verb"
		echo "$verb: $output"
		[ "$status" = 0 ]
		[[ $output == "Usage: criu-multifd"* ]]
	done
}

@test "main: a full disk is an error" {
	[ -w /dev/full ] || skip 'kernel lacks /dev/full'
	# shellcheck disable=SC2016
	says 1 "cannot write" sh -c '"$1" --help >/dev/full' sh "$MFD"
}

# ---- flags ---------------------------------------------------------------------------------------

@test "flags: missing argument" { says 64 "SESSION is missing" "$MFD" wait --dir "$DIR"; }
@test "flags: too many arguments" { says 64 "unexpected argument 'b'" "$MFD" wait a b; }
@test "flags: unknown one, with a suggestion" {
	says 64 "is '--timeout' meant?" "$MFD" wait a --timeuot 5
}
@test "flags: bad choice" {
	says 64 "--for: 'never' is not ready, committed or done" "$MFD" wait a --for never
}
@test "flags: bad time" { says 64 "--timeout: '5s' is not a time" "$MFD" wait a --timeout 5s; }
@test "flags: missing value" { says 64 "--dir: the value (DIR) is missing" "$MFD" wait a --dir; }
@test "flags: names that are no names" {
	local name

	for name in ../x .hidden a/b ''; do
		says 64 "is not the name of a session" "$MFD" wait --dir "$DIR" "$name"
		says 64 "is not the name of a session" "$MFD" status --dir "$DIR" "$name"
		says 64 "is not the name of a session" "$MFD" abort --dir "$DIR" "$name"
	done
}

# ---- wait ----------------------------------------------------------------------------------------

# bats test_tags=sanitize
@test "wait: states that are enough, and those that are not" {
	local state goal rc want

	# rows: state; columns: ready committed done
	while read -r state want; do
		session s state="$state"
		for goal in ready committed 'done'; do
			rc=0
			"$MFD" wait --dir "$DIR" s --for "$goal" --timeout 0 --quiet || rc=$?
			echo "$state $goal $rc"
			[ "$rc" = "${want%% *}" ]
			want=${want#* }
		done
	done <<-END
		RECEIVING 2 2 2
		RESTORABLE 0 2 2
		RUNNING 0 2 2
		READY 0 2 2
		RESTORED 0 2 2
		COMMITTED 0 0 2
		DONE 0 0 0
		ABORTED 1 1 1
	END
}

@test "wait: timeout says what state it was in" {
	says 2 "session s: timeout: $DIR does not exist" "$MFD" wait --dir "$DIR" s --timeout 0.05
	one_line
	mkdir "$DIR"
	says 2 "session s: timeout: no session 's' in $DIR" \
		"$MFD" wait --dir "$DIR" s --timeout 0.05
	session s
	says 2 "session s: timeout: receiving" "$MFD" wait --dir "$DIR" s --timeout 0.05
	one_line
}

@test "wait: --quiet says nothing" {
	run "$MFD" wait --dir "$DIR" s --timeout 0 --quiet
	[ "$status" = 2 ]
	[ -z "$output" ]
}

@test "wait: for a session and a folder that do not exist yet" {
	start wait "$MFD" wait --dir "$DIR" s --timeout 20
	sleep 0.2
	session s
	sleep 0.2
	still_waits
	session s state=READY
	wait "$STARTED_PID"
}

@test "wait: for a session whose folder comes later, then its file" {
	mkdir "$DIR"
	start wait "$MFD" wait --dir "$DIR" s --timeout 20
	sleep 0.1
	mkdir "$DIR/s"
	sleep 0.1
	session s state=DONE
	wait "$STARTED_PID"
}

@test "wait: goes with every update and reacts at once" {
	local i began

	session s
	start wait "$MFD" wait --dir "$DIR" s --for 'done' --timeout 20
	for i in {1..50}; do
		session s pages="$i"
	done
	still_waits
	began=$(date +%s%3N)
	session s state=DONE
	wait "$STARTED_PID"
	[ $(($(date +%s%3N) - began)) -lt 500 ] # 2 ms on an idle machine
}

@test "wait: an abort while waiting is one line with the reason" {
	local rc=0

	session s
	start wait "$MFD" wait --dir "$DIR" s --timeout 20
	sleep 0.1
	session --ended s error='the network broke'
	rm -r "${DIR:?}/s"
	wait "$STARTED_PID" || rc=$?
	[ "$rc" = 1 ]
	[ "$(cat "$SCRATCH/wait.err")" = "session s: aborted: the network broke" ]
}

@test "wait: every waiting process hears of an abort" {
	local pids=() i rc

	for i in 1 2 3; do
		start "wait$i" "$MFD" wait --dir "$DIR" s --timeout 20
		pids+=("$STARTED_PID")
	done
	sleep 0.2
	session --ended s error=gone
	for i in "${pids[@]}"; do
		rc=0
		wait "$i" || rc=$?
		[ "$rc" = 1 ]
	done
}

@test "wait: an old tombstone counts once" {
	session --ended s error=gone
	sleep 0.05
	says 1 "session s: aborted: gone" "$MFD" wait --dir "$DIR" s --timeout 0
	one_line
	sleep 0.05
	says 2 "no session 's' in $DIR" "$MFD" wait --dir "$DIR" s --timeout 0.1
	session --ended s error=again
	says 1 "session s: aborted: again" "$MFD" wait --dir "$DIR" s --timeout 0
}

@test "wait: a live session wins over a tombstone" {
	session --ended s error=gone
	session s state=READY
	"$MFD" wait --dir "$DIR" s --timeout 0
}

@test "wait: an unreadable session is an error, not a wait" {
	session s
	truncate -s -1 "$DIR/s/session.img"
	says 1 "session s: unreadable: s/session.img: the entry at offset 8 claims" "$MFD" wait \
		--dir "$DIR" s --timeout 5
	session s state=READY
	"$MFD" wait --dir "$DIR" s --timeout 0
}

@test "wait: what came from elsewhere cannot play with the terminal" {
	session s state=ABORTED error=$'evil\e[2J\nline'
	says 1 'session s: aborted: evil?[2J?line' "$MFD" wait --dir "$DIR" s --timeout 0
	one_line
}

@test "wait: in doubt is said once and waited for" {
	local rc=0

	session s state=READY in_doubt=1 error='no route'
	start wait "$MFD" wait --dir "$DIR" s --for committed --timeout 20
	sleep 0.1
	session s state=READY in_doubt=1 error='no route' pages=5
	sleep 0.1
	session s state=COMMITTED
	wait "$STARTED_PID"
	[ "$(grep -c 'in doubt' "$SCRATCH/wait.err")" = 1 ]
}

# ---- restore ----

# A criu that says its version, and what it was called with; else it fails as criu does.
false_criu()
{
	cat >"$SCRATCH/criu" <<-END
		#!/bin/sh
		[ "\$1" != --version ] || { echo 'Version: 4.2.1'; exit; }
		echo "\$*" >"$SCRATCH/called"
		cat >"$DIR/s/restore.log" <<-LOG
		(00.1) Error (criu/x.c:1): multifd: descriptor 7 cannot be had here
		(00.2) Error (criu/files.c:2): Unable to open fd=7
		(00.3) Error: multifd: CRIU's dump failed; whatever
		(00.4) Error (criu/cr-restore.c:3): Restoring FAILED.
		LOG
		exit 1
	END
	chmod +x "$SCRATCH/criu"
}

@test "restore: no such session, not ready yet" {
	mkdir "$DIR"
	says 1 "no session 's' in $DIR" "$MFD" restore --dir "$DIR" s
	session s state=READY
	says 1 'session s is not ready' "$MFD" restore --dir "$DIR" s
	one_line
}

@test "restore: what the dump was given is remembered; why it failed is said, the plugin's words first" {
	session s state=COMMITTED restore_option=tcp-established
	false_criu
	CRIU=$SCRATCH/criu says 1 \
		'session s does not run here: criu restore failed: descriptor 7 cannot be had here; Unable to open fd=7 (' \
		"$MFD" restore --dir "$DIR" s
	one_line
	[[ $(cat "$SCRATCH/called") == *' --tcp-established' ]]
	# What the command line says goes before.
	CRIU=$SCRATCH/criu says 1 'failed' "$MFD" restore --dir "$DIR" s -- --tcp-established
	[ "$(grep -o tcp-established "$SCRATCH/called" | wc -l)" = 1 ]
	session s state=COMMITTED restore_option=exec-cmd
	CRIU=$SCRATCH/criu says 1 'failed' "$MFD" restore --dir "$DIR" s
	[[ $(cat "$SCRATCH/called") != *exec-cmd* ]]
}

# A criu that waits; sets RESTORE, criu-multifd restore's pid, and CRIU_PID.
waiting_restore()
{
	session s state=COMMITTED
	cat >"$SCRATCH/criu" <<-END
		#!/bin/sh
		[ "\$1" != --version ] || { echo 'Version: 4.2.1'; exit; }
		echo \$\$ >"$SCRATCH/pid"
		exec sleep 60
	END
	chmod +x "$SCRATCH/criu"
	rm -f "$SCRATCH/pid"
	CRIU=$SCRATCH/criu start restore "$MFD" restore --dir "$DIR" s
	RESTORE=$STARTED_PID
	eventually 10 test -s "$SCRATCH/pid"
	CRIU_PID=$(cat "$SCRATCH/pid")
	register pid "$CRIU_PID"
}

@test "restore: what ends it ends criu; a signal reaches criu" {
	local rc=0
	waiting_restore
	kill -KILL "$RESTORE"
	eventually 5 is_dead "$CRIU_PID"
	waiting_restore
	kill -TERM "$RESTORE"
	wait "$RESTORE" || rc=$?
	[ "$rc" = 143 ]
	is_dead "$CRIU_PID"
}

@test "restore: one at a time; an earlier try's reason is not told" {
	session s state=COMMITTED
	echo '(00.1) Error (criu/x.c:1): of yesterday' >"$DIR/s/restore.log"
	waiting_restore
	CRIU=$SCRATCH/criu says 1 'session s is just being restored' "$MFD" restore --dir "$DIR" s
	kill "$RESTORE"
	wait "$RESTORE" || true
	grep -q 'named no reason\|its log says why' "$SCRATCH/restore.err"
	run ! grep yesterday "$SCRATCH/restore.err"
}

@test "status: what is committed and not restored runs nowhere yet" {
	session s state=COMMITTED
	says 0 "It runs nowhere yet" "$MFD" status --dir "$DIR"
	[[ $output == *"criu-multifd restore --dir $DIR s"* ]]
	session s state=COMMITTED confirm_restore=1
	says 0 committed "$MFD" status --dir "$DIR"
	[[ $output != *nowhere* ]]
	session s state=COMMITTED restored_us=1
	says 0 committed "$MFD" status --dir "$DIR"
	[[ $output != *nowhere* ]]
}

@test "serve: not without root" {
	local program=$SCRATCH/criu-multifd
	cp "$MFD" "$program"
	chmod 755 "$SCRATCH" "$program"
	says 1 'must be run as root' setpriv --reuid=65534 --clear-groups "$program" serve --dir \
		"$DIR"
}

# ---- status --------------------------------------------------------------------------------------

NOW() { echo "$(($(date +%s) - ${1:-0}))000000"; }

@test "status: no folder, no sessions, no such session" {
	says 1 "$DIR: No such file" "$MFD" status --dir "$DIR"
	mkdir "$DIR"
	says 0 "No sessions in $DIR." "$MFD" status --dir "$DIR"
	says 1 "no session 's' in $DIR" "$MFD" status --dir "$DIR" s
	[ "$("$MFD" status --dir "$DIR" --json | jq -c '.sessions')" = '[]' ]
}

# bats test_tags=sanitize
@test "status: the table" {
	session web state=RECEIVING source=host-a pages=100000 zero_pages=31072 lazy_pages=262144 \
		started_us="$(NOW 2)" updated_us="$(NOW)"
	session --ended db error='disk full'
	session odd
	: >"$DIR/odd/session.img"
	run "$MFD" status --dir "$DIR"
	echo "$output"
	[ "$status" = 0 ]
	[[ ${lines[0]} =~ ^SESSION\ +STATE\ +SOURCE\ +RECEIVED\ +INSTALLED\ +RATE\ +AGE$ ]]
	[[ ${lines[1]} =~ ^db\ +aborted ]]
	[[ ${lines[2]} =~ ^odd\ +unreadable ]]
	[[ ${lines[3]} =~ ^web\ +receiving\ +host-a\ +512\ MiB\ 50%\ +0\ B\ 0%\ +(.*)$ ]]
	# Both by the clock, each when it is written.
	[[ ${BASH_REMATCH[1]} =~ ^(268|179|134|107)\ MB/s\ +[2-6]s$ ]]
	[[ $output == *"aborted: disk full"* ]]
	[[ $output == *"odd/session.img: the file ends inside its magic at offset 0"* ]]
}

@test "status: in doubt says what to do" {
	session s state=RESTORED in_doubt=1 source=host-a error='connection lost'
	run "$MFD" status --dir "$DIR"
	echo "$output"
	[[ $output == *"IN DOUBT: restored and stopped"* ]]
	[[ $output == *"connection lost"* ]]
	[[ $output == *"criu-multifd resolve --dir $DIR s --run"* ]]
	[ "$("$MFD" status --dir "$DIR" s --json | jq .in_doubt)" = true ]
	session s state=RUNNING in_doubt=1 postcopy=1 source=host-a
	[[ $("$MFD" status --dir "$DIR") == *"only in the frozen tasks on host-a"* ]]
}

@test "status: a command to copy never holds what a name could smuggle in" {
	session 's; reboot' state=READY in_doubt=1 source=$'a\e[2J'
	run "$MFD" status --dir "$DIR"
	echo "$output" | cat -v
	[[ $output == *"criu-multifd resolve --dir $DIR SESSION --run"* ]]
	[[ $output != *$'\e'* ]]
}

@test "status: says when the server is gone" {
	session s server_pid=1
	[[ $("$MFD" status --dir "$DIR") == *"The server (pid 1) does not run."* ]]
	[ "$("$MFD" status --dir "$DIR" s --json | jq .server_runs)" = false ]
	session s state=DONE server_pid=1
	[[ $("$MFD" status --dir "$DIR") != *"does not run"* ]]
}

# bats test_tags=sanitize
@test "status: JSON" {
	session s state=READY postcopy=1 secret=secret source=$'ho\xffst "a"' pages=90 \
		zero_pages=10 lazy_pages=100
	session --ended t error=$'tab\tnew\nline'
	run "$MFD" status --dir "$DIR" --json
	echo "$output"
	jq -e '.dir and (.sessions | length == 2)' <<<"$output"
	jq -e '.sessions[0] | .session == "s" and .state == "ready" and .mode == "postcopy" and .source == "ho?st \"a\""' <<<"$output"
	jq -e '.sessions[0] | .pages == 90 and .received_percent == 100 and .bytes_memory == 409600 and .error == null' <<<"$output"
	jq -e '.sessions[1] | .ended and .state == "aborted" and .error == "tab?new?line"' \
		<<<"$output"
	[[ $output != *secret* ]]
	[ "$("$MFD" status --dir "$DIR" --json t | jq -r .session)" = t ]
}

@test "status: --watch of one session ends with it, one line of JSON per look" {
	session s
	start watch "$MFD" status --dir "$DIR" s --watch --json
	sleep 0.3
	session s state=DONE
	eventually 10 is_dead "$STARTED_PID"
	wait "$STARTED_PID"
	[ "$(jq -r .state "$SCRATCH/watch.out" | uniq | tr '\n' ' ')" = 'receiving done ' ]
	[ "$(wc -l <"$SCRATCH/watch.out")" = "$(jq -c . "$SCRATCH/watch.out" | wc -l)" ]
}

# ---- show ----------------------------------------------------------------------------------------

# bats test_tags=sanitize
@test "show: images that CRIU made" {
	cd "$SCRATCH"
	image pagemap-1.img pagemap-mm
	image mm-1.img pagemap-mm B
	image pstree.img pstree-inventory
	image inventory.img pstree-inventory B
	image core-1.img session-core B
	"$MFD" show pagemap-1.img | jq -e '.magic == "PAGEMAP" and .entries[0].pages_id and
		([.entries[1:][] | select(.flags == ["LAZY"]).nr_pages] | add) == 8203'
	"$MFD" show mm-1.img |
		jq -e '[.entries[0].vmas[] | select(.status | index("VDSO"))] | length == 1'
	"$MFD" show pstree.img | jq -e '.entries | length == 3 and .[1].ppid == .[0].pid'
	"$MFD" show inventory.img | jq -e '.magic == "INVENTORY" and .entries[0].img_version == 2'
	"$MFD" show core-1.img | jq -e '.magic == "CORE" and .bytes == 34'
	"$MFD" show pstree.img core-1.img mm-1.img | jq -es 'length == 3'
}

@test "show: a session, without its secret" {
	cd "$SCRATCH"
	session s state=READY secret=tell-no-one
	"$MFD" show "$DIR/s/session.img" | jq \
		-e '.magic == "SESSION" and .entries[0].state == "READY" and
		.entries[0].secret == "(not shown)"'
}

@test "show: damaged images name file and offset" {
	cd "$SCRATCH"
	image pstree.img pstree-inventory
	truncate -s -3 pstree.img
	says 1 "pstree.img: the entry at offset 4" "$MFD" show pstree.img
	jq -e '.error and (.entries | length == 2)' <<<"$output"
	: >empty.img
	says 1 "empty.img: the file ends inside its magic at offset 0" "$MFD" show empty.img
	echo 'no image at all' >text.img
	says 1 "text.img: not an image" "$MFD" show text.img
	says 1 "none.img: No such file" "$MFD" show none.img
	says 1 ".: not a regular file" "$MFD" show .
	says 64 "FILE is missing" "$MFD" show
}

@test "show: one bad file does not hide the others" {
	cd "$SCRATCH"
	image pstree.img pstree-inventory
	says 1 "none.img" "$MFD" show none.img pstree.img
	jq -e '.entries | length == 3' <<<"$output"
}

# ---- abort ---------------------------------------------------------------------------------------

@test "abort: no server serves the folder" {
	says 1 "session s: $DIR: No such file" "$MFD" abort --dir "$DIR" s
	mkdir "$DIR"
	says 1 "session s: no server serves $DIR" "$MFD" abort --dir "$DIR" s
}

# answer TEXT: a server that says so to one request, and writes the request down.
answer()
{
	start answer python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind(sys.argv[1] + "/.serve.sock")
s.listen()
c, _ = s.accept()
print(c.recv(2000).decode(), flush=True)
if sys.argv[2]: c.send(sys.argv[2].encode())
' "$DIR" "$1"
	eventually 10 test -S "$DIR/.serve.sock"
}

@test "abort: what the server answers" {
	command -v python3 >/dev/null || skip 'needs python3 to play the server'
	mkdir "$DIR"
	answer ok
	"$MFD" abort --dir "$DIR" a-session
	[ "$(cat "$SCRATCH/answer.out")" = 'abort a-session' ]
	rm "$DIR/.serve.sock"
	answer 'error: it is committed'
	says 1 "session s: it is committed" "$MFD" abort --dir "$DIR" s
	rm "$DIR/.serve.sock"
	answer 'nonsense'
	says 1 "makes no sense" "$MFD" abort --dir "$DIR" s
	rm "$DIR/.serve.sock"
	answer ''
	says 1 "no answer" "$MFD" abort --dir "$DIR" s
}

@test "abort: a long path to the folder" {
	command -v python3 >/dev/null || skip 'needs python3 to play the server'
	mkdir "$DIR"
	answer ok
	local long=$SCRATCH

	for _ in {1..8}; do long+=/aaaaaaaaaaaaaaaaaaaaaaaaa; done
	mkdir -p "$long"
	ln -s "$DIR" "$long/dir"
	"$MFD" abort --dir "$long/dir" s
}

# Promise: what a sender has left and this version cannot read is named, with what is safe to type.
@test "status and resolve --source: what is left cannot be read" {
	local img=$SCRATCH/img kept=$SCRATCH/img/.multifd-send.img

	mkdir -m 700 "$img"
	head -c 400 /dev/zero | tr '\0' x >"$kept"
	run -0 "$MFD" status --source "$img"
	[[ $output == *'IN DOUBT: '*'cannot be read: '*'resolve --source '*' --discard forgets'* ]]
	run -1 "$MFD" resolve --source "$img" --run
	[[ $output == *'nothing was done: '*"-name 'criu-multifd.hold*'"* ]]
	[ -e "$kept" ]
	run -0 "$MFD" resolve --source "$img" --discard
	[[ $output == *'no task was let go or ended'* ]]
	[ ! -e "$kept" ] && [ -e "$kept.unreadable" ]
}
