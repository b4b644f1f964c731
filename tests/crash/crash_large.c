/* SPDX-License-Identifier: MIT */
/*
 * crash_large.c - values in pieces as a subject of crash runs. The model keeps the bytes of a few values after each
 * operation; what comes back is the state after one of them, each value whole, and no piece is left over.
 *
 * The store runs without a thread of its own (KV_OPEN_INLINE), so that steps come in the same order each time.
 */
#include "crash.h"
#include "crash_large.h"
#include "sim_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"

#define STORE_PATH "store"
#define SEGMENT_SIZE (1u << 20)
#define KEYS 3u
#define RANDOM_SIZE_MAX 400000u
#define CLEAR_COMMITS_MAX 1000u
#define READ_SIZE 100000u

struct content {
	bool present;
	uint8_t *bytes; /* NULL where there are none */
	size_t size;
};

/* What a key became by the batch with this number. */
struct change {
	uint64_t seq;
	unsigned key;
	struct content content;
};

struct subject {
	const struct crash_large_script *script;
	struct kv_env *env;
	struct sim_random *random;
	struct kv *kv; /* NULL: closed */
	const struct crash_large_op *op;
	unsigned chances;    /* random operations to do now */
	unsigned extra;	     /* and when the script is over */
	uint64_t stamp;	     /* of the last bytes */
	unsigned complaints; /* errors that the store reported since it was opened */
	uint64_t durable_seq;
	struct content base[KEYS]; /* before the changes */
	struct change *changes;
	size_t count, capacity;
	uint8_t *scratch;
};

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	struct subject *subject = arg;

	if (severity != KV_ERROR)
		return;
	subject->complaints++;
	if (getenv("CRASH_VERBOSE"))
		fprintf(stderr, "store: %s\n", message);
}

/* ---- the model ---------------------------------------------------------------------------------
 */

static const struct content *newest(const struct subject *subject, unsigned key)
{
	for (size_t i = subject->count; i-- > 0;)
		if (subject->changes[i].key == key)
			return &subject->changes[i].content;
	return &subject->base[key];
}

/* Takes the bytes. */
static int remember(struct subject *subject, uint64_t seq, unsigned key, struct content content)
{
	if (subject->count == subject->capacity) {
		size_t capacity = 2 * subject->capacity + 16;
		struct change *changes = realloc(subject->changes, capacity * sizeof(*changes));

		if (!changes) {
			free(content.bytes);
			return -ENOMEM;
		}
		subject->changes = changes;
		subject->capacity = capacity;
	}
	subject->changes[subject->count++] = (struct change){seq, key, content};
	return 0;
}

/* Nothing after `seq` has happened. */
static void forget_after(struct subject *subject, uint64_t seq)
{
	for (size_t i = 0; i < subject->count; i++) {
		struct change *change = &subject->changes[i];

		if (change->seq > seq) {
			free(change->content.bytes);
			continue;
		}
		free(subject->base[change->key].bytes);
		subject->base[change->key] = change->content;
	}
	subject->count = 0;
}

static void fill(struct subject *subject, uint8_t *bytes, size_t size)
{
	struct sim_random random = {++subject->stamp};

	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = sim_random_next(&random);

		/* What compresses is to do so, and be of some bytes in the end. */
		if (subject->script->compress)
			word &= 0x0f0f0f0f0f0f0f0full;
		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
	}
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void subject_free(void *arg)
{
	struct subject *subject = arg;

	forget_after(subject, UINT64_MAX);
	for (unsigned key = 0; key < KEYS; key++)
		free(subject->base[key].bytes);
	free(subject->changes);
	free(subject->scratch);
	free(subject);
}

static int subject_new(
	const void *script, struct kv_env *env, struct sim_random *random, void **out)
{
	struct subject *subject = calloc(1, sizeof(*subject));

	if (!subject)
		return -ENOMEM;
	subject->script = script;
	subject->env = env;
	subject->random = random;
	subject->op = subject->script->ops;
	subject->scratch = malloc(READ_SIZE);
	if (!subject->scratch) {
		subject_free(subject);
		return -ENOMEM;
	}
	*out = subject;
	return 0;
}

static int subject_create(void *arg)
{
	static const struct kv_keyspace_spec keyspace = {"hashed", false};
	struct subject *subject = arg;
	struct kv_create_options options = {
		.keyspaces = &keyspace,
		.keyspace_count = 1,
		.compress = subject->script->compress ? KV_COMPRESS_INLINE : KV_COMPRESS_NONE,
		.segment_size = SEGMENT_SIZE,
	};

	return kv_create(subject->env, STORE_PATH, &options, hear, subject);
}

static bool subject_is_unmade(int error)
{
	return error == -ENOENT || error == -EMEDIUMTYPE || error == -EUCLEAN;
}

static int subject_open(void *arg)
{
	struct subject *subject = arg;
	struct kv_open_options options = {
		.flags = KV_OPEN_INLINE,
		.resident_size = 1,
		.report = hear,
		.report_arg = subject,
	};

	subject->complaints = 0;
	return kv_open(subject->env, STORE_PATH, &options, &subject->kv);
}

static int subject_close(void *arg)
{
	struct subject *subject = arg;
	int result = 0;

	if (subject->kv) {
		result = kv_close(subject->kv);
		if (result == 0 && !crash_unverified && subject->count > 0)
			subject->durable_seq = subject->changes[subject->count - 1].seq;
	}
	subject->kv = NULL;
	return result;
}

/* ---- operations --------------------------------------------------------------------------------
 */

static int put(struct subject *subject, unsigned key, size_t size)
{
	struct content content = {true, malloc(size + 1), size};
	uint64_t seq;
	int result;

	if (!content.bytes)
		return -ENOMEM;
	fill(subject, content.bytes, size);
	result = kv_put(subject->kv, 0, &key, sizeof(key), content.bytes, size, &seq);
	if (result == 0)
		return remember(subject, seq, key, content);
	free(content.bytes);
	return result;
}

/* In steps of any size, some of which are more than a piece. */
static int append_all(struct subject *subject, struct kv_stream *stream, const uint8_t *bytes,
	size_t size)
{
	size_t done = 0;
	int result = 0;

	while (result == 0 && done < size) {
		size_t part = 1 + sim_random_below(subject->random, 200000);

		if (part > size - done)
			part = size - done;
		result = kv_stream_append(stream, bytes + done, part);
		done += part;
	}
	return result;
}

static int stream(struct subject *subject, unsigned key, size_t size, bool commit)
{
	struct content content = {true, malloc(size + 1), size};
	struct kv_stream *stream;
	uint64_t seq;
	int result;

	if (!content.bytes)
		return -ENOMEM;
	fill(subject, content.bytes, size);
	result = kv_stream_open(subject->kv, 0, &key, sizeof(key), &stream);
	if (result == 0) {
		result = append_all(subject, stream, content.bytes, size);
		if (result == 0 && commit)
			result = kv_stream_commit(stream, &seq);
		if (result < 0 || !commit)
			kv_stream_abort(stream);
	}
	if (result == 0 && commit)
		return remember(subject, seq, key, content);
	free(content.bytes);
	return result;
}

/* The key's bytes, zeros behind them, in memory of their own. */
static struct content copy_resized(const struct subject *subject, unsigned key, size_t size)
{
	const struct content *old = newest(subject, key);
	struct content content = {true, calloc(1, size + 1), size};

	if (content.bytes && old->present)
		memcpy(content.bytes, old->bytes, old->size < size ? old->size : size);
	return content;
}

static int write_part(struct subject *subject, unsigned key, size_t offset, size_t size)
{
	const struct content *old = newest(subject, key);
	size_t end = old->present && old->size > offset + size ? old->size : offset + size;
	struct content content = copy_resized(subject, key, end);
	uint64_t seq;
	int result;

	if (!content.bytes)
		return -ENOMEM;
	fill(subject, content.bytes + offset, size);
	result = kv_write(subject->kv, 0, &key, sizeof(key), offset, content.bytes + offset, size, &seq);
	if (result == 0)
		return remember(subject, seq, key, content);
	free(content.bytes);
	return result;
}

static int resize(struct subject *subject, unsigned key, size_t size)
{
	bool present = newest(subject, key)->present;
	struct content content = copy_resized(subject, key, size);
	uint64_t seq;
	int result;

	if (!content.bytes)
		return -ENOMEM;
	result = kv_resize(subject->kv, 0, &key, sizeof(key), size, &seq);
	if (result == 0 && present)
		return remember(subject, seq, key, content);
	free(content.bytes);
	return result == -ENOENT && !present ? 0 : result;
}

static int delete(struct subject *subject, unsigned key)
{
	uint64_t seq;
	int result = kv_delete(subject->kv, 0, &key, sizeof(key), &seq);

	return result < 0 ? result : remember(subject, seq, key, (struct content){false, NULL, 0});
}

static int sync_all(struct subject *subject)
{
	uint64_t seq = kv_last_seq(subject->kv);
	int result = kv_sync(subject->kv, seq);

	if (result == 0)
		subject->durable_seq = seq;
	return result;
}

/* Deletes everything; at some point there are no pieces any more. */
static int clear(struct subject *subject)
{
	struct kv_stats stats;
	int result = 0;

	for (unsigned key = 0; result == 0 && key < KEYS; key++)
		result = delete(subject, key);
	for (unsigned i = 0; result == 0 && i < CLEAR_COMMITS_MAX; i++) {
		kv_stats(subject->kv, &stats);
		if (stats.pieces == 0)
			return 0;
		result = delete(subject, 0);
	}
	return result < 0 ? result
			  : crash_fail("%llu pieces belong to nobody and stay",
				    (unsigned long long)stats.pieces);
}

static int reopen(struct subject *subject)
{
	int result = subject_close(subject);

	if (result == 0)
		result = subject_open(subject);
	/* Nothing is kept of one that had no memory. */
	return result == -ENOMEM ? subject_open(subject) : result;
}

/*
 * On a full disk what takes room is refused, and nothing of it is made. Deleting goes on, and a
 * sync, and opening.
 */
static int unless_full(const struct subject *subject, int result)
{
	return result == -ENOSPC && subject->script->capacity ? 0 : result;
}

static int act_random(struct subject *subject)
{
	unsigned key = (unsigned)sim_random_below(subject->random, KEYS);
	uint32_t offset = (uint32_t)sim_random_below(subject->random, RANDOM_SIZE_MAX);
	uint32_t size = (uint32_t)sim_random_below(
		subject->random, sim_random_below(subject->random, 2) ? RANDOM_SIZE_MAX : 5000);

	switch (sim_random_below(subject->random, 12)) {
	case 0:
		return unless_full(subject, put(subject, key, size));
	case 1:
		return unless_full(subject, put(subject, key, size * 6));
	case 2:
	case 3:
		return unless_full(subject, stream(subject, key, size, true));
	case 4:
		return unless_full(subject, stream(subject, key, size, false));
	case 5:
		return delete(subject, key);
	case 6:
	case 7:
		return unless_full(subject, resize(subject, key, size));
	case 8:
		return sync_all(subject);
	default:
		return unless_full(subject, write_part(subject, key, offset, 1 + size));
	}
}

static int act_on(struct subject *subject, const struct crash_large_op *op)
{
	switch (op->kind) {
	case CRASH_LARGE_PUT:
		return unless_full(subject, put(subject, op->key, op->size));
	case CRASH_LARGE_STREAM:
		return unless_full(subject, stream(subject, op->key, op->size, true));
	case CRASH_LARGE_ABORT:
		return unless_full(subject, stream(subject, op->key, op->size, false));
	case CRASH_LARGE_WRITE:
		return unless_full(subject,
			write_part(subject, op->key, op->offset, op->size));
	case CRASH_LARGE_RESIZE:
		return unless_full(subject, resize(subject, op->key, op->size));
	case CRASH_LARGE_DELETE:
		return delete(subject, op->key);
	case CRASH_LARGE_CLEAR:
		return clear(subject);
	case CRASH_LARGE_SYNC:
		return sync_all(subject);
	case CRASH_LARGE_REOPEN:
		return reopen(subject);
	default:
		subject->chances = op->size;
		return 0;
	}
}

static int subject_act(void *arg)
{
	struct subject *subject = arg;

	if (subject->chances > 0) {
		subject->chances--;
		return act_random(subject);
	}
	if (subject->op->kind == CRASH_LARGE_END) {
		if (subject->extra == 0)
			return 1;
		subject->extra--;
		return act_random(subject);
	}
	return act_on(subject, subject->op++);
}

static void subject_extend(void *arg, unsigned count)
{
	struct subject *subject = arg;

	count /= 5; /* each is as much as many small ones */
	subject->extra = subject->extra > count ? subject->extra : count;
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

static int compare_key(struct subject *subject, unsigned key)
{
	const struct content *expected = &subject->base[key];
	uint64_t size = 0, offset;
	size_t done;
	int result = kv_value_size(subject->kv, 0, &key, sizeof(key), &size);

	if (!expected->present)
		return result == -ENOENT ? 0 : crash_fail("value %u should not be there", key);
	if (result < 0)
		return crash_fail("value %u: %s", key, strerror(-result));
	if (size != expected->size)
		return crash_fail("value %u has %llu bytes, not %zu", key, (unsigned long long)size,
			expected->size);
	for (offset = 0; offset < size; offset += done) {
		result = kv_read(subject->kv, 0, &key, sizeof(key), offset, subject->scratch, READ_SIZE,
			&done);
		if (result < 0)
			return crash_fail("value %u at %llu: %s", key, (unsigned long long)offset,
				strerror(-result));
		if (memcmp(subject->scratch, expected->bytes + offset, done) != 0)
			return crash_fail("value %u has other bytes behind %llu", key,
				(unsigned long long)offset);
	}
	return 0;
}

static void complain(void *arg, enum kv_severity severity, const char *message)
{
	fprintf(stderr, "check: %s\n", message);
}

static int subject_verify(void *arg)
{
	struct subject *subject = arg;
	uint64_t seq = kv_last_seq(subject->kv), findings;
	int result = 0;

	if (subject->complaints > 0 && !crash_may_complain)
		return crash_fail("the store complained while it was opened");
	if (seq < subject->durable_seq)
		return crash_fail("the store has batches 1 to %llu; %llu are durable",
			(unsigned long long)seq, (unsigned long long)subject->durable_seq);
	forget_after(subject, seq);
	subject->durable_seq = kv_durable_seq(subject->kv);
	for (unsigned key = 0; result == 0 && key < KEYS; key++)
		result = compare_key(subject, key);
	if (result == 0)
		result = crash_check_loss(subject->kv);
	if (result < 0)
		return result;
	result = kv_check(subject->kv, complain, NULL, NULL, NULL, &findings);
	if (result < 0)
		return crash_fail("kv_check failed: %s", strerror(-result));
	return findings > 0 && !crash_may_complain ? crash_fail("kv_check has %llu findings", (unsigned long long)findings)
			    : 0;
}

static void script_limit(const void *arg, struct sim_options *options)
{
	const struct crash_large_script *script = arg;

	options->capacity = script->capacity;
}

const struct crash_subject crash_large = {
	.limit = script_limit,
	.name = "large",
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
