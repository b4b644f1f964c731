/* SPDX-License-Identifier: MIT */
/*
 * calls_pick.c - arguments of calls: mostly good ones, of which few exist, so that they meet; and
 * some that are wrong
 */
#include "calls.h"
#include "pattern.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define PATHS 8
#define BYTES_MAX (1u << 20)

int slots[SLOTS] = {-1, -1, -1, -1, -1};
int proc = -1;

static uint64_t seed, index_next;

void pick_seed(uint64_t new_seed)
{
	seed = new_seed;
	index_next = 0;
}

unsigned pick(unsigned count)
{
	return (unsigned)(pattern_number(seed, index_next++) >> 20) % count;
}

bool chance(unsigned percent)
{
	return pick(100) < percent;
}

static size_t add_name(char *path, size_t used)
{
	unsigned kind = pick(100);
	size_t length;

	if (kind < 94) {
		path[used] = (char)('a' + pick(5));
		return used + 1;
	}
	if (kind < 98) {
		length = kind < 96 ? 1 : 2;
		memset(path + used, '.', length);
		return used + length;
	}
	length = kind == 98 ? NAME_MAX : NAME_MAX + 1;
	memset(path + used, 'n', length);
	return used + length;
}

/* Of one that is there, or of one that could be in a directory that is there, from the root. */
static size_t add_known(char *path)
{
	bool there = chance(60);
	const char *known = state_path(pick(1u << 20), !there);
	size_t used = known ? strlen(known) : 0;

	if (!known || used + NAME_MAX + 8 > PATH_MAX)
		return 0;
	memcpy(path, known, used);
	if (there)
		return used;
	if (used > 1)
		path[used++] = '/';
	return add_name(path, used);
}

static size_t add_any(char *path)
{
	unsigned i, kind = pick(100), depth = kind < 50 ? 1 : kind < 85 ? 2 : 3;
	size_t used = 0;

	if (chance(10))
		path[used++] = '/';
	for (i = 0; i < depth; i++) {
		if (i)
			path[used++] = '/';
		used = add_name(path, used);
	}
	return used;
}

const char *pick_path(void)
{
	static char paths[PATHS][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % PATHS];
	size_t used = 0;

	if (chance(75))
		used = add_known(path);
	if (!used)
		used = add_any(path);
	if (chance(3))
		path[used++] = '/';
	if (chance(1))
		used = 0;
	path[used] = 0;
	if (used > 100)
		say(" \"%.20s... of %zu\"", path, used);
	else
		say(" \"%s\"", path);
	return path;
}

int pick_slot(void)
{
	unsigned slot = pick(SLOTS);

	say(" slot %u", slot);
	return slots[slot];
}

struct place pick_place(void)
{
	struct place place = {AT_FDCWD, NULL};

	if (chance(10))
		place.directory = pick_slot();
	place.path = pick_path();
	return place;
}

mode_t pick_mode(void)
{
	static const mode_t modes[] = {0644, 0644, 0755, 0755, 0777, 0666, 0700, 0600, 0, 0444,
		0111, 01777, 02755, 04755, 06777, 02644, 0070, 0007, 07777};
	mode_t mode = modes[pick(sizeof(modes) / sizeof(modes[0]))];

	say(" %04o", mode);
	return mode;
}

off_t pick_offset(void)
{
	static const off_t offsets[] = {0, 0, 0, 1, 7, 100, 2040, 2047, 2048, 2049, 4095, 4096,
		4096, 4097, 8192, 10000, 61440, 65535, 65536, 65536, 65537, 100000, 131072, 200000,
		300000};
	static const off_t far[] = {
		1 << 20, (1ll << 32) - 1, (1ll << 40) + 5, -1, LLONG_MAX, LLONG_MIN + 1};
	off_t offset = chance(95) ? offsets[pick(sizeof(offsets) / sizeof(offsets[0]))]
				  : far[pick(sizeof(far) / sizeof(far[0]))];

	say(" at %lld", (long long)offset);
	return offset;
}

size_t pick_size(void)
{
	static const size_t sizes[] = {0, 1, 3, 10, 100, 500, 2000, 2048, 2049, 4095, 4096, 4096,
		4097, 5000, 8192, 20000, 65535, 65536, 70000, 131072};
	size_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];

	say(" of %zu", size);
	return size;
}

unsigned pick_flags(const struct flag *flags)
{
	unsigned all = 0;

	for (; flags->name; flags++)
		if (chance(flags->percent)) {
			all |= flags->value;
			say(" %s", flags->name);
		}
	return all;
}

uid_t pick_id(void)
{
	static const uid_t ids[] = {(uid_t)-1, (uid_t)-1, 0, 1000, 1000, 1001, 2000};
	uid_t id = ids[pick(sizeof(ids) / sizeof(ids[0]))];

	say(" id %d", (int)id);
	return id;
}

const unsigned char *pick_bytes(size_t size)
{
	static unsigned char bytes[BYTES_MAX];

	if (size > sizeof(bytes))
		size = sizeof(bytes);
	pattern_fill(bytes, size, seed, index_next);
	return bytes;
}
