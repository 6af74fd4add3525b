#!/usr/bin/env bats
# Variables of helpers.bash.
# shellcheck disable=SC2153,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# migrate --to ssh://: the server on the other host is started through a real sshd there, with a key
# that no command line shows, and nothing of it is left, however it ends.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
	[ -x /usr/sbin/sshd ] || skip 'needs sshd (contrib/setup installs it)'
	sshd_up
}

# An sshd on host b, for one key; SSH: how it is spoken to, which knows that host.
sshd_up()
{
	local dir=$SCRATCH/ssh

	mkdir -p "$dir" /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
	ssh-keygen -q -t ed25519 -N '' -f "$dir/user"
	cp "$dir/user.pub" "$dir/authorized"
	cat >"$dir/sshd" <<-END
		ListenAddress $ADDR_B:2222
		HostKey $dir/host
		AuthorizedKeysFile $dir/authorized
		PidFile none
		StrictModes no
		UsePAM no
		PermitRootLogin prohibit-password
		PasswordAuthentication no
		SetEnv CRIU=$CRIU
	END
	start sshd on_b /usr/sbin/sshd -D -e -f "$dir/sshd"
	eventually 10 grep -q 'Server listening' "$SCRATCH/sshd.err"
	echo "[$ADDR_B]:2222 $(cut -d ' ' -f 1,2 "$dir/host.pub")" >"$dir/known"
	SSH="ssh -F none -i $dir/user -o IdentitiesOnly=yes -o BatchMode=yes"
	SSH+=" -o UserKnownHostsFile=$dir/known -o GlobalKnownHostsFile=none"
	SERVER_DIR=$SCRATCH/there
}

# move_by_ssh [FLAGS]: the victim, as session $SESSION.
move_by_ssh()
{
	on_a "$MFD" migrate -t "$VICTIM_PID" --to "ssh://root@$ADDR_B:2222${TO_DIR:-}" \
		--ssh-program "$SSH" --remote-program "${REMOTE:-$MFD}" --session "$SESSION" "$@"
}

servers_there()
{
	ours_in "$NS_B" serve
}

# No server, no folder of one, no ssh, no key.
no_server_there()
{
	[ -z "$(servers_there)" ] && [ -z "$(find /run/criu-multifd.ssh -mindepth 1 \
		-newer "$SCRATCH/ssh/known" 2>/dev/null)" ]
}

nothing_of_ssh()
{
	eventually 15 no_server_there ||
		fail "left there: $(servers_there) $(find /run/criu-multifd.ssh)"
	no_folders_left || fail "left here: $(ls -d "$SCRATCH"/criu-multifd.*)"
}

# The key is in no command line and in no environment.
spy()
{
	local f

	while [ ! -e "$SCRATCH/spied" ]; do
		for f in /proc/[0-9]*; do
			[ "$f/ns/net" -ef "/run/netns/$NS_A" ] ||
				[ "$f/ns/net" -ef "/run/netns/$NS_B" ] || continue
			tr '\0' '\n' <"$f/cmdline"
			tr '\0' '\n' <"$f/environ"
		done 2>/dev/null >>"$SCRATCH/seen"
	done
}

@test "by ssh, restored there: it runs, no key was to be seen, nothing is left" {
	start_victim --size 64
	: >"$SCRATCH/seen"
	start spy spy
	local spy=$STARTED_PID
	move_by_ssh --restore
	touch "$SCRATCH/spied"
	wait "$spy" || :
	runs_there
	grep -q 'serve' "$SCRATCH/seen"
	! grep -E '(^|[^0-9a-f])[0-9a-f]{64}' "$SCRATCH/seen" || fail 'a key can be seen'
	nothing_of_ssh
}

@test "by ssh, postcopy, over a home folder that prints something" {
	printf '#!/bin/sh\necho welcome; echo; exec %q "$@"\n' "$MFD" >"$SCRATCH/noisy"
	chmod +x "$SCRATCH/noisy"
	start_victim --size 128
	REMOTE=$SCRATCH/noisy move_by_ssh --restore --mode postcopy
	runs_there
	nothing_of_ssh
}

@test "by ssh, a person restores: the server goes on without ssh until that has happened" {
	start_victim --size 32
	TO_DIR=$SERVER_DIR run -0 --separate-stderr move_by_ssh --json
	[[ $stderr == *"the server on root@$ADDR_B goes on until"*"--dir $SERVER_DIR"* ]]
	assert_gone "$VICTIM_PID"
	wait_session test committed
	restore_lazily "$SERVER_DIR/test"
	moved_well
	nothing_of_ssh
}

@test "by ssh, Ctrl-C on the way: it runs on here, nothing is left" {
	start_victim --size 256
	start migrate move_by_ssh --restore --max-bandwidth 10M
	local pid=$STARTED_PID
	eventually 20 grep -q 'sending memory' "$SCRATCH/migrate.err"
	# shellcheck disable=SC2046  # a list
	kill -INT $(ours_in "$NS_A" migrate)
	wait "$pid" || [ $? = 130 ]
	eventually 5 one_here
	verify_victim
	nothing_of_ssh
}

# The criu of the test below.
sleeps_here()
{
	local pid

	for pid in $(ip netns pids "$NS_A"); do
		[ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" != 'sleep 1000 ' ] || return 0
	done
	return 1
}

@test "by ssh, migrate is killed before there is a session: the server ends" {
	criu_after waits '[ "$1" != dump ] || exec sleep 1000' >/dev/null
	start_victim --size 16
	CRIU=$SCRATCH/waits start migrate move_by_ssh --restore
	eventually 20 sleeps_here
	# shellcheck disable=SC2046  # a list
	kill -KILL $(ours_in "$NS_A" migrate)
	eventually 10 eval '[ -z "$(servers_there)" ]' || fail "$(servers_there)"
	assert_not_frozen "$VICTIM_PID"
}

@test "by ssh, what is wrong is said in one line, and nothing was begun" {
	local old
	start_victim --size 16
	SSH+=" -o StrictHostKeyChecking=yes"
	REMOTE=/nowhere/criu-multifd fails 5 'there is no criu-multifd on' move_by_ssh --restore
	old=$SCRATCH/old
	cat >"$old" <<-'END'
		#!/bin/sh
		echo "criu-multifd serve: unknown flag '--ssh'" >&2
		exit 64
	END
	chmod +x "$old"
	REMOTE=$old fails 5 'is too old for --to ssh://' move_by_ssh --restore
	fails 5 'no-such-netns' move_by_ssh --restore --serve-option=--network-namespace \
		--serve-option=no-such-netns
	SSH=/nowhere/ssh fails 5 'cannot be started here' move_by_ssh
	SSH+=" -p 1" fails 5 'ssh to' move_by_ssh
	: >"$SCRATCH/ssh/known.none"
	SSH=${SSH/ssh\/known/ssh\/known.none} fails 5 "is not known here: 'ssh root@$ADDR_B true'" \
		move_by_ssh
	: >"$SCRATCH/ssh/authorized"
	fails 5 'does not let this user in' move_by_ssh
	fails 64 'cannot go with --to ssh://' move_by_ssh --tls-psk /x
	fails 64 'expected ssh://' on_a "$MFD" migrate -t "$VICTIM_PID" --to ssh://-oProxyCommand=x
	fails 64 'are for --to ssh://HOST' on_a "$MFD" migrate -t "$VICTIM_PID" --to h:1 \
		--remote-program x
	eventually 5 one_here
	verify_victim
	nothing_of_ssh
}

@test "by ssh, the next program of the server (an upgrade in place) takes its key and its folder" {
	start_victim --size 256
	start migrate move_by_ssh --restore --mode postcopy --max-bandwidth 20M
	local pid=$STARTED_PID
	eventually 20 eval '[ -n "$(copies_there)" ] && one_there'
	kill -USR2 "$(servers_there | head -n 1)"
	wait "$pid"
	runs_there
	nothing_of_ssh
}
