/* SPDX-License-Identifier: MIT */
/*
 * kv_late_test.c - a disk that answers late and in any order, several writers, and then the power
 * fails, or a call does: what was acknowledged as durable is there, and what is there is what was
 * committed up to one number, of all writers.
 *
 * Each writer has keys of its own and remembers which of them its batches put, by their numbers; so
 * what the store must hold after any number is known without asking in which order the writers
 * went.
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define WRITERS 3u
#define SLOTS 40u        /* keys of each writer */
#define BATCHES_MAX 600u /* of each; its disk ends a life after some 100 */
#define VALUE_SIZE_MAX 9000u
#define LATE_US 300u
#define ROUNDS (getenv("KVFS_TEST_LONG") ? 400u : 4u)

struct put {
	uint64_t seq;
	uint32_t slot, version; /* the version is the number of the writer's batch */
};

struct writer {
	struct round *round;
	pthread_t thread;
	unsigned number, count;
	struct put puts[BATCHES_MAX];
	uint64_t durable_seq; /* the highest that was acknowledged */
};

/* One life of a store. */
struct round {
	struct fixture *fixture;
	uint64_t seed;
	struct writer writers[WRITERS];
};

static size_t make_value(unsigned writer, const struct put *put, uint8_t value[VALUE_SIZE_MAX])
{
	uint64_t seed = (uint64_t)writer << 48 | (uint64_t)put->slot << 32 | put->version;
	size_t size = 1 + (seed * 0x9e3779b97f4a7c15u >> 40) % VALUE_SIZE_MAX;

	fill_bytes(value, size, seed);
	return size;
}

static int commit(struct writer *writer, struct kv_batch *batch, struct put *put)
{
	uint32_t key[2] = {writer->number, put->slot};
	uint8_t value[VALUE_SIZE_MAX];
	size_t size = make_value(writer->number, put, value);
	int error = kv_batch_put(batch, HASHED, key, sizeof(key), value, size);

	if (error == 0)
		error = kv_batch_put(batch, ORDERED, key, sizeof(key), value, size);
	return error < 0 ? error : kv_commit(writer->round->fixture->kv, batch, &put->seq);
}

/* Snapshots and prunes, so that copies are written beside the writers. */
static int do_more(struct writer *writer, unsigned i)
{
	struct kv *kv = writer->round->fixture->kv;
	char name[32];
	int error = 0;

	if (writer->number == 0 && i % 40 == 39) {
		snprintf(name, sizeof(name), "%u", i);
		error = kv_snapshot_create(kv, name, NULL);
		snprintf(name, sizeof(name), "%u", i - 80);
		if (error == 0 && i > 80)
			error = kv_snapshot_delete(kv, name, NULL);
	} else if (writer->number == 1 && i % 100 == 99) {
		error = kv_prune(kv, NULL, NULL, NULL, NULL);
	}
	return error;
}

/* Until the store refuses, because its disk does. */
static void *write_thread(void *arg)
{
	struct writer *writer = arg;
	struct kv *kv = writer->round->fixture->kv;
	struct sim_random random = {writer->round->seed * WRITERS + writer->number};
	struct kv_batch *batch;
	int error = kv_batch_new(kv, &batch);

	if (error < 0)
		return NULL;
	for (unsigned i = 0; error == 0 && i < BATCHES_MAX; i++) {
		struct put *put = &writer->puts[writer->count];

		*put = (struct put){
			.slot = (uint32_t)sim_random_below(&random, SLOTS), .version = i};
		error = commit(writer, batch, put);
		if (error < 0)
			break;
		writer->count++;
		if (sim_random_below(&random, 4) == 0) {
			error = kv_sync(kv, put->seq);
			if (error == 0)
				writer->durable_seq = put->seq;
		}
		if (error == 0)
			error = do_more(writer, i);
	}
	kv_batch_free(batch);
	return NULL;
}

/* The writer's newest put of a key up to a number, or NULL. */
static const struct put *find_put(const struct writer *writer, uint32_t slot, uint64_t last_seq)
{
	const struct put *found = NULL;

	for (unsigned i = 0; i < writer->count && writer->puts[i].seq <= last_seq; i++)
		if (writer->puts[i].slot == slot)
			found = &writer->puts[i];
	return found;
}

static void compare_key(
	const struct writer *writer, unsigned keyspace, uint32_t slot, uint64_t last_seq)
{
	const struct put *put = find_put(writer, slot, last_seq);
	uint32_t key[2] = {writer->number, slot};
	uint8_t expected[VALUE_SIZE_MAX];
	struct kv *kv = writer->round->fixture->kv;
	struct kv_slice value;
	int error;

	kv_read_begin(kv);
	error = kv_get(kv, keyspace, key, sizeof(key), &value);
	assert_int_equal(error, put ? 0 : -ENOENT);
	if (put) {
		assert_int_equal(value.size, make_value(writer->number, put, expected));
		assert_memory_equal(value.data, expected, value.size);
	}
	kv_read_end(kv);
}

static void compare(struct round *round)
{
	struct kv_stats stats;

	kv_stats(round->fixture->kv, &stats);
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_true(round->writers[i].durable_seq <= stats.last_seq);
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			compare_key(&round->writers[i], HASHED, slot, stats.last_seq);
			compare_key(&round->writers[i], ORDERED, slot, stats.last_seq);
		}
	}
	must_check_clean(round->fixture);
}

/* The power fails, or a sync or write does, some time from now. */
static void plan_end(struct round *round, struct sim_random *random)
{
	struct sim_env *sim = round->fixture->sim;

	switch (round->seed % 4) {
	case 0:
		sim_env_fail(sim, SIM_FAULT_SYNC, 1 + sim_random_below(random, 60), 1, -EIO);
		break;
	case 1:
		sim_env_fail(sim, SIM_FAULT_WRITE, 1 + sim_random_below(random, 120), 1, -EIO);
		break;
	default:
		sim_env_cut_at(sim, sim_env_steps(sim) + 1 + sim_random_below(random, 250));
	}
}

static void live(struct round *round)
{
	struct fixture *fixture = round->fixture;
	struct sim_random random = {round->seed};

	assert_int_equal(
		kv_create(fixture->env, STORE_PATH, &fixture_create_options, fixture_hear, fixture),
		0);
	fixture->checkpoint_interval = 1u << 19;
	must_open(fixture, 0);
	sim_env_set_late(fixture->sim, LATE_US);
	plan_end(round, &random);
	for (unsigned i = 0; i < WRITERS; i++) {
		round->writers[i] = (struct writer){.round = round, .number = i};
		assert_int_equal(pthread_create(&round->writers[i].thread, NULL, write_thread,
					 &round->writers[i]),
			0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(round->writers[i].thread, NULL);
	kv_close(fixture->kv);
	fixture->kv = NULL;
	for (unsigned kind = 0; kind < SIM_FAULTS; kind++)
		sim_env_fail(fixture->sim, kind, 0, 0, 0);
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ANY), 0);
}

static void test_late(void **state)
{
	static struct round round;
	unsigned rounds = ROUNDS;
	uint64_t first =
		getenv("KVFS_TEST_SEED") ? strtoull(getenv("KVFS_TEST_SEED"), NULL, 10) : 1;

	for (uint64_t seed = first; seed < first + rounds; seed++) {
		round.seed = seed;
		assert_int_equal(fixture_setup_empty((void **)&round.fixture), 0);
		live(&round);
		must_open(round.fixture, 0);
		/* after a call that failed it may complain: what it holds is the same */
		if (seed % 4 > 1 && round.fixture->errors)
			fail_msg("seed %llu: %s", (unsigned long long)seed,
				round.fixture->last_error);
		compare(&round);
		must_put(round.fixture, ORDERED, "afterwards", "a value");
		must_sync(round.fixture);
		must_close(round.fixture);
		must_open(round.fixture, KV_OPEN_INLINE);
		must_have(round.fixture, ORDERED, "afterwards", "a value");
		must_close(round.fixture);
		fixture_teardown((void **)&round.fixture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
