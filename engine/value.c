/* SPDX-License-Identifier: MIT */
/*
 * value.c - see value.h. The scratch memory is the thread's and goes with it: one block, and, while
 * values of several records are wanted at once, as many full ones as it takes.
 */
#include "value.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "dictionary.h"
#include "large.h"
#include "view.h"

struct block {
	struct block *full; /* older ones, whose values are still wanted */
	size_t size, used;  /* bytes */
	uint8_t memory[];
};

struct scratch {
	ZSTD_DCtx *decompressor;
	struct block *block; /* or NULL */
};

#define BLOCK_SIZE_MIN 4096u
#define BLOCK_SIZE_USUAL (256u << 10) /* up to here a further one is twice as large */

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void free_full(struct block *block)
{
	while (block && block->full) {
		struct block *full = block->full;

		block->full = full->full;
		free(full);
	}
}

static void scratch_free(void *arg)
{
	struct scratch *scratch = arg;

	ZSTD_freeDCtx(scratch->decompressor);
	free_full(scratch->block);
	free(scratch->block);
	free(scratch);
}

static void scratch_setup(void)
{
	pthread_key_create(&scratch_key, scratch_free);
}

/* This thread's scratch. */
static struct scratch *scratch_of_thread(void)
{
	struct scratch *scratch;

	pthread_once(&scratch_once, scratch_setup);
	scratch = pthread_getspecific(scratch_key);
	if (scratch)
		return scratch;
	scratch = calloc(1, sizeof(*scratch));
	if (!scratch)
		return NULL;
	if (!(scratch->decompressor = compress_decoder_new()) ||
	    pthread_setspecific(scratch_key, scratch)) {
		scratch_free(scratch);
		return NULL;
	}
	return scratch;
}

/* `size` bytes, beside what is still wanted. */
static uint8_t *scratch_take(struct scratch *scratch, size_t size)
{
	struct block *block = scratch->block;
	size_t block_size;

	if (block && size <= block->size - block->used) {
		block->used += size;
		return block->memory + block->used - size;
	}
	if (block && !block->used) { /* nothing in it is wanted */
		scratch->block = block->full;
		free(block);
		block = scratch->block;
	}
	block_size = block && block->size < BLOCK_SIZE_USUAL ? block->size * 2 : BLOCK_SIZE_MIN;
	if (block_size < size)
		block_size = size;
	block = malloc(sizeof(*block) + block_size);
	if (!block)
		return NULL;
	*block = (struct block){.full = scratch->block, .size = block_size, .used = size};
	scratch->block = block;
	return block->memory;
}

void value_forget(void)
{
	struct scratch *scratch;

	pthread_once(&scratch_once, scratch_setup);
	scratch = pthread_getspecific(scratch_key);
	if (!scratch || !scratch->block)
		return;
	free_full(scratch->block);
	scratch->block->used = 0;
}

uint8_t *value_memory(size_t size)
{
	struct scratch *scratch = scratch_of_thread();

	return scratch ? scratch_take(scratch, size ? size : 1) : NULL;
}

/* Into the memory, which has `room`, or, where there is none, into this thread's scratch. */
static int decompress(struct kv *kv, const struct format_record *record, uint8_t *memory,
		      uint64_t room, struct kv_slice *value)
{
	const uint8_t *stored = format_record_value(record);
	struct scratch *scratch = scratch_of_thread();
	const struct ZSTD_DDict_s *ddict;
	unsigned number;
	uint64_t size;
	int error;

	if (compress_inspect(stored, record->value_size, &number, &size) || size > room)
		goto damaged;
	error = dictionary_decoder(kv, number, &ddict);
	if (error)
		return error;
	if (scratch && !memory)
		memory = scratch_take(scratch, size ? (size_t)size : 1);
	if (!scratch || !memory)
		return -ENOMEM;
	if (compress_restore(scratch->decompressor, ddict, stored, record->value_size, memory,
			     size))
		goto damaged;
	value->data = memory;
	value->size = size;
	return 0;
damaged:
	store_report_at(kv, record,
			"a compressed value of %u bytes in keyspace %s does not decompress",
			record->value_size, store_keyspace_name(kv, record->keyspace));
	return -EIO;
}

int value_of(struct kv *kv, const struct format_record *record, struct kv_slice *value)
{
	if (record->flags & (FORMAT_RECORD_ZSTD | FORMAT_RECORD_LARGE))
		value_forget();
	return value_also(kv, record, value);
}

int value_also(struct kv *kv, const struct format_record *record, struct kv_slice *value)
{
	if (record->flags & FORMAT_RECORD_LARGE)
		return large_assemble(kv, record, value);
	/* Hostile bytes may claim any size: no value was ever larger than a segment. */
	if (record->flags & FORMAT_RECORD_ZSTD)
		return decompress(kv, record, NULL, kv->info.segment_size, value);
	value->data = format_record_value(record);
	value->size = record->value_size;
	return 0;
}

int value_then(const struct kv_view *view, const struct format_record *record,
	       struct kv_slice *value)
{
	if (record->flags & FORMAT_RECORD_LARGE)
		return large_assemble_then(view, record, value);
	return value_also(view->kv, record, value);
}

int value_copy(struct kv *kv, const struct format_record *record, uint8_t *memory, size_t room,
	       size_t *size)
{
	struct kv_slice value = {NULL, record->value_size};

	if (record->flags & FORMAT_RECORD_ZSTD) {
		int error = decompress(kv, record, memory, room, &value);

		if (error)
			return error;
	} else if (value.size <= room) {
		memcpy(memory, format_record_value(record), value.size);
	} else {
		return -EIO;
	}
	*size = value.size;
	return 0;
}
