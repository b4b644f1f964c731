/* SPDX-License-Identifier: MIT */
/*
 * store_bench - one set of workloads on one store in one directory: `bench/engine` runs it and
 * reads its lines
 *
 *	store_bench list
 *	store_bench STORE SET DIR ENTRIES VALUE_SIZE SECONDS
 */
#include "latency.h"
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int list(void)
{
	const struct store_ops *ops;

	for (unsigned i = 0; (ops = store_at(i)); i++)
		printf("%s\t%s\n", ops->name, ops->about);
	return 0;
}

int main(int argc, char **argv)
{
	struct workload workload = {0};
	int err;

	if (argc == 2 && !strcmp(argv[1], "list"))
		return list();
	if (argc != 7) {
		fprintf(stderr,
			"usage: store_bench list | STORE SET DIR ENTRIES VALUE_SIZE SECONDS\n");
		return 2;
	}
	workload.ops = store_find(argv[1]);
	if (!workload.ops) {
		fprintf(stderr, "store_bench: no store %s here\n", argv[1]);
		return 2;
	}
	workload.setup = (struct store_setup){
		.path = argv[3],
		.entries = strtoull(argv[4], NULL, 10),
		.value_size = strtoull(argv[5], NULL, 10),
	};
	workload.seconds = strtod(argv[6], NULL);
	if (!workload.setup.entries || workload.setup.value_size < 8 ||
		workload.setup.value_size > ENTRY_VALUE_SIZE_MAX) {
		fprintf(stderr, "store_bench: at least one entry, values of 8 bytes to 1 MiB\n");
		return 2;
	}
	if (mkdir(argv[3], 0755) && errno != EEXIST) {
		perror(argv[3]);
		return 1;
	}
	latency_init();
	err = entry_init();
	if (!err)
		err = workload_run(&workload, argv[2]);
	if (err)
		fprintf(stderr, "store_bench: %s %s: %s\n", argv[1], argv[2], strerror(-err));
	return err ? 1 : 0;
}
