/* SPDX-License-Identifier: MIT */
/*
 * recover.h - from the files of a store to its indexes and the end of its log.
 *
 * Reads the segments in the order of their ids and applies every whole batch. The log ends at the
 * first record of the last segment that is not valid. Anywhere else such a record is damage: it is
 * reported, and reading goes on at the next valid record. In the last segment a MARK behind the
 * place, which says that it was durable, tells the two apart.
 */
#ifndef RECOVER_H
#define RECOVER_H

#include "store.h"

/*
 * Fills the indexes; unless read-only, leaves an active segment to append to. -EUCLEAN, -EIO,
 * -ENOMEM, env_is_short; -ESTALE: a part of the checkpoint that the replay needed cannot be read.
 * CHECKPOINT_REMOVED_WITH_ROOM and env_is_short: nothing was changed, the checkpoint is there, and
 * nothing was reported.
 */
int recover(struct kv *kv);

#endif
