/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_order_test.c - an ordered keyspace that is used while its index still comes from a
 * checkpoint: whatever was asked for first, and whatever has changed since or changes meanwhile,
 * cursors show what there is.
 */
#include "kv_fixture.h"

#include "format.h"

#define KEYS 20000u
#define ROUNDS 12u
#define MOVES 400u

struct world {
	struct fixture *fixture;
	struct sim_random random;
	bool there[KEYS];
};

static unsigned below(struct world *world, unsigned bound)
{
	return (unsigned)sim_random_below(&world->random, bound);
}

/* Some are so long that chunks begin in the middle of them. */
static size_t key_of(char key[600], unsigned number)
{
	int size = sprintf(key, "%06u", number);

	if (number % 50 == 0)
		size += sprintf(key + size, "%0*u", 100 + (int)(number % 400), number);
	return (size_t)size;
}

static void change(struct world *world, unsigned number)
{
	char key[600];
	size_t size = key_of(key, number);

	if (world->there[number])
		assert_int_equal(kv_delete(world->fixture->kv, ORDERED, key, size, NULL), 0);
	else
		assert_int_equal(
			kv_put(world->fixture->kv, ORDERED, key, size, key, size, NULL), 0);
	world->there[number] = !world->there[number];
}

/* The nearest that is there, from this one on in a direction; KEYS: none is. */
static unsigned nearest(const struct world *world, unsigned number, int direction)
{
	while (number < KEYS && !world->there[number])
		number += (unsigned)direction;
	return number < KEYS ? number : KEYS;
}

static void must_be_at(struct kv_cursor *cursor, int moved, unsigned number)
{
	struct kv_slice slice, value;
	char key[600];
	size_t size;

	if (number == KEYS) {
		assert_int_equal(moved, -ENOENT);
		return;
	}
	assert_int_equal(moved, 0);
	size = key_of(key, number);
	slice = kv_cursor_key(cursor);
	assert_int_equal(slice.size, size);
	assert_memory_equal(slice.data, key, size);
	assert_int_equal(kv_cursor_value(cursor, &value), 0);
	assert_int_equal(value.size, size);
	assert_memory_equal(value.data, key, size);
}

static void seek(struct world *world, struct kv_cursor *cursor, unsigned number)
{
	unsigned at = nearest(world, number, 1), steps = below(world, 20);
	int direction = below(world, 2) ? 1 : -1;
	char key[600];
	size_t size = key_of(key, number);

	kv_read_begin(world->fixture->kv);
	must_be_at(cursor, kv_cursor_seek(cursor, key, size), at);
	while (at < KEYS && steps--) {
		at = nearest(world, at + (unsigned)direction, direction);
		must_be_at(cursor,
			direction > 0 ? kv_cursor_next(cursor) : kv_cursor_prev(cursor), at);
	}
	kv_read_end(world->fixture->kv);
}

static void read_some(struct world *world, struct kv_cursor *cursor, unsigned number)
{
	struct kv_entry entries[40];
	char key[600];
	size_t size = key_of(key, number), count, i;
	unsigned at = nearest(world, number, 1);

	if (at == KEYS)
		return;
	kv_read_begin(world->fixture->kv);
	must_be_at(cursor, kv_cursor_seek(cursor, key, size), at);
	assert_int_equal(kv_cursor_read(cursor, entries, 40, &count), 0);
	for (i = 0; i < count; i++, at = nearest(world, at + 1, 1)) {
		size = key_of(key, at);
		assert_int_equal(entries[i].key.size, size);
		assert_memory_equal(entries[i].key.data, key, size);
	}
	assert_true(count == 40 || at == KEYS);
	kv_read_end(world->fixture->kv);
}

static void act(struct world *world, struct kv_cursor *cursor)
{
	unsigned number = below(world, KEYS);

	switch (below(world, 6)) {
	case 0:
		kv_read_begin(world->fixture->kv);
		must_be_at(cursor, kv_cursor_first(cursor), nearest(world, 0, 1));
		kv_read_end(world->fixture->kv);
		break;
	case 1:
		kv_read_begin(world->fixture->kv);
		must_be_at(cursor, kv_cursor_last(cursor), nearest(world, KEYS - 1, -1));
		kv_read_end(world->fixture->kv);
		break;
	case 2:
		read_some(world, cursor, number);
		break;
	case 3:
		change(world, number);
		break;
	default:
		seek(world, cursor, number);
		break;
	}
}

static void use(struct world *world)
{
	struct kv_cursor *cursor;

	assert_int_equal(kv_cursor_open(world->fixture->kv, ORDERED, &cursor), 0);
	for (unsigned i = 0; i < MOVES; i++)
		act(world, cursor);
	kv_cursor_close(cursor);
}

static struct world *fill(struct fixture *fixture, uint64_t seed)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->fixture = fixture;
	world->random = (struct sim_random){seed};
	for (unsigned i = 0; i < KEYS; i++)
		if (i % 3)
			change(world, i);
	return world;
}

/* Closed, or crashed with a log behind that says otherwise. */
static void test_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct world *world = fill(fixture, 1);

	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 2) {
			must_close(fixture);
			must_open(fixture, 0);
		} else {
			assert_int_equal(kv_checkpoint(fixture->kv), 0);
			/* A whole stretch is deleted. */
			for (unsigned i = 0; i < 5000; i++)
				if (world->there[i + round * 1000] || i % 4 == 0)
					change(world, i + round * 1000);
			must_sync(fixture);
			must_crash(fixture, SIM_LOSS_ALL, 0);
		}
		use(world);
	}
	must_check_clean(fixture);
	assert_int_equal(fixture->errors, 0);
	free(world);
}

/* A snapshot's cursors too, while the head changes. */
static void test_views(void **state)
{
	struct fixture *fixture = *state;
	struct world *world = fill(fixture, 2);
	struct kv_cursor *cursor;
	struct kv_view *view;
	uint64_t seq;

	assert_int_equal(kv_snapshot_create(fixture->kv, "then", &seq), 0);
	for (unsigned i = 0; i < KEYS; i += 7)
		change(world, i);
	for (unsigned round = 0; round < 3; round++) {
		must_close(fixture);
		must_open(fixture, 0);
		assert_int_equal(kv_snapshot_open(fixture->kv, "then", &view), 0);
		assert_int_equal(kv_cursor_open_view(view, ORDERED, &cursor), 0);
		for (unsigned i = 0; i < 300; i++) {
			unsigned number = below(world, KEYS - 1), at = number + (number % 3 == 0);
			char key[600];
			size_t size = key_of(key, number);

			change(world, below(world, KEYS));
			kv_read_begin(fixture->kv);
			must_be_at(cursor, kv_cursor_seek(cursor, key, size), at);
			if (at > 2)
				must_be_at(cursor, kv_cursor_prev(cursor),
					at - 1 - ((at - 1) % 3 == 0));
			kv_read_end(fixture->kv);
		}
		kv_cursor_close(cursor);
		kv_view_close(view);
		/* From here on it is as it was for the next round's checkpoint. */
		use(world);
	}
	must_check_clean(fixture);
	free(world);
}

/* A part of it is damaged: it is made anew from the records, under whoever is at it. */
static void test_damaged(void **state)
{
	struct fixture *fixture = *state;
	struct world *world = fill(fixture, 3);
	const struct format_checkpoint_chunk *table;
	const struct format_checkpoint *header;
	uint64_t size;

	for (unsigned round = 0; round < 4; round++) {
		uint64_t chunk = 0, nth = round;

		assert_int_equal(kv_checkpoint(fixture->kv), 0);
		must_close(fixture);
		header = (const void *)sim_env_bytes(fixture->sim, FORMAT_CHECKPOINT_NAME, &size);
		assert_non_null(header);
		table = (const void *)((const uint8_t *)header +
				       (1 + header->chunks) * FORMAT_CHECKPOINT_CHUNK);
		while (table[chunk].section != FORMAT_CHECKPOINT_ORDERS + ORDERED || nth--)
			chunk++;
		assert_int_equal(sim_env_flip(fixture->sim, FORMAT_CHECKPOINT_NAME,
					 (1 + chunk) * FORMAT_CHECKPOINT_CHUNK + 99, 3),
			0);
		must_open(fixture, 0);
		use(world);
		must_check_clean(fixture);
		assert_int_equal(fixture->errors, 1);
	}
	free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_at_once),
		FIXTURE_TEST(test_views),
		FIXTURE_TEST(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
