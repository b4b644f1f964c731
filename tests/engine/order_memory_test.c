/* SPDX-License-Identifier: MIT */
/*
 * order_memory_test.c - what memory the ordered index takes, after loads and after mass deletes,
 * and what it does where there is none.
 */
#include <errno.h>

#include "order_model.h"

/* ---- density ------------------------------------------------------------------------------- */

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
		cmocka_unit_test(test_density),
		cmocka_unit_test(test_decay),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_reserve),
	};

	seed_take();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
