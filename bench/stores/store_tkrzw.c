/* SPDX-License-Identifier: MIT */
/*
 * store_tkrzw.c - Tkrzw: HashDBM updating in place and appending, TreeDBM.
 *
 * As its documentation advises: buckets for the entries to come, files that are memory-mapped for
 * parallel access. Values are processed where they lie, copied only because a get must outlive the
 * callback. A durable put is followed by Synchronize(hard), the only durability there is; a batch
 * is not atomic.
 */
#include "store_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <tkrzw_langc.h>

struct tkrzw_store {
	struct store base;
	TkrzwDBM *dbm;
	char file[4096];
	bool durable;
};

struct tkrzw_session {
	struct session base;
	TkrzwDBM *dbm;
	TkrzwDBMIter *iterator; /* NULL: unordered */
	bool durable;
	bool found;
	size_t size;
	char *value; /* of ENTRY_VALUE_SIZE_MAX bytes, what get gave last */
};

struct tkrzw_choice {
	struct store_ops ops;
	const char *file;
	const char *parameters;
	bool buckets;
	bool ordered;
};

static int failed(const struct store *store, const char *what)
{
	return store_fail(store->ops, what, tkrzw_get_last_status_message());
}

static int store_open(
	const struct store_ops *ops, const struct store_setup *setup, struct store **out)
{
	const struct tkrzw_choice *choice = (const struct tkrzw_choice *)ops;
	struct tkrzw_store *store = calloc(1, sizeof(*store));
	char parameters[512];

	if (!store)
		return -ENOMEM;
	store->base.ops = ops;
	store->durable = setup->durable;
	snprintf(store->file, sizeof(store->file), "%s/%s", setup->path, choice->file);
	snprintf(parameters, sizeof(parameters), "file=MemoryMapParallelFile,%s",
		choice->parameters);
	if (choice->buckets) {
		size_t length = strlen(parameters);

		snprintf(parameters + length, sizeof(parameters) - length, ",num_buckets=%llu",
			(unsigned long long)setup->entries * 2);
	}
	store->dbm = tkrzw_dbm_open(store->file, true, parameters);
	if (!store->dbm) {
		failed(&store->base, "open");
		free(store);
		return -EIO;
	}
	*out = &store->base;
	return 0;
}

static int store_close(struct store *base)
{
	struct tkrzw_store *store = (struct tkrzw_store *)base;
	bool closed = tkrzw_dbm_close(store->dbm);

	free(store);
	return closed ? 0 : -EIO;
}

static void session_close(struct session *base)
{
	struct tkrzw_session *session = (struct tkrzw_session *)base;

	if (session->iterator)
		tkrzw_dbm_iter_free(session->iterator);
	free(session->value);
	free(session);
}

static int session_open(struct store *base, struct session **out)
{
	struct tkrzw_store *store = (struct tkrzw_store *)base;
	struct tkrzw_session *session = calloc(1, sizeof(*session));

	if (!session)
		return -ENOMEM;
	session->base.store = base;
	session->dbm = store->dbm;
	session->durable = store->durable;
	session->value = malloc(ENTRY_VALUE_SIZE_MAX);
	if (!session->value) {
		free(session);
		return -ENOMEM;
	}
	if (((const struct tkrzw_choice *)base->ops)->ordered)
		session->iterator = tkrzw_dbm_make_iterator(store->dbm);
	*out = &session->base;
	return 0;
}

static const char *keep(void *arg, const char *key, int32_t key_size, const char *value,
	int32_t value_size, int32_t *new_size)
{
	struct tkrzw_session *session = arg;

	session->found = value != NULL;
	if (value) {
		session->size = (size_t)value_size;
		memcpy(session->value, value, session->size);
	}
	return TKRZW_REC_PROC_NOOP;
}

static int get(struct session *base, const struct entry_key *key, struct slice *value)
{
	struct tkrzw_session *session = (struct tkrzw_session *)base;

	if (!tkrzw_dbm_process(session->dbm, key->text, ENTRY_KEY_SIZE, keep, session, false))
		return failed(base->store, "get");
	*value = (struct slice){session->value, session->size};
	return session->found ? 0 : -ENOENT;
}

static int contains(struct session *base, const struct entry_key *key)
{
	return tkrzw_dbm_check(((struct tkrzw_session *)base)->dbm, key->text, ENTRY_KEY_SIZE)
		       ? 0
		       : -ENOENT;
}

static int synchronize(struct tkrzw_session *session)
{
	return tkrzw_dbm_synchronize(session->dbm, true, NULL, NULL, "")
		       ? 0
		       : failed(session->base.store, "sync");
}

static int put_one(struct tkrzw_session *session, const struct entry_key *key, struct slice value)
{
	return tkrzw_dbm_set(session->dbm, key->text, ENTRY_KEY_SIZE, value.data,
		       (int32_t)value.size, true)
		       ? 0
		       : failed(session->base.store, "put");
}

static int put(struct session *base, const struct entry_key *key, struct slice value)
{
	struct tkrzw_session *session = (struct tkrzw_session *)base;
	int err = put_one(session, key, value);

	return err || !session->durable ? err : synchronize(session);
}

static int delete (struct session *base, const struct entry_key *key)
{
	return tkrzw_dbm_remove(((struct tkrzw_session *)base)->dbm, key->text, ENTRY_KEY_SIZE)
		       ? 0
		       : failed(base->store, "delete");
}

static int batch(struct session *base, const struct store_change *changes, unsigned count)
{
	struct tkrzw_session *session = (struct tkrzw_session *)base;
	int err = 0;

	for (unsigned i = 0; !err && i < count; i++)
		err = put_one(session, &changes[i].key, changes[i].value);
	return err || !session->durable ? err : synchronize(session);
}

static int flush(struct session *base)
{
	return 0;
}

static int sync_all(struct session *base)
{
	return synchronize((struct tkrzw_session *)base);
}

static const char *see_key(void *arg, const char *key, int32_t key_size, const char *value,
	int32_t value_size, int32_t *new_size)
{
	struct store_seen *seen = arg;

	/* it comes once more, without a record, before the first and behind the last */
	if (value) {
		store_see(seen, key, (size_t)key_size);
		seen->count++;
	}
	return TKRZW_REC_PROC_NOOP;
}

static const char *see_both(void *arg, const char *key, int32_t key_size, const char *value,
	int32_t value_size, int32_t *new_size)
{
	if (value)
		store_see(arg, value, (size_t)value_size);
	return see_key(arg, key, key_size, value, value_size, new_size);
}

static int iterate(struct session *base, bool values, struct store_seen *seen)
{
	TkrzwDBM *dbm = ((struct tkrzw_session *)base)->dbm;

	return tkrzw_dbm_process_each(dbm, values ? see_both : see_key, seen, false)
		       ? 0
		       : failed(base->store, "iterate");
}

static int scan(
	struct session *base, const struct entry_key *from, unsigned count, struct store_seen *seen)
{
	TkrzwDBMIter *iterator = ((struct tkrzw_session *)base)->iterator;

	if (!tkrzw_dbm_iter_jump(iterator, from->text, ENTRY_KEY_SIZE))
		return failed(base->store, "jump");
	while (count-- && tkrzw_dbm_iter_process(iterator, see_both, seen, false))
		tkrzw_dbm_iter_next(iterator);
	return 0;
}

static int prune(struct store *base, const char *path)
{
	return tkrzw_dbm_rebuild(((struct tkrzw_store *)base)->dbm, "") ? 0
									: failed(base, "rebuild");
}

static int snapshot(struct store *base, const char *path)
{
	return tkrzw_dbm_copy_file_data(((struct tkrzw_store *)base)->dbm, path, true)
		       ? 0
		       : failed(base, "copy");
}

#define TKRZW_OPS                                                                                  \
	.open = store_open, .close = store_close, .session_open = session_open,                    \
	.session_close = session_close, .get = get, .contains = contains, .put = put,              \
	.delete = delete, .batch = batch, .flush = flush, .sync = sync_all, .iterate = iterate,    \
	.prune = prune, .snapshot = snapshot

static const struct tkrzw_choice in_place = {
	.ops = {.name = "tkrzw-hash", .about = "Tkrzw HashDBM, in place", TKRZW_OPS},
	.file = "store.tkh",
	.parameters = "update_mode=UPDATE_IN_PLACE",
	.buckets = true,
};
static const struct tkrzw_choice appending = {
	.ops = {.name = "tkrzw-append", .about = "Tkrzw HashDBM, appending", TKRZW_OPS},
	.file = "store.tkh",
	.parameters = "update_mode=UPDATE_APPENDING",
	.buckets = true,
};
static const struct tkrzw_choice tree = {
	.ops = {.name = "tkrzw-tree", .about = "Tkrzw TreeDBM", TKRZW_OPS, .scan = scan},
	.file = "store.tkt",
	.parameters = "update_mode=UPDATE_IN_PLACE,max_cached_pages=100000",
	.ordered = true,
};

const struct store_ops *const store_tkrzw[] = {&in_place.ops, &appending.ops, &tree.ops, NULL};
