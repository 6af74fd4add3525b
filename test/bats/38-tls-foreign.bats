#!/usr/bin/env bats
# Variables of helpers.bash.
# shellcheck disable=SC2153
# SPDX-License-Identifier: GPL-2.0-only
# TLS with peers that are not ours: OpenSSL's and GnuTLS's command line tools at the other end of a
# handshake, and peers that begin many of them and finish none.

bats_require_minimum_version 1.5.0
load helpers
load moves
load migrate

ALPN=criu-multifd/1

setup()
{
	migrate_setup
	command -v openssl >/dev/null || skip 'needs openssl'
	keys_setup
	"$MFD" keys psk "$KEYS" source1 >/dev/null
}

# Not a greeting, and as long as one.
no_greeting()
{
	printf 'x%.0s' {1..64}
	sleep 1
}

# client FLAGS...: OpenSSL as the source, which sends that.
client()
{
	no_greeting | on_a timeout 10 openssl s_client -quiet -connect "$SERVER_ADDR" \
		-CAfile "$KEYS/a/ca-cert.pem" -verify_return_error "$@" \
		>"$SCRATCH/client.out" 2>&1 || :
}

certificate()
{
	printf '%s ' -cert "$KEYS/a/client-cert.pem" -key "$KEYS/a/client-key.pem"
}

logged()
{
	eventually 5 grep -qE "$1" "$SCRATCH/server.err" || {
		cat "$SCRATCH/client.out"
		fail "not in the log: $1"
	}
}

@test "OpenSSL as a source: a certificate and ALPN get it in, and each thing that lacks is named" {
	start_server --tls-dir "$KEYS/b"
	# shellcheck disable=SC2046  # words
	client -alpn $ALPN $(certificate)
	logged ', x509:a: refused: '
	client -alpn $ALPN
	logged 'refused: the source has sent no certificate'
	# shellcheck disable=SC2046
	client $(certificate)
	logged 'refused: .*ALPN'
	# shellcheck disable=SC2046
	client -alpn $ALPN -tls1_2 $(certificate)
	logged 'refused: .*TLS 1\.3'
	"$MFD" keys init "$SCRATCH/other" >/dev/null
	"$MFD" keys add "$SCRATCH/other" x >/dev/null
	client -alpn $ALPN -cert "$SCRATCH/other/x/client-cert.pem" \
		-key "$SCRATCH/other/x/client-key.pem"
	logged "refused: the source's certificate \(x\) is not signed by the CA"
}

@test "OpenSSL and GnuTLS as sources, with a pre-shared key" {
	local key
	key=$(cut -d: -f2 "$KEYS/source1.psk")
	start_server --tls-psk "$KEYS/server.psk"
	client -alpn $ALPN -tls1_3 -psk "$key" -psk_identity source1 \
		-ciphersuites TLS_AES_128_GCM_SHA256
	logged ', psk:source1: refused: '
	client -alpn $ALPN -tls1_3 -psk "${key//[0-9]/1}" -psk_identity source1 \
		-ciphersuites TLS_AES_128_GCM_SHA256
	logged "refused: .*another key for identity 'source1'"
	command -v gnutls-cli >/dev/null || skip 'needs gnutls-cli'
	: >"$SCRATCH/server.err"
	no_greeting | on_a timeout 10 gnutls-cli --logfile /dev/null --alpn $ALPN \
		--pskusername source1 --pskkey "$key" \
		--priority 'SECURE128:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK' \
		-p "${SERVER_ADDR##*:}" "${SERVER_ADDR%:*}" >"$SCRATCH/client.out" 2>&1 || :
	logged ', psk:source1: refused: '
}

@test "OpenSSL as the target: migrate says what it is not, before anything is frozen" {
	start_victim --size 16
	start server on_b openssl s_server -www -accept "$ADDR_B:7443" -alpn other/1 \
		-cert "$KEYS/b/server-cert.pem" -key "$KEYS/b/server-key.pem" \
		-CAfile "$KEYS/b/ca-cert.pem" -Verify 1
	eventually 5 grep -q ACCEPT "$SCRATCH/server.out"
	SERVER_ADDR=$ADDR_B:7443
	run ! migrate --tls-dir "$KEYS/a"
	[[ $output == *"no criu-multifd"* ]]
	verify_victim
	! grep -q 'Dumping finished' "$SCRATCH"/*/dump.log 2>/dev/null
}

@test "1,000 handshakes that one host begins and does not finish keep out no other source" {
	command -v python3 >/dev/null || skip 'needs python3'
	start_server --restore --tls-dir "$KEYS/b"
	cat >"$SCRATCH/many.py" <<-'END'
		import socket, sys, time
		to = sys.argv[1].rsplit(":", 1)
		begun = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
		held, end, n = [], time.time() + 60, 0
		while time.time() < end:
		    s = socket.socket()
		    s.settimeout(0.2)
		    try:
		        s.connect((to[0], int(to[1])))
		        s.sendall(begun)
		        held.append(s)
		        n += 1
		    except OSError:
		        s.close()
		    if n == 1000:
		        print("ready", flush=True)
		    if len(held) > 1000:
		        held.pop(0).close()
	END
	start many on_b python3 "$SCRATCH/many.py" "$SERVER_ADDR"
	eventually 30 grep -q ready "$SCRATCH/many.out"
	start_victim --size 16
	migrate --tls-dir "$KEYS/a" --restore
	runs_there
	[ "$(ls "/proc/$(server_worker)/task" | wc -l)" -lt 200 ]
}
