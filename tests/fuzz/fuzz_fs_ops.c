/* SPDX-License-Identifier: MIT */
/*
 * fuzz_fs_ops.c - any sequence of operations on a file system, beside a plain model of it: each can
 * be done on both or on neither, and in the end, and after opening again, both hold the same.
 *
 * Input: operations of eight bytes; fs_op_from says what they mean. One whose first byte is beyond
 * all kinds closes the store and opens it again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fixed.h"
#include "fs_model.h"
#include "fuzz.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define OPS_MAX 60u
#define REOPEN 0xf0u /* first bytes from here on */

struct run {
	struct sim_env *sim;
	struct kvfs *fs;
	struct fs_model model;
	uint64_t held_ino;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	must(severity != KV_ERROR, message);
}

static void open_store(struct run *run)
{
	struct kvfs_open_options options = {
		.kv = {.flags = KV_OPEN_INLINE, .resident_size = 1, .report = hear},
		.atime = KVFS_NOATIME,
	};

	must(kvfs_open(sim_env_table(run->sim), STORE_PATH, &options, &run->fs) == 0, "open");
}

static void compare(struct run *run)
{
	const char *difference = fs_model_compare(&run->model, run->fs);
	uint64_t findings = 0;

	must(!difference, difference);
	must(kvfs_check(run->fs, hear, NULL, NULL, NULL, &findings) == 0, "check");
	must(findings == 0, "findings");
}

static void reopen(struct run *run)
{
	must(kvfs_close(run->fs) == 0, "close");
	fs_model_closed(&run->model);
	run->held_ino = 0;
	open_store(run);
}

static void operate(struct run *run, struct fuzz_input *input)
{
	for (uint64_t i = 0; i < OPS_MAX && input->left > 0; i++) {
		uint8_t bytes[8];
		struct fs_op op;
		bool possible;
		int error;

		fuzz_bytes(input, bytes, sizeof(bytes));
		if (bytes[0] >= REOPEN) {
			reopen(run);
			continue;
		}
		if (fs_model_is_full(&run->model))
			continue;
		op = fs_op_from(bytes, i);
		possible = fs_model_apply(&run->model, &op);
		error = fs_op_do(&op, run->fs, &run->held_ino);
		if (possible != !error)
			fprintf(stderr, "operation %d: %d\n", op.kind, error);
		must(possible == !error, "model and store differ");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct fuzz_input input = {data, size};
	struct run run = {.sim = NULL};

	fixed_begin(0);
	must(sim_env_new(&(struct sim_options){.seed = 1}, &run.sim) == 0, "disk");
	must(kvfs_create(sim_env_table(run.sim), STORE_PATH, &create, hear, NULL) == 0, "create");
	fs_model_init(&run.model);
	open_store(&run);
	operate(&run, &input);
	compare(&run);
	reopen(&run);
	compare(&run);
	must(kvfs_close(run.fs) == 0, "close");
	fs_model_fini(&run.model);
	must(sim_env_power_on(run.sim, SIM_LOSS_NONE) == 0, "something was left open");
	sim_env_free(run.sim);
	fixed_end();
	return 0;
}
