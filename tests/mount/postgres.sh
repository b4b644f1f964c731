#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# postgres.sh - PostgreSQL keeps its databases whole on the mount, through the death of the server and of the mount
#
# pgbench moves money between accounts; whatever happens, the sums of all tables agree, each transaction that was
# acknowledged is there, the indexes fit the tables (pg_amcheck) and each page its checksum (pg_checksums).

limit=1200
cases=(bench_and_check kill_server_and_mount)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

database=$mnt/database
socket=$SCRATCH/socket
programs=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)

# The server does not run as root.
as_server() {
	setpriv --reuid postgres --regid postgres --init-groups -- env HOME="$SCRATCH" PGHOST="$socket" \
		PGUSER=postgres PGDATABASE=postgres PATH="$programs:$PATH" "$@"
}

sql() {
	as_server psql -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"
}

server_start() {
	as_server pg_ctl -s -w -t 600 -D "$database" -l "$socket/log" start ||
		fail "the server does not start: $(tail -n 3 "$socket/log")"
	postmaster=$(head -n 1 "$database/postmaster.pid")
}

server_stop() {
	as_server pg_ctl -s -w -t 600 -m fast -D "$database" stop || fail "the server does not stop"
}

# The processes of the server work in its directory.
server_processes() {
	# some are gone meanwhile
	find /proc/[0-9]*/cwd -maxdepth 0 -lname "$database" 2>/dev/null | cut -d / -f 3 || true
}

# All its processes at once, as a crash of the machine would: one that waits for another's lock would not notice that
# both are without a postmaster.
server_kill() {
	local process killed=$postmaster end=$((SECONDS + patience))
	while process=$(server_processes) && [ -n "$process" ]; do
		killed="$killed $process"
		# shellcheck disable=SC2086 # several
		kill -9 $process 2>/dev/null || true
		[ "$SECONDS" -lt "$end" ] || fail "processes of the dead server go on: $process"
		sleep 0.1
	done
	# gone for good, so that the next server does not take them for running
	for process in $killed; do
		while kill -0 "$process" 2>/dev/null; do
			[ "$SECONDS" -lt "$end" ] || fail "process $process of the dead server stays"
			sleep 0.1
		done
	done
}

database_make() {
	[ -n "$programs" ] && [ -x "$programs/initdb" ] || skip "there is no PostgreSQL here"
	[ "$slow" = 1 ] || skip "not with a sanitizer"
	chmod 755 "$SCRATCH"
	install -d -o postgres -m 700 "$socket"
	store_make
	store_mount -o allow_other
	install -d -o postgres -m 700 "$database"
	as_server initdb -D "$database" --data-checksums -A trust --no-locale -E UTF8 >initdb.log 2>&1 ||
		fail "initdb: $(tail -n 1 initdb.log)"
	cat >>"$database/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$socket'
		shared_buffers = 16MB
		max_wal_size = 64MB
		checkpoint_timeout = 30s
		wal_level = minimal
		max_wal_senders = 0
	END
	server_start
	as_server pgbench -i -q -s "$(rounds 2 1 20)" >pgbench.log 2>&1 || fail "pgbench -i: $(tail -n 1 pgbench.log)"
}

# database_sound WHEN - with the server up; leaves it stopped
database_sound() {
	local sums output
	sums=$(sql 'SELECT count(DISTINCT s) FROM (SELECT sum(abalance) FROM pgbench_accounts UNION ALL
		SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(tbalance) FROM pgbench_tellers
		UNION ALL SELECT coalesce(sum(delta), 0) FROM pgbench_history) AS sums(s)')
	expect_same "different sums of the money $1" 1 "$sums"
	output=$(as_server pg_amcheck --install-missing --heapallindexed --all 2>&1) || fail "pg_amcheck $1: $output"
	server_stop
	output=$(as_server pg_checksums --check -D "$database" 2>&1) || fail "pg_checksums $1: $output"
	grep -q '^Bad checksums: *0$' <<<"$output" || fail "pg_checksums $1: $output"
}

# rows_of_large COUNT - what the rows of the table "large" must come to, counted without a database.
rows_of_large() {
	python3 -c 'import sys
from hashlib import md5
def hexed(text): return md5(text.encode()).hexdigest()
print(hexed("".join(hexed(hexed(str(i)) * (i % 300)) for i in range(1, int(sys.argv[1]) + 1) if i % 3)))' "$1"
}

case_bench_and_check() {
	local before rows
	rows=$(rounds 20000 4000)
	database_make
	as_server pgbench -n -c 4 -j 2 -t "$(rounds 300 50 20000)" >pgbench.log 2>&1 ||
		fail "pgbench: $(tail -n 1 pgbench.log)"
	expect_same "transactions" "$((4 * $(rounds 300 50 20000)))" "$(sql 'SELECT count(*) FROM pgbench_history')"
	sql "CREATE TABLE large AS SELECT i, repeat(md5(i::text), i % 300) AS body FROM generate_series(1, $rows) AS i;
		CREATE INDEX ON large(md5(body)); DELETE FROM large WHERE i % 3 = 0"
	sql 'VACUUM FULL'
	sql 'CREATE DATABASE second TEMPLATE template0'
	before=$(sql 'SELECT md5(string_agg(md5(body), NULL ORDER BY i)) FROM large')
	expect_same "the rows" "$(rows_of_large "$rows")" "$before"
	database_sound "after the benchmark"
	store_remount -o allow_other
	server_start
	expect_same "the rows after a remount" "$before" \
		"$(sql 'SELECT md5(string_agg(md5(body), NULL ORDER BY i)) FROM large')"
	sql 'DROP DATABASE second'
	as_server pg_dump -f "$socket/dump" || fail "pg_dump"
	database_sound "after a remount"
}

transactions_beyond() {
	[ "$(sql 'SELECT count(*) FROM pgbench_history')" -gt "$1" ]
}

# pgbench_interrupted COMMAND... - runs it while transactions are under way, which end by it; none that was acknowledged
# may get lost
pgbench_interrupted() {
	local bench before acknowledged found
	before=$(sql 'SELECT count(*) FROM pgbench_history')
	rm -f "$socket"/bench*
	(cd "$socket" && exec setpriv --reuid postgres --regid postgres --init-groups -- env PGHOST="$socket" \
		PGUSER=postgres PGDATABASE=postgres "$programs/pgbench" -n -c 4 -j 2 -T 3600 -l --log-prefix=bench) \
		>pgbench.log 2>&1 &
	bench=$!
	await "a hundred transactions" transactions_beyond $((before + 100))
	sleep "0.$((RANDOM % 10))"
	kill -0 "$bench" 2>/dev/null || fail "pgbench ended before: $(tail -n 1 pgbench.log)"
	"$@"
	wait "$bench" || true
	server_start
	acknowledged=$(cat "$socket"/bench* 2>/dev/null | wc -l)
	found=$(sql 'SELECT count(*) FROM pgbench_history')
	[ "$acknowledged" -gt 0 ] || fail "no transaction was acknowledged"
	[ "$((found - before))" -ge "$acknowledged" ] ||
		fail "$acknowledged transactions were acknowledged, $((found - before)) are there"
}

kill_server_now() {
	[ -n "$(server_processes)" ] || fail "the server is not there"
	server_kill
}

kill_mount_now() {
	daemon_kill
	server_kill
	mount_clear
	store_mount -o allow_other
}

# One database for both: to make it is most of the work.
case_kill_server_and_mount() {
	local round
	database_make
	for round in $(seq "$(rounds 2 1 20)"); do
		pgbench_interrupted kill_server_now
		database_sound "after kill $round of the server"
		server_start
	done
	[ "$on" = kvfs ] || {
		server_stop
		return 0
	}
	for round in $(seq "$(rounds 2 1 20)"); do
		pgbench_interrupted kill_mount_now
		database_sound "after kill $round of the mount"
		server_start
	done
	server_stop
}

scratch_main "$@"
