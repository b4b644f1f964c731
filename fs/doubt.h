/* SPDX-License-Identifier: MIT */
/*
 * doubt.h - a store of which damage has taken records: what they replaced may be back, so records
 * need not agree. A note in keyspace meta says so from then on, until a repair; while it is there
 * nothing is freed because of one record alone, and no number given out that another may have.
 */
#ifndef DOUBT_H
#define DOUBT_H

#include "fs.h"

/* When opening: sets fs->doubtful, and says so if it is an earlier opening that noted it. */
void doubt_look(struct kvfs *fs);
/* When opening for changes: notes it. Where there is no room for that nothing is noted. */
KV_MUST_CHECK int doubt_note(struct kvfs *fs);
bool doubt_is_noted(struct kvfs *fs);

#endif
