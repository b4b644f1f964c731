/* SPDX-License-Identifier: MIT */
/*
 * checksum.h - XXH3-64 of long inputs, with the widest vectors that this processor has. The result
 * is the same everywhere. Distributions build libxxhash for the oldest processor of an
 * architecture: 254 us a MiB, where AVX2 needs 40.
 */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Below this, the library's own is as fast. */
#define CHECKSUM_LONG_MIN 256u /* bytes */

uint64_t checksum(const void *data, size_t size);
/* The checksum of two parts, as if they stood one behind the other. */
uint64_t checksum_split(const void *head, size_t head_size, const void *rest, size_t rest_size);

#endif
