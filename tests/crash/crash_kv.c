/* SPDX-License-Identifier: MIT */
/*
 * crash_kv.c - the engine as a subject of crash runs: its operations, its model, and the comparison
 * of the two.
 *
 * The store runs without a thread of its own (KV_OPEN_INLINE), so that steps come in the same order
 * each time.
 */
#include "crash.h"
#include "crash_kv.h"
#include "kv_compare.h"
#include "kv_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "kv.h"
#include "index_table.h"
#include "maintain.h"
#include "order_node.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define SEGMENT_SIZE (1u << 20)
#define BATCH_MAX 48u
#define LOOK_US 1000000u /* more than clock_us passes by while somebody looks */
#define REST_TURNS 3u
#define REST_US 40000000u

static int subject_verify(void *arg);

struct subject {
	const struct crash_script *script;
	struct kv_env *env;
	struct sim_random *random;
	struct kv_model *model;
	struct kv *kv; /* NULL: closed */
	const struct crash_kv_op *op;
	unsigned done;        /* of this operation's count */
	unsigned extra;       /* random operations to do when the script is over */
	/* Of the batches that the last crash took, those that are to be made again. */
	size_t again, again_end;
	uint64_t stamp;       /* of the last value */
	unsigned complaints;  /* errors that the store reported since it was opened */
	uint8_t *value;       /* scratch, as large as they get */
	unsigned reached;     /* of enum crash_kv_reached */
	bool disturbed;       /* by the power, or a call that failed */
	/* Behind the last operation: buckets are saved for a checkpoint; not to be looked into. */
	bool saving;
	const struct index_table *table;
	uint64_t written;     /* checkpoints, then */
};

static const struct kv_keyspace_spec keyspaces[KV_MODEL_KEYSPACES] = {
	{"hashed", false}, {"ordered", true}};

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	struct subject *subject = arg;

	if (severity != KV_ERROR)
		return;
	subject->complaints++;
	if (getenv("CRASH_VERBOSE"))
		fprintf(stderr, "store: %s\n", message);
}

/* ---- growth ------------------------------------------------------------------------------------
 */

static bool is_growing(struct index *index)
{
	return atomic_load(&atomic_load(&index->table)->next);
}

/* Is the table larger than what was made, or loaded, when the store was opened? */
static bool has_grown(struct index *index)
{
	struct index_table *table = atomic_load(&index->table);

	return is_growing(index) || (table->count > INDEX_COUNT_MIN && !table->owned);
}

static void count_crash(struct kv *kv)
{
	if (!is_growing(&kv->index) && !is_growing(&kv->versions.index))
		return;
	crash_totals.growing++;
	crash_totals.growing_beside += kv->checkpoint_save != NULL;
}

/* To be called between any two operations. */
static void note_growth(struct subject *subject)
{
	struct kv *kv = subject->kv;
	struct index_table *table = atomic_load(&kv->index.table);
	uint64_t written = atomic_load(&kv->checkpoints.written);
	bool growing = is_growing(&kv->index);
	unsigned reached = growing ? CRASH_KV_GROWING : 0;

	if (growing && kv->checkpoint_save)
		reached |= CRASH_KV_GROWING_BESIDE;
	if (subject->saving && written == subject->written && (growing || table != subject->table))
		reached |= CRASH_KV_SAVE_LOST;
	if (growing && table->owned)
		reached |= CRASH_KV_LOADED_GREW;
	if (table->count >= 4 * INDEX_COUNT_MIN)
		reached |= CRASH_KV_GREW_TWICE;
	if (has_grown(&kv->versions.index))
		reached |= CRASH_KV_VERSIONS_GREW;
	if (kv->order_of[1]->depth > 1)
		reached |= CRASH_KV_BRANCHES;
	if (atomic_load(&kv->checkpoints.bytes) >= (uint64_t)16 * FORMAT_CHECKPOINT_CHUNK)
		reached |= CRASH_KV_CHUNKS;
	subject->reached |= reached;
	subject->saving = table->saving;
	subject->table = table;
	subject->written = written;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void subject_free(void *arg)
{
	struct subject *subject = arg;

	kv_model_free(subject->model);
	free(subject->value);
	free(subject);
}

static int subject_new(
	const void *arg, struct kv_env *env, struct sim_random *random, void **out)
{
	const struct crash_script *script = arg;
	struct subject *subject = calloc(1, sizeof(*subject));

	if (!subject)
		return -ENOMEM;
	subject->script = script;
	subject->env = env;
	subject->random = random;
	subject->op = script->ops;
	subject->value = malloc(SEGMENT_SIZE);
	if (!subject->value || kv_model_new(&subject->model) < 0) {
		subject_free(subject);
		return -ENOMEM;
	}
	*out = subject;
	return 0;
}

static int subject_create(void *arg)
{
	struct subject *subject = arg;
	struct kv_create_options options = {
		.keyspaces = keyspaces,
		.keyspace_count = KV_MODEL_KEYSPACES,
		.hash = subject->script->hash_blake2b ? KV_HASH_BLAKE2B : KV_HASH_XXH3,
		.compress = subject->script->compress     ? KV_COMPRESS_INLINE
			    : subject->script->background ? KV_COMPRESS_BACKGROUND
							  : KV_COMPRESS_NONE,
		.segment_size = SEGMENT_SIZE,
	};

	return kv_create(subject->env, STORE_PATH, &options, hear, subject);
}

static bool subject_is_unmade(int error)
{
	return error == -ENOENT || error == -EMEDIUMTYPE || error == -EUCLEAN;
}

static int open_as(struct subject *subject, unsigned flags)
{
	struct kv_open_options options = {
		.flags = flags,
		.resident_size = 1, /* as little as the store accepts: maps are read early */
		.checkpoint_interval = subject->script->checkpoint_interval,
		.report = hear,
		.report_arg = subject,
	};

	subject->complaints = 0;
	return kv_open(subject->env, STORE_PATH, &options, &subject->kv);
}

static void complain(void *arg, enum kv_severity severity, const char *message)
{
	fprintf(stderr, "check: %s\n", message);
}

static int check_clean(struct kv *kv)
{
	uint64_t findings;
	int result = crash_check_loss(kv);

	if (result < 0)
		return result;
	result = kv_check(kv, complain, NULL, NULL, NULL, &findings);
	if (result < 0)
		return crash_may_complain ? result : crash_fail("kv_check failed: %s", strerror(-result));
	return findings > 0 && !crash_may_complain ? crash_fail("kv_check has %llu findings", (unsigned long long)findings)
			    : 0;
}

/*
 * A reader sees what the writer that comes after it will find, and changes nothing. It may have threads, of which two recover: how
 * often they look at the clock is chance, so it goes on to a moment that is not.
 */
static int look_read_only(struct subject *subject, uint64_t *seq)
{
	bool threads = crash_may_have_threads && sim_random_below(subject->random, 4) > 0;
	uint64_t look_end = subject->env->clock_us(subject->env) + LOOK_US;
	uint64_t steps = sim_env_steps((struct sim_env *)subject->env);
	int result = open_as(subject, KV_OPEN_READ_ONLY | (threads ? 0 : KV_OPEN_INLINE));

	if (result < 0)
		return result;
	/* One who says what he cannot read shows the rest. */
	*seq = subject->complaints && crash_may_complain ? UINT64_MAX : kv_last_seq(subject->kv);
	result = check_clean(subject->kv);
	if (kv_close(subject->kv) < 0)
		result = crash_fail("closing a reader failed");
	if (sim_env_steps((struct sim_env *)subject->env) != steps)
		result = crash_fail("a reader changed the disk");
	subject->kv = NULL;
	sim_env_advance_to(subject->env, look_end);
	return result;
}

static int subject_open(void *arg)
{
	struct subject *subject = arg;
	uint64_t seq = UINT64_MAX;
	int result = 0;

	if (sim_random_below(subject->random, 4) == 0)
		result = look_read_only(subject, &seq);
	if (result == 0)
		result = open_as(subject, KV_OPEN_INLINE);
	if (result == 0 && has_grown(&subject->kv->index))
		crash_totals.openings_grown++;
	if (result == 0 && seq != UINT64_MAX && seq != kv_last_seq(subject->kv))
		return crash_fail("a reader saw %llu batches, the writer %llu",
			(unsigned long long)seq, (unsigned long long)kv_last_seq(subject->kv));
	return result;
}

static int subject_close(void *arg)
{
	struct subject *subject = arg;
	int result = 0;

	if (subject->kv && sim_env_is_cut((struct sim_env *)subject->env))
		count_crash(subject->kv);
	if (subject->kv) {
		result = kv_close(subject->kv);
		if (result == 0 && !crash_unverified)
			kv_model_synced(subject->model, kv_model_last(subject->model));
	}
	subject->kv = NULL;
	subject->saving = false;
	return result;
}

/* ---- operations --------------------------------------------------------------------------------
 */

static uint32_t random_size(struct subject *subject, unsigned divisor)
{
	uint64_t dice = sim_random_below(subject->random, 100);
	uint32_t size_max = subject->script->size_max;

	if (size_max > 0)
		return (uint32_t)sim_random_below(subject->random, size_max + 1);
	if (dice < 4)
		return CRASH_KV_TO_BLOCK;
	if (dice < 70)
		return (uint32_t)sim_random_below(subject->random, 300) / divisor;
	if (dice < 97)
		return (uint32_t)sim_random_below(subject->random, 10000) / divisor;
	return (uint32_t)sim_random_below(subject->random, 250000) / divisor;
}

/* Of a value that is put next. */
static uint32_t size_to_block_end(struct subject *subject, unsigned key)
{
	const struct kv *kv = subject->kv;
	const struct log_tail *tail = &kv->log.hot;
	bool marks = atomic_load(&kv->sync.durable_seq) != tail->marked_seq;
	const uint8_t *bytes;
	uint64_t head = FORMAT_RECORD_HEADER_SIZE + kv_model_key(key, &bytes);

	head += tail->offset + (marks ? FORMAT_RECORD_HEADER_SIZE : 0);
	return (uint32_t)(-head & (ENV_DIRECT_ALIGN - 1));
}

static struct kv_model_change make_change(
	struct subject *subject, unsigned keyspace, unsigned key, bool present, uint32_t size)
{
	struct kv_info info;

	kv_info(subject->kv, &info);
	if (size == CRASH_KV_TO_BLOCK)
		size = size_to_block_end(subject, key % KV_MODEL_KEYS);
	if (size > info.value_size_max)
		size = info.value_size_max;
	return (struct kv_model_change){
		.keyspace = (uint8_t)(keyspace % KV_MODEL_KEYSPACES),
		.key = (uint16_t)(key % KV_MODEL_KEYS),
		.present = present,
		.size = present ? size : 0,
		.stamp = present ? ++subject->stamp : 0,
	};
}

static int add_to_batch(
	struct subject *subject, struct kv_batch *batch, const struct kv_model_change *change)
{
	const uint8_t *key;
	size_t key_size = kv_model_key(change->key, &key);

	if (!change->present)
		return kv_batch_delete(batch, change->keyspace, key, key_size);
	kv_model_value(change, subject->value);
	return kv_batch_put(
		batch, change->keyspace, key, key_size, subject->value, change->size);
}

/* Adds the condition that a key is as the model has it, or, `contrary`, that it is not. */
static int add_condition(struct subject *subject, struct kv_batch *batch,
	const struct kv_model_change *change, bool contrary)
{
	const struct kv_model_change *now =
		kv_model_get(subject->model, change->keyspace, change->key);
	const uint8_t *key;
	size_t key_size = kv_model_key(change->key, &key);

	if (!now == !contrary)
		return kv_batch_expect(batch, change->keyspace, key, key_size, 0);
	if (!now)
		return kv_batch_expect_value(batch, change->keyspace, key, key_size, NULL, 0);
	kv_model_value(now, subject->value);
	return kv_batch_expect_value(
		batch, change->keyspace, key, key_size, subject->value, now->size);
}

/* A batch whose condition does not hold is refused, and must leave nothing, however this life ends. */
static int commit_refused(struct subject *subject, const struct kv_model_change *change)
{
	struct kv_batch *batch = NULL;
	int result = kv_batch_new(subject->kv, &batch);

	if (result == 0)
		result = add_condition(subject, batch, change, true);
	if (result == 0)
		result = add_to_batch(subject, batch, change);
	if (result == 0)
		result = kv_commit(subject->kv, batch, NULL);
	kv_batch_free(batch);
	if (result == -EEXIST || result == -ESTALE)
		return 0;
	return result ? result : crash_fail("a batch was committed against its condition");
}

/*
 * Batches up to this number that are not ours: a store that compresses commits dictionaries, and one for which time passes says now and
 * then how late it is.
 */
static void allow_others(struct subject *subject, uint64_t seq)
{
	bool others = subject->script->background || subject->script->rests;

	while (others && kv_model_last(subject->model) < seq)
		if (kv_model_commit(subject->model, kv_model_last(subject->model) + 1, NULL, 0) < 0)
			return;
}

static int remember(struct subject *subject, uint64_t seq, const struct kv_model_change *changes,
	unsigned count)
{
	allow_others(subject, seq - 1);
	return kv_model_commit(subject->model, seq, changes, count);
}

/*
 * On a full disk what may take room is refused, and nothing of it is made. Deleting goes on, unless
 * snapshots keep what is deleted; so do deleting these, a sync, and opening.
 */
static int unless_full(const struct subject *subject, int result)
{
	const struct crash_script *script = subject->script;

	return (result == -ENOSPC && script->capacity) || (result == -EDQUOT && script->quota) ?
		       0 :
		       result;
}

static bool has_snapshots(const struct subject *subject)
{
	for (unsigned i = 0; i < KV_MODEL_SNAPSHOTS; i++)
		if (kv_model_snapshot(subject->model, i))
			return true;
	return false;
}

/* Commits the changes as one batch; what does not fit any more is left out. */
static int commit(struct subject *subject, const struct kv_model_change *changes, unsigned count)
{
	struct kv_batch *batch = NULL;
	unsigned added = 0;
	uint64_t seq;
	int result = unless_full(subject, commit_refused(subject, &changes[0]));

	if (result < 0)
		return result;
	result = kv_batch_new(subject->kv, &batch);
	if (result == 0)
		result = add_condition(subject, batch, &changes[0], false);
	while (result == 0 && added < count) {
		result = add_to_batch(subject, batch, &changes[added]);
		added += result == 0;
	}
	if (result == -E2BIG && added > 0)
		result = 0;
	if (result == 0)
		result = kv_commit(subject->kv, batch, &seq);
	kv_batch_free(batch);
	if (result == 0 && remember(subject, seq, changes, added) < 0)
		return crash_fail("batch got number %llu, %llu was the last",
			(unsigned long long)seq, (unsigned long long)kv_model_last(subject->model));
	return unless_full(subject, result);
}

/* A batch of one takes a way of its own through the engine. */
static int commit_one(struct subject *subject, const struct kv_model_change *change)
{
	const uint8_t *key;
	size_t key_size = kv_model_key(change->key, &key);
	uint64_t seq;
	int result;

	kv_model_value(change, subject->value);
	if (change->present)
		result = kv_put(subject->kv, change->keyspace, key, key_size, subject->value,
			change->size, &seq);
	else
		result = kv_delete(subject->kv, change->keyspace, key, key_size, &seq);
	if (result == 0 && remember(subject, seq, change, 1) < 0)
		return crash_fail("change got number %llu, %llu was the last",
			(unsigned long long)seq, (unsigned long long)kv_model_last(subject->model));
	return change->present || has_snapshots(subject) ? unless_full(subject, result) : result;
}

static int commit_batch(struct subject *subject, unsigned key, unsigned count, uint32_t size)
{
	struct kv_model_change changes[BATCH_MAX];

	for (unsigned i = 0; i < count; i++)
		changes[i] = make_change(subject, i, key + i, i % 5 != 4, size);
	return commit(subject, changes, count);
}

/* Of a row of such, each has keys that the ones before it had not. */
static int commit_fill(struct subject *subject, unsigned key, unsigned index, uint32_t size)
{
	struct kv_model_change changes[BATCH_MAX];

	key += index * BATCH_MAX / KV_MODEL_KEYSPACES;
	for (unsigned i = 0; i < BATCH_MAX; i++)
		changes[i] = make_change(subject, i, key + i / KV_MODEL_KEYSPACES, true, size);
	return commit(subject, changes, BATCH_MAX);
}

static int sync_all(struct subject *subject)
{
	uint64_t seq = kv_model_last(subject->model);
	int result = kv_sync(subject->kv, seq);

	if (result == 0)
		kv_model_synced(subject->model, seq);
	return result;
}

struct noted {
	struct kv_waiter waiter;
	unsigned answers;
	int status;
};

static void note(struct kv_waiter *waiter, int status)
{
	struct noted *noted = (struct noted *)waiter;

	noted->answers++;
	noted->status = status;
}

static int sync_notified(struct subject *subject)
{
	struct noted noted = {.waiter = {.seq = kv_model_last(subject->model), .done = note}};

	kv_sync_notify(subject->kv, &noted.waiter);
	if (noted.answers != 1)
		return crash_fail("a waiter got %u answers", noted.answers);
	if (noted.status == 0)
		kv_model_synced(subject->model, noted.waiter.seq);
	return noted.status;
}

static int reopen(struct subject *subject)
{
	int result = subject_close(subject);

	if (result == 0)
		result = subject_open(subject);
	if (result == -ENOMEM) /* nothing is kept of one that had no memory */
		result = subject_open(subject);
	/* What the power left of an opening is for the next one to judge. */
	if (result < 0 || sim_env_is_cut((struct sim_env *)subject->env))
		return result;
	return subject_verify(subject);
}

/* Then the store gives back what it keeps for who goes on. */
static int rest(struct subject *subject)
{
	unsigned turn;

	/* The first round finds what has happened until now. */
	for (turn = 0; turn < REST_TURNS; turn++) {
		maintain_round(subject->kv);
		sim_env_advance_us((struct sim_env *)subject->env, REST_US);
	}
	allow_others(subject, kv_last_seq(subject->kv));
	return 0;
}

static int prune(struct subject *subject)
{
	struct kv_prune_options options = {
		.garbage_percent = 1 + (unsigned)sim_random_below(subject->random, 40)};

	int result = kv_prune(subject->kv, &options, NULL, NULL, NULL);

	allow_others(subject, kv_last_seq(subject->kv));
	return unless_full(subject, result);
}

/* One step, whatever comes before and behind it. */
static int compact(struct subject *subject)
{
	unsigned permille = 10 + (unsigned)sim_random_below(subject->random, 400);
	struct kv *kv = subject->kv;
	int result;

	pthread_mutex_lock(&kv->maintain.lock);
	result = compact_demand(kv, permille, UINT64_MAX);
	pthread_mutex_unlock(&kv->maintain.lock);
	/* Copies have no room now: somebody sees to that. */
	if (result == -EAGAIN)
		maintain_round(kv);
	allow_others(subject, kv_last_seq(kv));
	return result > 0 || result == -EAGAIN ? 0 : unless_full(subject, result);
}

static const char *snapshot_name(unsigned snapshot)
{
	static char name[16];

	snprintf(name, sizeof(name), KV_COMPARE_NAME, snapshot);
	return name;
}

/* Takes the snapshot, or deletes it if it is there. */
static int change_snapshot(struct subject *subject, unsigned snapshot)
{
	bool there;
	uint64_t seq;
	int result;

	snapshot %= KV_MODEL_SNAPSHOTS;
	there = kv_model_snapshot(subject->model, snapshot);
	result = there ? kv_snapshot_delete(subject->kv, snapshot_name(snapshot), &seq) :
			 kv_snapshot_create(subject->kv, snapshot_name(snapshot), &seq);
	if (result < 0)
		return there ? result : unless_full(subject, result);
	allow_others(subject, seq - 1);
	if (kv_model_change_snapshot(subject->model, seq, snapshot, !there) < 0)
		return crash_fail("snapshot got number %llu, %llu was the last",
			(unsigned long long)seq, (unsigned long long)kv_model_last(subject->model));
	return 0;
}

static int checkpoint(struct subject *subject)
{
	int result = kv_checkpoint(subject->kv);

	allow_others(subject, kv_last_seq(subject->kv));
	return unless_full(subject, result);
}

static int act_random(struct subject *subject)
{
	uint64_t dice = sim_random_below(subject->random, 100);
	unsigned keyspace = (unsigned)sim_random_below(subject->random, KV_MODEL_KEYSPACES);
	unsigned key = (unsigned)sim_random_below(subject->random, KV_MODEL_KEYS);
	struct kv_model_change change;

	if (dice < 22)
		return commit_batch(subject, key,
			2 + (unsigned)sim_random_below(subject->random, BATCH_MAX - 2),
			random_size(subject, 4));
	if (dice < 30)
		return sync_all(subject);
	if (dice < 32)
		return sync_notified(subject);
	if (dice < 34)
		return reopen(subject);
	if (dice < 36)
		return prune(subject);
	if (dice < 37)
		return checkpoint(subject);
	if (dice < 38)
		return compact(subject);
	if (dice < 42 && subject->script->snapshots)
		return change_snapshot(subject, key);
	if (dice < 42 && subject->script->rests)
		return rest(subject);
	change = make_change(subject, keyspace, key, dice < 85, random_size(subject, 1));
	return commit_one(subject, &change);
}

static int act_on(struct subject *subject, const struct crash_kv_op *op, unsigned index)
{
	struct kv_model_change change;
	int result;

	switch (op->kind) {
	case CRASH_KV_PUT:
	case CRASH_KV_DELETE:
		change = make_change(subject, op->key + index, op->key + index / 2,
			op->kind == CRASH_KV_PUT, op->size);
		return commit_one(subject, &change);
	case CRASH_KV_PUT_SYNC:
		change = make_change(subject, op->key + index, op->key + index / 2, true, op->size);
		result = commit_one(subject, &change);
		return result == 0 ? sync_all(subject) : result;
	case CRASH_KV_BATCH:
		return commit_batch(subject, op->key, op->count, op->size);
	case CRASH_KV_FILL:
		return commit_fill(subject, op->key, index, op->size);
	case CRASH_KV_SYNC:
		return sync_all(subject);
	case CRASH_KV_NOTIFY:
		return sync_notified(subject);
	case CRASH_KV_REOPEN:
		return reopen(subject);
	case CRASH_KV_REST:
		return rest(subject);
	case CRASH_KV_PRUNE:
		return prune(subject);
	case CRASH_KV_COMPACT:
		return compact(subject);
	case CRASH_KV_SNAPSHOT:
		return change_snapshot(subject, op->key);
	case CRASH_KV_CHECKPOINT:
		return checkpoint(subject);
	default:
		return act_random(subject);
	}
}

static bool op_repeats(const struct crash_kv_op *op)
{
	return op->kind == CRASH_KV_PUT || op->kind == CRASH_KV_PUT_SYNC ||
	       op->kind == CRASH_KV_DELETE || op->kind == CRASH_KV_FILL ||
	       op->kind == CRASH_KV_COMPACT || op->kind == CRASH_KV_RANDOM;
}

/*
 * What the last crash took is done again, with other values of the same size: so it comes to stand
 * where the lost stood, and what of that was not erased would follow it.
 */
static int act_again(struct subject *subject)
{
	struct kv_model_change changes[BATCH_MAX];
	unsigned count;
	int snapshot, result = 0;
	const struct kv_model_change *lost =
		kv_model_lost(subject->model, subject->again++, &count, &snapshot);

	if (snapshot >= 0)
		return change_snapshot(subject, (unsigned)snapshot);
	for (unsigned i = 0; i < count; i++)
		changes[i] = make_change(
			subject, lost[i].keyspace, lost[i].key, lost[i].present, lost[i].size);
	if (count == 1)
		result = commit_one(subject, &changes[0]);
	else if (count > 0)
		result = commit(subject, changes, count);
	if (result == 0 && subject->again == subject->again_end &&
		sim_random_below(subject->random, 2) == 0)
		result = sync_all(subject);
	return result;
}

/* All of it, or a beginning. */
static void begin_again(struct subject *subject)
{
	size_t lost = kv_model_lost_count(subject->model);

	subject->again = 0;
	subject->again_end = sim_random_below(subject->random, 4) == 0
				     ? lost
				     : sim_random_below(subject->random, lost + 1);
}

static int end_script(const struct subject *subject)
{
	unsigned missing = subject->script->reaches & ~subject->reached;

	if (missing && !subject->disturbed && !crash_may_complain)
		return crash_fail("the script has not come by all that it is about (%#x)", missing);
	return 1;
}

static int subject_act(void *arg)
{
	struct subject *subject = arg;
	const struct crash_kv_op *op = subject->op;

	if (subject->kv)
		note_growth(subject);
	if (subject->again < subject->again_end)
		return act_again(subject);
	if (op->kind == CRASH_KV_END) {
		if (subject->extra == 0)
			return end_script(subject);
		subject->extra--;
		return act_random(subject);
	}
	if (!op_repeats(op) || subject->done + 1 >= op->count) {
		unsigned index = subject->done;

		subject->op++;
		subject->done = 0;
		return act_on(subject, op, index);
	}
	return act_on(subject, op, subject->done++);
}


static void subject_extend(void *arg, unsigned count)
{
	struct subject *subject = arg;

	subject->extra = subject->extra > count ? subject->extra : count;
	subject->disturbed = true;
}

/* ---- what came back ----------------------------------------------------------------------------
 */

/* Who opened for writing has left nothing behind the end of a segment, of a future that was lost. */
static int check_behind(struct subject *subject)
{
	struct kv *kv = subject->kv;
	const struct segments *segments = &kv->segments;
	const struct log_tail *tail = &kv->log.hot;
	uint32_t slot, count = atomic_load(&segments->count);
	char name[FORMAT_SEGMENT_NAME_SIZE];

	for (slot = 0; slot < count; slot++) {
		const struct segment *segment = segments->table[slot];
		uint64_t size, budget = SEGMENT_SEARCH_BUDGET(segments);
		const uint8_t *bytes;
		uint32_t end, found;

		if (!segment || !segment->id)
			continue;
		end = segment->end;
		if (segment == tail->active)
			end = tail->offset + (tail->closed ? FORMAT_RECORD_HEADER_SIZE : 0);
		format_segment_name(slot, name);
		bytes = sim_env_bytes((struct sim_env *)subject->env, name, &size);
		found = segment_search(segments, segment, bytes, end, segments->size, &budget);
		if (found < segments->size)
			return crash_fail("%s ends at %u and has a record at %u", name, end,
				found);
	}
	return 0;
}

static int subject_verify(void *arg)
{
	struct subject *subject = arg;
	uint64_t seq = kv_last_seq(subject->kv);
	int result;

	if (subject->complaints > 0 && !crash_may_complain)
		return crash_fail("the store complained while it was opened");
	allow_others(subject, seq);
	if (seq < kv_model_durable(subject->model) || seq > kv_model_last(subject->model))
		return crash_fail(
			"the store has batches 1 to %llu; %llu were made, %llu are durable",
			(unsigned long long)seq, (unsigned long long)kv_model_last(subject->model),
			(unsigned long long)kv_model_durable(subject->model));
	kv_model_forget_after(subject->model, seq);
	begin_again(subject);
	kv_model_synced(subject->model, kv_durable_seq(subject->kv));
	result = kv_compare(subject->kv, subject->model);
	if (result == 0 && !crash_may_complain)
		result = check_behind(subject);
	return result == 0 ? check_clean(subject->kv) : result;
}

static void script_limit(const void *arg, struct sim_options *options)
{
	const struct crash_script *script = arg;

	options->capacity = script->capacity;
	options->quota = script->quota;
}

const struct crash_subject crash_kv = {
	.limit = script_limit,
	.name = "kv",
	.excuses = true,
	.new = subject_new,
	.free = subject_free,
	.create = subject_create,
	.is_unmade = subject_is_unmade,
	.open = subject_open,
	.close = subject_close,
	.act = subject_act,
	.extend = subject_extend,
	.verify = subject_verify,
};
