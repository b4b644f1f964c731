/* SPDX-License-Identifier: MIT */
/* soak_large.c - see soak_large.h. */
#include "soak_large.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BYTES_MAX (SOAK_BLOCKS_MAX * SOAK_BLOCK)
#define PART_BLOCKS_MAX 200u /* written at once */

/* A thread's: what is written, or was read. */
static __thread uint8_t bytes[BYTES_MAX];

static void key_of(uint32_t value, char key[SOAK_KEY_SIZE])
{
	memset(key, 0, SOAK_KEY_SIZE);
	snprintf(key, SOAK_KEY_SIZE, "large %u", value);
}

/* Every third one compresses well. */
static void fill_block(uint32_t value, uint32_t block, uint32_t number, uint8_t *out)
{
	uint64_t seed = soak_mix((uint64_t)value << 48 | (uint64_t)block << 32 | number);
	size_t i;

	if (!number) {
		memset(out, 0, SOAK_BLOCK);
		return;
	}
	for (i = 0; i < SOAK_BLOCK; i += 8) {
		uint64_t word = number % 3 && i >= 8 ? soak_mix(seed + i) : seed;

		memcpy(out + i, &word, SOAK_BLOCK - i < 8 ? SOAK_BLOCK - i : 8);
	}
}

void soak_large_init(struct soak_model *model)
{
	uint32_t i;

	for (i = 0; i < SOAK_LARGE_VALUES; i++)
		model->large[i].state.blocks = SOAK_NOTHING;
}

/* ---- what a change means --------------------------------------------------------------------- */

static void apply(struct soak_large_state *state, const struct soak_large_change *change)
{
	uint32_t i, end = state->blocks == SOAK_NOTHING ? 0 : state->blocks;

	switch ((enum soak_large_kind)change->kind) {
	case SOAK_LARGE_WRITE:
		end = end < change->to ? change->to : end;
		break;
	case SOAK_LARGE_RESIZE:
		end = change->to;
		break;
	case SOAK_LARGE_PUT:
	case SOAK_LARGE_STREAM:
		end = change->to;
		break;
	case SOAK_LARGE_DELETE:
		end = 0;
		break;
	}
	if (change->kind != SOAK_LARGE_RESIZE) {
		for (i = change->from; i < change->to; i++)
			state->number[i] = change->number;
	}
	for (i = end; i < SOAK_BLOCKS_MAX; i++)
		state->number[i] = 0;
	state->blocks = change->kind == SOAK_LARGE_DELETE ? SOAK_NOTHING : end;
}

void soak_large_fold(struct soak_large *large, uint64_t place)
{
	uint64_t i;

	for (i = atomic_load(&large->folded); i < place; i++)
		apply(&large->state, &large->journal[i % SOAK_JOURNAL]);
	atomic_store(&large->folded, place);
}

/* ---- changing -------------------------------------------------------------------------------- */

static struct soak_large_change draw(struct soak_large *large, bool there, uint64_t *random)
{
	uint64_t x = soak_random(random);
	struct soak_large_change change = {.number = atomic_fetch_add(&large->begun, 1) + 1};

	x >>= 8;
	/* Mostly parts; the whole, and none at all, now and then. */
	switch ((x >> 40) % 16) {
	case 0:
		change.kind = there ? SOAK_LARGE_DELETE : SOAK_LARGE_WRITE;
		break;
	case 1:
		change.kind = SOAK_LARGE_PUT;
		break;
	case 2:
		change.kind = SOAK_LARGE_STREAM;
		break;
	case 3:
	case 4:
		change.kind = there ? SOAK_LARGE_RESIZE : SOAK_LARGE_STREAM;
		break;
	default:
		change.kind = SOAK_LARGE_WRITE;
	}
	if (change.kind == SOAK_LARGE_DELETE)
		return change;
	change.to = 1 + (uint32_t)(x % SOAK_BLOCKS_MAX);
	if (change.kind == SOAK_LARGE_WRITE) {
		uint32_t size = 1 + (uint32_t)(x >> 20 & 0xfffff) % PART_BLOCKS_MAX;

		change.from = change.to > size ? change.to - size : 0;
	}
	return change;
}

static int stream(struct kv *kv, const char *key, size_t size, uint64_t *seq)
{
	struct kv_stream *stream;
	size_t done = 0;
	int error = kv_stream_open(kv, SOAK_LARGE, key, SOAK_KEY_SIZE, &stream);

	if (error)
		return error;
	while (done < size && !error) {
		size_t part = size - done < 77777 ? size - done : 77777;

		error = kv_stream_append(stream, bytes + done, part);
		done += part;
	}
	if (!error)
		error = kv_stream_commit(stream, seq);
	if (error)
		kv_stream_abort(stream);
	return error;
}

static int perform(
	struct kv *kv, uint32_t value, const struct soak_large_change *change, uint64_t *seq)
{
	size_t from = (size_t)change->from * SOAK_BLOCK, to = (size_t)change->to * SOAK_BLOCK;
	char key[SOAK_KEY_SIZE];
	uint32_t i;

	key_of(value, key);
	for (i = change->from; i < change->to && change->kind != SOAK_LARGE_RESIZE; i++)
		fill_block(value, i, change->number, bytes + (size_t)i * SOAK_BLOCK);
	switch ((enum soak_large_kind)change->kind) {
	case SOAK_LARGE_WRITE:
		return kv_write(
			kv, SOAK_LARGE, key, sizeof(key), from, bytes + from, to - from, seq);
	case SOAK_LARGE_RESIZE:
		return kv_resize(kv, SOAK_LARGE, key, sizeof(key), to, seq);
	case SOAK_LARGE_PUT:
		return kv_put(kv, SOAK_LARGE, key, sizeof(key), bytes, to, seq);
	case SOAK_LARGE_STREAM:
		return stream(kv, key, to, seq);
	case SOAK_LARGE_DELETE:
		break;
	}
	return kv_delete(kv, SOAK_LARGE, key, sizeof(key), seq);
}

/* Is the key there, with all of the journal? */
static bool is_there(const struct soak_large *large)
{
	uint64_t folded = atomic_load(&large->folded), done = atomic_load(&large->done);

	if (done == folded)
		return large->state.blocks != SOAK_NOTHING;
	return large->journal[(done - 1) % SOAK_JOURNAL].kind != SOAK_LARGE_DELETE;
}

int soak_large_change(
	struct soak_model *model, struct kv *kv, uint32_t value, uint64_t *random, uint64_t *seq)
{
	struct soak_large *large = &model->large[value];
	struct soak_large_change change = draw(large, is_there(large), random);
	uint64_t place = atomic_load(&large->done);
	int error;

	large->journal[place % SOAK_JOURNAL] = change;
	atomic_store(&large->tried, place + 1);
	error = perform(kv, value, &change, seq);
	if (!error)
		atomic_store(&large->done, place + 1);
	return error;
}

/* ---- verifying ------------------------------------------------------------------------------- */

static bool is_state(const struct soak_large_state *state, uint32_t value, uint32_t blocks)
{
	uint8_t block[SOAK_BLOCK];
	uint32_t i;

	if (blocks != state->blocks)
		return false;
	for (i = 0; blocks != SOAK_NOTHING && i < blocks; i++) {
		fill_block(value, i, state->number[i], block);
		if (memcmp(bytes + (size_t)i * SOAK_BLOCK, block, SOAK_BLOCK))
			return false;
	}
	return true;
}

/* The value into `bytes`. *blocks: SOAK_NOTHING if there is no such key. */
static const char *read_whole(struct kv *kv, uint32_t value, uint32_t *blocks)
{
	char key[SOAK_KEY_SIZE];
	uint64_t size;
	size_t done;
	int error;

	key_of(value, key);
	error = kv_value_size(kv, SOAK_LARGE, key, sizeof(key), &size);
	*blocks = SOAK_NOTHING;
	if (error == -ENOENT)
		return NULL;
	if (error || size > BYTES_MAX || size % SOAK_BLOCK)
		return "its size is nobody's";
	error = kv_read(kv, SOAK_LARGE, key, sizeof(key), 0, bytes, size, &done);
	if (error || done != size)
		return "cannot be read";
	*blocks = (uint32_t)(size / SOAK_BLOCK);
	return NULL;
}

/* What is read in part is what was read as a whole. */
static bool parts_agree(struct kv *kv, uint32_t value, uint32_t blocks)
{
	size_t size = (size_t)blocks * SOAK_BLOCK, offset = 0, done;
	struct kv_slice part;
	struct kv_value opened;
	char key[SOAK_KEY_SIZE];
	uint8_t some[333];
	bool same;

	key_of(value, key);
	kv_read_begin(kv);
	same = !kv_value_open(kv, SOAK_LARGE, key, sizeof(key), &opened) && opened.size == size;
	while (same && offset < size) {
		same = !kv_value_part(&opened, offset, &part) && part.size &&
		       part.size <= size - offset && !memcmp(part.data, bytes + offset, part.size);
		offset += part.size;
	}
	kv_read_end(kv);
	for (offset = 0; same && offset < size; offset += 65521) {
		size_t expected = size - offset < sizeof(some) ? size - offset : sizeof(some);

		same = !kv_read(kv, SOAK_LARGE, key, sizeof(key), offset, some, sizeof(some),
			       &done) &&
		       done == expected && !memcmp(some, bytes + offset, done);
	}
	return same;
}

const char *soak_large_verify(struct soak_model *model, struct kv *kv, uint32_t value)
{
	static __thread struct soak_large_state state;
	struct soak_large *large = &model->large[value];
	uint64_t place = atomic_load(&large->folded), tried = atomic_load(&large->tried);
	const char *wrong;
	uint32_t blocks;

	wrong = read_whole(kv, value, &blocks);
	if (wrong)
		return wrong;
	state = large->state;
	while (!is_state(&state, value, blocks)) {
		if (place == tried)
			return "is in no state that it ever had";
		apply(&state, &large->journal[place++ % SOAK_JOURNAL]);
	}
	if (blocks != SOAK_NOTHING && !parts_agree(kv, value, blocks))
		return "is not the same in part";
	/* What comes behind is lost for good. */
	atomic_store(&large->tried, place);
	soak_large_fold(large, place);
	atomic_store(&large->done, place);
	return NULL;
}
