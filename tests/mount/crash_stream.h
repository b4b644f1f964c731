/* SPDX-License-Identifier: MIT */
/*
 * crash_stream.h - megabytes in a row, written beside the small changes
 *
 * Generation after generation of a file is written to stream/new, with an fsync here and there, and
 * renamed to stream/old when it is whole. Meanwhile a file without a name is open. Writes of this
 * size may end short, so any size may be found.
 */
#ifndef CRASH_STREAM_H
#define CRASH_STREAM_H

#include "crash_ledger.h"

/* Both in the working directory. Writes until the server is gone or the ledger says stop. */
void stream_run(struct ledger *ledger, uint64_t seed);
/* Ends the program where what is there cannot be; the account goes on from what is found. */
void stream_judge(struct ledger *ledger, uint64_t seed);

#endif
