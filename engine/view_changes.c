/* SPDX-License-Identifier: MIT */
/*
 * view_changes.c - what has been overwritten or deleted since a view.
 *
 * Each such record is a version (version.h): the view keeps it. Versions get their numbers as they
 * end, and each block of them knows between which batches its versions ended, so the blocks of
 * other times are passed over.
 *
 * Threads: any. A block is gathered under the log's lock; its records are read without it, in the
 * same epoch, so that what stands there cannot be freed.
 */
#include <errno.h>

#include "epoch.h"
#include "lookup.h"
#include "read.h"
#include "version.h"
#include "version_table.h"
#include "view.h"

#define SKIP_BLOCKS 256u /* passed over without letting go of the lock */

/* Those versions of a block that the view sees, and `to` does not. */
struct gathered {
	uint64_t addresses[VERSION_BLOCK], begins[VERSION_BLOCK];
	unsigned count;
};

/*
 * The next block that has some, or nothing, if there are too many others before it. False: there
 * are no more. With the log's lock.
 */
static bool gather(const struct versions *versions, uint64_t from, uint64_t to, uint32_t *next,
		   struct gathered *out)
{
	unsigned skipped = 0;
	uint32_t stop;

	out->count = 0;
	while (*next < versions->used && !version_block_ends_in(versions, *next, from, to)) {
		*next = version_block_end(versions, *next);
		if (++skipped == SKIP_BLOCKS)
			return true;
	}
	if (*next >= versions->used)
		return false;
	for (stop = version_block_end(versions, *next); *next < stop; ++*next) {
		const struct version *version = version_at(versions, *next);

		if (!version_length(version) || version_begin(version) > from ||
		    version_end(version) <= from || version_end(version) > to)
			continue;
		out->addresses[out->count] = version_address(version);
		out->begins[out->count++] = version_begin(version);
	}
	return true;
}

/* The key of a version, if it is of this keyspace. -ENOENT: it is of another. -EIO */
static int read_key(struct kv *kv, uint64_t address, uint64_t begin, unsigned keyspace,
		    struct kv_slice *out)
{
	const struct format_record *head = segments_head(&kv->segments, address);

	/* Of what cannot be read the keyspace is not known either. */
	if (!head || head->seq != begin)
		return version_unreadable(kv, address);
	if (head->keyspace != keyspace)
		return -ENOENT;
	*out = (struct kv_slice){head->key, head->key_size};
	/* A head has the key as well, whatever has become of the record's own page. */
	return head != segments_record(&kv->segments, address)
		       ? 0
		       : read_make_readable(kv, head, address);
}

/* Inside the epoch in which they were gathered. */
static int tell(struct kv *kv, const struct gathered *gathered, unsigned keyspace, kv_key_fn *each,
		void *arg)
{
	struct kv_slice key;
	unsigned i;
	int result = 0;

	for (i = 0; i < gathered->count; i++)
		lookup_prefetch(&kv->segments, gathered->addresses[i]);
	for (i = 0; i < gathered->count && !result; i++) {
		result = read_key(kv, gathered->addresses[i], gathered->begins[i], keyspace, &key);
		if (!result)
			result = each(arg, key);
		else if (result == -ENOENT)
			result = 0;
	}
	return result;
}

int kv_view_changes(const struct kv_view *view, const struct kv_view *to, unsigned keyspace,
		    kv_key_fn *each, void *arg)
{
	struct kv *kv = view->kv;
	uint64_t end = to ? to->seq : UINT64_MAX;
	struct gathered gathered;
	uint32_t next = 1;
	bool more = true;
	int result = 0;

	if (keyspace >= kv->info.keyspace_count || (to && to->kv != kv))
		return -EINVAL;
	while (more && !result) {
		epoch_enter();
		pthread_mutex_lock(&kv->log.lock);
		more = gather(&kv->versions, view->seq, end, &next, &gathered);
		pthread_mutex_unlock(&kv->log.lock);
		result = tell(kv, &gathered, keyspace, each, arg);
		epoch_leave();
	}
	return result;
}
