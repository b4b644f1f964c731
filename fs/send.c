/* SPDX-License-Identifier: MIT */
/* send.c - a clone as bytes (clone_bytes.h), for another process to make the store of. */
#include <stdlib.h>

#include "clone_bytes.h"
#include "clone_records.h"

#define GIVE_SIZE 65536u /* bytes that are worth giving */
/*
 * So many records are read before what there is, be it nothing, is given all the same: the receiver
 * may have had enough, and what is left behind comes to no bytes.
 */
#define GIVE_RECORDS 256u

struct send {
	kvfs_give_fn *give;
	void *give_arg;
	uint8_t *bytes; /* what was not given yet */
	size_t size, room;
	unsigned settled; /* records since it was given */
};

/* Room for so many more bytes, which count; NULL: no memory. */
static uint8_t *extend(struct send *send, size_t size)
{
	size_t room = send->room ? send->room : 2 * GIVE_SIZE;
	uint8_t *bytes;

	while (room < send->size + size)
		room *= 2;
	if (room != send->room) {
		bytes = realloc(send->bytes, room);
		if (!bytes)
			return NULL;
		send->bytes = bytes;
		send->room = room;
	}
	send->size += size;
	return send->bytes + send->size - size;
}

static int give(struct send *send)
{
	int err = send->give(send->give_arg, send->bytes, send->size);

	send->size = 0;
	send->settled = 0;
	return err;
}

static int send_put(
	void *arg, enum keyspace keyspace, struct kv_slice key, struct kv_slice value)
{
	const struct clone_record_head head = {keyspace, key.size, value.size};
	uint8_t *at = extend(arg, CLONE_RECORD_HEAD_SIZE + key.size + value.size);

	if (!at)
		return -ENOMEM;
	clone_record_head_encode(&head, at);
	memcpy(at + CLONE_RECORD_HEAD_SIZE, key.data, key.size);
	if (value.size)
		memcpy(at + CLONE_RECORD_HEAD_SIZE + key.size, value.data, value.size);
	return 0;
}

static int send_settle(void *arg)
{
	struct send *send = arg;

	return send->size < GIVE_SIZE && ++send->settled < GIVE_RECORDS ? 0 : give(send);
}

int kvfs_send(struct kvfs *fs, kvfs_give_fn *give_fn, void *arg)
{
	struct send send = {.give = give_fn, .give_arg = arg};
	const struct clone_sink sink = {send_put, send_settle, &send};
	struct clone_parameters parameters;
	uint8_t *at = extend(&send, CLONE_HEAD_SIZE);
	int err = at ? 0 : -ENOMEM;

	if (!err) {
		clone_parameters_of(fs->kv, &parameters);
		clone_head_encode(&parameters, at);
		err = clone_records(fs, &sink);
	}
	if (!err) {
		at = extend(&send, 1);
		err = at ? 0 : -ENOMEM;
	}
	if (!err) {
		*at = CLONE_END;
		err = give(&send);
	}
	free(send.bytes);
	return err;
}
