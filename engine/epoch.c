/* SPDX-License-Identifier: MIT */
/*
 * epoch.c - each thread's depth of read sections, and the address that stands for liburcu's
 * ordering in ThreadSanitizer's eyes.
 */
#include "epoch.h"

__thread unsigned epoch_depth;

#ifdef EPOCH_TSAN
char epoch_tsan_order;
#endif
