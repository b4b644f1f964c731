/* SPDX-License-Identifier: MIT */
/* tree_digest.c - see tree_digest.h. */
#include "tree_digest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#define READ_SIZE 65536u
#define DEPTH_MAX 64u

struct digest {
	struct kvfs *fs;
	XXH3_state_t *state;
	unsigned depth;
	char *buffer; /* READ_SIZE */
};

struct names {
	char (*names)[KVFS_NAME_MAX + 1];
	uint64_t *inos;
	size_t count, room;
};

static void add(struct digest *digest, const void *data, size_t size)
{
	XXH3_64bits_update(digest->state, data, size);
}

static void add_number(struct digest *digest, uint64_t number)
{
	add(digest, &number, sizeof(number));
}

static void add_contents(struct digest *digest, const struct kvfs_attr *attr)
{
	int64_t at;
	ssize_t done;

	for (uint64_t offset = 0; offset < attr->size; offset += (uint64_t)done) {
		done = kvfs_read(digest->fs, attr->ino, digest->buffer, READ_SIZE, (int64_t)offset);
		assert_true(done > 0);
		add(digest, digest->buffer, (size_t)done);
	}
	for (at = 0; at >= 0 && (uint64_t)at < attr->size;) {
		at = kvfs_seek(digest->fs, attr->ino, at, SEEK_DATA);
		add_number(digest, (uint64_t)at);
		if (at < 0)
			break;
		at = kvfs_seek(digest->fs, attr->ino, at, SEEK_HOLE);
		add_number(digest, (uint64_t)at);
	}
}

static void add_xattrs(struct digest *digest, uint64_t ino)
{
	static const char *const lists[] = {"system.posix_acl_access", "system.posix_acl_default"};
	char list[4096];
	ssize_t size = kvfs_listxattr(digest->fs, ino, list, sizeof(list));

	assert_true(size >= 0);
	for (const char *name = list; name < list + size; name += strlen(name) + 1) {
		ssize_t length = kvfs_getxattr(digest->fs, ino, name, digest->buffer, READ_SIZE);

		assert_true(length >= 0);
		add(digest, name, strlen(name) + 1);
		add(digest, digest->buffer, (size_t)length);
	}
	for (size_t i = 0; i < 2; i++)
		add_number(digest, (uint64_t)kvfs_getxattr(
					   digest->fs, ino, lists[i], digest->buffer, READ_SIZE));
}

static int keep_name(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct names *names = arg;

	if (names->count == names->room) {
		names->room = names->room * 2 + 16;
		names->names = realloc(names->names, names->room * sizeof(*names->names));
		names->inos = realloc(names->inos, names->room * sizeof(*names->inos));
		assert_non_null(names->names);
		assert_non_null(names->inos);
	}
	strcpy(names->names[names->count], name);
	names->inos[names->count++] = attr->ino;
	return 0;
}

static void add_inode(struct digest *digest, uint64_t ino);

static void add_entries(struct digest *digest, uint64_t ino)
{
	struct names names = {0};

	assert_true(++digest->depth < DEPTH_MAX);
	assert_int_equal(kvfs_readdir(digest->fs, ino, 0, ino % 2, keep_name, &names), 0);
	for (size_t i = 0; i < names.count; i++) {
		struct kvfs_attr attr;

		add(digest, names.names[i], strlen(names.names[i]) + 1);
		assert_int_equal(kvfs_lookup(digest->fs, ino, names.names[i], &attr), 0);
		assert_int_equal(attr.ino, names.inos[i]);
		if (strcmp(names.names[i], ".") && strcmp(names.names[i], ".."))
			add_inode(digest, attr.ino);
	}
	digest->depth--;
	free(names.names);
	free(names.inos);
}

static void add_inode(struct digest *digest, uint64_t ino)
{
	struct kvfs_attr attr;

	assert_int_equal(kvfs_getattr(digest->fs, ino, &attr), 0);
	add_number(digest, attr.ino);
	add_number(digest, attr.mode);
	add_number(digest, attr.nlink);
	add_number(digest, attr.uid);
	add_number(digest, attr.gid);
	add_number(digest, attr.size);
	add_number(digest, attr.blocks);
	add_number(digest, (uint64_t)attr.mtime.tv_sec);
	add_number(digest, (uint64_t)attr.mtime.tv_nsec);
	add_number(digest, (uint64_t)attr.ctime.tv_nsec);
	add_xattrs(digest, ino);
	if (S_ISREG(attr.mode))
		add_contents(digest, &attr);
	if (S_ISDIR(attr.mode))
		add_entries(digest, ino);
	if (S_ISLNK(attr.mode)) {
		ssize_t size = kvfs_readlink(digest->fs, ino, digest->buffer, READ_SIZE);

		assert_true(size > 0);
		add(digest, digest->buffer, (size_t)size);
	}
}

uint64_t tree_digest(struct kvfs *fs)
{
	struct digest digest = {fs, XXH3_createState(), 0, malloc(READ_SIZE)};
	uint64_t result;

	assert_non_null(digest.state);
	assert_non_null(digest.buffer);
	XXH3_64bits_reset(digest.state);
	add_inode(&digest, KVFS_ROOT_INO);
	result = XXH3_64bits_digest(digest.state);
	XXH3_freeState(digest.state);
	free(digest.buffer);
	return result;
}

uint64_t tree_digest_of_snapshot(struct fixture *store, const char *name)
{
	struct kvfs *fs;
	uint64_t digest;

	assert_int_equal(kvfs_snapshot_open(store->fs, name, &fs), 0);
	digest = tree_digest(fs);
	assert_int_equal(kvfs_close(fs), 0);
	return digest;
}
