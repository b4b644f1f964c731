/* SPDX-License-Identifier: MIT */
/*
 * kv_view_model_test.c - random changes, views and snapshots against a model that remembers every
 * state of every key: whatever is open shows what there was at its moment, by every way of reading,
 * through compaction, checkpoints, reopening and power failures.
 *
 * KV_VIEW_SEED and KV_VIEW_ACTS in the environment choose another life.
 */
#include "view_model.h"

#define LARGE_KEYS 3u /* the first ones of each keyspace: values in pieces, changed in part */
#define BATCH_MAX 30u

/* ---- changes --------------------------------------------------------------------------------- */

static size_t random_size(struct model *model)
{
	unsigned dice = below(model, 100);

	return dice < 60   ? below(model, 300)
	       : dice < 95 ? below(model, 9000)
			   : below(model, 100000);
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
		assert_in_range(
			kv_view_seq(model->views[i]), before, kv_last_seq(model->fixture->kv));
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
	/*
	 * Whoever may write clears up behind large values at once, in batches with numbers of their
	 * own.
	 */
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
