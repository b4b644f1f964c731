/* SPDX-License-Identifier: MIT */
/*
 * compress.c - see compress.h. Pure functions over bytes.
 *
 * The magic number and the dictionary's id in the frame would cost a small value eight bytes: what
 * is here is known to be a frame, and the number of its dictionary stands before it.
 */
#include "compress.h"

#include <errno.h>
#define ZSTD_STATIC_LINKING_ONLY /* frames without the magic number */
#include <zstd.h>

struct ZSTD_CCtx_s *compress_encoder_new(int level)
{
	ZSTD_CCtx *encoder = ZSTD_createCCtx();

	if (!encoder)
		return NULL;
	if (ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_format, ZSTD_f_zstd1_magicless)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_dictIDFlag, 0)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_contentSizeFlag, 1))) {
		ZSTD_freeCCtx(encoder);
		return NULL;
	}
	return encoder;
}

struct ZSTD_DCtx_s *compress_decoder_new(void)
{
	ZSTD_DCtx *decoder = ZSTD_createDCtx();

	if (decoder && ZSTD_isError(ZSTD_DCtx_setParameter(decoder, ZSTD_d_format,
							   ZSTD_f_zstd1_magicless))) {
		ZSTD_freeDCtx(decoder);
		return NULL;
	}
	return decoder;
}

size_t compress_value(struct ZSTD_CCtx_s *encoder, unsigned number,
		      const struct ZSTD_CDict_s *cdict, const void *value, size_t size,
		      uint8_t *out, size_t room)
{
	size_t done;

	if (size < COMPRESS_SIZE_MIN || room < 2)
		return 0;
	/* A context that found no room for its frame is still in the middle of it. */
	if (ZSTD_isError(ZSTD_CCtx_reset(encoder, ZSTD_reset_session_only)) ||
	    ZSTD_isError(ZSTD_CCtx_refCDict(encoder, cdict)))
		return 0;
	done = ZSTD_compress2(encoder, out + 1, room - 1, value, size);
	if (ZSTD_isError(done))
		return 0;
	out[0] = (uint8_t)number;
	return done + 1;
}

int compress_inspect(const uint8_t *stored, size_t stored_size, unsigned *number, uint64_t *size)
{
	ZSTD_frameHeader header;

	if (stored_size < 2 ||
	    ZSTD_getFrameHeader_advanced(&header, stored + 1, stored_size - 1,
					 ZSTD_f_zstd1_magicless) ||
	    header.frameType != ZSTD_frame ||
	    header.frameContentSize == ZSTD_CONTENTSIZE_UNKNOWN)
		return -EUCLEAN;
	*number = stored[0];
	*size = header.frameContentSize;
	return 0;
}

int compress_restore(struct ZSTD_DCtx_s *decoder, const struct ZSTD_DDict_s *ddict,
		     const uint8_t *stored, size_t stored_size, uint8_t *out, uint64_t size)
{
	size_t done = ZSTD_decompress_usingDDict(decoder, out, size, stored + 1, stored_size - 1,
						 ddict);

	return ZSTD_isError(done) || done != size ? -EUCLEAN : 0;
}
