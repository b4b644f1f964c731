/* SPDX-License-Identifier: MIT */
/*
 * page.h - a directory of a store, some entries at a time: whatever its size, what is in memory is
 * a page, and what is removed or added between two pages confuses nobody.
 */
#ifndef KVFS_MOUNT_PAGE_H
#define KVFS_MOUNT_PAGE_H

#include <kvfs.h>

#define PAGE_ENTRIES 64u

struct page {
	unsigned count;
	uint64_t cookie; /* of the last entry; 0: from the beginning */
	struct {
		char name[KVFS_NAME_MAX + 1];
		struct kvfs_attr attr; /* unless asked for, only ino and the type in mode */
	} entries[PAGE_ENTRIES];
};

/* The next entries, without "." and "..": a count of 0 is the end. -errno of kvfs_readdir */
int page_next(struct kvfs *fs, uint64_t ino, bool with_attr, struct page *page)
	__attribute__((warn_unused_result));

#endif
