/* SPDX-License-Identifier: MIT */
/*
 * crash_writer.c - changes a tree without end while somebody kills the file system under it, and
 * judges afterwards
 *
 *	crash_writer run DIR LEDGER SEED WRITER [COUNT]
 *	crash_writer load DIR LEDGER SEED WRITERS
 *	crash_writer stop DIR LEDGER SEED WRITERS
 *	crash_writer verify DIR LEDGER SEED WRITERS
 *
 * Each writer (0..3) makes the changes of change_model.h in DIR/wN, one after the other, and
 * keeps its account in the ledger (crash_ledger.h). `run` is one of them, and ends with 0 after
 * COUNT changes, or when the file system is gone; any other error is a failure. `load` is the
 * first WRITERS of them at once, with one who takes snapshots and one who writes a stream; `stop`
 * ends it too. `verify` (crash_judge.h) makes what all of them need, and finds out where they are.
 */
#include "crash_change.h"
#include "crash_judge.h"
#include "crash_ledger.h"
#include "crash_snapshot.h"
#include "crash_stream.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ledger *ledger;

static void saw(unsigned writer, uint64_t number, const uint64_t done[WRITERS_MAX])
{
	for (unsigned i = 0; i < WRITERS_MAX; i++)
		atomic_store(&ledger->seen[writer][number % SEEN_MAX][i], (uint32_t)done[i]);
}

/* The change came back. */
static void account_done(struct account *account, const struct model *model,
	const struct change *change, const uint64_t done[WRITERS_MAX])
{
	bool is_write = change->kind == CHANGE_WRITE || change->kind == CHANGE_APPEND;

	atomic_store(&account->done, model->done);
	if (change->kind != CHANGE_SYNC && !(is_write && change->durable))
		return;
	for (unsigned i = 0; i < WRITERS_MAX; i++)
		ledger_raise(&ledger->accounts[i].kept, done[i]);
	ledger_raise(&account->kept, model->done);
}

static void changes_make(struct model *model, unsigned writer, uint64_t count)
{
	struct account *account = &ledger->accounts[writer];
	uint64_t done[WRITERS_MAX], end = model->done + count;
	struct change change;

	while (model->done < end && !atomic_load(&ledger->stopping)) {
		change = model_next(model);
		ledger_done(ledger, done);
		saw(writer, model->done, done);
		atomic_store(&account->begun, model->done + 1);
		if (change_make(model, &change)) {
			if (is_gone(errno))
				return;
			err(1, "change %llu of kind %d: file %u", (unsigned long long)model->done,
				change.kind, change.file);
		}
		model_apply(model, &change);
		account_done(account, model, &change, done);
	}
}

/* From where the account says. In the working directory, which is not the caller's any more. */
static void run(uint64_t seed, unsigned writer, uint64_t count)
{
	struct model model;
	char path[32];

	snprintf(path, sizeof(path), "w%u", writer);
	if (chdir(path)) {
		if (is_gone(errno))
			return;
		err(1, "%s", path);
	}
	model_init(&model, model_seed(seed, writer));
	while (model.done < atomic_load(&ledger->accounts[writer].kept)) {
		struct change change = model_next(&model);

		model_apply(&model, &change);
	}
	changes_make(&model, writer, count ? count : UINT64_MAX - model.done);
	model_fini(&model);
}

/* One of those who work at once: 0.. a writer, then the others. */
static void part_run(uint64_t seed, unsigned part, unsigned writers)
{
	if (part < writers)
		run(seed, part, 0);
	else if (part == writers)
		stream_run(ledger, seed);
	else
		snapshots_run(ledger, seed);
}

static void part_begin(uint64_t seed, unsigned part, unsigned writers)
{
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	if (pid)
		return;
	part_run(seed, part, writers);
	exit(0);
}

/* A part has ended. Had it a reason? */
static bool part_may_end(const char *dir, int status)
{
	struct statfs st;

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return false;
	if (atomic_load(&ledger->stopping))
		return true;
	if (statfs(dir, &st) && is_gone(errno)) /* which the kernel does not answer by itself */
		return true;
	warnx("somebody was told that the server is gone, and it is there");
	return false;
}

static int load(const char *dir, uint64_t seed, unsigned writers)
{
	unsigned part;
	int status, result = 0;

	for (part = 0; part < writers + 2; part++)
		part_begin(seed, part, writers);
	if (chdir("/")) /* only those who work are in there */
		err(2, "/");
	for (; part && wait(&status) > 0; part--)
		if (!part_may_end(dir, status)) {
			result = 1;
			atomic_store(&ledger->stopping, true);
		}
	return result;
}

/* What is there from the first day on: the writers' directories, with those for their files. */
static void directories_make(unsigned writers)
{
	char path[64];
	int fd;

	for (unsigned writer = 0; writer < writers; writer++) {
		snprintf(path, sizeof(path), "w%u", writer);
		if (mkdir(path, 0755) && errno != EEXIST)
			err(1, "%s", path);
		for (unsigned i = 0; i < MODEL_DIRECTORIES; i++) {
			snprintf(path, sizeof(path), "w%u/d%u", writer, i);
			if (mkdir(path, 0755) && errno != EEXIST)
				err(1, "%s", path);
		}
	}
	fd = open(".", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || fsync(fd))
		err(1, "fsync");
	close(fd);
}

static bool is_nothing_known(void)
{
	return !atomic_load(&ledger->accounts[0].begun) && !atomic_load(&ledger->snapshot_next);
}

int main(int argc, char **argv)
{
	unsigned writers = argc < 6 ? 0 : strtoul(argv[5], NULL, 10);
	bool is_one = argc > 1 && !strcmp(argv[1], "run"); /* and its number counts from 0 */
	uint64_t seed, count;

	if (argc < 6 || argc > 7 || writers > WRITERS_MAX - is_one)
		errx(2,
			"usage: crash_writer run|load|stop|verify DIR LEDGER SEED WRITER(S) "
			"[COUNT]");
	ledger = ledger_open(argv[3]);
	seed = strtoull(argv[4], NULL, 10);
	count = argc == 7 ? strtoull(argv[6], NULL, 10) : 0;
	if (chdir(argv[2])) {
		if (is_gone(errno) && strcmp(argv[1], "verify"))
			return 0;
		err(1, "%s", argv[2]);
	}
	if (!strcmp(argv[1], "load"))
		return load(argv[2], seed, writers);
	if (!strcmp(argv[1], "stop")) {
		atomic_store(&ledger->stopping, true);
		return 0;
	}
	if (is_one) {
		directories_make(writers + 1);
		run(seed, writers, count);
		return 0;
	}
	if (is_nothing_known())
		directories_make(writers);
	judge(ledger, seed, writers);
	atomic_store(&ledger->stopping, false);
	return 0;
}
