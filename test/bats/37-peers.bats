#!/usr/bin/env bats
# Variables of helpers.bash.
# shellcheck disable=SC2153
# SPDX-License-Identifier: GPL-2.0-only
# The file of rights, with whole programs: what serve refuses to start with, what migrate says when
# the target does not permit it, and that it does so before anything is frozen. What each key
# permits is in test/unit/test_rights.c, what the server makes of it in
# test/unit/test_server_rights.c.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
	keys_setup
	PEERS=$SCRATCH/peers
}

# rights [MODE]: the file, from standard input.
rights()
{
	cat >"$PEERS"
	chmod "${1:-600}" "$PEERS"
}

@test "a migration that the target does not permit: one line, before anything is frozen" {
	rights <<-'END'
		peer x509:a
		    sessions test
	END
	start_server --restore --tls-dir "$KEYS/b" --peers "$PEERS"
	start_victim --size 16
	run ! migrate --tls-dir "$KEYS/a" --restore
	[[ $output == *"x509:a may not have its sessions restored there"*"'restore' in $PEERS"* ]]
	grep -q 'refused: x509:a may not have its sessions restored' "$SCRATCH/server.err"
	runs_here
	run ! grep -q 'Dumping finished' "$SCRATCH"/*/dump.log 2>/dev/null
	rights <<-'END'
		peer x509:a
		    sessions test
		    restore yes
	END
	kill -HUP "$SERVER_PID"
	eventually 5 grep -q "$PEERS was read again" "$SCRATCH/server.err"
	migrate --tls-dir "$KEYS/a" --restore
	runs_there
	grep -q 'test: .* -> committed, of x509:a' "$SCRATCH/server.err"
	"$MFD" status --dir "$SERVER_DIR" | grep -q ' (x509:a) '
	"$MFD" status --dir "$SERVER_DIR" --json |
		jq -e '.sessions[0] | .identity == "x509:a" and .address != null'
}

@test "postcopy under a file of rights, without a limit of memory: refused, then permitted" {
	printf 'peer x509:a\n sessions test\n restore yes\n mode safe\n' | rights
	start_server --restore --tls-dir "$KEYS/b" --peers "$PEERS"
	start_victim --size 64
	run ! migrate --tls-dir "$KEYS/a" --restore --mode postcopy
	[[ $output == *"x509:a may not use mode postcopy"*"'mode' in $PEERS"* ]]
	runs_here
	printf 'peer x509:a\n sessions test\n restore yes\n mode postcopy\n' | rights
	kill -HUP "$SERVER_PID"
	eventually 5 grep -q "$PEERS was read again" "$SCRATCH/server.err"
	migrate --tls-dir "$KEYS/a" --restore --mode postcopy
	runs_there
}

@test "serve does not start with a file of rights that is wrong, open to others, or not there" {
	run -1 on_b timeout 10 "$MFD" serve --dir "$SCRATCH/s" --peers "$PEERS"
	[[ $output == *"$PEERS: No such file"* ]]
	echo 'peer x509:a' | rights 644
	run -1 on_b timeout 10 "$MFD" serve --dir "$SCRATCH/s" --peers "$PEERS"
	[[ $output == *"$PEERS: "*"chmod 600"* ]]
	printf 'peer x509:a\n  sesions *\n' | rights
	run -1 on_b timeout 10 "$MFD" serve --dir "$SCRATCH/s" --peers "$PEERS"
	[[ $output == *"$PEERS:2: unknown word 'sesions'; is 'sessions' meant?"* ]]
}

@test "an upgrade in place keeps what is in force: TLS or none, the file of rights" {
	printf 'peer insecure\n sessions other\n' | rights
	start_server --peers "$PEERS"
	kill -USR2 "$SERVER_PID"
	eventually 10 grep -q 'new program' "$SCRATCH/server.err"
	tr '\0' ' ' <"/proc/$SERVER_PID/cmdline" | grep -q -e '--tls-dir off'
	rm "$PEERS"
	kill -USR2 "$SERVER_PID"
	eventually 10 grep -q 'no source can open a session from now on: ' "$SCRATCH/server.err"
	start_victim --size 16
	run ! migrate
	[[ $output == *"may do nothing on this restore server"* ]]
	runs_here
}
