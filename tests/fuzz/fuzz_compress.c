/* SPDX-License-Identifier: MIT */
/*
 * fuzz_compress.c - compressed values and dictionaries of any bytes: what comes out has the size
 * that was said, or is an error; what was compressed comes back.
 *
 * Input: the dictionary's size (two bytes), the dictionary, the stored value.
 */
#include <stdlib.h>
#include <zstd.h>

#include "compress.h"
#include "fuzz.h"

#define VALUE_MAX (1u << 16)

static struct ZSTD_DCtx_s *decoder;
static struct ZSTD_CCtx_s *encoder;

static void restore(const ZSTD_DDict *ddict, const uint8_t *stored, size_t size)
{
	uint64_t value_size;
	unsigned number;
	uint8_t *value;

	if (compress_inspect(stored, size, &number, &value_size) || value_size > VALUE_MAX)
		return;
	/* Exactly as large as was said: a byte more is found by the sanitizer. */
	value = malloc(value_size ? value_size : 1);
	if (!value || number > 255)
		abort();
	(void)compress_restore(decoder, ddict, stored, size, value, value_size);
	free(value);
}

static void there_and_back(
	const ZSTD_CDict *cdict, const ZSTD_DDict *ddict, const uint8_t *value, size_t size)
{
	uint8_t *stored = malloc(size + 1), *back = malloc(size + 1);
	size_t stored_size;
	uint64_t value_size;
	unsigned number;

	if (!stored || !back)
		abort();
	stored_size = compress_value(encoder, 7, cdict, value, size, stored, size);
	if (stored_size > 0) {
		if (stored_size > size ||
			compress_inspect(stored, stored_size, &number, &value_size) ||
			number != 7 || value_size != size ||
			compress_restore(decoder, ddict, stored, stored_size, back, size) ||
			memcmp(back, value, size) != 0)
			abort();
	}
	free(stored);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t dictionary_size;
	ZSTD_DDict *ddict;
	ZSTD_CDict *cdict;

	if (!decoder) {
		decoder = compress_decoder_new();
		encoder = compress_encoder_new(3);
	}
	if (size < 2)
		return 0;
	dictionary_size = data[0] | (size_t)data[1] << 8;
	data += 2;
	size -= 2;
	if (dictionary_size > size)
		dictionary_size = size;
	ddict = ZSTD_createDDict(data, dictionary_size);
	cdict = ZSTD_createCDict(data, dictionary_size, 3);
	if (ddict)
		restore(ddict, data + dictionary_size, size - dictionary_size);
	restore(NULL, data + dictionary_size, size - dictionary_size);
	if (ddict && cdict)
		there_and_back(cdict, ddict, data + dictionary_size, size - dictionary_size);
	there_and_back(NULL, NULL, data, size);
	ZSTD_freeDDict(ddict);
	ZSTD_freeCDict(cdict);
	return 0;
}
