/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - views with names that last. A snapshot is a record of the engine's keyspace, written
 * by an ordinary commit, and sees what its own batch left: to create one costs a put.
 *
 * Opening has to know a snapshot before it replays what the snapshot sees. The record stands before
 * all that replaces or deletes such things, until compaction moves it, or moves one of those to a
 * cold segment, which is replayed early. So the list is in a small file too, which is written
 * before compaction copies anything to a cold segment, before it erases a segment in which a change
 * of the list stands, and before a checkpoint. The file says how the list was after some batch;
 * later changes follow from the log.
 *
 * Invariant: of every change of the list, its record is where it was written and in front of all
 * that came later, or the file knows of it.
 *
 * Threads: with the log's lock, unless it says otherwise.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "store.h"

void snapshots_fini(struct snapshots *snapshots);

/*
 * A record of the engine's keyspace: if it is that of a snapshot, the list changes. -ENOMEM, not
 * for one that is prepared
 */
int snapshot_apply(struct kv *kv, const struct format_record *record, uint64_t address);

/* snapshot_file.c */

/*
 * Called before anything is replayed: takes the list from the file. `segments`: those there are, by
 * rising id. -ENOMEM, -EPROTONOSUPPORT, and what env_open_was_refused() is
 */
int snapshots_load(struct kv *kv, struct segment **segments, size_t count);
/*
 * Likewise, behind the checkpoint. If that knows of changes that the file does not: as of one that
 * is damaged. Without either nobody can tell whether there was a file, and nothing is said.
 */
int snapshots_look_for(struct kv *kv, struct segment **segments, size_t count);
/*
 * Called after the replay: drops snapshots of a future that was lost. A file from there would pass
 * over what comes next, and is replaced, and so is one that is damaged. -ENOMEM, and errors of
 * writing
 */
int snapshots_settle(struct kv *kv);
/*
 * Makes the file know of all changes up to this batch, if it does not. The maintainer's, without
 * locks. Not possible now: -ENOSPC, -EIO and others; nothing is lost.
 */
int snapshots_save(struct kv *kv, uint64_t seq);
int snapshots_save_all(struct kv *kv);
/*
 * For the scrub: is the file still whole? If it is not that is said, once, and it is written anew.
 * False: that was said. The maintainer's, without locks.
 */
bool snapshots_verify(struct kv *kv);

/*
 * Adds one, in the memory given if it is not NULL, or replaces an older one of the name. -ENOMEM,
 * not where there is room
 */
int snapshot_add(struct kv *kv, struct snapshot *snapshot, const char *name, size_t name_size,
		 uint64_t seq, uint64_t time_us);
/* Takes it out of the list at this place. */
void snapshot_drop(struct kv *kv, unsigned at);

#endif
