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
	uint8_t bytes[INODE_HEAD_MAX + INODE_BODY_MAX + 1];
	size_t size, head;
};

static void encode(const struct inode *inode, struct record *out)
{
	out->head = inode_record_encode(inode, inode->body.size, out->bytes);
	if (inode->body.size)
		memcpy(out->bytes + out->head, inode->body.data, inode->body.size);
	out->size = out->head + inode->body.size;
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
	struct inode device = {.mode = S_IFCHR | 0600, .nlink = 1, .rdev = 259}, fifo;
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
	fifo = (struct inode){.mode = S_IFIFO | 0600, .nlink = 1, .parent = INODE_INO_MAX};
	encode(&fifo, &record);
	assert_int_equal(decode(&record, &out), 0);
	assert_int_equal(out.parent, INODE_INO_MAX);
	assert_int_equal(out.rdev, 0);
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
	inode = file();
	inode.parent = INODE_INO_MAX + 1;
	expect_refused(inode);
	expect_refused((struct inode){.mode = S_IFSOCK | 0600, .nlink = 1, .flags = INODE_SHARES});
	expect_refused((struct inode){
		.mode = S_IFDIR | 0700, .nlink = 2, .parent = 1, .flags = INODE_TRIM});
	expect_refused((struct inode){.mode = S_IFIFO | 0600, .nlink = 1, .blocks = 1});
}

static void test_sizes(void **state)
{
	struct inode inode = file(), out;
	struct record record;

	inode.blocks = 1;
	inode.contents = INODE_EXTENTS;
	inode.parent = 1;
	encode(&inode, &record);
	assert_int_equal(record.head, INODE_HEAD_MAX);
	inode = file();
	encode(&inode, &record);
	for (record.size = 0; record.size < record.head; record.size++)
		assert_int_equal(decode(&record, &out), -EIO);
	memset(record.bytes + record.head, 0, INODE_BODY_MAX);
	record.size = record.head + INODE_BODY_MAX + 1;
	assert_int_equal(decode(&record, &out), -EIO);
}

static struct inode plain_file(void)
{
	struct timespec now = {1700000000, 123456789};

	return (struct inode){
		.ino = 7,
		.contents = INODE_INLINE,
		.mode = S_IFREG | 0644,
		.nlink = 1,
		.uid = 1000,
		.gid = 1000,
		.size = 8,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
		.body = {"contents", 8},
	};
}

static void expect_head(const struct inode *inode, size_t size)
{
	struct record record;
	struct inode out;

	encode(inode, &record);
	assert_int_equal(record.head, size);
	assert_int_equal(decode(&record, &out), 0);
	assert_int_equal(out.size, inode->size);
	assert_int_equal(out.nlink, inode->nlink);
	assert_int_equal(out.uid, inode->uid);
	assert_int_equal(out.gid, inode->gid);
	assert_memory_equal(&out.atime, &inode->atime, sizeof(out.atime));
	assert_memory_equal(&out.mtime, &inode->mtime, sizeof(out.mtime));
	assert_memory_equal(&out.ctime, &inode->ctime, sizeof(out.ctime));
	assert_memory_equal(&out.btime, &inode->btime, sizeof(out.btime));
}

/* A field takes room only where it says something. */
static void test_fields(void **state)
{
	struct inode inode = plain_file();

	expect_head(&inode, 18);
	inode.ctime.tv_nsec++; /* and mtime, which is another now */
	expect_head(&inode, 26);
	inode.mtime = inode.ctime; /* and btime */
	expect_head(&inode, 26);
	inode.size = 9;
	expect_head(&inode, 34);
	inode.gid = 0;
	expect_head(&inode, 38);
	inode.nlink = 2;
	expect_head(&inode, 42);
	inode = plain_file();
	inode.atime.tv_sec = (INT64_C(1) << 34) - 1;
	expect_head(&inode, 26);
	inode.atime.tv_sec++; /* wide: all of them */
	expect_head(&inode, 34);
	inode.atime.tv_sec = -1;
	expect_head(&inode, 34);
}

/* An inode has one form: with a field that says what its absence would, it is none. */
static void test_one_form(void **state)
{
	struct inode inode = plain_file(), out;
	struct record record;

	encode(&inode, &record);
	record.bytes[3] |= 1; /* gid */
	memmove(record.bytes + record.head + 4, record.bytes + record.head, inode.body.size);
	memcpy(record.bytes + record.head, record.bytes + record.head - 4, 4);
	record.size += 4;
	assert_int_equal(decode(&record, &out), -EIO);
	record.bytes[record.head] ^= 1;
	assert_int_equal(decode(&record, &out), 0);
	assert_int_equal(out.gid, 1001);
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
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_one_form),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
