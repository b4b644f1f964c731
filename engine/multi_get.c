/* SPDX-License-Identifier: MIT */
/*
 * multi_get.c - many point reads at once. A look-up waits for memory twice, for the index and for
 * the record, and does next to nothing else; so keys go through its stages in groups, each stage
 * asking for what the next one will touch, and the waits of a group overlap.
 */
#include <errno.h>

#include "fetch.h"
#include "lookup.h"
#include "read.h"
#include "value.h"
#include "version.h"
#include "view.h"

/*
 * More than a processor has misses in flight; few enough that what was fetched first is still in
 * the nearest cache.
 */
#define GROUP VERSION_FETCH_MAX

static inline bool any_match(void *arg, uint64_t address)
{
	(void)arg;
	(void)address;
	return true;
}

/* Fetches the record that, going by the tag alone, is the key's; where it is, or 0. */
static uint64_t fetch_record(struct kv *kv, uint64_t hash)
{
	uint32_t fingerprint = index_fingerprint(hash);
	uint64_t address = index_scan(index_table_of(&kv->index, fingerprint), fingerprint,
				      any_match, NULL, NULL);

	if (address)
		read_prefetch(&kv->segments, address);
	return address;
}

/* Finds the entry as the view sees it, if there is one. */
static int find_entry(struct kv *kv, const struct kv_view *view, unsigned keyspace, uint64_t hash,
		      const struct kv_entry *entry, const struct format_record **record,
		      uint64_t *address)
{
	if (view)
		return view_find(view, keyspace, entry->key.data, entry->key.size, hash, record,
				 address);
	return read_find(kv, keyspace, entry->key.data, entry->key.size, hash, record, address);
}

static void get_entry(struct kv *kv, const struct kv_view *view, unsigned keyspace, uint64_t hash,
		      struct kv_entry *entry)
{
	const struct format_record *record;
	uint64_t address;

	entry->status = -EINVAL;
	if (entry->key.size && entry->key.size <= KV_KEY_SIZE_MAX)
		entry->status = find_entry(kv, view, keyspace, hash, entry, &record, &address);
	if (!entry->status)
		entry->status = view ? read_value_then(view, record, address, &entry->value) :
				       read_value(kv, record, address, &entry->value);
	if (!entry->status)
		entry->seq = record->seq;
}

/*
 * For those that have changed since the view: the record that it sees. In: where the newest one is.
 */
static void fetch_versions(const struct kv_view *view, const uint64_t *hashes, uint64_t *addresses,
			   size_t count)
{
	uint64_t behind_hashes[GROUP], behind[GROUP];
	size_t places[GROUP], i, n = 0;
	struct kv *kv = view->kv;

	if (!atomic_load_explicit(&kv->versions.count, memory_order_relaxed))
		return;
	for (i = 0; i < count; i++) {
		if (!view_is_behind(view, addresses[i]))
			continue;
		behind_hashes[n] = hashes[i];
		behind[n] = addresses[i];
		places[n++] = i;
	}
	version_fetch(kv, view->seq, behind_hashes, behind, n);
	for (i = 0; i < n; i++)
		addresses[places[i]] = behind[i];
}

static void get_group(struct kv *kv, const struct kv_view *view, unsigned keyspace,
		      struct kv_entry *entries, size_t count)
{
	uint64_t hashes[GROUP], addresses[GROUP], begun_us;
	size_t i;

	for (i = 0; i < count; i++) {
		hashes[i] = keyhash_of(&kv->keyhash, keyspace, entries[i].key.data,
				       entries[i].key.size);
		index_prefetch(&kv->index, hashes[i]);
	}
	for (i = 0; i < count; i++)
		addresses[i] = fetch_record(kv, hashes[i]);
	if (view)
		fetch_versions(view, hashes, addresses, count);
	begun_us = fetch_group(kv, addresses, count);
	for (i = 0; i < count; i++)
		get_entry(kv, view, keyspace, hashes[i], &entries[i]);
	fetch_done(kv, begun_us, count);
}

static void multi_get(struct kv *kv, const struct kv_view *view, unsigned keyspace,
		      struct kv_entry *entries, size_t count)
{
	size_t done, group;

	if (keyspace >= kv->info.keyspace_count) {
		for (done = 0; done < count; done++)
			entries[done].status = -EINVAL;
		return;
	}
	value_forget();
	for (done = 0; done < count; done += group) {
		group = count - done < GROUP ? count - done : GROUP;
		get_group(kv, view, keyspace, entries + done, group);
	}
}

void kv_multi_get(struct kv *kv, unsigned keyspace, struct kv_entry *entries, size_t count)
{
	multi_get(kv, NULL, keyspace, entries, count);
}

void kv_view_multi_get(const struct kv_view *view, unsigned keyspace, struct kv_entry *entries,
		       size_t count)
{
	multi_get(view->kv, view, keyspace, entries, count);
}
