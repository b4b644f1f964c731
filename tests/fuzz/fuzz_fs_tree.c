/* SPDX-License-Identifier: MIT */
/*
 * fuzz_fs_tree.c - a file system whose records somebody has been at, with checksums that hold: it
 * can be used, checked and repaired. After a repair a check finds nothing, and another repair has
 * nothing to do.
 *
 * Input: steps. Each is a change of one of the records that the tree had at first, or an operation
 * of eight bytes (fs_op_from), or the store is closed and opened again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "dirent_record.h"
#include "fixed.h"
#include "fs_model.h"
#include "fuzz.h"
#include "inode_record.h"
#include "keyspaces.h"
#include "meta_record.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define STEPS_MAX 40u
#define RECORDS_MAX 256u
#define KEY_MAX 300u
#define VALUE_MAX 70000u
#define INOS 24u      /* more than the tree has */
#define PATCH_MAX 24u /* bytes */

enum step {
	STEP_PATCH, /* some bytes of a value */
	STEP_VALUE, /* another value, or none */
	STEP_SIZE,  /* a value cut off, or longer by zeros */
	STEP_DELETE,
	STEP_COPY,  /* a value under another record's key */
	STEP_KEY,   /* a value under a key that is nearly its own, and perhaps not under its own */
	STEP_NAME,  /* an entry of any directory, with a right hash */
	STEP_INODE, /* a well-formed inode that says anything */
	STEP_OPERATION,
	STEP_REOPEN,
	STEPS
};

struct record {
	enum keyspace keyspace;
	size_t key_size;
	uint8_t key[KEY_MAX];
};

struct run {
	struct sim_env *sim;
	struct kvfs *fs;
	uint64_t name_secret, held_ino, stamp;
	struct record records[RECORDS_MAX];
	unsigned record_count;
	unsigned entries; /* listed so far */
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static bool tells; /* for who looks for the reason of a failure */

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	if (tells)
		fprintf(stderr, "%s\n", message);
}

/* ---- the tree -------------------------------------------------------------------------------- */

/*
 * Some of everything: names of both lengths, contents of all forms, shared ones, links, attributes,
 * a snapshot, orphans.
 */
static void fill(struct run *run)
{
	struct fs_op ops[] = {
		{.kind = FS_OP_MKDIR, .path = FS_TOP(0)},
		{.kind = FS_OP_MKDIR, .path = FS_TOP(1)},
		{.kind = FS_OP_MKDIR, .path = FS_PATH(0, 1)},
		{.kind = FS_OP_CREATE, .path = FS_PATH(0, 0)},
		{.kind = FS_OP_CREATE, .path = FS_PATH(0, 2)},
		{.kind = FS_OP_WRITE, .path = FS_PATH(0, 2), .size = 700},
		{.kind = FS_OP_CREATE, .path = FS_PATH(0, 3)},
		{.kind = FS_OP_WRITE, .path = FS_PATH(0, 3), .size = 140000},
		{.kind = FS_OP_WRITE,
			.path = FS_PATH(0, 3),
			.offset = 8192,
			.size = 4096,
			.stamp = 1},
		{.kind = FS_OP_PUNCH, .path = FS_PATH(0, 3), .offset = 70000, .size = 20000},
		{.kind = FS_OP_CREATE, .path = FS_PATH(1, 0)},
		{.kind = FS_OP_COPY, .path = FS_PATH(0, 3), .other = FS_PATH(1, 0), .size = 40000},
		{.kind = FS_OP_SETXATTR, .path = FS_PATH(0, 2), .offset = 0, .size = 50},
		{.kind = FS_OP_SETXATTR, .path = FS_TOP(1), .offset = 1, .size = 3000},
		{.kind = FS_OP_SYMLINK, .path = FS_TOP(2), .size = 60},
		{.kind = FS_OP_LINK, .path = FS_PATH(0, 2), .other = FS_TOP(5)},
		{.kind = FS_OP_SNAPSHOT, .path = FS_TOP(0)},
		{.kind = FS_OP_UNLINK, .path = FS_PATH(0, 0)},
		{.kind = FS_OP_TRUNCATE, .path = FS_PATH(0, 2), .size = 9000},
		{.kind = FS_OP_CREATE, .path = FS_TOP(3)},
		{.kind = FS_OP_WRITE, .path = FS_TOP(3), .size = 5000},
		{.kind = FS_OP_HOLD, .path = FS_TOP(3)},
		{.kind = FS_OP_UNLINK, .path = FS_TOP(3)},
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		must(fs_op_do(&ops[i], run->fs, &run->held_ino) == 0, "the tree");
}

static void note(struct run *run, enum keyspace keyspace, struct kv_slice key)
{
	struct record *record = &run->records[run->record_count];

	must(run->record_count < RECORDS_MAX && key.size < KEY_MAX, "too many records");
	record->keyspace = keyspace;
	record->key_size = key.size;
	memcpy(record->key, key.data, key.size);
	run->record_count++;
}

/* Bytes of an input choose records by their order: that is the same for all inputs, in each run. */
static void must_be_the_same(struct run *run, struct kv *kv)
{
	static uint64_t first;
	uint64_t digest = 0;
	struct kv_slice value;

	kv_read_begin(kv);
	for (unsigned i = 0; i < run->record_count; i++) {
		const struct record *record = &run->records[i];

		must(kv_get(kv, record->keyspace, record->key, record->key_size, &value) == 0,
			"a record");
		digest = XXH64(record->key, record->key_size, digest);
		digest = XXH64(value.data, value.size, digest);
	}
	kv_read_end(kv);
	if (first == 0)
		first = digest;
	if (tells)
		fprintf(stderr, "the tree: %016llx\n", (unsigned long long)first);
	must(digest == first, "another tree");
}

static void note_records(struct run *run)
{
	struct kv *kv = kvfs_kv(run->fs);
	struct kv_slice value;

	for (unsigned keyspace = 0; keyspace < KEYSPACE_COUNT; keyspace++) {
		const struct kv_entry *entries;
		struct kv_iterator *iterator;
		size_t count;

		must(kv_iterator_open(kv, keyspace, KV_ITERATE_KEYS, &iterator) == 0, "iterator");
		kv_read_begin(kv);
		while (kv_iterator_read(iterator, &entries, &count) == 0)
			for (size_t i = 0; i < count; i++)
				note(run, keyspace, entries[i].key);
		kv_read_end(kv);
		kv_iterator_close(iterator);
	}
	must_be_the_same(run, kv);
	kv_read_begin(kv);
	must(kv_get(kv, KEYSPACE_META, META_FORMAT_KEY, strlen(META_FORMAT_KEY), &value) == 0 &&
			meta_format_decode(value, &run->name_secret) == 0,
		"the secret of names");
	kv_read_end(kv);
}

/* ---- changes --------------------------------------------------------------------------------- */

static const struct record *choose(struct run *run, struct fuzz_input *input)
{
	return &run->records[fuzz_u8(input) % run->record_count];
}

static void put(struct run *run, enum keyspace keyspace, const void *key, size_t key_size,
	const void *value, size_t size)
{
	/* A store whose disk is full, or that is poisoned, refuses. */
	(void)!kv_put(kvfs_kv(run->fs), keyspace, key, key_size, value, size, NULL);
}

/* The record's value now, at most VALUE_MAX bytes of it; 0 if there is none. */
static size_t load(struct run *run, const struct record *record, uint8_t *value)
{
	struct kv *kv = kvfs_kv(run->fs);
	struct kv_slice found = {.size = 0};
	size_t size;

	kv_read_begin(kv);
	if (kv_get(kv, record->keyspace, record->key, record->key_size, &found) != 0)
		found.size = 0;
	size = found.size < VALUE_MAX ? found.size : VALUE_MAX;
	if (size > 0)
		memcpy(value, found.data, size);
	kv_read_end(kv);
	return size;
}

static void patch(struct fuzz_input *input, uint8_t *bytes, size_t size)
{
	size_t at = fuzz_u8(input), length = 1 + fuzz_u8(input) % PATCH_MAX;

	if (at + length <= size)
		fuzz_bytes(input, bytes + at, length);
}

static void change_key(
	struct run *run, struct fuzz_input *input, const struct record *record, uint8_t *value)
{
	size_t size = load(run, record, value);
	struct record changed = *record;
	uint8_t form = fuzz_u8(input);

	patch(input, changed.key, changed.key_size);
	if (form & 2)
		changed.key_size--;
	else if (form & 4)
		changed.key[changed.key_size++] = form;
	put(run, changed.keyspace, changed.key, changed.key_size, value, size);
	if (form & 1)
		(void)!kv_delete(
			kvfs_kv(run->fs), record->keyspace, record->key, record->key_size, NULL);
}

static void change_name(struct run *run, struct fuzz_input *input)
{
	static const uint32_t modes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
	uint8_t value[DIRENT_VALUE_SIZE], parent = fuzz_u8(input), ino = fuzz_u8(input);
	uint8_t form = fuzz_u8(input);
	char name[2] = {(char)fuzz_u8(input), 'x'};
	struct dirent_key key;

	dirent_key_encode(run->name_secret, parent, name, 1 + (form >> 4 & 1), &key);
	dirent_value_encode(ino, modes[form & 3], value);
	put(run, KEYSPACE_DIRENT, key.bytes, key.size, value, sizeof(value));
}

static void change_inode(struct run *run, struct fuzz_input *input)
{
	static const uint32_t modes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFSOCK, 0};
	uint8_t key[INODE_KEY_SIZE], value[INODE_HEAD_MAX + INODE_BODY_MAX] = {0};
	uint8_t ino = fuzz_u8(input), form = fuzz_u8(input);
	size_t size = fuzz_u8(input) * (form & 1 ? 16u : 1u), head;
	struct inode inode = {
		.ino = ino,
		.contents = form >> 1 & 3,
		.mode = modes[fuzz_u8(input) % 7] | 0755,
		.nlink = fuzz_u8(input),
		.flags = fuzz_u8(input) & INODE_FLAGS,
		.parent = fuzz_u8(input),
		.xattr_list_size = fuzz_u8(input),
		.blocks = fuzz_u8(input),
		.size = form & 8 ? (uint64_t)fuzz_u32(input) << (form >> 4) : size,
	};

	inode_key_encode(ino, key);
	head = inode_record_encode(&inode, size, value);
	put(run, KEYSPACE_INODE, key, sizeof(key), value, head + size);
}

static void change(struct run *run, struct fuzz_input *input, enum step kind)
{
	static uint8_t value[VALUE_MAX];
	const struct record *record = choose(run, input), *other;
	size_t size;

	switch (kind) {
	case STEP_PATCH:
		size = load(run, record, value);
		patch(input, value, size);
		put(run, record->keyspace, record->key, record->key_size, value, size);
		break;
	case STEP_VALUE:
		size = fuzz_u8(input);
		fuzz_bytes(input, value, size);
		put(run, record->keyspace, record->key, record->key_size, value, size);
		break;
	case STEP_SIZE:
		size = load(run, record, value);
		memset(value + size, 0, VALUE_MAX - size);
		put(run, record->keyspace, record->key, record->key_size, value,
			fuzz_u32(input) % VALUE_MAX);
		break;
	case STEP_DELETE:
		(void)!kv_delete(
			kvfs_kv(run->fs), record->keyspace, record->key, record->key_size, NULL);
		break;
	case STEP_COPY:
		other = choose(run, input);
		size = load(run, record, value);
		put(run, other->keyspace, other->key, other->key_size, value, size);
		break;
	case STEP_KEY:
		change_key(run, input, record, value);
		break;
	case STEP_NAME:
		change_name(run, input);
		break;
	default:
		change_inode(run, input);
		break;
	}
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

static int open_store(struct run *run, bool repairs)
{
	struct kvfs_open_options options = {
		.kv = {.flags = KV_OPEN_INLINE, .resident_size = 1, .report = hear},
		.atime = KVFS_NOATIME,
		.repairs = repairs,
	};

	run->held_ino = 0;
	return kvfs_open(sim_env_table(run->sim), STORE_PATH, &options, &run->fs);
}

static int look_at_entry(void *arg, const char *name, const struct kvfs_attr *attr, uint64_t cookie)
{
	struct run *run = arg;
	struct kvfs_attr found;

	must(strlen(name) <= KVFS_NAME_MAX, "a name is too long");
	must(++run->entries < 1000000, "a list does not end");
	(void)!kvfs_lookup(run->fs, attr->ino, "axx", &found);
	return 0;
}

static int ignore_difference(
	void *arg, enum kvfs_difference what, const char *path, bool is_directory)
{
	return strlen(path) > 1000000;
}

/* Reads all there is, by numbers and by names. */
static void look_at(struct run *run, struct kvfs *fs)
{
	static char bytes[150000];
	struct kvfs_attr attr;
	uint64_t findings;

	for (uint64_t ino = 1; ino <= INOS; ino++) {
		(void)!kvfs_getattr(fs, ino, &attr);
		(void)!kvfs_read(fs, ino, bytes, sizeof(bytes), 100);
		(void)!kvfs_readlink(fs, ino, bytes, 50);
		(void)!kvfs_seek(fs, ino, 10, SEEK_HOLE);
		(void)!kvfs_seek(fs, ino, 66000, SEEK_DATA);
		(void)!kvfs_listxattr(fs, ino, bytes, 100);
		(void)!kvfs_getxattr(fs, ino, "user.one", bytes, sizeof(bytes));
		(void)!kvfs_readdir(fs, ino, 0, ino % 2, look_at_entry, run);
	}
	(void)!kvfs_resolve(fs, "axx/../bxx/../cxxx", true, &attr);
	must(kvfs_check(fs, hear, NULL, NULL, NULL, &findings) == 0, "check");
}

static void look_at_snapshot(struct run *run)
{
	struct kvfs *snapshot;

	if (kvfs_snapshot_open(run->fs, "one", &snapshot) != 0)
		return;
	look_at(run, snapshot);
	(void)!kvfs_diff(snapshot, run->fs, ignore_difference, NULL, NULL);
	(void)!kvfs_diff(run->fs, snapshot, ignore_difference, NULL, NULL);
	must(kvfs_close(snapshot) == 0, "close the snapshot");
}

/* False: nobody can open it any more, but for a repair. */
static bool reopen(struct run *run)
{
	must(kvfs_close(run->fs) == 0, "close");
	return open_store(run, false) == 0;
}

static void operate(struct run *run, struct fuzz_input *input)
{
	uint8_t bytes[8];
	struct fs_op op;

	fuzz_bytes(input, bytes, sizeof(bytes));
	op = fs_op_from(bytes, run->stamp++);
	(void)fs_op_do(&op, run->fs, &run->held_ino);
}

static bool do_steps(struct run *run, struct fuzz_input *input)
{
	for (unsigned i = 0; i < STEPS_MAX && input->left > 0; i++) {
		enum step kind = fuzz_u8(input) % STEPS;

		if (kind == STEP_OPERATION)
			operate(run, input);
		else if (kind != STEP_REOPEN)
			change(run, input, kind);
		else if (!reopen(run))
			return false;
	}
	return true;
}

/* What a snapshot has lost stays lost: it does not count. */
static void count_present(void *arg, enum kv_severity severity, const char *text)
{
	hear(NULL, severity, text);
	*(uint64_t *)arg += strncmp(text, "snapshot \"", strlen("snapshot \"")) != 0;
}

static void repair(struct run *run)
{
	uint64_t mended = 0, findings = 0, present = 0;
	int error = open_store(run, true);

	/* That of a newer version is left alone. */
	if (error == -EPROTONOSUPPORT)
		return;
	must(error == 0, "open for a repair");
	error = kvfs_repair(run->fs, hear, NULL, &mended);
	/* lost+found is something else, or all of it does not fit */
	if (error == 0) {
		must(kvfs_check(run->fs, count_present, &present, NULL, NULL, &findings) == 0,
			"check again");
		must(present == 0, "something is left after a repair");
		must(kvfs_repair(run->fs, hear, NULL, &mended) == 0 && mended == 0,
			"a second repair had something to do");
	} else {
		must(error == -ENOTDIR || error == -ENOSPC, "repair");
	}
	must(kvfs_close(run->fs) == 0, "close after the repair");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct fuzz_input input = {data, size};

	run = (struct run){.sim = NULL};
	tells = getenv("FUZZ_TELLS") != NULL;
	fixed_begin(0);
	must(sim_env_new(&(struct sim_options){.seed = 1, .capacity = 64 << 20}, &run.sim) == 0,
		"disk");
	must(kvfs_create(sim_env_table(run.sim), STORE_PATH, &create, hear, NULL) == 0, "create");
	must(open_store(&run, false) == 0, "open");
	fill(&run);
	note_records(&run);
	if (do_steps(&run, &input)) {
		look_at(&run, run.fs);
		look_at_snapshot(&run);
		must(kvfs_close(run.fs) == 0, "close");
	}
	repair(&run);
	must(sim_env_power_on(run.sim, SIM_LOSS_NONE) == 0, "something was left open");
	sim_env_free(run.sim);
	fixed_end();
	return 0;
}
