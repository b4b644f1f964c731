/* SPDX-License-Identifier: MIT */
/*
 * doubt.h - a store of which damage has taken records: what they replaced may be back, so records
 * need not agree. The engine keeps that in mind (records_lost of kv_stats) until a repair; while it
 * is so nothing is freed because of one record alone, and no number given out that another may have.
 */
#ifndef DOUBT_H
#define DOUBT_H

#include "fs.h"

/* When opening: sets fs->doubtful. */
void doubt_look(struct kvfs *fs);
/*
 * Before going back to what was there at batch `seq`: if a repair has come since, that it mended is
 * as it was again. Nobody else uses the file system. -ENOSPC, -EIO
 */
KV_MUST_CHECK int doubt_return(struct kvfs *fs, uint64_t seq);
/* It was not gone back after all, and there was no doubt before. */
void doubt_take_back(struct kvfs *fs);
/* Is what was there at this batch older than the last repair of lost records? */
KV_MUST_CHECK int doubt_was_before_repair(struct kvfs *fs, uint64_t seq, bool *before);
/* A repair has made what is left agree, and is durable. */
KV_MUST_CHECK int doubt_end(struct kvfs *fs);

#endif
