/* SPDX-License-Identifier: MIT */
/*
 * order_test.c - the ordered index against a sorted array, without memory, and after mass deletes. All of it in
 * one thread: order_readers_test.c has those who read beside a writer.
 *
 * Random steps come from a seed that is printed; KVFS_TEST_SEED repeats it. KVFS_TEST_QUICK takes fewer.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "order_node.h"
#include "order_seed.h"

/* ---- the model: a sorted array ------------------------------------------------------------ */

struct entry {
	uint8_t *key;
	size_t size;
	uint64_t address;
};

struct model {
	struct entry *entries;
	size_t count, room;
};

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

static size_t model_find(const struct model *model, const void *key, size_t size, bool *exact)
{
	size_t low = 0, high = model->count;

	*exact = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct entry *entry = &model->entries[middle];
		int order = compare(entry->key, entry->size, key, size);

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

static void model_insert(
	struct model *model, size_t at, const void *key, size_t size, uint64_t address)
{
	struct entry entry = {malloc(size), size, address};

	memcpy(entry.key, key, size);
	if (model->count == model->room) {
		model->room = model->room ? 2 * model->room : 64;
		model->entries = realloc(model->entries, model->room * sizeof(entry));
	}
	memmove(model->entries + at + 1, model->entries + at,
		(model->count++ - at) * sizeof(entry));
	model->entries[at] = entry;
}

static void model_remove(struct model *model, size_t at)
{
	free(model->entries[at].key);
	memmove(model->entries + at, model->entries + at + 1,
		(--model->count - at) * sizeof(struct entry));
}

static void model_fini(struct model *model)
{
	while (model->count)
		model_remove(model, model->count - 1);
	free(model->entries);
}

/* ---- keys of many shapes ------------------------------------------------------------------ */

enum shape { SHORT, BINARY, DECIMAL, SHARED, STAIRS, LONG, NAMES, ZEROS, SHAPES };

static uint8_t key[ORDER_KEY_SIZE_MAX + 1], found[ORDER_KEY_SIZE_MAX + 1];

static size_t make_key(enum shape shape)
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

/* ---- against the model -------------------------------------------------------------------- */

static void expect(const struct model *model, size_t at, int ret, const struct order_entry *entry)
{
	if (at >= model->count) {
		CHECK(ret == -ENOENT);
		return;
	}
	CHECK(ret == 0);
	CHECK(entry->key_size == model->entries[at].size);
	CHECK(!memcmp(found, model->entries[at].key, entry->key_size));
	CHECK(entry->address == model->entries[at].address);
}

static void compare_reads(struct order *order, const struct model *model, size_t size)
{
	struct order_entry entry = {0};
	bool exact;
	size_t at = model_find(model, key, size, &exact), to;
	uint64_t address = 0;

	CHECK(order_get(order, key, size, &address) == (exact ? 0 : -ENOENT));
	CHECK(!exact || address == model->entries[at].address);
	expect(model, at, order_at_least(order, key, size, found, &entry), &entry);
	expect(model, at + exact, order_above(order, key, size, found, &entry), &entry);
	expect(model, at ? at - 1 : SIZE_MAX, order_below(order, key, size, found, &entry), &entry);
	expect(model, 0, order_first(order, found, &entry), &entry);
	expect(model, model->count - 1, order_last(order, found, &entry), &entry);
	CHECK(order_rank(order, key, size) == at);
	to = at + below((unsigned)(model->count - at + 1));
	expect(model, to, order_select(order, to, found, &entry), &entry);
	if (to < model->count)
		CHECK(order_count_range(order, key, size, model->entries[to].key,
			      model->entries[to].size) == to - at);
}

#define TAKE_MAX 40u

/*
 * What a walk takes at once is what the model has from `at` on, in whatever room there is, and the
 * walk stands on the last of it. Returns how many.
 */
static size_t compare_take(struct order_walk *walk, const struct model *model, size_t at)
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

/* All of it, in portions; a key is left to the next step only if it is long, or there is no room. */
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

static void compare_all(struct order *order, const struct model *model)
{
	struct order_walk *walk;
	size_t size;
	int ret;

	CHECK(!order_verify(order, complain, NULL));
	CHECK(order_count(order) == model->count);
	CHECK(!order_walk_new(order, &walk));
	ret = order_walk_first(walk);
	for (size_t i = 0; i < model->count; i++, ret = order_walk_next(walk)) {
		const void *at = order_walk_key(walk, &size);

		CHECK(ret == 0);
		CHECK(size == model->entries[i].size);
		CHECK(!memcmp(at, model->entries[i].key, size));
		CHECK(order_walk_address(walk) == model->entries[i].address);
	}
	CHECK(ret == -ENOENT && order_walk_next(walk) == -ENOENT);
	ret = order_walk_last(walk);
	for (size_t i = model->count; i-- > 0; ret = order_walk_prev(walk)) {
		const void *at = order_walk_key(walk, &size);

		CHECK(ret == 0);
		CHECK(size == model->entries[i].size);
		CHECK(!memcmp(at, model->entries[i].key, size));
	}
	CHECK(ret == -ENOENT && order_walk_prev(walk) == -ENOENT);
	order_walk_free(walk);
	compare_takes(order, model);
}

static void step_put(struct order *order, struct model *model, size_t size)
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

static void step_delete(struct order *order, struct model *model, size_t size)
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

static void step_set(struct order *order, struct model *model, size_t size)
{
	bool exact;
	size_t at = model_find(model, key, size, &exact);
	uint64_t old = exact ? model->entries[at].address : 5;

	CHECK(order_set_address(order, key, size, old ^ 1, 7) == (exact ? -ESTALE : -ENOENT));
	CHECK(order_set_address(order, key, size, old, 9) == (exact ? 0 : -ENOENT));
	if (exact)
		model->entries[at].address = 9;
}

/* A walk goes on to the nearest key although the tree changes under it. */
static void step_walk(struct order_walk *walk, const struct model *model)
{
	size_t size, at, count;
	const void *here = order_walk_key(walk, &size);
	bool forward = below(2), exact;
	struct order_entry entry;
	int ret;

	if (!here) {
		ret = order_walk_select(walk, below((unsigned)model->count + 1));
		CHECK(ret == 0 || ret == -ENOENT);
		return;
	}
	at = model_find(model, here, size, &exact);
	/* What is taken is what there is: nothing, if the leaf has changed since. */
	if (exact && below(4) == 0 && (count = compare_take(walk, model, at)))
		at += count - 1;
	else if (!exact)
		CHECK(!compare_take(walk, model, at));
	if (forward)
		at += exact;
	else
		at = at ? at - 1 : SIZE_MAX;
	ret = forward ? order_walk_next(walk) : order_walk_prev(walk);
	here = order_walk_key(walk, &entry.key_size);
	if (here)
		memcpy(found, here, entry.key_size);
	entry.address = order_walk_address(walk);
	expect(model, at, ret, &entry);
}

static void run_steps(unsigned shapes, unsigned steps, unsigned verify_every)
{
	struct model model = {0};
	struct order_walk *walk;
	struct order *order;

	CHECK(!order_new(&order));
	CHECK(!order_walk_new(order, &walk));
	if (getenv("KVFS_TEST_QUICK") && steps > 1000)
		steps /= 4;
	for (unsigned step = 0; step < steps; step++) {
		/* grows in the first half and shrinks in the second, to nothing */
		unsigned deletes = step < steps / 2 ? 2 : 9, action = below(12);
		enum shape shape = below(SHAPES);
		size_t size;

		while (!(shapes >> shape & 1))
			shape = (shape + 1) % SHAPES;
		size = make_key(shape);
		if (action < deletes)
			step_delete(order, &model, size);
		else if (action < 11)
			step_put(order, &model, size);
		else
			step_set(order, &model, size);
		step_walk(walk, &model);
		if (step % 16 == 0) {
			size = make_key(shape);
			compare_reads(order, &model, size);
		}
		if (step % verify_every == 0)
			compare_all(order, &model);
	}
	compare_all(order, &model);
	while (model.count) {
		size_t at = below((unsigned)model.count);

		CHECK(!order_delete(order, model.entries[at].key, model.entries[at].size));
		model_remove(&model, at);
		if (model.count % verify_every == 0)
			compare_all(order, &model);
	}
	compare_all(order, &model);
	CHECK(order->depth == 0);
	order_walk_free(walk);
	order_free(order);
	model_fini(&model);
}

static void test_shapes(void **unused)
{
	for (unsigned shape = 0; shape < SHAPES; shape++)
		run_steps(1u << shape, shape == LONG ? 3000 : 20000, 1000);
}

static void test_mixed(void **unused)
{
	run_steps((1u << SHAPES) - 1, 40000, 2000);
	run_steps(1u << SHORT | 1u << STAIRS | 1u << ZEROS, 20000, 500);
	run_steps(1u << SHARED | 1u << LONG | 1u << STAIRS, 10000, 500);
}

static void test_small_steps(void **unused)
{
	for (unsigned i = 0; i < 20; i++)
		run_steps(1u + below((1u << SHAPES) - 1), 300, 1);
}

/* ---- single properties -------------------------------------------------------------------- */

static void test_limits(void **unused)
{
	struct order_entry entry;
	struct order *order;
	uint64_t address;

	CHECK(!order_new(&order));
	CHECK(order_first(order, found, &entry) == -ENOENT);
	CHECK(order_last(order, found, &entry) == -ENOENT);
	CHECK(order_select(order, 0, found, &entry) == -ENOENT);
	CHECK(order_delete(order, "a", 1) == -ENOENT);
	CHECK(order_put(order, "", 0, 1) == -EINVAL);
	CHECK(order_put(order, key, ORDER_KEY_SIZE_MAX + 1, 1) == -EINVAL);
	CHECK(order_put(order, "a", 1, ORDER_ADDRESS_MAX + 1) == -EINVAL);
	CHECK(order_count(order) == 0);
	memset(key, 0xff, sizeof(key));
	for (size_t size = ORDER_KEY_SIZE_MAX; size > ORDER_KEY_SIZE_MAX - 300; size--)
		CHECK(!order_put(order, key, size, ORDER_ADDRESS_MAX - size));
	CHECK(!order_verify(order, complain, NULL));
	CHECK(!order_last(order, found, &entry));
	CHECK(entry.key_size == ORDER_KEY_SIZE_MAX && !memcmp(found, key, entry.key_size));
	for (size_t size = ORDER_KEY_SIZE_MAX; size > ORDER_KEY_SIZE_MAX - 300; size--) {
		CHECK(!order_get(order, key, size, &address));
		CHECK(address == ORDER_ADDRESS_MAX - size);
		CHECK(order_rank(order, key, size) == size - (ORDER_KEY_SIZE_MAX - 299));
	}
	order_free(order);
	order_free(NULL);
	order_walk_free(NULL);
}

/*
 * A longer prefix makes a page of long keys larger, not smaller: a leaf that is full of them keeps
 * its short one when a key comes that it cannot share with.
 */
/* The first bytes that the key has, and zeros. */
static void test_heads(void **unused)
{
	static const uint8_t bytes[] = {0xff, 0, 0x7f, 0x80, 1, 0xfe, 0x55, 0xaa, 3};

	for (size_t size = 0; size <= sizeof(bytes); size++) {
		_Alignas(8) uint8_t head[8] = {0};
		uint8_t *copy = malloc(size + 1);

		memcpy(copy + 1, bytes, size);
		memcpy(head + 2, bytes, size < ORDER_HEAD_SIZE ? size : ORDER_HEAD_SIZE);
		CHECK(order_head(copy + 1, size) == be64toh(*(uint64_t *)(void *)head));
		free(copy);
	}
}

static void test_long_prefix(void **unused)
{
	struct order *order;
	unsigned room = UINT32_MAX;

	CHECK(!order_new(&order));
	CHECK(!order_put(order, "lz", 2, 1));
	memset(key, 'l', 300);
	for (unsigned i = 0; i < 100000 && (order->last->prefix_size != 1 || room > 60); i++) {
		uint64_t number = htobe64(random_next(&state));

		memcpy(key + 300, &number, 8);
		CHECK(!order_put(order, key, 308, i));
		room = ORDER_NODE_SIZE - 48 - order_page_used(order->last);
	}
	CHECK(order->last->prefix_size == 1 && room <= 60);
	CHECK(!order_delete(order, "lz", 2));
	memset(key, 'm', 120);
	CHECK(!order_put(order, key, 120, 2));
	CHECK(!order_verify(order, complain, NULL));
	CHECK(order->last->count == 1);
	order_free(order);
}

static void number_key(uint64_t number)
{
	uint64_t big = htobe64(number * UINT64_C(0x9e3779b97f4a7c15));

	number = htobe64(number);
	memcpy(key, &big, 8);
	memcpy(key + 8, &number, 8);
}

/* Bytes of memory a key, after `count` keys arrived in some order. */
static double density(unsigned count, int kind)
{
	struct order *order;
	double bytes;
	size_t size = 16;

	CHECK(!order_new(&order));
	for (unsigned i = 0; i < count; i++) {
		if (kind == 'r')
			number_key(i);
		else
			size = (size_t)sprintf((char *)key, "%016u", kind == 'a' ? i : count - i);
		CHECK(!order_put(order, key, size, i));
	}
	CHECK(!order_verify(order, complain, NULL));
	bytes = (double)(order_memory(order) - sizeof(*order) - sizeof(*order->scratch)) / count;
	order_free(order);
	return bytes;
}

static void test_density(void **unused)
{
	double ascending = density(200000, 'a'), descending = density(200000, 'd');
	double random = density(200000, 'r');

	print_message("bytes a key: %.1f ascending, %.1f descending, %.1f random\n", ascending,
		descending, random);
	CHECK(ascending < 20 && descending < 20 && random < 31);
}

static void test_decay(void **unused)
{
	const unsigned count = 200000;
	uint64_t full, decayed;
	struct order *order;

	CHECK(!order_new(&order));
	for (unsigned i = 0; i < count; i++) {
		number_key(i);
		CHECK(!order_put(order, key, 16, i));
	}
	full = order_memory(order) - order->pool.available * ORDER_NODE_SIZE;
	for (unsigned i = 0; i < count; i++) {
		number_key(i);
		if (i % 20)
			CHECK(!order_delete(order, key, 16));
	}
	CHECK(!order_verify(order, complain, NULL));
	CHECK(order_count(order) == count / 20);
	{
		uint64_t leaves = 0;

		for (struct order_node *leaf = order->first; leaf; leaf = leaf->next)
			leaves++;
		decayed = leaves * ORDER_NODE_SIZE;
	}
	CHECK(decayed * 20 < full * 3); /* a twentieth of the keys: leaves at least a third full */
	for (unsigned i = 0; i < count; i += 20) {
		number_key(i);
		CHECK(!order_delete(order, key, 16));
	}
	CHECK(!order_verify(order, complain, NULL));
	CHECK(order->first == order->last && order->depth == 0);
	CHECK(order_memory(order) < ((uint64_t)5 << 20)); /* one chunk in use, one kept */
	order_free(order);
}

/* ---- without memory ----------------------------------------------------------------------- */

static unsigned allocations_left;

static void *scarce_alloc(size_t size)
{
	return allocations_left && allocations_left-- ? malloc(size) : NULL;
}

static void *(*real_map)(size_t size);

static void *scarce_map(size_t size)
{
	return allocations_left && allocations_left-- ? real_map(size) : NULL;
}

static void make_scarce(struct order *order)
{
	real_map = order->pool.map;
	order->pool.map = scarce_map;
	order->pool.alloc = scarce_alloc;
}

static void test_no_memory(void **unused)
{
	struct model model = {0};
	struct order *order;
	unsigned failures = 0;

	CHECK(!order_new(&order));
	make_scarce(order);
	for (unsigned step = 0; step < 30000; step++) {
		size_t size = make_key(below(3) ? BINARY : below(2) ? LONG : SHARED), at;
		uint64_t address;
		bool exact;
		int ret;

		allocations_left = below(40) ? 1 : 0;
		ret = order_put(order, key, size, step);
		at = model_find(&model, key, size, &exact);
		if (ret) {
			CHECK(ret == -ENOMEM && !exact);
			CHECK(order_get(order, key, size, &address) == -ENOENT);
			failures++;
		} else if (exact) {
			model.entries[at].address = step;
		} else {
			model_insert(&model, at, key, size, step);
		}
		if (step % 2000 == 0)
			compare_all(order, &model);
	}
	CHECK(failures > 0);
	compare_all(order, &model);
	order_free(order);
	model_fini(&model);
}

/* What was reserved can be put without any memory. */
static void test_reserve(void **unused)
{
	struct model model = {0};
	struct order *order;

	CHECK(!order_new(&order));
	make_scarce(order);
	for (unsigned round = 0; round < 60; round++) {
		enum { BATCH = 300 };
		static uint8_t *keys[BATCH];
		static size_t sizes[BATCH];
		size_t count = 1 + below(BATCH), bytes = 0;

		for (size_t i = 0; i < count; i++) {
			bytes += sizes[i] = make_key(below(SHAPES));
			keys[i] = malloc(sizes[i]);
			memcpy(keys[i], key, sizes[i]);
		}
		allocations_left = 0;
		if (round == 0)
			CHECK(order_reserve(order, count + 100, bytes + 70000) == -ENOMEM);
		allocations_left = UINT32_MAX;
		CHECK(!order_reserve(order, count, bytes));
		allocations_left = 0;
		for (size_t i = 0; i < count; i++) {
			memcpy(key, keys[i], sizes[i]);
			step_put(order, &model, sizes[i]);
			free(keys[i]);
		}
		compare_all(order, &model);
		while (model.count > 4000 || (round % 8 == 7 && model.count > 100))
			step_delete(order, &model, make_key(below(SHAPES)));
	}
	CHECK(order_reserve(order, SIZE_MAX / 2, 1) == -ENOMEM);
	compare_all(order, &model);
	order_free(order);
	model_fini(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_small_steps),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_long_prefix),
		cmocka_unit_test(test_density),
		cmocka_unit_test(test_decay),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_reserve),
	};

	seed_take();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
