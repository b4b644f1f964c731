/* SPDX-License-Identifier: MIT */
/*
 * crash_judge.h - is what is there one moment of what the writers did?
 */
#ifndef CRASH_JUDGE_H
#define CRASH_JUDGE_H

#include "crash_ledger.h"

/*
 * Judges the trees of the first `writers` in the working directory, the snapshots if it has any,
 * and the stream, by the ledger, which then goes on from what was found. What cannot be ends the
 * program.
 */
void judge(struct ledger *ledger, uint64_t seed, unsigned writers);

#endif
