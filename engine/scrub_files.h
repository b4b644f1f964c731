/* SPDX-License-Identifier: MIT */
/*
 * scrub_files.h - the part of the scrub that is about files: are the log's segments there under
 * their names, with their headers, and are the small files beside them whole?
 *
 * What a store that is open knows anyway is written again where its file is not whole: the list of
 * segments and that of snapshots. A checkpoint is removed, until the next one is due. The rest is
 * said.
 *
 * Threads: whoever holds the maintainer's place.
 */
#ifndef SCRUB_FILES_H
#define SCRUB_FILES_H

#include "store.h"

/* The file that has the segment's name, and the page of its header. */
void scrub_segment_file(struct kv *kv, struct segment *segment);
/* Superblock, list of segments, list of snapshots. */
void scrub_small_files(struct kv *kv);
/* The next part of the checkpoint, after scrub_checkpoint_begin: bytes. 0: there is no more. */
void scrub_checkpoint_begin(struct kv *kv);
uint64_t scrub_checkpoint_step(struct kv *kv);

#endif
