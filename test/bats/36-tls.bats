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

# capture FILE: writes down each packet that crosses host b's device, until stop_capture.
capture()
{
	cat >"$SCRATCH/capture.py" <<-'END'
		import signal, socket, sys
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
		s.setsockopt(socket.SOL_SOCKET, 33, 256 << 20) # SO_RCVBUFFORCE
		s.bind(("eth0", 0))
		s.settimeout(0.2)
		over = False
		def end(*unused):
		    global over
		    over = True
		signal.signal(signal.SIGTERM, end)
		out = open(sys.argv[1], "wb")
		print("ready", flush=True)
		while True:
		    try:
		        data = s.recv(1 << 17)
		    except TimeoutError:
		        if over:
		            break
		        continue
		    # Without its headers: a marker may lie on the border of two packets.
		    out.write(data[66:])
		stats = s.getsockopt(263, 6, 8) # SOL_PACKET, PACKET_STATISTICS
		print("lost", int.from_bytes(stats[4:], sys.byteorder), flush=True)
	END
	start capture nsenter --net=/run/netns/"$NS_B" -- python3 "$SCRATCH/capture.py" "$1"
	CAPTURE=$STARTED_PID
	eventually 10 grep -q ready "$SCRATCH/capture.out"
}

stop_capture()
{
	kill "$CAPTURE"
	wait "$CAPTURE"
	grep -qx 'lost 0' "$SCRATCH/capture.out" || fail "packets were missed: $(cat \
		"$SCRATCH/capture.out")"
}

# One is in the memory of the victim, the other in its images: a file that it has open.
MARKER=mfd-marker-7f3a91c2
IMAGE_MARKER=mfd-image-marker-5c19

seen()
{
	grep -qaF "$2" "$1"
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

@test "a capture of all packets of a migration holds nothing of the memory, nor of the images" {
	local how name
	command -v python3 >/dev/null || skip 'needs python3 to record'
	for how in "--tls-dir $KEYS/b" '--insecure'; do
		name=$IMAGE_MARKER-${#how}
		# shellcheck disable=SC2086  # words
		SERVER_DIR=$SCRATCH/s${#how} SERVER_NAME=server${#how} start_server --restore $how
		capture "$SCRATCH/wire"
		MARKER_OF_TEST=$MARKER start_victim --name "$name" --size 16
		if [[ $how == --tls* ]]; then
			SESSION=t${#how} migrate --restore --tls-dir "$KEYS/a"
			stop_capture
			[ "$(stat -c %s "$SCRATCH/wire")" -gt $((16 << 20)) ]
			! seen "$SCRATCH/wire" "$MARKER" || fail 'the memory can be read'
			! seen "$SCRATCH/wire" "$IMAGE_MARKER" || fail 'images can be read'
		else # both are in what crosses
			SESSION=t${#how} migrate --restore --checksum off
			stop_capture
			seen "$SCRATCH/wire" "$MARKER"
			seen "$SCRATCH/wire" "$IMAGE_MARKER"
		fi
		eventually 5 is_dead "$VICTIM_PID"
		verify_victim
	done
}

# bad_peer KIND: one that has no key: cut, a handshake that breaks off inside; slow, one byte each
# second; strange, a whole one with a certificate of another CA, ROUNDS times.
bad_peer()
{
	cat >"$SCRATCH/bad.py" <<-'END'
		import socket, ssl, sys, time
		kind, (host, port), keys = sys.argv[1], sys.argv[2].rsplit(":", 1), sys.argv[3]
		def hello():
		    out = ssl.MemoryBIO()
		    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
		    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
		    c.minimum_version = ssl.TLSVersion.TLSv1_3
		    c.set_alpn_protocols(["criu-multifd/1"])
		    c.load_cert_chain(keys + "/client-cert.pem", keys + "/client-key.pem")
		    return c, out
		def first():
		    c, out = hello()
		    o = c.wrap_bio(ssl.MemoryBIO(), out)
		    try:
		        o.do_handshake()
		    except ssl.SSLWantReadError:
		        pass
		    return out.read()
		print("ready", flush=True)
		for n in range(int(sys.argv[4])):
		    s = socket.create_connection((host, int(port)))
		    if kind == "cut":
		        s.sendall(first()[:100])
		        s.close()
		    elif kind == "slow":
		        try:
		            for byte in first():
		                s.sendall(bytes([byte]))
		                time.sleep(1)
		        except OSError:
		            print("closed", flush=True)
		    else:
		        try:
		            with hello()[0].wrap_socket(s) as t:
		                t.recv(1)
		        except OSError:
		            pass
	END
	python3 "$SCRATCH/bad.py" "$1" "$SERVER_ADDR" "$2" "${ROUNDS:-1}"
}

@test "handshakes that are cut and one of a byte a second: a migration goes through meanwhile" {
	local cut slow
	python3 -c 'import ssl' || skip 'needs python3 with ssl'
	start_server --restore --tls-dir "$KEYS/b"
	start_victim --size 32
	start slow on_a bash -c "$(declare -f bad_peer); SCRATCH=$SCRATCH SERVER_ADDR=$SERVER_ADDR \
		bad_peer slow $KEYS/a"
	slow=$STARTED_PID
	eventually 10 grep -q ready "$SCRATCH/slow.out"
	ROUNDS=100 start cut on_a bash -c "$(declare -f bad_peer); SCRATCH=$SCRATCH/cut \
		SERVER_ADDR=$SERVER_ADDR; mkdir $SCRATCH/cut; bad_peer cut $KEYS/a"
	cut=$STARTED_PID
	migrate --restore --tls-dir "$KEYS/a"
	runs_there
	wait "$cut"
	# The time for a handshake is over; the server says so, and keeps nothing.
	eventually 30 grep -q closed "$SCRATCH/slow.out"
	kill "$slow" 2>/dev/null || :
}

resident()
{
	awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

@test "a peer without a key costs the server nothing that stays: 1,000 tries" {
	local worker before after
	python3 -c 'import ssl' || skip 'needs python3 with ssl'
	"$MFD" keys init "$SCRATCH/other" >/dev/null
	"$MFD" keys add "$SCRATCH/other" a >/dev/null
	start_server --restore --tls-dir "$KEYS/b"
	worker=$(server_worker)
	export -f bad_peer
	export SCRATCH SERVER_ADDR
	ROUNDS=100 on_a bash -c "bad_peer strange $SCRATCH/other/a" >/dev/null # what stays once
	before=$(resident "$worker")
	ROUNDS=900 on_a bash -c "bad_peer strange $SCRATCH/other/a" >/dev/null
	after=$(resident "$worker")
	echo "resident: $before, then $after kB"
	[ "$(grep -c 'refused: ' "$SCRATCH/server.err")" -ge 900 ]
	# 1 kB each would be 900.
	[ $((after - before)) -lt 512 ] || fail "it grew from $before to $after kB"
	[ "$worker" = "$(server_worker)" ]
	[ -z "$(find "$SERVER_DIR" -mindepth 1 -maxdepth 1 -type d ! -name '.*')" ]
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
