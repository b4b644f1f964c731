/* SPDX-License-Identifier: MIT */
/*
 * check.c - a check of a whole file system: first the store's own, then what the records say of
 * each other, now and in each snapshot.
 *
 * Inodes are reached through their names and the notes of orphans. As the engine counts its keys,
 * what is reached by neither shows as a difference; only then are all numbers ever given out tried
 * to find it.
 */
#include "check.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

#define STEPS_PER_PROGRESS 4096u

static void name_print(FILE *out, const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)name[i];

		if (isprint(c) && c != '"' && c != '\\')
			fputc(c, out);
		else
			fprintf(out, "\\x%02x", c);
	}
}

void check_show(const char *name, size_t size, char text[CHECK_SHOWN_SIZE])
{
	FILE *out = fmemopen(text, CHECK_SHOWN_SIZE, "w");

	text[0] = '\0';
	if (!out)
		return;
	name_print(out, name, size);
	fclose(out);
}

void check_finding(struct check *check, const struct check_place *place, const char *format, ...)
{
	char message[2048];
	FILE *out = fmemopen(message, sizeof(message), "w");
	va_list args;

	check->findings++;
	if (!out) {
		check->report(check->report_arg, KV_ERROR, "a finding, and no memory to say which");
		return;
	}
	if (check->snapshot) {
		fprintf(out, "snapshot \"");
		name_print(out, check->snapshot, strlen(check->snapshot));
		fprintf(out, "\": ");
	}
	if (place)
		fprintf(out, "inode %llu", (unsigned long long)place->ino);
	if (place && place->parent) {
		fprintf(out, " (\"");
		name_print(out, place->name, place->name_size);
		fprintf(out, "\" in directory %llu)", (unsigned long long)place->parent);
	}
	if (place)
		fprintf(out, ": ");
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fclose(out);
	message[sizeof(message) - 1] = '\0';
	check->report(check->report_arg, KV_ERROR, message);
}

bool check_is_damage(struct check *check, int err)
{
	if (err == -ENOMEM)
		check->error = err;
	return err != -ENOMEM;
}

int check_step(struct check *check)
{
	if (!check->progress || ++check->steps % STEPS_PER_PROGRESS)
		return 0;
	return check->progress(check->progress_arg, check->total_bytes, check->total_bytes)
		       ? -ECANCELED
		       : 0;
}

static int engine_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct check *check = arg;

	check->total_bytes = total_bytes;
	return check->progress ? check->progress(check->progress_arg, done_bytes, total_bytes) : 0;
}

static void check_reached(struct check *check, struct kv_slice key)
{
	struct check_place place = {0};

	if (inode_key_decode(key, &place.ino))
		check_finding(check, NULL, "the key of an inode makes no sense");
	else if (!number_set_has(&check->seen, place.ino))
		check_finding(check, &place, "it has no name, and is not noted as unlinked");
}

/* Inodes that neither a name nor a note leads to: looked for where there are more than were met. */
static int check_lost(struct check *check)
{
	const struct kv_entry *entries;
	struct kv_iterator *iterator;
	struct kv_stats stats;
	size_t count;
	int err;

	/* A snapshot's keys are not counted by the store. */
	if (check->fs->view)
		return 0;
	kv_stats(check->fs->kv, &stats);
	if (stats.keys[KEYSPACE_INODE] == check->inodes)
		return 0;
	err = kv_iterator_open(check->fs->kv, KEYSPACE_INODE, KV_ITERATE_KEYS, &iterator);
	if (err)
		return err;
	while (!err) {
		kv_read_begin(check->fs->kv);
		err = kv_iterator_read(iterator, &entries, &count);
		for (size_t i = 0; !err && i < count; i++) {
			if (!entries[i].status)
				check_reached(check, entries[i].key);
			err = check_step(check);
		}
		kv_read_end(check->fs->kv);
	}
	kv_iterator_close(iterator);
	/* What of the index cannot be read the store's own check has found. */
	return err == -ENOENT || err == -EIO ? 0 : err;
}

/* Would one that is in use be given out again? */
static void check_numbers(struct check *check)
{
	uint64_t next = atomic_load(&check->fs->numbers.limit);
	uint64_t inode = number_set_max(&check->seen), shared = number_table_max(&check->shares);
	uint64_t most = inode > shared ? inode : shared;

	if (!check->fs->view && most >= next)
		check_finding(check, NULL, "the next inode number is %llu, and %llu is in use",
			(unsigned long long)next, (unsigned long long)most);
}

static int check_all(struct check *check)
{
	int err = check_tree(check);

	if (!err)
		err = check_orphans(check);
	if (!err)
		err = check_owners(check);
	if (!err)
		err = check_shares(check);
	if (!err)
		err = check_lost(check);
	if (!err)
		check_numbers(check);
	if (!err && !check->fs->view && check->fs->doubtful)
		check_finding(check, NULL,
			"records were lost to damage; a repair makes those that are left agree");
	return err;
}

int check_records(struct check *check)
{
	struct scratch_pool *pool = &check->fs->scratch;
	int err = scratch_take(pool, &check->outer);

	if (err)
		return err;
	err = scratch_take(pool, &check->inner);
	if (!err) {
		err = check_all(check);
		scratch_give(check->inner);
	}
	scratch_give(check->outer);
	number_table_fini(&check->seen);
	number_table_fini(&check->links);
	number_table_fini(&check->parents);
	number_table_fini(&check->shares);
	return err ? err : check->error;
}

int kvfs_check(struct kvfs *fs, kv_report_fn *report, void *report_arg, kv_progress_fn *progress,
	void *progress_arg, uint64_t *findings)
{
	struct check check = {
		.fs = fs,
		.report = report,
		.report_arg = report_arg,
		.progress = progress,
		.progress_arg = progress_arg,
	};
	int err;

	if (fs->stripes)
		stripe_pause(fs->stripes);
	err = kv_check(fs->kv, report, report_arg, engine_progress, &check, &check.findings);
	if (!err)
		err = check_records(&check);
	if (fs->stripes)
		stripe_resume(fs->stripes);
	if (!err && !fs->view)
		err = check_snapshots(&check);
	if (!err)
		*findings = check.findings;
	return err;
}
