/* SPDX-License-Identifier: MIT */
/* changed.c - see changed.h. */
#include "changed.h"

#include <stdlib.h>

#include "inode_record.h"

int changed_add(struct changed *changed, uint64_t ino)
{
	size_t room = changed->room * 2 + 64;
	uint64_t *inos;

	if (changed->count == changed->room) {
		inos = realloc(changed->inos, room * sizeof(*inos));
		if (!inos)
			return -ENOMEM;
		changed->inos = inos;
		changed->room = room;
	}
	changed->inos[changed->count++] = ino;
	return 0;
}

static int add_newer(
	struct kvfs *fs, uint64_t seq, const struct kv_entry *entry, struct changed *out)
{
	uint64_t ino;

	if (entry->status)
		return entry->status;
	if (entry->seq <= seq)
		return 0;
	if (entry->key.size < INODE_KEY_SIZE ||
		inode_key_decode((struct kv_slice){entry->key.data, INODE_KEY_SIZE}, &ino))
		return fs_damaged(fs, 0, "a record's key makes no sense");
	return changed_add(out, ino);
}

int changed_find(struct kvfs *fs, enum keyspace keyspace, uint64_t seq, struct changed *out)
{
	struct changed changed = {NULL, 0, 0};
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	size_t count = 0;
	int err = kv_iterator_open(fs->kv, keyspace, KV_ITERATE_KEYS, &iterator);

	if (err)
		return err;
	while (!err) {
		kv_read_begin(fs->kv);
		err = kv_iterator_read(iterator, &entries, &count);
		for (size_t i = 0; !err && i < count; i++)
			err = add_newer(fs, seq, &entries[i], &changed);
		kv_read_end(fs->kv);
	}
	kv_iterator_close(iterator);
	if (err != -ENOENT) {
		changed_fini(&changed);
		return err;
	}
	*out = changed;
	return 0;
}

void changed_fini(struct changed *changed)
{
	free(changed->inos);
}
