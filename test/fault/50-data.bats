#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What arrives is not what was sent: noticed before READY, the dump is aborted, the source runs on.
# So is what never arrives.

bats_require_minimum_version 1.5.0
load ../bats/helpers
load ../bats/moves
load fault

setup()
{
	local stall=${MFD_TEST_TLS:+4000} # handshakes take their time on a slow machine
	fault_setup
	# A damaged stream may look like one that stands still; then this decides.
	export CRIU_MULTIFD_STALL_TIMEOUT=${stall:-1000}
	start_server --stall-timeout "${stall:-1000}"
}

# damaged PATTERN BADLINK-OPTION...: a dump that must fail with that line in CRIU's log.
damaged()
{
	local pattern=$1

	shift
	echo "# ${CRIU_MULTIFD_MODE:-safe}: $*"
	start_badlink "$@"
	dump
	assert_fault_happened || return 1
	aborted_well "$(fault_time)" 2000 "$pattern" || return 1
	discard_if_in_doubt || return 1
	nothing_left || return 1
	stop_badlink
}

# With TLS the record is what is damaged, "Bad message".
@test "one flipped bit in a page is noticed by its hash" {
	local byte

	start_victim --size 16
	for byte in 1 4096 5000000 16000000; do
		damaged 'hash|checksum|Bad message' --flip-byte $byte
	done
	CRIU_MULTIFD_MODE=postcopy damaged 'hash|checksum|Bad message' --flip-byte 5000000
}

@test "one flipped bit in a packet's header is noticed" {
	local event

	start_victim --size 16
	for event in pages file sync; do
		damaged 'header|hash|packet|Bad message' --flip $event
	done
}

# bats test_tags=tls
@test "one flipped bit in a control message's header is noticed" {
	local event

	start_victim --size 16
	for event in images end ready; do
		damaged '.' --flip $event
	done
}

# bats test_tags=tls
@test "a packet that is left out is noticed" {
	start_victim --size 16
	damaged '.' --drop pages --skip 3
	damaged '.' --drop file
}

@test "random bytes in the middle of a stream are noticed" {
	local event

	start_victim --size 16
	for event in pages file images end; do
		damaged '.' --garbage $event
	done
	damaged '.' --garbage hello_ok
	damaged '.' --garbage ready
}
