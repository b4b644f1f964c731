/* SPDX-License-Identifier: MIT */
/* sim_bytes.c - the bytes of a file of the simulated disk; see sim_bytes.h. */
#include "sim_bytes.h"
#include "own_memory.h"
#include "sim_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define SPARES_MAX 128u /* arrays */
#define CHANGE_UNIT 64u /* bytes that are compared at once */
#define CLOSED_ONE_OF 4u

/* The page before an array. */
struct head {
	struct sim_file *owner;
	uint64_t size_max;
	uint64_t end; /* of a spare one: what is to be cleared */
	struct head *next;
	bool closed; /* a spare one to which nobody has access */
};

static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER; /* protects the three */
static struct head *spares;
static unsigned spares_count, freed;

static uint8_t *array_of(struct head *head)
{
	return (uint8_t *)head + SIM_PAGE_SIZE;
}

static struct head *head_of(const uint8_t *at)
{
	return (struct head *)(uintptr_t)(at - SIM_PAGE_SIZE);
}

/* NULL: there is none of this size. */
static struct head *spare_take(uint64_t size_max)
{
	struct head **link, *head;

	pthread_mutex_lock(&spares_lock);
	for (link = &spares; *link && (*link)->size_max != size_max; link = &(*link)->next)
		;
	head = *link;
	if (head) {
		*link = head->next;
		spares_count--;
	}
	pthread_mutex_unlock(&spares_lock);
	if (!head)
		return NULL;
	if (head->closed && mprotect(array_of(head), size_max, PROT_READ | PROT_WRITE) < 0) {
		munmap(head, SIM_PAGE_SIZE + size_max);
		return NULL;
	}
	memset(array_of(head), 0, head->end);
	return head;
}

/* Never refused: whether there is a spare one is none of a life's own doing. */
static struct head *array_map(uint64_t size_max)
{
	struct head *head;

	own_memory_depth++;
	head = mmap(NULL, SIM_PAGE_SIZE + size_max, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	own_memory_depth--;
	if (head == MAP_FAILED)
		return NULL;
	head->size_max = size_max;
	return head;
}

int sim_bytes_new(uint64_t size_max, struct sim_file *file, struct sim_bytes *out)
{
	struct head *head = spare_take(size_max);

	if (!head)
		head = array_map(size_max);
	if (!head)
		return -ENOMEM;
	head->owner = file;
	out->at = array_of(head);
	out->end = 0;
	return 0;
}

void sim_bytes_free(struct sim_bytes *bytes)
{
	struct head *head;
	bool keep;

	if (!bytes->at)
		return;
	head = head_of(bytes->at);
	head->end = bytes->end;
	pthread_mutex_lock(&spares_lock);
	head->closed = freed++ % CLOSED_ONE_OF == 0;
	keep = !head->closed || mprotect(bytes->at, head->size_max, PROT_NONE) == 0;
	keep = keep && spares_count < SPARES_MAX;
	if (keep) {
		head->next = spares;
		spares = head;
		spares_count++;
	}
	pthread_mutex_unlock(&spares_lock);
	if (!keep)
		munmap(head, SIM_PAGE_SIZE + head->size_max);
	bytes->at = NULL;
}

struct sim_file *sim_bytes_owner(const void *at)
{
	return head_of(at)->owner;
}

/* By words, as records begin at multiples of one. */
static void change_unit(uint8_t *bytes, const uint8_t *data, size_t length)
{
	size_t i = 0;

	for (; i + sizeof(uint64_t) <= length && (uintptr_t)(bytes + i) % sizeof(uint64_t) == 0;
		i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, data + i, sizeof(word));
		if (*(uint64_t *)(void *)(bytes + i) != word)
			*(uint64_t *)(void *)(bytes + i) = word;
	}
	for (; i < length; i++) {
		if (bytes[i] != data[i])
			bytes[i] = data[i];
	}
}

/*
 * Whoever reads through a map beside a write sees nothing of bytes that stay as they are, and may.
 * A sanitizer then speaks of those alone that do change under a reader.
 */
void sim_bytes_write(struct sim_bytes *bytes, const void *data, uint64_t length, uint64_t position)
{
	uint8_t *to = bytes->at + position;
	const uint8_t *from = data;

	for (uint64_t at = 0; at < length; at += CHANGE_UNIT) {
		uint64_t unit = CHANGE_UNIT < length - at ? CHANGE_UNIT : length - at;

		if (memcmp(to + at, from + at, unit) != 0)
			change_unit(to + at, from + at, unit);
	}
	if (position + length > bytes->end)
		bytes->end = position + length;
}

void sim_bytes_clear(struct sim_bytes *bytes, uint64_t from)
{
	if (from >= bytes->end)
		return;
	memset(bytes->at + from, 0, bytes->end - from);
	bytes->end = from;
}

void sim_bytes_copy(struct sim_bytes *to, const struct sim_bytes *from)
{
	if (from->end > 0)
		memcpy(to->at, from->at, from->end);
	sim_bytes_clear(to, from->end);
	to->end = from->end;
}
