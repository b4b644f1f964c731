/* SPDX-License-Identifier: MIT */
/*
 * sim_disk.c - the simulated disk as its test sees it: its life, the power, faults, and the medium
 * itself.
 *
 * Owns: the files, freed with the disk or once they are neither named nor open.
 * Threads: everything is protected by sim->lock.
 */
#include "sim_disk.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_DEFAULT ((uint64_t)1 << 30)
#define FILE_SIZE_MAX_DEFAULT ((uint64_t)4 << 20)
#define IN_FLIGHT_AMONG 3u /* power failures: one that meets all files while they are written */

/* ---- life ------------------------------------------------------------------------------------ */

int sim_env_new(const struct sim_options *options, struct sim_env **out)
{
	struct sim_env *sim = calloc(1, sizeof(*sim));

	if (!sim)
		return -ENOMEM;
	sim->table = sim_env_calls_table;
	pthread_mutex_init(&sim->lock, NULL);
	sim->random.state = options->seed;
	sim->capacity = options->capacity > 0 ? options->capacity : CAPACITY_DEFAULT;
	sim->quota = options->quota > 0 ? options->quota : UINT64_MAX;
	sim->opens_max = UINT_MAX;
	sim->file_size_max =
		options->file_size_max > 0 ? options->file_size_max : FILE_SIZE_MAX_DEFAULT;
	sim_names_init(&sim->names);
	*out = sim;
	return 0;
}

void sim_env_free(struct sim_env *sim)
{
	if (!sim)
		return;
	for (size_t i = 0; i < sim->file_count; i++)
		sim_file_free(sim->files[i]);
	free(sim->files);
	sim_names_fini(&sim->names);
	pthread_mutex_destroy(&sim->lock);
	free(sim->path);
	free(sim);
}

struct kv_env *sim_env_table(struct sim_env *sim)
{
	return &sim->table;
}

int sim_disk_add_file(struct sim_env *sim, const char *name, struct sim_file **out)
{
	size_t capacity = sim->file_capacity > 0 ? 2 * sim->file_capacity : 16;
	struct sim_file **files;
	struct sim_file *file;
	int result;

	if (sim->file_count == sim->file_capacity) {
		files = realloc(sim->files, capacity * sizeof(struct sim_file *));
		if (!files)
			return -ENOMEM;
		sim->files = files;
		sim->file_capacity = capacity;
	}
	result = sim_file_new(sim->file_size_max, &file);
	if (result < 0)
		return result;
	result = sim_names_create(&sim->names, name, file);
	if (result < 0) {
		sim_file_free(file);
		return result;
	}
	sim->files[sim->file_count++] = file;
	*out = file;
	return 0;
}

void sim_disk_collect(struct sim_env *sim)
{
	for (size_t i = 0; i < sim->file_count;) {
		struct sim_file *file = sim->files[i];

		if (file->opens > 0 || sim_names_hold(&sim->names, file)) {
			i++;
			continue;
		}
		sim_file_free(file);
		sim->files[i] = sim->files[--sim->file_count];
	}
}

uint64_t sim_disk_used(const struct sim_env *sim)
{
	uint64_t used = 0;

	for (size_t i = 0; i < sim->file_count; i++)
		used += sim_file_allocated(sim->files[i]);
	return used;
}

uint64_t sim_disk_room(const struct sim_env *sim)
{
	uint64_t used = sim_disk_used(sim);
	uint64_t most = sim->quota < sim->capacity ? sim->quota : sim->capacity;

	return used < most ? most - used : 0;
}

int sim_disk_check_growth(const struct sim_env *sim, const struct sim_file *file, uint64_t size)
{
	uint64_t missing;

	if (size > file->size_max)
		return -EFBIG;
	missing = sim_file_missing(file, size);
	if (missing > 0 && missing > sim_disk_room(sim))
		return sim->quota < sim->capacity ? -EDQUOT : -ENOSPC;
	return 0;
}

/* ---- power ----------------------------------------------------------------------------------- */

enum sim_step sim_disk_step(struct sim_env *sim)
{
	if (sim->cut)
		return SIM_STEP_REFUSED;
	sim->steps++;
	if (sim->cut_at != sim->steps)
		return SIM_STEP_DONE;
	sim->cut = true;
	return sim_random_below(&sim->random, 4) == 0 ? SIM_STEP_REFUSED : SIM_STEP_HALF;
}

uint64_t sim_env_steps(struct sim_env *sim)
{
	uint64_t steps;

	pthread_mutex_lock(&sim->lock);
	steps = sim->steps;
	pthread_mutex_unlock(&sim->lock);
	return steps;
}

void sim_env_cut_at(struct sim_env *sim, uint64_t step)
{
	pthread_mutex_lock(&sim->lock);
	sim->cut_at = step;
	pthread_mutex_unlock(&sim->lock);
}

void sim_env_cut(struct sim_env *sim)
{
	pthread_mutex_lock(&sim->lock);
	sim->cut = true;
	pthread_mutex_unlock(&sim->lock);
}

bool sim_env_is_cut(struct sim_env *sim)
{
	bool cut;

	pthread_mutex_lock(&sim->lock);
	cut = sim->cut;
	pthread_mutex_unlock(&sim->lock);
	return cut;
}

unsigned sim_env_power_on(struct sim_env *sim, enum sim_loss loss)
{
	unsigned opens;
	bool in_flight;

	pthread_mutex_lock(&sim->lock);
	opens = sim->opens;
	in_flight = sim_random_below(&sim->random, IN_FLIGHT_AMONG) == 0;
	sim_names_lose(&sim->names, loss, &sim->random);
	for (size_t i = 0; i < sim->file_count; i++)
		sim_file_lose(sim->files[i], loss, in_flight, &sim->random);
	sim_disk_collect(sim);
	sim->cut = false;
	sim->cut_at = 0;
	pthread_mutex_unlock(&sim->lock);
	return opens;
}

/* ---- faults ---------------------------------------------------------------------------------- */

int sim_disk_fault(struct sim_env *sim, enum sim_fault kind)
{
	struct sim_fault_plan *fault = &sim->faults[kind];
	uint64_t call = ++fault->calls;

	if (fault->first == 0 || call < fault->first || call - fault->first >= fault->times)
		return 0;
	return fault->error;
}

int sim_disk_open_fault(struct sim_env *sim)
{
	int result = sim_disk_fault(sim, SIM_FAULT_OPEN);

	return result == 0 && sim->opens >= sim->opens_max ? -EMFILE : result;
}

void sim_env_fail(
	struct sim_env *sim, enum sim_fault fault, uint64_t nth, uint64_t times, int error)
{
	struct sim_fault_plan *plan = &sim->faults[fault];

	pthread_mutex_lock(&sim->lock);
	plan->first = nth > 0 ? plan->calls + nth : 0;
	plan->times = times;
	plan->error = error;
	pthread_mutex_unlock(&sim->lock);
}

uint64_t sim_env_calls(struct sim_env *sim, enum sim_fault fault)
{
	uint64_t calls;

	pthread_mutex_lock(&sim->lock);
	calls = sim->faults[fault].calls;
	pthread_mutex_unlock(&sim->lock);
	return calls;
}

int sim_env_fail_page(struct sim_env *sim, const char *name, uint64_t position)
{
	struct sim_file *file;
	int result = -ENOENT;

	pthread_mutex_lock(&sim->lock);
	file = sim_names_find(&sim->names, name);
	if (file && position < file->size) {
		sim_file_fail_page(file, position);
		result = 0;
	}
	pthread_mutex_unlock(&sim->lock);
	return result;
}

void sim_env_set_capacity(struct sim_env *sim, uint64_t capacity)
{
	pthread_mutex_lock(&sim->lock);
	sim->capacity = capacity;
	pthread_mutex_unlock(&sim->lock);
}

void sim_env_set_quota(struct sim_env *sim, uint64_t quota)
{
	pthread_mutex_lock(&sim->lock);
	sim->quota = quota > 0 ? quota : UINT64_MAX;
	pthread_mutex_unlock(&sim->lock);
}

void sim_env_set_opens_max(struct sim_env *sim, unsigned count)
{
	pthread_mutex_lock(&sim->lock);
	sim->opens_max = count > 0 ? count : UINT_MAX;
	pthread_mutex_unlock(&sim->lock);
}

unsigned sim_env_opens(struct sim_env *sim)
{
	unsigned opens;

	pthread_mutex_lock(&sim->lock);
	opens = sim->opens;
	pthread_mutex_unlock(&sim->lock);
	return opens;
}

void sim_env_set_late(struct sim_env *sim, uint64_t us)
{
	pthread_mutex_lock(&sim->lock);
	sim->late_us = us;
	pthread_mutex_unlock(&sim->lock);
}

void sim_env_advance_us(struct sim_env *sim, uint64_t us)
{
	pthread_mutex_lock(&sim->lock);
	sim->now_us += us;
	pthread_mutex_unlock(&sim->lock);
}

void sim_env_advance_to(struct kv_env *env, uint64_t us)
{
	struct sim_env *sim = (struct sim_env *)env;

	pthread_mutex_lock(&sim->lock);
	if (sim->now_us < us)
		sim->now_us = us;
	pthread_mutex_unlock(&sim->lock);
}

/* ---- the medium ------------------------------------------------------------------------------ */

int sim_env_make_dir(struct sim_env *sim, const char *path)
{
	int result = 0;

	pthread_mutex_lock(&sim->lock);
	if (!sim->path && !(sim->path = strdup(path)))
		result = -ENOMEM;
	pthread_mutex_unlock(&sim->lock);
	return result;
}

const uint8_t *sim_env_bytes(struct sim_env *sim, const char *name, uint64_t *size)
{
	struct sim_file *file;

	pthread_mutex_lock(&sim->lock);
	file = sim_names_find(&sim->names, name);
	if (file)
		*size = file->size;
	pthread_mutex_unlock(&sim->lock);
	return file ? file->live.at : NULL;
}

int sim_env_put_file(struct sim_env *sim, const char *name, const void *data, uint64_t size)
{
	struct sim_file *file;
	int result = sim_name_check(name);

	if (result < 0)
		return result;
	pthread_mutex_lock(&sim->lock);
	file = sim_names_find(&sim->names, name);
	if (!file)
		result = sim_disk_add_file(sim, name, &file);
	if (result == 0) {
		sim_names_sync(&sim->names);
		result = sim_file_replace(file, data, size);
	}
	pthread_mutex_unlock(&sim->lock);
	return result;
}

int sim_env_flip(struct sim_env *sim, const char *name, uint64_t position, unsigned bit)
{
	struct sim_file *file;
	int result = -ENOENT;

	pthread_mutex_lock(&sim->lock);
	file = sim_names_find(&sim->names, name);
	if (file)
		result = sim_file_flip(file, position, bit);
	pthread_mutex_unlock(&sim->lock);
	return result;
}

int sim_env_resize(struct sim_env *sim, const char *name, uint64_t size)
{
	struct sim_file *file;
	int result = -ENOENT;

	pthread_mutex_lock(&sim->lock);
	file = sim_names_find(&sim->names, name);
	if (file && size > file->size_max) {
		result = -EFBIG;
	} else if (file) {
		result = sim_file_resize(file, size);
		sim_file_sync(file);
	}
	pthread_mutex_unlock(&sim->lock);
	return result;
}
