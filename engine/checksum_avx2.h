/* SPDX-License-Identifier: MIT */
/*
 * checksum_avx2.h - checksum.h's functions in AVX2; to be called only where the processor has that.
 */
#ifndef CHECKSUM_AVX2_H
#define CHECKSUM_AVX2_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define CHECKSUM_AVX2 1
#endif

uint64_t checksum_avx2(const void *data, size_t size);
uint64_t checksum_split_avx2(const void *head, size_t head_size, const void *rest,
			     size_t rest_size);

#endif
