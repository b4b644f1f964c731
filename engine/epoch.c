/* SPDX-License-Identifier: MIT */
/* epoch.c - the address that stands for liburcu's ordering in ThreadSanitizer's eyes. */
#include "epoch.h"

#ifdef EPOCH_TSAN
char epoch_tsan_order;
#else
typedef int epoch_not_empty;
#endif
