/* SPDX-License-Identifier: MIT */
/*
 * restore.h - making the records of the tree what a snapshot has, by way of what changed since.
 *
 * The work can be broken off anywhere and begun again: each step compares and changes what differs.
 * Nobody else uses the file system.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include "fs.h"
#include "keyspaces.h"

/* A survey: what would be done, without doing it. */
struct restore_survey {
	uint64_t bytes; /* out: the log would grow by */
	/*
	 * Told of each record that would change: what it was at the snapshot and is now, NULL where
	 * there is none or it is damaged; in a read section. Non-zero ends the survey and is its
	 * result. May be NULL
	 */
	int (*differs)(void *arg, enum keyspace keyspace, struct kv_slice key,
		const struct kv_slice *was, const struct kv_slice *now);
	void *arg;
};

/*
 * With a survey, changes nothing: others may change the tree meanwhile. Commits many batches,
 * between which the tree is neither the one nor the other.
 */
KV_MUST_CHECK int restore(struct kvfs *fs, struct kvfs *snapshot, struct restore_survey *survey);

#endif
