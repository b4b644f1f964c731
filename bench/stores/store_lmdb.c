/* SPDX-License-Identifier: MIT */
/*
 * store_lmdb.c - LMDB: plain, and with a writable map.
 *
 * As its manual says: not durable puts go STORE_GROUP to a transaction, without sync (MDB_NOSYNC);
 * keys that come in order are appended by the library's own means, without MDB_APPEND, which would
 * need a promise. Reads of a session share one transaction, renewed for each section; inside of a
 * writer's transaction reads go through that. A durable put is a transaction of its own with the
 * default, synchronous, commit.
 */
#include "store_list.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#define READERS_MAX 126u
/* bytes of map beyond thrice the value; the map is only address space */
#define SPACE_PER_ENTRY 400u
#define SPACE_MIN ((size_t)8 << 30)

struct lmdb_store {
	struct store base;
	MDB_env *env;
	MDB_dbi dbi;
	bool durable;
};

struct lmdb_session {
	struct session base;
	struct lmdb_store *store;
	MDB_txn *write;    /* NULL: none open */
	unsigned gathered; /* changes in `write` */
	MDB_txn *read;
	bool reading; /* `read` is renewed */
};

struct lmdb_choice {
	struct store_ops ops;
	unsigned flags;
};

static int failed(const struct store *store, const char *what, int rc)
{
	return store_fail(store->ops, what, mdb_strerror(rc));
}

static int store_open(
	const struct store_ops *ops, const struct store_setup *setup, struct store **out)
{
	unsigned flags = ((const struct lmdb_choice *)ops)->flags | MDB_NOTLS | MDB_NORDAHEAD;
	struct lmdb_store *store = calloc(1, sizeof(*store));
	size_t space = setup->entries * (4 * setup->value_size + SPACE_PER_ENTRY);
	MDB_txn *txn = NULL;
	int rc;

	if (!store)
		return -ENOMEM;
	store->base.ops = ops;
	store->durable = setup->durable;
	if (!setup->durable)
		flags |= MDB_NOSYNC;
	rc = mdb_env_create(&store->env);
	if (!rc)
		rc = mdb_env_set_mapsize(store->env, space > SPACE_MIN ? space : SPACE_MIN);
	if (!rc)
		rc = mdb_env_set_maxreaders(store->env, READERS_MAX);
	if (!rc)
		rc = mdb_env_open(store->env, setup->path, flags, 0644);
	if (!rc)
		rc = mdb_txn_begin(store->env, NULL, 0, &txn);
	if (!rc)
		rc = mdb_dbi_open(txn, NULL, 0, &store->dbi);
	if (!rc)
		rc = mdb_txn_commit(txn);
	if (rc) {
		failed(&store->base, "open", rc);
		mdb_env_close(store->env);
		free(store);
		return -EIO;
	}
	*out = &store->base;
	return 0;
}

static int store_close(struct store *base)
{
	struct lmdb_store *store = (struct lmdb_store *)base;
	int rc = mdb_env_sync(store->env, 1);

	mdb_env_close(store->env);
	free(store);
	return rc ? -EIO : 0;
}

static int session_open(struct store *base, struct session **out)
{
	struct lmdb_session *session = calloc(1, sizeof(*session));
	int rc;

	if (!session)
		return -ENOMEM;
	session->base.store = base;
	session->store = (struct lmdb_store *)base;
	rc = mdb_txn_begin(session->store->env, NULL, MDB_RDONLY, &session->read);
	if (rc) {
		free(session);
		return failed(base, "begin", rc);
	}
	mdb_txn_reset(session->read);
	*out = &session->base;
	return 0;
}

static int flush(struct session *base)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	int rc = session->write ? mdb_txn_commit(session->write) : 0;

	session->write = NULL;
	session->gathered = 0;
	return rc ? failed(base->store, "commit", rc) : 0;
}

static void session_close(struct session *base)
{
	struct lmdb_session *session = (struct lmdb_session *)base;

	if (session->write)
		mdb_txn_abort(session->write);
	mdb_txn_abort(session->read);
	free(session);
}

static int read_begin(struct session *base)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	int rc;

	if (session->write)
		return 0;
	rc = mdb_txn_renew(session->read);
	session->reading = !rc;
	return rc ? failed(base->store, "renew", rc) : 0;
}

static void read_end(struct session *base)
{
	struct lmdb_session *session = (struct lmdb_session *)base;

	if (session->reading)
		mdb_txn_reset(session->read);
	session->reading = false;
}

static int get(struct session *base, const struct entry_key *key, struct slice *value)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	MDB_val name = {ENTRY_KEY_SIZE, (void *)key->text}, found;
	int rc = mdb_get(session->write ? session->write : session->read, session->store->dbi,
		&name, &found);

	if (!rc)
		*value = (struct slice){found.mv_data, found.mv_size};
	else if (rc != MDB_NOTFOUND)
		return failed(base->store, "get", rc);
	return rc ? -ENOENT : 0;
}

static int contains(struct session *base, const struct entry_key *key)
{
	struct slice value;

	return get(base, key, &value);
}

static int write_begin(struct lmdb_session *session)
{
	int rc;

	if (session->write)
		return 0;
	rc = mdb_txn_begin(session->store->env, NULL, 0, &session->write);
	return rc ? failed(session->base.store, "begin", rc) : 0;
}

static int change_done(struct lmdb_session *session)
{
	return session->store->durable || ++session->gathered == STORE_GROUP ? flush(&session->base)
									     : 0;
}

static int put_one(struct lmdb_session *session, const struct entry_key *key, struct slice value)
{
	MDB_val name = {ENTRY_KEY_SIZE, (void *)key->text}, data = {value.size, (void *)value.data};
	int rc = mdb_put(session->write, session->store->dbi, &name, &data, 0);

	return rc ? failed(session->base.store, "put", rc) : 0;
}

static int put(struct session *base, const struct entry_key *key, struct slice value)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	int err = write_begin(session);

	if (!err)
		err = put_one(session, key, value);
	return err ? err : change_done(session);
}

static int delete (struct session *base, const struct entry_key *key)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	MDB_val name = {ENTRY_KEY_SIZE, (void *)key->text};
	int rc, err = write_begin(session);

	if (err)
		return err;
	rc = mdb_del(session->write, session->store->dbi, &name, NULL);
	if (rc && rc != MDB_NOTFOUND)
		return failed(base->store, "delete", rc);
	return change_done(session);
}

static int batch(struct session *base, const struct store_change *changes, unsigned count)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	int err = write_begin(session);

	for (unsigned i = 0; !err && i < count; i++)
		err = put_one(session, &changes[i].key, changes[i].value);
	return err ? err : flush(base);
}

static int sync_all(struct session *base)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	int rc, err = flush(base);

	if (err)
		return err;
	rc = mdb_env_sync(session->store->env, 1);
	return rc ? failed(base->store, "sync", rc) : 0;
}

static int walk(
	struct session *base, MDB_val *from, uint64_t count, bool values, struct store_seen *seen)
{
	struct lmdb_session *session = (struct lmdb_session *)base;
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc, err = read_begin(base);

	if (err)
		return err;
	rc = mdb_cursor_open(session->read, session->store->dbi, &cursor);
	if (rc)
		goto out;
	if (from)
		key = *from;
	/* values are not asked for where only keys are wanted */
	rc = mdb_cursor_get(cursor, &key, values ? &value : NULL, from ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc && count--) {
		store_see(seen, key.mv_data, key.mv_size);
		if (values)
			store_see(seen, value.mv_data, value.mv_size);
		seen->count++;
		rc = mdb_cursor_get(cursor, &key, values ? &value : NULL, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
out:
	read_end(base);
	return rc && rc != MDB_NOTFOUND ? failed(base->store, "walk", rc) : 0;
}

static int iterate(struct session *base, bool values, struct store_seen *seen)
{
	return walk(base, NULL, UINT64_MAX, values, seen);
}

static int scan(
	struct session *base, const struct entry_key *from, unsigned count, struct store_seen *seen)
{
	MDB_val key = {ENTRY_KEY_SIZE, (void *)from->text};

	return walk(base, &key, count, true, seen);
}

static int copy(struct store *base, const char *path, unsigned flags)
{
	struct lmdb_store *store = (struct lmdb_store *)base;
	int rc;

	if (mkdir(path, 0755))
		return -errno;
	rc = mdb_env_copy2(store->env, path, flags);
	return rc ? failed(base, "copy", rc) : 0;
}

static int snapshot(struct store *base, const char *path)
{
	return copy(base, path, 0);
}

/* The manual knows no other way. */
static int prune(struct store *base, const char *path)
{
	return copy(base, path, MDB_CP_COMPACT);
}

#define LMDB_OPS                                                                                   \
	.open = store_open, .close = store_close, .session_open = session_open,                    \
	.session_close = session_close, .read_begin = read_begin, .read_end = read_end,            \
	.get = get, .contains = contains, .put = put, .delete = delete, .batch = batch,            \
	.flush = flush, .sync = sync_all, .iterate = iterate, .scan = scan, .snapshot = snapshot,  \
	.prune = prune

static const struct lmdb_choice plain = {
	.ops = {.name = "lmdb",
		.about = "LMDB, 1000 changes a transaction where not durable",
		LMDB_OPS},
};
static const struct lmdb_choice write_map = {
	.ops = {.name = "lmdb-map", .about = "LMDB with MDB_WRITEMAP, likewise", LMDB_OPS},
	.flags = MDB_WRITEMAP,
};

const struct store_ops *const store_lmdb[] = {&plain.ops, &write_map.ops, NULL};
