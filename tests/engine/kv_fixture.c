/* SPDX-License-Identifier: MIT */
/* kv_fixture.c - a store on a simulated disk, for tests of what kv.h promises. */
#include "kv_fixture.h"
#include "read_section.h"

static const struct kv_keyspace_spec keyspaces[] = {{"hashed", false}, {"ordered", true}};

const struct kv_create_options fixture_create_options = {
	.keyspaces = keyspaces,
	.keyspace_count = 2,
	.segment_size = SEGMENT_SIZE,
	.application = 42,
};

void fixture_hear(void *arg, enum kv_severity severity, const char *message)
{
	struct fixture *fixture = arg;

	fixture->warnings += severity == KV_WARNING;
	if (severity != KV_ERROR)
		return;
	fixture->errors++;
	snprintf(fixture->last_error, sizeof(fixture->last_error), "%s", message);
}

int fixture_setup_empty(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7}, &fixture->sim), 0);
	fixture->env = sim_env_table(fixture->sim);
	*state = fixture;
	return 0;
}

static void create_and_open(struct fixture *fixture, unsigned flags)
{
	assert_int_equal(
		kv_create(fixture->env, STORE_PATH, &fixture_create_options, fixture_hear, fixture),
		0);
	must_open(fixture, flags);
}

int fixture_setup(void **state)
{
	fixture_setup_empty(state);
	create_and_open(*state, 0);
	return 0;
}

int fixture_setup_inline(void **state)
{
	fixture_setup_empty(state);
	create_and_open(*state, KV_OPEN_INLINE);
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	read_section_abandon();
	kv_close(fixture->kv);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
	free(fixture);
	return 0;
}

void fixture_set_fate(struct fixture *fixture, unsigned fate)
{
	uint64_t number;

	while (fate--)
		assert_int_equal(
			fixture->env->random(fixture->env, &number, sizeof(number)), 0);
}

struct fixture *fixture_begin(void **state, unsigned fate)
{
	assert_int_equal(fixture_setup_inline(state), 0);
	fixture_set_fate(*state, fate);
	return *state;
}

int fixture_open(struct fixture *fixture, unsigned flags)
{
	struct kv_open_options options = {
		.flags = flags,
		.resident_size =
			1, /* as little as the store accepts, so that maps are read as well */
		.report = fixture_hear,
		.report_arg = fixture,
		.checkpoint_interval = fixture->checkpoint_interval,
	};

	fixture->errors = 0;
	fixture->warnings = 0;
	return kv_open(fixture->env, STORE_PATH, &options, &fixture->kv);
}

void must_open(struct fixture *fixture, unsigned flags)
{
	assert_int_equal(fixture_open(fixture, flags), 0);
}

void must_close(struct fixture *fixture)
{
	assert_int_equal(kv_close(fixture->kv), 0);
	fixture->kv = NULL;
}

void must_crash(struct fixture *fixture, enum sim_loss loss, unsigned flags)
{
	sim_env_cut(fixture->sim);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	assert_int_equal(sim_env_power_on(fixture->sim, loss), 0);
	must_open(fixture, flags);
}

void must_put(struct fixture *fixture, unsigned keyspace, const char *key, const char *value)
{
	assert_int_equal(
		kv_put(fixture->kv, keyspace, key, strlen(key), value, strlen(value), NULL), 0);
}

void must_delete(struct fixture *fixture, unsigned keyspace, const char *key)
{
	assert_int_equal(kv_delete(fixture->kv, keyspace, key, strlen(key), NULL), 0);
}

void must_have(struct fixture *fixture, unsigned keyspace, const char *key, const char *value)
{
	struct kv_slice found;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, keyspace, key, strlen(key), &found), 0);
	assert_int_equal(found.size, strlen(value));
	assert_memory_equal(found.data, value, found.size);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_contains(fixture->kv, keyspace, key, strlen(key)), 0);
}

void must_lack(struct fixture *fixture, unsigned keyspace, const char *key)
{
	struct kv_slice found;

	kv_read_begin(fixture->kv);
	assert_int_equal(kv_get(fixture->kv, keyspace, key, strlen(key), &found), -ENOENT);
	kv_read_end(fixture->kv);
	assert_int_equal(kv_contains(fixture->kv, keyspace, key, strlen(key)), -ENOENT);
}

void must_sync(struct fixture *fixture)
{
	uint64_t seq = kv_last_seq(fixture->kv);

	assert_int_equal(kv_sync(fixture->kv, seq), 0);
	assert_true(kv_durable_seq(fixture->kv) >= seq);
}

static void hear_finding(void *arg, enum kv_severity severity, const char *message)
{
	print_error("finding: %s\n", message);
}

void must_check_clean(struct fixture *fixture)
{
	uint64_t findings;

	assert_int_equal(kv_check(fixture->kv, hear_finding, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, 0);
}

struct kv_stats stats_of(struct fixture *fixture)
{
	struct kv_stats stats;

	kv_stats(fixture->kv, &stats);
	return stats;
}

unsigned full_or_quick(unsigned full, unsigned quick)
{
	return getenv("KVFS_TEST_QUICK") ? quick : full;
}

void fill_bytes(uint8_t *bytes, size_t size, uint64_t seed)
{
	struct sim_random random = {seed};

	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = sim_random_next(&random);

		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
	}
}

void must_put_filled(
	struct fixture *fixture, unsigned keyspace, const char *key, size_t size, uint64_t seed)
{
	uint8_t *value = malloc(size + 1);

	assert_non_null(value);
	fill_bytes(value, size, seed);
	assert_int_equal(kv_put(fixture->kv, keyspace, key, strlen(key), value, size, NULL), 0);
	free(value);
}

int have_filled(
	struct fixture *fixture, unsigned keyspace, const char *key, size_t size, uint64_t seed)
{
	uint8_t *value = malloc(size + 1);
	struct kv_slice found;
	int result;

	assert_non_null(value);
	fill_bytes(value, size, seed);
	kv_read_begin(fixture->kv);
	result = kv_get(fixture->kv, keyspace, key, strlen(key), &found);
	if (!result) {
		assert_int_equal(found.size, size);
		assert_memory_equal(found.data, value, size);
	}
	kv_read_end(fixture->kv);
	free(value);
	return result;
}

void must_have_filled(
	struct fixture *fixture, unsigned keyspace, const char *key, size_t size, uint64_t seed)
{
	assert_int_equal(have_filled(fixture, keyspace, key, size, seed), 0);
}

void numbered_key(char key[16], unsigned number)
{
	snprintf(key, 16, "key-%06u", number * 7919u % 1000000u);
}

void numbered_value(char value[128], unsigned number, unsigned round)
{
	snprintf(value, 128, "value %u of round %u, and something to make it longer than it was",
		number, round);
}

void must_put_range(struct fixture *fixture, unsigned from, unsigned to, unsigned round)
{
	char key[16], value[128];

	for (unsigned i = from; i < to; i++) {
		numbered_key(key, i);
		numbered_value(value, i, round);
		must_put(fixture, i & 1, key, value);
	}
}

void must_have_range(struct fixture *fixture, unsigned from, unsigned to, unsigned round)
{
	char key[16], value[128];

	for (unsigned i = from; i < to; i++) {
		numbered_key(key, i);
		numbered_value(value, i, round);
		must_have(fixture, i & 1, key, value);
	}
}

#define FILL_KEYS_MAX 100000u

unsigned fill_disk(struct fixture *fixture, size_t size, int error)
{
	static uint8_t value[FILL_SIZE_MAX];
	unsigned count = 0;
	int result = 0;

	while (!result && count < FILL_KEYS_MAX) {
		fill_bytes(value, size, count);
		result = kv_put(fixture->kv, ORDERED, &count, sizeof(count), value, size, NULL);
		count += !result;
	}
	assert_int_equal(result, error);
	return count;
}

void must_have_filled_disk(struct fixture *fixture, unsigned from, unsigned to)
{
	static uint8_t expected[FILL_SIZE_MAX];
	struct kv_slice value;
	unsigned i;

	kv_read_begin(fixture->kv);
	for (i = from; i < to; i++) {
		fill_bytes(expected, sizeof(expected), i);
		assert_int_equal(kv_get(fixture->kv, ORDERED, &i, sizeof(i), &value), 0);
		assert_int_equal(value.size, sizeof(expected));
		assert_memory_equal(value.data, expected, sizeof(expected));
	}
	kv_read_end(fixture->kv);
}
