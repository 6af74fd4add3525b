#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Real programs move to another host, those with clients with their connections: nothing that was
# acknowledged is lost.

bats_require_minimum_version 1.5.0
load helpers
load ../apps/apps

setup()
{
	scratch_up
	need_root
	need_criu
	SESSION=test
	lan_up
	start_server
}

# streamed MIB: so much memory at least went through our channels, and not through CRIU's images.
streamed()
{
	[ "$(jq .bytes_memory "$IMG/multifd-send.json")" -ge $(($1 << 20)) ]
}

# served: the end of every test with a client.
served()
{
	client_goes_on 200
	stop_client
	remark "$BATS_TEST_DESCRIPTION: $CLIENT_SAYS; running again after $(((MOVE_RAN - MOVE_BEGAN) / 1000)) ms," \
		"all pages after $(((MOVE_ENDED - MOVE_BEGAN) / 1000)) ms"
}

redis_moves()
{
	local before

	need_program redis-server redis-cli
	start_redis
	on_c redis-cli -h "$SERVICE" debug populate 2000 other 100
	before=$(redis_digest)
	start_client redis 6379 --fill 320
	client_goes_on 200
	[ "$(awk '/^VmRSS/ { print $2 }' "/proc/$APP_PID/status")" -gt $((300 * 1024)) ]
	move_app "$1" "${APP_OPTIONS[@]}"
	streamed 300
	served
	on_c redis-cli -h "$SERVICE" -n 1 flushdb
	[ "$(redis_digest)" = "$before" ]
}

@test "safe: redis with 320 MiB under a client: one connection, no lost write" {
	redis_moves safe
}

@test "postcopy: redis with 320 MiB under a client: one connection, no lost write" {
	redis_moves postcopy
}

@test "safe: memcached under load" {
	need_program memcached
	start_app memcached memcached -u root -l "$SERVICE" -p 11211 -U 0 -m 512 -t 4
	wait_app 11211
	start_client memcached 11211 --fill 64
	client_goes_on 200
	move_app safe "${APP_OPTIONS[@]}"
	streamed 64
	served
}

@test "postcopy: memcached under load" {
	need_program memcached
	start_app memcached memcached -u root -l "$SERVICE" -p 11211 -U 0 -m 512 -t 4
	wait_app 11211
	start_client memcached 11211 --fill 64
	client_goes_on 200
	move_app postcopy "${APP_OPTIONS[@]}"
	streamed 64
	served
}

@test "safe: nginx, two workers of another uid, a client of kept-alive HTTP" {
	nginx_moves safe
}

@test "postcopy: nginx, two workers of another uid, a client of kept-alive HTTP" {
	nginx_moves postcopy
}

nginx_moves()
{
	need_program nginx
	shim_criu
	mkdir -p "$SCRATCH/www"
	head -c 100000 /dev/urandom >"$SCRATCH/www/blob"
	chmod -R a+rX "$SCRATCH"
	cat >"$SCRATCH/nginx.conf" <<-END
	daemon off; user www-data; worker_processes 2;
	pid $SCRATCH/nginx.pid; error_log $SCRATCH/nginx-error.log;
	events { worker_connections 64; }
	http {
		access_log off; keepalive_requests 1000000; keepalive_timeout 300s;
		client_body_temp_path $SCRATCH/nginx-body; proxy_temp_path $SCRATCH/nginx-proxy;
		fastcgi_temp_path $SCRATCH/nginx-fastcgi; uwsgi_temp_path $SCRATCH/nginx-uwsgi;
		scgi_temp_path $SCRATCH/nginx-scgi;
		server { listen $SERVICE:8080; root $SCRATCH/www; }
	}
	END
	start_app nginx nginx -c "$SCRATCH/nginx.conf"
	wait_app 8080
	start_client http 8080
	client_goes_on 100
	[ "$(pgrep -c -P "$APP_PID" -u www-data)" = 2 ]
	move_app "$1" "${APP_OPTIONS[@]}"
	served
	start_client http 8080 # a new connection is accepted, too
	client_goes_on 10
	stop_client
}

# heap_moves MODE COMMAND...
heap_moves()
{
	start_heap "${@:2}"
	KEEP_ADDRESS=y move_app "$1"
	streamed 64
	check_heap
	remark "$BATS_TEST_DESCRIPTION: $HEAP_SAYS; all pages after $(((MOVE_ENDED - MOVE_BEGAN) / 1000)) ms"
}

@test "python3: its heap, both modes" {
	need_program python3
	for mode in safe postcopy; do
		SESSION=$mode heap_moves $mode python3 "$APPS/heap.py" 64
		rm "$SCRATCH/heap/CHECK"
		kill -KILL "$RESTORE_INIT"
	done
}

@test "node: its heap and compiled code, both modes" {
	need_program node
	for mode in safe postcopy; do
		SESSION=$mode heap_moves $mode node "$APPS/heap.js" 64
		rm "$SCRATCH/heap/CHECK"
		kill -KILL "$RESTORE_INIT"
	done
}

@test "a JVM: its heap and compiled code, both modes" {
	need_program java
	for mode in safe postcopy; do
		SESSION=$mode heap_moves $mode java -Xmx512m "$APPS/Heap.java" 64
		# What was compiled is anonymous memory.
		grep -q " rwxp 00000000 00:00 0" "/proc/$RESTORED_PID/maps"
		rm "$SCRATCH/heap/CHECK"
		kill -KILL "$RESTORE_INIT"
	done
}

@test "postgresql under pgbench: shared memory, many processes, no lost transaction" {
	need_program psql pgbench
	shim_criu
	start_postgres
	on_c pgbench -h "$SERVICE" -U postgres -i -s 5 -q postgres >"$SCRATCH/pgbench-init.log" 2>&1
	mkdir "$SCRATCH/pgbench"
	start pgbench on_c env -C "$SCRATCH/pgbench" pgbench -h "$SERVICE" -U postgres -c 3 -T 10 \
		-n -l postgres
	local bench=$STARTED_PID rows
	eventually 20 history_grows 50
	move_app postcopy "${APP_OPTIONS[@]}"
	! is_dead "$bench"
	rows=$(sql 'select count(*) from pgbench_history')
	wait "$bench"
	grep -q 'number of failed transactions: 0 ' "$SCRATCH/pgbench.out"
	history_grows "$rows"
	# Every transaction that pgbench was told is there, and each of them as a whole.
	[ "$(sql 'select count(*) from pgbench_history')" = \
		"$(cat "$SCRATCH"/pgbench/pgbench_log.* | wc -l)" ]
	[ "$(sql 'with history as (select sum(delta) as total from pgbench_history)
		select (select sum(abalance) from pgbench_accounts) = (select total from history)
		and (select sum(bbalance) from pgbench_branches) = (select total from history)'
		)" = t ]
	remark "$BATS_TEST_DESCRIPTION: $(wc -l < \
		<(cat "$SCRATCH"/pgbench/pgbench_log.*)) transactions, longest $(
		awk '$3 > max { max = $3 } END { print max / 1000 }' \
			"$SCRATCH"/pgbench/pgbench_log.*) ms;" \
		"running again after $(((MOVE_RAN - MOVE_BEGAN) / 1000)) ms"
}

@test "criu-multifd migrate --restore: redis with 320 MiB by one command" {
	local before

	need_program redis-server redis-cli
	SERVER_NAME=restorer SERVER_DIR=$SCRATCH/restored
	server_restores
	start_redis
	before=$(redis_digest)
	start_client redis 6379 --fill 320
	client_goes_on 200
	migrate_app "${APP_OPTIONS[@]}"
	served
	remark "migrate says: $(jq -c "{result, frozen_ms, downtime_ms, bytes_memory, gbit_per_s}" \
		<<<"$MIGRATE_SAYS")"
	on_c redis-cli -h "$SERVICE" -n 1 flushdb
	[ "$(redis_digest)" = "$before" ]
}
