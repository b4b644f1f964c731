/* SPDX-License-Identifier: MIT */
/* value.c - see value.h. The scratch memory is the thread's and goes with it. */
#include "value.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

struct scratch {
	ZSTD_DCtx *decompressor;
	void *memory;
	size_t size;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *arg)
{
	struct scratch *scratch = arg;

	ZSTD_freeDCtx(scratch->decompressor);
	free(scratch->memory);
	free(scratch);
}

static void scratch_setup(void)
{
	pthread_key_create(&scratch_key, scratch_free);
}

/* This thread's scratch, with room for `size` bytes. */
static struct scratch *scratch_of(size_t size)
{
	struct scratch *scratch;
	void *memory;

	pthread_once(&scratch_once, scratch_setup);
	scratch = pthread_getspecific(scratch_key);
	if (!scratch) {
		scratch = calloc(1, sizeof(*scratch));
		if (!scratch)
			return NULL;
		if (!(scratch->decompressor = ZSTD_createDCtx()) ||
		    pthread_setspecific(scratch_key, scratch)) {
			scratch_free(scratch);
			return NULL;
		}
	}
	if (size > scratch->size) {
		memory = realloc(scratch->memory, size);
		if (!memory)
			return NULL;
		scratch->memory = memory;
		scratch->size = size;
	}
	return scratch;
}

static int decompress(struct kv *kv, const struct format_record *record, struct kv_slice *value)
{
	const uint8_t *frame = format_record_value(record);
	/* Hostile bytes may claim any size: no value was ever larger than value_size_max. */
	unsigned long long size = ZSTD_getFrameContentSize(frame, record->value_size);
	struct scratch *scratch;
	size_t done;

	if (size > kv->info.value_size_max) /* also the two codes for "unknown" */
		goto damaged;
	scratch = scratch_of(size ? (size_t)size : 1);
	if (!scratch)
		return -ENOMEM;
	done = ZSTD_decompressDCtx(scratch->decompressor, scratch->memory, size, frame,
				   record->value_size);
	if (ZSTD_isError(done) || done != size)
		goto damaged;
	value->data = scratch->memory;
	value->size = done;
	return 0;
damaged:
	store_report(kv, KV_ERROR, "a compressed value of %u bytes in keyspace %s does not decompress",
		     record->value_size, store_keyspace_name(kv, record->keyspace));
	return -EIO;
}

int value_of(struct kv *kv, const struct format_record *record, struct kv_slice *value)
{
	if (record->flags & FORMAT_RECORD_ZSTD)
		return decompress(kv, record, value);
	value->data = format_record_value(record);
	value->size = record->value_size;
	return 0;
}
