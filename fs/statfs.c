/* SPDX-License-Identifier: MIT */
/*
 * statfs.c - how full the store is, in the terms of statvfs(3).
 */
#include "extent_record.h"
#include "keyspaces.h"
#include "limit.h"

#define FILE_COST                                                                                  \
	512u /* bytes that a new empty file takes, its name and directory included: a rough guess  \
	      */

int kvfs_statfs(struct kvfs *fs, struct kvfs_statfs *out)
{
	struct kv_stats stats;
	uint64_t free_bytes;

	kv_stats(fs->kv, &stats);
	free_bytes = stats.avail_bytes + stats.reserve_bytes;
	limit_space(fs, &free_bytes, &stats.capacity_bytes);
	limit_space(fs, &stats.avail_bytes, &stats.capacity_bytes);
	*out = (struct kvfs_statfs){
		.block_size = EXTENT_BLOCK_SIZE,
		.blocks = stats.capacity_bytes / EXTENT_BLOCK_SIZE,
		.blocks_free = free_bytes / EXTENT_BLOCK_SIZE,
		.blocks_avail = stats.avail_bytes / EXTENT_BLOCK_SIZE,
		.files = stats.keys[KEYSPACE_INODE] + stats.avail_bytes / FILE_COST,
		.files_free = stats.avail_bytes / FILE_COST,
	};
	return 0;
}
