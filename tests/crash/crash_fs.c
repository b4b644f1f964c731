/* SPDX-License-Identifier: MIT */
/*
 * crash_fs.c - the file system's core as a subject of crash runs. The model is a plain tree; what comes back is the tree
 * after some operation that is not older than the last sync, and a check of the store and of the file system finds nothing.
 *
 * The store runs without a thread of its own (KV_OPEN_INLINE), so that steps come in the same order each time.
 */
#include "crash.h"
#include "crash_fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORE_PATH "store"
#define SEGMENT_SIZE (2u << 20)
#define SYNC_CHANCE 8u /* one operation of so many is a sync */

struct subject {
	const struct crash_fs_script *script;
	struct kv_env *env;
	struct sim_random *random;
	struct kvfs *fs; /* NULL: closed */
	uint64_t held_ino;
	const struct crash_fs_step *step;
	unsigned chances;      /* random operations to do now */
	unsigned extra;	       /* and when the script is over */
	uint64_t stamp;	       /* of the last bytes */
	unsigned complaints;   /* errors that were reported since it was opened */
	struct fs_model base;  /* before `ops` */
	struct fs_model model; /* after them */
	struct fs_op *ops;     /* that were done, or were being done when the power failed */
	size_t count, capacity;
	size_t durable; /* of them */
	bool unfinished; /* going back: the store takes no change until it is opened again */
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

/* ---- life --------------------------------------------------------------------------------------
 */

static void subject_free(void *arg)
{
	struct subject *subject = arg;

	fs_model_fini(&subject->base);
	fs_model_fini(&subject->model);
	free(subject->ops);
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
	subject->step = subject->script->steps;
	fs_model_init(&subject->base);
	fs_model_init(&subject->model);
	*out = subject;
	return 0;
}

static int subject_create(void *arg)
{
	struct subject *subject = arg;
	struct kvfs_create_options options = {.segment_size = SEGMENT_SIZE};

	return kvfs_create(subject->env, STORE_PATH, &options, hear, subject);
}

/* A store that was made and not filled has no root. */
static bool subject_is_unmade(int error)
{
	return error == -ENOENT || error == -EMEDIUMTYPE || error == -EUCLEAN;
}

static int subject_open(void *arg)
{
	struct subject *subject = arg;
	struct kvfs_open_options options = {
		.kv = {.flags = KV_OPEN_INLINE,
			.resident_size = 1,
			.report = hear,
			.report_arg = subject},
		.atime = KVFS_NOATIME,
	};

	subject->complaints = 0;
	subject->held_ino = 0;
	subject->unfinished = false;
	return kvfs_open(subject->env, STORE_PATH, &options, &subject->fs);
}

static int subject_close(void *arg)
{
	struct subject *subject = arg;
	int result = 0;

	if (subject->fs) {
		result = kvfs_close(subject->fs);
		fs_model_closed(&subject->model);
		if (result == 0 && !crash_unverified) {
			fs_model_copy(&subject->base, &subject->model);
			subject->count = 0;
			subject->durable = 0;
		}
	}
	subject->fs = NULL;
	return result;
}

/* ---- operations --------------------------------------------------------------------------------
 */

static int remember(struct subject *subject, const struct fs_op *op)
{
	if (subject->count == subject->capacity) {
		size_t capacity = 2 * subject->capacity + 16;
		struct fs_op *ops = realloc(subject->ops, capacity * sizeof(*ops));

		if (!ops)
			return -ENOMEM;
		subject->ops = ops;
		subject->capacity = capacity;
	}
	subject->ops[subject->count++] = *op;
	return 0;
}

/* The last operation was refused: it has changed nothing. */
static void forget(struct subject *subject)
{
	subject->count--;
	fs_model_copy(&subject->model, &subject->base);
	for (size_t i = 0; i < subject->count; i++)
		(void)fs_model_apply(&subject->model, &subject->ops[i]);
}

/*
 * Before a tree goes back what is held is let go of, whatever becomes of it; the steps of a copy
 * before the one that was refused are done.
 */
static void refused(struct subject *subject, const struct fs_op *op)
{
	static const struct fs_op let_go = {.kind = FS_OP_LET_GO};
	const struct fs_op *done = op->kind == FS_OP_ROLLBACK ? &let_go :
				   op->limit ? op :
					       NULL;

	forget(subject);
	/* In the place of what was forgotten. */
	if (done && remember(subject, done) == 0)
		(void)fs_model_apply(&subject->model, done);
}

/* After an error that is final. */
static bool is_poisoned(struct subject *subject)
{
	return kvfs_set_size_limit(subject->fs, kvfs_size_limit(subject->fs)) == -EROFS;
}

/* Going back, once it is decided, is finished by who opens the store; nothing else is begun until then. */
static bool is_unfinished(struct subject *subject, const struct fs_op *op)
{
	if (op->kind != FS_OP_ROLLBACK || subject->unfinished)
		return false;
	subject->unfinished = is_poisoned(subject);
	return subject->unfinished;
}

/*
 * What could not be read is an error, but none after which anything is as it was not: only what was
 * being written may be there or not. Of a tree that is half gone back names may be missing.
 */
static bool is_refusal(struct subject *subject, int result)
{
	return (result < 0 && subject->unfinished) || result == -EROFS || result == -ENOMEM ||
	       result == -ENOSPC || result == -EDQUOT ||
	       (result == -EIO && !is_poisoned(subject));
}

static bool has_snapshots(const struct subject *subject)
{
	for (unsigned i = 0; i < FS_MODEL_SNAPSHOTS; i++)
		if (subject->model.snapshots[i])
			return true;
	return false;
}

/*
 * On a full disk what takes room is refused, and nothing of it is done (of a copy: a beginning).
 * What gives room goes on, unless snapshots keep it; so do deleting these, a sync, and opening.
 */
static int unless_full(const struct subject *subject, const struct fs_op *op, int result)
{
	bool frees = op->kind == FS_OP_UNLINK || op->kind == FS_OP_RMDIR ||
		     (op->kind == FS_OP_TRUNCATE && op->size == 0);

	frees = op->kind == FS_OP_SNAPSHOT_DELETE || (frees && !has_snapshots(subject));
	return result == -ENOSPC && subject->script->capacity && !frees ? 0 : result;
}

static int do_op(struct subject *subject, const struct fs_op *wanted)
{
	struct fs_op tried = *wanted, *op = &tried;
	bool possible;
	int result;

	if (fs_model_is_full(&subject->model))
		return 0;
	/* Before it is done: when the power fails it may have been. */
	result = remember(subject, op);
	if (result < 0)
		return result;
	possible = fs_model_apply(&subject->model, op);
	result = fs_op_do(op, subject->fs, &subject->held_ino);
	if (possible && result < 0 && getenv("CRASH_VERBOSE"))
		fprintf(stderr, "operation %d: %s\n", op->kind, strerror(-result));
	if (possible && is_refusal(subject, result) && !is_unfinished(subject, op))
		refused(subject, op);
	if (possible)
		return unless_full(subject, op, result);
	/* Of a tree that is half gone back there may be two files between which nothing is copied. */
	if (result == 0 && !(subject->unfinished && op->kind == FS_OP_COPY))
		return crash_fail("operation %d could be done", op->kind);
	return result == -EIO || result == -EROFS || result == -ENOMEM ? result : 0;
}

static int sync_all(struct subject *subject)
{
	int result = kvfs_sync(subject->fs);

	if (result == 0)
		subject->durable = subject->count;
	return result;
}

static int reopen(struct subject *subject)
{
	int result = subject_close(subject);

	if (result == 0)
		result = subject_open(subject);
	/* Nothing is kept of one that had no memory. */
	return result == -ENOMEM ? subject_open(subject) : result;
}

static int act_random(struct subject *subject)
{
	uint8_t bytes[8];
	uint64_t word = sim_random_next(subject->random);
	struct fs_op op;

	if (sim_random_below(subject->random, SYNC_CHANCE) == 0)
		return sync_all(subject);
	memcpy(bytes, &word, sizeof(bytes));
	op = fs_op_from(bytes, ++subject->stamp);
	return do_op(subject, &op);
}

static int subject_act(void *arg)
{
	struct subject *subject = arg;
	const struct crash_fs_step *step = subject->step;

	if (subject->chances > 0) {
		subject->chances--;
		return act_random(subject);
	}
	if (step->kind == CRASH_FS_END) {
		if (subject->extra == 0)
			return 1;
		subject->extra--;
		return act_random(subject);
	}
	subject->step++;
	switch (step->kind) {
	case CRASH_FS_OP:
		return do_op(subject, &step->op);
	case CRASH_FS_SYNC:
		return sync_all(subject);
	case CRASH_FS_REOPEN:
		return reopen(subject);
	default:
		subject->chances = (unsigned)step->op.size;
		return 0;
	}
}

static void subject_extend(void *arg, unsigned count)
{
	struct subject *subject = arg;

	subject->extra = subject->extra > count ? subject->extra : count;
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

static void complain(void *arg, enum kv_severity severity, const char *message)
{
	if (severity == KV_ERROR)
		fprintf(stderr, "check: %s\n", message);
}

static int check(struct subject *subject)
{
	uint64_t findings;
	int result = crash_check_loss(kvfs_kv(subject->fs));

	if (result < 0)
		return result;
	result = kvfs_check(subject->fs, complain, NULL, NULL, NULL, &findings);
	if (result < 0)
		return crash_fail("kvfs_check failed: %s", strerror(-result));
	if (findings > 0 && !crash_may_complain)
		return crash_fail("kvfs_check has %llu findings", (unsigned long long)findings);
	return 0;
}

/* What of a tree the store holds another way, as it is after closing; NULL: nothing. */
static const char *difference_closed(struct subject *subject, const struct fs_model *model,
	struct fs_model *closed)
{
	fs_model_copy(closed, model);
	fs_model_closed(closed);
	return fs_model_compare(closed, subject->fs);
}

/* The same of the trees within an operation of more than one commit. */
static const char *difference_within(struct subject *subject, const struct fs_op *op,
	struct fs_model *closed)
{
	const char *difference = "it has one commit";
	struct fs_model partly = {0};
	struct fs_op part = *op;

	fs_model_copy(&partly, &subject->base);
	if (!fs_model_apply(&partly, op)) {
		fs_model_fini(&partly);
		return "it cannot be done";
	}
	part.limit = 0;
	while (difference && (part.limit = fs_model_copy_step(&subject->base, op, part.limit)) > 0) {
		fs_model_copy(&partly, &subject->base);
		(void)fs_model_apply(&partly, &part);
		difference = difference_closed(subject, &partly, closed);
	}
	fs_model_fini(&partly);
	return difference;
}

/*
 * Goes through the trees after each operation until one is what the store holds. What was held when the power failed
 * is gone, but later operations may have given it a name: so each tree is compared as it is after closing.
 */
static int find_state(struct subject *subject)
{
	struct fs_model closed = {0};
	const char *difference = NULL;

	for (size_t done = 0; done <= subject->count; done++) {
		if (done >= subject->durable) {
			difference = difference_closed(subject, &subject->base, &closed);
			if (!difference)
				break;
			if (getenv("CRASH_VERBOSE"))
				fprintf(stderr, "after %zu operations: %s\n", done, difference);
		}
		if (done == subject->count)
			break;
		if (done >= subject->durable &&
			!difference_within(subject, &subject->ops[done], &closed)) {
			difference = NULL;
			break;
		}
		(void)fs_model_apply(&subject->base, &subject->ops[done]);
	}
	fs_model_copy(&subject->base, &closed);
	fs_model_copy(&subject->model, &closed);
	fs_model_fini(&closed);
	return difference ? crash_fail("the tree is none of those after %zu to %zu operations: %s",
				    subject->durable, subject->count, difference)
			  : 0;
}

static int subject_verify(void *arg)
{
	struct subject *subject = arg;
	int result;

	if (subject->complaints > 0 && !crash_may_complain)
		return crash_fail("the store complained while it was opened");
	/* What a failing call kept opening from, the next one does: until then it is no state. */
	crash_unverified = subject->complaints > 0;
	if (crash_unverified)
		return 0;
	result = find_state(subject);
	subject->count = 0;
	subject->durable = 0;
	return result < 0 ? result : check(subject);
}

static void script_limit(const void *arg, struct sim_options *options)
{
	const struct crash_fs_script *script = arg;

	options->capacity = script->capacity;
}

const struct crash_subject crash_fs = {
	.limit = script_limit,
	.name = "fs",
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
