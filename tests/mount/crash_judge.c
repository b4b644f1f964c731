/* SPDX-License-Identifier: MIT */
/*
 * crash_judge.c - the tree of each writer, now and in each snapshot, must be what it was after some
 * number of its changes
 *
 * That number lies between those that must be there and those that were begun. A tree may be the
 * same after several of them (a sync changes nothing), so what is known of a tree is the least
 * and the greatest. And all trees of one moment have to belong together: where a change is there,
 * all are that any writer had done when it began.
 */
#include "crash_judge.h"
#include "crash_snapshot.h"
#include "crash_stream.h"
#include "crash_tree.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A moment that can be looked at: now, or a snapshot. */
struct moment {
	struct snapshot_account *snapshot; /* NULL: now */
	char path[32];                     /* of its root */
	bool is_known;                     /* and was judged before */
	uint64_t least[WRITERS_MAX], greatest[WRITERS_MAX];
};

struct moments {
	unsigned count;
	struct moment all[SNAPSHOTS_MAX + 1];
};

/* One writer's tree at a moment. */
struct view {
	struct moment *moment;
	struct model tree;
	uint64_t first, last; /* numbers of changes: the window in which it has to be */
	char at_first[192];   /* how it differs there */
};

static void moment_add(struct moments *moments, struct snapshot_account *snapshot)
{
	struct moment *moment = &moments->all[moments->count++];

	moment->snapshot = snapshot;
	snprintf(moment->path, sizeof(moment->path), ".");
	if (!snapshot)
		return;
	snapshot_path(snapshot->number, moment->path);
	moment->is_known = snapshot->hashes[0];
}

/* In memory that processes share. Snapshots without a directory are not looked at here. */
static struct moments *moments_new(struct ledger *ledger)
{
	struct moments *moments = mmap(NULL, sizeof(*moments), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct snapshot_account *snapshot;
	struct stat st;
	char path[32];

	if (moments == MAP_FAILED)
		err(2, "memory");
	moment_add(moments, NULL);
	for (snapshot = ledger->snapshots; snapshot < ledger->snapshots + SNAPSHOTS_MAX;
		snapshot++) {
		snapshot_path(snapshot->number, path);
		if (atomic_load(&snapshot->state) != SNAPSHOT_NONE && !stat(path, &st))
			moment_add(moments, snapshot);
	}
	return moments;
}

static void window_set(struct view *view, const struct account *account, unsigned writer)
{
	struct snapshot_account *snapshot = view->moment->snapshot;

	view->first = atomic_load(&account->kept);
	view->last = atomic_load(&account->begun);
	if (!snapshot)
		return;
	view->first = atomic_load(&snapshot->done[writer]);
	if (atomic_load(&snapshot->state) != SNAPSHOT_MAKING)
		view->last = atomic_load(&snapshot->begun[writer]);
}

/* Reads one writer's tree. Of a snapshot that was judged before, it must be the same one. */
static void view_load(struct view *view, struct moment *moment, const struct account *account,
	unsigned writer)
{
	char path[64];

	view->moment = moment;
	moment->least[writer] = UINT64_MAX;
	snprintf(path, sizeof(path), "%s/w%u", moment->path, writer);
	model_init(&view->tree, 0);
	tree_load(path, &view->tree);
	window_set(view, account, writer);
	if (!moment->snapshot)
		return;
	if (moment->is_known && moment->snapshot->hashes[writer] != tree_hash(&view->tree))
		errx(1, "%s is not what it was", path);
	moment->snapshot->hashes[writer] = tree_hash(&view->tree);
}

static void view_compare(struct view *view, const struct model *model, unsigned writer)
{
	char what[192];

	if (view->moment->is_known || model->done < view->first || model->done > view->last)
		return;
	if (tree_differs(&view->tree, model, what)) {
		if (model->done == view->first)
			memcpy(view->at_first, what, sizeof(what));
		return;
	}
	if (view->moment->least[writer] == UINT64_MAX)
		view->moment->least[writer] = model->done;
	view->moment->greatest[writer] = model->done;
}

/* It was found, or the program ends. */
static void view_end(struct view *view, unsigned writer)
{
	const struct moment *moment = view->moment;

	if (!moment->is_known && moment->least[writer] == UINT64_MAX)
		errx(1,
			"writer %u in %s: no state from change %llu (must be kept) to %llu (begun) "
			"fits; at the first: %s",
			writer, moment->path, (unsigned long long)view->first,
			(unsigned long long)view->last, view->at_first);
	model_fini(&view->tree);
}

/* Walks through its changes, and finds each moment among them. */
static void judge_writer(
	struct ledger *ledger, struct moments *moments, uint64_t seed, unsigned writer)
{
	struct account *account = &ledger->accounts[writer];
	struct view *views = calloc(moments->count, sizeof(*views));
	struct change change;
	struct model model;
	unsigned i;

	if (!views)
		err(2, "memory");
	for (i = 0; i < moments->count; i++)
		view_load(&views[i], &moments->all[i], account, writer);
	model_init(&model, model_seed(seed, writer));
	for (;;) {
		for (i = 0; i < moments->count; i++)
			view_compare(&views[i], &model, writer);
		if (model.done >= atomic_load(&account->begun))
			break;
		change = model_next(&model);
		model_apply(&model, &change);
	}
	for (i = 0; i < moments->count; i++)
		view_end(&views[i], writer);
	model_fini(&model);
	free(views);
}

/* Each in a process of its own, as most of it is waiting for answers. */
static void judge_writers(
	struct ledger *ledger, struct moments *moments, uint64_t seed, unsigned writers)
{
	int status, result = 0;

	for (unsigned writer = 0; writer < writers; writer++) {
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (pid)
			continue;
		judge_writer(ledger, moments, seed, writer);
		exit(0);
	}
	while (wait(&status) > 0)
		result |= status;
	if (result)
		exit(1);
}

/* All that was done before one of the changes of a moment began is in it. */
static void judge_order(
	const struct ledger *ledger, const struct moment *moment, unsigned writers)
{
	for (unsigned writer = 0; writer < writers; writer++) {
		const struct account *account = &ledger->accounts[writer];
		uint64_t last = moment->least[writer] - 1; /* the last change that is there */

		if (moment->least[writer] <= atomic_load(&account->judged) ||
			last + SEEN_MAX <= atomic_load(&account->begun))
			continue;
		for (unsigned other = 0; other < writers; other++) {
			uint64_t seen = ledger->seen[writer][last % SEEN_MAX][other];

			if (moment->greatest[other] < seen)
				errx(1,
					"%s has change %llu of writer %u, but of writer %u, who "
					"had done %llu before it began, only %llu",
					moment->path, (unsigned long long)last, writer, other,
					(unsigned long long)seen,
					(unsigned long long)moment->greatest[other]);
		}
	}
}

/* A snapshot has nothing that is not there now. */
static void judge_snapshot_order(
	const struct moment *now, const struct moment *snapshot, unsigned writers)
{
	for (unsigned writer = 0; writer < writers; writer++)
		if (snapshot->least[writer] > now->greatest[writer])
			errx(1, "%s has change %llu of writer %u, which is not there now",
				snapshot->path, (unsigned long long)snapshot->least[writer] - 1,
				writer);
}

void judge(struct ledger *ledger, uint64_t seed, unsigned writers)
{
	struct moments *moments = moments_new(ledger);
	struct moment *now = &moments->all[0];
	uint64_t least[WRITERS_MAX] = {0};
	unsigned i;

	judge_writers(ledger, moments, seed, writers);
	for (i = 0; i < moments->count; i++) {
		if (moments->all[i].is_known)
			continue;
		judge_order(ledger, &moments->all[i], writers);
		judge_snapshot_order(now, &moments->all[i], writers);
	}
	for (i = 0; i < writers; i++)
		least[i] = now->least[i];
	if (!access(SNAPSHOTS_DIR, F_OK))
		snapshots_settle(ledger, least);
	stream_judge(ledger, seed);
	for (i = 0; i < writers; i++) {
		struct account *account = &ledger->accounts[i];

		printf("%llu kept, %llu found, %llu begun\n",
			(unsigned long long)atomic_load(&account->kept),
			(unsigned long long)least[i],
			(unsigned long long)atomic_load(&account->begun));
		atomic_store(&account->begun, least[i]);
		atomic_store(&account->done, least[i]);
		atomic_store(&account->kept, least[i]);
		atomic_store(&account->judged, least[i]);
	}
	munmap(moments, sizeof(*moments));
}
