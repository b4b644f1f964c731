/* SPDX-License-Identifier: MIT */
/*
 * replay.c - main() of a fuzz target where the compiler has no fuzzer: runs it once on each file
 * that is named, or on each file of the directories that are.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned runs;

static int run_file(const char *path)
{
	FILE *stream = fopen(path, "rb");
	uint8_t *data = malloc(FUZZ_SIZE_MAX);
	size_t size;

	if (!stream || !data) {
		perror(path);
		free(data);
		return -1;
	}
	size = fread(data, 1, FUZZ_SIZE_MAX, stream);
	fclose(stream);
	/* In memory of exactly its size, so that the sanitizer sees a read beyond it. */
	data = realloc(data, size > 0 ? size : 1);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	runs++;
	return 0;
}

static int run_directory(const char *path)
{
	DIR *stream = opendir(path);
	struct dirent *entry;
	char name[4096];
	int result = 0;

	if (!stream) {
		perror(path);
		return -1;
	}
	while (result == 0 && (entry = readdir(stream))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		result = run_file(name);
	}
	closedir(stream);
	return result;
}

int main(int argc, char **argv)
{
	int result = 0;

	for (int i = 1; result == 0 && i < argc; i++) {
		struct stat info;

		if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode))
			result = run_directory(argv[i]);
		else
			result = run_file(argv[i]);
	}
	printf("%u inputs\n", runs);
	return result < 0 || runs == 0;
}
