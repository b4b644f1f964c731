/* SPDX-License-Identifier: MIT */
/*
 * checkpoint_vouch.h - what a checkpoint that is not used, or is about to be removed, knows all the
 * same and damage in the log may have taken from it: how far each segment was durable, and until
 * which batch each old version was its key's newest.
 *
 * Threads: only while the store is opened.
 */
#ifndef CHECKPOINT_VOUCH_H
#define CHECKPOINT_VOUCH_H

#include "checkpoint_file.h"
#include "store.h"

/* An old version's record, and the batch that replaced it. */
struct vouched_version {
	uint64_t address, end;
};

/*
 * Called before the checkpoint is removed. Of one that is damaged what can be read counts. What
 * env_open_was_refused() is: it may be as good as ever, and is not to go
 */
int checkpoint_vouch(struct kv *kv);
/* Likewise, of one that is there and goes unused: for segments only. */
int checkpoint_vouch_for_segments(struct kv *kv, const struct checkpoint_file *file);
/* The batch that replaced the record at this address; 0: it does not say. */
uint64_t checkpoint_vouched_end(const struct kv *kv, uint64_t address);
void checkpoint_vouch_fini(struct kv *kv);
/* Does the checkpoint speak of the segment that is in this slot now? */
bool checkpoint_knows(const struct kv *kv, const struct format_checkpoint_segment *entry);

#endif
