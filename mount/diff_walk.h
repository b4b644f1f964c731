/* SPDX-License-Identifier: MIT */
/*
 * diff_walk.h - what is different between two trees under a mount, found by walking both: for those
 * whom the server does not tell, with the outcome that it would have. It takes as long as it takes
 * to look at all files, and the caller has to be allowed to.
 */
#ifndef DIFF_WALK_H
#define DIFF_WALK_H

#include "diff_rows.h"

/* From the directory that `from` is a descriptor of to that of `to`. -ECANCELED by a signal */
int diff_walk(int from, int to, struct diff_rows *rows) __attribute__((warn_unused_result));

#endif
