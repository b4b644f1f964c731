/* SPDX-License-Identifier: MIT */
/* soak_model.c - see soak_model.h. */
#include "soak_model.h"

#include <string.h>
#include <sys/mman.h>

#include "soak_large.h"

static void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

struct soak_model *soak_model_new(uint32_t pairs)
{
	struct soak_model *model = shared(sizeof(*model));
	uint32_t i;

	if (!model)
		return NULL;
	model->pairs = pairs;
	model->pair = shared(pairs * sizeof(*model->pair));
	model->large = shared(SOAK_LARGE_VALUES * sizeof(*model->large));
	if (!model->pair || !model->large)
		return NULL;
	for (i = 0; i < SOAK_SNAPSHOTS; i++) {
		model->versions[i] = shared(pairs * sizeof(uint32_t));
		if (!model->versions[i])
			return NULL;
	}
	for (i = 0; i < pairs; i++)
		atomic_store(&model->pair[i].first, 1);
	return model;
}

/* The finalizer of SplitMix64. */
uint64_t soak_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t soak_random(uint64_t *state)
{
	return soak_mix(*state += 0x9e3779b97f4a7c15u);
}

/* ---- keys and values ------------------------------------------------------------------------- */

void soak_key(uint32_t pair, unsigned half, uint8_t key[SOAK_KEY_SIZE])
{
	uint64_t scattered = soak_mix(pair * 2u + half + 1);

	memcpy(key, &scattered, 8);
	memset(key + 8, 0, 8);
	memcpy(key + 8, &pair, sizeof(pair));
	key[15] = (uint8_t)half;
}

bool soak_key_parse(const struct soak_model *model, const void *key, size_t size, uint32_t *pair,
		    unsigned *half)
{
	const uint8_t *bytes = key;
	uint8_t expected[SOAK_KEY_SIZE];
	uint32_t number;

	if (size != SOAK_KEY_SIZE)
		return false;
	memcpy(&number, bytes + 8, sizeof(number));
	if (number >= model->pairs || bytes[15] > 1)
		return false;
	soak_key(number, bytes[15], expected);
	if (memcmp(expected, key, SOAK_KEY_SIZE))
		return false;
	*pair = number;
	*half = bytes[15];
	return true;
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
		uint64_t word = i / 8 & 1 ? soak_mix(seed + i) : soak_mix(seed >> 32);

		memcpy(value + i, &word, size - i < 8 ? size - i : 8);
	}
}

size_t soak_value(uint32_t pair, unsigned half, uint32_t version, uint8_t *value)
{
	uint64_t seed = soak_mix((uint64_t)pair << 33 | (uint64_t)half << 32 | version);
	size_t size = value_size(seed);

	if (soak_is_deletion(version))
		return 0;
	fill(seed, value, size);
	memcpy(value, &version, sizeof(version));
	return size;
}

bool soak_value_version(uint32_t pair, unsigned half, const uint8_t *value, size_t size,
			uint32_t *version)
{
	static __thread uint8_t expected[SOAK_VALUE_MAX + 8];

	if (size < sizeof(*version))
		return false;
	memcpy(version, value, sizeof(*version));
	return soak_value(pair, half, *version, expected) == size && !memcmp(value, expected, size);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* The last deletion from `low` to `high`; false: there is none. */
static bool last_deletion(uint32_t low, uint32_t high, uint32_t *version)
{
	*version = high / SOAK_DELETE_EACH * SOAK_DELETE_EACH;
	return low <= high && *version >= low;
}

/* Which deletion it was does not matter: `version` is then the last possible one. */
static bool absent(const struct soak_pair *pair, uint32_t from, uint32_t to, uint32_t *version)
{
	uint32_t base = atomic_load(&pair->base), first = atomic_load(&pair->first);

	if (last_deletion(from > first ? from : first, to, version))
		return true;
	*version = base;
	return soak_is_deletion(base) && base >= from;
}

bool soak_pair_allows(const struct soak_pair *pair, uint32_t from, uint32_t to, uint32_t version)
{
	uint32_t deletion;

	if (!version)
		return absent(pair, from, to, &deletion);
	if (soak_is_deletion(version) || version < from || version > to)
		return false;
	return version == atomic_load(&pair->base) || version >= atomic_load(&pair->first);
}

bool soak_pair_settle(struct soak_pair *pair, uint32_t version)
{
	uint32_t from = atomic_load(&pair->synced), to = atomic_load(&pair->tried);

	if (!soak_pair_allows(pair, from, to, version))
		return false;
	if (!version)
		(void)absent(pair, from, to, &version);
	/* In this order what was found stays allowed at every step. */
	atomic_store(&pair->base, version);
	atomic_store(&pair->first, to + 1);
	atomic_store(&pair->done, version);
	atomic_store(&pair->synced, version);
	return true;
}
