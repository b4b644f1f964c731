/* SPDX-License-Identifier: MIT */
/* check_large.c - see check_large.h. */
#include "check_large.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "large.h"

struct check_header {
	uint64_t id;
	uint64_t address; /* of the record */
	uint64_t found;	  /* pieces that it names and that are there */
	bool valid;
};

struct compare {
	struct check_large *large;
	struct kv *kv;
	void (*finding)(void *arg, const char *message);
	void *arg;
};

int check_large_add(struct check_large *large, const struct format_record *record, uint64_t address)
{
	struct check_header *header;
	struct large_header decoded = {.id = 0};

	if (large->count == large->capacity) {
		size_t capacity = large->capacity * 2 + 16;
		struct check_header *headers =
			realloc(large->headers, capacity * sizeof(*headers));

		if (!headers)
			return -ENOMEM;
		large->headers = headers;
		large->capacity = capacity;
	}
	header = &large->headers[large->count++];
	header->valid = !large_header_decode(format_record_value(record), record->value_size,
					     &decoded);
	header->id = decoded.id;
	header->address = address;
	header->found = 0;
	return 0;
}

void check_large_fini(struct check_large *large)
{
	free(large->headers);
}

static int by_id(const void *a, const void *b)
{
	const struct check_header *left = a, *right = b;

	return left->id < right->id ? -1 : left->id > right->id;
}

/* What the header's record says; it was decoded once already. */
static bool decode(const struct compare *compare, const struct check_header *header,
		   struct large_header *out)
{
	const struct format_record *record =
		segments_record(&compare->kv->segments, header->address);

	return header->valid && record &&
	       !large_header_decode(format_record_value(record), record->value_size, out);
}

static const struct format_record *intent_of(const struct compare *compare, uint64_t id)
{
	uint8_t key[LARGE_INTENT_KEY_SIZE];
	uint64_t address;

	large_intent_key(id, key);
	return order_get(compare->kv->order_of[LARGE_KEYSPACE], key, sizeof(key), &address) ?
		       NULL :
		       segments_record(&compare->kv->segments, address);
}

/* Not only what a header does not name. */
static bool is_condemned(const struct compare *compare, uint64_t id)
{
	const struct format_record *intent = intent_of(compare, id);

	return intent && !intent->value_size;
}

static uint64_t seq_of(const struct compare *compare, const void *key, size_t size)
{
	const struct format_record *record;
	uint64_t address;

	if (order_get(compare->kv->order_of[LARGE_KEYSPACE], key, size, &address))
		return 0;
	record = segments_record(&compare->kv->segments, address);
	return record ? record->seq : 0;
}

static void compare_piece(struct compare *compare, uint64_t id, uint32_t piece, uint64_t seq)
{
	struct check_header wanted = {.id = id}, *header;
	struct large_header decoded;
	char text[128];

	header = compare->large->count ? bsearch(&wanted, compare->large->headers,
						 compare->large->count, sizeof(wanted), by_id) :
					 NULL;
	if (header && decode(compare, header, &decoded) && large_header_has(&decoded, piece)) {
		header->found++;
		if (seq <= segments_record(&compare->kv->segments, header->address)->seq)
			return;
		snprintf(text, sizeof(text),
			 "piece %u of large value %016llx is newer than its header", piece,
			 (unsigned long long)id);
		compare->finding(compare->arg, text);
		return;
	}
	if (intent_of(compare, id))
		return;
	snprintf(text, sizeof(text), "piece %u of large value %016llx belongs to no header", piece,
		 (unsigned long long)id);
	compare->finding(compare->arg, text);
}

static int compare_pieces(struct compare *compare)
{
	struct order_walk *walk;
	int error = order_walk_new(compare->kv->order_of[LARGE_KEYSPACE], &walk);

	if (error)
		return error;
	for (error = order_walk_first(walk); !error; error = order_walk_next(walk)) {
		size_t size;
		const void *key = order_walk_key(walk, &size);
		uint64_t id;
		uint32_t piece;

		if (large_piece_decode(key, size, &id, &piece))
			compare_piece(compare, id, piece, seq_of(compare, key, size));
		else if (!large_intent_decode(key, size, &id))
			compare->finding(compare->arg,
					 "a key among the pieces of large values is none of them");
	}
	order_walk_free(walk);
	return error == -ENOENT ? 0 : error;
}

static void compare_headers(struct compare *compare)
{
	struct check_large *large = compare->large;
	char text[160];
	size_t i;

	for (i = 0; i < large->count; i++) {
		const struct check_header *header = &large->headers[i];
		struct large_header decoded;

		if (!decode(compare, header, &decoded)) {
			compare->finding(compare->arg,
					 "the header of a large value holds impossible values");
			continue;
		}
		if (i && large->headers[i - 1].valid && large->headers[i - 1].id == header->id)
			compare->finding(compare->arg, "two large values have the same id");
		if (is_condemned(compare, decoded.id)) {
			snprintf(text, sizeof(text),
				 "large value %016llx is there, and its pieces are to be freed",
				 (unsigned long long)decoded.id);
			compare->finding(compare->arg, text);
		}
		if (large_header_count(&decoded) == header->found)
			continue;
		snprintf(text, sizeof(text),
			 "large value %016llx of %llu bytes: %llu of %llu pieces are there",
			 (unsigned long long)decoded.id, (unsigned long long)decoded.size,
			 (unsigned long long)header->found,
			 (unsigned long long)large_header_count(&decoded));
		compare->finding(compare->arg, text);
	}
}

int check_large_compare(struct check_large *large, struct kv *kv,
			void (*finding)(void *arg, const char *message), void *arg)
{
	struct compare compare = {large, kv, finding, arg};
	int error;

	if (large->count)
		qsort(large->headers, large->count, sizeof(*large->headers), by_id);
	error = compare_pieces(&compare);
	if (!error)
		compare_headers(&compare);
	return error;
}
