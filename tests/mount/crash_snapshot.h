/* SPDX-License-Identifier: MIT */
/*
 * crash_snapshot.h - snapshots are taken and removed while writers change what is in them
 */
#ifndef CRASH_SNAPSHOT_H
#define CRASH_SNAPSHOT_H

#include "crash_ledger.h"

#define SNAPSHOTS_DIR ".snapshots"

/*
 * Takes and removes in the working directory, the root of a mount, until the server is gone or the
 * ledger says stop.
 */
void snapshots_run(struct ledger *ledger, uint64_t seed);

void snapshot_path(uint32_t number, char path[32]);
/*
 * Compares the list of snapshots with the ledger, and settles there which of them there are
 * (SNAPSHOT_KEPT) and which are not (SNAPSHOT_NONE). `least`: the fewest changes of each writer
 * that what was found has. Ends the program where that cannot be.
 */
void snapshots_settle(struct ledger *ledger, const uint64_t least[WRITERS_MAX]);

#endif
