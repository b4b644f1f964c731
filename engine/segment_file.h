/* SPDX-License-Identifier: MIT */
/*
 * segment_file.h - the files of the segments: into the log by one name, out of it by another, and
 * those that are free.
 *
 * A free file is one in the table whose id is 0: it has the name of a free one and waits to be used
 * for the next segment. It is ready if it has its size on the disk and its present name is durable.
 *
 * Threads: as segment.h; segments_sync_names and segment_sync_name are for any.
 */
#ifndef SEGMENT_FILE_H
#define SEGMENT_FILE_H

#include "segment.h"

/*
 * The file of a slot, by a segment's name (listed) or that of a free one; not in the table yet.
 * -EEXIST, -ENOMEM, -EIO
 */
int segment_file_open(struct segments *segments, uint32_t slot, bool listed, unsigned flags,
		      struct segment **out);
/* Of one that has neither buffer nor map. NULL is accepted. */
void segment_file_close(struct segments *segments, struct segment *segment);
/* Into the table; a free file under the same number gives way. */
void segment_file_enter(struct segments *segments, struct segment *segment);

/* Into the log or out of it; durable after segment_sync_name, or any other directory sync. */
int segment_file_rename(struct segments *segments, struct segment *segment, bool listed);
/* Takes a segment's file out of the log, before segment_release. */
int segment_erase(struct segments *segments, struct segment *segment);
/* Makes the present names of all files durable, those that are gone as well. Any thread. */
int segments_sync_names(struct segments *segments);
/* Makes the file's present name durable. Any thread. */
int segment_sync_name(struct segments *segments, const struct segment *segment);

/*
 * Bytes that can still be allocated as far as can be told, and in all (NULL: not wanted): none,
 * once space was refused, whatever the disk says.
 */
uint64_t segments_space(struct segments *segments, uint64_t *total_bytes);
/* A free file that may be written to, or a new one. env_is_short, -EIO */
int segment_file_take(struct segments *segments, struct segment **out);
/* Sees to it that the file has its size on the disk. */
int segment_file_allocate(struct segments *segments, struct segment *segment);
/*
 * Gives back the space behind `from`, where nothing stands and nothing is written before it has its
 * space again. -EOPNOTSUPP: it has it still; else some of it may be gone.
 */
int segment_file_release(struct segments *segments, struct segment *segment, uint32_t from);
/* Sees to it that what stands before `end` has its space. env_is_full, -EIO */
int segment_file_restore(struct segments *segments, struct segment *segment, uint32_t end);
/*
 * The last attempt at that has failed: what it may have kept all the same, behind what had space
 * before and behind `end`, of whole blocks, is the disk's again. Nothing stands there.
 */
void segment_file_give_back(struct segments *segments, struct segment *segment, uint32_t end);
/*
 * Sees to it that so many free files are allocated: the next segments need no space from the disk.
 * env_is_short, -EIO
 */
int segments_keep_free(struct segments *segments, uint32_t count);
/* How many there are; and with those that lack space. */
uint32_t segments_count_free(const struct segments *segments);
uint32_t segments_count_unused(const struct segments *segments);
/* A file that is not in the log, to be used for the next segment. */
int segment_load_free(struct segments *segments, uint32_t slot, bool read_only);
/* Gives a free slot's file back to the disk; takes the log's lock only to leave the table. */
int segment_remove(struct segments *segments, struct segment *segment, pthread_mutex_t *lock);
/*
 * The same with those that have a part of their space only, and so are of no use on a full disk,
 * where others are with what they give back. How many these were.
 */
unsigned segments_drop_parts(struct segments *segments, pthread_mutex_t *lock);
/*
 * The same with all free files but so many, which have their space if any do. One that cannot be
 * removed stays.
 */
void segments_drop_free(struct segments *segments, uint32_t keep, pthread_mutex_t *lock);

/*
 * Reads the page of a header. Who cannot read it gives a whole segment up: so the disk is asked more
 * than once. What reading says
 */
int segment_file_read_page(const struct kv_env *env, struct env_file *file, void *page);

#endif
