/* SPDX-License-Identifier: MIT */
/*
 * store_rocksdb.c - RocksDB: as it comes, and tuned.
 *
 * Tuned follows its tuning guide and its FAQ for data that fits into memory: larger memtables,
 * background jobs on all processors, 10-bit Bloom filters, a block cache that holds everything,
 * hash index in data blocks, LZ4, pipelined writes, WAL files recycled. The log is written in both;
 * puts that are not durable are not synced. Reads are pinned, which saves a copy. "At rest" means
 * compacted.
 */
#include "store_list.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CACHE_SIZE ((size_t)4 << 30)
#define MEMTABLE_SIZE ((size_t)128 << 20)
#define RECYCLED_LOGS 4

struct rocksdb_store {
	struct store base;
	rocksdb_t *db;
	rocksdb_options_t *options;
	bool durable;
};

struct rocksdb_session {
	struct session base;
	rocksdb_t *db;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_writebatch_t *batch;
	rocksdb_pinnableslice_t *pinned; /* what get gave last */
};

struct rocksdb_choice {
	struct store_ops ops;
	bool tuned;
};

/* Frees RocksDB's text. */
static int failed(const struct store *store, const char *what, char *reason)
{
	if (!reason)
		return 0;
	store_fail(store->ops, what, reason);
	rocksdb_free(reason);
	return -EIO;
}

static void tune(rocksdb_options_t *options)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_cache_t *cache = rocksdb_cache_create_lru(CACHE_SIZE);

	rocksdb_options_increase_parallelism(options, (int)sysconf(_SC_NPROCESSORS_ONLN));
	rocksdb_options_optimize_level_style_compaction(options, (uint64_t)MEMTABLE_SIZE * 4);
	rocksdb_options_set_write_buffer_size(options, MEMTABLE_SIZE);
	rocksdb_options_set_compression(options, rocksdb_lz4_compression);
	rocksdb_options_set_enable_pipelined_write(options, 1);
	rocksdb_options_set_recycle_log_file_num(options, RECYCLED_LOGS);
	rocksdb_options_set_max_open_files(options, -1);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
	rocksdb_block_based_options_set_filter_policy(
		table, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_format_version(table, 5);
	rocksdb_block_based_options_set_data_block_index_type(
		table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_block_based_options_destroy(table);
	rocksdb_cache_destroy(cache);
}

static int store_open(
	const struct store_ops *ops, const struct store_setup *setup, struct store **out)
{
	struct rocksdb_store *store = calloc(1, sizeof(*store));
	char *reason = NULL;

	if (!store)
		return -ENOMEM;
	store->base.ops = ops;
	store->durable = setup->durable;
	store->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(store->options, 1);
	if (((const struct rocksdb_choice *)ops)->tuned)
		tune(store->options);
	store->db = rocksdb_open(store->options, setup->path, &reason);
	if (reason) {
		failed(&store->base, "open", reason);
		rocksdb_options_destroy(store->options);
		free(store);
		return -EIO;
	}
	*out = &store->base;
	return 0;
}

static int store_close(struct store *base)
{
	struct rocksdb_store *store = (struct rocksdb_store *)base;

	rocksdb_close(store->db);
	rocksdb_options_destroy(store->options);
	free(store);
	return 0;
}

static int session_open(struct store *base, struct session **out)
{
	struct rocksdb_session *session = calloc(1, sizeof(*session));

	if (!session)
		return -ENOMEM;
	session->base.store = base;
	session->db = ((struct rocksdb_store *)base)->db;
	session->read = rocksdb_readoptions_create();
	session->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(session->write, ((struct rocksdb_store *)base)->durable);
	session->batch = rocksdb_writebatch_create();
	*out = &session->base;
	return 0;
}

static void read_end(struct session *base)
{
	struct rocksdb_session *session = (struct rocksdb_session *)base;

	if (session->pinned)
		rocksdb_pinnableslice_destroy(session->pinned);
	session->pinned = NULL;
}

static void session_close(struct session *base)
{
	struct rocksdb_session *session = (struct rocksdb_session *)base;

	read_end(base);
	rocksdb_readoptions_destroy(session->read);
	rocksdb_writeoptions_destroy(session->write);
	rocksdb_writebatch_destroy(session->batch);
	free(session);
}

static int get(struct session *base, const struct entry_key *key, struct slice *value)
{
	struct rocksdb_session *session = (struct rocksdb_session *)base;
	char *reason = NULL;

	read_end(base);
	session->pinned =
		rocksdb_get_pinned(session->db, session->read, key->text, ENTRY_KEY_SIZE, &reason);
	if (reason)
		return failed(base->store, "get", reason);
	if (!session->pinned)
		return -ENOENT;
	value->data = rocksdb_pinnableslice_value(session->pinned, &value->size);
	return 0;
}

static int contains(struct session *base, const struct entry_key *key)
{
	struct slice value;

	return get(base, key, &value);
}

static int put(struct session *base, const struct entry_key *key, struct slice value)
{
	struct rocksdb_session *session = (struct rocksdb_session *)base;
	char *reason = NULL;

	rocksdb_put(session->db, session->write, key->text, ENTRY_KEY_SIZE, value.data, value.size,
		&reason);
	return failed(base->store, "put", reason);
}

static int delete (struct session *base, const struct entry_key *key)
{
	struct rocksdb_session *session = (struct rocksdb_session *)base;
	char *reason = NULL;

	rocksdb_delete(session->db, session->write, key->text, ENTRY_KEY_SIZE, &reason);
	return failed(base->store, "delete", reason);
}

static int batch(struct session *base, const struct store_change *changes, unsigned count)
{
	struct rocksdb_session *session = (struct rocksdb_session *)base;
	char *reason = NULL;

	rocksdb_writebatch_clear(session->batch);
	for (unsigned i = 0; i < count; i++)
		rocksdb_writebatch_put(session->batch, changes[i].key.text, ENTRY_KEY_SIZE,
			changes[i].value.data, changes[i].value.size);
	rocksdb_write(session->db, session->write, session->batch, &reason);
	return failed(base->store, "write", reason);
}

static int flush(struct session *base)
{
	return 0;
}

static int sync_all(struct session *base)
{
	char *reason = NULL;

	rocksdb_flush_wal(((struct rocksdb_session *)base)->db, 1, &reason);
	return failed(base->store, "sync", reason);
}

static int walk(struct rocksdb_session *session, const struct entry_key *from, uint64_t count,
	bool values, struct store_seen *seen)
{
	rocksdb_iterator_t *iterator = rocksdb_create_iterator(session->db, session->read);
	char *reason = NULL;
	const char *data;
	size_t size;

	if (from)
		rocksdb_iter_seek(iterator, from->text, ENTRY_KEY_SIZE);
	else
		rocksdb_iter_seek_to_first(iterator);
	for (; count-- && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
		data = rocksdb_iter_key(iterator, &size);
		store_see(seen, data, size);
		if (values) {
			data = rocksdb_iter_value(iterator, &size);
			store_see(seen, data, size);
		}
		seen->count++;
	}
	rocksdb_iter_get_error(iterator, &reason);
	rocksdb_iter_destroy(iterator);
	return failed(session->base.store, "walk", reason);
}

static int iterate(struct session *base, bool values, struct store_seen *seen)
{
	return walk((struct rocksdb_session *)base, NULL, UINT64_MAX, values, seen);
}

static int scan(
	struct session *base, const struct entry_key *from, unsigned count, struct store_seen *seen)
{
	return walk((struct rocksdb_session *)base, from, count, true, seen);
}

static int compact(struct store *base)
{
	struct rocksdb_store *store = (struct rocksdb_store *)base;
	rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
	char *reason = NULL;

	rocksdb_flush(store->db, options, &reason);
	rocksdb_flushoptions_destroy(options);
	if (!reason)
		rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
	return failed(base, "flush", reason);
}

static int prune(struct store *base, const char *path)
{
	return compact(base);
}

/* Hard links, and a copy of the log or, as here by the default, a flush. */
static int snapshot(struct store *base, const char *path)
{
	rocksdb_checkpoint_t *checkpoint;
	char *reason = NULL;

	checkpoint = rocksdb_checkpoint_object_create(((struct rocksdb_store *)base)->db, &reason);
	if (reason)
		return failed(base, "checkpoint", reason);
	rocksdb_checkpoint_create(checkpoint, path, 0, &reason);
	rocksdb_checkpoint_object_destroy(checkpoint);
	return failed(base, "checkpoint", reason);
}

#define ROCKSDB_OPS                                                                                \
	.open = store_open, .close = store_close, .session_open = session_open,                    \
	.session_close = session_close, .read_end = read_end, .get = get, .contains = contains,    \
	.put = put, .delete = delete, .batch = batch, .flush = flush, .sync = sync_all,            \
	.iterate = iterate, .scan = scan, .settle = compact, .prune = prune, .snapshot = snapshot

static const struct rocksdb_choice plain = {
	.ops = {.name = "rocksdb", .about = "RocksDB with its defaults", ROCKSDB_OPS},
};
static const struct rocksdb_choice tuned = {
	.ops = {.name = "rocksdb-tuned", .about = "RocksDB tuned for data in memory", ROCKSDB_OPS},
	.tuned = true,
};

const struct store_ops *const store_rocksdb[] = {&plain.ops, &tuned.ops, NULL};
