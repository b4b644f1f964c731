/* SPDX-License-Identifier: MIT */
/*
 * inode_record_test.c - stored inodes: what is encoded is decoded, and nothing else is accepted
 * than what the code above can handle.
 */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inode_record.h"

struct record {
	uint8_t bytes[INODE_HEAD_SIZE + INODE_BODY_MAX + 1];
	size_t size;
};

static void encode(const struct inode *inode, struct record *out)
{
	inode_record_encode(inode, out->bytes);
	if (inode->body.size)
		memcpy(out->bytes + INODE_HEAD_SIZE, inode->body.data, inode->body.size);
	out->size = INODE_HEAD_SIZE + inode->body.size;
}

static int decode(const struct record *record, struct inode *out)
{
	return inode_record_decode(7, (struct kv_slice){record->bytes, record->size}, out);
}

static struct inode file(void)
{
	return (struct inode){
		.ino = 7,
		.contents = INODE_INLINE,
		.mode = S_IFREG | 04755,
		.nlink = 3,
		.uid = 1000,
		.gid = 4000000000u,
		.xattr_list_size = 12,
		.flags = INODE_LINKABLE,
		.size = 100,
		.atime = {-5, 1},
		.mtime = {1, 999999999},
		.ctime = {INT64_C(1) << 40, 3},
		.btime = {0, 4},
		.body = {"contents", 8},
	};
}

static void test_round_trip(void **state)
{
	struct inode inode = file(), out;
	struct record record;

	encode(&inode, &record);
	assert_int_equal(decode(&record, &out), 0);
	assert_int_equal(out.body.size, 8);
	assert_memory_equal(out.body.data, "contents", 8);
	out.body = inode.body;
	assert_int_equal(out.mode, inode.mode);
	assert_int_equal(out.gid, inode.gid);
	assert_int_equal(out.atime.tv_sec, -5);
	assert_int_equal(out.mtime.tv_nsec, 999999999);
	assert_int_equal(out.ctime.tv_sec, INT64_C(1) << 40);
	assert_int_equal(out.btime.tv_nsec, 4);
	assert_int_equal(out.size, 100);
	assert_int_equal(out.nlink, 3);
	assert_int_equal(out.flags, INODE_LINKABLE);
	assert_int_equal(out.xattr_list_size, 12);
}

static void test_kinds(void **state)
{
	struct inode directory = {.mode = S_IFDIR | 0755, .nlink = 2, .parent = 5};
	struct inode device = {.mode = S_IFCHR | 0600, .nlink = 1, .rdev = 259};
	struct record record;
	struct inode out;

	encode(&directory, &record);
	assert_int_equal(decode(&record, &out), 0);
	assert_int_equal(out.parent, 5);
	assert_int_equal(out.rdev, 0);
	encode(&device, &record);
	assert_int_equal(decode(&record, &out), 0);
	assert_int_equal(out.rdev, 259);
	assert_int_equal(out.parent, 0);
}

static void expect_refused(struct inode inode)
{
	struct record record;
	struct inode out;

	encode(&inode, &record);
	assert_int_equal(decode(&record, &out), -EIO);
}

static void test_nonsense(void **state)
{
	struct inode inode = file();

	inode.size = 7; /* the body is larger */
	expect_refused(inode);
	inode = file();
	inode.size = (uint64_t)KVFS_FILE_SIZE_MAX + 1;
	expect_refused(inode);
	inode = file();
	inode.mode = 0644;
	expect_refused(inode);
	inode = file();
	inode.mode = S_IFDIR;
	expect_refused(inode);
	inode = file();
	inode.contents = 9;
	expect_refused(inode);
	inode = file();
	inode.flags = 1u << 31;
	expect_refused(inode);
	inode = file();
	inode.ctime.tv_nsec = 1000000000;
	expect_refused(inode);
	inode = file();
	inode.mode = S_IFLNK | 0777;
	inode.contents = INODE_TARGET; /* but the size is not that of the target */
	expect_refused(inode);
}

static void test_sizes(void **state)
{
	struct inode inode = file(), out;
	struct record record;

	encode(&inode, &record);
	for (record.size = 0; record.size < INODE_HEAD_SIZE; record.size++)
		assert_int_equal(decode(&record, &out), -EIO);
	memset(record.bytes + INODE_HEAD_SIZE, 0, INODE_BODY_MAX);
	record.size = sizeof(record.bytes);
	assert_int_equal(decode(&record, &out), -EIO);
}

/* Whatever is accepted keeps the promises that the code relies on. */
static void test_random_bytes(void **state)
{
	struct inode inode = file();
	struct record record;
	unsigned accepted = 0;

	srandom(1);
	for (unsigned i = 0; i < 200000; i++) {
		struct inode out;

		encode(&inode, &record);
		for (unsigned flips = 0; flips < 3; flips++)
			record.bytes[(size_t)random() % record.size] ^=
				(uint8_t)(1u << random() % 8);
		if (decode(&record, &out))
			continue;
		accepted++;
		assert_true(out.size <= (uint64_t)KVFS_FILE_SIZE_MAX);
		assert_true(out.body.size <= INODE_BODY_MAX);
		assert_true(out.contents != INODE_INLINE || out.body.size <= out.size);
		assert_true(out.mtime.tv_nsec >= 0 && out.mtime.tv_nsec < 1000000000);
	}
	assert_true(accepted > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
