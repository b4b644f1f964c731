/* SPDX-License-Identifier: MIT */
/* condition.c - see condition.h. */
#include "condition.h"

#include <errno.h>
#include <stdlib.h>

#include "batch.h"
#include "epoch.h"
#include "read.h"
#include "value.h"

void conditions_fini(struct conditions *conditions)
{
	free(conditions->list);
	free(conditions->bytes);
}

static int make_room(struct conditions *conditions, size_t size)
{
	unsigned capacity = conditions->capacity ? conditions->capacity * 2 : 8;
	size_t room = conditions->room ? conditions->room : 512;
	struct condition *list;
	uint8_t *bytes;

	if (conditions->count == conditions->capacity) {
		list = realloc(conditions->list, capacity * sizeof(*list));
		if (!list)
			return -ENOMEM;
		conditions->list = list;
		conditions->capacity = capacity;
	}
	while (room - conditions->used < size)
		room *= 2;
	if (room > conditions->room) {
		bytes = realloc(conditions->bytes, room);
		if (!bytes)
			return -ENOMEM;
		conditions->bytes = bytes;
		conditions->room = room;
	}
	return 0;
}

static int expect(struct kv_batch *batch, unsigned keyspace, struct kv_slice key, uint64_t seq,
		  const struct kv_slice *value)
{
	struct conditions *conditions = &batch->conditions;
	struct condition *condition;
	int error;

	if (keyspace >= batch->kv->info.keyspace_count || !key.size || key.size > KV_KEY_SIZE_MAX)
		return -EINVAL;
	if (value && value->size > batch->kv->info.value_size_max)
		return -EFBIG;
	error = make_room(conditions, key.size + (value ? value->size : 0));
	if (error)
		return error;
	condition = &conditions->list[conditions->count++];
	*condition = (struct condition){
		.hash = keyhash_of(&batch->kv->keyhash, keyspace, key.data, key.size),
		.seq = seq,
		.at = conditions->used,
		.key_size = key.size,
		.value_size = value ? value->size : 0,
		.keyspace = (uint8_t)keyspace,
		.by_value = value != NULL,
	};
	memcpy(conditions->bytes + conditions->used, key.data, key.size);
	conditions->used += key.size;
	if (value && value->size)
		memcpy(conditions->bytes + conditions->used, value->data, value->size);
	conditions->used += condition->value_size;
	return 0;
}

int kv_batch_expect(struct kv_batch *batch, unsigned keyspace, const void *key, size_t key_size,
		    uint64_t seq)
{
	return expect(batch, keyspace, (struct kv_slice){key, key_size}, seq, NULL);
}

int kv_batch_expect_value(struct kv_batch *batch, unsigned keyspace, const void *key,
			  size_t key_size, const void *value, size_t value_size)
{
	struct kv_slice expected = {value, value_size};

	return expect(batch, keyspace, (struct kv_slice){key, key_size}, 0, &expected);
}

static int judge(struct kv *kv, const struct condition *condition, const uint8_t *key)
{
	const struct format_record *record;
	struct kv_slice value;
	uint64_t address;
	int error = read_find(kv, condition->keyspace, key, condition->key_size, condition->hash,
			      &record, &address);

	if (error == -ENOENT)
		return condition->seq || condition->by_value ? -ESTALE : 0;
	if (error)
		return error;
	if (!condition->by_value) {
		if (!condition->seq)
			return -EEXIST;
		return record->seq == condition->seq ? 0 : -ESTALE;
	}
	error = read_value(kv, record, address, &value);
	if (error)
		return error == -EFBIG ? -ESTALE : error; /* longer than any that is expected */
	return value.size == condition->value_size &&
			       !memcmp(value.data, key + condition->key_size, value.size) ?
		       0 :
		       -ESTALE;
}

int conditions_judge(struct kv *kv, const struct conditions *conditions)
{
	unsigned i;
	int error = 0;

	value_forget();
	epoch_enter();
	for (i = 0; i < conditions->count && !error; i++)
		error = judge(kv, &conditions->list[i],
			      conditions->bytes + conditions->list[i].at);
	epoch_leave();
	return error;
}
