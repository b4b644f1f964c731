/* SPDX-License-Identifier: MIT */
/*
 * crash_writer.c - changes a tree without end while somebody kills the file system under it, and
 *judges afterwards
 *
 *	crash_writer run DIR LEDGER SEED WRITER [COUNT]
 *	crash_writer verify DIR LEDGER SEED WRITER
 *
 * Each writer (0..7) makes the changes of change_model.h in DIR/wN, one after the other, and keeps
 *its account in the ledger, a small file shared by all of them that lies on another file system:
 *	begun	changes whose system call was made
 *	done	changes whose system call came back
 *	kept	changes that must survive: an fsync, fdatasync or O_SYNC write came back
 *after them, its own or another writer's; a sync covers everything that was done when it began
 * `run` ends with 0 after COUNT changes, or when the file system is gone (ENOTCONN, ECONNABORTED,
 *ECANCELED); any other error is a failure. `verify` looks for a number of changes between kept and
 *begun after which the tree would be exactly what it is. There must be one; the account goes on
 *from there.
 */
#include "change_model.h"
#include "pattern.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WRITERS_MAX 8u
#define MARK "user.mark"

struct account {
	uint64_t begun, done, kept;
};

/* Shared by the writers' processes; each field is written with atomic stores. */
static struct account *ledger;

static struct account *ledger_open(const char *path)
{
	size_t size = WRITERS_MAX * sizeof(struct account);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	void *map;

	if (fd < 0 || ftruncate(fd, size))
		err(2, "%s", path);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "%s", path);
	close(fd);
	return map;
}

/* ---- run --------------------------------------------------------------------------------------
 */

/* The number only rises, whoever raises it. */
static void kept_raise(struct account *account, uint64_t kept)
{
	uint64_t old = __atomic_load_n(&account->kept, __ATOMIC_SEQ_CST);

	while (old < kept && !__atomic_compare_exchange_n(&account->kept, &old, kept, false,
				     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void done_read(uint64_t done[WRITERS_MAX])
{
	unsigned i;

	for (i = 0; i < WRITERS_MAX; i++)
		done[i] = __atomic_load_n(&ledger[i].done, __ATOMIC_SEQ_CST);
}

static int write_bytes(const struct model *model, const struct change *change, const char *path)
{
	static unsigned char bytes[MODEL_WRITE_SIZE_MAX];
	int flags = O_WRONLY | (change->durable ? O_SYNC : 0);
	ssize_t written;
	int fd;

	pattern_fill(bytes, change->size, model_bytes_seed(model, change), change->position);
	if (change->kind == CHANGE_APPEND)
		flags |= O_APPEND;
	fd = open(path, flags);
	if (fd < 0)
		return -1;
	if (change->kind == CHANGE_APPEND)
		written = write(fd, bytes, change->size);
	else
		written = pwrite(fd, bytes, change->size, change->position);
	if (written >= 0 && (size_t)written != change->size)
		errx(1, "%s: wrote %zd of %zu bytes", path, written, change->size);
	if (close(fd) && written >= 0)
		written = -1;
	return written < 0 ? -1 : 0;
}

/* One of the ways to have it on the disk. */
static int sync_something(const struct change *change, const char *path)
{
	int result, fd = open(path, O_RDONLY);

	if (fd < 0 && errno == ENOENT)
		fd = open(".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return -1;
	result = change->other % 4 ? fsync(fd) : fdatasync(fd);
	close(fd);
	return result;
}

static int create_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int change_make(const struct model *model, const struct change *change)
{
	char path[32], other[32];
	uint64_t mark = change->number + 1;

	model_file_path(change->file, path);
	model_file_path(change->other, other);
	switch (change->kind) {
	case CHANGE_CREATE:
		return create_file(path);
	case CHANGE_WRITE:
	case CHANGE_APPEND:
		return write_bytes(model, change, path);
	case CHANGE_TRUNCATE:
		return truncate(path, change->position);
	case CHANGE_RENAME:
		return rename(path, other);
	case CHANGE_EXCHANGE:
		return renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
	case CHANGE_UNLINK:
		return unlink(path);
	case CHANGE_MARK:
		return setxattr(path, MARK, &mark, sizeof(mark), 0);
	case CHANGE_TOGGLE:
		model_toggle_path(change->file % MODEL_TOGGLES, other);
		return model->toggles[change->file % MODEL_TOGGLES] ? rmdir(other)
								    : mkdir(other, 0755);
	case CHANGE_SYNC:
		return sync_something(change, path);
	}
	return -1;
}

/* What the kernel answers for a server that died, before and after it notices. */
static bool is_gone(int error)
{
	return error == ENOTCONN || error == ECONNABORTED || error == ECANCELED || error == EINTR;
}

static int run(struct model *model, struct account *account, uint64_t count)
{
	uint64_t done[WRITERS_MAX], end = model->done + count;
	struct change change;
	unsigned i;

	while (model->done < end) {
		change = model_next(model);
		done_read(done);
		__atomic_store_n(&account->begun, model->done + 1, __ATOMIC_SEQ_CST);
		if (change_make(model, &change)) {
			if (is_gone(errno))
				return 0;
			err(1, "change %llu of kind %d: file %u", (unsigned long long)model->done,
				change.kind, change.file);
		}
		model_apply(model, &change);
		__atomic_store_n(&account->done, model->done, __ATOMIC_SEQ_CST);
		if (change.kind == CHANGE_SYNC)
			for (i = 0; i < WRITERS_MAX; i++)
				kept_raise(&ledger[i], done[i]);
		else if (change.durable &&
			 (change.kind == CHANGE_WRITE || change.kind == CHANGE_APPEND))
			kept_raise(account, model->done);
	}
	return 0;
}

/* ---- verify -----------------------------------------------------------------------------------
 */

static unsigned entries_count(const char *path)
{
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir = opendir(path);

	if (!dir)
		err(1, "%s", path);
	while ((errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			count++;
	if (errno)
		err(1, "%s", path);
	closedir(dir);
	return count;
}

static void file_load(const char *path, struct model_file *file)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	ssize_t size;

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	if (st.st_size > MODEL_FILE_SIZE_MAX)
		errx(1, "%s has %lld bytes", path, (long long)st.st_size);
	size = pread(fd, file->bytes, MODEL_FILE_SIZE_MAX, 0);
	if (size < 0)
		err(1, "%s", path);
	if (size != st.st_size)
		errx(1, "%s: read %zd of %lld bytes", path, size, (long long)st.st_size);
	size = fgetxattr(fd, MARK, &file->mark, sizeof(file->mark));
	if (size < 0 && errno != ENODATA)
		err(1, "%s: xattr", path);
	file->size = st.st_size;
	file->exists = true;
	close(fd);
}

/* What is there; names that no change makes are a failure. */
static void tree_load(struct model *tree)
{
	unsigned i, expected = MODEL_DIRECTORIES, found = entries_count(".");
	struct stat st;
	char path[32];

	for (i = 0; i < MODEL_TOGGLES; i++) {
		model_toggle_path(i, path);
		tree->toggles[i] = !stat(path, &st);
		expected += tree->toggles[i];
	}
	for (i = 0; i < MODEL_DIRECTORIES; i++) {
		snprintf(path, sizeof(path), "d%u", i);
		found += entries_count(path);
	}
	for (i = 0; i < MODEL_FILES; i++) {
		model_file_path(i, path);
		file_load(path, &tree->files[i]);
		expected += tree->files[i].exists;
	}
	if (found != expected)
		errx(1, "there are %u names, expected %u", found, expected);
}

/* Says how they differ, or returns false. */
static bool file_differs(
	const struct model_file *is, const struct model_file *should, char what[128])
{
	size_t i;

	if (is->exists != should->exists)
		snprintf(what, 128, is->exists ? "is there" : "is missing");
	else if (is->size != should->size)
		snprintf(what, 128, "has %zu bytes, expected %zu", is->size, should->size);
	else if (is->mark != should->mark)
		snprintf(what, 128, "is marked %llu, expected %llu", (unsigned long long)is->mark,
			(unsigned long long)should->mark);
	else if (memcmp(is->bytes, should->bytes, is->size)) {
		for (i = 0; is->bytes[i] == should->bytes[i]; i++)
			;
		snprintf(what, 128, "differs from byte %zu of %zu", i, is->size);
	} else
		return false;
	return true;
}

static bool tree_differs(const struct model *tree, const struct model *model, char what[192])
{
	char path[32], detail[128];
	unsigned i;

	for (i = 0; i < MODEL_FILES; i++)
		if (file_differs(&tree->files[i], &model->files[i], detail)) {
			model_file_path(i, path);
			snprintf(what, 192, "%s %s", path, detail);
			return true;
		}
	for (i = 0; i < MODEL_TOGGLES; i++)
		if (tree->toggles[i] != model->toggles[i]) {
			model_toggle_path(i, path);
			snprintf(what, 192, "%s %s", path,
				tree->toggles[i] ? "is there" : "is missing");
			return true;
		}
	return false;
}

static int verify(struct model *model, struct account *account)
{
	char at_kept[192], what[192];
	struct change change;
	struct model tree;
	bool differs;

	model_init(&tree, model->seed);
	tree_load(&tree);
	differs = tree_differs(&tree, model, at_kept);
	while (differs && model->done < account->begun) {
		change = model_next(model);
		model_apply(model, &change);
		differs = tree_differs(&tree, model, what);
	}
	model_fini(&tree);
	if (differs)
		errx(1,
			"no state from change %llu (must be kept) to %llu (begun) fits; at the "
			"first: %s",
			(unsigned long long)account->kept, (unsigned long long)account->begun,
			at_kept);
	printf("%llu kept, %llu found, %llu begun\n", (unsigned long long)account->kept,
		(unsigned long long)model->done, (unsigned long long)account->begun);
	*account = (struct account){model->done, model->done, model->done};
	return 0;
}

/* The writer's directory, made on its first day, with the directories that are always there. */
static int directory_enter(const char *dir, unsigned writer)
{
	char path[32];
	unsigned i;
	int fd, result;

	snprintf(path, sizeof(path), "w%u", writer);
	if (chdir(dir) || (mkdir(path, 0755) && errno != EEXIST) || chdir(path))
		return -1;
	for (i = 0; i < MODEL_DIRECTORIES; i++) {
		snprintf(path, sizeof(path), "d%u", i);
		if (mkdir(path, 0755) && errno != EEXIST)
			return -1;
	}
	fd = open(".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return -1;
	result = fsync(fd);
	close(fd);
	return result;
}

int main(int argc, char **argv)
{
	struct account *account;
	struct model model;
	unsigned writer;
	uint64_t count;
	int result;

	if (argc < 6 || argc > 7 || (writer = atoi(argv[5])) >= WRITERS_MAX)
		errx(2, "usage: crash_writer run|verify DIR LEDGER SEED WRITER [COUNT]");
	ledger = ledger_open(argv[3]);
	account = &ledger[writer];
	if (directory_enter(argv[2], writer)) {
		if (is_gone(errno) && strcmp(argv[1], "verify"))
			return 0;
		err(1, "%s", argv[2]);
	}
	model_init(&model, strtoull(argv[4], NULL, 10) * 1000003 + writer * 100000007ull);
	while (model.done < account->kept) {
		struct change change = model_next(&model);

		model_apply(&model, &change);
	}
	if (!strcmp(argv[1], "verify")) {
		result = verify(&model, account);
	} else {
		count = argc == 7 ? strtoull(argv[6], NULL, 10) : UINT64_MAX - model.done;
		result = run(&model, account, count);
	}
	model_fini(&model);
	return result;
}
