/* SPDX-License-Identifier: MIT */
/*
 * survey.c - see survey.h.
 *
 * Half of the sample trains, the other half judges: a dictionary is chosen only if it beats what
 * there is by a twentieth on values that it has not seen. One whose values have become more than a
 * seventh larger than they were then is challenged by a new one. Training is zstd's fast COVER in
 * one pass, a few milliseconds for a few hundred KiB.
 */
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#define ZDICT_STATIC_LINKING_ONLY /* the training algorithm by name */
#include <zdict.h>
#include <zstd.h>

#include "dictionary.h"

#define SAMPLES_MAX 2048u
#define SAMPLE_SIZE_MAX 1024u	     /* bytes of a value that are looked at */
#define SAMPLES_MIN 64u		     /* of a keyspace */
#define SAMPLE_BYTES_MIN (8u << 10)
#define DICTIONARY_SIZE_MIN (1u << 10)
#define DICTIONARY_SIZE_MAX (32u << 10)
#define SAMPLE_BYTES_PER_DICTIONARY_BYTE 10u
#define ADOPT_BELOW 0.95
#define CHALLENGE_ABOVE 1.15
#define HOPELESS_SURVEYS 16u /* between attempts where no dictionary helped */

struct sample {
	uint32_t offset; /* in bytes */
	uint16_t size;
	uint16_t key_size;
	uint8_t keyspace;
};

struct survey {
	struct kv *kv;
	uint8_t *bytes; /* SAMPLES_MAX * SAMPLE_SIZE_MAX */
	struct sample samples[SAMPLES_MAX];
	unsigned count;
	uint32_t used;
	uint64_t raw_bytes, stored_bytes; /* of those that judge */
	uint64_t settled_bytes; /* of records in between that are compressed already */
	int error; /* of putting a dictionary into the log */
};

/* ---- sampling -------------------------------------------------------------------------------- */

static void take(struct survey *survey, const struct format_record *record)
{
	struct sample *sample = &survey->samples[survey->count++];

	*sample = (struct sample){
		.offset = survey->used,
		.size = (uint16_t)(record->value_size < SAMPLE_SIZE_MAX ? record->value_size :
									  SAMPLE_SIZE_MAX),
		.key_size = record->key_size,
		.keyspace = record->keyspace,
	};
	memcpy(survey->bytes + survey->used, format_record_value(record), sample->size);
	survey->used += sample->size;
}

/*
 * Asks the disk for all of the segment: through a map that is advised for look-ups each page would
 * be read by itself.
 */
static void ask(struct kv *kv, const struct segment *segment)
{
	const uint8_t *map = atomic_load(&segment->map);

	if (map)
		kv->env->map_advise(map, segment->end, ENV_ADVICE_WILLNEED);
}

/* Log bytes of so much of the record as would be looked at. */
static uint64_t bounded_size(const struct format_record *record)
{
	return format_record_size(record->key_size, record->value_size < SAMPLE_SIZE_MAX ?
							    record->value_size :
							    SAMPLE_SIZE_MAX);
}

/*
 * Samples one record in each stretch of the segment. Whether it is still needed does not matter: it
 * is of the same kind. Those that are compressed, as among raw ones in a cold segment, are counted
 * only: rewriting them saves nothing.
 */
static void take_samples(struct survey *survey, const struct segment *segment)
{
	struct segments *segments = &survey->kv->segments;
	const uint8_t *base = segments_base(segments, segment->slot);
	uint32_t offset = FORMAT_SEGMENT_HEADER_SIZE, next = offset;
	uint32_t stride = segment->end / SAMPLES_MAX;

	while (offset < segment->end && survey->count < SAMPLES_MAX) {
		const struct format_record *record = (const struct format_record *)(base + offset);
		int64_t length = segment_validate(segments, segment, base, offset);

		if (length <= 0)
			return;
		if (offset >= next && dictionary_may_compress(record)) {
			take(survey, record);
			next += stride;
		} else if (offset >= next && record->flags & FORMAT_RECORD_ZSTD) {
			survey->settled_bytes += bounded_size(record);
			next += stride;
		}
		offset += (uint32_t)length;
	}
}

/* ---- judging --------------------------------------------------------------------------------- */

/* Log bytes of the keyspace's samples of one half, as they are and compressed. */
static double judge(struct survey *survey, unsigned keyspace, unsigned half, unsigned number,
		    const ZSTD_CDict *cdict, uint64_t *raw_out, uint64_t *stored_out)
{
	static const unsigned halves = 2;
	uint8_t out[SAMPLE_SIZE_MAX];
	ZSTD_CCtx *encoder = dictionary_encoder(survey->kv);
	uint64_t raw = 0, stored = 0;
	unsigned i, seen = 0;

	for (i = 0; i < survey->count; i++) {
		const struct sample *sample = &survey->samples[i];
		uint64_t size = format_record_size(sample->key_size, sample->size), packed;

		if (sample->keyspace != keyspace || seen++ % halves != half)
			continue;
		packed = encoder ? compress_value(encoder, number, cdict,
						  survey->bytes + sample->offset, sample->size, out,
						  sample->size) :
				   0;
		raw += size;
		packed = packed ? format_record_size(sample->key_size, packed) : size;
		stored += packed < size ? packed : size;
	}
	*raw_out = raw;
	*stored_out = stored;
	return raw ? (double)stored / (double)raw : 1;
}

/* ---- training -------------------------------------------------------------------------------- */

/* A dictionary of the keyspace's other half: its size, or 0. */
static size_t train(struct survey *survey, unsigned keyspace, void *out)
{
	ZDICT_fastCover_params_t params = {.k = 128, .d = 8, .f = 18, .splitPoint = 1, .accel = 1,
					   .zParams = {.compressionLevel =
							       survey->kv->info.compress_level,
						       .dictID = 1u << 16}};
	size_t sizes[SAMPLES_MAX], capacity, used = 0, done;
	unsigned i, count = 0, seen = 0;
	uint8_t *bytes = malloc(survey->used);

	if (!bytes)
		return 0;
	for (i = 0; i < survey->count; i++) {
		const struct sample *sample = &survey->samples[i];

		if (sample->keyspace != keyspace || !(seen++ % 2))
			continue;
		memcpy(bytes + used, survey->bytes + sample->offset, sample->size);
		used += sample->size;
		sizes[count++] = sample->size;
	}
	capacity = used / SAMPLE_BYTES_PER_DICTIONARY_BYTE;
	if (capacity < DICTIONARY_SIZE_MIN)
		capacity = DICTIONARY_SIZE_MIN;
	if (capacity > DICTIONARY_SIZE_MAX)
		capacity = DICTIONARY_SIZE_MAX;
	done = ZDICT_trainFromBuffer_fastCover(out, capacity, bytes, sizes, count, params);
	free(bytes);
	return ZDICT_isError(done) ? 0 : done;
}

/* A new dictionary takes the place of what is chosen if it is better. True: it did */
static bool challenge(struct survey *survey, unsigned keyspace, double ratio)
{
	struct kv *kv = survey->kv;
	uint8_t *bytes = malloc(DICTIONARY_SIZE_MAX);
	size_t size = bytes ? train(survey, keyspace, bytes) : 0;
	ZSTD_CDict *cdict = size ? ZSTD_createCDict(bytes, size, kv->info.compress_level) : NULL;
	uint64_t raw, stored;
	bool better = false;

	if (cdict) {
		double challenger = judge(survey, keyspace, 0, 1, cdict, &raw, &stored);

		if (challenger < ratio * ADOPT_BELOW)
			survey->error = dictionary_add(kv, keyspace, bytes, size, challenger);
		better = challenger < ratio * ADOPT_BELOW && !survey->error;
	}
	ZSTD_freeCDict(cdict);
	free(bytes);
	return better;
}

static bool is_challenged(const struct dictionary_choice *choice, double ratio)
{
	if (!choice->number)
		return !choice->chosen || choice->surveys % HOPELESS_SURVEYS == 0;
	return ratio > choice->ratio * CHALLENGE_ABOVE;
}

static void survey_keyspace(struct survey *survey, unsigned keyspace)
{
	struct dictionary_choice *choice = dictionary_choice(survey->kv, keyspace);
	unsigned i, count = 0, bytes = 0;
	uint64_t raw, stored;
	double ratio;

	for (i = 0; i < survey->count; i++) {
		if (survey->samples[i].keyspace != keyspace)
			continue;
		count++;
		bytes += survey->samples[i].size;
	}
	if (!count || survey->error)
		return;
	ratio = judge(survey, keyspace, 0, choice->number, choice->cdict, &raw, &stored);
	/* How good a dictionary was that was found in the store is not known. */
	if (choice->number && choice->ratio == 0)
		choice->ratio = ratio;
	choice->surveys++;
	if (count >= SAMPLES_MIN && bytes >= SAMPLE_BYTES_MIN && is_challenged(choice, ratio)) {
		if (challenge(survey, keyspace, ratio))
			judge(survey, keyspace, 0, choice->number, choice->cdict, &raw, &stored);
		choice->chosen |= survey->error != -EAGAIN;
	}
	survey->raw_bytes += raw;
	survey->stored_bytes += stored;
}

/* Of all that would be rewritten. Half of the sample judges, so half of the others count. */
static int saved_permille(const struct survey *survey)
{
	uint64_t all = survey->raw_bytes + survey->settled_bytes / 2;

	return all ? (int)((survey->raw_bytes - survey->stored_bytes) * 1000 / all) : 0;
}

int survey_segment(struct kv *kv, const struct segment *segment)
{
	struct survey *survey = calloc(1, sizeof(*survey));
	unsigned keyspace;
	int saved = 0;

	if (!survey)
		return 0;
	survey->kv = kv;
	survey->bytes = malloc((size_t)SAMPLES_MAX * SAMPLE_SIZE_MAX);
	if (!survey->bytes)
		goto out;
	ask(kv, segment);
	take_samples(survey, segment);
	for (keyspace = 0; keyspace < FORMAT_KEYSPACE_ENGINE; keyspace++)
		survey_keyspace(survey, keyspace);
	saved = survey->error == -EAGAIN ? -EAGAIN : saved_permille(survey);
out:
	free(survey->bytes);
	free(survey);
	return saved;
}
