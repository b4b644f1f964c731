/* SPDX-License-Identifier: MIT */
/*
 * sim_env.c - the calls of env.h on the simulated disk.
 *
 * Each call that changes something takes a step first, and does its work, a part of it, or nothing,
 * by what the step says (sim_disk.h). Files' bytes are sim_file.c's, names are sim_names.c's.
 *
 * Threads: everything is protected by sim->lock, but for the bytes of maps and buffers, which are
 * their users'.
 */
#include "sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct env_dir {
	struct sim_env *sim;
};

struct env_file {
	struct sim_env *sim;
	struct sim_file *file;
	bool read_only;
	bool locked_shared, locked_exclusive;
};

static struct sim_env *sim_of(struct kv_env *env)
{
	return (struct sim_env *)env;
}

/* Without the lock, before a call and after it: others' calls overtake it. */
static void linger(struct sim_env *sim)
{
	uint64_t us = 0;

	pthread_mutex_lock(&sim->lock);
	if (sim->late_us > 0 && sim_random_below(&sim->random, 2) == 0)
		us = sim_random_below(&sim->random, sim->late_us);
	pthread_mutex_unlock(&sim->lock);
	if (us > 0)
		nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

static int step_result(enum sim_step step, int result)
{
	return step == SIM_STEP_DONE ? result : -EIO;
}

/* ---- directory ------------------------------------------------------------------------------- */

static int call_dir_create(struct kv_env *env, const char *path)
{
	struct sim_env *sim = sim_of(env);
	enum sim_step step;
	int result = 0;

	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (sim->path)
		result = strcmp(sim->path, path) == 0 ? -EEXIST : -EACCES;
	else if (step != SIM_STEP_REFUSED)
		result = sim_disk_fault(sim, SIM_FAULT_DIR_CREATE);
	if (step != SIM_STEP_REFUSED && result == 0 && !(sim->path = strdup(path)))
		result = -ENOMEM;
	pthread_mutex_unlock(&sim->lock);
	return step_result(step, result);
}

static int call_dir_open(struct kv_env *env, const char *path, struct env_dir **out)
{
	struct sim_env *sim = sim_of(env);
	struct env_dir *dir = malloc(sizeof(*dir));
	int result;

	if (!dir)
		return -ENOMEM;
	dir->sim = sim;
	pthread_mutex_lock(&sim->lock);
	result = sim->cut ? -EIO : sim_disk_open_fault(sim);
	if (result == 0 && (!sim->path || strcmp(sim->path, path) != 0))
		result = -ENOENT;
	if (result == 0) {
		sim->opens++;
		*out = dir;
	}
	pthread_mutex_unlock(&sim->lock);
	if (result < 0)
		free(dir);
	return result;
}

static void call_dir_close(struct env_dir *dir)
{
	if (!dir)
		return;
	pthread_mutex_lock(&dir->sim->lock);
	dir->sim->opens--;
	pthread_mutex_unlock(&dir->sim->lock);
	free(dir);
}

static int call_dir_sync(struct env_dir *dir)
{
	struct sim_env *sim = dir->sim;
	enum sim_step step;
	int result = 0;

	linger(sim);
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (step == SIM_STEP_DONE)
		result = sim_disk_fault(sim, SIM_FAULT_DIR_SYNC);
	if (step == SIM_STEP_DONE && result == 0) {
		sim_names_sync(&sim->names);
		sim_disk_collect(sim);
	}
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return step_result(step, result);
}

static int call_dir_list(struct env_dir *dir, int (*entry)(void *arg, const char *name), void *arg)
{
	struct sim_env *sim = dir->sim;
	struct sim_name_table *copy = malloc(sizeof(*copy));
	int fault, result;

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&sim->lock);
	result = sim->cut ? -EIO : 0;
	fault = sim_disk_fault(sim, SIM_FAULT_DIR_LIST);
	*copy = sim->names.live;
	if (fault < 0)
		copy->count = (unsigned)sim_random_below(&sim->random, copy->count + 1);
	pthread_mutex_unlock(&sim->lock);
	for (unsigned i = 0; result == 0 && i < copy->count; i++)
		result = entry(arg, copy->entries[i].text);
	free(copy);
	return result ? result : fault;
}

static int call_dir_space(struct env_dir *dir, uint64_t *avail_bytes, uint64_t *total_bytes)
{
	struct sim_env *sim = dir->sim;
	uint64_t used;
	int result;

	pthread_mutex_lock(&sim->lock);
	result = sim_disk_fault(sim, SIM_FAULT_DIR_SPACE);
	if (result == 0) {
		used = sim_disk_used(sim);
		*avail_bytes = used < sim->capacity ? sim->capacity - used : 0;
		*total_bytes = sim->capacity;
	}
	pthread_mutex_unlock(&sim->lock);
	return result;
}

static uint64_t call_file_size_max(struct kv_env *env)
{
	return UINT64_MAX;
}

static int call_rename(struct env_dir *dir, const char *from, const char *to)
{
	struct sim_env *sim = dir->sim;
	enum sim_step step;
	int result = sim_name_check(from);

	result = result < 0 ? result : sim_name_check(to);
	if (result < 0)
		return result;
	linger(sim);
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (step != SIM_STEP_REFUSED) {
		result = sim_disk_fault(sim, SIM_FAULT_RENAME);
		if (result == 0 && !sim_names_find(&sim->names, from))
			result = -ENOENT;
		if (result == 0)
			result = sim_names_rename(&sim->names, from, to);
	}
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return step_result(step, result);
}

static int call_unlink(struct env_dir *dir, const char *name)
{
	struct sim_env *sim = dir->sim;
	enum sim_step step;
	int result = sim_name_check(name);

	if (result < 0)
		return result;
	linger(sim);
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (step != SIM_STEP_REFUSED) {
		result = sim_disk_fault(sim, SIM_FAULT_UNLINK);
		if (result == 0 && !sim_names_find(&sim->names, name))
			result = -ENOENT;
		if (result == 0)
			result = sim_names_unlink(&sim->names, name);
	}
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return step_result(step, result);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int file_create(struct sim_env *sim, const char *name, struct sim_file **out)
{
	enum sim_step step = sim_disk_step(sim);
	int result;

	if (step == SIM_STEP_REFUSED)
		return -EIO;
	result = sim_disk_open_fault(sim);
	if (result == 0 && sim_names_find(&sim->names, name))
		result = -EEXIST;
	if (result == 0)
		result = sim_disk_add_file(sim, name, out);
	return step_result(step, result);
}

static int file_find(struct sim_env *sim, const char *name, struct sim_file **out)
{
	int result = sim->cut ? -EIO : sim_disk_open_fault(sim);

	if (result < 0)
		return result;
	*out = sim_names_find(&sim->names, name);
	return *out ? 0 : -ENOENT;
}

static int call_file_open(
	struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	struct sim_env *sim = dir->sim;
	struct env_file *handle;
	int result = sim_name_check(name);

	if (result < 0)
		return result;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return -ENOMEM;
	handle->sim = sim;
	handle->read_only = flags & ENV_READ_ONLY;
	pthread_mutex_lock(&sim->lock);
	result = (flags & ENV_CREATE ? file_create : file_find)(sim, name, &handle->file);
	if (result == 0) {
		handle->file->opens++;
		sim->opens++;
		*out = handle;
	}
	pthread_mutex_unlock(&sim->lock);
	if (result < 0)
		free(handle);
	return result;
}

static void call_file_close(struct env_file *handle)
{
	struct sim_env *sim;

	if (!handle)
		return;
	sim = handle->sim;
	pthread_mutex_lock(&sim->lock);
	if (handle->locked_shared)
		handle->file->locks_shared--;
	if (handle->locked_exclusive)
		handle->file->locked_exclusive = false;
	handle->file->opens--;
	sim->opens--;
	sim_disk_collect(sim);
	pthread_mutex_unlock(&sim->lock);
	free(handle);
}

static int call_file_size(struct env_file *handle, uint64_t *size)
{
	int result;

	pthread_mutex_lock(&handle->sim->lock);
	result = sim_disk_fault(handle->sim, SIM_FAULT_SIZE);
	if (result == 0)
		*size = handle->file->size;
	pthread_mutex_unlock(&handle->sim->lock);
	return result;
}

static int call_file_lock(struct env_file *handle, bool exclusive)
{
	struct sim_file *file = handle->file;
	unsigned others;
	int result;

	pthread_mutex_lock(&handle->sim->lock);
	result = sim_disk_fault(handle->sim, SIM_FAULT_LOCK);
	others = file->locks_shared - handle->locked_shared;
	if (result == 0 && ((file->locked_exclusive && !handle->locked_exclusive) || (exclusive && others > 0))) {
		result = -EBUSY;
	} else if (result == 0) {
		file->locks_shared = others + !exclusive;
		file->locked_exclusive = handle->locked_exclusive = exclusive;
		handle->locked_shared = !exclusive;
	}
	pthread_mutex_unlock(&handle->sim->lock);
	return result;
}

static int file_resize(struct env_file *handle, uint64_t size, bool allocate)
{
	struct sim_env *sim = handle->sim;
	struct sim_file *file = handle->file;
	enum sim_step step;
	int result = 0;

	if (handle->read_only)
		return -EBADF;
	linger(sim);
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (step != SIM_STEP_REFUSED) {
		result = sim_disk_fault(sim, allocate ? SIM_FAULT_ALLOCATE : SIM_FAULT_TRUNCATE);
		if (result == 0)
			result = sim_disk_check_growth(sim, file, size);
		if (result == 0)
			result = sim_file_resize(file, size);
		if (result == 0 && allocate)
			sim_file_restore(file, size);
	}
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return step_result(step, result);
}

static int call_file_allocate(struct env_file *handle, uint64_t size)
{
	return file_resize(handle, size, true);
}

static int call_file_release(struct env_file *handle, uint64_t from)
{
	struct sim_env *sim = handle->sim;
	enum sim_step step;
	int result = 0;

	if (handle->read_only)
		return -EBADF;
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (step != SIM_STEP_REFUSED)
		result = sim_disk_fault(sim, SIM_FAULT_RELEASE);
	if (step != SIM_STEP_REFUSED && result == 0)
		result = sim_file_release(handle->file, from);
	pthread_mutex_unlock(&sim->lock);
	return step_result(step, result);
}

/* Some of what is left of the disk, or nothing, where it has not enough. Under the lock. */
static void restore_part(struct sim_env *sim, struct sim_file *file, uint64_t end)
{
	uint64_t room = sim_disk_room(sim), missing = sim_file_missing(file, end), part;

	if (!room || !missing || sim_random_below(&sim->random, 2))
		return;
	part = room < missing ? room : missing - 1;
	part = sim_random_below(&sim->random, part + 1);
	sim_file_restore(file, (sim_file_allocated(file) + part) & ~(uint64_t)(SIM_PAGE_SIZE - 1));
}

static int call_file_restore(struct env_file *handle, uint64_t end)
{
	struct sim_env *sim = handle->sim;
	struct sim_file *file = handle->file;
	enum sim_step step;
	int result = 0;

	if (handle->read_only)
		return -EBADF;
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	end = end < file->size ? end : file->size;
	if (step != SIM_STEP_REFUSED)
		result = sim_disk_fault(sim, SIM_FAULT_ALLOCATE);
	if (step != SIM_STEP_REFUSED && result == 0)
		result = sim_disk_check_growth(sim, file, end);
	if (step != SIM_STEP_REFUSED && result == 0)
		sim_file_restore(file, end);
	else if (step != SIM_STEP_REFUSED && (result == -ENOSPC || result == -EDQUOT))
		restore_part(sim, file, end);
	pthread_mutex_unlock(&sim->lock);
	return step_result(step, result);
}

static int call_file_allocated(struct env_file *handle, uint64_t *bytes)
{
	int result;

	pthread_mutex_lock(&handle->sim->lock);
	result = sim_disk_fault(handle->sim, SIM_FAULT_ALLOCATED);
	if (result == 0)
		*bytes = sim_file_allocated(handle->file);
	pthread_mutex_unlock(&handle->sim->lock);
	return result;
}

static int call_file_truncate(struct env_file *handle, uint64_t size)
{
	return file_resize(handle, size, false);
}

static int call_file_read(struct env_file *handle, void *buffer, size_t size, uint64_t position)
{
	struct sim_env *sim = handle->sim;
	struct sim_file *file = handle->file;
	int result;

	linger(sim);
	pthread_mutex_lock(&sim->lock);
	result = sim->cut ? -EIO : sim_disk_fault(sim, SIM_FAULT_READ);
	if (result == 0 && (position > file->size || size > file->size - position))
		result = -ENODATA;
	else if (result == 0)
		result = sim_file_read(file, buffer, size, position);
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return result;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int file_sync(struct sim_env *sim, struct sim_file *file, enum sim_step step)
{
	int result;

	if (step == SIM_STEP_HALF)
		file->in_flight = true;
	if (step != SIM_STEP_DONE)
		return -EIO;
	result = sim_disk_fault(sim, SIM_FAULT_SYNC);
	if (result < 0)
		sim_file_sync_failed(file, &sim->random);
	else
		sim_file_sync(file);
	return result;
}

static int file_write(struct sim_env *sim, struct sim_file *file, const void *data, size_t size,
	uint64_t position, enum sim_step step)
{
	int result = sim_disk_check_growth(sim, file, position + size);
	int fault = sim_disk_fault(sim, SIM_FAULT_WRITE);

	if (result < 0)
		return result;
	if (fault < 0) /* as a write that stopped on its way */
		size = sim_random_below(&sim->random, size + 1);
	result = sim_file_write(file, data, size, position);
	if (step == SIM_STEP_HALF)
		sim_file_tear_newest(file);
	return fault < 0 ? fault : result;
}

/* In two parts, the second one first; the lock is free between them. */
static int file_write_late(struct sim_env *sim, struct sim_file *file, const void *data,
	size_t size, uint64_t position)
{
	size_t first = SIM_SECTOR_SIZE *
		       (1 + sim_random_below(&sim->random, (size - 1) / SIM_SECTOR_SIZE));
	int result = file_write(sim, file, (const uint8_t *)data + first, size - first,
		position + first, SIM_STEP_DONE);

	if (result < 0)
		return result;
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	pthread_mutex_lock(&sim->lock);
	if (sim->cut)
		return -EIO;
	return file_write(sim, file, data, first, position, SIM_STEP_DONE);
}

static int call_file_write(
	struct env_file *handle, const void *data, size_t size, uint64_t position, bool sync)
{
	struct sim_env *sim = handle->sim;
	enum sim_step step;
	int result = 0;

	if (handle->read_only)
		return -EBADF;
	linger(sim);
	pthread_mutex_lock(&sim->lock);
	step = sim_disk_step(sim);
	if (step == SIM_STEP_DONE && sim->late_us > 0 && size > SIM_SECTOR_SIZE)
		result = file_write_late(sim, handle->file, data, size, position);
	else if (step != SIM_STEP_REFUSED)
		result = file_write(sim, handle->file, data, size, position, step);
	if (result == 0 && sync)
		result = file_sync(sim, handle->file, step);
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return step_result(step, result);
}

static int call_file_sync(struct env_file *handle)
{
	struct sim_env *sim = handle->sim;
	int result;

	linger(sim);
	pthread_mutex_lock(&sim->lock);
	result = file_sync(sim, handle->file, sim_disk_step(sim));
	pthread_mutex_unlock(&sim->lock);
	linger(sim);
	return result;
}

/* ---- maps, memory, clock --------------------------------------------------------------------- */

static int call_file_map(struct env_file *handle, size_t size, const void **out)
{
	struct sim_env *sim = handle->sim;
	int result;

	pthread_mutex_lock(&sim->lock);
	result = sim->cut ? -EIO : sim_disk_fault(sim, SIM_FAULT_MAP);
	if (result == 0 && (size == 0 || size > handle->file->size))
		result = -EINVAL;
	if (result == 0)
		*out = handle->file->live.at;
	pthread_mutex_unlock(&sim->lock);
	return result;
}

static void call_file_unmap(struct env_file *handle, const void *map, size_t size)
{
}

static void call_map_advise(const void *start, size_t size, enum env_advice advice)
{
}

static void call_map_resident(const void *start, size_t size, uint8_t *pages)
{
	memset(pages, 1, (size + ENV_DIRECT_ALIGN - 1) / ENV_DIRECT_ALIGN);
}

static uint64_t call_map_faults(struct kv_env *env)
{
	return 0;
}

static bool call_map_failed(const void *map, size_t size)
{
	return sim_bytes_owner(map)->page_failed < size;
}

static int call_buffer_new(struct kv_env *env, size_t size, void **out)
{
	struct sim_env *sim = sim_of(env);
	void *buffer;
	int result;

	pthread_mutex_lock(&sim->lock);
	result = sim_disk_fault(sim, SIM_FAULT_BUFFER);
	pthread_mutex_unlock(&sim->lock);
	if (result < 0)
		return result;
	buffer = aligned_alloc(
		ENV_DIRECT_ALIGN, (size + ENV_DIRECT_ALIGN - 1) & ~(size_t)(ENV_DIRECT_ALIGN - 1));
	if (!buffer)
		return -ENOMEM;
	memset(buffer, 0, size);
	*out = buffer;
	return 0;
}

static void call_buffer_free(struct kv_env *env, void *buffer, size_t size)
{
	free(buffer);
}

/* Time passes only by looking at it, and by sim_env_advance_us. */
static uint64_t call_clock_us(struct kv_env *env)
{
	struct sim_env *sim = sim_of(env);
	uint64_t now_us;

	pthread_mutex_lock(&sim->lock);
	now_us = ++sim->now_us;
	pthread_mutex_unlock(&sim->lock);
	return now_us;
}

/* The same clock: it began in 2001. */
static uint64_t call_time_us(struct kv_env *env)
{
	return 1000000000u * (uint64_t)1000000u + call_clock_us(env);
}

static int call_random(struct kv_env *env, void *buffer, size_t size)
{
	struct sim_env *sim = sim_of(env);
	uint8_t *to = buffer;
	int result;

	pthread_mutex_lock(&sim->lock);
	result = sim_disk_fault(sim, SIM_FAULT_RANDOM);
	for (size_t i = 0; result == 0 && i < size; i++)
		to[i] = (uint8_t)sim_random_next(&sim->random);
	pthread_mutex_unlock(&sim->lock);
	return result;
}

const struct kv_env sim_env_calls_table = {
	.dir_create = call_dir_create,
	.dir_open = call_dir_open,
	.dir_close = call_dir_close,
	.dir_sync = call_dir_sync,
	.dir_list = call_dir_list,
	.dir_space = call_dir_space,
	.file_size_max = call_file_size_max,
	.file_open = call_file_open,
	.file_close = call_file_close,
	.file_size = call_file_size,
	.file_lock = call_file_lock,
	.file_allocate = call_file_allocate,
	.file_release = call_file_release,
	.file_restore = call_file_restore,
	.file_allocated = call_file_allocated,
	.file_truncate = call_file_truncate,
	.file_read = call_file_read,
	.file_write = call_file_write,
	.file_sync = call_file_sync,
	.file_map = call_file_map,
	.file_unmap = call_file_unmap,
	.map_advise = call_map_advise,
	.map_resident = call_map_resident,
	.map_faults = call_map_faults,
	.map_failed = call_map_failed,
	.buffer_new = call_buffer_new,
	.buffer_free = call_buffer_free,
	.rename = call_rename,
	.unlink = call_unlink,
	.clock_us = call_clock_us,
	.time_us = call_time_us,
	.random = call_random,
};
