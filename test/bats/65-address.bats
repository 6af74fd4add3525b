#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# --move-address: the service's address goes with it; clients see a pause.

bats_require_minimum_version 1.5.0
load helpers
load ../apps/apps

setup()
{
	scratch_up
	need_root
	need_criu
	[ -n "$(command -v nft)" ] || skip 'nft is not installed'
	SESSION=test
	lan_up
	export TMPDIR=$SCRATCH
}

# service [ADDR]: echod on host a, a client of it on host c. ECHOD, CLIENT, CLIENT_SINCE
service()
{
	local addr=${1:-$SERVICE}

	start echod nsenter --net=/run/netns/"$NS_A" -- setsid "$TOOLS/echod" serve "$addr" 7000 24
	ECHOD=$STARTED_PID
	eventually 10 listens_on "$NS_A"
	start client nsenter --net=/run/netns/"$NS_C" -- "$TOOLS/echod" client "$addr" 7000
	CLIENT=$STARTED_PID
	CLIENT_SINCE=$SECONDS
	eventually 10 client_beyond 0
}

listens_on()
{
	[ -n "$(ip netns exec "$1" ss -Hltn 'sport = :7000')" ]
}

words()
{
	tail -n 1 "$SCRATCH/client.out" | sed -n 's/ words.*//p'
}

client_beyond()
{
	[ "$(words)" -gt "$1" ] 2>/dev/null || is_dead "$CLIENT"
}

# The client still gets answers, over the connection it began with. TCP tries again after as long as
# it was silent (each timeout of a retransmission is twice the last).
goes_on()
{
	eventually $((20 + SECONDS - CLIENT_SINCE)) client_beyond $(($(words) + 100))
	! is_dead "$CLIENT" || fail "the client: $(tail -n 1 "$SCRATCH/client.out")"
	remark "$BATS_TEST_DESCRIPTION: $(tail -n 1 "$SCRATCH/client.out") ms"
}

# address_on NETNS [ADDR]
has_address()
{
	ip -n "$1" -o addr show dev eth0 | grep -qF " ${2:-$SERVICE}/"
}

nothing_held()
{
	[ -z "$(on_b nft list tables | grep criu_multifd)" ]
}

moved()
{
	! has_address "$NS_A" "${1:-$SERVICE}" || fail 'the source has the address still'
	has_address "$NS_B" "${1:-$SERVICE}" || fail 'the target has not got the address'
	nothing_held || fail 'packets are held back still'
	assert_gone "$ECHOD"
}

stayed()
{
	has_address "$NS_A" || fail 'the source has lost the address'
	! has_address "$NS_B" || fail 'the target has got the address'
	nothing_held || fail 'packets are held back'
	assert_not_frozen "$ECHOD"
}

# move [FLAGS]: by the one command.
move()
{
	on_a "$MFD" migrate -t "$ECHOD" --to "$SERVER_ADDR" --session "$SESSION" --restore "$@" \
		-- --tcp-established --network-lock nftables
}

moves_restored()
{
	start_server --restore --allow-address "$SERVICE"
	service
	move --mode "$1" --move-address "$SERVICE/24@eth0" || fail "migrate: $?"
	goes_on
	moved
}

moves_by_hand()
{
	local dump

	start_server --allow-address any
	service
	export CRIU_MULTIFD_MOVE_ADDRESS=$SERVICE/24@eth0 CRIU_MULTIFD_MODE=$1
	start dump dump_with_plugin "$ECHOD" "$SCRATCH/img" --tcp-established \
		--network-lock nftables
	dump=$STARTED_PID
	if [ "$1" = safe ]; then
		wait "$dump"
		! has_address "$NS_A" || fail 'the source has the address still'
	fi
	eventually 20 test -S "$SERVER_DIR/$SESSION/lazy-pages.socket"
	has_address "$NS_B"
	restore_lazily "$SERVER_DIR/$SESSION" --tcp-established --network-lock nftables
	[ "$1" = safe ] || wait "$dump"
	goes_on
	moved
}

@test "the address and its connections move with migrate --restore, safe" {
	moves_restored safe
}

@test "the address and its connections move, restored by a person, safe" {
	moves_by_hand safe
}

@test "the address and its connections move with migrate --restore, postcopy" {
	moves_restored postcopy
}

@test "the address and its connections move, restored by a person, postcopy" {
	moves_by_hand postcopy
}

@test "an IPv6 address moves" {
	ip -n "$NS_A" addr add fd00:1::100/64 dev eth0 nodad
	ip -n "$NS_C" addr add fd00:1::3/64 dev eth0 nodad
	ip -n "$NS_B" addr add fd00:1::2/64 dev eth0 nodad
	start_server --restore --allow-address fd00:1::/64
	service fd00:1::100
	move --move-address fd00:1::100/64@eth0
	goes_on
	moved fd00:1::100
}

@test "a device of another name on the target" {
	ip -n "$NS_B" link add service type bridge
	ip -n "$NS_B" link set service up
	start_server --restore --allow-address any
	start_victim
	ECHOD=$VICTIM_PID
	move --move-address "$SERVICE/32@eth0:service" && fail 'the prefix is another one'
	move --move-address "$SERVICE/24@eth0:service"
	ip -n "$NS_B" -o addr show dev service | grep -qF "$SERVICE/24"
}

@test "an abort leaves the address where it is, and the connection goes on" {
	printf '#!/bin/sh\ncase " $* " in *" restore "*) exit 1 ;; esac\nexec %q "$@"\n' "$CRIU" \
		>"$SCRATCH/criu"
	chmod +x "$SCRATCH/criu"
	CRIU=$SCRATCH/criu start_server --restore --allow-address any
	service
	run -1 move --move-address "$SERVICE/24@eth0"
	[[ $output == *'criu restore failed'* ]]
	goes_on
	stayed
}

# refused CODE TEXT ADDRESS...
refused()
{
	run "-$1" move --move-address "$3"
	echo "$output"
	[[ $output == *"$2"* ]] || return 1
	stayed
	[ ! -s "$SCRATCH/frozen" ]
}

@test "what cannot be moved is refused before anything is frozen, with one line" {
	start_server --restore --allow-address "$SERVICE/24" --allow-address "$ADDR_B" \
		--allow-address 192.0.2.1
	service
	refused 4 "$SERVICE/24: there is no device eth7" "$SERVICE/24@eth7"
	refused 4 "$SERVICE/25 is not an address of eth0 here" "$SERVICE/25@eth0"
	refused 4 '192.0.2.1/24 is not an address of eth0 here' 192.0.2.1/24@eth0
	refused 5 "$SERVICE/24: there is no device eth9" "$SERVICE/24@eth0:eth9"
	refused 5 "$ADDR_A/24 may not be moved to eth0" "$ADDR_A/24@eth0"
	refused 64 'ADDR/LEN@DEV' "$SERVICE@eth0"
	ip -n "$NS_A" addr add 192.0.2.1/24 dev eth0
	ip -n "$NS_B" addr add 192.0.2.1/32 dev lo
	refused 5 '192.0.2.1/24 cannot be moved to eth0: the target has that address already' \
		192.0.2.1/24@eth0
	goes_on
}

locked()
{
	on_a nft list tables | grep -q 'inet CRIU-'
}

# What the restored copy takes from the client is lost with it, and with that the connection: for a
# test in which the tasks here go on it must not hear the client.
target_deaf()
{
	on_b nft -f - <<-END
		table inet deaf {
			chain in {
				type filter hook input priority 0;
				tcp dport 7000 drop
			}
		}
	END
}

sender_lost_it()
{
	[ "$("$MFD" status --source "$SCRATCH/img" --json | jq .connected)" = false ]
}

# Promise: as long as the copy may run, nothing here answers its peers; when the tasks here go on,
# their connections do.
@test "postcopy, in doubt, and CRIU ends: the network here stays locked, and is unlocked when the tasks go on" {
	local dump pid
	target_deaf
	start_server --allow-address any --stall-timeout 1000
	service
	export CRIU_MULTIFD_MOVE_ADDRESS=$SERVICE/24@eth0 CRIU_MULTIFD_MODE=postcopy
	export CRIU_MULTIFD_MAX_BANDWIDTH=1M CRIU_MULTIFD_STALL_TIMEOUT=1000
	start dump dump_with_plugin "$ECHOD" "$SCRATCH/img" --tcp-established \
		--network-lock nftables
	dump=$STARTED_PID
	eventually 20 test -S "$SERVER_DIR/$SESSION/lazy-pages.socket"
	restore_lazily "$SERVER_DIR/$SESSION" --tcp-established --network-lock nftables
	[ "$(status_json state)" = running ]
	locked
	ip -n "$NS_B" link set eth0 down
	eventually 20 sender_lost_it
	for pid in $(ip netns pids "$NS_A"); do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != *'send --from-plugin'* ]] ||
			kill -TERM "$pid"
	done
	! wait "$dump"
	locked || fail 'the network was unlocked while the tasks are held'
	"$MFD" resolve --dir "$SERVER_DIR" "$SESSION" --discard
	run -0 on_a "$MFD" resolve --source "$SCRATCH/img" --run
	eventually 20 has_address "$NS_A"
	goes_on
	! locked || fail 'the rules of the lock are left'
}
