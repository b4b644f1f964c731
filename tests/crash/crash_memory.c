/* SPDX-License-Identifier: MIT */
/* crash_memory.c - memory that is refused. */
#include "crash_memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "own_memory.h"

static atomic_uint_fast64_t calls, failing; /* failing: the call that is refused; 0: none is */

__attribute__((weak)) void __sanitizer_print_stack_trace(void);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__real_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset);

void crash_memory_fail(uint64_t nth)
{
	atomic_store(&failing, nth ? atomic_load(&calls) + nth : 0);
}

uint64_t crash_memory_calls(void)
{
	return atomic_load(&calls);
}

static bool is_refused(void)
{
	if (own_memory_depth || atomic_fetch_add(&calls, 1) + 1 != atomic_load(&failing))
		return false;
	errno = ENOMEM;
	if (__sanitizer_print_stack_trace && getenv("CRASH_VERBOSE"))
		__sanitizer_print_stack_trace();
	return true;
}

void *__wrap_malloc(size_t size)
{
	return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return is_refused() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_refused() ? NULL : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	return is_refused() ? MAP_FAILED : __real_mmap(address, size, protection, flags, fd, offset);
}

/* What it is called where an off_t of 64 bits was asked for. */
void *__wrap_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	return is_refused() ? MAP_FAILED : __real_mmap64(address, size, protection, flags, fd, offset);
}
