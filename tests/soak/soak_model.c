/* SPDX-License-Identifier: MIT */
/* soak_model.c - see soak_model.h. */
#include "soak_model.h"

#include <string.h>
#include <sys/mman.h>

static void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

struct soak_model *soak_model_new(uint32_t pairs)
{
	struct soak_model *model = shared(sizeof(*model));
	unsigned i;

	if (!model)
		return NULL;
	model->pairs = pairs;
	model->pair = shared(pairs * sizeof(*model->pair));
	if (!model->pair)
		return NULL;
	for (i = 0; i < SOAK_SNAPSHOTS; i++) {
		model->versions[i] = shared(pairs * sizeof(uint32_t));
		if (!model->versions[i])
			return NULL;
	}
	return model;
}

/* The finalizer of SplitMix64. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void soak_key(uint32_t pair, unsigned half, uint8_t key[SOAK_KEY_SIZE])
{
	uint64_t scattered = mix(pair * 2u + half + 1);

	memcpy(key, &scattered, 8);
	memset(key + 8, 0, 8);
	memcpy(key + 8, &pair, sizeof(pair));
	key[15] = (uint8_t)half;
}

/* Mostly small, some of several kilobytes, one in a thousand large. */
static size_t value_size(uint64_t random)
{
	unsigned kind = (unsigned)(random % 1000);

	random /= 1000;
	if (kind == 0)
		return 65536 + random % (SOAK_VALUE_MAX - 65536);
	if (kind < 100)
		return 2000 + random % 8000;
	return 8 + random % 400;
}

/* Half of the words repeat, so that compressing gains something. */
static void fill(uint64_t seed, uint8_t *value, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += 8) {
		uint64_t word = i / 8 & 1 ? mix(seed + i) : mix(seed >> 32);

		memcpy(value + i, &word, size - i < 8 ? size - i : 8);
	}
}

size_t soak_value(uint32_t pair, unsigned half, uint32_t version, uint8_t *value)
{
	uint64_t seed = mix((uint64_t)pair << 33 | (uint64_t)half << 32 | version);
	size_t size = value_size(seed);

	if (soak_is_deletion(version))
		return 0;
	fill(seed, value, size);
	memcpy(value, &version, sizeof(version));
	return size;
}

bool soak_value_version(
	uint32_t pair, unsigned half, const uint8_t *value, size_t size, uint32_t *version)
{
	static __thread uint8_t expected[SOAK_VALUE_MAX + 8];

	if (size < sizeof(*version))
		return false;
	memcpy(version, value, sizeof(*version));
	return soak_value(pair, half, *version, expected) == size && !memcmp(value, expected, size);
}
