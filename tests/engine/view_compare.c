/* SPDX-License-Identifier: MIT */
/* view_compare.c - a view beside what view_model.h remembers of its moment. */
#include "view_model.h"

static void must_be_part(struct model *model, const struct kv_view *view, unsigned keyspace,
	const char *name, const struct state *state)
{
	size_t offset = below(model, state->size + 10), size = below(model, state->size + 10), done;
	size_t rest = offset < state->size ? state->size - offset : 0;

	assert_int_equal(kv_view_read(view, keyspace, name, strlen(name), offset, model->scratch,
				 size < LARGE_MAX ? size : LARGE_MAX, &done),
		0);
	if (size > LARGE_MAX)
		size = LARGE_MAX;
	assert_int_equal(done, size < rest ? size : rest);
	if (done)
		assert_memory_equal(model->scratch, state->bytes + offset, done);
}

static void must_be_slice(struct kv_slice value, const struct state *state)
{
	assert_int_equal(value.size, state->size);
	if (value.size)
		assert_memory_equal(value.data, state->bytes, value.size);
}

static void must_be_key(struct model *model, const struct kv_view *view, unsigned keyspace,
	unsigned key)
{
	const struct state *state = state_at(&model->histories[keyspace][key], kv_view_seq(view));
	struct kv *kv = model->fixture->kv;
	struct kv_slice value;
	uint64_t size;
	char name[16];
	size_t name_size = key_name(key, name);

	kv_read_begin(kv);
	assert_int_equal(kv_view_get(view, keyspace, name, name_size, &value), state ? 0 : -ENOENT);
	if (state)
		must_be_slice(value, state);
	kv_read_end(kv);
	assert_int_equal(
		kv_view_contains(view, keyspace, name, name_size), state ? 0 : -ENOENT);
	assert_int_equal(
		kv_view_value_size(view, keyspace, name, name_size, &size), state ? 0 : -ENOENT);
	if (!state)
		return;
	assert_int_equal(size, state->size);
	must_be_part(model, view, keyspace, name, state);
}

static void must_be_many(struct model *model, const struct kv_view *view, unsigned keyspace)
{
	struct kv_entry entries[KEYS];
	char names[KEYS][16];

	for (unsigned key = 0; key < KEYS; key++) {
		entries[key].key.data = names[key];
		entries[key].key.size = key_name(key, names[key]);
	}
	kv_read_begin(model->fixture->kv);
	kv_view_multi_get(view, keyspace, entries, KEYS);
	for (unsigned key = 0; key < KEYS; key++) {
		const struct state *state =
			state_at(&model->histories[keyspace][key], kv_view_seq(view));

		assert_int_equal(entries[key].status, state ? 0 : -ENOENT);
		if (!state)
			continue;
		must_be_slice(entries[key].value, state);
		assert_true(entries[key].seq <= kv_view_seq(view));
	}
	kv_read_end(model->fixture->kv);
}

/* The next key of the ordered keyspace that there was, or KEYS. */
static unsigned next_key(const struct model *model, uint64_t seq, unsigned from, int direction)
{
	while (from < KEYS && !state_at(&model->histories[ORDERED][from], seq))
		from += (unsigned)direction; /* wraps below 0 */
	return from < KEYS ? from : KEYS;
}

static void must_stand_on(struct kv_cursor *cursor, unsigned key)
{
	char name[16];
	size_t size = key_name(key, name);

	assert_int_equal(kv_cursor_key(cursor).size, size);
	assert_memory_equal(kv_cursor_key(cursor).data, name, size);
}

static void must_walk(struct model *model, struct kv_cursor *cursor, uint64_t seq)
{
	unsigned key = next_key(model, seq, 0, 1);
	int result;

	for (result = kv_cursor_first(cursor); !result; result = kv_cursor_next(cursor)) {
		assert_int_not_equal(key, KEYS);
		must_stand_on(cursor, key);
		key = next_key(model, seq, key + 1, 1);
	}
	assert_int_equal(result, -ENOENT);
	assert_int_equal(key, KEYS);
	key = next_key(model, seq, KEYS - 1, -1);
	for (result = kv_cursor_last(cursor); !result; result = kv_cursor_prev(cursor)) {
		assert_int_not_equal(key, KEYS);
		must_stand_on(cursor, key);
		key = next_key(model, seq, key - 1, -1);
	}
	assert_int_equal(result, -ENOENT);
	assert_int_equal(key, KEYS);
}

/* From somewhere some steps this way and that. */
static void must_wander(struct model *model, struct kv_cursor *cursor, uint64_t seq)
{
	unsigned from = below(model, KEYS), key = next_key(model, seq, from, 1);
	char name[16];
	int result = kv_cursor_seek(cursor, name, key_name(from, name));

	for (unsigned i = 0; i < 8; i++) {
		int direction = below(model, 2) ? 1 : -1;

		assert_int_equal(result, key < KEYS ? 0 : -ENOENT);
		if (result)
			return;
		must_stand_on(cursor, key);
		key = next_key(model, seq, key + (unsigned)direction, direction);
		result = direction > 0 ? kv_cursor_next(cursor) : kv_cursor_prev(cursor);
	}
}

static void must_read_along(struct model *model, struct kv_cursor *cursor, uint64_t seq)
{
	struct kv_entry entries[KEYS];
	unsigned key = next_key(model, seq, 0, 1);
	size_t count;

	if (kv_cursor_first(cursor)) {
		assert_int_equal(key, KEYS);
		return;
	}
	kv_read_begin(model->fixture->kv);
	while (!kv_cursor_read(cursor, entries, 1 + below(model, KEYS), &count))
		for (size_t i = 0; i < count; i++) {
			char name[16];

			assert_int_not_equal(key, KEYS);
			assert_int_equal(entries[i].status, 0);
			assert_int_equal(entries[i].key.size, key_name(key, name));
			assert_memory_equal(entries[i].key.data, name, entries[i].key.size);
			must_be_slice(entries[i].value,
				state_at(&model->histories[ORDERED][key], seq));
			key = next_key(model, seq, key + 1, 1);
		}
	kv_read_end(model->fixture->kv);
	assert_int_equal(key, KEYS);
}

/* Each key once, in any order. */
static void must_iterate(
	struct model *model, const struct kv_view *view, unsigned keyspace, unsigned flags)
{
	struct kv_iterator *iterator;
	const struct kv_entry *entries;
	bool seen[KEYS] = {false};
	size_t count;

	assert_int_equal(kv_iterator_open_view(view, keyspace, flags, &iterator), 0);
	kv_read_begin(model->fixture->kv);
	while (!kv_iterator_read(iterator, &entries, &count))
		for (size_t i = 0; i < count; i++) {
			const struct state *state;
			char name[16] = "";
			unsigned key;

			assert_int_equal(entries[i].status, 0);
			assert_int_equal(entries[i].key.size, 7);
			memcpy(name, entries[i].key.data, 7);
			key = (unsigned)strtoul(name + 4, NULL, 10);
			assert_false(seen[key]);
			seen[key] = true;
			state = state_at(&model->histories[keyspace][key], kv_view_seq(view));
			assert_non_null(state);
			if (!(flags & KV_ITERATE_KEYS))
				must_be_slice(entries[i].value, state);
		}
	kv_read_end(model->fixture->kv);
	kv_iterator_close(iterator);
	for (unsigned key = 0; key < KEYS; key++)
		assert_int_equal(seen[key],
			state_at(&model->histories[keyspace][key], kv_view_seq(view)) != NULL);
}

struct changes {
	unsigned count[KEYS];
};

static int note_change(void *arg, struct kv_slice key)
{
	struct changes *changes = arg;
	char name[16] = "";

	/* No failure in here: closing would wait for this reader for ever. */
	if (key.size != 7)
		return -EPROTO;
	memcpy(name, key.data, key.size);
	changes->count[strtoul(name + 4, NULL, 10) % KEYS]++;
	return 0;
}

/* What is not the same record any more, and nothing that is, is told once. to: NULL for now */
static void must_differ(struct model *model, const struct kv_view *view, const struct kv_view *to,
	unsigned keyspace)
{
	uint64_t seq = to ? kv_view_seq(to) : UINT64_MAX;
	struct changes changes = {{0}};

	assert_int_equal(kv_view_changes(view, to, keyspace, note_change, &changes), 0);
	for (unsigned key = 0; key < KEYS; key++) {
		const struct history *history = &model->histories[keyspace][key];
		const struct state *was = state_at(history, kv_view_seq(view));
		const struct state *is = state_at(history, seq);
		bool same_bytes = was && is && was->size == is->size &&
				  !memcmp(was->bytes, is->bytes, is->size);

		if (was == is || !was)
			assert_int_equal(changes.count[key], 0);
		else if (!same_bytes)
			assert_int_equal(changes.count[key], 1);
		else
			assert_in_range(changes.count[key], 0, 1);
	}
}

static void must_differ_from_all(struct model *model, const struct kv_view *view)
{
	for (unsigned keyspace = 0; keyspace < KEYSPACES; keyspace++) {
		must_differ(model, view, NULL, keyspace);
		for (unsigned i = 0; i < VIEWS; i++)
			if (model->views[i] && kv_view_seq(model->views[i]) >= kv_view_seq(view))
				must_differ(model, view, model->views[i], keyspace);
	}
}

void must_be_as_then(struct model *model, const struct kv_view *view)
{
	struct kv_cursor *cursor;

	for (unsigned keyspace = 0; keyspace < KEYSPACES; keyspace++) {
		for (unsigned key = 0; key < KEYS; key++)
			must_be_key(model, view, keyspace, key);
		must_be_many(model, view, keyspace);
		must_iterate(model, view, keyspace, 0);
		must_iterate(model, view, keyspace, KV_ITERATE_KEYS);
	}
	assert_int_equal(kv_cursor_open_view(view, ORDERED, &cursor), 0);
	must_walk(model, cursor, kv_view_seq(view));
	must_wander(model, cursor, kv_view_seq(view));
	must_read_along(model, cursor, kv_view_seq(view));
	kv_cursor_close(cursor);
	must_differ_from_all(model, view);
}

static void must_be_as_now(struct model *model)
{
	struct kv_view *view;

	assert_int_equal(kv_view_open(model->fixture->kv, &view), 0);
	must_be_as_then(model, view);
	kv_view_close(view);
}

void must_be_all(struct model *model)
{
	unsigned alive = 0;
	struct kv_stats stats;
	struct kv_view *view;

	for (unsigned i = 0; i < VIEWS; i++)
		if (model->views[i])
			must_be_as_then(model, model->views[i]);
	for (unsigned name = 0; name < NAMES; name++) {
		const struct snapshot *snapshot = find_snapshot(model, name);
		char text[16];

		key_name(name, text);
		assert_int_equal(kv_snapshot_open(model->fixture->kv, text, &view),
			snapshot ? 0 : -ENOENT);
		if (!snapshot)
			continue;
		alive++;
		assert_int_equal(kv_view_seq(view), snapshot->created);
		must_be_as_then(model, view);
		kv_view_close(view);
	}
	must_be_as_now(model);
	kv_stats(model->fixture->kv, &stats);
	assert_int_equal(stats.snapshots, alive);
	must_check_clean(model->fixture);
}
