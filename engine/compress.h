/* SPDX-License-Identifier: MIT */
/*
 * compress.h - the stored form of a compressed value: one byte, the number of the dictionary (0:
 * none), and a zstd frame without its magic number that states its content size.
 */
#ifndef COMPRESS_H
#define COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPRESS_DICTIONARIES 256u /* numbers; 0 is none */
#define COMPRESS_SIZE_MIN 32u	   /* bytes; shorter values are stored raw */

struct ZSTD_CCtx_s;
struct ZSTD_CDict_s;
struct ZSTD_DCtx_s;
struct ZSTD_DDict_s;

/* Contexts of one thread at a time, or NULL. Freed by ZSTD_freeCCtx, ZSTD_freeDCtx */
struct ZSTD_CCtx_s *compress_encoder_new(int level);
struct ZSTD_DCtx_s *compress_decoder_new(void);

/*
 * Compresses into `out`, which has `room`; the size, or 0 if it does not fit or cannot be done. A
 * dictionary carries its own level; number and cdict are 0 and NULL without one.
 */
size_t compress_value(struct ZSTD_CCtx_s *encoder, unsigned number,
		      const struct ZSTD_CDict_s *cdict, const void *value, size_t size,
		      uint8_t *out, size_t room);

/* Accepts any bytes. Out: the dictionary's number and the size of the value. -EUCLEAN */
int compress_inspect(const uint8_t *stored, size_t stored_size, unsigned *number,
		     uint64_t *size);
/* `size` bytes, as compress_inspect said, to `out`. Any bytes are safe. -EUCLEAN */
int compress_restore(struct ZSTD_DCtx_s *decoder, const struct ZSTD_DDict_s *ddict,
		     const uint8_t *stored, size_t stored_size, uint8_t *out, uint64_t size);

#endif
