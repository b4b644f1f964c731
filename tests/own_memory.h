/* SPDX-License-Identifier: MIT */
/*
 * own_memory.h - memory of the tests' own: where a test refuses memory to the store, its models
 * still get theirs.
 *
 * A file that is compiled with OWN_MEMORY includes this before all else (meson.build says so), and
 * its malloc, calloc and realloc are these.
 */
#ifndef OWN_MEMORY_H
#define OWN_MEMORY_H

#include <stdlib.h>

void *own_malloc(size_t size);
void *own_calloc(size_t count, size_t size);
void *own_realloc(void *old, size_t size);

/*
 * Not 0: this thread is in one of them. volatile: a compiler knows that malloc looks at no variable
 * of ours.
 */
extern _Thread_local volatile unsigned own_memory_depth;

#ifdef OWN_MEMORY
#define malloc own_malloc
#define calloc own_calloc
#define realloc own_realloc
#endif

#endif
