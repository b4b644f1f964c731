/* SPDX-License-Identifier: MIT */
/* fuzz.h - what every fuzz target defines, and a reader that takes its input apart. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FUZZ_SIZE_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a stream of values; zeros once it is used up. */
struct fuzz_input {
	const uint8_t *data;
	size_t left; /* bytes */
};

static inline void fuzz_bytes(struct fuzz_input *input, void *to, size_t size)
{
	size_t length = size < input->left ? size : input->left;

	memset(to, 0, size);
	if (length > 0)
		memcpy(to, input->data, length);
	input->data += length;
	input->left -= length;
}

static inline uint32_t fuzz_u32(struct fuzz_input *input)
{
	uint32_t value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

static inline uint8_t fuzz_u8(struct fuzz_input *input)
{
	uint8_t value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

#endif
