/* SPDX-License-Identifier: MIT */
/*
 * store_kv.c - our engine: a hashed keyspace, an ordered one, and the other choices of kv_create.
 *
 * Every put is a commit of its own (kv_put), as a program without transactions would do it. A
 * session is one batch's memory and a cursor.
 */
#include "store_list.h"

#include <errno.h>
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct kv_store {
	struct store base;
	struct kv *kv;
	bool durable;
};

struct kv_session {
	struct session base;
	struct kv *kv;
	struct kv_batch *batch;
	struct kv_cursor *cursor; /* NULL: a hashed keyspace */
	bool durable;
};

struct kv_choice {
	struct store_ops ops;
	bool ordered;
	enum kv_hash hash;
	enum kv_compress compress;
};

static void report(void *arg, enum kv_severity severity, const char *message)
{
	if (severity != KV_INFO)
		fprintf(stderr, "kv: %s\n", message);
}

static int store_make(const struct kv_choice *choice, const char *path)
{
	struct kv_keyspace_spec keyspace = {.name = "bench", .ordered = choice->ordered};
	struct kv_create_options options = {
		.keyspaces = &keyspace,
		.keyspace_count = 1,
		.hash = choice->hash,
		.compress = choice->compress,
	};

	return kv_create(NULL, path, &options, report, NULL);
}

static int store_open(
	const struct store_ops *ops, const struct store_setup *setup, struct store **out)
{
	const struct kv_choice *choice = (const struct kv_choice *)ops;
	struct kv_open_options options = {.report = report};
	struct kv_store *store = calloc(1, sizeof(*store));
	char path[4096];
	struct stat attr;
	int err;

	if (!store)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/store.kv", setup->path);
	err = stat(path, &attr) ? store_make(choice, path) : 0;
	if (!err)
		err = kv_open(NULL, path, &options, &store->kv);
	if (err) {
		free(store);
		return err;
	}
	store->base.ops = ops;
	store->durable = setup->durable;
	*out = &store->base;
	return 0;
}

static int store_close(struct store *base)
{
	struct kv_store *store = (struct kv_store *)base;
	int err = kv_close(store->kv);

	free(store);
	return err;
}

static void session_close(struct session *base)
{
	struct kv_session *session = (struct kv_session *)base;

	kv_cursor_close(session->cursor);
	kv_batch_free(session->batch);
	free(session);
}

static int session_open(struct store *base, struct session **out)
{
	struct kv_store *store = (struct kv_store *)base;
	struct kv_session *session = calloc(1, sizeof(*session));
	int err;

	if (!session)
		return -ENOMEM;
	session->base.store = base;
	session->kv = store->kv;
	session->durable = store->durable;
	err = kv_batch_new(store->kv, &session->batch);
	if (!err && ((const struct kv_choice *)base->ops)->ordered)
		err = kv_cursor_open(store->kv, 0, &session->cursor);
	if (err) {
		session_close(&session->base);
		return err;
	}
	*out = &session->base;
	return 0;
}

static int read_begin(struct session *base)
{
	kv_read_begin(((struct kv_session *)base)->kv);
	return 0;
}

static void read_end(struct session *base)
{
	kv_read_end(((struct kv_session *)base)->kv);
}

static int get(struct session *base, const struct entry_key *key, struct slice *value)
{
	struct kv_session *session = (struct kv_session *)base;
	struct kv_slice found;
	int err = kv_get(session->kv, 0, key->text, ENTRY_KEY_SIZE, &found);

	if (!err)
		*value = (struct slice){found.data, found.size};
	return err;
}

static int get_many(
	struct session *base, const struct entry_key *keys, struct slice *values, unsigned count)
{
	struct kv_entry found[STORE_MANY];
	int err = 0;

	for (unsigned i = 0; i < count; i++)
		found[i].key = (struct kv_slice){keys[i].text, ENTRY_KEY_SIZE};
	kv_multi_get(((struct kv_session *)base)->kv, 0, found, count);
	for (unsigned i = 0; i < count; i++) {
		values[i] = (struct slice){found[i].value.data, found[i].value.size};
		err = err ? err : found[i].status;
	}
	return err;
}

static int contains(struct session *base, const struct entry_key *key)
{
	return kv_contains(((struct kv_session *)base)->kv, 0, key->text, ENTRY_KEY_SIZE);
}

static int put(struct session *base, const struct entry_key *key, struct slice value)
{
	struct kv_session *session = (struct kv_session *)base;
	uint64_t seq;
	int err = kv_put(session->kv, 0, key->text, ENTRY_KEY_SIZE, value.data, value.size, &seq);

	return err || !session->durable ? err : kv_sync(session->kv, seq);
}

static int delete (struct session *base, const struct entry_key *key)
{
	return kv_delete(((struct kv_session *)base)->kv, 0, key->text, ENTRY_KEY_SIZE, NULL);
}

static int batch(struct session *base, const struct store_change *changes, unsigned count)
{
	struct kv_session *session = (struct kv_session *)base;
	uint64_t seq;
	int err = 0;

	for (unsigned i = 0; !err && i < count; i++)
		err = kv_batch_put(session->batch, 0, changes[i].key.text, ENTRY_KEY_SIZE,
			changes[i].value.data, changes[i].value.size);
	if (!err)
		err = kv_commit(session->kv, session->batch, &seq);
	if (!err && session->durable)
		err = kv_sync(session->kv, seq);
	return err;
}

static int flush(struct session *base)
{
	return 0;
}

static int sync_all(struct session *base)
{
	struct kv *kv = ((struct kv_session *)base)->kv;

	return kv_sync(kv, kv_last_seq(kv));
}

/* Entries that a cursor gives out at once; a read section is that long. */
#define READ 100u

/* In key order. */
static int walk(struct kv_session *session, uint64_t count, struct store_seen *seen)
{
	struct kv_entry entries[READ];
	size_t got = 0;
	int err = 0;

	while (!err && count) {
		kv_read_begin(session->kv);
		err = kv_cursor_read(session->cursor, entries, count < READ ? count : READ, &got);
		for (size_t i = 0; !err && i < got; i++) {
			err = entries[i].status;
			store_see(seen, entries[i].key.data, entries[i].key.size);
			store_see(seen, entries[i].value.data, entries[i].value.size);
		}
		kv_read_end(session->kv);
		if (!err) {
			seen->count += got;
			count -= got;
		}
	}
	return err == -ENOENT ? 0 : err;
}

static int iterate_ordered(struct session *base, bool values, struct store_seen *seen)
{
	struct kv_session *session = (struct kv_session *)base;
	int err = kv_cursor_first(session->cursor);

	if (values && !err)
		return walk(session, UINT64_MAX, seen);
	for (; !err; err = kv_cursor_next(session->cursor)) {
		struct kv_slice key = kv_cursor_key(session->cursor);

		store_see(seen, key.data, key.size);
		seen->count++;
	}
	return err == -ENOENT ? 0 : err;
}

/* In no order. */
static int iterate_hashed(struct session *base, bool values, struct store_seen *seen)
{
	struct kv_session *session = (struct kv_session *)base;
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	size_t got = 0;
	int err = kv_iterator_open(session->kv, 0, values ? 0 : KV_ITERATE_KEYS, &iterator);

	if (err)
		return err;
	while (!err) {
		kv_read_begin(session->kv);
		err = kv_iterator_read(iterator, &entries, &got);
		for (size_t i = 0; !err && i < got; i++) {
			err = entries[i].status;
			store_see(seen, entries[i].key.data, entries[i].key.size);
			if (values)
				store_see(seen, entries[i].value.data, entries[i].value.size);
			seen->count++;
		}
		kv_read_end(session->kv);
	}
	kv_iterator_close(iterator);
	return err == -ENOENT ? 0 : err;
}

static int scan(
	struct session *base, const struct entry_key *from, unsigned count, struct store_seen *seen)
{
	struct kv_session *session = (struct kv_session *)base;
	int err = kv_cursor_seek(session->cursor, from->text, ENTRY_KEY_SIZE);

	return err ? (err == -ENOENT ? 0 : err) : walk(session, count, seen);
}

static int prune(struct store *base, const char *path)
{
	struct kv_prune_report report;

	return kv_prune(((struct kv_store *)base)->kv, NULL, NULL, NULL, &report);
}

static int snapshot(struct store *base, const char *path)
{
	return kv_snapshot_create(((struct kv_store *)base)->kv, "bench", NULL);
}

static int snapshot_drop(struct store *base)
{
	return kv_snapshot_delete(((struct kv_store *)base)->kv, "bench", NULL);
}

static uint64_t index_bytes(struct store *base)
{
	struct kv_stats stats;

	kv_stats(((struct kv_store *)base)->kv, &stats);
	return stats.memory_index_bytes + stats.memory_order_bytes;
}

#define KV_OPS                                                                                     \
	.open = store_open, .close = store_close, .session_open = session_open,                    \
	.session_close = session_close, .read_begin = read_begin, .read_end = read_end,            \
	.get = get, .get_many = get_many, .contains = contains, .put = put, .delete = delete,      \
	.batch = batch, .flush = flush, .sync = sync_all, .prune = prune, .snapshot = snapshot,    \
	.snapshot_drop = snapshot_drop, .index_bytes = index_bytes

static const struct kv_choice hashed = {
	.ops = {.name = "kv",
		.about = "our engine, hashed keyspace, commit per put",
		KV_OPS,
		.iterate = iterate_hashed},
};
static const struct kv_choice ordered = {
	.ops = {.name = "kv-ordered",
		.about = "our engine, ordered keyspace, commit per put",
		KV_OPS,
		.iterate = iterate_ordered,
		.scan = scan},
	.ordered = true,
};
static const struct kv_choice blake2b = {
	.ops = {.name = "kv-blake2b",
		.about = "our engine, hashed by keyed BLAKE2b",
		KV_OPS,
		.iterate = iterate_hashed},
	.hash = KV_HASH_BLAKE2B,
};
static const struct kv_choice zstd = {
	.ops = {.name = "kv-zstd",
		.about = "our engine, compressing as it writes (zstd 1)",
		KV_OPS,
		.iterate = iterate_hashed},
	.compress = KV_COMPRESS_INLINE,
};

const struct store_ops *const store_kv[] = {
	&hashed.ops, &ordered.ops, &blake2b.ops, &zstd.ops, NULL};
