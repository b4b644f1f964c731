/* SPDX-License-Identifier: MIT */
/* page.c - see page.h. */
#include "page.h"

#include <stdio.h>
#include <string.h>

static int add(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct page *page = arg;

	if (page->count == PAGE_ENTRIES)
		return 1;
	page->cookie = cookie;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	snprintf(page->entries[page->count].name, sizeof(page->entries[0].name), "%s", name);
	page->entries[page->count++].attr = *attr;
	return 0;
}

int page_next(struct kvfs *fs, uint64_t ino, bool with_attr, struct page *page)
{
	page->count = 0;
	return kvfs_readdir(fs, ino, page->cookie, with_attr, add, page);
}
