/* SPDX-License-Identifier: MIT */
/* kv_compare.c - see kv_compare.h. */
#include "kv_compare.h"
#include "crash.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The store as it is now, or as it was when a snapshot was taken. */
struct compare {
	struct kv *kv;
	const struct kv_view *view; /* NULL: now */
	const struct kv_model_state *state;
	const char *name;
};

static uint8_t value_bytes[1u << 20];

/* While a call may fail, whoever asks may meet it: but what he is given is true, and that it is all. */
static bool is_excused(int result)
{
	return crash_may_complain && (result == -EIO || result == -ENOMEM);
}

/* Of a view the number of the batch that put it is not known: 0. */
static int get(const struct compare *compare, unsigned keyspace, unsigned key,
	struct kv_slice *value, uint64_t *seq)
{
	const uint8_t *bytes;
	size_t size = kv_model_key(key, &bytes);
	int result;

	*seq = 0;
	if (compare->view)
		return kv_view_get(compare->view, keyspace, bytes, size, value);
	result = kv_get_seq(compare->kv, keyspace, bytes, size, value, seq);
	return result == 0 || result == -ENOENT ? kv_get(compare->kv, keyspace, bytes, size, value) : result;
}

static int compare_key(const struct compare *compare, unsigned keyspace, unsigned key)
{
	const struct kv_model_change *expected = kv_model_state_get(compare->state, keyspace, key);
	struct kv_slice value;
	uint64_t seq;
	int result = get(compare, keyspace, key, &value, &seq);

	if (is_excused(result))
		return 0;
	if (!expected && (result != -ENOENT || seq > 0))
		return crash_fail("%s: key %u of keyspace %u was deleted and is there (%d)",
			compare->name, key, keyspace, result);
	if (!expected)
		return 0;
	if (result < 0)
		return crash_fail("%s: key %u of keyspace %u: %s", compare->name, key, keyspace,
			strerror(-result));
	if (seq != expected->seq && !compare->view)
		return crash_fail("key %u of keyspace %u is of batch %llu, not %llu", key, keyspace,
			(unsigned long long)seq, (unsigned long long)expected->seq);
	kv_model_value(expected, value_bytes);
	if (value.size != expected->size || memcmp(value.data, value_bytes, value.size) != 0)
		return crash_fail(
			"%s: key %u of keyspace %u has another value, of %zu bytes, not %u",
			compare->name, key, keyspace, value.size, expected->size);
	return 0;
}

static int compare_keys(const struct compare *compare)
{
	int result = 0;

	kv_read_begin(compare->kv);
	for (unsigned keyspace = 0; result == 0 && keyspace < KV_MODEL_KEYSPACES; keyspace++)
		for (unsigned key = 0; result == 0 && key < KV_MODEL_KEYS; key++)
			result = compare_key(compare, keyspace, key);
	kv_read_end(compare->kv);
	return result;
}

/* The next key in the order, or KV_MODEL_KEYS. */
static unsigned next_present(const struct compare *compare, unsigned from, int direction)
{
	unsigned position = from;

	while (position < KV_MODEL_KEYS &&
		!kv_model_state_get(compare->state, 1, kv_model_sorted()[position]))
		position += (unsigned)direction; /* wraps below 0 to more than KV_MODEL_KEYS */
	return position < KV_MODEL_KEYS ? position : KV_MODEL_KEYS;
}

/* On a view a key counts that may be there, if that cannot be told: its value is an error then. */
static bool is_doubtful(const struct compare *compare, struct kv_cursor *cursor)
{
	struct kv_slice value;
	bool is;

	kv_read_begin(compare->kv);
	is = compare->view && is_excused(kv_cursor_value(cursor, &value));
	kv_read_end(compare->kv);
	return is;
}

static int compare_walk(const struct compare *compare, struct kv_cursor *cursor, int direction)
{
	unsigned position = next_present(compare, direction > 0 ? 0 : KV_MODEL_KEYS - 1, direction);
	int result = direction > 0 ? kv_cursor_first(cursor) : kv_cursor_last(cursor);

	while (result == 0) {
		struct kv_slice key = kv_cursor_key(cursor);
		const uint8_t *key_bytes = NULL;
		size_t key_size = 0;

		if (position < KV_MODEL_KEYS)
			key_size = kv_model_key(kv_model_sorted()[position], &key_bytes);
		if (key_size > 0 && key.size == key_size && memcmp(key.data, key_bytes, key_size) == 0)
			position = next_present(compare, position + (unsigned)direction, direction);
		else if (!is_doubtful(compare, cursor))
			return crash_fail("%s: the ordered index has another key at place %u",
				compare->name, position);
		result = direction > 0 ? kv_cursor_next(cursor) : kv_cursor_prev(cursor);
	}
	if (is_excused(result))
		return 0;
	if (result != -ENOENT)
		return crash_fail("%s: a cursor failed: %s", compare->name, strerror(-result));
	return position == KV_MODEL_KEYS
		       ? 0
		       : crash_fail("%s: the ordered index lacks a key", compare->name);
}

static int compare_order(const struct compare *compare)
{
	struct kv_cursor *cursor;
	int result = compare->view ? kv_cursor_open_view(compare->view, 1, &cursor)
				   : kv_cursor_open(compare->kv, 1, &cursor);

	if (is_excused(result))
		return 0;
	if (result < 0)
		return crash_fail("no cursor: %s", strerror(-result));
	result = compare_walk(compare, cursor, 1);
	if (result == 0)
		result = compare_walk(compare, cursor, -1);
	kv_cursor_close(cursor);
	return result;
}

static int compare_snapshot(struct kv *kv, const struct kv_model *model, unsigned snapshot)
{
	struct compare compare = {.kv = kv, .state = kv_model_snapshot(model, snapshot)};
	struct kv_view *view;
	char name[32];
	int result;

	snprintf(name, sizeof(name), KV_COMPARE_NAME, snapshot);
	result = kv_snapshot_open(kv, name, &view);
	if ((!compare.state && result == -ENOENT) || is_excused(result))
		return 0;
	if (result < 0)
		return crash_fail("%s: %s", name, strerror(-result));
	compare.view = view;
	compare.name = name;
	if (!compare.state)
		result = crash_fail("%s is there and should not be", name);
	else if (kv_view_seq(view) != kv_model_snapshot_seq(model, snapshot))
		result = crash_fail("%s is of batch %llu, not %llu", name, (unsigned long long)kv_view_seq(view),
			(unsigned long long)kv_model_snapshot_seq(model, snapshot));
	if (result == 0)
		result = compare_keys(&compare);
	if (result == 0)
		result = compare_order(&compare);
	kv_view_close(view);
	return result;
}

static int compare_counts(struct kv *kv, const struct kv_model *model)
{
	struct kv_stats stats;

	kv_stats(kv, &stats);
	for (unsigned keyspace = 0; keyspace < KV_MODEL_KEYSPACES; keyspace++) {
		uint64_t count = 0;

		for (unsigned key = 0; key < KV_MODEL_KEYS; key++)
			count += kv_model_get(model, keyspace, key) != NULL;
		if (stats.keys[keyspace] != count && !crash_may_complain)
			return crash_fail("keyspace %u counts %llu keys, not %llu", keyspace,
				(unsigned long long)stats.keys[keyspace],
				(unsigned long long)count);
	}
	return stats.damaged == 0 || crash_may_complain ? 0 : crash_fail("the store found damage");
}

int kv_compare(struct kv *kv, const struct kv_model *model)
{
	struct compare now = {.kv = kv, .state = kv_model_now(model), .name = "now"};
	int result = compare_keys(&now);

	if (result == 0)
		result = compare_order(&now);
	for (unsigned snapshot = 0; result == 0 && snapshot < KV_MODEL_SNAPSHOTS; snapshot++)
		result = compare_snapshot(kv, model, snapshot);
	return result == 0 ? compare_counts(kv, model) : result;
}
