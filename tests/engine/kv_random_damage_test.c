/* SPDX-License-Identifier: MIT */
/*
 * kv_random_damage_test.c - stores of many keys, damaged in many places at once: each key then has
 * its value, or none where a record of it was hit and a message says so for that very place; never
 * bytes that were not its own. A check names each record that was hit; a repair takes away nothing
 * that could be read, says what is gone, leaves a store that a check finds nothing in, and has
 * nothing to do the second time.
 *
 *	kv_random_damage_test KIND
 *
 * What was hit follows from comparing the files with what they were. The same rounds each time, for
 * some seconds; with KVFS_TEST_LONG in the environment others each time, for minutes, of a larger
 * store. KVFS_TEST_SEED repeats a run, and KVFS_TEST_ROUND one round of it alone.
 */
#include "damage_mix.h"
#include "damage_said.h"
#include "kv_fixture.h"
#include "large_header.h"

#include <inttypes.h>
#include <time.h>

#define SNAPSHOT "before"
#define LARGE_KEYS 6u /* the first ones */
#define LARGE_SIZE_MAX 300000u
#define VALUE_SIZE_MAX 700u
#define BATCH_MAX 20u
#define NONE UINT32_MAX
#define SLOTS 64u
#define ACTS 5u /* at most, of damage */

static const struct kind {
	const char *name;
	enum kv_compress compress;
	bool snapshot, cold, checkpoint, killed;
} kinds[] = {
	{.name = "plain"},
	{.name = "killed", .killed = true, .snapshot = true},
	{.name = "checkpoint", .snapshot = true, .cold = true, .checkpoint = true},
	{.name = "inline",
		.compress = KV_COMPRESS_INLINE,
		.snapshot = true,
		.checkpoint = true,
		.killed = true},
	{.name = "dictionaries",
		.compress = KV_COMPRESS_BACKGROUND,
		.snapshot = true,
		.cold = true,
		.checkpoint = true},
	{.name = "cold", .compress = KV_COMPRESS_BACKGROUND, .cold = true, .killed = true},
};
static const struct kind *kind;

/* One that a key has had. */
struct state {
	uint64_t seq;
	uint32_t version; /* from which the value follows; NONE: deleted */
	uint32_t older;   /* number of the one before it; 0: none */
};

/* A record, in the whole store. */
struct place {
	uint64_t seq;
	uint64_t large; /* id of a large value whose header it is, or a piece; 0 */
	uint32_t next;  /* of the same key; 0: none */
	uint32_t slot, offset, length, batch_end;
	uint32_t file;
	uint8_t keyspace;
	bool led, cold, relocated, snapshot, dictionary, bare, mark, end;
	bool hit; /* is damaged, in this round */
	bool torn;
};

static struct store {
	struct store_image image;
	unsigned keys;
	uint32_t *newest; /* of each key, the number of its state */
	struct state *states;
	uint32_t states_count;
	uint64_t snapshot_seq;
	uint64_t last_seq; /* that it has */
	uint32_t *placed;  /* of each key, the number of a record */
	struct place *places;
	uint32_t places_count;
	uint64_t ids[SLOTS]; /* of segments, by slot; 0: none */
} store;

static uint64_t run_seed;
static unsigned round_now;
static struct damage_mix mix;
static struct sim_random drawn;

static unsigned below(unsigned bound)
{
	return (unsigned)sim_random_below(&drawn, bound);
}

/* ---- what it holds --------------------------------------------------------------------------- */

static unsigned keyspace_of(unsigned number)
{
	return number % 2 ? ORDERED : HASHED;
}

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %07u", number);
}

static size_t value_of(unsigned number, uint32_t version, uint8_t *value)
{
	static const char *const words[] = {
		"segment", "record", "the", "value", "of", "a", "index", "log"};
	struct sim_random random = {(uint64_t)number << 32 | version};
	size_t size, used;

	if (number < LARGE_KEYS) {
		size = 70000 + sim_random_below(&random, LARGE_SIZE_MAX - 70000);
		fill_bytes(value, size, (uint64_t)number << 32 | version);
		return size;
	}
	size = number % 50 == 0 ? VALUE_SIZE_MAX - 100 : 20 + sim_random_below(&random, 130);
	used = (size_t)sprintf((char *)value, "{\"id\": %u, \"version\": %u, ", number, version);
	while (used < size)
		used += (size_t)sprintf(
			(char *)value + used, "%s ", words[sim_random_below(&random, 8)]);
	return used;
}

/* With room for one more. */
static void *grown(void *array, uint32_t count, size_t size)
{
	if (count & (count - 1))
		return array;
	array = realloc(array, 2 * count * size);
	assert_non_null(array);
	if (count == 1)
		memset(array, 0, size);
	return array;
}

static void note_state(unsigned number, uint64_t seq, uint32_t version)
{
	struct state *state;

	/* Number 0 is none. */
	store.states_count += !store.states_count;
	store.states = grown(store.states, store.states_count, sizeof(*state));
	state = &store.states[store.states_count];
	*state = (struct state){seq, version, store.newest[number]};
	store.newest[number] = store.states_count++;
}

static void put_large(struct fixture *fixture, unsigned number, uint32_t version)
{
	static uint8_t value[LARGE_SIZE_MAX];
	size_t size = value_of(number, version, value);
	struct kv_stream *stream;
	uint64_t seq;
	char key[16];

	key_of(number, key);
	assert_int_equal(
		kv_stream_open(fixture->kv, keyspace_of(number), key, strlen(key), &stream), 0);
	assert_int_equal(kv_stream_append(stream, value, size), 0);
	assert_int_equal(kv_stream_commit(stream, &seq), 0);
	note_state(number, seq, version);
}

/* A change of so many keys, which are drawn, or all of them in turn; one in five is deleted. */
static void change(struct fixture *fixture, unsigned count, bool all)
{
	static uint8_t value[VALUE_SIZE_MAX];
	static uint32_t version;
	struct kv_batch *batch;
	unsigned numbers[BATCH_MAX];
	uint32_t versions[BATCH_MAX];
	uint64_t seq;
	char key[16];

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	for (unsigned i = 0; i < count;) {
		unsigned size = 1 + below(BATCH_MAX), changed = 0;

		for (; size-- && i < count; i++) {
			unsigned number = all ? i : below(store.keys);

			if (number < LARGE_KEYS) {
				if (all || below(50) == 0)
					put_large(fixture, number, ++version);
				continue;
			}
			for (unsigned j = 0; j < changed; j++)
				if (numbers[j] == number)
					number = NONE;
			if (number == NONE)
				continue;
			key_of(number, key);
			numbers[changed] = number;
			versions[changed] = !all && below(5) == 0 ? NONE : ++version;
			if (versions[changed] == NONE)
				assert_int_equal(kv_batch_delete(batch, keyspace_of(number), key,
							 strlen(key)),
					0);
			else
				assert_int_equal(
					kv_batch_put(batch, keyspace_of(number), key, strlen(key),
						value, value_of(number, version, value)),
					0);
			changed++;
		}
		if (!changed)
			continue;
		assert_int_equal(kv_commit(fixture->kv, batch, &seq), 0);
		for (unsigned j = 0; j < changed; j++)
			note_state(numbers[j], seq, versions[j]);
		if (below(20) == 0)
			must_sync(fixture);
	}
	kv_batch_free(batch);
}

static void fill(struct fixture *fixture)
{
	struct kv_prune_options prune = {.garbage_percent = 1};

	change(fixture, store.keys, true);
	change(fixture, store.keys / 3, false);
	if (kind->snapshot)
		assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, &store.snapshot_seq), 0);
	change(fixture, store.keys / 3, false);
	if (kind->cold)
		assert_int_equal(kv_prune(fixture->kv, &prune, NULL, NULL, NULL), 0);
	change(fixture, store.keys / 6, false);
	if (kind->checkpoint) {
		assert_int_equal(kv_checkpoint(fixture->kv), 0);
		change(fixture, store.keys / 8, false);
	}
	must_sync(fixture);
	if (kind->killed)
		change(fixture, 200, false);
}

/* ---- where its records are ------------------------------------------------------------------- */

/* The number of the key, or NONE: none of ours. */
static uint32_t number_of(const struct format_record *record)
{
	char key[16] = "";
	unsigned number;

	if (record->keyspace > ORDERED || record->key_size >= sizeof(key))
		return NONE;
	memcpy(key, record->key, record->key_size);
	return sscanf(key, "key %u", &number) == 1 && number < store.keys ? number : NONE;
}

static uint64_t large_of(const struct format_record *record)
{
	struct large_header header;
	uint64_t id;
	uint32_t piece;

	if (record->flags & FORMAT_RECORD_LARGE &&
		!large_header_decode(format_record_value(record), record->value_size, &header))
		return header.id;
	if (record->keyspace == FORMAT_KEYSPACE_LARGE &&
		(large_piece_decode(record->key, record->key_size, &id, &piece) ||
			large_intent_decode(record->key, record->key_size, &id)))
		return id;
	return 0;
}

static void note_place(void *arg, const struct store_image_record *at)
{
	const struct format_record *record = at->record;
	bool engine = record->keyspace == FORMAT_KEYSPACE_ENGINE;
	bool bare = format_record_is_bare(record);
	struct place *place;
	uint32_t number;

	store.places_count += !store.places_count;
	store.places = grown(store.places, store.places_count, sizeof(*place));
	place = &store.places[store.places_count];
	*place = (struct place){.seq = record->seq,
		.slot = at->slot,
		.offset = at->offset,
		.length = at->length,
		.batch_end = at->batch_end,
		.file = at->file,
		.keyspace = record->keyspace,
		.led = at->led,
		.cold = at->cold,
		.relocated = record->flags & FORMAT_RECORD_RELOCATED,
		.bare = bare,
		.mark = bare && record->flags & FORMAT_RECORD_MARK,
		.end = bare && record->flags & (FORMAT_RECORD_MARK | FORMAT_RECORD_END),
		.snapshot = !bare && engine && record->key[0] == FORMAT_SNAPSHOT_KEY,
		.dictionary = !bare && engine && record->key[0] == 'd',
		.large = bare ? 0 : large_of(record)};
	/* What dictionary it is of which keyspace stands in its value. */
	if (place->dictionary && record->value_size)
		place->keyspace = *format_record_value(record);
	number = bare ? NONE : number_of(record);
	if (number != NONE) {
		place->next = store.placed[number];
		store.placed[number] = store.places_count;
	}
	store.places_count++;
}

static void note_ids(void)
{
	for (unsigned i = 0; i < store.image.count; i++) {
		const struct store_image_file *file = &store.image.files[i];
		int64_t slot = format_segment_slot(file->name);

		if (slot < 0)
			continue;
		assert_true((uint64_t)slot < sizeof(store.ids) / sizeof(store.ids[0]));
		store.ids[slot] = ((const struct format_segment *)(const void *)file->bytes)->id;
	}
}

static void make_store(void)
{
	struct kv_create_options create = fixture_create_options;
	struct fixture fixture = {0};

	store.keys = getenv("KVFS_TEST_LONG") ? 100000 : full_or_quick(12000, 3000);
	store.newest = calloc(store.keys, sizeof(*store.newest));
	store.placed = calloc(store.keys, sizeof(*store.placed));
	assert_non_null(store.newest);
	assert_non_null(store.placed);
	create.compress = kind->compress;
	assert_int_equal(
		sim_env_new(&(struct sim_options){.seed = run_seed, .file_size_max = 32 << 20},
			&fixture.sim),
		0);
	fixture.env = sim_env_table(fixture.sim);
	assert_int_equal(kv_create(fixture.env, STORE_PATH, &create, NULL, NULL), 0);
	must_open(&fixture, KV_OPEN_INLINE);
	fill(&fixture);
	if (kind->killed) {
		sim_env_cut(fixture.sim);
		(void)!kv_close(fixture.kv);
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_NONE), 0);
	} else {
		must_close(&fixture);
	}
	store_image_take(&store.image, fixture.sim, STORE_PATH);
	sim_env_free(fixture.sim);
	store_image_records(&store.image, note_place, NULL);
	note_ids();
}

static void free_store(void)
{
	store_image_free(&store.image);
	free(store.newest);
	free(store.placed);
	free(store.states);
	free(store.places);
	memset(&store, 0, sizeof(store));
}

/* ---- what it shows --------------------------------------------------------------------------- */

enum { NOW, BEFORE, VIEWS };
enum { GOT_WRONG = -1, GOT_NOTHING = -ENOENT, GOT_ERROR = -EIO };

struct seen {
	/* Of each key: 0, it has what it should; else the number of the state that is shown, or an
	 * error. */
	int32_t *got[VIEWS];
	bool no_view;
};

static void seen_free(struct seen *seen)
{
	free(seen->got[NOW]);
	free(seen->got[BEFORE]);
}

/* The number of the state that a view should show; 0: the key was never put. */
static uint32_t expected(unsigned view, unsigned number)
{
	uint32_t at = store.newest[number];
	uint64_t last = view == BEFORE ? store.snapshot_seq : store.last_seq;

	while (at && store.states[at].seq > last)
		at = store.states[at].older;
	return at;
}

static bool is_value(unsigned number, uint32_t version, const void *data, size_t size)
{
	static uint8_t value[LARGE_SIZE_MAX];

	return value_of(number, version, value) == size && !memcmp(value, data, size);
}

static int32_t look_at(struct kv *kv, const struct kv_view *view, unsigned which, unsigned number)
{
	static uint8_t large[LARGE_SIZE_MAX + 1];
	unsigned keyspace = keyspace_of(number);
	struct kv_slice found = {NULL, 0};
	uint32_t at = expected(which, number);
	int result, contains;
	char key[16];

	key_of(number, key);
	if (number < LARGE_KEYS) {
		found.data = large;
		result = view ? kv_view_read(view, keyspace, key, strlen(key), 0, large,
					sizeof(large), &found.size)
			      : kv_read(kv, keyspace, key, strlen(key), 0, large, sizeof(large),
					&found.size);
	} else {
		result = view ? kv_view_get(view, keyspace, key, strlen(key), &found)
			      : kv_get(kv, keyspace, key, strlen(key), &found);
	}
	contains = view ? kv_view_contains(view, keyspace, key, strlen(key))
			: kv_contains(kv, keyspace, key, strlen(key));
	if (!result && contains)
		fail_msg("key %u can be read, and contains says %d", number, contains);
	if (result == -ENOENT)
		return at && store.states[at].version != NONE ? GOT_NOTHING : 0;
	if (result == -EIO)
		return GOT_ERROR;
	assert_int_equal(result, 0);
	if (at && store.states[at].version != NONE &&
		is_value(number, store.states[at].version, found.data, found.size))
		return 0;
	/* An older one; or, of a view, none that came later. */
	for (at = at ? store.states[at].older : 0; at; at = store.states[at].older)
		if (store.states[at].version != NONE &&
			is_value(number, store.states[at].version, found.data, found.size))
			return (int32_t)at;
	fail_msg("key %u of %s has %zu bytes that it never had", number,
		which ? "the snapshot" : "the store", found.size);
	return GOT_WRONG;
}

static void look(struct fixture *fixture, struct seen *seen)
{
	struct kv_view *view = NULL;
	int result;

	*seen = (struct seen){0};
	if (kind->snapshot) {
		result = kv_snapshot_open(fixture->kv, SNAPSHOT, &view);
		assert_true(!result || result == -ENOENT);
		seen->no_view = result;
	}
	for (unsigned which = 0; which < VIEWS; which++) {
		seen->got[which] = calloc(store.keys, sizeof(*seen->got[which]));
		assert_non_null(seen->got[which]);
		if (which == BEFORE && !view)
			continue;
		for (unsigned i = 0; i < store.keys; i++) {
			kv_read_begin(fixture->kv);
			seen->got[which][i] = look_at(fixture->kv, which ? view : NULL, which, i);
			kv_read_end(fixture->kv);
		}
	}
	kv_view_close(view);
}

/* ---- what was hit ---------------------------------------------------------------------------- */

static uint64_t id_of(const struct place *place)
{
	return place->slot == NONE ? 0 : store.ids[place->slot];
}

/* Is this segment's file there, under its name, with a header? */
static bool has_segment(uint32_t slot, bool repaired)
{
	for (unsigned i = 0; i < store.image.count; i++)
		if (format_segment_slot(store.image.files[i].name) == slot)
			return !damage_mix_hits(&mix, &store.image, i, 0, 64, repaired) ||
			       !damage_mix_hits(&mix, &store.image, i, FORMAT_SEGMENT_COPY_AT,
				       FORMAT_SEGMENT_COPY_AT + 64, repaired);
	return false;
}

/*
 * What is taken for a torn end: of the last segment at the log's end that there is, what is behind
 * the first damage that no MARK vouches for. If nothing is left of it, the one before it is last.
 */
static bool tear_segment(uint64_t id)
{
	uint32_t torn_at = UINT32_MAX;
	uint64_t marked = 0;
	bool any = false;

	for (uint32_t i = 1; i < store.places_count; i++) {
		const struct place *place = &store.places[i];

		if (id_of(place) == id && place->mark && !place->hit && place->seq > marked)
			marked = place->seq;
	}
	for (uint32_t i = 1; i < store.places_count; i++) {
		struct place *place = &store.places[i];

		if (id_of(place) != id || !place->hit || place->offset > torn_at)
			continue;
		if (place->bare || place->relocated || place->seq > marked)
			torn_at = place->offset;
	}
	for (uint32_t i = 1; i < store.places_count; i++) {
		struct place *place = &store.places[i];

		if (id_of(place) != id)
			continue;
		place->torn = place->batch_end > torn_at;
		any |= !place->torn && !place->bare;
	}
	return any;
}

/* A cold segment likewise: nobody waited for its end. */
static void tear_cold(uint64_t id)
{
	bool vouched = false;

	for (uint32_t i = store.places_count - 1; i; i--) {
		struct place *place = &store.places[i];

		if (id_of(place) != id)
			continue;
		vouched |= place->end && !place->hit;
		place->torn = !vouched;
	}
}

static bool is_manifest_hit(void)
{
	for (unsigned i = 0; i < store.image.count; i++)
		if (!strcmp(store.image.files[i].name, FORMAT_MANIFEST_NAME))
			return damage_mix_hits(
				&mix, &store.image, i, 0, store.image.files[i].size, false);
	return true;
}

/* The newest segment of the log older than below_id that has records: those behind it are empty. */
static uint64_t newest_filled(uint64_t below_id)
{
	uint64_t newest = 0;

	for (uint32_t i = 1; i < store.places_count; i++) {
		uint64_t id = id_of(&store.places[i]);

		if (!store.places[i].cold && id < below_id && id > newest)
			newest = id;
	}
	return newest;
}

static bool tear_missing(uint64_t id, bool repaired)
{
	bool missing = false;

	for (uint32_t i = 1; i < store.places_count; i++) {
		struct place *place = &store.places[i];

		if (id_of(place) != id || has_segment(place->slot, repaired))
			continue;
		place->torn = true;
		missing = true;
	}
	return missing;
}

static void tear_missing_end(bool repaired)
{
	uint64_t id = UINT64_MAX;

	do
		id = newest_filled(id);
	while (id && tear_missing(id, repaired));
}

static void find_hits(bool repaired)
{
	uint64_t below_id = UINT64_MAX, newest_cold = 0;
	bool left = false;

	for (uint32_t i = 1; i < store.places_count; i++) {
		struct place *place = &store.places[i];

		place->torn = false;
		place->hit = damage_mix_hits(&mix, &store.image, place->file, place->offset,
				     place->offset + place->length, repaired) ||
			     !has_segment(place->slot, repaired);
	}
	/*
	 * Of a store that was killed nobody can tell that it had these segments at the log's end; of
	 * another one the list of segments.
	 */
	if (kind->killed || is_manifest_hit())
		tear_missing_end(repaired);
	while (!left) {
		uint64_t last = 0;

		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			uint64_t id = store.ids[slot];

			if (format_segment_is_cold(id) && id > newest_cold &&
				has_segment(slot, repaired))
				newest_cold = id;
			if (id && !format_segment_is_cold(id) && id < below_id && id > last &&
				has_segment(slot, repaired))
				last = id;
		}
		if (!last)
			break;
		left = tear_segment(last);
		below_id = last;
	}
	if (newest_cold)
		tear_cold(newest_cold);
}

/* ---- judging --------------------------------------------------------------------------------- */

static bool is_named(const struct place *place, const struct damage_said *said)
{
	return damage_named(said, place->slot,
		       place->offset - (place->led ? FORMAT_RECORD_HEADER_SIZE : 0),
		       place->offset + place->length) ||
	       said->missing;
}

/* Is it gone, and was that said, or could nobody know it? */
static bool is_gone(const struct place *place, const struct damage_said *said)
{
	/* A batch is there or not: one whose end was cut off is not. */
	if (place->torn || damage_cut(said, place->slot) < place->batch_end)
		return true;
	/* What stands before it says until when it was the newest. */
	if (place->led && store.places[place - store.places - 1].hit)
		return is_named(place, said);
	return place->hit && is_named(place, said);
}

struct excuses {
	const struct damage_said *said;
	bool dictionaries[2]; /* of this keyspace one is gone */
	bool any[2];	      /* of this keyspace a record is */
	bool snapshot;        /* its record is */
	uint64_t larges[256]; /* something of these is */
	unsigned larges_count;
};

static void find_excuses(struct excuses *excuses, const struct damage_said *said)
{
	*excuses = (struct excuses){.said = said};
	for (uint32_t i = 1; i < store.places_count; i++) {
		const struct place *place = &store.places[i];

		if (!is_gone(place, said))
			continue;
		if (place->dictionary && place->keyspace < 2)
			excuses->dictionaries[place->keyspace] = true;
		else if (place->keyspace < 2)
			excuses->any[place->keyspace] = true;
		excuses->snapshot |= place->snapshot;
		if (place->large && excuses->larges_count < 256)
			excuses->larges[excuses->larges_count++] = place->large;
	}
}

static bool is_large_gone(const struct excuses *excuses, uint64_t large)
{
	for (unsigned i = 0; i < excuses->larges_count; i++)
		if (excuses->larges[i] == large)
			return true;
	return false;
}

/*
 * No key, and an error instead of that: the index leads to a record that is gone, and whose hash is
 * partly the same. It could have been the key's.
 */
static bool is_masked(
	const struct excuses *excuses, const struct seen *seen, unsigned view, unsigned number)
{
	uint32_t at = expected(view, number);

	return seen->got[view][number] == GOT_ERROR && excuses->any[keyspace_of(number)] &&
	       (!at || store.states[at].version == NONE);
}

/* any_state: another one of the key counts as well, as it is the way to this one. */
static bool is_excused(
	const struct excuses *excuses, unsigned view, unsigned number, bool any_state)
{
	uint64_t seq = store.states[expected(view, number)].seq;

	if (excuses->dictionaries[keyspace_of(number)])
		return true;
	for (uint32_t at = store.placed[number]; at; at = store.places[at].next) {
		const struct place *place = &store.places[at];

		if ((any_state || place->seq == seq) &&
			(is_gone(place, excuses->said) || is_large_gone(excuses, place->large)))
			return true;
	}
	return false;
}

/* Where its records are, for who has to repeat it. */
static void say_places(unsigned number, const struct damage_said *said)
{
	for (uint32_t at = store.newest[number]; at; at = store.states[at].older)
		print_error("key %u: state %u of batch %" PRIu64 "%s\n", number, at,
			store.states[at].seq, store.states[at].version == NONE ? ", deleted" : "");
	for (uint32_t at = store.placed[number]; at; at = store.places[at].next) {
		const struct place *place = &store.places[at];

		print_error("  of batch %" PRIu64 " in seg-%08x at %u,%s%s%s%s%s\n", place->seq,
			place->slot, place->offset, place->cold ? " cold" : "",
			place->led ? " led" : "", place->hit ? " hit" : "",
			place->torn ? " torn" : "", is_named(place, said) ? " named" : "");
	}
}

static void must_be_excused(
	const struct seen *seen, const struct damage_said *said, bool repaired, const char *when)
{
	struct excuses excuses;

	find_excuses(&excuses, said);
	if (seen->no_view && !said->snapshot_lost && !excuses.snapshot)
		fail_msg("%s the snapshot is gone, and no message says why", when);
	for (unsigned view = 0; view < VIEWS; view++) {
		for (unsigned i = 0; i < store.keys; i++) {
			if (!seen->got[view][i] ||
				(seen->got[view][i] == GOT_ERROR && said->index_part &&
					!repaired) ||
				(!repaired && is_masked(&excuses, seen, view, i)) ||
				is_excused(&excuses, view, i, !repaired || view == BEFORE))
				continue;
			say_places(i, said);
			fail_msg("%s key %u of %s gives %d, and of %u messages none says "
				 "why; the last one: %s",
				when, i, view ? "the snapshot" : "the store", seen->got[view][i],
				said->count, said->last);
		}
	}
}

/* Every record that was hit has a message of its place. */
static void must_be_named(const struct damage_said *said)
{
	for (uint32_t i = 1; i < store.places_count; i++) {
		const struct place *place = &store.places[i];

		if (place->hit && !place->bare && !place->torn && !is_named(place, said))
			fail_msg("seg-%08x: the record at %u is damaged, and no message names it",
				place->slot, place->offset);
	}
}

/* What could be read can be read. */
/* Is a file under another's name? Then what is said of either counts by itself. */
static bool is_moved(void)
{
	for (unsigned i = 0; i < mix.image.count; i++)
		if (strcmp(mix.image.files[i].name, store.image.files[mix.origin[i]].name) != 0)
			return true;
	return false;
}

static void must_not_be_worse(
	const struct seen *before, const struct seen *after, const struct damage_said *said)
{
	for (unsigned view = 0; view < VIEWS && before->got[view]; view++) {
		for (unsigned i = 0; i < store.keys; i++) {
			int32_t was = before->got[view][i], is = after->got[view][i];
			uint64_t seq = store.states[expected(view, i)].seq;
			bool gone = false;

			/* What was misnamed may have deleted it, or its pieces. */
			for (uint32_t at = store.newest[i]; at > (uint32_t)was && was > 0;
				at = store.states[at].older)
				gone |= is == GOT_NOTHING ?
						store.states[at].version == NONE :
						is == GOT_ERROR && i < LARGE_KEYS && is_moved();
			if (!is || was == is || was < 0 || (is > 0 && is > was && was > 0) ||
				(view == BEFORE && (before->no_view || after->no_view)))
				continue;
			for (uint32_t at = store.placed[i]; at; at = store.places[at].next)
				/* What deleted it is: only a checkpoint knew. */
				gone |= damage_cut(said, store.places[at].slot) <
						store.places[at].batch_end ||
					(!was && store.places[at].seq == seq &&
						is_gone(&store.places[at], said));
			if (gone)
				continue;
			say_places(i, said);
			fail_msg("key %u of %s gave %d, and after the repair %d", i,
				view ? "the snapshot" : "the store", was, is);
		}
	}
}

static int open_and_hear(struct fixture *fixture, unsigned flags, struct damage_said *said)
{
	struct kv_open_options options = {
		.flags = flags, .resident_size = 1, .report = damage_hear, .report_arg = said};

	*said = (struct damage_said){.segment_size = SEGMENT_SIZE};
	return kv_open(fixture->env, STORE_PATH, &options, &fixture->kv);
}

static uint64_t findings_of(struct fixture *fixture, struct damage_said *said)
{
	uint64_t findings;

	assert_int_equal(kv_check(fixture->kv, damage_hear, said, NULL, NULL, &findings), 0);
	return findings;
}

static void mount(struct fixture *fixture, bool readable)
{
	*fixture = (struct fixture){.sim = damage_mix_mount(&mix, STORE_PATH, readable)};
	fixture->env = sim_env_table(fixture->sim);
}

static void unmount(struct fixture *fixture)
{
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
	fixture->sim = NULL;
}

static void judge_after(struct fixture *fixture, const struct seen *before,
	const struct damage_said *repaired, uint64_t left)
{
	static struct damage_said said;
	struct kv_repair_report report;
	struct seen after, again;

	find_hits(true);
	assert_int_equal(open_and_hear(fixture, KV_OPEN_INLINE, &said), 0);
	look(fixture, &after);
	must_be_excused(&after, repaired, true, "after the repair");
	must_not_be_worse(before, &after, repaired);
	assert_int_equal(findings_of(fixture, &said), left);
	must_put(fixture, HASHED, "new", "value");
	must_close(fixture);

	said = (struct damage_said){.segment_size = SEGMENT_SIZE};
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, damage_hear, &said, &report), 0);
	if (report.mended || report.remaining != left || said.count != left)
		fail_msg("the second repair has something to do: %s", said.last);
	assert_int_equal(open_and_hear(fixture, KV_OPEN_INLINE, &said), 0);
	look(fixture, &again);
	for (unsigned view = 0; view < VIEWS; view++)
		assert_memory_equal(
			again.got[view], after.got[view], store.keys * sizeof(*again.got[view]));
	must_have(fixture, HASHED, "new", "value");
	must_close(fixture);
	seen_free(&again);
	seen_free(&after);
}

static bool has_super(void)
{
	return store_image_find(&mix.image, FORMAT_SUPER_NAME) != NULL;
}

static void judge_before(
	struct fixture *fixture, struct seen *before, struct damage_said *said, uint64_t *findings)
{
	find_hits(false);
	look(fixture, before);
	*findings = findings_of(fixture, said);
	must_be_excused(before, said, false, "before the repair");
	must_be_named(said);
	must_close(fixture);
}

/* As it is, read-only: everything but what is damaged. False: pages have to be read first. */
static bool judge(bool readable)
{
	static struct damage_said said;
	struct kv_repair_report report;
	struct fixture fixture;
	struct seen before;
	uint64_t findings;
	int result;

	mount(&fixture, readable);
	result = open_and_hear(&fixture, KV_OPEN_READ_ONLY, &said);
	if (result == -EIO && mix.any_page && !readable) {
		assert_true(said.count > 0);
		result = kv_repair(fixture.env, STORE_PATH, NULL, NULL, &report);
		assert_true(result == -EIO);
		unmount(&fixture);
		return false;
	}
	if (!damage_mix_has_super(&mix, &store.image)) {
		assert_true(result && said.count > 0);
		assert_true(kv_repair(fixture.env, STORE_PATH, NULL, NULL, &report) != 0);
		unmount(&fixture);
		return true;
	}
	/* Without any superblock opening says that a repair has one. */
	if (result == -EUCLEAN && !has_super()) {
		assert_true(said.count > 0);
		before = (struct seen){0};
		findings = 1;
	} else {
		assert_int_equal(result, 0);
		judge_before(&fixture, &before, &said, &findings);
	}
	said = (struct damage_said){.segment_size = SEGMENT_SIZE};
	result = kv_repair(fixture.env, STORE_PATH, damage_hear, &said, &report);
	if (result == -EIO && mix.any_page && !readable) {
		seen_free(&before);
		unmount(&fixture);
		return false;
	}
	assert_int_equal(result, 0);
	assert_true(!findings || report.mended || report.remaining);
	/* Parts of a large value are there: it stays, for who wants them. */
	assert_int_equal(report.remaining, said.large_parts);
	/* But for zeros at the end of a record, which a file may have been cut off in. */
	if (!is_moved())
		assert_true(
			damage_lost_bytes(&said) - report.lost_bytes < FORMAT_RECORD_ALIGN * ACTS);
	/* What it has done is durable. */
	if (!mix.any_page || readable)
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_ALL), 0);
	judge_after(&fixture, &before, &said, report.remaining);
	seen_free(&before);
	unmount(&fixture);
	return true;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The whole store shows what was put, but for what a kill has taken; as far as that. */
static void look_at_whole(void)
{
	static struct damage_said said;
	struct fixture fixture;
	struct seen seen;

	damage_mix_make(&mix, &store.image, 0, 0);
	mount(&fixture, true);
	assert_int_equal(open_and_hear(&fixture, KV_OPEN_READ_ONLY, &said), 0);
	store.last_seq = kv_last_seq(fixture.kv);
	look(&fixture, &seen);
	find_hits(false);
	must_be_excused(&seen, &said, true, "in the whole store");
	assert_int_equal(findings_of(&fixture, &said), 0);
	must_close(&fixture);
	seen_free(&seen);
	unmount(&fixture);
	damage_mix_free(&mix);
}

static void test_rounds(void **state)
{
	const char *one = getenv("KVFS_TEST_ROUND");
	double seconds = getenv("KVFS_TEST_LONG") ? 600 : full_or_quick(4, 1), until;
	unsigned first = one ? (unsigned)strtoul(one, NULL, 10) : 1;

	drawn = (struct sim_random){run_seed};
	make_store();
	look_at_whole();
	until = now_s() + seconds;
	for (round_now = first; round_now == first || (!one && now_s() < until); round_now++) {
		damage_mix_make(&mix, &store.image, run_seed * 1000003 + round_now, DAMAGE_ALL);
		if (!judge(false))
			assert_true(judge(true));
		damage_mix_free(&mix);
	}
	print_message("%s: %u rounds of %u keys, %u records in %u files\n", kind->name,
		round_now - first, store.keys, store.places_count - 1, store.image.count);
	round_now = 0;
	free_store();
}

static int say_where(void **state)
{
	if (round_now)
		print_error("%s: KVFS_TEST_SEED=%" PRIu64 " KVFS_TEST_ROUND=%u:%s\n", kind->name,
			run_seed, round_now, mix.what);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_rounds, say_where)};
	const char *given = getenv("KVFS_TEST_SEED");

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(argc > 1 ? argv[1] : "plain", kinds[i].name))
			kind = &kinds[i];
	if (!kind)
		return 2;
	if (given)
		run_seed = strtoull(given, NULL, 10);
	else
		run_seed = getenv("KVFS_TEST_LONG") ? (uint64_t)time(NULL) : 1;
	print_message("KVFS_TEST_SEED=%" PRIu64 "\n", run_seed);
	return cmocka_run_group_tests_name(kind->name, tests, NULL, NULL);
}
