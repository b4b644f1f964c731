#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sqlite.sh - SQLite keeps its databases whole on the mount, in each of its journal modes

cases=(mode_delete mode_truncate mode_wal many_connections power_of_kill)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

database=$mnt/database
mode=delete # journal mode

# Each connection says its journal mode: of the modes only wal stays with the database.
sqlite() {
	stdbuf -oL sqlite3 -bail -cmd '.timeout 600000' \
		-cmd '.output /dev/null' -cmd "PRAGMA journal_mode=$mode" -cmd '.output' "$@"
}

sql() {
	sqlite "$database" "$@"
}

database_sound() {
	expect_same "integrity_check" ok "$(sql 'PRAGMA integrity_check')"
}

# transactions COUNT - each inserts, changes and deletes rows of several sizes
transactions() {
	seq "$1" | awk '{
		printf "BEGIN; INSERT INTO entry(number, body) VALUES (%d, randomblob(%d));", $1, $1 * 37 % 5000
		printf "UPDATE entry SET body = randomblob(100) WHERE number = %d;", int($1 / 2)
		if ($1 % 10 == 0) printf "DELETE FROM entry WHERE number = %d;", $1 - 5
		printf "UPDATE total SET count = count + 1; COMMIT;\n"
	}' | sql
}

# same_elsewhere - the same changes make the same bytes as on the file system of the scratch directory
same_elsewhere() {
	local place
	for place in "$SCRATCH/same" "$mnt/same"; do
		rm -f "$place"*
		seq 300 | awk 'BEGIN { print "CREATE TABLE entry(number INTEGER PRIMARY KEY, body); CREATE INDEX by_body ON entry(body);" } {
			printf "INSERT INTO entry VALUES (%d, hex(zeroblob(%d)) || %d);", $1, $1 * 37 % 5000, $1
			if ($1 % 7 == 0) printf "UPDATE entry SET body = %d WHERE number %% 3 = 0;", $1
			if ($1 % 10 == 0) printf "DELETE FROM entry WHERE number = %d;", $1 - 5
			print "" }' | sqlite -cmd 'PRAGMA synchronous=OFF' "$place"
	done
	cmp "$SCRATCH/same" "$mnt/same" || fail "the database is another than one that was made on another file system"
}

exercise() {
	local count
	mode=$1
	count=$(rounds 2000 300)
	store_make
	store_mount
	expect_same "journal mode" "$mode" "$(sql 'PRAGMA journal_mode')"
	sql 'CREATE TABLE entry(id INTEGER PRIMARY KEY, number INTEGER, body BLOB);
		CREATE INDEX by_number ON entry(number);
		CREATE TABLE total(count INTEGER); INSERT INTO total VALUES (0);'
	transactions "$count"
	database_sound
	expect_same "transactions counted" "$count" "$(sql 'SELECT count FROM total')"
	expect_same "rows" "$((count - count / 10))" "$(sql 'SELECT count(*) FROM entry')"
	sql 'BEGIN; DELETE FROM entry; ROLLBACK;'
	expect_same "rows after a rollback" "$((count - count / 10))" "$(sql 'SELECT count(*) FROM entry')"
	store_remount
	database_sound
	sql 'VACUUM'
	database_sound
	expect_same "rows after VACUUM" "$((count - count / 10))" "$(sql 'SELECT count(*) FROM entry')"
	same_elsewhere
	cp "$database" "$SCRATCH/copy"
	expect_same "integrity_check of a copy" ok "$(sqlite3 "$SCRATCH/copy" 'PRAGMA integrity_check')"
}

case_mode_delete() {
	exercise delete
}

case_mode_truncate() {
	exercise truncate
}

case_mode_wal() {
	exercise wal
}

# Writers in several processes wait for one another's locks, and none of their changes gets lost.
case_many_connections() {
	local i writer writers
	store_make
	store_mount
	for mode in delete wal; do
		rm -f "$database"*
		sql 'CREATE TABLE total(count INTEGER); INSERT INTO total VALUES (0);'
		writers=
		for writer in 1 2 3 4; do
			for i in $(seq "$(rounds 100 25)"); do
				echo 'BEGIN IMMEDIATE; UPDATE total SET count = count + 1; COMMIT;'
			done | sql &
			writers="$writers $!"
		done
		for writer in $writers; do
			wait "$writer" || fail "a writer ended with $? in mode $mode"
		done
		database_sound
		expect_same "changes of all writers in mode $mode" "$((4 * $(rounds 100 25)))" \
			"$(sql 'SELECT count FROM total')"
	done
}

# Every transaction that SQLite reported as committed (synchronous=EXTRA) survives the daemon's death. But one: in mode delete
# a transaction ends with the journal's unlink and a sync of the directory, and SQLite takes it for
# ended if the directory cannot be opened any more. No other follows it then, so only the last can be meant.
case_power_of_kill() {
	local round acknowledged found writer unsure
	needs_kvfs
	store_make
	store_mount
	for mode in delete truncate wal; do
		unsure=0
		[ "$mode" != delete ] || unsure=1
		rm -f "$database"*
		expect_same "journal mode" "$mode" "$(sql 'PRAGMA journal_mode')"
		sql 'CREATE TABLE entry(number INTEGER PRIMARY KEY);'
		for round in $(seq "$(rounds 6 2)"); do
			: >acknowledged
			found=$(sql 'SELECT ifnull(max(number), 0) FROM entry')
			# each number is printed after its transaction has been committed
			seq $((found + 1)) $((found + 100000)) |
				awk '{ print "INSERT INTO entry VALUES (" $1 "); SELECT " $1 ";" }' |
				sqlite -cmd 'PRAGMA synchronous=EXTRA' "$database" >acknowledged 2>/dev/null &
			writer=$!
			await "a first transaction in mode $mode" test -s acknowledged
			# each mode leaves its own traces
			case $mode in
			truncate) [ -e "$database-journal" ] || fail "no journal stays in mode truncate" ;;
			wal) [ -e "$database-wal" ] || fail "no log in mode wal" ;;
			esac
			sleep "0.$((RANDOM % 9 + 1))"
			daemon_kill
			wait "$writer" 2>/dev/null || true
			mount_clear
			store_mount
			database_sound
			acknowledged=$(tail -n 1 acknowledged)
			found=$(sql 'SELECT ifnull(max(number), 0) FROM entry')
			[ "$found" -ge "$((${acknowledged:-0} - unsure))" ] ||
				fail "mode $mode round $round: $acknowledged committed, $found there"
		done
	done
}

scratch_main "$@"
