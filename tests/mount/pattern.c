/* SPDX-License-Identifier: MIT */
/*
 * pattern.c - splitmix64, by position
 */
#include "pattern.h"

uint64_t pattern_number(uint64_t seed, uint64_t index)
{
	uint64_t x = index * 0x9e3779b97f4a7c15u + (seed + 1) * 0xbf58476d1ce4e5b9u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void pattern_fill(unsigned char *buffer, size_t size, uint64_t seed, uint64_t position)
{
	uint64_t word = 0;
	size_t i;

	for (i = 0; i < size; i++, position++) {
		if (i == 0 || position % 8 == 0)
			word = pattern_number(seed, position / 8) >> (position % 8 * 8);
		buffer[i] = word;
		word >>= 8;
	}
}
