/* SPDX-License-Identifier: MIT */
/* own_memory.c - memory of the tests' own. */
#include "own_memory.h"

_Thread_local volatile unsigned own_memory_depth;

void *own_malloc(size_t size)
{
	void *memory;

	own_memory_depth++;
	memory = malloc(size);
	own_memory_depth--;
	return memory;
}

void *own_calloc(size_t count, size_t size)
{
	void *memory;

	own_memory_depth++;
	memory = calloc(count, size);
	own_memory_depth--;
	return memory;
}

void *own_realloc(void *old, size_t size)
{
	void *memory;

	own_memory_depth++;
	memory = realloc(old, size);
	own_memory_depth--;
	return memory;
}
