/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - bytes and numbers that look random and can be had again from a seed
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* A 64-bit number that depends on both arguments alone. */
uint64_t pattern_number(uint64_t seed, uint64_t index);

/* Bytes `position` and on of the endless pattern of a seed. */
void pattern_fill(unsigned char *buffer, size_t size, uint64_t seed, uint64_t position);

#endif
