/* SPDX-License-Identifier: MIT */
/*
 * kv_repair_space_test.c - repairs on a disk that is full, or nearly: one that fails leaves the
 * store as it was, and can be done again; and one that begins to empty segments comes to its end.
 */
#include "kv_fixture.h"

#include "format.h"
#include "store_image.h"

#define KEYS 3580u
#define AGAIN 3u /* of them are put again... */
#define AGAIN_AT 2000u /* ...behind this one */
#define VALUE_SIZE 2000u
#define ROUNDS 2
#define ROOM_ENOUGH (16 * (uint64_t)SEGMENT_SIZE)

/* The first one is the newest of what was put again. */
static const struct {
	const char *name;
	uint64_t at;
} damaged[] = {{"seg-00000003", 953500}, {"seg-00000004", 450000}, {"seg-00000005", 450000}};
#define DAMAGED (sizeof(damaged) / sizeof(damaged[0]))

static void put(struct fixture *fixture, unsigned number, unsigned round)
{
	char key[16];

	numbered_key(key, number);
	must_put_filled(fixture, number % 2, key, VALUE_SIZE, number + round * KEYS);
}

/* Full segments, and hardly any garbage. */
static void make_image(struct store_image *image)
{
	struct fixture *fixture;
	void *state = NULL;

	fixture_setup_inline(&state);
	fixture = state;
	for (unsigned i = 0; i < KEYS; i++) {
		put(fixture, i, 0);
		if (i == AGAIN_AT)
			for (unsigned again = 0; again < AGAIN; again++)
				put(fixture, again, 1);
	}
	assert_int_equal(kv_checkpoint(fixture->kv), 0);
	must_close(fixture);
	store_image_take(image, fixture->sim, STORE_PATH);
	fixture_teardown(&state);
}

static uint64_t checkpoint_size(const struct store_image *image)
{
	return store_image_find(image, FORMAT_CHECKPOINT_NAME)->size;
}

static uint64_t space_of(struct fixture *fixture)
{
	uint64_t avail, total;
	struct env_dir *dir;

	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->dir_space(dir, &avail, &total), 0);
	fixture->env->dir_close(dir);
	return total - avail;
}

/*
 * In each of three segments a record is damaged, on a disk with so much room beside what the
 * checkpoint takes: to give that back is not enough.
 */
static void mount_damaged(struct fixture *fixture, const struct store_image *image, uint64_t room)
{
	*fixture = (struct fixture){.sim = store_image_mount(image, STORE_PATH)};
	fixture->env = sim_env_table(fixture->sim);
	for (unsigned i = 0; i < DAMAGED; i++)
		assert_int_equal(
			sim_env_flip(fixture->sim, damaged[i].name, damaged[i].at, 3), 0);
	sim_env_set_capacity(fixture->sim, space_of(fixture) + room - checkpoint_size(image));
}

static void unmount(struct fixture *fixture)
{
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
}

/* What is shown of a key: the round that its value is of, from 1 on; or the error. */
static int look_at(struct fixture *fixture, unsigned number)
{
	static uint8_t value[VALUE_SIZE];
	struct kv_slice found;
	int result, round = 0;
	char key[16];

	numbered_key(key, number);
	kv_read_begin(fixture->kv);
	result = kv_get(fixture->kv, number % 2, key, strlen(key), &found);
	while (!result && round < ROUNDS) {
		fill_bytes(value, sizeof(value), number + (unsigned)round++ * KEYS);
		if (found.size == sizeof(value) && !memcmp(found.data, value, sizeof(value)))
			result = round;
	}
	kv_read_end(fixture->kv);
	assert_int_not_equal(result, 0);
	return result;
}

static void look(struct fixture *fixture, int seen[KEYS])
{
	must_open(fixture, KV_OPEN_READ_ONLY);
	for (unsigned i = 0; i < KEYS; i++)
		seen[i] = look_at(fixture, i);
	must_close(fixture);
}

static void must_be_as_it_was(struct fixture *fixture, const struct store_image *image)
{
	struct fixture same;

	mount_damaged(&same, image, 0);
	for (unsigned i = 0; i < image->count; i++) {
		const char *name = image->files[i].name;
		uint64_t size, size_before;
		const uint8_t *before = sim_env_bytes(same.sim, name, &size_before);
		const uint8_t *bytes = sim_env_bytes(fixture->sim, name, &size);

		if (!bytes || size != size_before || memcmp(bytes, before, size))
			fail_msg("%s is not as it was", name);
	}
	unmount(&same);
}

static int repair(struct fixture *fixture, struct kv_repair_report *report)
{
	return kv_repair(fixture->env, STORE_PATH, fixture_hear, fixture, report);
}

/*
 * With so much room, and no more than so many allocations: 0, or -ENOSPC; then there is more, and
 * it goes well.
 */
static int repair_with(const struct store_image *image, uint64_t room, unsigned allocations)
{
	int before[KEYS], after[KEYS], result;
	struct kv_repair_report report;
	struct fixture fixture;

	mount_damaged(&fixture, image, room);
	look(&fixture, before);
	sim_env_fail(fixture.sim, SIM_FAULT_ALLOCATE, allocations + 1, UINT32_MAX, -ENOSPC);
	result = repair(&fixture, &report);
	sim_env_fail(fixture.sim, SIM_FAULT_ALLOCATE, 0, 0, 0);
	if (result) {
		assert_int_equal(result, -ENOSPC);
		must_be_as_it_was(&fixture, image);
		look(&fixture, after);
		assert_memory_equal(after, before, sizeof(after));
		sim_env_set_capacity(fixture.sim, space_of(&fixture) + ROOM_ENOUGH);
		assert_int_equal(repair(&fixture, &report), 0);
	}
	assert_true(report.mended >= DAMAGED);
	assert_int_equal(report.remaining, 0);
	look(&fixture, after);
	for (unsigned i = 0; i < KEYS; i++)
		assert_true(before[i] < 0 || after[i] == before[i]);
	must_open(&fixture, KV_OPEN_READ_ONLY);
	must_check_clean(&fixture);
	must_close(&fixture);
	unmount(&fixture);
	return result;
}

static void test_full_disk(void **state)
{
	struct store_image image;
	unsigned refused = 0;
	uint64_t room = 0;

	make_image(&image);
	for (; room < 4 * (uint64_t)SEGMENT_SIZE; room += SEGMENT_SIZE / 4)
		refused += repair_with(&image, room, UINT32_MAX - 1) != 0;
	assert_true(refused > 0);
	store_image_free(&image);
}

/* What is made sure of before anything is changed is enough, whatever others take of the rest. */
static void test_nothing_more(void **state)
{
	struct store_image image;
	unsigned allocations = 0;

	make_image(&image);
	while (repair_with(&image, ROOM_ENOUGH, allocations))
		allocations++;
	assert_int_equal(allocations, 2);
	store_image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
