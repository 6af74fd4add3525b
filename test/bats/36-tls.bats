#!/usr/bin/env bats
# Variables of helpers.bash.
# shellcheck disable=SC2153
# SPDX-License-Identifier: GPL-2.0-only
# TLS: whole migrations by certificates and by a key; what is refused, and on which side it is said,
# before anything is frozen; what a reader of the wire sees. What each end makes of a bad
# certificate is in test/unit/test_tls.c.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

setup()
{
	migrate_setup
	keys_setup
}

# What went wrong was said before the freeze: the victim never stood still.
never_frozen()
{
	runs_here
	! grep -q 'Dumping finished' "$SCRATCH"/*/dump.log 2>/dev/null
}

# recorder PORT FILE: forwards each connection to host b's server and writes down what crosses.
recorder()
{
	cat >"$SCRATCH/recorder.py" <<-'END'
		import socket, sys, threading
		to, out = sys.argv[2].rsplit(":", 1), open(sys.argv[3], "wb", buffering=0)
		def carry(a, b):
		    try:
		        while (data := a.recv(1 << 16)):
		            out.write(data)
		            b.sendall(data)
		    except OSError:
		        pass
		    for s in a, b:
		        try:
		            s.shutdown(socket.SHUT_RDWR)
		        except OSError:
		            pass
		listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
		print("ready", flush=True)
		while True:
		    a = listener.accept()[0]
		    b = socket.create_connection((to[0], int(to[1])))
		    for pair in (a, b), (b, a):
		        threading.Thread(target=carry, args=pair, daemon=True).start()
	END
	start recorder on_a python3 "$SCRATCH/recorder.py" "$1" "$SERVER_ADDR" "$2"
	eventually 10 grep -q ready "$SCRATCH/recorder.out"
}

MARKER=mfd-marker-7f3a91c2

marker_seen()
{
	grep -qaF "$MARKER" "$1"
}

@test "certificates, every mode: it runs there, and the session knows its source" {
	local mode n=0
	start_server --restore --tls-dir "$KEYS/b"
	for mode in '--restore' '--restore --mode postcopy' '--restore --compress lz4'; do
		SESSION=test$((++n)) start_victim --name "v$n" --size 32
		# shellcheck disable=SC2086
		SESSION=test$n migrate --tls-dir "$KEYS/a" $mode
		eventually 5 is_dead "$VICTIM_PID"
		verify_victim
	done
	grep -q 'test1: opened by .*, x509:a)' "$SCRATCH/server.err"
}

@test "certificates, a person restores: safe" {
	start_server --tls-dir "$KEYS/b"
	start_victim --size 64
	run -0 migrate --tls-dir "$KEYS/a" --json
	tail -n 1 <<<"$output" | jq -e '.zerocopy_sent == 0'
	assert_gone "$VICTIM_PID"
	wait_session test committed
	restore_lazily "$SERVER_DIR/test"
	moved_well
}

@test "a pre-shared key: it runs there; another key is refused before anything is frozen" {
	"$MFD" keys psk "$KEYS" source1 >/dev/null
	"$MFD" keys psk "$SCRATCH/other" source1 >/dev/null
	start_server --restore --tls-psk "$KEYS/server.psk"
	start_victim --size 32
	run ! migrate --restore --tls-psk "$SCRATCH/other/source1.psk"
	[[ $output == *"the target does not know this pre-shared key"* ]]
	eventually 5 grep -q "another key for identity 'source1'" "$SCRATCH/server.err"
	never_frozen
	migrate --restore --tls-psk "$KEYS/source1.psk" --tls-psk-id source1
	runs_there
	grep -q 'test: opened by .*, psk:source1)' "$SCRATCH/server.err"
}

@test "another CA is refused before anything is frozen, and both sides say it" {
	"$MFD" keys init "$SCRATCH/other" >/dev/null
	"$MFD" keys add "$SCRATCH/other" a >/dev/null
	start_server --restore --tls-dir "$KEYS/b"
	start_victim --size 32
	run ! migrate --restore --tls-dir "$SCRATCH/other/a"
	[[ $output == *"the target's certificate (b) is not signed by the CA in $SCRATCH/other/a/"* ]]
	eventually 5 grep -q "refused: the source refuses this server's certificate" \
		"$SCRATCH/server.err"
	run ! migrate --restore --tls-dir "$KEYS/a" --tls-hostname elsewhere
	[[ $output == *"the target's certificate (b) is not for the name 'elsewhere'"* ]]
	never_frozen
}

@test "a plain source at a server with TLS, and the reverse: both sides say what to do" {
	start_server --restore --tls-dir "$KEYS/b"
	start_victim --size 32
	run ! migrate --restore
	[[ $output == *"tls-dir or tls-psk"* ]]
	eventually 5 grep -q 'the source does not speak TLS' "$SCRATCH/server.err"
	never_frozen
	kill "$SERVER_PID"
	wait "$SERVER_PID" || :
	SERVER_NAME=plain start_server --restore
	run ! migrate --restore --tls-dir "$KEYS/a"
	[[ $output == *"does it use TLS (serve --tls-dir"* ]]
	eventually 5 grep -q 'the source uses TLS, this server does not' "$SCRATCH/plain.err"
	never_frozen
	run ! migrate --restore --tls-dir "$KEYS/a" --zerocopy on
	[[ $output == *"zerocopy = on cannot go with TLS"* ]]
}

@test "nothing of the memory can be read on the wire" {
	local how
	command -v python3 >/dev/null || skip 'needs python3 to record'
	for how in "--tls-dir $KEYS/b" '--insecure'; do
		# shellcheck disable=SC2086  # words
		SERVER_DIR=$SCRATCH/s${#how} SERVER_NAME=server${#how} start_server --restore $how
		recorder $((7000 + ${#how})) "$SCRATCH/wire"
		MARKER_OF_TEST=$MARKER start_victim --name "v${#how}" --size 16
		SERVER_ADDR=127.0.0.1:$((7000 + ${#how}))
		if [[ $how == --tls* ]]; then
			migrate --restore --tls-dir "$KEYS/a"
			[ "$(stat -c %s "$SCRATCH/wire")" -gt $((16 << 20)) ]
			! marker_seen "$SCRATCH/wire" || fail 'the memory can be read'
		else # the marker is in what crosses
			migrate --restore --checksum off
			marker_seen "$SCRATCH/wire"
		fi
		eventually 5 is_dead "$VICTIM_PID"
		verify_victim
	done
}

@test "postcopy: connections that break are made again inside TLS, and the same source comes back" {
	start_server --restore --tls-dir "$KEYS/b"
	start_victim --size 256
	start migrate migrate --restore --mode postcopy --tls-dir "$KEYS/a" --max-bandwidth 20M
	local pid=$STARTED_PID
	eventually 20 has_state running
	kill -KILL "$(server_worker)"
	wait "$pid"
	runs_there
	grep -q 'the source is back' "$SCRATCH/server.err"
}

@test "an address that others reach needs TLS or --insecure" {
	run -1 on_b timeout 10 "$MFD" serve --listen "$ADDR_B:0" --dir "$SCRATCH/s"
	[[ $output == *"use --tls-dir or --tls-psk"* ]]
	chmod 640 "$KEYS/b/server-key.pem"
	run -1 on_b timeout 10 "$MFD" serve --listen "$ADDR_B:0" --dir "$SCRATCH/s" \
		--tls-dir "$KEYS/b"
	[[ $output == *"server-key.pem: others may read this key"* ]]
}
