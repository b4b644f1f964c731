/* SPDX-License-Identifier: MIT */
/*
 * soak.c - works on a store for a long time, kills the process that does so again and again, and
 *compares all that the store holds with a model.
 *
 *	soak [-s SECONDS] [-t WRITERS] [-k PAIRS] [-r SEED] DIRECTORY
 *
 * The child opens the store, verifies everything, and then writes, reads, prunes and takes
 *snapshots from several threads until the parent kills it, or one time in four asks it to close. At
 *the end: a check, and a look at the memory that children used. Exit status 1 if anything was not
 *as the model says.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kv.h"
#include "soak_model.h"

#define THREADS_MAX 16u
#define SYNC_EACH 200u /* changes of a writer */
#define RESIDENT_BYTES (32u << 20)
#define SEGMENT_BYTES (2u << 20)
#define LIFE_MS_MIN 300u
#define LIFE_MS_MAX 4000u
#define WARM_LIVES 3u /* whose memory is not looked at yet */
#define MEMORY_GROWTH_MAX 1.5

static struct soak_model *model;
static const char *directory;
static unsigned writers = 3, seconds = 60;
static uint64_t seed = 1;

struct worker {
	pthread_t thread;
	struct kv *kv;
	unsigned number;
	uint64_t random;
};

/* Taken shared around each change, and exclusively by who takes a snapshot: the model's copy is
 * then that moment's. */
static pthread_rwlock_t changing;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* SplitMix64. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "soak: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	atomic_store(&model->failed, true);
	_exit(1);
}

static void must(int error, const char *what)
{
	if (error)
		fail("%s: %s", what, strerror(-error));
}

static void report(void *arg, enum kv_severity severity, const char *message)
{
	(void)arg;
	if (severity <= KV_WARNING)
		fprintf(stderr, "soak: store: %s\n", message);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The version of a key that a get gave; 0: it is not there. In a read section. */
static uint32_t version_of(uint32_t pair, unsigned half, int error, const struct kv_slice *value)
{
	uint32_t version;

	if (error == -ENOENT)
		return 0;
	if (error)
		fail("pair %u: get: %s", pair, strerror(-error));
	if (!soak_value_version(pair, half, value->data, value->size, &version))
		fail("pair %u: %zu bytes that nobody wrote", pair, value->size);
	return version;
}

static uint32_t version_in_store(struct kv *kv, uint32_t pair, unsigned half)
{
	uint8_t key[SOAK_KEY_SIZE];
	struct kv_slice value;

	soak_key(pair, half, key);
	return version_of(pair, half, kv_get(kv, half, key, sizeof(key), &value), &value);
}

/* Some version from `from` to `to` is a deletion, or there was none yet. */
static bool may_be_absent(uint32_t from, uint32_t to)
{
	return from == 0 || to / SOAK_DELETE_EACH * SOAK_DELETE_EACH >= from;
}

/* What a pair's version must be, if the store has `found` (0: none). */
static uint32_t settle(uint32_t pair, uint32_t found)
{
	uint32_t from = atomic_load(&model->pair[pair].synced);
	uint32_t to = atomic_load(&model->pair[pair].tried);

	if (found && (found < from || found > to))
		fail("pair %u: version %u, not one of %u to %u", pair, found, from, to);
	if (!found && !may_be_absent(from, to))
		fail("pair %u: absent, but versions %u to %u are not", pair, from, to);
	/* Which of the deletions it was does not matter: the last possible one. */
	return found ? found : to / SOAK_DELETE_EACH * SOAK_DELETE_EACH;
}

static void verify_all(struct kv *kv)
{
	uint32_t pair;

	for (pair = 0; pair < model->pairs; pair++) {
		struct soak_pair *entry = &model->pair[pair];
		uint32_t first, second;

		kv_read_begin(kv);
		first = version_in_store(kv, pair, 0);
		second = version_in_store(kv, pair, 1);
		kv_read_end(kv);
		if (first != second)
			fail("pair %u: versions %u and %u of one batch", pair, first, second);
		first = settle(pair, first);
		atomic_store(&entry->tried, first);
		atomic_store(&entry->done, first);
		atomic_store(&entry->synced, first);
	}
}

/* ---- threads --------------------------------------------------------------------------------- */

static void change_pair(struct worker *worker, struct kv_batch *batch, uint32_t pair, uint64_t *seq)
{
	static __thread uint8_t value[SOAK_VALUE_MAX + 8];
	struct soak_pair *entry = &model->pair[pair];
	uint32_t version = atomic_load(&entry->tried) + 1;
	uint8_t key[SOAK_KEY_SIZE];
	unsigned half;

	atomic_store(&entry->tried, version);
	for (half = 0; half < 2; half++) {
		size_t size = soak_value(pair, half, version, value);

		soak_key(pair, half, key);
		must(size ? kv_batch_put(batch, half, key, sizeof(key), value, size)
			  : kv_batch_delete(batch, half, key, sizeof(key)),
			"filling a batch");
	}
	must(kv_commit(worker->kv, batch, seq), "commit");
	atomic_store(&entry->done, version);
	atomic_fetch_add(&model->changes, 1);
}

static void *writer(void *arg)
{
	struct worker *worker = arg;
	uint32_t changed[SYNC_EACH];
	struct kv_batch *batch;
	unsigned count = 0, i;
	uint64_t seq = 0;

	must(kv_batch_new(worker->kv, &batch), "batch");
	while (!atomic_load(&model->stopping)) {
		/* Half of the changes fall on an eighth of the pairs. */
		uint64_t random = random_next(&worker->random);
		uint32_t share = random & 1 ? model->pairs : model->pairs / 8;
		uint32_t pair =
			(uint32_t)(random >> 8) % (share / writers) * writers + worker->number;

		pthread_rwlock_rdlock(&changing);
		change_pair(worker, batch, pair, &seq);
		pthread_rwlock_unlock(&changing);
		changed[count++] = pair;
		if (count < SYNC_EACH)
			continue;
		must(kv_sync(worker->kv, seq), "sync");
		for (i = 0; i < count; i++)
			atomic_store(&model->pair[changed[i]].synced,
				atomic_load(&model->pair[changed[i]].done));
		count = 0;
	}
	kv_batch_free(batch);
	return NULL;
}

static void *reader(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&model->stopping)) {
		uint32_t pair = (uint32_t)random_next(&worker->random) % model->pairs;
		uint32_t from = atomic_load(&model->pair[pair].done), version, to;

		kv_read_begin(worker->kv);
		version = version_in_store(worker->kv, pair, pair & 1);
		to = atomic_load(&model->pair[pair].tried);
		kv_read_end(worker->kv);
		if (version ? version < from || version > to : !may_be_absent(from, to))
			fail("pair %u: read version %u between %u and %u", pair, version, from, to);
		atomic_fetch_add(&model->reads, 1);
	}
	return NULL;
}

/* Memory of the process's own: maps of the log come and go with the kernel's cache. */
static uint64_t memory_bytes(void)
{
	unsigned long size = 0, resident = 0, shared = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file) {
		if (fscanf(file, "%lu %lu %lu", &size, &resident, &shared) != 3)
			resident = shared = 0;
		fclose(file);
	}
	return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- a life ---------------------------------------------------------------------------------- */

static void start(
	struct worker *worker, struct kv *kv, unsigned number, uint64_t life, void *(*run)(void *))
{
	worker->kv = kv;
	worker->number = number;
	worker->random = seed ^ life << 20 ^ number;
	if (pthread_create(&worker->thread, NULL, run, worker))
		fail("no thread");
}

static struct kv *open_store(unsigned flags)
{
	struct kv_open_options options = {
		.flags = flags, .resident_size = RESIDENT_BYTES, .report = report};
	struct kv *kv;

	must(kv_open(NULL, directory, &options, &kv), "open");
	return kv;
}

static void child(uint64_t life)
{
	struct worker workers[THREADS_MAX];
	struct kv *kv = open_store(0);
	unsigned i;

	verify_all(kv);
	pthread_rwlock_init(&changing, NULL);
	for (i = 0; i < writers; i++)
		start(&workers[i], kv, i, life, writer);
	start(&workers[i], kv, i, life, reader);
	while (!atomic_load(&model->stopping)) {
		atomic_store(&model->memory_bytes, memory_bytes());
		usleep(50000);
	}
	for (i = 0; i <= writers; i++)
		pthread_join(workers[i].thread, NULL);
	must(kv_close(kv), "close");
	_exit(0);
}

/* Lets a child work for a while and ends it. */
static bool live(uint64_t life, uint64_t *random, uint64_t until_ms)
{
	uint64_t ms = LIFE_MS_MIN + random_next(random) % (LIFE_MS_MAX - LIFE_MS_MIN);
	uint64_t now = now_ms();
	bool cleanly = random_next(random) % 4 == 0;
	int status;
	pid_t pid;

	atomic_store(&model->stopping, false);
	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child(life);
	}
	if (now + ms > until_ms)
		ms = until_ms > now ? until_ms - now : 1;
	usleep((useconds_t)ms * 1000);
	if (cleanly)
		atomic_store(&model->stopping, true);
	else
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || atomic_load(&model->failed))
		return false;
	if (WIFEXITED(status) ? WEXITSTATUS(status) != 0 : WTERMSIG(status) != SIGKILL) {
		fprintf(stderr, "soak: life %llu ended with status %x\n", (unsigned long long)life,
			(unsigned)status);
		return false;
	}
	return true;
}

static bool make_store(void)
{
	static const struct kv_keyspace_spec keyspaces[] = {{"hashed", false}, {"ordered", true}};
	struct kv_create_options options = {
		.keyspaces = keyspaces, .keyspace_count = 2, .segment_size = SEGMENT_BYTES};

	return kv_create(NULL, directory, &options, report, NULL) == 0;
}

/* Everything as the model says, and as the store's own check says. */
static bool finish(void)
{
	uint64_t findings = 0;
	struct kv *kv = open_store(0);
	int error;

	verify_all(kv);
	error = kv_check(kv, report, NULL, NULL, NULL, &findings);
	must(kv_close(kv), "close");
	return !error && !findings;
}

static bool soak(void)
{
	uint64_t random = seed, life, until_ms = now_ms() + seconds * 1000ull, said_ms = 0;
	uint64_t early_bytes = 0, late_bytes = 0;

	for (life = 0; now_ms() < until_ms; life++) {
		uint64_t bytes;

		if (!live(life, &random, until_ms))
			return false;
		bytes = atomic_load(&model->memory_bytes);
		if (life < WARM_LIVES + 5 && bytes > early_bytes)
			early_bytes = bytes;
		late_bytes = bytes;
		if (now_ms() - said_ms > 10000) {
			said_ms = now_ms();
			fprintf(stderr,
				"soak: %llu lives, %llu changes, %llu reads, %llu MiB of memory\n",
				(unsigned long long)life + 1,
				(unsigned long long)atomic_load(&model->changes),
				(unsigned long long)atomic_load(&model->reads),
				(unsigned long long)bytes >> 20);
		}
	}
	if (life > WARM_LIVES + 5 && (double)late_bytes > MEMORY_GROWTH_MAX * (double)early_bytes) {
		fprintf(stderr, "soak: memory grew from %llu to %llu MiB\n",
			(unsigned long long)early_bytes >> 20,
			(unsigned long long)late_bytes >> 20);
		return false;
	}
	printf("%llu lives, %llu changes, %llu reads\n", (unsigned long long)life,
		(unsigned long long)atomic_load(&model->changes),
		(unsigned long long)atomic_load(&model->reads));
	return finish();
}

int main(int argc, char **argv)
{
	uint32_t pairs = 20000;
	int letter;

	while ((letter = getopt(argc, argv, "s:t:k:r:")) != -1) {
		if (letter == 's')
			seconds = (unsigned)atoi(optarg);
		else if (letter == 't')
			writers = (unsigned)atoi(optarg);
		else if (letter == 'k')
			pairs = (uint32_t)atoi(optarg);
		else if (letter == 'r')
			seed = (uint64_t)atoll(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc || !seconds || !writers || writers + 2 > THREADS_MAX ||
		pairs < 8 * writers) {
		fprintf(stderr,
			"usage: soak [-s SECONDS] [-t WRITERS] [-k PAIRS] [-r SEED] DIRECTORY\n");
		return 2;
	}
	directory = argv[optind];
	pairs -= pairs % (8 * writers);
	model = soak_model_new(pairs);
	if (!model || !make_store())
		return 1;
	return soak() ? 0 : 1;
}
