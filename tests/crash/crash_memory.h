/* SPDX-License-Identifier: MIT */
/*
 * crash_memory.h - memory that is refused: the nth call of malloc, calloc, realloc or aligned_alloc that the store makes.
 *
 * The linker leads these calls of all that is linked statically here (--wrap); libraries' own, zstd's for one, are
 * not met. What the model and the subjects allocate for themselves comes from own_memory.h, and is neither counted nor refused.
 *
 * Threads: any.
 */
#ifndef CRASH_MEMORY_H
#define CRASH_MEMORY_H

#include <stdint.h>

/* The nth call from now on (1: the next) fails; 0: none does. */
void crash_memory_fail(uint64_t nth);
/* Calls so far. */
uint64_t crash_memory_calls(void);

#endif
