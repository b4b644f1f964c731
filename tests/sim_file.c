/* SPDX-License-Identifier: MIT */
/*
 * sim_file.c - one file of the simulated disk: what readers see, what the medium holds, and what
 * lies between.
 *
 * A change goes into `live` at once and onto a list; sync carries the list over into `durable`. A
 * power failure replays the list onto `durable`, sector by sector, each kept or dropped by chance,
 * later changes over earlier ones, so that a sector can hold any of the versions it had. Sectors
 * that were on their way at that moment may be garbage, but only in the bytes that the change would
 * have altered: a device that destroys what it is told to rewrite unchanged would be beyond any
 * store's help. On their way are those of the call that was cut, and now and then all that no sync
 * has covered, of all files: the kernel writes back when it wants to, and a device its cache. Space
 * that is given back is a matter of the file system's journal, which leaves no garbage.
 *
 * Invariant: beyond `size` live holds zeros, beyond durable_size durable does.
 */
#include "sim_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of the sectors on their way one of 8, 16 ... 256 is garbage: of a long write little, or most. */
#define GARBAGE_AMONG_LEAST 8u
#define GARBAGE_AMONG_LOG 6u

struct sim_change {
	struct sim_change *next;
	bool resize;    /* `position` is the new size; no data */
	bool release;   /* the data are zeros, which nobody writes */
	bool in_flight; /* was being written when the power failed */
	uint64_t position;
	size_t size; /* bytes */
	uint8_t data[];
};

uint64_t sim_random_next(struct sim_random *random)
{
	uint64_t x = random->state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t sim_random_below(struct sim_random *random, uint64_t bound)
{
	return sim_random_next(random) % bound;
}

int sim_file_new(uint64_t size_max, struct sim_file **out)
{
	struct sim_file *file = calloc(1, sizeof(*file));

	if (!file)
		return -ENOMEM;
	file->size_max = size_max;
	file->changes_end = &file->changes;
	file->page_failed = file->hole = file->durable_hole = UINT64_MAX;
	if (sim_bytes_new(size_max, file, &file->live) < 0 ||
		sim_bytes_new(size_max, file, &file->durable) < 0) {
		sim_file_free(file);
		return -ENOMEM;
	}
	*out = file;
	return 0;
}

static void changes_drop(struct sim_file *file)
{
	while (file->changes) {
		struct sim_change *change = file->changes;

		file->changes = change->next;
		free(change);
	}
	file->changes_end = &file->changes;
}

void sim_file_free(struct sim_file *file)
{
	if (!file)
		return;
	changes_drop(file);
	sim_bytes_free(&file->live);
	sim_bytes_free(&file->durable);
	free(file);
}

/*
 * Takes the bytes as a device would: those that somebody writes at this moment arrive old or new. A
 * writer of whole blocks may hand over such bytes behind the end of what it wants written.
 */
__attribute__((no_sanitize("thread"))) static void take_bytes(
	uint8_t *to, const void *from, size_t size)
{
	const volatile uint8_t *bytes = from;
	size_t i = 0;

	for (; i + 8 <= size && (uintptr_t)(bytes + i) % 8 == 0; i += 8) {
		uint64_t word = *(const volatile uint64_t *)(bytes + i);

		memcpy(to + i, &word, 8);
	}
	for (; i < size; i++)
		to[i] = bytes[i];
}

/* NULL: no memory. */
static struct sim_change *change_add(
	struct sim_file *file, bool resize, uint64_t position, const void *data, size_t size)
{
	struct sim_change *change = malloc(sizeof(*change) + size);

	if (!change)
		return NULL;
	*change = (struct sim_change){.resize = resize, .position = position, .size = size};
	take_bytes(change->data, data, size);
	*file->changes_end = change;
	file->changes_end = &change->next;
	return change;
}

static void bytes_resize(struct sim_bytes *bytes, uint64_t *size, uint64_t size_new)
{
	sim_bytes_clear(bytes, size_new);
	*size = size_new;
}

static void bytes_write(struct sim_bytes *bytes, uint64_t *size, const void *data, size_t length,
	uint64_t position)
{
	sim_bytes_write(bytes, data, length, position);
	if (position + length > *size)
		*size = position + length;
}

int sim_file_write(struct sim_file *file, const void *data, size_t size, uint64_t position)
{
	struct sim_change *change = change_add(file, false, position, data, size);

	if (!change)
		return -ENOMEM;
	bytes_write(&file->live, &file->size, change->data, size, position);
	sim_file_restore(file, position + size);
	if (position <= file->page_failed && file->page_failed < position + size)
		file->page_failed = UINT64_MAX;
	return 0;
}

static struct sim_change *newest_change(struct sim_file *file)
{
	struct sim_change *change = file->changes;

	while (change && change->next)
		change = change->next;
	return change;
}

int sim_file_resize(struct sim_file *file, uint64_t size)
{
	if (!change_add(file, true, size, NULL, 0))
		return -ENOMEM;
	bytes_resize(&file->live, &file->size, size);
	sim_file_restore(file, 0);
	return 0;
}

/* Behind the last byte that is not zero. */
static uint64_t bytes_end(const struct sim_bytes *bytes, uint64_t from, uint64_t size)
{
	if (size > bytes->end)
		size = bytes->end;
	while (size > from && !bytes->at[size - 1])
		size--;
	return size > from ? size : from;
}

/* Space is had in whole pages. */
static uint64_t page_end(uint64_t position)
{
	return (position + SIM_PAGE_SIZE - 1) & ~(uint64_t)(SIM_PAGE_SIZE - 1);
}

int sim_file_release(struct sim_file *file, uint64_t from)
{
	uint64_t end = bytes_end(&file->live, from, file->size);
	uint8_t *zeros = end > from ? calloc(1, end - from) : NULL;
	int result = end > from && !zeros ? -ENOMEM : 0;

	if (zeros)
		result = sim_file_write(file, zeros, end - from, from);
	if (zeros && result == 0)
		newest_change(file)->release = true;
	free(zeros);
	if (result == 0 && from < file->size && from < file->hole)
		file->hole = from;
	return result;
}

void sim_file_restore(struct sim_file *file, uint64_t end)
{
	if (file->hole < end)
		file->hole = end;
	if (file->hole >= file->size)
		file->hole = UINT64_MAX;
}

uint64_t sim_file_allocated(const struct sim_file *file)
{
	return file->hole < file->size ? file->hole : file->size;
}

uint64_t sim_file_missing(const struct sim_file *file, uint64_t end)
{
	uint64_t allocated = sim_file_allocated(file);

	return end > allocated ? end - allocated : 0;
}

static void change_apply(struct sim_file *file, const struct sim_change *change)
{
	if (change->resize)
		bytes_resize(&file->durable, &file->durable_size, change->position);
	else
		bytes_write(&file->durable, &file->durable_size, change->data, change->size,
			change->position);
}

void sim_file_sync(struct sim_file *file)
{
	for (struct sim_change *change = file->changes; change; change = change->next)
		change_apply(file, change);
	changes_drop(file);
	file->durable_hole = file->hole;
}

void sim_file_tear_newest(struct sim_file *file)
{
	struct sim_change *change = newest_change(file);

	if (change)
		change->in_flight = true;
}

/* ---- what a power failure leaves ---------------------------------------------------------------
 *
 * Purely random sectors would hardly ever leave a long prefix, or a lonely late write: the cases
 * that are hard for recovery. So each file gets a style, and the style decides about each sector in
 * turn. */
enum style {
	KEEP_ALL,
	KEEP_NONE,
	KEEP_PREFIX,
	KEEP_SUFFIX,
	KEEP_HALF,
	KEEP_MOST,
	KEEP_FEW,
	STYLES
};

struct judge {
	enum style style;
	uint64_t turn_at; /* sectors, for a prefix or a suffix */
	uint64_t seen;    /* sectors */
	uint64_t garbage_among; /* one of so many sectors that are on their way */
	struct sim_random *random;
};

static uint64_t change_sectors(const struct sim_change *change)
{
	if (change->resize || change->size == 0)
		return 1;
	return (change->position + change->size - 1) / SIM_SECTOR_SIZE -
	       change->position / SIM_SECTOR_SIZE + 1;
}

static bool judge_keeps(struct judge *judge)
{
	uint64_t at = judge->seen++;

	switch (judge->style) {
	case KEEP_ALL:
		return true;
	case KEEP_PREFIX:
		return at < judge->turn_at;
	case KEEP_SUFFIX:
		return at >= judge->turn_at;
	case KEEP_HALF:
		return sim_random_below(judge->random, 2) == 0;
	case KEEP_MOST:
		return sim_random_below(judge->random, 16) != 0;
	case KEEP_FEW:
		return sim_random_below(judge->random, 16) == 0;
	default:
		return false;
	}
}

static void judge_init(struct judge *judge, const struct sim_file *file, enum sim_loss loss,
	struct sim_random *random)
{
	uint64_t sectors = 0;

	for (const struct sim_change *change = file->changes; change; change = change->next)
		sectors += change_sectors(change);
	judge->random = random;
	judge->seen = 0;
	judge->garbage_among = (uint64_t)GARBAGE_AMONG_LEAST
			       << sim_random_below(random, GARBAGE_AMONG_LOG);
	judge->style =
		loss == SIM_LOSS_ALL ? KEEP_NONE : (enum style)sim_random_below(random, STYLES);
	judge->turn_at = sim_random_below(random, sectors + 1);
}

static void write_garbage(struct sim_file *file, const uint8_t *data, size_t length,
	uint64_t position, struct sim_random *random)
{
	const uint8_t *old = file->durable.at + position;
	uint8_t garbage[SIM_SECTOR_SIZE];

	for (size_t i = 0; i < length; i++)
		garbage[i] = old[i] == data[i] ? old[i] : (uint8_t)sim_random_next(random);
	bytes_write(&file->durable, &file->durable_size, garbage, length, position);
}

static void write_lose(struct sim_file *file, const struct sim_change *change, struct judge *judge,
	bool may_be_garbage)
{
	uint64_t position = change->position;
	const uint8_t *data = change->data;
	size_t left = change->size;

	while (left > 0) {
		size_t length = SIM_SECTOR_SIZE - position % SIM_SECTOR_SIZE;

		length = length < left ? length : left;
		if (may_be_garbage && sim_random_below(judge->random, judge->garbage_among) == 0)
			write_garbage(file, data, length, position, judge->random);
		else if (judge_keeps(judge))
			bytes_write(&file->durable, &file->durable_size, data, length, position);
		position += length;
		data += length;
		left -= length;
	}
}

void sim_file_lose(
	struct sim_file *file, enum sim_loss loss, bool in_flight, struct sim_random *random)
{
	struct judge judge;
	bool changed = file->changes || file->diverged || file->page_failed != UINT64_MAX;

	file->locks_shared = 0;
	file->locked_exclusive = false;
	if (loss == SIM_LOSS_NONE)
		return;
	judge_init(&judge, file, loss, random);
	for (struct sim_change *change = file->changes; change; change = change->next) {
		bool garbage = loss == SIM_LOSS_ANY && !change->release &&
			       (in_flight || change->in_flight || file->in_flight);

		if (!change->resize)
			write_lose(file, change, &judge, garbage);
		else if (judge_keeps(&judge))
			change_apply(file, change);
	}
	changes_drop(file);
	if (changed) {
		sim_bytes_copy(&file->live, &file->durable);
		file->size = file->durable_size;
	}
	/*
	 * What was taken again, but not for good, is gone; what was not given back for good, and
	 * shows it, is there.
	 */
	if (file->hole > file->durable_hole)
		file->hole = file->durable_hole;
	sim_file_restore(file,
		file->hole < file->size ?
			page_end(bytes_end(&file->live, file->hole, file->size)) : 0);
	file->in_flight = file->diverged = false;
	file->page_failed = UINT64_MAX;
}

void sim_file_sync_failed(struct sim_file *file, struct sim_random *random)
{
	struct judge judge;

	judge_init(&judge, file, SIM_LOSS_ANY, random);
	for (struct sim_change *change = file->changes; change; change = change->next) {
		if (!change->resize)
			write_lose(file, change, &judge, false);
		else if (judge_keeps(&judge))
			change_apply(file, change);
	}
	changes_drop(file);
	file->diverged = true;
}

int sim_file_read(const struct sim_file *file, void *buffer, size_t size, uint64_t position)
{
	if (file->page_failed != UINT64_MAX && file->page_failed < position + size &&
		position < file->page_failed + SIM_PAGE_SIZE)
		return -EIO;
	memcpy(buffer, file->live.at + position, size);
	return 0;
}

void sim_file_fail_page(struct sim_file *file, uint64_t position)
{
	file->page_failed = position - position % SIM_PAGE_SIZE;
	memset(file->live.at + file->page_failed, 0, SIM_PAGE_SIZE);
}

int sim_file_replace(struct sim_file *file, const void *data, uint64_t size)
{
	if (size > file->size_max)
		return -EFBIG;
	changes_drop(file);
	bytes_resize(&file->live, &file->size, 0);
	bytes_resize(&file->durable, &file->durable_size, 0);
	file->hole = file->durable_hole = UINT64_MAX;
	if (size > 0) {
		bytes_write(&file->live, &file->size, data, size, 0);
		bytes_write(&file->durable, &file->durable_size, data, size, 0);
	}
	return 0;
}

int sim_file_flip(struct sim_file *file, uint64_t position, unsigned bit)
{
	uint8_t flipped;

	if (position >= file->size || position >= file->durable_size)
		return -EINVAL;
	flipped = file->live.at[position] ^ (uint8_t)(1u << bit);
	sim_bytes_write(&file->live, &flipped, 1, position);
	sim_bytes_write(&file->durable, &flipped, 1, position);
	return 0;
}
