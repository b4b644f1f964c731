/* SPDX-License-Identifier: MIT */
/*
 * entry.c - the text that all values are pieces of: JSON records of made-up users, as a service
 * might keep them.
 *
 * It compresses about as such records do; the seed is fixed, so every run and every store has the
 * same.
 */
#include "entry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_SIZE (ENTRY_TEXT_SIZE + ENTRY_VALUE_SIZE_MAX)

const char *entry_text;

static const char *const first_names[] = {
	"ada",
	"alan",
	"barbara",
	"claude",
	"donald",
	"edsger",
	"frances",
	"grace",
	"john",
	"katherine",
	"leslie",
	"margaret",
	"niklaus",
	"radia",
	"robin",
	"tony",
};
static const char *const last_names[] = {
	"allen",
	"backus",
	"dijkstra",
	"hamilton",
	"hoare",
	"hopper",
	"johnson",
	"knuth",
	"lamport",
	"liskov",
	"lovelace",
	"milner",
	"perlman",
	"shannon",
	"turing",
	"wirth",
};
static const char *const cities[] = {
	"Athens",
	"Berlin",
	"Cairo",
	"Delhi",
	"Geneva",
	"Hanoi",
	"Lima",
	"London",
	"Madrid",
	"Nairobi",
	"Oslo",
	"Paris",
	"Quito",
	"Rome",
	"Seoul",
	"Tokyo",
};

static const char *one_of(const char *const names[16], uint64_t *state)
{
	return names[entry_pick(state, 16)];
}

static int text_record(char *out, size_t size, uint64_t number, uint64_t *state)
{
	const char *first = one_of(first_names, state), *last = one_of(last_names, state);

	return snprintf(out, size,
		"{\"id\":%llu,\"name\":\"%s "
		"%s\",\"email\":\"%s.%s%llu@example.org\",\"city\":\"%s\","
		"\"active\":%s,\"balance\":%llu.%02llu,\"token\":\"%016llx\",\"visits\":%llu,"
		"\"seen\":\"2024-%02llu-%02lluT%02llu:%02llu:00Z\"}\n",
		(unsigned long long)number, first, last, first, last,
		(unsigned long long)entry_pick(state, 100), one_of(cities, state),
		entry_pick(state, 4) ? "true" : "false",
		(unsigned long long)entry_pick(state, 10000),
		(unsigned long long)entry_pick(state, 100), (unsigned long long)entry_random(state),
		(unsigned long long)entry_pick(state, 1000),
		1 + (unsigned long long)entry_pick(state, 12),
		1 + (unsigned long long)entry_pick(state, 28),
		(unsigned long long)entry_pick(state, 24),
		(unsigned long long)entry_pick(state, 60));
}

int entry_init(void)
{
	char record[512];
	uint64_t state = 1, number = 100000;
	size_t at = 0;
	char *text = malloc(TEXT_SIZE);

	if (!text)
		return -ENOMEM;
	while (at < TEXT_SIZE) {
		size_t size = (size_t)text_record(record, sizeof(record), number++, &state);

		if (size > TEXT_SIZE - at)
			size = TEXT_SIZE - at;
		memcpy(text + at, record, size);
		at += size;
	}
	entry_text = text;
	return 0;
}
