/* SPDX-License-Identifier: MIT */
/*
 * entry.h - the keys, values and orders that every store gets alike.
 *
 * Entry n has the key "n in 16 hexadecimal digits", so that entries ascend with their numbers, and
 * at version v a value that is a piece of one text: what a get returned is checked against it, and
 * making one costs nothing. Read-only after entry_init, so any thread may use it.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ENTRY_KEY_SIZE 16u
#define ENTRY_VALUE_SIZE_MAX (1u << 20)
#define ENTRY_TEXT_SIZE (4u << 20)

struct slice {
	const void *data;
	size_t size;
};

struct entry_key {
	char text[ENTRY_KEY_SIZE];
};

extern const char *entry_text; /* ENTRY_TEXT_SIZE + ENTRY_VALUE_SIZE_MAX bytes of JSON */

/* Writes the text. 0 or -ENOMEM. */
int entry_init(void);

/*
 * What an absent key's last digit has besides: no digit has all of these bits, and the key stands
 * between others.
 */
#define ENTRY_ABSENT 0x78

#ifdef __SSE2__
/*
 * All digits at once, in a dozen instructions: what the benchmark does for itself is a part of
 * every store's time.
 */
static inline void entry_key_with(uint64_t entry, int last, struct entry_key *out)
{
	const __m128i mask = _mm_set1_epi8(0x0f), nine = _mm_set1_epi8(9);
	const __m128i letters = _mm_set1_epi8('a' - '0' - 10), zero = _mm_set1_epi8('0');
	__m128i bytes = _mm_cvtsi64_si128((long long)__builtin_bswap64(entry));
	__m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask),
		low = _mm_and_si128(bytes, mask);
	__m128i digits = _mm_unpacklo_epi8(high, low);
	__m128i beyond = _mm_and_si128(_mm_cmpgt_epi8(digits, nine), letters);

	digits = _mm_add_epi8(_mm_add_epi8(digits, zero), beyond);
	digits = _mm_or_si128(digits, _mm_slli_si128(_mm_cvtsi32_si128(last), ENTRY_KEY_SIZE - 1));
	_mm_storeu_si128((__m128i *)(void *)out->text, digits);
}
#else
/* Eight hexadecimal digits at once, the highest first in memory. */
static inline uint64_t entry_digits(uint32_t number)
{
	uint64_t nibbles = number, letters;

	nibbles = ((nibbles & 0xffff0000u) << 16) | (nibbles & 0xffffu);
	nibbles = ((nibbles << 8) | nibbles) & 0x00ff00ff00ff00ffu;
	nibbles = ((nibbles << 4) | nibbles) & 0x0f0f0f0f0f0f0f0fu;
	letters = ((nibbles + 0x0606060606060606u) >> 4) & 0x0101010101010101u;
	return __builtin_bswap64(nibbles + 0x3030303030303030u + letters * ('a' - '0' - 10));
}

static inline void entry_key_with(uint64_t entry, int last, struct entry_key *out)
{
	uint64_t high = entry_digits((uint32_t)(entry >> 32)), low = entry_digits((uint32_t)entry);

	memcpy(out->text, &high, 8);
	memcpy(out->text + 8, &low, 8);
	out->text[ENTRY_KEY_SIZE - 1] |= (char)last;
}
#endif

static inline void entry_key(uint64_t entry, struct entry_key *out)
{
	entry_key_with(entry, 0, out);
}

/*
 * Of no entry. Made at once, and not by changing a byte of a key in memory: a processor that then
 * loads the key waits until all before that byte is done.
 */
static inline void entry_key_absent(uint64_t entry, struct entry_key *out)
{
	entry_key_with(entry, ENTRY_ABSENT, out);
}

static inline struct slice entry_value(uint64_t entry, unsigned version, size_t size)
{
	uint64_t at = (entry * 104 + version * 1000003ull) % ENTRY_TEXT_SIZE;

	return (struct slice){entry_text + at, size};
}

/* Is it the value that was put? Looks at both of its ends. */
static inline int entry_value_is(uint64_t entry, unsigned version, size_t size, struct slice got)
{
	struct slice want = entry_value(entry, version, size);

	return got.size == size && !memcmp(got.data, want.data, 8) &&
	       !memcmp((const char *)got.data + size - 8, (const char *)want.data + size - 8, 8);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t entry_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint64_t entry_pick(uint64_t *state, uint64_t count)
{
	return (uint64_t)(((unsigned __int128)entry_random(state) * count) >> 64);
}

/*
 * Every number below count once, in an order that looks random: a mix of a power of two, and on
 * until it fits.
 */
struct entry_shuffle {
	uint64_t count, mask, odd;
	unsigned half; /* bits */
};

static inline struct entry_shuffle entry_shuffle(uint64_t count, uint64_t seed)
{
	unsigned bits = 2;

	while (bits < 63 && (uint64_t)1 << bits < count)
		bits++;
	return (struct entry_shuffle){
		count, ((uint64_t)1 << bits) - 1, entry_random(&seed) | 1, bits / 2};
}

static inline uint64_t entry_shuffled(const struct entry_shuffle *shuffle, uint64_t position)
{
	uint64_t x = position;

	do {
		/*
		 * The seed bends the first step: added alone it would only say where the same order
		 * begins.
		 */
		x = (x * shuffle->odd) & shuffle->mask;
		x ^= x >> shuffle->half;
		x = (x * 0xbf58476d1ce4e5b9u) & shuffle->mask;
		x ^= x >> shuffle->half;
		x = (x * 0x94d049bb133111ebu) & shuffle->mask;
		x ^= x >> shuffle->half;
	} while (x >= shuffle->count);
	return x;
}

#endif
