/* SPDX-License-Identifier: MIT */
/*
 * fuzz_clone.c - a clone on its way between processes: any bytes, in parts of any sizes. What is
 * made of them is a store that opens, or an error; and a store that opens can be read.
 *
 * Input: the size of the parts; whether a sound head comes before the rest, which is the bytes.
 */
#include <stdlib.h>

#include "clone_bytes.h"
#include "fuzz.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define SEGMENT_SIZE (2u << 20)

struct parts {
	const uint8_t *bytes;
	size_t left, part_max;
	char *part;
};

/* Each in memory of its own, so that the sanitizer sees a read beyond it. */
static ssize_t next(void *arg, const char **part)
{
	struct parts *parts = arg;
	size_t size = parts->left < parts->part_max ? parts->left : parts->part_max;

	free(parts->part);
	parts->part = malloc(size ? size : 1);
	if (!parts->part)
		abort();
	if (size)
		memcpy(parts->part, parts->bytes, size);
	parts->bytes += size;
	parts->left -= size;
	*part = parts->part;
	return (ssize_t)size;
}

static int ignore_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	return 0;
}

static void look(struct kv_env *env)
{
	const struct kvfs_open_options options = {.kv = {.flags = KV_OPEN_INLINE}};
	struct kvfs *fs;

	if (kvfs_open(env, STORE_PATH, &options, &fs))
		return;
	(void)!kvfs_readdir(fs, KVFS_ROOT_INO, 0, true, ignore_entry, NULL);
	(void)!kvfs_close(fs);
}

static void receive(const uint8_t *bytes, size_t size, size_t part_max)
{
	const struct sim_options disk = {.seed = 1, .capacity = 16 << 20, .file_size_max = 4 << 20};
	struct parts parts = {.bytes = bytes, .left = size, .part_max = part_max};
	const struct kvfs_receive_options options = {.next = next, .next_arg = &parts};
	struct sim_env *sim;

	if (sim_env_new(&disk, &sim))
		abort();
	if (!kvfs_receive(sim_env_table(sim), STORE_PATH, &options))
		look(sim_env_table(sim));
	free(parts.part);
	if (sim_env_power_on(sim, SIM_LOSS_ALL)) /* something is left open */
		abort();
	sim_env_free(sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct clone_parameters sound = {
		.hash = KV_HASH_XXH3, .segment_size = SEGMENT_SIZE};
	struct fuzz_input input = {data, size};
	size_t part_max = (size_t)fuzz_u8(&input) + 1, head = fuzz_u8(&input) % 4 ? CLONE_HEAD_SIZE : 0;
	uint8_t *bytes = malloc(head + input.left + 1);

	if (!bytes)
		return 0;
	if (head)
		clone_head_encode(&sound, bytes);
	if (input.left)
		memcpy(bytes + head, input.data, input.left);
	receive(bytes, head + input.left, part_max);
	free(bytes);
	return 0;
}
