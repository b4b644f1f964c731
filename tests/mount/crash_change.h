/* SPDX-License-Identifier: MIT */
/*
 * crash_change.h - the changes of change_model.h, made by system calls in the working directory
 */
#ifndef CRASH_CHANGE_H
#define CRASH_CHANGE_H

#include "change_model.h"

/* Makes the one that comes next. 0, or -1 and errno; a short one ends the program. */
int change_make(const struct model *model, const struct change *change);

#endif
