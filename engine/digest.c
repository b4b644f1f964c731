/* SPDX-License-Identifier: MIT */
/*
 * digest.c - kv_digest: what a store, or a view of it, holds, as one number.
 *
 *   entry   BLAKE2b-256 of: its keyspace's number (1 byte), the key's size (4), key, value
 *   place   XXH3-64 of the key, seeded with the keyspace's number
 *   digest  BLAKE2b-256 of: "kv digest 1" (16 bytes, zeros behind); for each keyspace in order the
 *           size of its name (1), the name, how many entries there are (8), and their digests by
 *           rising place, those of one place by rising digest
 *
 * All are keyed, if there is a key; numbers are little-endian. Nothing of that depends on where a
 * record stands, on the store's secret or on how values are compressed. (A sum of the entries'
 * digests would need no order, but without a key sums of hashes can be made to agree: Wagner, A
 * generalized birthday problem, 2002.)
 *
 * An iterator gives entries in the order of the store's own hash, so they have to be sorted. Memory
 * for that is bounded: where it is full the upper half of the places is left to another pass. Keys
 * are read again then, values only of what is hashed.
 *
 * Threads: the caller's; it reads a view.
 */
#include <blake2.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "kv.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * Sorted at once: 240 MiB, and what qsort takes beside them; that of the GNU C library up to two
 * pointers each, 96 MiB.
 */
#define ENTRIES_MAX ((size_t)6 << 20)
#define ENTRIES_MIN 1024u
#define PART_SIZE ((size_t)1 << 20) /* of a large value, read at once */

struct sealed {
	uint64_t place;
	uint8_t digest[KV_DIGEST_SIZE];
};

/* A pass takes one keyspace's entries with places from `low` to `high`. */
struct pass {
	struct sealed *entries;
	size_t count, capacity;
	uint64_t low, high;
};

struct digester {
	struct kv *kv;
	const struct kv_view *view;
	const void *key;
	size_t key_size;
	size_t entries_max;
	blake2b_state state;
	struct pass pass;
	uint8_t *part; /* PART_SIZE bytes, or NULL */
	kv_progress_fn *progress;
	void *progress_arg;
	uint64_t done_bytes, total_bytes;
};

/* ---- one entry ------------------------------------------------------------------------------- */

static void begin(const struct digester *digester, blake2b_state *state)
{
	if (digester->key_size)
		blake2b_init_key(state, KV_DIGEST_SIZE, digester->key, digester->key_size);
	else
		blake2b_init(state, KV_DIGEST_SIZE);
}

static void add(blake2b_state *state, const void *bytes, size_t size)
{
	blake2b_update(state, bytes, size);
}

/* A value that is too large to be in memory at once. */
static int add_parts(struct digester *digester, unsigned keyspace, const struct kv_entry *entry,
		     blake2b_state *state)
{
	uint64_t offset = 0;
	size_t done;
	int error;

	if (!digester->part)
		digester->part = malloc(PART_SIZE);
	if (!digester->part)
		return -ENOMEM;
	do {
		error = kv_view_read(digester->view, keyspace, entry->key.data, entry->key.size,
				     offset, digester->part, PART_SIZE, &done);
		if (error)
			return error;
		add(state, digester->part, done);
		offset += done;
	} while (done);
	digester->done_bytes += offset;
	return 0;
}

static int seal_entry(struct digester *digester, unsigned keyspace, const struct kv_entry *entry,
		      uint8_t digest[KV_DIGEST_SIZE])
{
	uint8_t number = (uint8_t)keyspace;
	uint32_t key_size = (uint32_t)entry->key.size;
	blake2b_state state;
	int error = 0;

	if (entry->status && entry->status != -EFBIG)
		return entry->status;
	begin(digester, &state);
	add(&state, &number, sizeof(number));
	add(&state, &key_size, sizeof(key_size));
	add(&state, entry->key.data, entry->key.size);
	if (entry->status)
		error = add_parts(digester, keyspace, entry, &state);
	else
		add(&state, entry->value.data, entry->value.size);
	digester->done_bytes +=
		format_record_size(entry->key.size, entry->status ? 0 : entry->value.size);
	if (!error)
		blake2b_final(&state, digest, KV_DIGEST_SIZE);
	return error;
}

/* ---- a pass ---------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct sealed *left = a, *right = b;

	if (left->place != right->place)
		return left->place < right->place ? -1 : 1;
	return memcmp(left->digest, right->digest, sizeof(left->digest));
}

/*
 * There is no room for one more: for more memory, or the upper half of the places comes in another
 * pass.
 */
static int make_room(struct digester *digester)
{
	struct pass *pass = &digester->pass;
	size_t capacity = pass->capacity ? pass->capacity * 2 : ENTRIES_MIN, half = pass->count / 2;
	struct sealed *entries;

	if (pass->capacity < digester->entries_max) {
		capacity = capacity < digester->entries_max ? capacity : digester->entries_max;
	} else {
		qsort(pass->entries, pass->count, sizeof(*pass->entries), by_place);
		while (half && pass->entries[half - 1].place == pass->entries[half].place)
			half--;
		if (half) {
			pass->count = half;
			pass->high = pass->entries[half].place - 1;
			return 0;
		}
		/* So many entries of one place do not come by chance. */
	}
	entries = realloc(pass->entries, capacity * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	pass->entries = entries;
	pass->capacity = capacity;
	return 0;
}

static int take_entry(struct digester *digester, unsigned keyspace, const struct kv_entry *entry)
{
	struct pass *pass = &digester->pass;
	uint64_t place = XXH3_64bits_withSeed(entry->key.data, entry->key.size, keyspace);
	int error;

	/* An entry that cannot be read may have no key either. */
	if (entry->status && entry->status != -EFBIG)
		return entry->status;
	if (place < pass->low || place > pass->high)
		return 0;
	if (pass->count == pass->capacity) {
		error = make_room(digester);
		if (error || place > pass->high)
			return error;
	}
	pass->entries[pass->count].place = place;
	error = seal_entry(digester, keyspace, entry, pass->entries[pass->count].digest);
	pass->count += !error;
	return error;
}

static int take_all(struct digester *digester, unsigned keyspace, const struct kv_entry *entries,
		    size_t count)
{
	size_t i;
	int error = 0;

	for (i = 0; i < count && !error; i++)
		error = take_entry(digester, keyspace, &entries[i]);
	if (!error && digester->progress &&
	    digester->progress(digester->progress_arg,
			       digester->done_bytes < digester->total_bytes ? digester->done_bytes :
									      digester->total_bytes,
			       digester->total_bytes))
		error = -ECANCELED;
	return error;
}

/* Out: how many entries there are, of whatever place. */
static int run_pass(struct digester *digester, unsigned keyspace, uint64_t *total)
{
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	size_t count;
	int error = kv_iterator_open_view(digester->view, keyspace, 0, &iterator);

	if (error)
		return error;
	*total = 0;
	digester->pass.count = 0;
	while (!error) {
		kv_read_begin(digester->kv);
		error = kv_iterator_read(iterator, &entries, &count);
		if (!error)
			error = take_all(digester, keyspace, entries, count);
		if (!error)
			*total += count;
		kv_read_end(digester->kv);
	}
	kv_iterator_close(iterator);
	return error == -ENOENT ? 0 : error;
}

/* ---- keyspaces ------------------------------------------------------------------------------- */

static void add_name(struct digester *digester, const char *name, uint64_t count)
{
	uint8_t size = (uint8_t)strlen(name);

	add(&digester->state, &size, sizeof(size));
	add(&digester->state, name, size);
	add(&digester->state, &count, sizeof(count));
}

static int add_keyspace(struct digester *digester, unsigned keyspace, const char *name)
{
	struct pass *pass = &digester->pass;
	bool named = false;
	uint64_t count;
	size_t i;
	int error;

	for (pass->low = 0;; pass->low = pass->high + 1) {
		pass->high = UINT64_MAX;
		error = run_pass(digester, keyspace, &count);
		if (error)
			return error;
		if (!named)
			add_name(digester, name, count);
		named = true;
		if (pass->count)
			qsort(pass->entries, pass->count, sizeof(*pass->entries), by_place);
		for (i = 0; i < pass->count; i++)
			add(&digester->state, pass->entries[i].digest, KV_DIGEST_SIZE);
		if (pass->high == UINT64_MAX)
			return 0;
	}
}

int kv_digest(struct kv *kv, const struct kv_view *view, const struct kv_digest_options *options,
	      kv_progress_fn *progress, void *progress_arg, uint8_t digest[KV_DIGEST_SIZE])
{
	static const struct kv_digest_options defaults;
	static const char title[16] = "kv digest 1";
	struct digester digester = {.kv = kv,
				    .view = view,
				    .entries_max = ENTRIES_MAX,
				    .progress = progress,
				    .progress_arg = progress_arg,
				    .total_bytes = kv_live_bytes(kv)};
	struct kv_view *own = NULL;
	struct kv_info info;
	unsigned i;
	int error = 0;

	options = options ? options : &defaults;
	if (options->key_size > KV_DIGEST_KEY_MAX || (options->key_size && !options->key))
		return -EINVAL;
	digester.key = options->key;
	digester.key_size = options->key_size;
	if (options->entries_max)
		digester.entries_max = options->entries_max;
	if (!view)
		error = kv_view_open(kv, &own);
	if (error)
		return error;
	digester.view = view ? view : own;
	kv_info(kv, &info);
	begin(&digester, &digester.state);
	add(&digester.state, title, sizeof(title));
	for (i = 0; i < info.keyspace_count && !error; i++)
		error = add_keyspace(&digester, i, info.keyspaces[i].name);
	if (!error)
		blake2b_final(&digester.state, digest, KV_DIGEST_SIZE);
	kv_view_close(own);
	free(digester.pass.entries);
	free(digester.part);
	return error;
}
