/* SPDX-License-Identifier: MIT */
/* damage_mix.c - see damage_mix.h. */
#include "damage_mix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTS_MAX 5u
#define FLIPS_MAX 150u
#define SECTORS_MAX 24u
#define SECTOR 512u
#define PAGE 4096u

struct mixing {
	struct damage_mix *mix;
	struct sim_random random;
};

static uint64_t below(struct mixing *mixing, uint64_t bound)
{
	return sim_random_below(&mixing->random, bound);
}

__attribute__((format(printf, 2, 3))) static void say(
	struct mixing *mixing, const char *format, ...)
{
	char *what = mixing->mix->what;
	size_t used = strlen(what);
	va_list args;

	va_start(args, format);
	vsnprintf(what + used, sizeof(mixing->mix->what) - used, format, args);
	va_end(args);
}

static bool is_segment(const struct store_image_file *file)
{
	return format_segment_slot(file->name) >= 0;
}

/* "Made by a newer version" is what they then say, whatever else is wrong with them. */
static bool is_version(const struct store_image_file *file, uint64_t at)
{
	if (is_segment(file) && at >= FORMAT_SEGMENT_COPY_AT)
		at -= FORMAT_SEGMENT_COPY_AT;
	return at >= 16 && at < 20 &&
	       (is_segment(file) || !strcmp(file->name, FORMAT_SUPER_NAME) ||
		       !strcmp(file->name, FORMAT_SNAPSHOTS_NAME));
}

/* Any file with something in it, mostly a segment; UINT_MAX: none was found. */
static unsigned pick(struct mixing *mixing, bool segment)
{
	const struct store_image *image = &mixing->mix->image;
	bool other = !segment && below(mixing, 5) == 0;

	for (unsigned tries = 0; tries < 1000; tries++) {
		unsigned i = (unsigned)below(mixing, image->count);

		if (image->files[i].used &&
			(other ? !is_segment(&image->files[i]) : is_segment(&image->files[i])))
			return i;
	}
	return (unsigned)-1;
}

static void flip(struct mixing *mixing, unsigned i, uint64_t at)
{
	struct store_image_file *file = &mixing->mix->image.files[i];

	if (!is_version(file, at))
		file->bytes[at] ^= (uint8_t)(1u << below(mixing, 8));
}

static void flip_bits(struct mixing *mixing)
{
	unsigned count = below(mixing, 2) ? 1 : 1 + (unsigned)below(mixing, FLIPS_MAX);
	unsigned one = below(mixing, 3) ? (unsigned)-1 : pick(mixing, false);

	say(mixing, " %u flips", count);
	while (count--) {
		unsigned i = one == (unsigned)-1 ? pick(mixing, false) : one;
		const struct store_image_file *file;

		if (i == (unsigned)-1)
			return;
		file = &mixing->mix->image.files[i];
		/* One in eight near the log's end, or the file's. */
		flip(mixing, i,
			below(mixing, 8) ? below(mixing, file->used)
					 : file->used - 1 - below(mixing, file->used) % 600);
	}
}

static void spoil_sectors(struct mixing *mixing)
{
	unsigned i = pick(mixing, false);
	struct store_image_file *file;
	uint64_t from, end;
	bool zeros = below(mixing, 2);

	if (i == (unsigned)-1)
		return;
	file = &mixing->mix->image.files[i];
	from = below(mixing, 6) ? below(mixing, file->used) / SECTOR * SECTOR : 0;
	end = from + SECTOR * (1 + below(mixing, SECTORS_MAX));
	if (end > file->size)
		end = file->size;
	for (uint64_t at = from; at < end; at++)
		if (!is_version(file, at))
			file->bytes[at] = zeros ? 0 : (uint8_t)below(mixing, 256);
	if (end > file->used)
		file->used = end;
	say(mixing, " %s of %s at %" PRIu64 "-%" PRIu64, zeros ? "zeros" : "garbage", file->name,
		from, end);
}

/* Not a segment's header: who cannot read that can do nothing. */
static void spoil_page(struct mixing *mixing)
{
	struct damage_mix *mix = mixing->mix;
	unsigned i = pick(mixing, true);
	struct store_image_file *file;
	uint64_t at;

	if (i == (unsigned)-1 || mix->image.files[i].used <= FORMAT_SEGMENT_HEADER_SIZE)
		return;
	file = &mix->image.files[i];
	at = FORMAT_SEGMENT_HEADER_SIZE + below(mixing, file->used - FORMAT_SEGMENT_HEADER_SIZE);
	at -= at % PAGE;
	if (at + PAGE > file->size)
		return;
	memset(file->bytes + at, 0, PAGE);
	mix->pages[i] = at;
	mix->any_page = true;
	say(mixing, " page of %s at %" PRIu64, file->name, at);
}

static void cut_off(struct mixing *mixing)
{
	unsigned i = pick(mixing, false);
	struct store_image_file *file;

	if (i == (unsigned)-1)
		return;
	file = &mixing->mix->image.files[i];
	if (mixing->mix->pages[i] != UINT64_MAX)
		return;
	file->size = below(mixing, 2) ? below(mixing, file->used)
				      : file->used - 1 - below(mixing, file->used) % 5000;
	if (file->used > file->size)
		file->used = file->size;
	say(mixing, " %s cut off at %" PRIu64, file->name, file->size);
}

/* ---- whole files ----------------------------------------------------------------------------- */

static void take_away(struct mixing *mixing)
{
	struct damage_mix *mix = mixing->mix;
	unsigned i = pick(mixing, false), last = mix->image.count - 1;

	if (i == (unsigned)-1)
		return;
	say(mixing, " %s taken away", mix->image.files[i].name);
	free(mix->image.files[i].bytes);
	mix->image.files[i] = mix->image.files[last];
	mix->origin[i] = mix->origin[last];
	mix->pages[i] = mix->pages[last];
	mix->image.count--;
}

static void swap_two(struct mixing *mixing)
{
	struct damage_mix *mix = mixing->mix;
	unsigned i = pick(mixing, true), j = pick(mixing, true);
	char name[sizeof(mix->image.files[0].name)];

	if (i == (unsigned)-1 || i == j)
		return;
	say(mixing, " %s and %s swapped", mix->image.files[i].name, mix->image.files[j].name);
	memcpy(name, mix->image.files[i].name, sizeof(name));
	memcpy(mix->image.files[i].name, mix->image.files[j].name, sizeof(name));
	memcpy(mix->image.files[j].name, name, sizeof(name));
}

static bool has_name(const struct store_image *image, const char *name)
{
	return store_image_find(image, name) != NULL;
}

/* Of one segment, under the name of another, or of none. */
static void copy_one(struct mixing *mixing)
{
	struct damage_mix *mix = mixing->mix;
	struct store_image *image = &mix->image;
	unsigned i = pick(mixing, true), to = pick(mixing, true);
	struct store_image_file *from, copy;

	if (i == (unsigned)-1)
		return;
	from = &image->files[i];
	copy = *from;
	copy.bytes = malloc(copy.size + 1);
	assert_non_null(copy.bytes);
	memcpy(copy.bytes, from->bytes, from->size);
	if (below(mixing, 2) && to != i) {
		memcpy(copy.name, image->files[to].name, sizeof(copy.name));
		free(image->files[to].bytes);
	} else {
		uint32_t slot = 0;

		do
			format_segment_name(slot++, copy.name);
		while (has_name(image, copy.name));
		to = image->count++;
		assert_true(image->count <= STORE_IMAGE_FILES_MAX);
	}
	say(mixing, " %s copied to %s", from->name, copy.name);
	image->files[to] = copy;
	mix->origin[to] = mix->origin[i];
	mix->pages[to] = mix->pages[i];
}

static void move_files(struct mixing *mixing)
{
	switch (below(mixing, 4)) {
	case 0:
		swap_two(mixing);
		break;
	case 1:
		copy_one(mixing);
		break;
	default:
		take_away(mixing);
	}
}

/* ---------------------------------------------------------------------------------------------- */

static void copy_image(struct damage_mix *mix, const struct store_image *whole)
{
	memset(mix, 0, sizeof(*mix));
	mix->image = *whole;
	for (unsigned i = 0; i < whole->count; i++) {
		struct store_image_file *file = &mix->image.files[i];

		file->bytes = malloc(file->size + 1);
		assert_non_null(file->bytes);
		memcpy(file->bytes, whole->files[i].bytes, file->size);
		mix->origin[i] = i;
	}
	for (unsigned i = 0; i < STORE_IMAGE_FILES_MAX; i++)
		mix->pages[i] = UINT64_MAX;
}

void damage_mix_make(
	struct damage_mix *mix, const struct store_image *whole, uint64_t seed, unsigned ways)
{
	static void (*const acts[])(struct mixing *) = {
		flip_bits, spoil_sectors, spoil_page, cut_off, move_files};
	struct mixing mixing = {.mix = mix, .random = {seed}};
	unsigned count;

	copy_image(mix, whole);
	count = below(&mixing, 2) ? 1 : 1 + (unsigned)below(&mixing, ACTS_MAX);
	while (ways && count) {
		/* Half of all are flips: they leave most of a store as it is. */
		unsigned act = below(&mixing, 2) ? 0 : (unsigned)below(&mixing, 5);

		if (!(ways & 1u << act))
			continue;
		acts[act](&mixing);
		count--;
	}
}

void damage_mix_free(struct damage_mix *mix)
{
	store_image_free(&mix->image);
}

struct sim_env *damage_mix_mount(const struct damage_mix *mix, const char *path, bool readable)
{
	struct sim_env *sim = store_image_mount(&mix->image, path);

	for (unsigned i = 0; i < mix->image.count && !readable; i++) {
		const struct store_image_file *file = &mix->image.files[i];

		if (mix->pages[i] != UINT64_MAX && mix->pages[i] + PAGE <= file->size)
			assert_int_equal(sim_env_fail_page(sim, file->name, mix->pages[i]), 0);
	}
	return sim;
}

/* Has it its own name, and a header by which that can be known? */
static bool is_own(const struct store_image_file *file, const struct store_image_file *was)
{
	const size_t size = sizeof(struct format_segment);

	return !strcmp(file->name, was->name) && file->size >= FORMAT_SEGMENT_HEADER_SIZE &&
	       (!memcmp(file->bytes, was->bytes, size) ||
		       !memcmp(file->bytes + FORMAT_SEGMENT_COPY_AT, was->bytes, size));
}

bool damage_mix_hits(const struct damage_mix *mix, const struct store_image *whole, unsigned file,
	uint64_t from, uint64_t end, bool named_rightly)
{
	const struct store_image_file *was = &whole->files[file];
	bool any = false, hit = false;

	for (unsigned i = 0; i < mix->image.count; i++) {
		const struct store_image_file *is = &mix->image.files[i];
		bool own = is_own(is, was);

		if (mix->origin[i] != file || (!named_rightly && strcmp(is->name, was->name) != 0))
			continue;
		hit &= !own;
		any = true;
		hit |= end > is->size || memcmp(is->bytes + from, was->bytes + from, end - from);
		/* Copies of it count where it is gone itself. */
		if (own)
			break;
	}
	return !any || hit;
}

bool damage_mix_has_super(const struct damage_mix *mix, const struct store_image *whole)
{
	for (unsigned i = 0; i < mix->image.count; i++) {
		const struct store_image_file *is = &mix->image.files[i];
		const struct store_image_file *was = &whole->files[mix->origin[i]];
		uint64_t from = is_segment(was) ? FORMAT_SEGMENT_SUPER_AT : 0;
		uint64_t size = is_segment(was) ? FORMAT_SUPER_USED : FORMAT_SUPER_SIZE;

		if ((is_segment(was) || !strcmp(was->name, FORMAT_SUPER_NAME)) &&
			is->size >= from + size &&
			!memcmp(is->bytes + from, was->bytes + from, size))
			return true;
	}
	return false;
}
