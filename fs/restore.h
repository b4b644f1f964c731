/* SPDX-License-Identifier: MIT */
/*
 * restore.h - making the records of the tree what a snapshot has, by way of what changed since.
 *
 * The work can be broken off anywhere and begun again: each step compares and changes what differs. Nobody else uses the file system.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include "fs.h"

/*
 * With `bytes`, changes nothing and says how many the log would grow by. Commits many batches, between which the tree is
 * neither the one nor the other.
 */
KV_MUST_CHECK int restore(struct kvfs *fs, struct kvfs *snapshot, uint64_t *bytes);

#endif
