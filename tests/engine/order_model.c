/* SPDX-License-Identifier: MIT */
/* order_model.c - see order_model.h. */
#include "order_model.h"

#include <errno.h>

uint8_t key[ORDER_KEY_SIZE_MAX + 1];

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

size_t model_find(const struct model *model, const void *bytes, size_t size, bool *exact)
{
	size_t low = 0, high = model->count;

	*exact = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct entry *entry = &model->entries[middle];
		int order = compare(entry->key, entry->size, bytes, size);

		if (!order) {
			*exact = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void model_insert(
	struct model *model, size_t at, const void *bytes, size_t size, uint64_t address)
{
	struct entry entry = {malloc(size), size, address};

	memcpy(entry.key, bytes, size);
	if (model->count == model->room) {
		model->room = model->room ? 2 * model->room : 64;
		model->entries = realloc(model->entries, model->room * sizeof(entry));
	}
	memmove(model->entries + at + 1, model->entries + at,
		(model->count++ - at) * sizeof(entry));
	model->entries[at] = entry;
}

void model_remove(struct model *model, size_t at)
{
	free(model->entries[at].key);
	memmove(model->entries + at, model->entries + at + 1,
		(--model->count - at) * sizeof(struct entry));
}

void model_fini(struct model *model)
{
	while (model->count)
		model_remove(model, model->count - 1);
	free(model->entries);
}

/* ---- keys ---------------------------------------------------------------------------------- */

size_t make_key(enum shape shape)
{
	static const uint8_t letters[] = {0, 1, 'a', 'b', 254, 255};
	size_t size = 0;

	switch (shape) {
	case SHORT:
		size = 1 + below(5);
		for (size_t i = 0; i < size; i++)
			key[i] = letters[below(sizeof(letters))];
		return size;
	case BINARY:
		for (size = 0; size < 16; size++)
			key[size] = (uint8_t)below(256);
		return size;
	case DECIMAL:
		return (size_t)sprintf((char *)key, "%016u", below(20000));
	case SHARED: /* all share 200 bytes */
		memset(key, 'p', 200);
		for (size = 200; size < 203 + below(40); size++)
			key[size] = (uint8_t)('a' + below(26));
		return size;
	case STAIRS: /* each shares another length with the next */
		size = below(300);
		memset(key, 'a', size);
		key[size++] = (uint8_t)('a' + below(3));
		key[size++] = (uint8_t)below(30);
		return size;
	case LONG:
		size = below(8) ? 254 + below(800) : 60000 + below(5536);
		memset(key, 'l', size);
		key[size - 1] = (uint8_t)below(200);
		if (below(2))
			key[below((unsigned)size)] = (uint8_t)below(200);
		return size;
	case NAMES: /* eight bytes of directory, then a name */
		memset(key, 0, 8);
		key[7] = (uint8_t)below(20);
		return 8 + (size_t)sprintf((char *)key + 8, "file-%u.txt", below(1000));
	default:
		size = 1 + below(280);
		memset(key, 0, size);
		if (below(4) == 0)
			key[size - 1] = 1;
		return size;
	}
}

/* ---- steps --------------------------------------------------------------------------------- */

void step_put(struct order *order, struct model *model, size_t size)
{
	uint64_t address = random_next(&state) & ORDER_ADDRESS_MAX;
	bool exact;
	size_t at = model_find(model, key, size, &exact);

	CHECK(!order_put(order, key, size, address));
	if (exact)
		model->entries[at].address = address;
	else
		model_insert(model, at, key, size, address);
}

void step_delete(struct order *order, struct model *model, size_t size)
{
	bool exact;
	size_t at = model_find(model, key, size, &exact);

	if (!exact && model->count && below(4)) { /* mostly one that is there */
		at = at < model->count ? at : at - 1;
		size = model->entries[at].size;
		memcpy(key, model->entries[at].key, size);
		exact = true;
	}
	CHECK(order_delete(order, key, size) == (exact ? 0 : -ENOENT));
	if (exact)
		model_remove(model, at);
}

/* ---- comparing ----------------------------------------------------------------------------- */

void compare_walk(
	const struct model *model, size_t at, int ret, const struct order_walk *walk)
{
	size_t size;
	const void *here = order_walk_key(walk, &size);

	if (at >= model->count) {
		CHECK(ret == -ENOENT && !here);
		return;
	}
	CHECK(ret == 0);
	CHECK(size == model->entries[at].size);
	CHECK(!memcmp(here, model->entries[at].key, size));
	CHECK(order_walk_address(walk) == model->entries[at].address);
}

#define TAKE_MAX 40u

size_t compare_take(struct order_walk *walk, const struct model *model, size_t at)
{
	static uint8_t keys[16384];
	size_t room = below(sizeof(keys)), starts[TAKE_MAX + 1] = {below(100)}, size;
	uint64_t addresses[TAKE_MAX];
	size_t count = order_walk_take(walk, 1 + below(TAKE_MAX), keys, room, starts, addresses);
	const void *last = order_walk_key(walk, &size);

	CHECK(count <= model->count - at);
	for (size_t i = 0; i < count; i++) {
		const struct entry *entry = &model->entries[at + i];

		CHECK(starts[i + 1] <= room && starts[i + 1] - starts[i] == entry->size);
		CHECK(!memcmp(keys + starts[i], entry->key, entry->size));
		CHECK(addresses[i] == entry->address);
	}
	if (count) {
		CHECK(size == model->entries[at + count - 1].size);
		CHECK(!memcmp(last, model->entries[at + count - 1].key, size));
		CHECK(order_walk_address(walk) == addresses[count - 1]);
	}
	return count;
}

/*
 * All of it, in portions; a key is left to the next step only if it is long, or there is no room.
 */
static void compare_takes(struct order *order, const struct model *model)
{
	size_t at = 0, taken = 0;
	struct order_walk *walk;
	int ret;

	CHECK(!order_walk_new(order, &walk));
	for (ret = order_walk_first(walk); !ret; ret = order_walk_next(walk)) {
		size_t count = compare_take(walk, model, at);

		taken += count;
		at += count ? count : 1;
	}
	CHECK(ret == -ENOENT && at == model->count);
	CHECK(taken || model->count < 100 || model->entries[model->count / 2].size > 253);
	CHECK(!compare_take(walk, model, at));
	order_walk_free(walk);
}

void compare_all(struct order *order, const struct model *model)
{
	struct order_walk *walk;
	int ret;

	CHECK(!order_verify(order, complain, NULL));
	CHECK(order_count(order) == model->count);
	CHECK(!order_walk_new(order, &walk));
	ret = order_walk_first(walk);
	for (size_t i = 0; i < model->count; i++, ret = order_walk_next(walk))
		compare_walk(model, i, ret, walk);
	CHECK(ret == -ENOENT && order_walk_next(walk) == -ENOENT);
	ret = order_walk_last(walk);
	for (size_t i = model->count; i-- > 0; ret = order_walk_prev(walk))
		compare_walk(model, i, ret, walk);
	CHECK(ret == -ENOENT && order_walk_prev(walk) == -ENOENT);
	order_walk_free(walk);
	compare_takes(order, model);
}
