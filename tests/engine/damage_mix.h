/* SPDX-License-Identifier: MIT */
/*
 * damage_mix.h - random damage of a store's files: bits, sectors, pages that cannot be read, files
 * that are cut off, taken away, swapped and copied. A seed repeats it.
 */
#ifndef DAMAGE_MIX_H
#define DAMAGE_MIX_H

#include "store_image.h"

struct damage_mix {
	struct store_image image; /* damaged; but for pages */
	/* Of each of its files, whose contents it has: a file of the whole store. */
	unsigned origin[STORE_IMAGE_FILES_MAX];
	/* Of each of its files, a page that cannot be read; UINT64_MAX: all can be. */
	uint64_t pages[STORE_IMAGE_FILES_MAX];
	bool any_page;
	char what[2048]; /* for who has to repeat it */
};

/* Ways to damage a file, as bits. */
#define DAMAGE_BITS (1u << 0)    /* flips, of one bit to some hundred */
#define DAMAGE_SECTORS (1u << 1) /* zeros, or garbage */
#define DAMAGE_PAGES (1u << 2)   /* that cannot be read */
#define DAMAGE_CUTS (1u << 3)    /* off the end */
#define DAMAGE_FILES (1u << 4)   /* taken away, swapped, copied */
#define DAMAGE_ALL 0x1fu

void damage_mix_make(
	struct damage_mix *mix, const struct store_image *whole, uint64_t seed, unsigned ways);
void damage_mix_free(struct damage_mix *mix);
/*
 * A new disk with these files. readable: with pages that were read after all, as zeros, as after a
 * copy to another disk.
 */
struct sim_env *damage_mix_mount(const struct damage_mix *mix, const char *path, bool readable);
/*
 * Is one of these bytes, of a file of the whole store, another one or gone? By names as they are,
 * or, where segments have their own names again, anywhere.
 */
bool damage_mix_hits(const struct damage_mix *mix, const struct store_image *whole, unsigned file,
	uint64_t from, uint64_t end, bool named_rightly);
/* Is the superblock whole, or a copy of it in a segment? Without any nothing can be opened. */
bool damage_mix_has_super(const struct damage_mix *mix, const struct store_image *whole);

#endif
