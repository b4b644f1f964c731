/* SPDX-License-Identifier: MIT */
/*
 * stream_test.c - a long answer arrives whole and in order, whatever the sizes; it waits for its
 * reader in bounded memory, and ends when he does not want it any more.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fuse_front.h"
#include "fuse_stream.h"

#define PART_MAX 65536u
#define PAUSE_NS 200000

/* What is told: so many bytes, put in pieces of such sizes. */
struct maker {
	size_t size, piece;
	int error;
	_Atomic size_t put;
	atomic_int result;
	atomic_bool freed;
};

static uint8_t byte_at(size_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16));
}

static int make(void *arg, struct fuse_stream *stream)
{
	struct maker *maker = arg;
	uint8_t *piece = malloc(maker->piece);
	int err = 0;

	assert_non_null(piece);
	for (size_t at = 0; at < maker->size && !err; at = maker->put) {
		size_t size = maker->size - at < maker->piece ? maker->size - at : maker->piece;

		for (size_t i = 0; i < size; i++)
			piece[i] = byte_at(at + i);
		err = fuse_stream_put(stream, piece, size);
		if (!err)
			maker->put += size;
	}
	free(piece);
	maker->result = err;
	return err ? err : maker->error;
}

static void made(void *arg)
{
	struct maker *maker = arg;

	maker->freed = true;
}

static const struct fuse_stream_kind kind = {make, made, FUSE_STREAMS};

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static int setup(void **state)
{
	struct fuse_streams *streams = calloc(1, sizeof(*streams));

	assert_non_null(streams);
	fuse_streams_init(streams);
	*state = streams;
	return 0;
}

static int teardown(void **state)
{
	fuse_streams_fini(*state);
	free(*state);
	return 0;
}

/* Reads to the end, by at most so much at once; returns how much it was, or what it ended with. */
static ssize_t read_all(struct fuse_streams *streams, uint64_t token, size_t at_once)
{
	struct fuse_stream_request request = {.token = token};
	uint8_t *part = malloc(PART_MAX);
	ssize_t size;

	assert_non_null(part);
	for (;;) {
		size = fuse_stream_read(streams, &request, (char *)part, at_once);
		if (size <= 0)
			break;
		for (size_t i = 1; i < (size_t)size; i++)
			assert_int_equal(part[i], byte_at(request.offset + i - 1));
		request.offset += (uint64_t)size - 1;
		if (part[0] == FUSE_FRONT_STREAM_LAST)
			break;
		assert_int_equal(part[0], FUSE_FRONT_STREAM_MORE);
		if (size == 1)
			pause_a_little();
	}
	free(part);
	return size < 0 ? size : (ssize_t)request.offset;
}

static void begin(struct fuse_streams *streams, uint64_t token, struct maker *maker)
{
	assert_int_equal(fuse_stream_begin(streams, token, &kind, maker), 0);
}

static void test_whole(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 1000, 262143, 262144, 262145, 3000000};
	static const size_t pieces[] = {1000, 4099, 1000000}, parts[] = {PART_MAX, 1000};
	uint64_t token = 0;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (unsigned k = 0; k < sizeof(pieces) / sizeof(*pieces); k++)
			for (unsigned n = 0; n < sizeof(parts) / sizeof(*parts); n++) {
				struct maker maker = {.size = sizes[i], .piece = pieces[k]};

				begin(*state, ++token, &maker);
				assert_int_equal(read_all(*state, token, parts[n]), sizes[i]);
				assert_true(maker.freed);
			}
}

/* What was asked for again, as it had not arrived, is there. */
static void test_again(void **state)
{
	struct fuse_streams *streams = *state;
	struct fuse_stream_request request = {.token = 1};
	struct maker maker = {.size = 100, .piece = 100};
	char part[128];
	ssize_t size;

	assert_int_equal(fuse_stream_read(streams, &request, part, sizeof(part)), -ENODATA);
	begin(streams, 1, &maker);
	while (!maker.freed)
		pause_a_little();
	assert_int_equal(fuse_stream_read(streams, &request, part, 51), 51);
	assert_int_equal(fuse_stream_read(streams, &request, part, 51), 51);
	assert_int_equal((uint8_t)part[1], byte_at(0));
	request.offset = 50;
	assert_int_equal(fuse_stream_read(streams, &request, part, 11), 11);
	assert_int_equal(part[0], FUSE_FRONT_STREAM_MORE);
	assert_int_equal((uint8_t)part[1], byte_at(50));
	request.offset = 49;
	assert_int_equal(fuse_stream_read(streams, &request, part, sizeof(part)), -EINVAL);
	request.offset = 101;
	assert_int_equal(fuse_stream_read(streams, &request, part, sizeof(part)), -EINVAL);
	for (unsigned i = 0; i < 2; i++) {
		request.offset = 60;
		do
			size = fuse_stream_read(streams, &request, part, sizeof(part));
		while (part[0] != FUSE_FRONT_STREAM_LAST);
		assert_int_equal(size, 41);
		assert_int_equal((uint8_t)part[1], byte_at(60));
	}
}

/* An error comes behind what was made before it. */
static void test_error(void **state)
{
	struct fuse_streams *streams = *state;
	struct maker maker = {.size = 1000000, .piece = 999, .error = -EIO};

	begin(streams, 5, &maker);
	assert_int_equal(read_all(streams, 5, PART_MAX), -EIO);
	assert_int_equal(maker.put, 1000000);
}

static void wait_until_full(const struct maker *maker)
{
	size_t before;

	do {
		before = maker->put;
		for (unsigned i = 0; i < 50; i++)
			pause_a_little();
	} while (!maker->put || maker->put != before);
}

static void test_given_up(void **state)
{
	struct fuse_streams *streams = *state;
	struct fuse_stream_request request = {.token = 9};
	struct maker maker = {.size = 100000000, .piece = 10000};
	char part[16];

	begin(streams, 9, &maker);
	wait_until_full(&maker);
	assert_true(maker.put <= 300000);
	assert_false(maker.freed);
	request.offset = FUSE_FRONT_STREAM_GIVE_UP;
	assert_int_equal(fuse_stream_read(streams, &request, part, sizeof(part)), 0);
	while (!maker.freed)
		pause_a_little();
	assert_int_equal(maker.result, -ECANCELED);
	/* Who comes back all the same is not given half of it. */
	request.offset = 0;
	do
		pause_a_little();
	while (fuse_stream_read(streams, &request, part, sizeof(part)) > 0);
	assert_int_equal(fuse_stream_read(streams, &request, part, sizeof(part)), -ENODATA);
}

/* There are only so many; one that is over makes room. */
static void test_busy(void **state)
{
	struct fuse_streams *streams = *state;
	struct maker makers[FUSE_STREAMS + 1] = {0}, *last = &makers[FUSE_STREAMS];

	for (unsigned i = 0; i <= FUSE_STREAMS; i++)
		makers[i] = (struct maker){.size = 1000000, .piece = 1000};
	for (unsigned i = 0; i < FUSE_STREAMS; i++)
		begin(streams, i + 1, &makers[i]);
	assert_int_equal(fuse_stream_begin(streams, 6, &kind, last), -EBUSY);
	assert_false(last->freed);
	assert_int_equal(read_all(streams, 2, PART_MAX), 1000000);
	begin(streams, 6, last);
	assert_int_equal(read_all(streams, 2, PART_MAX), -ENODATA);
	assert_int_equal(read_all(streams, 6, PART_MAX), 1000000);
	assert_int_equal(read_all(streams, 1, PART_MAX), 1000000);
	/* Those that nobody reads end with the mount. */
	fuse_streams_drain(streams);
	for (unsigned i = 0; i <= FUSE_STREAMS; i++)
		assert_true(makers[i].freed);
	assert_int_equal(makers[2].result, -ECANCELED);
	assert_int_equal(fuse_stream_begin(streams, 77, &kind, &makers[0]), -EBUSY);
}

static void let_pass(struct fuse_stream *stream, int64_t ms)
{
	pthread_mutex_lock(&stream->all->lock);
	atomic_fetch_sub(&stream->asked_ms, ms);
	pthread_cond_signal(&stream->room);
	pthread_mutex_unlock(&stream->all->lock);
}

static struct fuse_stream *slot_of(struct fuse_streams *streams, uint64_t token)
{
	unsigned i = 0;

	while (streams->slots[i].token != token)
		i++;
	return &streams->slots[i];
}

/* Who has not asked for a minute is given up for another, if he asked least of all, or else not. */
static void test_idle(void **state)
{
	struct fuse_streams *streams = *state;
	struct fuse_stream_request request = {.token = 2};
	struct maker makers[FUSE_STREAMS + 1] = {0}, *last = &makers[FUSE_STREAMS];
	char part[16];

	for (unsigned i = 0; i <= FUSE_STREAMS; i++)
		makers[i] = (struct maker){.size = 1000000, .piece = 1000};
	for (unsigned i = 0; i < FUSE_STREAMS; i++)
		begin(streams, i + 1, &makers[i]);
	let_pass(slot_of(streams, 1), 60000);
	let_pass(slot_of(streams, 2), 90000);
	wait_until_full(&makers[1]);
	assert_false(makers[1].freed);
	assert_int_equal(fuse_stream_read(streams, &request, part, sizeof(part)), sizeof(part));
	assert_int_equal(fuse_stream_begin(streams, 6, &kind, last), -EBUSY);
	while (!makers[0].freed || fuse_stream_begin(streams, 6, &kind, last))
		pause_a_little();
	assert_int_equal(makers[0].result, -ECANCELED);
	assert_int_equal(read_all(streams, 1, PART_MAX), -ENODATA);
	assert_int_equal(fuse_stream_begin(streams, 7, &kind, &makers[0]), -EBUSY);
	for (unsigned i = 1; i < FUSE_STREAMS; i++)
		assert_int_equal(read_all(streams, i + 1, PART_MAX), 1000000);
	assert_int_equal(read_all(streams, 6, PART_MAX), 1000000);
}

/* Of some there may be fewer, who wait for each other alone. */
static void test_kinds(void **state)
{
	static const struct fuse_stream_kind single = {make, made, 1};
	struct fuse_streams *streams = *state;
	struct maker makers[3] = {{.size = 1000000, .piece = 1000},
		{.size = 1000000, .piece = 1000}, {.size = 1000000, .piece = 1000}};

	begin(streams, 1, &makers[0]);
	assert_int_equal(fuse_stream_begin(streams, 2, &single, &makers[1]), 0);
	assert_false(fuse_stream_has_room(streams, &single));
	assert_int_equal(fuse_stream_begin(streams, 3, &single, &makers[2]), -EBUSY);
	assert_true(fuse_stream_has_room(streams, &kind));
	let_pass(slot_of(streams, 1), 90000);
	let_pass(slot_of(streams, 2), 60000);
	while (!fuse_stream_has_room(streams, &single))
		pause_a_little();
	assert_true(makers[1].freed);
	assert_false(makers[0].freed);
	assert_int_equal(fuse_stream_begin(streams, 3, &single, &makers[2]), 0);
	assert_int_equal(read_all(streams, 3, PART_MAX), 1000000);
	assert_int_equal(read_all(streams, 1, PART_MAX), 1000000);
}

/* In the end also where nobody waits. */
static void test_gone(void **state)
{
	struct fuse_streams *streams = *state;
	struct maker maker = {.size = 1000000, .piece = 1000};

	begin(streams, 3, &maker);
	let_pass(slot_of(streams, 3), 700000);
	while (!maker.freed)
		pause_a_little();
	assert_int_equal(maker.result, -ECANCELED);
}

/* Where no thread can be made, that is an error like any other, and nothing to wait for. */
static void test_no_thread(void **state)
{
	struct fuse_streams *streams = *state;
	struct maker maker = {.size = 1000, .piece = 1000};
	pthread_attr_t usual, huge;

	assert_int_equal(pthread_getattr_default_np(&usual), 0);
	assert_int_equal(pthread_attr_init(&huge), 0);
	assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 48), 0);
	assert_int_equal(pthread_setattr_default_np(&huge), 0);
	assert_int_equal(fuse_stream_begin(streams, 4, &kind, &maker), -ENOMEM);
	assert_int_equal(pthread_setattr_default_np(&usual), 0);
	assert_false(maker.freed);
	begin(streams, 4, &maker);
	assert_int_equal(read_all(streams, 4, PART_MAX), 1000);
	pthread_attr_destroy(&huge);
	pthread_attr_destroy(&usual);
}

static void test_parse(void **state)
{
	static const char *const wrong[] = {"", ".", ".1", ".1.2", ".1.2.", ".1.2.3.", ".1.2.3x",
		"1.2.3", ".x.2.3", ".0.2.3"};
	struct fuse_stream_request request;

	assert_true(fuse_stream_parse(".1a.ffffffffffffffff.1000000000001", &request));
	assert_int_equal(request.token, 0x1a);
	assert_true(request.offset == FUSE_FRONT_STREAM_GIVE_UP);
	assert_int_equal(request.about, (INT64_C(1) << 48) + 1);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(fuse_stream_parse(wrong[i], &request));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_thread, setup, teardown),
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
