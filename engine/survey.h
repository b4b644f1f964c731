/* SPDX-License-Identifier: MIT */
/*
 * survey.h - looks at values spread over a segment before it is rewritten: trains dictionaries from
 * them where that pays, and says whether compressing pays at all. The maintainer's.
 */
#ifndef SURVEY_H
#define SURVEY_H

#include "store.h"

/*
 * How much smaller the segment's records would be, in per mille of all of them; 0 where nothing
 * can be said. -EAGAIN: there was no room for a dictionary in the log now.
 */
int survey_segment(struct kv *kv, const struct segment *segment);

#endif
