# shellcheck shell=bash disable=SC2034,SC2154  # variables of the files that source this
# SPDX-License-Identifier: GPL-2.0-only
#
# Real servers that move between two hosts while a client on a third one uses them. Needs
# helpers.bash.
#
#	lan_up			hosts a, b and c on one bridge, and a service address, which a has
#	start_app NAME COMMAND...	a program on host a, in a session of its own: APP_PID
#	start_client PROTOCOL PORT ...	client.c on host c: CLIENT_PID
#	move_app safe|postcopy ...	host a -> host b, the service address with it
#	stop_client			its last line in CLIENT_SAYS; fails unless nothing was lost

APPS=$MFD_TOP/test/apps

# What is dumped has an open TCP connection; on host a the rules of CRIU's network lock stay, as
# they should: they keep host a from answering for a service that has left. They end with the
# network namespace here.
APP_OPTIONS=(--tcp-established --network-lock nftables)

# tool NAME: build NAME.c of this folder if need be, print where it is.
tool()
{
	local out=$BUILD/test/apps/$1 src=$APPS/${1%.so}.c flags=''

	[[ $1 != *.so ]] || flags='-shared -fPIC'
	if ! [ "$out" -nt "$src" ]; then
		mkdir -p "$BUILD/test/apps"
		# shellcheck disable=SC2086  # a list
		${CC:-gcc} -O2 $flags -o "$out.$BASHPID" "$src" -ldl && mv "$out.$BASHPID" "$out" ||
			return 1
	fi
	echo "$out"
}

# need_program NAME...: they come from contrib/setup.
need_program()
{
	local p

	for p in "$@"; do
		command -v "$p" >/dev/null || fail "no $p: run contrib/setup" || return 1
	done
}

# ---- hosts ---------------------------------------------------------------------------------------

# Sets NS_A, NS_B, NS_C, ADDR_A, ADDR_B, ADDR_C, SERVICE.
lan_up()
{
	local id net h i=0

	need_root
	id=mfd-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
	net=10.201.$((RANDOM % 256))
	register netns "$id-s"
	ip netns add "$id-s"
	ip -n "$id-s" link add br0 type bridge
	ip -n "$id-s" link set br0 up
	for h in a b c; do
		i=$((i + 1))
		register netns "$id-$h"
		ip netns add "$id-$h"
		ip link add eth0 netns "$id-$h" type veth peer name "port-$h" netns "$id-s"
		ip -n "$id-s" link set "port-$h" master br0 up
		ip -n "$id-$h" addr add "$net.$i/24" dev eth0
		ip -n "$id-$h" link set lo up
		ip -n "$id-$h" link set eth0 up
	done
	NS_A=$id-a NS_B=$id-b NS_C=$id-c
	ADDR_A=$net.1 ADDR_B=$net.2 ADDR_C=$net.3 SERVICE=$net.100
	ip -n "$NS_A" addr add "$SERVICE/24" dev eth0
}

on_c()
{
	nsenter --net=/run/netns/"$NS_C" -- "$@"
}

# service_prepared: what can be done on host b while the service still runs on host a. Later, what
# arrives before the sockets are there must be dropped, or host b's kernel would reset the
# connections; the action script lifts that when CRIU has made them, before tasks run.
service_prepared()
{
	on_b nft -f - <<-END || return 1
	table inet hold {
		chain in { type filter hook input priority 0; ip daddr $SERVICE drop; }
	}
	END
	cat >"$SCRATCH/lift" <<-'END'
	#!/bin/sh
	[ "$CRTOOLS_SCRIPT_ACTION" = post-restore ] || exit 0
	nft delete table inet hold || exit 1
	date +%s%6N >"${0%/*}/ran"
	END
	chmod +x "$SCRATCH/lift"
	APP_RESTORE=(--action-script "$SCRATCH/lift")
}

# The service address leaves host a and comes to host b, which announces it.
service_moves()
{
	ip -n "$NS_A" addr del "$SERVICE/24" dev eth0
	ip -n "$NS_B" addr add "$SERVICE/24" dev eth0
	on_b arping -q -A -c 1 -I eth0 "$SERVICE" &
}

# ---- programs ------------------------------------------------------------------------------------

start_app()
{
	start "$1" nsenter --net=/run/netns/"$NS_A" -- setsid "${@:2}"
	APP_PID=$STARTED_PID
}

# app_listens PORT
app_listens()
{
	[ -n "$(on_a ss -Hltn "sport = :$1")" ] || is_dead "$APP_PID"
}

wait_app()
{
	eventually 30 app_listens "$1"
	assert_running "$APP_PID"
}

client_says()
{
	grep -qE "$1" "$SCRATCH/client.out" || is_dead "$CLIENT_PID"
}

start_client()
{
	local client

	client=$(tool client) || return 1
	CLIENT_LOG=$SCRATCH/client.latency
	start client nsenter --net=/run/netns/"$NS_C" -- "$client" "$1" "$SERVICE" "$2" \
		--log "$CLIENT_LOG" "${@:3}"
	CLIENT_PID=$STARTED_PID
	eventually 60 client_says '^(ready|FAILED)'
	grep -q '^ready' "$SCRATCH/client.out" ||
		fail "the client: $(tail -n 1 "$SCRATCH/client.out")"
}

# requests_now: how many the client has had answered.
requests_now()
{
	wc -l <"$CLIENT_LOG"
}

more_requests()
{
	[ "$(requests_now)" -gt "$1" ] || is_dead "$CLIENT_PID"
}

# client_goes_on N: it has had N more answers.
client_goes_on()
{
	eventually 30 more_requests $(($(requests_now) + $1)) || fail 'the client gets no answers'
	! is_dead "$CLIENT_PID" || fail "the client: $(tail -n 1 "$SCRATCH/client.out")"
}

stop_client()
{
	kill -TERM "$CLIENT_PID"
	wait "$CLIENT_PID"
	CLIENT_SAYS=$(tail -n 1 "$SCRATCH/client.out")
	[[ $CLIENT_SAYS == ok* ]] || fail "the client: $CLIENT_SAYS"
}

# word NAME LINE: X of NAME=X.
word()
{
	sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$2"
}

# remark TEXT: a line in the output of bats; elsewhere plain.
remark()
{
	if [ -n "${BATS_TEST_NAME:-}" ]; then
		echo "# $*" >&3
	else
		echo "$*"
	fi
}

# ---- the move ------------------------------------------------------------------------------------

note_end()
{
	wait_session "$SESSION" 'done' && echo "${EPOCHREALTIME/[.,]/}" >"$SCRATCH/ended"
}

# move_app safe|postcopy [options for criu dump and restore]: APP_PID, and the service address with
# it unless KEEP_ADDRESS. Session $SESSION; the restored program is RESTORED_PID. MOVE_BEGAN,
# MOVE_RAN (restored), MOVE_ENDED: us since the epoch.
move_app()
{
	local mode=$1 dump='' ended

	shift
	IMG=$SCRATCH/img.$SESSION
	APP_RESTORE=()
	rm -f "$SCRATCH/ran"
	[ -n "${KEEP_ADDRESS:-}" ] || service_prepared || return 1
	MOVE_BEGAN=${EPOCHREALTIME/[.,]/}
	export CRIU_MULTIFD_MODE=$mode
	if [ "$mode" = safe ]; then
		dump_with_plugin "$APP_PID" "$IMG" "$@" || { fail "criu dump: $?"; return 1; }
		wait_session "$SESSION" committed || return 1
	else
		start "dump.$SESSION" dump_with_plugin "$APP_PID" "$IMG" "$@"
		dump=$STARTED_PID
		wait_session "$SESSION" ready || return 1
	fi
	[ -n "${KEEP_ADDRESS:-}" ] || service_moves || return 1
	rm -f "$SCRATCH/ended"
	start "ended.$SESSION" note_end
	ended=$STARTED_PID
	restore_lazily "$SERVER_DIR/$SESSION" "$@" "${APP_RESTORE[@]}" || {
		fail "criu restore: $?"; return 1; }
	MOVE_RAN=$(cat "$SCRATCH/ran" 2>/dev/null || echo "${EPOCHREALTIME/[.,]/}")
	[ -z "$dump" ] || wait "$dump" || { fail "criu dump: $?"; return 1; }
	wait "$ended" || { fail 'not all pages are there'; return 1; }
	MOVE_ENDED=$(cat "$SCRATCH/ended")
	assert_gone "$APP_PID" || return 1
	assert_running "$RESTORED_PID"
}


# server_restores [serve options]: a server that restores by itself (criu-multifd migrate --restore)
# and takes the service address when it does. Until migrate knows how to move an address, CRIU's
# action scripts do it.
server_restores()
{
	cat >"$SCRATCH/arrive" <<-END
	#!/bin/sh
	case \$CRTOOLS_SCRIPT_ACTION in
	pre-restore) ip addr add $SERVICE/24 dev eth0 ;;
	post-restore)
		nft delete table inet hold || exit 1
		date +%s%6N >$SCRATCH/ran
		arping -q -A -c 1 -I eth0 $SERVICE >/dev/null 2>&1 & # it waits for a second
		;;
	esac
	END
	chmod +x "$SCRATCH/arrive"
	start_server --restore --pid-namespace own --restore-option=--action-script \
		--restore-option="$SCRATCH/arrive" "$@"
}

# migrate_app [options for criu dump]: as move_app, by the one command, with server_restores.
# MIGRATE_SAYS: its summary.
migrate_app()
{
	service_prepared || return 1
	MOVE_BEGAN=${EPOCHREALTIME/[.,]/}
	on_a "$MFD" migrate -t "$APP_PID" --to "$SERVER_ADDR" --session "$SESSION" --restore \
		--json -- "$@" \
		>"$SCRATCH/migrate.out" 2>&1 || {
			fail "migrate: $?: $(tail -n 3 "$SCRATCH/migrate.out")"; return 1; }
	ip -n "$NS_A" addr del "$SERVICE/24" dev eth0
	MOVE_RAN=$(cat "$SCRATCH/ran")
	MIGRATE_SAYS=$(grep '"event":"summary"' "$SCRATCH/migrate.out")
	wait_session "$SESSION" 'done' || return 1
	MOVE_ENDED=${EPOCHREALTIME/[.,]/}
	assert_gone "$APP_PID"
}

# shim_criu: CRIU with prlimit_shim.c, for programs whose processes have several uids.
shim_criu()
{
	local shim

	shim=$(tool prlimit_shim.so) || return 1
	printf '#!/bin/sh\nLD_PRELOAD=%q exec %q "$@"\n' "$shim" "$CRIU" >"$SCRATCH/criu"
	chmod +x "$SCRATCH/criu"
	CRIU=$SCRATCH/criu
}

# ---- redis ---------------------------------------------------------------------------------------

# start_redis [OPTIONS]
start_redis()
{
	mkdir -p "$SCRATCH/redis"
	start_app redis redis-server --bind "$SERVICE" 127.0.0.1 --port 6379 --save '' \
		--protected-mode no \
		--enable-debug-command yes --dir "$SCRATCH/redis" "$@"
	wait_app 6379
}

# redis_digest: of database 0; the client's own keys, in database 1, must be gone.
redis_digest()
{
	on_c redis-cli -h "$SERVICE" debug digest
}

# ---- heaps ---------------------------------------------------------------------------------------

heap_says()
{
	grep -q "^$1 " "$SCRATCH/heap.out" || is_dead "${RESTORED_PID:-$APP_PID}"
}

# start_heap COMMAND...: a program that builds a heap, prints "ready CHECKSUM", goes on using and
# changing it, and, when the file CHECK exists in its folder, computes the checksum again: "check
# CHECKSUM rounds=N longest_ms=X".
start_heap()
{
	mkdir -p "$SCRATCH/heap"
	RESTORED_PID=''
	start_app heap env -C "$SCRATCH/heap" "$@"
	eventually 60 heap_says ready
	HEAP=$(awk '$1 == "ready" { print $2 }' "$SCRATCH/heap.out")
	[ -n "$HEAP" ] || fail 'no heap'
}

check_heap()
{
	local says

	touch "$SCRATCH/heap/CHECK"
	eventually 60 heap_says check
	says=$(grep '^check ' "$SCRATCH/heap.out")
	[ "$(awk '{ print $2 }' <<<"$says")" = "$HEAP" ] || fail "the heap was $HEAP, now: $says" ||
		return 1
	HEAP_SAYS=$says
}

# ---- postgresql ----------------------------------------------------------------------------------

as_postgres()
{
	setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
}

# start_postgres: in an IPC namespace of its own, since CRIU dumps System V memory by the namespace
# only.
start_postgres()
{
	local bin

	bin=$(pg_config --bindir 2>/dev/null) && [ -x "$bin/initdb" ] ||
		bin=$(dirname "$(find /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")
	chmod a+x "$SCRATCH"
	install -d -o postgres "$SCRATCH/postgres"
	as_postgres "$bin/initdb" -A trust -N -D "$SCRATCH/postgres/db" >/dev/null || return 1
	echo "host all all $SERVICE/24 trust" >>"$SCRATCH/postgres/db/pg_hba.conf"
	start_app postgres unshare --ipc setpriv --reuid=postgres --regid=postgres --clear-groups \
		"$bin/postgres" -D "$SCRATCH/postgres/db" -k "$SCRATCH/postgres" \
			-c listen_addresses="$SERVICE" \
		-c shared_buffers=128MB -c fsync=off -c dynamic_shared_memory_type=mmap
	wait_app 5432
	eventually 30 on_c psql -qh "$SERVICE" -U postgres -c 'select 1' >/dev/null 2>&1
}

# sql STATEMENT: through a connection of its own.
sql()
{
	on_c psql -Atqh "$SERVICE" -U postgres -c "$1"
}

history_grows()
{
	[ "$(sql 'select count(*) from pgbench_history')" -gt "$1" ]
}
