/* SPDX-License-Identifier: MIT */
/*
 * receive.c - makes a store of a clone that comes as bytes (clone_bytes.h). These are not trusted:
 * whatever comes, what is made is a store or an error. What is in its records is for whoever opens
 * it to judge, as of any store.
 */
#include <stdlib.h>

#include "clone_bytes.h"

struct receive {
	kvfs_next_fn *next;
	void *next_arg;
	const char *part; /* what has come and was not taken yet */
	size_t left;
	uint8_t *bytes; /* of what comes in several parts */
	size_t room;
};

/* -EPROTO: there is none. */
static int next_part(struct receive *receive)
{
	ssize_t size = receive->next(receive->next_arg, &receive->part);

	if (size <= 0)
		return size ? (int)size : -EPROTO;
	receive->left = (size_t)size;
	return 0;
}

static int need_room(struct receive *receive, size_t size)
{
	uint8_t *bytes;

	if (receive->room >= size)
		return 0;
	bytes = realloc(receive->bytes, size);
	if (!bytes)
		return -ENOMEM;
	receive->bytes = bytes;
	receive->room = size;
	return 0;
}

/* Out of several parts. */
static int gather(struct receive *receive, size_t size)
{
	size_t taken = 0, now;
	int err = need_room(receive, size);

	for (; !err && taken < size; taken += now) {
		if (!receive->left)
			err = next_part(receive);
		if (err)
			return err;
		now = receive->left < size - taken ? receive->left : size - taken;
		memcpy(receive->bytes + taken, receive->part, now);
		receive->part += now;
		receive->left -= now;
	}
	return err;
}

/* So many bytes, which are there until the next call. */
static int take(struct receive *receive, size_t size, const uint8_t **out)
{
	int err;

	if (receive->left < size) {
		err = gather(receive, size);
		if (!err)
			*out = receive->bytes;
		return err;
	}
	*out = (const uint8_t *)receive->part;
	receive->part += size;
	receive->left -= size;
	return 0;
}

/* 1: that was the end. */
static int take_record(struct receive *receive, struct clone_store *store)
{
	struct clone_record_head head;
	const uint8_t *bytes;
	int err = take(receive, 1, &bytes);
	uint8_t whole[CLONE_RECORD_HEAD_SIZE];

	if (err || bytes[0] == CLONE_END)
		return err ? err : 1;
	whole[0] = bytes[0];
	err = take(receive, sizeof(whole) - 1, &bytes);
	if (err)
		return err;
	memcpy(whole + 1, bytes, sizeof(whole) - 1);
	err = clone_record_head_decode(whole, &head);
	if (!err && head.value_size > store->value_size_max)
		err = -EPROTO;
	if (!err)
		err = take(receive, head.key_size + head.value_size, &bytes);
	if (!err)
		err = clone_store_put(store, head.keyspace,
			(struct kv_slice){bytes, head.key_size},
			(struct kv_slice){bytes + head.key_size, head.value_size});
	return err ? err : clone_store_settle(store);
}

int kvfs_receive(struct kv_env *env, const char *path, const struct kvfs_receive_options *options)
{
	struct receive receive = {.next = options->next, .next_arg = options->next_arg};
	struct clone_parameters parameters;
	struct clone_store store;
	const uint8_t *head;
	int err = take(&receive, CLONE_HEAD_SIZE, &head);

	if (!err)
		err = clone_head_decode(head, &parameters);
	if (!err)
		err = clone_store_open(
			env, path, &parameters, options->report, options->report_arg, &store);
	if (!err) {
		store.progress = options->progress;
		store.progress_arg = options->progress_arg;
		do
			err = take_record(&receive, &store);
		while (!err);
		err = clone_store_close(&store, err < 0 ? err : 0);
	}
	free(receive.bytes);
	return err;
}
