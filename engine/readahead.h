/* SPDX-License-Identifier: MIT */
/*
 * readahead.h - large values that are read from maps: the disk is asked for all of one at once, and
 * for what follows.
 */
#ifndef READAHEAD_H
#define READAHEAD_H

#include "store.h"

#define READAHEAD_VALUE_MIN 16384u /* bytes; smaller values fault in by themselves */

/* A value at this address is about to be read by this thread. Inside an epoch. */
void readahead_value(struct kv *kv, uint64_t address, const struct format_record *record);

/*
 * The same where a part of it is wanted: the first time the disk is asked for all of the value, or
 * for what is around a smaller one where there is memory for all of the log, as that is likely to
 * be wanted too; and never again while the segment is mapped.
 */
void readahead_part(struct kv *kv, uint64_t address, const struct format_record *record);

#endif
