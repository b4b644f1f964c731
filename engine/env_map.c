/* SPDX-License-Identifier: MIT */
/*
 * env_map.c - file maps whose unreadable pages become zeros and a flag instead of a SIGBUS.
 *
 * A page of a shared map that cannot be read (an I/O error, a file that somebody truncated) raises
 * SIGBUS in whoever touches it. Every map made here is entered in a table; the handler looks the
 * address up, puts a page of zeros in its place, marks the map as failed and lets the reader go on:
 * its checksum fails, and env_map_failed says why. A SIGBUS that is none of ours goes to the
 * handler that was there before.
 *
 * A huge page of a file is read as a whole, and one bad sector makes all of it unreadable. So a
 * page that failed is first asked for again in a map of small ones.
 *
 * Owns: the process's SIGBUS handler (taken with the first map, never given back) and the table.
 * Threads: entries are claimed and left under table_lock; the handler, which may interrupt
 * anything, reads them without it. An entry's size is written before its start is published and its
 * start is cleared before it is unmapped, so that a start that is still the same after the size was
 * read vouches for that size.
 */
#include "env_map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* As many as the kernel lets a process map by default (vm.max_map_count). */
#define MAPS_MAX 65536u
/* A second thread may have read the huge page again before the first one had dropped it. */
#define TRIES_MAX 3u
#define PAGE_SIZE_MIN 4096u

struct map_entry {
	_Atomic(uintptr_t)
		start;        /* 0: free; the store releases the rest to the handler */
	_Atomic(size_t) size; /* bytes */
	_Atomic int fd;	      /* the file's */
	atomic_bool failed;
};

static struct map_entry table[MAPS_MAX];
static atomic_uint table_used;    /* entries ever claimed: the rest is not looked at */
static unsigned table_first_free; /* no entry below is free; protected by table_lock */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool any_failed; /* spares env_map_failed the search while all is well */

static pthread_once_t handler_once = PTHREAD_ONCE_INIT;
static struct sigaction previous_action;
static uintptr_t page_size; /* bytes; set before the handler is installed */

/* The page that this thread could not read last, and how often in a row. */
static __thread __attribute__((tls_model("initial-exec"))) uintptr_t tried_page;
static __thread __attribute__((tls_model("initial-exec"))) unsigned tries;

static struct map_entry *table_find(uintptr_t address, uintptr_t *start_out, size_t *size_out)
{
	unsigned used = atomic_load_explicit(&table_used, memory_order_acquire);

	for (unsigned i = 0; i < used; i++) {
		uintptr_t start = atomic_load_explicit(&table[i].start, memory_order_acquire);
		size_t size = atomic_load_explicit(&table[i].size, memory_order_acquire);

		if (start == 0 || address < start || address - start >= size)
			continue;
		if (atomic_load_explicit(&table[i].start, memory_order_relaxed) != start)
			continue;
		*start_out = start;
		*size_out = size;
		return &table[i];
	}
	return NULL;
}

static bool replace_by_zeros(uintptr_t start, size_t size)
{
	return mmap((void *)start, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		       0) != MAP_FAILED;
}

/*
 * False: that has been done. Else the pages around are small from now on, and what the kernel could
 * not read of them is out of its cache: the reader is to try once more.
 */
static bool read_apart(const struct map_entry *entry, uintptr_t page, uintptr_t start, size_t size)
{
	uintptr_t from = page & ~(uintptr_t)(ENV_MAP_HUGE - 1), to = from + ENV_MAP_HUGE;

	if (page != tried_page)
		tries = 0;
	tried_page = page;
	if (++tries > TRIES_MAX) {
		tried_page = 0;
		return false;
	}
	if (from < start)
		from = start;
	if (to > start + size)
		to = start + size;
	madvise((void *)from, to - from, MADV_NOHUGEPAGE);
	posix_fadvise(atomic_load(&entry->fd), (off_t)(from - start), (off_t)(to - from),
		      POSIX_FADV_DONTNEED);
	return true;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
	if (previous_action.sa_flags & SA_SIGINFO) {
		previous_action.sa_sigaction(number, info, context);
		return;
	}
	if (previous_action.sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
		previous_action.sa_handler(number);
		return;
	}
	/* The fault repeats when we return and then ends the process as if we had not been here. */
	signal(SIGBUS, SIG_DFL);
	if (info->si_code <= 0) /* sent by a process: nothing repeats */
		raise(SIGBUS);
}

/* Async-signal-safe: atomics and system calls only. */
static void handle_sigbus(int number, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	uintptr_t page = (uintptr_t)info->si_addr & ~(page_size - 1);
	struct map_entry *entry = NULL;
	uintptr_t start;
	size_t size;

	if (info->si_code > 0)
		entry = table_find((uintptr_t)info->si_addr, &start, &size);
	if (!entry) {
		pass_on(number, info, context);
		goto out;
	}
	if (read_apart(entry, page, start, size))
		goto out;
	atomic_store(&entry->failed, true);
	atomic_store(&any_failed, true);
	/*
	 * Replaces one page, so that the rest stays readable; or all of it, if the process has no
	 * map left to split off.
	 */
	if (!replace_by_zeros(page, page_size) && !replace_by_zeros(start, size))
		pass_on(number, info, context);
out:
	errno = saved_errno;
}

static void install_handler(void)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	action.sa_sigaction = handle_sigbus;
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, NULL, &previous_action);
	sigaction(SIGBUS, &action, NULL);
}

static int table_add(int fd, uintptr_t start, size_t size)
{
	unsigned used, i;
	int result = -ENOMEM;

	pthread_mutex_lock(&table_lock);
	for (i = table_first_free; i < MAPS_MAX; i++)
		if (atomic_load_explicit(&table[i].start, memory_order_relaxed) == 0)
			break;
	if (i == MAPS_MAX)
		goto out;
	table_first_free = i + 1;
	atomic_store_explicit(&table[i].failed, false, memory_order_relaxed);
	atomic_store_explicit(&table[i].size, size, memory_order_relaxed);
	atomic_store_explicit(&table[i].fd, fd, memory_order_relaxed);
	atomic_store_explicit(&table[i].start, start, memory_order_release);
	used = atomic_load_explicit(&table_used, memory_order_relaxed);
	if (i >= used)
		atomic_store_explicit(&table_used, i + 1, memory_order_release);
	result = 0;
out:
	pthread_mutex_unlock(&table_lock);
	return result;
}

static void table_remove(uintptr_t start)
{
	unsigned used;

	pthread_mutex_lock(&table_lock);
	used = atomic_load_explicit(&table_used, memory_order_relaxed);
	for (unsigned i = 0; i < used; i++) {
		if (atomic_load_explicit(&table[i].start, memory_order_relaxed) != start)
			continue;
		atomic_store_explicit(&table[i].start, 0, memory_order_release);
		if (i < table_first_free)
			table_first_free = i;
		break;
	}
	pthread_mutex_unlock(&table_lock);
}

/*
 * At a multiple of ENV_MAP_HUGE if it is as long as that: only there can the kernel map a huge
 * page.
 */
static void *map_aligned(int fd, size_t size)
{
	size_t whole = (size + page_size - 1) & ~(page_size - 1), before;
	char *base;
	void *map;
	int error;

	if (size < ENV_MAP_HUGE)
		return mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	base = mmap(NULL, whole + ENV_MAP_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return base;
	before = -(uintptr_t)base & (ENV_MAP_HUGE - 1);
	map = mmap(base + before, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	error = errno;
	/*
	 * After a failure the map's place may be empty, or another thread's by now, so it is left
	 * alone.
	 */
	if (before)
		munmap(base, before);
	munmap(base + before + whole, ENV_MAP_HUGE - before);
	errno = error;
	return map;
}

int env_map_open(int fd, size_t size, const void **out)
{
	void *map;
	int result;

	pthread_once(&handler_once, install_handler);
	map = map_aligned(fd, size);
	if (map == MAP_FAILED)
		return -errno;
	result = table_add(fd, (uintptr_t)map, size);
	if (result < 0) {
		munmap(map, size);
		return result;
	}
	*out = map;
	return 0;
}

void env_map_close(const void *map, size_t size)
{
	table_remove((uintptr_t)map);
	munmap((void *)map, size);
}

void env_map_populate(void *start, size_t size)
{
	const volatile uint8_t *bytes = start;
	size_t offset;

	if (madvise(start, size, MADV_POPULATE_READ))
		return;
	for (offset = 0; offset < size; offset += PAGE_SIZE_MIN)
		(void)bytes[offset];
}

bool env_map_failed(const void *map)
{
	struct map_entry *entry;
	uintptr_t start;
	size_t size;

	if (!atomic_load(&any_failed))
		return false;
	entry = table_find((uintptr_t)map, &start, &size);
	return entry && atomic_load(&entry->failed);
}
