/* SPDX-License-Identifier: MIT */
/*
 * record.h - reading records, of the store as it is or as a snapshot has it: whichever the file
 * system shows.
 *
 * As kv_get, kv_contains, kv_value_size and kv_multi_get, with their lifetimes and errors, but for
 * -EFBIG: see record_error.
 */
#ifndef RECORD_H
#define RECORD_H

#include <errno.h>

#include "fs.h"
#include "keyspaces.h"

/*
 * What reading a record's value in the engine has returned. The file system never writes one that
 * is too large to be read whole: it is damage like any other.
 */
KV_MUST_CHECK static inline int record_error(int err)
{
	return __builtin_expect(err == -EFBIG, 0) ? -EIO : err;
}

KV_MUST_CHECK static inline int record_get(struct kvfs *fs, enum keyspace keyspace, const void *key,
	size_t key_size, struct kv_slice *value)
{
	if (__builtin_expect(fs->view != NULL, 0))
		return record_error(kv_view_get(fs->view, keyspace, key, key_size, value));
	return record_error(kv_get(fs->kv, keyspace, key, key_size, value));
}

/* As kv_get_part. */
KV_MUST_CHECK static inline int record_get_part(struct kvfs *fs, enum keyspace keyspace,
	const void *key, size_t key_size, size_t offset, size_t size, struct kv_slice *value)
{
	if (__builtin_expect(fs->view != NULL, 0))
		return record_error(kv_view_get(fs->view, keyspace, key, key_size, value));
	return record_error(kv_get_part(fs->kv, keyspace, key, key_size, offset, size, value));
}

KV_MUST_CHECK static inline int record_exists(
	struct kvfs *fs, enum keyspace keyspace, const void *key, size_t key_size)
{
	if (__builtin_expect(fs->view != NULL, 0))
		return kv_view_contains(fs->view, keyspace, key, key_size);
	return kv_contains(fs->kv, keyspace, key, key_size);
}

KV_MUST_CHECK static inline int record_size(struct kvfs *fs, enum keyspace keyspace,
	const void *key, size_t key_size, uint64_t *size)
{
	if (__builtin_expect(fs->view != NULL, 0))
		return kv_view_value_size(fs->view, keyspace, key, key_size, size);
	return kv_value_size(fs->kv, keyspace, key, key_size, size);
}

/* By which batch the store, not a view, got the record; 0: there is none. */
KV_MUST_CHECK static inline int record_seq(
	struct kvfs *fs, enum keyspace keyspace, const void *key, size_t key_size, uint64_t *seq)
{
	struct kv_slice value;
	int err;

	*seq = 0;
	kv_read_begin(fs->kv);
	err = record_error(kv_get_seq(fs->kv, keyspace, key, key_size, &value, seq));
	kv_read_end(fs->kv);
	return err == -ENOENT ? 0 : err;
}

/*
 * Reads each entry's value and hands it to each(arg, i) before the next is read: many at once from
 * the store, one by one from a view. Inside a read section.
 */
static inline void record_get_many(struct kvfs *fs, enum keyspace keyspace,
	struct kv_entry *entries, unsigned count, void (*each)(void *arg, unsigned i), void *arg)
{
	if (__builtin_expect(fs->view != NULL, 0)) {
		for (unsigned i = 0; i < count; i++) {
			entries[i].status = record_get(fs, keyspace, entries[i].key.data,
				entries[i].key.size, &entries[i].value);
			each(arg, i);
		}
		return;
	}
	kv_multi_get(fs->kv, keyspace, entries, count);
	for (unsigned i = 0; i < count; i++) {
		entries[i].status = record_error(entries[i].status);
		each(arg, i);
	}
}

#endif
