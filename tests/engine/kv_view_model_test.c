/* SPDX-License-Identifier: MIT */
/*
 * kv_view_model_test.c - random changes, views and snapshots against a model that remembers every state of every key: whatever
 * is open shows what there was at its moment, by every way of reading, through compaction, checkpoints, reopening and power
 * failures.
 */
#include "kv_fixture.h"

#define KEYSPACES 2u
#define KEYS 40u
#define LARGE_KEYS 3u /* the first ones of each keyspace: values in pieces, changed in part */
#define VIEWS 6u
#define NAMES 8u
#define LARGE_MAX 300000u
#define BATCH_MAX 30u

struct state {
	uint64_t seq;
	bool present;
	uint8_t *bytes;
	size_t size;
};

/* All states of a key, by rising seq. */
struct history {
	struct state *states;
	unsigned count, capacity;
};

struct snapshot {
	unsigned name;
	uint64_t created, deleted; /* batches; deleted: UINT64_MAX if it was not */
};

struct model {
	struct fixture *fixture;
	struct sim_random random;
	struct history histories[KEYSPACES][KEYS];
	struct kv_view *views[VIEWS];
	struct snapshot *snapshots;
	unsigned snapshot_count, snapshot_capacity;
	uint64_t stamp;
	unsigned flags;
	uint8_t scratch[LARGE_MAX];
};

static unsigned below(struct model *model, uint64_t bound)
{
	return (unsigned)sim_random_below(&model->random, bound);
}

static size_t key_name(unsigned key, char name[16])
{
	return (size_t)snprintf(name, 16, "key-%03u", key);
}

/* ---- the model ------------------------------------------------------------------------------- */

static const struct state *state_at(const struct history *history, uint64_t seq)
{
	for (unsigned i = history->count; i-- > 0;)
		if (history->states[i].seq <= seq)
			return history->states[i].present ? &history->states[i] : NULL;
	return NULL;
}

static void remember(struct model *model, unsigned keyspace, unsigned key, uint64_t seq,
	bool present, const void *bytes, size_t size)
{
	struct history *history = &model->histories[keyspace][key];
	struct state state = {.seq = seq, .present = present, .size = size};

	if (history->count == history->capacity) {
		history->capacity = 2 * history->capacity + 8;
		history->states =
			realloc(history->states, history->capacity * sizeof(*history->states));
		assert_non_null(history->states);
	}
	state.bytes = malloc(size + 1);
	assert_non_null(state.bytes);
	if (size)
		memcpy(state.bytes, bytes, size);
	history->states[history->count++] = state;
}

static void remember_snapshot(struct model *model, struct snapshot snapshot)
{
	if (model->snapshot_count == model->snapshot_capacity) {
		model->snapshot_capacity = 2 * model->snapshot_capacity + 8;
		model->snapshots = realloc(model->snapshots,
			model->snapshot_capacity * sizeof(*model->snapshots));
		assert_non_null(model->snapshots);
	}
	model->snapshots[model->snapshot_count++] = snapshot;
}

/* The snapshot that has the name now, or NULL. */
static struct snapshot *find_snapshot(struct model *model, unsigned name)
{
	for (unsigned i = model->snapshot_count; i-- > 0;)
		if (model->snapshots[i].name == name && model->snapshots[i].deleted == UINT64_MAX)
			return &model->snapshots[i];
	return NULL;
}

/* Nothing after `seq` has happened. */
static void forget_after(struct model *model, uint64_t seq)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < KEYSPACES * KEYS; i++) {
		struct history *history = &model->histories[i / KEYS][i % KEYS];

		while (history->count && history->states[history->count - 1].seq > seq)
			free(history->states[--history->count].bytes);
	}
	for (unsigned i = 0; i < model->snapshot_count; i++) {
		struct snapshot snapshot = model->snapshots[i];

		if (snapshot.created > seq)
			continue;
		if (snapshot.deleted > seq)
			snapshot.deleted = UINT64_MAX;
		model->snapshots[kept++] = snapshot;
	}
	model->snapshot_count = kept;
}

static void model_free(struct model *model)
{
	for (unsigned i = 0; i < KEYSPACES * KEYS; i++) {
		struct history *history = &model->histories[i / KEYS][i % KEYS];

		while (history->count)
			free(history->states[--history->count].bytes);
		free(history->states);
	}
	free(model->snapshots);
	free(model);
}

/* ---- comparing ------------------------------------------------------------------------------- */

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

static void must_be_as_then(struct model *model, const struct kv_view *view)
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

/* All that there is: the views, the snapshots, and now. */
static void must_be_all(struct model *model)
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

/* ---- changes --------------------------------------------------------------------------------- */

static size_t random_size(struct model *model)
{
	unsigned dice = below(model, 100);

	return dice < 60 ? below(model, 300) : dice < 95 ? below(model, 9000) : below(model, 100000);
}

static void put_one(struct model *model, unsigned keyspace, unsigned key)
{
	size_t size = random_size(model);
	uint64_t seq;
	char name[16];

	fill_bytes(model->scratch, size, ++model->stamp);
	assert_int_equal(kv_put(model->fixture->kv, keyspace, name, key_name(key, name),
				 model->scratch, size, &seq),
		0);
	remember(model, keyspace, key, seq, true, model->scratch, size);
}

static void delete_one(struct model *model, unsigned keyspace, unsigned key)
{
	uint64_t seq;
	char name[16];

	assert_int_equal(
		kv_delete(model->fixture->kv, keyspace, name, key_name(key, name), &seq), 0);
	remember(model, keyspace, key, seq, false, NULL, 0);
}

static void put_batch(struct model *model)
{
	unsigned first = below(model, KEYS), count = 1 + below(model, BATCH_MAX);
	uint64_t stamp = ++model->stamp, seq;
	struct kv_batch *batch;
	char name[16];

	assert_int_equal(kv_batch_new(model->fixture->kv, &batch), 0);
	for (unsigned i = 0; i < count; i++) {
		unsigned key = (first + i) % KEYS;
		size_t name_size = key_name(key, name);

		fill_bytes(model->scratch, 200, stamp + i);
		if (i % 4 == 3)
			assert_int_equal(kv_batch_delete(batch, i % 2, name, name_size), 0);
		else
			assert_int_equal(
				kv_batch_put(batch, i % 2, name, name_size, model->scratch, 200),
				0);
	}
	assert_int_equal(kv_commit(model->fixture->kv, batch, &seq), 0);
	kv_batch_free(batch);
	for (unsigned i = 0; i < count; i++) {
		fill_bytes(model->scratch, 200, stamp + i);
		remember(model, i % 2, (first + i) % KEYS, seq, i % 4 != 3, model->scratch,
			i % 4 != 3 ? 200 : 0);
	}
	model->stamp += count;
}

/* A value in pieces: a part of it is written, or its size changes. */
static void change_large(struct model *model)
{
	unsigned keyspace = below(model, KEYSPACES), key = below(model, LARGE_KEYS);
	const struct state *state = state_at(&model->histories[keyspace][key], UINT64_MAX);
	size_t old = state ? state->size : 0, size, offset;
	uint8_t *bytes = calloc(1, LARGE_MAX), *part;
	uint64_t seq;
	char name[16];

	assert_non_null(bytes);
	if (old)
		memcpy(bytes, state->bytes, old);
	if (state && below(model, 3) == 0) {
		size = below(model, LARGE_MAX);
		if (size < old)
			memset(bytes + size, 0, old - size);
		assert_int_equal(kv_resize(model->fixture->kv, keyspace, name, key_name(key, name),
					 size, &seq),
			0);
		remember(model, keyspace, key, seq, true, bytes, size);
		free(bytes);
		return;
	}
	offset = below(model, LARGE_MAX);
	size = 1 + below(model, LARGE_MAX - offset < 90000 ? LARGE_MAX - offset : 90000);
	part = bytes + offset;
	fill_bytes(model->scratch, size, ++model->stamp);
	memcpy(part, model->scratch, size);
	assert_int_equal(kv_write(model->fixture->kv, keyspace, name, key_name(key, name), offset,
				 part, size, &seq),
		0);
	remember(model, keyspace, key, seq, true, bytes, offset + size > old ? offset + size : old);
	free(bytes);
}

/* ---- views and snapshots --------------------------------------------------------------------- */

static void change_view(struct model *model)
{
	uint64_t before = kv_last_seq(model->fixture->kv);
	unsigned i = below(model, VIEWS);
	char name[16];

	if (model->views[i]) {
		must_be_as_then(model, model->views[i]);
		kv_view_close(model->views[i]);
		model->views[i] = NULL;
	} else if (below(model, 2)) {
		assert_int_equal(kv_view_open(model->fixture->kv, &model->views[i]), 0);
		/* What large values have left behind is cleared up meanwhile. */
		assert_in_range(kv_view_seq(model->views[i]), before, kv_last_seq(model->fixture->kv));
	} else {
		key_name(below(model, NAMES), name);
		if (kv_snapshot_open(model->fixture->kv, name, &model->views[i]))
			model->views[i] = NULL;
	}
}

static void change_snapshot(struct model *model)
{
	unsigned name = below(model, NAMES);
	struct snapshot *snapshot = find_snapshot(model, name);
	uint64_t seq;
	char text[16];

	key_name(name, text);
	if (snapshot) {
		assert_int_equal(kv_snapshot_delete(model->fixture->kv, text, &seq), 0);
		snapshot->deleted = seq;
		return;
	}
	assert_int_equal(kv_snapshot_create(model->fixture->kv, text, &seq), 0);
	remember_snapshot(model, (struct snapshot){name, seq, UINT64_MAX});
}

static void close_views(struct model *model)
{
	for (unsigned i = 0; i < VIEWS; i++) {
		kv_view_close(model->views[i]);
		model->views[i] = NULL;
	}
}

static void reopen(struct model *model)
{
	close_views(model);
	must_close(model->fixture);
	must_open(model->fixture, model->flags);
	must_be_all(model);
}

static void crash(struct model *model)
{
	static const enum sim_loss losses[] = {SIM_LOSS_ALL, SIM_LOSS_NONE, SIM_LOSS_ANY};
	uint64_t durable, recovered;

	close_views(model);
	durable = kv_durable_seq(model->fixture->kv);
	/* Whoever may write clears up behind large values at once, in batches with numbers of their own. */
	must_crash(model->fixture, losses[below(model, 3)], model->flags | KV_OPEN_READ_ONLY);
	recovered = kv_last_seq(model->fixture->kv);
	assert_true(recovered >= durable);
	forget_after(model, recovered);
	must_close(model->fixture);
	must_open(model->fixture, model->flags);
	must_be_all(model);
}

static void prune(struct model *model)
{
	struct kv_prune_options options = {.garbage_percent = 1 + below(model, 30)};

	assert_int_equal(kv_prune(model->fixture->kv, &options, NULL, NULL, NULL), 0);
}

static void checkpoint(struct model *model)
{
	int result = kv_checkpoint(model->fixture->kv);

	assert_true(result == 0 || result == -EAGAIN);
}

static void act(struct model *model)
{
	unsigned dice = below(model, 1000), keyspace = below(model, KEYSPACES);
	unsigned key = LARGE_KEYS + below(model, KEYS - LARGE_KEYS);

	if (dice < 550)
		put_one(model, keyspace, key);
	else if (dice < 750)
		delete_one(model, keyspace, key);
	else if (dice < 850)
		put_batch(model);
	else if (dice < 890)
		change_large(model);
	else if (dice < 940)
		change_view(model);
	else if (dice < 975)
		change_snapshot(model);
	else if (dice < 985)
		prune(model);
	else if (dice < 988)
		must_sync(model->fixture);
	else if (dice < 990)
		checkpoint(model);
	else if (dice < 995)
		reopen(model);
	else
		crash(model);
}

static void live(struct fixture *fixture, unsigned flags, uint64_t seed, unsigned acts)
{
	struct model *model = calloc(1, sizeof(*model));
	unsigned i;

	assert_non_null(model);
	print_message("seed %llu\n", (unsigned long long)seed);
	model->fixture = fixture;
	model->flags = flags;
	model->random = (struct sim_random){seed};
	for (i = 0; i < acts; i++)
		act(model);
	must_be_all(model);
	close_views(model);
	must_check_clean(fixture);
	model_free(model);
}

static uint64_t seed_of(uint64_t otherwise)
{
	const char *seed = getenv("KV_VIEW_SEED");

	return seed ? strtoull(seed, NULL, 10) : otherwise;
}

static unsigned acts_of(unsigned otherwise)
{
	const char *acts = getenv("KV_VIEW_ACTS");

	if (acts)
		return (unsigned)strtoul(acts, NULL, 10);
	return getenv("KVFS_TEST_QUICK") ? otherwise / 4 : otherwise;
}

static void test_life_inline(void **state)
{
	live(*state, KV_OPEN_INLINE, seed_of(1), acts_of(2500));
}

static void test_life(void **state)
{
	live(*state, 0, seed_of(2), acts_of(2500));
}

/* A checkpoint is always being written: each change falls between two of its steps. */
static void test_life_saved(void **state)
{
	struct fixture *fixture = *state;

	must_close(fixture);
	fixture->checkpoint_interval = 1;
	must_open(fixture, KV_OPEN_INLINE);
	live(fixture, KV_OPEN_INLINE, seed_of(4), acts_of(1000));
}

/* Small values, compressed by and by: compaction all the time. */
static void test_life_compressed(void **state)
{
	struct kv_create_options options = fixture_create_options;
	struct fixture *fixture = *state;

	options.compress = KV_COMPRESS_BACKGROUND;
	assert_int_equal(kv_create(fixture->env, STORE_PATH, &options, fixture_hear, fixture), 0);
	must_open(fixture, 0);
	live(fixture, 0, seed_of(3), acts_of(2500));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INLINE_TEST(test_life_inline),
		FIXTURE_TEST(test_life),
		INLINE_TEST(test_life_saved),
		EMPTY_TEST(test_life_compressed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
