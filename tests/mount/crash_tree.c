/* SPDX-License-Identifier: MIT */
/*
 * crash_tree.c - reading a tree, comparing it
 */
#include "crash_tree.h"
#include "pattern.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static unsigned entries_count(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	unsigned count = 0;

	if (!stream)
		err(1, "%s", path);
	while ((errno = 0, entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			count++;
	if (errno)
		err(1, "%s", path);
	closedir(stream);
	return count;
}

static void bytes_load(int fd, const char *path, const struct stat *st, struct model_file *file)
{
	ssize_t size;

	if (!st->st_nlink)
		errx(1, "%s: a name of a file without names", path);
	if (st->st_size > MODEL_FILE_SIZE_MAX)
		errx(1, "%s has %lld bytes", path, (long long)st->st_size);
	size = pread(fd, file->bytes, MODEL_FILE_SIZE_MAX, 0);
	if (size < 0)
		err(1, "%s", path);
	if (size != st->st_size)
		errx(1, "%s: read %zd of %lld bytes", path, size, (long long)st->st_size);
	file->size = st->st_size;
	file->links = st->st_nlink;
	size = fgetxattr(fd, MODEL_MARK, &file->mark, sizeof(file->mark));
	if (size < 0 && errno != ENODATA)
		err(1, "%s: xattr", path);
}

/* Names with the same inode number become names of one file. */
static void name_load(int dir, unsigned name, ino_t inos[MODEL_FILES], struct model *tree)
{
	struct stat st;
	unsigned first;
	char path[32];
	int fd;

	model_file_path(name, path);
	fd = openat(dir, path, O_RDONLY);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	inos[name] = st.st_ino;
	for (first = 0; inos[first] != st.st_ino; first++)
		;
	if (first == name) {
		tree->names[name] = model_file_free(tree);
		bytes_load(fd, path, &st, tree->names[name]);
	} else {
		tree->names[name] = tree->names[first];
	}
	close(fd);
}

void tree_load(const char *path, struct model *tree)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);
	unsigned i, expected = MODEL_DIRECTORIES, found;
	ino_t inos[MODEL_FILES] = {0};
	struct stat st;
	char name[32];

	if (dir < 0)
		err(1, "%s", path);
	found = entries_count(dir, ".");
	for (i = 0; i < MODEL_TOGGLES; i++) {
		model_toggle_path(i, name);
		tree->toggles[i] = !fstatat(dir, name, &st, 0);
		expected += tree->toggles[i];
	}
	for (i = 0; i < MODEL_DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		found += entries_count(dir, name);
	}
	for (i = 0; i < MODEL_FILES; i++) {
		name_load(dir, i, inos, tree);
		expected += !!tree->names[i];
	}
	close(dir);
	if (found != expected)
		errx(1, "%s: there are %u names, expected %u", path, found, expected);
}

/* The first name of what this is a name of. */
static unsigned first_name(const struct model *model, unsigned name)
{
	unsigned first = 0;

	while (model->names[first] != model->names[name])
		first++;
	return first;
}

static bool file_differs(
	const struct model_file *is, const struct model_file *should, char what[128])
{
	size_t i;

	if (is->links != should->links)
		snprintf(what, 128, "has %u names, expected %u", is->links, should->links);
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

static bool name_differs(
	const struct model *tree, const struct model *model, unsigned name, char what[128])
{
	unsigned is = first_name(tree, name), should = first_name(model, name);

	if (!tree->names[name] != !model->names[name])
		snprintf(what, 128, tree->names[name] ? "is there" : "is missing");
	else if (!tree->names[name])
		return false;
	else if (is != should)
		snprintf(what, 128, "is the file of %u, expected that of %u", is, should);
	else
		return is == name && file_differs(tree->names[name], model->names[name], what);
	return true;
}

bool tree_differs(const struct model *tree, const struct model *model, char what[192])
{
	char path[32], detail[128];
	unsigned i;

	for (i = 0; i < MODEL_FILES; i++)
		if (name_differs(tree, model, i, detail)) {
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

static uint64_t bytes_hash(uint64_t hash, const unsigned char *bytes, size_t size)
{
	uint64_t word;
	size_t i;

	/* zeros stand behind the last byte */
	for (i = 0; i < size; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	return hash;
}

uint64_t tree_hash(const struct model *tree)
{
	uint64_t hash = 0;
	unsigned i;

	for (i = 0; i < MODEL_TOGGLES; i++)
		hash = hash * 2 + tree->toggles[i];
	for (i = 0; i < MODEL_FILES; i++) {
		const struct model_file *file = tree->names[i];

		hash = pattern_number(hash, first_name(tree, i));
		if (!file || first_name(tree, i) != i)
			continue;
		hash = pattern_number(hash, file->size);
		hash = pattern_number(hash, file->mark);
		hash = bytes_hash(hash, file->bytes, file->size);
	}
	return hash ? hash : 1;
}
