/* SPDX-License-Identifier: MIT */
/*
 * order_readers_test.c - walks over the ordered index while it changes: by the one who walks, and
 * by a writer beside readers.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <time.h>

#include "order_node.h"
#include "order_seed.h"

/*
 * Even numbers stay, odd ones come and go, by one writer. A reader must meet the numbers in order,
 * every even one among them, and each with an address that belongs to it.
 */
#define NUMBERS 3000u
#define LONG_EVERY 50u /* one number in so many has a key that is not in its node */

struct arena {
	struct order *order;
	_Atomic bool stop;
	_Atomic uint64_t walks;
	uint64_t seed;
};

static size_t concurrent_key(uint8_t *out, unsigned number)
{
	size_t size = (size_t)sprintf((char *)out, "/shared/prefix/%08u", number);

	if (number % LONG_EVERY < 2) {
		memset(out + size, 'x', 700);
		size += 700;
	}
	return size;
}

static unsigned number_of(const uint8_t *at, size_t size, uint64_t address)
{
	uint8_t again[1024];
	unsigned number = (unsigned)(address & 0xffff);

	CHECK(concurrent_key(again, number) == size && !memcmp(again, at, size));
	return number;
}

/* Of the entry that the walk stands on. */
static unsigned number_here(const struct order_walk *walk)
{
	size_t size;
	const void *at = order_walk_key(walk, &size);

	return number_of(at, size, order_walk_address(walk));
}

static void *run_reader(void *arg)
{
	struct arena *arena = arg;
	struct order_walk *walk;
	uint8_t wanted[1024];

	CHECK(!order_walk_new(arena->order, &walk));
	while (!arena->stop) {
		bool forward = arena->walks++ % 2;
		int64_t last = forward ? -1 : (int64_t)NUMBERS, evens = 0;
		int ret = forward ? order_walk_first(walk) : order_walk_last(walk);

		for (; !ret; ret = forward ? order_walk_next(walk) : order_walk_prev(walk)) {
			int64_t number = number_here(walk);

			CHECK(forward ? number > last : number < last);
			evens += number % 2 == 0;
			last = number;
		}
		CHECK(ret == -ENOENT && evens == NUMBERS / 2);
		/* Standing at an end already. */
		for (unsigned i = 0; i < 100; i++) {
			CHECK(!(i % 10 < 5 ? order_walk_first(walk) : order_walk_last(walk)));
			ret = (int)number_here(walk);
			CHECK(i % 10 < 5 ? ret == 0 : ret >= (int)NUMBERS - 2);
		}
		for (unsigned i = 0; i < NUMBERS; i += 50) {
			size_t size = concurrent_key(wanted, i);
			uint64_t rank;

			CHECK(!order_walk_at_least(walk, wanted, size));
			CHECK(number_here(walk) == i);
			rank = order_rank(arena->order, wanted, size);
			CHECK(rank >= i / 2 && rank <= i);
			CHECK(!order_walk_select(walk, i / 2));
			CHECK(number_here(walk) <= i);
			if (i) {
				CHECK(!order_walk_below(walk, wanted, size));
				CHECK(number_here(walk) >= i - 2);
			}
		}
	}
	order_walk_free(walk);
	return NULL;
}

static void *run_writer(void *arg)
{
	struct arena *arena = arg;
	uint64_t mine = arena->seed;
	uint8_t wanted[1024];

	while (!arena->stop) {
		unsigned number = (unsigned)(random_next(&mine) % NUMBERS);
		size_t size = concurrent_key(wanted, number);
		uint64_t address = (random_next(&mine) & 0xffff) << 16 | number;
		int ret;

		if (number % 2 && random_next(&mine) % 2)
			ret = order_delete(arena->order, wanted, size);
		else
			ret = order_put(arena->order, wanted, size, address);
		CHECK(!ret || ret == -ENOENT);
		if (random_next(&mine) % 4096 ==
			0) /* all odd ones go: leaves merge, nodes are reused */
			for (unsigned odd = 1; odd < NUMBERS; odd += 2)
				(void)order_delete(
					arena->order, wanted, concurrent_key(wanted, odd));
	}
	return NULL;
}

#define ENDS 3000u /* keys, some dozen leaves */

/*
 * One walk at either end, while leaves come and go there: what it stands in may be no end any more,
 * or another node's memory.
 */
static void test_ends(void **unused)
{
	static bool there[ENDS];
	unsigned first = ENDS, last = 0, i, round;
	struct order_walk *walk;
	struct order *order;
	uint8_t wanted[1024];

	CHECK(!order_new(&order));
	CHECK(!order_walk_new(order, &walk));
	for (round = 0; round < (getenv("KVFS_TEST_QUICK") ? 10000u : 60000u); round++) {
		/* Grows from the middle, shrinks from the ends. */
		bool grow = round / 5000 % 2 == 0;
		unsigned number = below(2) ? below(ENDS) : below(2) ? first : last;
		size_t size;

		if (grow && first <= last && below(2))
			number = below(2) ? (first ? first - 1 : 0) : last + 1;
		number = number < ENDS ? number : ENDS - 1;
		size = concurrent_key(wanted, number);
		if (grow)
			CHECK(!order_put(order, wanted, size, number));
		else
			CHECK(order_delete(order, wanted, size) == (there[number] ? 0 : -ENOENT));
		there[number] = grow;
		for (i = 0, first = ENDS; i < ENDS && first == ENDS; i++)
			first = there[i] ? i : ENDS;
		for (i = ENDS, last = 0; i-- > 0 && first < ENDS && !last;)
			last = there[i] ? i : 0;
		for (i = 0; i < 2; i++) {
			int ret = i ? order_walk_last(walk) : order_walk_first(walk);

			CHECK(ret == (first < ENDS ? 0 : -ENOENT));
			CHECK(ret || number_here(walk) == (i ? last : first));
		}
		if (below(4) == 0)
			(void)order_walk_first(walk);
	}
	order_walk_free(walk);
	order_free(order);
}

static void test_concurrent(void **unused)
{
	struct arena arena = {.seed = seed};
	struct timespec tenth = {.tv_nsec = 100000000};
	pthread_t writer, readers[3];
	uint8_t wanted[1024];

	CHECK(!order_new(&arena.order));
	for (unsigned i = 0; i < NUMBERS; i += 2)
		CHECK(!order_put(arena.order, wanted, concurrent_key(wanted, i), i));
	CHECK(!pthread_create(&writer, NULL, run_writer, &arena));
	for (unsigned i = 0; i < 3; i++)
		CHECK(!pthread_create(&readers[i], NULL, run_reader, &arena));
	/* A walk takes as long as the machine lets it. */
	for (unsigned i = 0; i < 1200 && (i < 10 || arena.walks < 3); i++)
		nanosleep(&tenth, NULL);
	arena.stop = true;
	pthread_join(writer, NULL);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(readers[i], NULL);
	print_message("%" PRIu64 " walks beside the writer\n", arena.walks);
	CHECK(arena.walks >= 3);
	CHECK(!order_verify(arena.order, complain, NULL));
	order_free(arena.order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_concurrent),
	};

	seed_take();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
