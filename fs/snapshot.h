/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - file systems that show a snapshot, for the files of the core.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "fs.h"

/* Of a kvfs that kvfs_snapshot_open made. */
void snapshot_close(struct kvfs *fs);

#endif
