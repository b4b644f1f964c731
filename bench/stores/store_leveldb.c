/* SPDX-License-Identifier: MIT */
/*
 * store_leveldb.c - LevelDB, with the memtable, cache and Bloom filter that its documentation
 * advises for data in memory; Snappy as it comes. "At rest" means compacted.
 */
#include "store_list.h"

#include <errno.h>
#include <leveldb/c.h>
#include <stdlib.h>

#define CACHE_SIZE ((size_t)4 << 30)
#define MEMTABLE_SIZE ((size_t)64 << 20)
#define FILTER_BITS 10

struct leveldb_store {
	struct store base;
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_cache_t *cache;
	leveldb_filterpolicy_t *filter;
	bool durable;
};

struct leveldb_session {
	struct session base;
	leveldb_t *db;
	leveldb_readoptions_t *read;
	leveldb_writeoptions_t *write;
	leveldb_writebatch_t *batch;
	char *value; /* what get gave last */
};

/* Frees LevelDB's text. */
static int failed(const struct store *store, const char *what, char *reason)
{
	if (!reason)
		return 0;
	store_fail(store->ops, what, reason);
	leveldb_free(reason);
	return -EIO;
}

static void store_free(struct leveldb_store *store)
{
	leveldb_options_destroy(store->options);
	leveldb_cache_destroy(store->cache);
	leveldb_filterpolicy_destroy(store->filter);
	free(store);
}

static int store_open(
	const struct store_ops *ops, const struct store_setup *setup, struct store **out)
{
	struct leveldb_store *store = calloc(1, sizeof(*store));
	char *reason = NULL;

	if (!store)
		return -ENOMEM;
	store->base.ops = ops;
	store->durable = setup->durable;
	store->options = leveldb_options_create();
	store->cache = leveldb_cache_create_lru(CACHE_SIZE);
	store->filter = leveldb_filterpolicy_create_bloom(FILTER_BITS);
	leveldb_options_set_create_if_missing(store->options, 1);
	leveldb_options_set_cache(store->options, store->cache);
	leveldb_options_set_filter_policy(store->options, store->filter);
	leveldb_options_set_write_buffer_size(store->options, MEMTABLE_SIZE);
	store->db = leveldb_open(store->options, setup->path, &reason);
	if (reason) {
		failed(&store->base, "open", reason);
		store_free(store);
		return -EIO;
	}
	*out = &store->base;
	return 0;
}

static int store_close(struct store *base)
{
	struct leveldb_store *store = (struct leveldb_store *)base;

	leveldb_close(store->db);
	store_free(store);
	return 0;
}

static int session_open(struct store *base, struct session **out)
{
	struct leveldb_session *session = calloc(1, sizeof(*session));

	if (!session)
		return -ENOMEM;
	session->base.store = base;
	session->db = ((struct leveldb_store *)base)->db;
	session->read = leveldb_readoptions_create();
	session->write = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(session->write, ((struct leveldb_store *)base)->durable);
	session->batch = leveldb_writebatch_create();
	*out = &session->base;
	return 0;
}

static void read_end(struct session *base)
{
	struct leveldb_session *session = (struct leveldb_session *)base;

	leveldb_free(session->value);
	session->value = NULL;
}

static void session_close(struct session *base)
{
	struct leveldb_session *session = (struct leveldb_session *)base;

	read_end(base);
	leveldb_readoptions_destroy(session->read);
	leveldb_writeoptions_destroy(session->write);
	leveldb_writebatch_destroy(session->batch);
	free(session);
}

static int get(struct session *base, const struct entry_key *key, struct slice *value)
{
	struct leveldb_session *session = (struct leveldb_session *)base;
	char *reason = NULL;

	read_end(base);
	session->value = leveldb_get(
		session->db, session->read, key->text, ENTRY_KEY_SIZE, &value->size, &reason);
	if (reason)
		return failed(base->store, "get", reason);
	value->data = session->value;
	return session->value ? 0 : -ENOENT;
}

static int contains(struct session *base, const struct entry_key *key)
{
	struct slice value;

	return get(base, key, &value);
}

static int put(struct session *base, const struct entry_key *key, struct slice value)
{
	struct leveldb_session *session = (struct leveldb_session *)base;
	char *reason = NULL;

	leveldb_put(session->db, session->write, key->text, ENTRY_KEY_SIZE, value.data, value.size,
		&reason);
	return failed(base->store, "put", reason);
}

static int delete (struct session *base, const struct entry_key *key)
{
	struct leveldb_session *session = (struct leveldb_session *)base;
	char *reason = NULL;

	leveldb_delete(session->db, session->write, key->text, ENTRY_KEY_SIZE, &reason);
	return failed(base->store, "delete", reason);
}

static int batch(struct session *base, const struct store_change *changes, unsigned count)
{
	struct leveldb_session *session = (struct leveldb_session *)base;
	char *reason = NULL;

	leveldb_writebatch_clear(session->batch);
	for (unsigned i = 0; i < count; i++)
		leveldb_writebatch_put(session->batch, changes[i].key.text, ENTRY_KEY_SIZE,
			changes[i].value.data, changes[i].value.size);
	leveldb_write(session->db, session->write, session->batch, &reason);
	return failed(base->store, "write", reason);
}

static int flush(struct session *base)
{
	return 0;
}

/* There is no call for it: an empty write that is synced takes the log so far with it. */
static int sync_all(struct session *base)
{
	struct leveldb_session *session = (struct leveldb_session *)base;
	leveldb_writeoptions_t *options = leveldb_writeoptions_create();
	char *reason = NULL;

	leveldb_writeoptions_set_sync(options, 1);
	leveldb_writebatch_clear(session->batch);
	leveldb_write(session->db, options, session->batch, &reason);
	leveldb_writeoptions_destroy(options);
	return failed(base->store, "sync", reason);
}

static int walk(struct leveldb_session *session, const struct entry_key *from, uint64_t count,
	bool values, struct store_seen *seen)
{
	leveldb_iterator_t *iterator = leveldb_create_iterator(session->db, session->read);
	char *reason = NULL;
	const char *data;
	size_t size;

	if (from)
		leveldb_iter_seek(iterator, from->text, ENTRY_KEY_SIZE);
	else
		leveldb_iter_seek_to_first(iterator);
	for (; count-- && leveldb_iter_valid(iterator); leveldb_iter_next(iterator)) {
		data = leveldb_iter_key(iterator, &size);
		store_see(seen, data, size);
		if (values) {
			data = leveldb_iter_value(iterator, &size);
			store_see(seen, data, size);
		}
		seen->count++;
	}
	leveldb_iter_get_error(iterator, &reason);
	leveldb_iter_destroy(iterator);
	return failed(session->base.store, "walk", reason);
}

static int iterate(struct session *base, bool values, struct store_seen *seen)
{
	return walk((struct leveldb_session *)base, NULL, UINT64_MAX, values, seen);
}

static int scan(
	struct session *base, const struct entry_key *from, unsigned count, struct store_seen *seen)
{
	return walk((struct leveldb_session *)base, from, count, true, seen);
}

static int compact(struct store *base)
{
	leveldb_compact_range(((struct leveldb_store *)base)->db, NULL, 0, NULL, 0);
	return 0;
}

static int prune(struct store *base, const char *path)
{
	return compact(base);
}

static const struct store_ops leveldb = {
	.name = "leveldb",
	.about = "LevelDB, 64 MiB memtable, large cache, Bloom filter",
	.open = store_open,
	.close = store_close,
	.session_open = session_open,
	.session_close = session_close,
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
	.settle = compact,
	.prune = prune,
};

const struct store_ops *const store_leveldb[] = {&leveldb, NULL};
