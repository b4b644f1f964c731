/* SPDX-License-Identifier: MIT */
/*
 * apply.h - what a record in the log means to the indexes: the one place where commit, recovery and
 * compaction change them. Called with the log's lock, or before there is anyone else.
 */
#ifndef APPLY_H
#define APPLY_H

#include "store.h"

/*
 * Makes room so that applying `count` records with keys of `key_bytes` in all cannot fail. -ENOMEM
 */
int apply_reserve(struct kv *kv, uint64_t count, const uint64_t keys[FORMAT_KEYSPACES],
		  uint64_t key_bytes);
/*
 * The sequence number decides what is a key's newest record; of equals, as a record and its copy,
 * the one that is applied last. -ENOMEM only where index_insert says so, or without a reservation.
 */
int apply_record(struct kv *kv, const struct format_record *record, uint64_t address,
		 uint64_t hash);
/*
 * As apply_record, where somebody has found that the record of this length at `old` has the same
 * key and is older. If it still is the key's newest, nothing but the index is looked at.
 */
int apply_replacing(struct kv *kv, const struct format_record *record, uint64_t address,
		    uint64_t hash, uint64_t old, uint32_t old_length);
/*
 * As apply_record in fewer steps, for a value that has just been committed, in a user's keyspace
 * without order, while there is no view.
 */
int apply_committed(struct kv *kv, const struct format_record *record, uint64_t address,
		    uint64_t hash);

/*
 * A record that was copied when it was not its key's newest any more, since the batch `end`: it is
 * kept if a view sees it. -ENOMEM
 */
int apply_old(struct kv *kv, const struct format_record *record, uint64_t address, uint64_t hash,
	      uint64_t end);

/*
 * A copy of the record at `from` stands at `to`: if that is still its key's newest, or kept for a
 * view, what leads to it leads to the copy from now on. Finds the entry by its address, and looks
 * at no record but the copy. -ENOENT, -ESTALE: the indexes disagree.
 */
int apply_move(struct kv *kv, const struct format_record *copy, uint64_t hash, uint64_t from,
	       uint64_t from_length, uint64_t to);
/*
 * Is the record at this address its key's newest? No lock, inside an epoch; once it is not, it
 * never is again.
 */
bool apply_is_newest(struct kv *kv, uint64_t address, uint64_t hash);

#endif
