/* SPDX-License-Identifier: MIT */
/* damage_store.c - see damage_store.h. */
#include "damage_store.h"

#define LARGE_AT 100000u /* where the bytes of the large value stand */
#define VALUE_SIZE_MAX 3000u
#define SNAPSHOT "before"

const struct damage_kind damage_kinds[] = {
	{.name = "plain", .keys = 60},
	{.name = "killed", .keys = 60, .killed = true},
	{.name = "compressed", .keys = 60, .compress = KV_COMPRESS_INLINE},
	{.name = "blake2b", .keys = 60, .hash = KV_HASH_BLAKE2B, .checkpoint = true},
	{.name = "checkpoint", .keys = 60, .checkpoint = true},
	{.name = "cold", .keys = 60, .checkpoint = true, .cold = true},
	{.name = "snapshot", .keys = 60, .snapshot = true},
	{.name = "versions", .keys = 60, .snapshot = true, .checkpoint = true, .cold = true},
	{.name = "dictionaries", .keys = 360, .compress = KV_COMPRESS_BACKGROUND, .cold = true},
	{.name = "killed-checkpoint", .keys = 60, .checkpoint = true, .killed = true},
	{.name = "killed-cold", .keys = 60, .snapshot = true, .cold = true, .killed = true},
	{.name = "killed-dictionaries",
		.keys = 360,
		.compress = KV_COMPRESS_BACKGROUND,
		.cold = true,
		.killed = true},
	{0},
};

const struct damage_kind *damage_kind_named(const char *name)
{
	const struct damage_kind *kind = damage_kinds;

	while (kind->name && strcmp(kind->name, name) != 0)
		kind++;
	if (!kind->name)
		fail_msg("there is no kind of store named %s", name);
	return kind;
}

/* ---- what it holds --------------------------------------------------------------------------- */

static unsigned keyspace_of(unsigned number)
{
	return number % 2 ? ORDERED : HASHED;
}

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %03u", number);
}

static bool is_changed(const struct damage_kind *kind, unsigned number)
{
	return kind->snapshot && number % 4 >= 2;
}

static bool is_deleted(unsigned number)
{
	return number % 4 == 3;
}

/* What a key's state is worth, in this kind of store. */
static size_t value_of(const struct damage_kind *kind, unsigned number, unsigned state,
	uint8_t value[VALUE_SIZE_MAX])
{
	static const char *const words[] = {
		"segment", "record", "the", "value", "of", "a", "index"};
	size_t size = number % 10 == 9 ? VALUE_SIZE_MAX : 40 + number % 60;
	unsigned draw = number * 2654435761u + state;

	if (kind->compress != KV_COMPRESS_BACKGROUND) {
		fill_bytes(value, size, number + 1000 * state);
		return size;
	}
	/* Like those of programs: the same words in another order. */
	size = (size_t)sprintf(
		(char *)value, "{\"id\": %u, \"state\": %u, \"text\": \"", number, state);
	while (size < 120) {
		draw = draw * 1103515245u + 12345u;
		size += (size_t)sprintf((char *)value + size, "%s ", words[(draw >> 16) % 7]);
	}
	return size;
}

/* ---- making one ------------------------------------------------------------------------------ */

static void change_keys(struct damage_store *store, struct fixture *fixture, unsigned state)
{
	const struct damage_kind *kind = store->kind;
	static uint8_t value[VALUE_SIZE_MAX];
	struct kv_batch *batch;
	uint64_t seq;
	char key[16];

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	for (unsigned i = 0; i < kind->keys; i++) {
		size_t size = value_of(kind, i, state, value);

		key_of(i, key);
		if (state == 2 && is_changed(kind, i) && is_deleted(i))
			assert_int_equal(
				kv_batch_delete(batch, keyspace_of(i), key, strlen(key)), 0);
		else if (state == 1 || is_changed(kind, i))
			assert_int_equal(
				kv_batch_put(batch, keyspace_of(i), key, strlen(key), value, size),
				0);
		if (i % DAMAGE_BATCH == DAMAGE_BATCH - 1) {
			assert_int_equal(kv_commit(fixture->kv, batch, &seq), 0);
			for (unsigned j = i + 1 - DAMAGE_BATCH; j <= i; j++)
				if (state == 1 || is_changed(kind, j))
					store->seqs[state - 1][j] = seq;
		}
		if (i % 15 == 14)
			must_sync(fixture);
	}
	kv_batch_free(batch);
}

static bool has_segment(struct fixture *fixture, const char *name)
{
	uint64_t size;
	const uint8_t *bytes = sim_env_bytes(fixture->sim, name, &size);

	return bytes && bytes[FORMAT_SEGMENT_HEADER_SIZE];
}

/* Fills the first segment with what is overwritten at once, and empties it. */
static void make_cold(struct fixture *fixture)
{
	struct kv_prune_options prune = {.garbage_percent = 1};

	for (unsigned i = 0; !has_segment(fixture, "seg-00000001"); i++) {
		must_put_filled(fixture, HASHED, "often", i < 6 ? 150000 : 10000, i);
		must_sync(fixture);
	}
	must_put(fixture, HASHED, "often", "short");
	assert_int_equal(kv_prune(fixture->kv, &prune, NULL, NULL, NULL), 0);
}

static void fill(struct damage_store *store, struct fixture *fixture)
{
	const struct damage_kind *kind = store->kind;

	change_keys(store, fixture, 1);
	assert_int_equal(kv_write(fixture->kv, ORDERED, "large", 5, LARGE_AT, "end", 3, NULL), 0);
	if (kind->snapshot) {
		assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, NULL), 0);
		change_keys(store, fixture, 2);
	}
	if (kind->cold)
		make_cold(fixture);
	if (kind->checkpoint) {
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
		must_put(fixture, HASHED, "often", "behind the checkpoint");
		must_put(fixture, ORDERED, "often", "behind the checkpoint");
	}
	must_sync(fixture);
	/* What a store that is killed has written since is not known to be durable. */
	if (kind->killed)
		must_put(fixture, HASHED, "often", "at the end");
}

/* Of the log's end: the last segment, and what its last MARK vouches for. */
static void note_end(void *arg, const struct store_image_record *at)
{
	struct damage_store *store = arg;

	if (at->cold)
		return;
	store->last_slot = at->slot;
	if (at->record->flags & FORMAT_RECORD_MARK && format_record_is_bare(at->record))
		store->marked_seq = at->record->seq;
}

void damage_store_make(struct damage_store *store, const struct damage_kind *kind)
{
	struct kv_create_options create = fixture_create_options;
	struct fixture fixture = {0};

	*store = (struct damage_store){.kind = kind};
	create.compress = kind->compress;
	create.hash = kind->hash;
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7}, &fixture.sim), 0);
	fixture.env = sim_env_table(fixture.sim);
	assert_int_equal(kv_create(fixture.env, DAMAGE_PATH, &create, NULL, NULL), 0);
	must_open(&fixture, KV_OPEN_INLINE);
	fill(store, &fixture);
	if (kind->killed) {
		must_sync(&fixture);
		sim_env_cut(fixture.sim);
		(void)kv_close(fixture.kv);
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_NONE), 0);
	} else {
		must_close(&fixture);
	}
	store_image_take(&store->image, fixture.sim, DAMAGE_PATH);
	sim_env_free(fixture.sim);
	store_image_records(&store->image, note_end, store);
}

void damage_store_free(struct damage_store *store)
{
	store_image_free(&store->image);
}

/* ---- what it shows --------------------------------------------------------------------------- */

/* What it would be if nothing were damaged. */
static unsigned whole_state(const struct damage_store *store, unsigned view, unsigned number)
{
	return view == DAMAGE_NOW && number < store->kind->keys && is_changed(store->kind, number)
		       ? 2
		       : 1;
}

static unsigned look_at_key(const struct damage_store *store, struct kv *kv,
	const struct kv_view *view, unsigned number)
{
	const struct damage_kind *kind = store->kind;
	static uint8_t value[VALUE_SIZE_MAX];
	struct kv_slice found;
	unsigned state = 0;
	char key[16];
	int result;

	key_of(number, key);
	kv_read_begin(kv);
	result = view ? kv_view_get(view, keyspace_of(number), key, strlen(key), &found)
		      : kv_get(kv, keyspace_of(number), key, strlen(key), &found);
	if (!result) {
		for (state = 2; state; state--) {
			size_t size = value_of(kind, number, state, value);

			if (found.size == size && memcmp(found.data, value, size) == 0)
				break;
		}
		assert_true(state > 0 && (!view || state == 1));
	}
	kv_read_end(kv);
	if (!view && result == -ENOENT && is_changed(kind, number) && is_deleted(number))
		return 2;
	assert_true(!result || result == -ENOENT || result == -EIO);
	return state;
}

static unsigned look_at_large(struct kv *kv, const struct kv_view *view)
{
	static uint8_t bytes[LARGE_AT + 10];
	size_t done = 0;
	int result = view ? kv_view_read(view, ORDERED, "large", 5, 0, bytes, sizeof(bytes), &done)
			  : kv_read(kv, ORDERED, "large", 5, 0, bytes, sizeof(bytes), &done);

	assert_true(!result || result == -ENOENT || result == -EIO);
	if (result)
		return 0;
	assert_int_equal(done, LARGE_AT + 3);
	assert_memory_equal(bytes + LARGE_AT, "end", 3);
	while (done > 3)
		assert_int_equal(bytes[done-- - 4], 0);
	return 1;
}

void damage_look(
	const struct damage_store *store, struct fixture *fixture, struct damage_seen *seen)
{
	struct kv_view *view = NULL;

	*seen = (struct damage_seen){0};
	if (store->kind->snapshot) {
		int result = kv_snapshot_open(fixture->kv, SNAPSHOT, &view);

		assert_true(!result || result == -ENOENT);
		seen->no_snapshot = result;
	}
	for (unsigned which = 0; which < (store->kind->snapshot ? 2u : 1u); which++) {
		for (unsigned i = 0; i <= store->kind->keys; i++) {
			uint8_t *state = &seen->states[which][i];

			if (which == DAMAGE_SNAPSHOT && !view)
				*state = 0;
			else if (i < store->kind->keys)
				*state = (uint8_t)look_at_key(
					store, fixture->kv, which ? view : NULL, i);
			else
				*state = (uint8_t)look_at_large(fixture->kv, which ? view : NULL);
			seen->missing += *state < whole_state(store, which, i);
		}
	}
	kv_view_close(view);
}

/* ---- what is gone ---------------------------------------------------------------------------- */

struct excuse {
	const struct damage_store *store;
	const struct damage_said *said;
	unsigned number;
	uint64_t seq;   /* of the state that is gone; 0: the large value's */
	bool snapshot;  /* that is gone altogether */
	bool any_state; /* of the same key counts: it is the way to this one */
	bool cut;       /* nothing counts but that the batch was cut off */
	bool found;
};

static bool is_of_large(const struct format_record *record)
{
	return (record->keyspace == ORDERED && record->key_size == 5 &&
		       memcmp(record->key, "large", 5) == 0) ||
	       record->keyspace == FORMAT_KEYSPACE_LARGE;
}

/* Can nothing be had of the state without this record? */
static bool is_needed(const struct excuse *excuse, const struct store_image_record *at)
{
	const struct format_record *record = at->record;
	char key[16];

	if (format_record_is_bare(record))
		return false;
	if (excuse->snapshot && record->keyspace == FORMAT_KEYSPACE_ENGINE &&
		record->key[0] == FORMAT_SNAPSHOT_KEY)
		return true;
	/* A value that was compressed in the background needs its dictionary. */
	if (record->keyspace == FORMAT_KEYSPACE_ENGINE && record->key[0] == 'd')
		return excuse->seq && *format_record_value(record) == keyspace_of(excuse->number);
	if (!excuse->seq)
		return is_of_large(record);
	key_of(excuse->number, key);
	return (excuse->any_state || record->seq == excuse->seq) &&
	       record->keyspace == keyspace_of(excuse->number) && record->key_size == strlen(key) &&
	       memcmp(record->key, key, record->key_size) == 0;
}

static void look_for_excuse(void *arg, const struct store_image_record *at)
{
	struct excuse *excuse = arg;
	const struct damage_store *store = excuse->store;
	/* An old version and what says until when it was the newest are one. */
	uint32_t from = at->offset - (at->led ? FORMAT_RECORD_HEADER_SIZE : 0);

	if (excuse->found || !is_needed(excuse, at))
		return;
	/* A batch is there or not: one whose end was cut off is not. */
	excuse->found = damage_cut(excuse->said, at->slot) < at->batch_end;
	if (excuse->found || excuse->cut)
		return;
	excuse->found = damage_named(excuse->said, at->slot, from, at->offset + at->length) ||
			/* It is taken for the torn end of a store that was killed. */
			(store->kind->killed && at->slot == store->last_slot &&
				at->record->seq > store->marked_seq);
}

static bool is_excused(
	struct excuse excuse, const struct damage_seen *seen, unsigned view, unsigned number)
{
	const struct damage_store *store = excuse.store;

	if (view == DAMAGE_SNAPSHOT && excuse.said->snapshot_lost)
		return true;
	excuse.number = number;
	excuse.snapshot = view == DAMAGE_SNAPSHOT && seen->no_snapshot;
	if (number < store->kind->keys)
		excuse.seq = store->seqs[whole_state(store, view, number) - 1][number];
	store_image_records(&store->image, look_for_excuse, &excuse);
	return excuse.found;
}

void damage_must_be_said(const struct damage_store *store, const struct damage_seen *seen,
	const struct damage_said *said, bool replayed)
{
	struct excuse excuse = {.store = store, .said = said, .any_state = !replayed};

	if (!seen->missing)
		return;
	for (unsigned view = 0; view < DAMAGE_VIEWS; view++) {
		if (view == DAMAGE_SNAPSHOT && !store->kind->snapshot)
			continue;
		for (unsigned i = 0; i <= store->kind->keys; i++) {
			if (seen->states[view][i] < whole_state(store, view, i) &&
				!is_excused(excuse, seen, view, i))
				fail_msg("key %u of %s is in state %u, and of %u messages none "
					 "says why; the last one: %s",
					i, view ? "the snapshot" : "the store",
					seen->states[view][i], said->count, said->last);
		}
	}
}

void damage_must_not_be_worse(const struct damage_store *store, const struct damage_seen *before,
	const struct damage_seen *after, const struct damage_said *said)
{
	struct excuse excuse = {.store = store, .said = said, .cut = true};

	for (unsigned view = 0; view < DAMAGE_VIEWS; view++) {
		for (unsigned i = 0; i <= store->kind->keys; i++) {
			if (after->states[view][i] < before->states[view][i] &&
				!is_excused(excuse, after, view, i))
				fail_msg("key %u of %s was in state %u, and after the repair in "
					 "state %u",
					i, view ? "the snapshot" : "the store",
					before->states[view][i], after->states[view][i]);
		}
	}
}
