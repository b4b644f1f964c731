/* SPDX-License-Identifier: MIT */
/*
 * crash_snapshot.c - one process that takes snapshots as fast as a few milliseconds apart
 */
#include "crash_snapshot.h"
#include "pattern.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MAX 2u /* at a time; each is read after every kill */
#define PAUSE_US_MAX 30000u

void snapshot_path(uint32_t number, char path[32])
{
	snprintf(path, 32, SNAPSHOTS_DIR "/s%u", number);
}

static bool is_there(const struct snapshot_account *snapshot)
{
	uint32_t state = atomic_load(&snapshot->state);

	return state == SNAPSHOT_MADE || state == SNAPSHOT_KEPT;
}

/* Or not, where the number's place in the ledger is not free. False: the server is gone. */
static bool take(struct ledger *ledger)
{
	uint32_t number = atomic_fetch_add(&ledger->snapshot_next, 1);
	struct snapshot_account *snapshot = &ledger->snapshots[number % SNAPSHOTS_MAX];
	uint64_t done[WRITERS_MAX];
	char path[32];
	unsigned i;

	if (atomic_load(&snapshot->state) != SNAPSHOT_NONE)
		return true;
	snapshot->number = number;
	ledger_done(ledger, done);
	for (i = 0; i < WRITERS_MAX; i++) {
		atomic_store(&snapshot->done[i], done[i]);
		snapshot->hashes[i] = 0;
	}
	atomic_store(&snapshot->state, SNAPSHOT_MAKING);
	snapshot_path(number, path);
	if (mkdir(path, 0755)) {
		if (!is_gone(errno))
			err(1, "%s", path);
		return false;
	}
	for (i = 0; i < WRITERS_MAX; i++)
		atomic_store(&snapshot->begun[i], atomic_load(&ledger->accounts[i].begun));
	atomic_store(&snapshot->state, SNAPSHOT_MADE);
	return true;
}

/* The newest as well as the oldest one, so that some grow old. */
static bool remove_one(struct ledger *ledger, bool newest)
{
	struct snapshot_account *found = NULL, *snapshot;
	char path[32];

	for (snapshot = ledger->snapshots; snapshot < ledger->snapshots + SNAPSHOTS_MAX; snapshot++)
		if (is_there(snapshot) &&
			(!found || (snapshot->number > found->number) == newest))
			found = snapshot;
	snapshot_path(found->number, path);
	atomic_store(&found->state, SNAPSHOT_REMOVING);
	if (!rmdir(path))
		return true;
	if (!is_gone(errno))
		err(1, "%s", path);
	return false;
}

/* All that was done to them before is durable. */
static bool make_durable(struct ledger *ledger)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY), result = fd < 0 ? -1 : fsync(fd);
	struct snapshot_account *snapshot;

	if (result && !is_gone(errno))
		err(1, "fsync of the root");
	if (fd >= 0)
		close(fd);
	if (result)
		return false;
	for (snapshot = ledger->snapshots; snapshot < ledger->snapshots + SNAPSHOTS_MAX; snapshot++)
		if (atomic_load(&snapshot->state) == SNAPSHOT_MADE)
			atomic_store(&snapshot->state, SNAPSHOT_KEPT);
		else if (atomic_load(&snapshot->state) == SNAPSHOT_REMOVING)
			atomic_store(&snapshot->state, SNAPSHOT_GONE);
	return true;
}

static unsigned there_count(const struct ledger *ledger)
{
	unsigned i, count = 0;

	for (i = 0; i < SNAPSHOTS_MAX; i++)
		count += is_there(&ledger->snapshots[i]);
	return count;
}

void snapshots_run(struct ledger *ledger, uint64_t seed)
{
	uint64_t random, step = (uint64_t)atomic_load(&ledger->snapshot_next) << 32;
	bool goes_on = true;

	while (goes_on && !atomic_load(&ledger->stopping)) {
		random = pattern_number(seed, step++);
		usleep(random % PAUSE_US_MAX);
		if ((random >> 32) % 4 == 0)
			goes_on = make_durable(ledger);
		else if (there_count(ledger) > KEPT_MAX)
			goes_on = remove_one(ledger, (random >> 40) % 4);
		else
			goes_on = take(ledger);
	}
}

/* Could it be there, by what is known of it? */
static void judge_present(struct snapshot_account *snapshot)
{
	if (atomic_load(&snapshot->state) == SNAPSHOT_GONE)
		errx(1, "snapshot s%u is there, and its removal was durable", snapshot->number);
	atomic_store(&snapshot->state, SNAPSHOT_KEPT);
}

static void judge_missing(struct snapshot_account *snapshot, const uint64_t least[WRITERS_MAX])
{
	uint32_t state = atomic_load(&snapshot->state);

	if (state == SNAPSHOT_KEPT)
		errx(1, "snapshot s%u is missing, and it was durable", snapshot->number);
	for (unsigned i = 0; state == SNAPSHOT_MADE && i < WRITERS_MAX; i++)
		if (least[i] > atomic_load(&snapshot->begun[i]))
			errx(1, "snapshot s%u is missing, and change %llu of writer %u came later",
				snapshot->number, (unsigned long long)least[i] - 1, i);
	atomic_store(&snapshot->state, SNAPSHOT_NONE);
}

void snapshots_settle(struct ledger *ledger, const uint64_t least[WRITERS_MAX])
{
	bool found[SNAPSHOTS_MAX] = {false};
	DIR *stream = opendir(SNAPSHOTS_DIR);
	struct snapshot_account *snapshot;
	struct dirent *entry;
	unsigned i;

	if (!stream)
		err(1, SNAPSHOTS_DIR);
	while ((errno = 0, entry = readdir(stream))) {
		if (entry->d_name[0] != 's') /* `.`, or another's */
			continue;
		i = strtoul(entry->d_name + 1, NULL, 10) % SNAPSHOTS_MAX;
		snapshot = &ledger->snapshots[i];
		if (snapshot->number != strtoul(entry->d_name + 1, NULL, 10) ||
			atomic_load(&snapshot->state) == SNAPSHOT_NONE)
			errx(1, "nobody has made snapshot %s", entry->d_name);
		found[i] = true;
		judge_present(snapshot);
	}
	if (errno)
		err(1, SNAPSHOTS_DIR);
	closedir(stream);
	for (i = 0; i < SNAPSHOTS_MAX; i++) {
		snapshot = &ledger->snapshots[i];
		if (!found[i] && atomic_load(&snapshot->state) != SNAPSHOT_NONE)
			judge_missing(snapshot, least);
	}
}
