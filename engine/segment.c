/* SPDX-License-Identifier: MIT */
/* segment.c - see segment.h. */
#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "segment_file.h"

/* Fewer buffers than this and the log could not go on while the last one is written. */
#define BUFFERS_MIN 3u
/*
 * Heads of large records may take this part of what buffers may: enough for 32 GiB of large values
 * at the default.
 */
#define HEADS_BUFFER_SHARE 8u
#define ZEROS_SIZE 64u /* bytes that are looked at together in a search for a record */

/* Zeroed memory that takes no space before it is touched. */
static void *table_map(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

int segments_init(struct segments *segments, struct kv_env *env, struct env_dir *dir,
		  const struct format_super *super, uint64_t resident_size)
{
	uint32_t size = super->segment_size;

	memset(segments, 0, sizeof(*segments));
	segments->env = env;
	segments->dir = dir;
	segments->super = super;
	memcpy(segments->uuid, super->uuid, 16);
	segments->size = size;
	segments->shift = (unsigned)__builtin_ctz(size) - 3;
	segments->slots_max = (uint32_t)1 << (INDEX_ADDRESS_BITS - segments->shift);
	segments->keyspace_count = super->keyspace_count;
	segments->buffers_max = (uint32_t)(resident_size / size);
	if (segments->buffers_max < BUFFERS_MIN)
		segments->buffers_max = BUFFERS_MIN;
	pthread_mutex_init(&segments->pool_lock, NULL);
	segments->bases = table_map(segments->slots_max * sizeof(*segments->bases));
	segments->table = table_map(segments->slots_max * sizeof(*segments->table));
	if (!segments->bases || !segments->table) {
		segments_fini(segments);
		return -ENOMEM;
	}
	return 0;
}

static void forget_verified(const struct segments *segments, struct segment *segment);

/* Where readers find its bytes from now on. */
static void set_base(struct segments *segments, const struct segment *segment, const uint8_t *bytes)
{
	uintptr_t flags = segment->verified ? SEGMENT_UNVERIFIED : 0;

	if (flags && segment->sound)
		flags |= SEGMENT_SOUND;
	if (bytes != segment->buffer)
		flags |= SEGMENT_MAPPED;
	atomic_store_explicit(&segments->bases[segment->slot],
			      (const uint8_t *)((uintptr_t)bytes | flags), memory_order_release);
}

static void forget_heads(struct segments *segments, struct segment *segment)
{
	struct heads *heads = atomic_exchange(&segment->heads, NULL);

	atomic_fetch_sub(&segments->heads_size, heads_size(heads));
	heads_free(heads);
}

/*
 * Nothing is there any more. Of a slot that a checkpoint spoke of an index may still say so, if the
 * checkpoint lied.
 */
static void forget_base(struct segments *segments, uint32_t slot)
{
	uintptr_t flag = slot < segments->covered_slots ? SEGMENT_UNVERIFIED : 0;

	atomic_store_explicit(&segments->bases[slot], (const uint8_t *)flag, memory_order_release);
}

static void segment_close(struct segments *segments, struct segment *segment)
{
	const uint8_t *map;

	if (!segment)
		return;
	map = atomic_load(&segment->map);
	if (segment->buffer)
		segments->env->buffer_free(segments->env, segment->buffer, segments->size);
	if (map)
		segments->env->file_unmap(segment->file, map, segments->size);
	forget_verified(segments, segment);
	forget_heads(segments, segment);
	segment_file_close(segments, segment);
}

void segments_fini(struct segments *segments)
{
	uint32_t slot, count = atomic_load(&segments->count);

	if (!segments->slots_max)
		return;
	for (slot = 0; slot < count; slot++)
		segment_close(segments, segments->table[slot]);
	while (segments->pool_count)
		segments->env->buffer_free(segments->env, segments->pool[--segments->pool_count],
					   segments->size);
	free(segments->pool);
	if (segments->bases)
		munmap((void *)segments->bases, segments->slots_max * sizeof(*segments->bases));
	if (segments->table)
		munmap((void *)segments->table, segments->slots_max * sizeof(*segments->table));
	pthread_mutex_destroy(&segments->pool_lock);
	segments->slots_max = 0;
}

uint64_t segments_find(const struct segments *segments, const void *bytes)
{
	uint32_t slot, count = atomic_load(&segments->count);

	for (slot = 0; slot < count; slot++) {
		uintptr_t base = (uintptr_t)segments_base(segments, slot);
		uintptr_t offset = (uintptr_t)bytes - base;

		if (base && (uintptr_t)bytes >= base && offset < segments->size)
			return segments_address(segments, slot, (uint32_t)offset);
	}
	return 0;
}

bool segments_failed(const struct segments *segments, uint64_t address)
{
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *map = atomic_load_explicit(&segment->map, memory_order_acquire);

	return map && segments->env->map_failed(map, segments->size);
}

/* ---- records that were not validated when the store was opened ------------------------------- */

/* While the store is being opened. */
static const uint8_t *bytes_of(const struct segment *segment)
{
	return segment->buffer ? segment->buffer : atomic_load(&segment->map);
}

static size_t verified_size(const struct segments *segments)
{
	return segments->size / 64;
}

int segment_cover(struct segments *segments, struct segment *segment, uint32_t covered)
{
	segment->verified = table_map(verified_size(segments));
	if (!segment->verified)
		return -ENOMEM;
	segment->covered = covered;
	set_base(segments, segment, bytes_of(segment));
	return 0;
}

static void forget_verified(const struct segments *segments, struct segment *segment)
{
	if (segment->verified)
		munmap((void *)segment->verified, verified_size(segments));
	segment->verified = NULL;
	segment->covered = 0;
	segment->sound = false;
}

void segment_uncover(struct segments *segments, struct segment *segment)
{
	if (!segment->covered)
		return;
	forget_verified(segments, segment);
	segment->end = 0;
	segment->complete = false;
	segment->newest_seq = 0;
	segment->tombstone_bytes = 0;
	memset(segment->dictionaries, 0, sizeof(segment->dictionaries));
	atomic_store(&segment->live_bytes, 0);
	set_base(segments, segment, bytes_of(segment));
}

const struct format_record *segments_verify(const struct segments *segments, uint64_t address)
{
	const struct segment *segment = segments->table[segments_slot(segments, address)];
	const uint8_t *base = segments_base(segments, segments_slot(segments, address));
	uint32_t offset = segments_offset(segments, address);
	uint64_t bit = (uint64_t)1 << (offset >> 3 & 63);
	_Atomic uint64_t *word;

	if (!base)
		return NULL;
	word = &segment->verified[offset >> 9];
	if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) {
		if (segment_validate(segments, segment, base, offset) <= 0)
			return NULL;
		atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
	}
	return (const struct format_record *)(base + offset);
}

bool segment_prove(const struct segments *segments, struct segment *segment,
		   const uint8_t *buffer)
{
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE;

	while (offset < segment->covered) {
		int64_t length = segment_validate(segments, segment, buffer, offset);

		if (length <= 0)
			return false;
		segment_mark_verified(segment, offset);
		offset += (uint32_t)length;
	}
	return offset == segment->covered;
}

void segment_set_sound(struct segments *segments, struct segment *segment)
{
	segment->sound = true;
	set_base(segments, segment, bytes_of(segment));
}

/* ---- buffers -------------------------------------------------------------------------------- */

int segments_take_buffer(struct segments *segments, uint8_t **out)
{
	uint8_t *buffer = NULL;

	pthread_mutex_lock(&segments->pool_lock);
	if (segments->pool_count) {
		buffer = segments->pool[--segments->pool_count];
	} else if (segments->buffers == segments->pool_capacity) {
		uint32_t capacity = segments->pool_capacity * 2 + 8;
		uint8_t **pool = realloc(segments->pool, capacity * sizeof(*pool));

		if (!pool) {
			pthread_mutex_unlock(&segments->pool_lock);
			return -ENOMEM;
		}
		segments->pool = pool;
		segments->pool_capacity = capacity;
	}
	if (!buffer && !segments->env->buffer_new(segments->env, segments->size, (void **)&buffer))
		segments->buffers++;
	pthread_mutex_unlock(&segments->pool_lock);
	if (!buffer)
		return -ENOMEM;
	*out = buffer;
	return 0;
}

void segments_give_buffer(struct segments *segments, uint8_t *buffer)
{
	if (!buffer)
		return;
	pthread_mutex_lock(&segments->pool_lock);
	segments->pool[segments->pool_count++] = buffer;
	pthread_mutex_unlock(&segments->pool_lock);
}

bool segments_have_buffer(struct segments *segments)
{
	bool have;

	pthread_mutex_lock(&segments->pool_lock);
	have = segments->pool_count > 0;
	pthread_mutex_unlock(&segments->pool_lock);
	return have;
}

/* ---- a segment's life ------------------------------------------------------------------------ */

/*
 * Where its first sync had failed, and the store was opened again in the same boot, the page cache
 * alone has the file's size.
 */
static int set_size_again(struct segments *segments, struct segment *segment)
{
	int error = segment->size_unsure ?
			    segments->env->file_truncate(segment->file, segments->size) : 0;

	if (!error)
		segment->size_unsure = false;
	return error;
}

/* Its header, durable, in the file and in the buffer; and its name. */
static int write_header(struct segments *segments, struct segment *segment, uint64_t id,
			uint8_t *buffer)
{
	struct format_segment header;
	uint64_t salt;
	int error = segments->env->random(segments->env, &salt, sizeof(salt));

	if (error)
		return error;
	format_segment_seal(&header, segments->uuid, id, segment->slot, segments->size, salt);
	format_page_fill(buffer, &header, segments->super);
	error = segments->env->file_write(segment->file, buffer, FORMAT_SEGMENT_HEADER_SIZE, 0,
					  true);
	/* A sync that has failed may have lost the file's size as well. */
	if (error)
		segment->hole = segments->size;
	if (!error)
		error = segment_file_rename(segments, segment, true);
	if (!error)
		segment->salt = salt;
	return error;
}

/*
 * A checkpoint that lies could have left addresses of this slot in the indexes: no record is
 * trusted there.
 */
static int distrust_addresses(struct segments *segments, struct segment *segment)
{
	if (segment->slot >= segments->covered_slots)
		return 0;
	segment->verified = table_map(verified_size(segments));
	if (!segment->verified)
		return -ENOMEM;
	segment->sound = true;
	return 0;
}

static void begin_life(struct segments *segments, struct segment *segment, uint8_t *buffer)
{
	segment->written = FORMAT_SEGMENT_HEADER_SIZE;
	segment->complete = false;
	segment->vouched = 0;
	segment->end = 0;
	segment->next = NULL;
	segment->buffer = buffer;
	segment->tombstone_bytes = 0;
	segment->newest_seq = 0;
	segment->snapshots_seq = 0;
	segment->said_seq = 0;
	segment->gained = 0;
	segment->longest = segment->leads = 0;
	segment->copied_look = 0;
	segment->unreadable = false;
	segment->held = false;
	segment->emptied = segment->settled = segment->raw = false;
	segment->named = segment->named_next = segment->leaving = false;
	segment->damaged = segment->header_damaged = segment->name_lost = false;
	segment->missing = 0;
	segment->seen_us = 0;
	segment->damaged_bytes = 0;
	memset(segment->dictionaries, 0, sizeof(segment->dictionaries));
	segment->born = ++segments->births;
	atomic_store(&segment->live_bytes, 0);
	set_base(segments, segment, buffer);
}

int segment_prepare(struct segments *segments, uint64_t id, struct segment **out)
{
	struct segment *segment;
	uint8_t *buffer;
	int error;

	error = segments_take_buffer(segments, &buffer);
	if (error)
		return error;
	error = segment_file_take(segments, &segment);
	if (!error)
		error = segment_file_allocate(segments, segment);
	if (!error)
		error = set_size_again(segments, segment);
	if (!error)
		error = write_header(segments, segment, id, buffer);
	if (!error)
		error = distrust_addresses(segments, segment);
	if (error)
		goto out;
	begin_life(segments, segment, buffer);
	/* Last: whoever meets it in the table, and sees an id, sees all of the above. */
	atomic_store_explicit(&segment->id, id, memory_order_release);
	*out = segment;
	return 0;
out:
	segments_give_buffer(segments, buffer);
	return error;
}

/*
 * A file that somebody has cut off: what can be read of it in a buffer, with zeros for the rest and
 * behind.
 */
static int load_short(struct segments *segments, struct segment *segment, uint64_t size)
{
	struct kv_env *env = segments->env;
	const void *map;
	int error = segments_take_buffer(segments, &segment->buffer);

	if (!error)
		error = env->file_map(segment->file, size, &map);
	if (error)
		return error;
	memcpy(segment->buffer, map, size);
	memset(segment->buffer + size, 0, segments->size - size);
	segment->missing = segments->size - (uint32_t)size;
	segment->unreadable = env->map_failed(map, size);
	env->file_unmap(segment->file, map, size);
	return 0;
}

/* All of it where that cannot be told: space is then asked for before it is needed. */
static uint32_t hole_of(const struct segments *segments, struct env_file *file)
{
	uint64_t allocated;

	if (segments->env->file_allocated(file, &allocated))
		return segments->size;
	return allocated < segments->size ? segments->size - (uint32_t)allocated : 0;
}

int segment_load(struct segments *segments, uint32_t slot, bool read_only, struct segment **out)
{
	uint8_t page[FORMAT_SEGMENT_HEADER_SIZE], whole[FORMAT_SEGMENT_HEADER_SIZE];
	struct format_segment header;
	struct segment *segment;
	const void *map;
	uint64_t size;
	int error;

	if (slot >= segments->slots_max)
		return -EUCLEAN;
	error = segment_file_open(segments, slot, true, read_only ? ENV_READ_ONLY : 0, &segment);
	if (error)
		return error;
	error = segments->env->file_size(segment->file, &size);
	if (error)
		goto out;
	error = size < sizeof(page)
			? -EUCLEAN
			: segment_file_read_page(segments->env, segment->file, page);
	if (error)
		goto out;
	error = format_page_header(page, segments->uuid, slot, segments->size, &header);
	if (!error && size < segments->size)
		error = read_only ? load_short(segments, segment, size) : -EUCLEAN;
	else if (!error)
		error = segments->env->file_map(segment->file, segments->size, &map);
	if (error)
		goto out;
	if (segment->buffer) {
		map = segment->buffer;
	} else {
		segment->map = map;
		atomic_fetch_add(&segments->mapped, 1);
	}
	format_page_fill(whole, &header, segments->super);
	segment->header_damaged = memcmp(page, whole, sizeof(page));
	segment->id = header.id;
	segment->salt = header.salt;
	segment->hole = hole_of(segments, segment->file);
	segment->sealed = true;
	segment->born = ++segments->births;
	segment_file_enter(segments, segment);
	set_base(segments, segment, map);
	*out = segment;
	return 0;
out:
	segment_close(segments, segment);
	return error;
}

void segment_keep_heads(struct segments *segments, struct segment *segment)
{
	uint64_t size_max = (uint64_t)segments->buffers_max * segments->size / HEADS_BUFFER_SHARE;
	struct heads *heads;

	/* What the replay passed over is not to be taken for records. */
	if (atomic_load(&segment->heads) || segment->verified || segment->damaged ||
	    atomic_load(&segments->heads_size) >= size_max)
		return;
	heads = heads_new(segment->buffer, FORMAT_SEGMENT_HEADER_SIZE, segment->end,
			  (size_t)(size_max - atomic_load(&segments->heads_size)));
	atomic_fetch_add(&segments->heads_size, heads_size(heads));
	atomic_store_explicit(&segment->heads, heads, memory_order_release);
}

int segment_map(struct segments *segments, struct segment *segment, const uint8_t **map)
{
	int error = segments->env->file_map(segment->file, segments->size, (const void **)map);

	if (!error)
		segments->env->map_advise(*map, segments->size, ENV_ADVICE_RANDOM);
	return error;
}

uint8_t *segment_use_map(struct segments *segments, struct segment *segment, const uint8_t *map)
{
	uint8_t *buffer = segment->buffer;
	unsigned i;

	for (i = 0; i < SEGMENT_VALUE_BITS / 64; i++)
		atomic_store_explicit(&segment->asked_values[i], 0, memory_order_relaxed);
	for (i = 0; i < SEGMENT_BLOCK_BITS / 64; i++)
		atomic_store_explicit(&segment->asked_blocks[i], 0, memory_order_relaxed);
	atomic_store_explicit(&segment->map, map, memory_order_release);
	atomic_fetch_add(&segments->mapped, 1);
	segment->buffer = NULL;
	set_base(segments, segment, map);
	return buffer;
}

const uint8_t *segment_use_buffer(struct segments *segments, struct segment *segment,
				  uint8_t *buffer)
{
	const uint8_t *map = atomic_load(&segment->map);

	segment->buffer = buffer;
	set_base(segments, segment, buffer);
	atomic_store_explicit(&segment->map, NULL, memory_order_release);
	atomic_fetch_sub(&segments->mapped, 1);
	return map;
}

static int fetch(struct segments *segments, const struct segment *segment, uint32_t end,
		 uint8_t **buffer)
{
	int error = segments_take_buffer(segments, buffer);

	if (error)
		return error;
	error = segments->env->file_read(segment->file, *buffer, end, 0);
	if (error)
		segments_give_buffer(segments, *buffer);
	return error;
}

int segment_fetch_tail(struct segments *segments, const struct segment *segment, uint32_t end,
		       uint8_t **buffer)
{
	int error = fetch(segments, segment, end, buffer);

	if (!error)
		memset(*buffer + end, 0, -end & (ENV_DIRECT_ALIGN - 1));
	return error;
}

/* What can be read, by way of the map, and zeros for the rest. */
static int fetch_parts(struct segments *segments, const struct segment *segment, uint8_t **buffer)
{
	int error = segments_take_buffer(segments, buffer);

	if (!error)
		memcpy(*buffer, atomic_load(&segment->map), segments->size);
	return error;
}

int segment_resume(struct segments *segments, struct segment *segment, bool in_parts)
{
	uint8_t *buffer;
	int error = fetch(segments, segment, segments->size, &buffer);

	if (error == -EIO && in_parts)
		error = fetch_parts(segments, segment, &buffer);
	if (error)
		return error;
	segment->sealed = false;
	segments->env->file_unmap(segment->file, segment_use_buffer(segments, segment, buffer),
				  segments->size);
	return 0;
}

void segment_release(struct segments *segments, struct segment *segment)
{
	const uint8_t *map = atomic_exchange(&segment->map, NULL);

	forget_base(segments, segment->slot);
	if (map) {
		segments->env->file_unmap(segment->file, map, segments->size);
		atomic_fetch_sub(&segments->mapped, 1);
	}
	forget_verified(segments, segment);
	forget_heads(segments, segment);
	segments_give_buffer(segments, segment->buffer);
	segment->buffer = NULL;
	segment->cold = false;
	segment->sealed = segment->leaving = false;
	segment->id = 0;
}

/*
 * No record begins with a word that is zero, and most of what is looked through was never written.
 */
static inline uint32_t skip_zeros(const uint8_t *base, uint32_t offset, uint32_t end)
{
	const uint64_t *words = (const uint64_t *)(const void *)(base + offset);
	uint64_t any;
	unsigned i;

	for (; (uint64_t)offset + ZEROS_SIZE <= end && !words[0]; offset += ZEROS_SIZE) {
		for (any = 0, i = 1; i < ZEROS_SIZE / sizeof(*words); i++)
			any |= words[i];
		if (any)
			break;
		words += i;
	}
	return offset;
}

uint32_t segment_search(const struct segments *segments, const struct segment *segment,
			const uint8_t *base, uint32_t offset, uint32_t end, uint64_t *budget)
{
	for (; (offset = skip_zeros(base, offset, end)) + FORMAT_RECORD_HEADER_SIZE <= end;
	     offset += FORMAT_RECORD_ALIGN) {
		const struct format_record *record = (const struct format_record *)(base + offset);

		if (!record->check || record->zero ||
		    !format_record_plausible(record, segments->size - offset,
					     segments->keyspace_count))
			continue;
		if (format_record_length(record) > *budget)
			continue;
		*budget -= format_record_length(record);
		if (segment_validate(segments, segment, base, offset) > 0)
			return offset;
	}
	return end;
}
