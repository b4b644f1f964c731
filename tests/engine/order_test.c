/* SPDX-License-Identifier: MIT */
/*
 * order_test.c - the ordered index against a sorted array, in one thread: order_readers_test.c has
 * those who read beside a writer, order_memory_test.c the memory that it takes, or does not get.
 */
#include <errno.h>

#include "order_model.h"

/* ---- against the model -------------------------------------------------------------------- */

static void compare_reads(struct order *order, const struct model *model, size_t size)
{
	struct order_walk *walk;
	bool exact;
	size_t at = model_find(model, key, size, &exact), to;
	uint64_t address = 0;

	CHECK(order_get(order, key, size, &address) == (exact ? 0 : -ENOENT));
	CHECK(!exact || address == model->entries[at].address);
	CHECK(!order_walk_new(order, &walk));
	compare_walk(model, at, order_walk_at_least(walk, key, size), walk);
	compare_walk(model, at + exact, order_walk_above(walk, key, size), walk);
	compare_walk(model, at ? at - 1 : SIZE_MAX, order_walk_below(walk, key, size), walk);
	compare_walk(model, 0, order_walk_first(walk), walk);
	compare_walk(model, model->count - 1, order_walk_last(walk), walk);
	CHECK(order_rank(order, key, size) == at);
	to = at + below((unsigned)(model->count - at + 1));
	compare_walk(model, to, order_walk_select(walk, to), walk);
	order_walk_free(walk);
	if (to < model->count)
		CHECK(order_count_range(order, key, size, model->entries[to].key,
			      model->entries[to].size) == to - at);
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
	compare_walk(model, at, ret, walk);
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
	struct order_walk *walk;
	struct order *order;
	uint64_t address;
	const void *last;
	size_t last_size;

	CHECK(!order_new(&order));
	CHECK(!order_walk_new(order, &walk));
	CHECK(order_walk_first(walk) == -ENOENT);
	CHECK(order_walk_last(walk) == -ENOENT);
	CHECK(order_walk_select(walk, 0) == -ENOENT);
	CHECK(order_delete(order, "a", 1) == -ENOENT);
	CHECK(order_put(order, "", 0, 1) == -EINVAL);
	CHECK(order_put(order, key, ORDER_KEY_SIZE_MAX + 1, 1) == -EINVAL);
	CHECK(order_put(order, "a", 1, ORDER_ADDRESS_MAX + 1) == -EINVAL);
	CHECK(order_count(order) == 0);
	memset(key, 0xff, sizeof(key));
	for (size_t size = ORDER_KEY_SIZE_MAX; size > ORDER_KEY_SIZE_MAX - 300; size--)
		CHECK(!order_put(order, key, size, ORDER_ADDRESS_MAX - size));
	CHECK(!order_verify(order, complain, NULL));
	CHECK(!order_walk_last(walk));
	last = order_walk_key(walk, &last_size);
	CHECK(last_size == ORDER_KEY_SIZE_MAX && !memcmp(last, key, last_size));
	for (size_t size = ORDER_KEY_SIZE_MAX; size > ORDER_KEY_SIZE_MAX - 300; size--) {
		CHECK(!order_get(order, key, size, &address));
		CHECK(address == ORDER_ADDRESS_MAX - size);
		CHECK(order_rank(order, key, size) == size - (ORDER_KEY_SIZE_MAX - 299));
	}
	order_walk_free(walk);
	order_free(order);
	order_free(NULL);
	order_walk_free(NULL);
}

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

/*
 * A longer prefix makes a page of long keys larger, not smaller: a leaf that is full of them keeps
 * its short one when a key comes that it cannot share with.
 */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_small_steps),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_long_prefix),
	};

	seed_take();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
