/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite.c - SQLite with a write-ahead log.
 *
 * As its documentation advises: prepared statements, WITHOUT ROWID where rows are small, a memory
 * map; where not durable, synchronous=NORMAL and STORE_GROUP changes a transaction; durable,
 * synchronous=FULL and a transaction per put. A session is a connection.
 */
#include "store_list.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/* bytes: a twentieth of a page, the documentation's limit for WITHOUT ROWID */
#define SMALL_ROW 200u
#define BUSY_MS 60000

enum { GET, CONTAINS, PUT, DELETE, SCAN, KEYS, VALUES, BEGIN, COMMIT, STATEMENTS };

static const char *const statements[STATEMENTS] = {
	[GET] = "SELECT value FROM entry WHERE key = ?1",
	[CONTAINS] = "SELECT 1 FROM entry WHERE key = ?1",
	[PUT] = "REPLACE INTO entry (key, value) VALUES (?1, ?2)",
	[DELETE] = "DELETE FROM entry WHERE key = ?1",
	[SCAN] = "SELECT key, value FROM entry WHERE key >= ?1 ORDER BY key LIMIT ?2",
	[KEYS] = "SELECT key FROM entry ORDER BY key",
	[VALUES] = "SELECT key, value FROM entry ORDER BY key",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
};

struct sqlite_store {
	struct store base;
	sqlite3 *db; /* for what concerns the store as a whole */
	char file[4096];
	bool durable, small;
};

struct sqlite_session {
	struct session base;
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
	bool durable;
	bool writing, reading; /* a transaction is open */
	bool row;              /* GET stands on a row */
	unsigned gathered;     /* changes in the transaction */
};

static int failed(const struct store *store, const char *what, sqlite3 *db)
{
	return store_fail(store->ops, what, sqlite3_errmsg(db));
}

static int execute(const struct store *store, sqlite3 *db, const char *text)
{
	return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(store, text, db);
}

static int connect_to(struct sqlite_store *store, sqlite3 **out)
{
	sqlite3 *db;
	int err;

	if (sqlite3_open_v2(store->file, &db,
		    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		    NULL) != SQLITE_OK) {
		failed(&store->base, "open", db);
		sqlite3_close(db);
		return -EIO;
	}
	sqlite3_busy_timeout(db, BUSY_MS);
	err = execute(&store->base, db, "PRAGMA journal_mode=WAL");
	if (!err)
		err = execute(&store->base, db,
			store->durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
	if (!err)
		err = execute(&store->base, db,
			"PRAGMA mmap_size=68719476736; PRAGMA cache_size=-262144");
	if (err)
		sqlite3_close(db);
	else
		*out = db;
	return err;
}

static int store_open(
	const struct store_ops *ops, const struct store_setup *setup, struct store **out)
{
	struct sqlite_store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	store->base.ops = ops;
	store->durable = setup->durable;
	snprintf(store->file, sizeof(store->file), "%s/store.db", setup->path);
	err = connect_to(store, &store->db);
	if (!err)
		err = execute(&store->base, store->db,
			setup->value_size <= SMALL_ROW ? "CREATE TABLE IF NOT EXISTS entry (key "
							 "BLOB PRIMARY KEY, value BLOB) "
							 "WITHOUT ROWID"
						       : "CREATE TABLE IF NOT EXISTS entry (key "
							 "BLOB PRIMARY KEY, value BLOB)");
	if (err) {
		sqlite3_close(store->db);
		free(store);
		return err;
	}
	*out = &store->base;
	return 0;
}

static int store_close(struct store *base)
{
	struct sqlite_store *store = (struct sqlite_store *)base;
	int rc = sqlite3_close(store->db);

	free(store);
	return rc == SQLITE_OK ? 0 : -EIO;
}

static void session_close(struct session *base)
{
	struct sqlite_session *session = (struct sqlite_session *)base;

	for (unsigned i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(session->statements[i]);
	sqlite3_close(session->db);
	free(session);
}

static int session_open(struct store *base, struct session **out)
{
	struct sqlite_store *store = (struct sqlite_store *)base;
	struct sqlite_session *session = calloc(1, sizeof(*session));
	int err;

	if (!session)
		return -ENOMEM;
	session->base.store = base;
	session->durable = store->durable;
	err = connect_to(store, &session->db);
	for (unsigned i = 0; !err && i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(session->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
			    &session->statements[i], NULL) != SQLITE_OK)
			err = failed(base, statements[i], session->db);
	if (err) {
		session_close(&session->base);
		return err;
	}
	*out = &session->base;
	return 0;
}

/* Runs a statement that returns no rows. */
static int step(struct sqlite_session *session, unsigned which)
{
	sqlite3_stmt *statement = session->statements[which];
	int rc = sqlite3_step(statement);

	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? 0 : failed(session->base.store, statements[which], session->db);
}

static void bind_key(sqlite3_stmt *statement, const struct entry_key *key)
{
	sqlite3_bind_blob(statement, 1, key->text, ENTRY_KEY_SIZE, SQLITE_STATIC);
}

static void row_end(struct sqlite_session *session)
{
	if (session->row)
		sqlite3_reset(session->statements[GET]);
	session->row = false;
}

/* A transaction around many reads saves the locks of each. */
static int read_begin(struct session *base)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	int err;

	if (session->writing)
		return 0;
	err = execute(base->store, session->db, "BEGIN");
	session->reading = !err;
	return err;
}

static void read_end(struct session *base)
{
	struct sqlite_session *session = (struct sqlite_session *)base;

	row_end(session);
	if (session->reading)
		step(session, COMMIT);
	session->reading = false;
}

static int get(struct session *base, const struct entry_key *key, struct slice *value)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	sqlite3_stmt *statement = session->statements[GET];
	int rc;

	row_end(session);
	bind_key(statement, key);
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		session->row = true;
		*value = (struct slice){sqlite3_column_blob(statement, 0),
			(size_t)sqlite3_column_bytes(statement, 0)};
		return 0;
	}
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? -ENOENT : failed(base->store, "get", session->db);
}

static int contains(struct session *base, const struct entry_key *key)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	sqlite3_stmt *statement = session->statements[CONTAINS];
	int rc;

	bind_key(statement, key);
	rc = sqlite3_step(statement);
	sqlite3_reset(statement);
	return rc == SQLITE_ROW    ? 0
	       : rc == SQLITE_DONE ? -ENOENT
				   : failed(base->store, "contains", session->db);
}

static int write_begin(struct sqlite_session *session)
{
	int err;

	if (session->writing)
		return 0;
	row_end(session);
	err = step(session, BEGIN);
	session->writing = !err;
	return err;
}

static int flush(struct session *base)
{
	struct sqlite_session *session = (struct sqlite_session *)base;

	if (!session->writing)
		return 0;
	row_end(session);
	session->writing = false;
	session->gathered = 0;
	return step(session, COMMIT);
}

static int change_done(struct sqlite_session *session)
{
	return ++session->gathered == STORE_GROUP ? flush(&session->base) : 0;
}

static int put_one(struct sqlite_session *session, const struct entry_key *key, struct slice value)
{
	sqlite3_stmt *statement = session->statements[PUT];

	bind_key(statement, key);
	sqlite3_bind_blob(statement, 2, value.data, (int)value.size, SQLITE_STATIC);
	return step(session, PUT);
}

static int put(struct session *base, const struct entry_key *key, struct slice value)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	int err;

	/* alone, a statement is a transaction */
	if (session->durable)
		return put_one(session, key, value);
	err = write_begin(session);
	if (!err)
		err = put_one(session, key, value);
	return err ? err : change_done(session);
}

static int delete (struct session *base, const struct entry_key *key)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	int err = session->durable ? 0 : write_begin(session);

	if (err)
		return err;
	bind_key(session->statements[DELETE], key);
	err = step(session, DELETE);
	return err || session->durable ? err : change_done(session);
}

static int batch(struct session *base, const struct store_change *changes, unsigned count)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	int err = write_begin(session);

	for (unsigned i = 0; !err && i < count; i++)
		err = put_one(session, &changes[i].key, changes[i].value);
	return err ? err : flush(base);
}

/* A checkpoint is what syncs the log in this mode. */
static int sync_all(struct session *base)
{
	struct sqlite_session *session = (struct sqlite_session *)base;
	int err = flush(base);

	return err ? err : execute(base->store, session->db, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static int walk(struct sqlite_session *session, unsigned which, struct store_seen *seen)
{
	sqlite3_stmt *statement = session->statements[which];
	int rc;

	while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
		store_see(seen, sqlite3_column_blob(statement, 0),
			(size_t)sqlite3_column_bytes(statement, 0));
		if (which != KEYS)
			store_see(seen, sqlite3_column_blob(statement, 1),
				(size_t)sqlite3_column_bytes(statement, 1));
		seen->count++;
	}
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? 0 : failed(session->base.store, statements[which], session->db);
}

static int iterate(struct session *base, bool values, struct store_seen *seen)
{
	return walk((struct sqlite_session *)base, values ? VALUES : KEYS, seen);
}

static int scan(
	struct session *base, const struct entry_key *from, unsigned count, struct store_seen *seen)
{
	struct sqlite_session *session = (struct sqlite_session *)base;

	bind_key(session->statements[SCAN], from);
	sqlite3_bind_int(session->statements[SCAN], 2, (int)count);
	return walk(session, SCAN, seen);
}

static int prune(struct store *base, const char *path)
{
	return execute(base, ((struct sqlite_store *)base)->db, "VACUUM");
}

static int snapshot(struct store *base, const char *path)
{
	char text[4200];

	snprintf(text, sizeof(text), "VACUUM INTO '%s'", path);
	return execute(base, ((struct sqlite_store *)base)->db, text);
}

static const struct store_ops sqlite = {
	.name = "sqlite",
	.about = "SQLite, WAL, 1000 changes a transaction where not durable",
	.open = store_open,
	.close = store_close,
	.session_open = session_open,
	.session_close = session_close,
	.read_begin = read_begin,
	.read_end = read_end,
	.get = get,
	.contains = contains,
	.put = put,
	.delete = delete,
	.batch = batch,
	.flush = flush,
	.sync = sync_all,
	.iterate = iterate,
	.scan = scan,
	.prune = prune,
	.snapshot = snapshot,
};

const struct store_ops *const store_sqlite[] = {&sqlite, NULL};
