/* SPDX-License-Identifier: MIT */
/* store_list.c - which stores were built in. */
#include "store_list.h"

#include <errno.h>
#include <stdio.h>

static const struct store_ops *const *const stores[] = {
	store_kv,
#ifdef WITH_LMDB
	store_lmdb,
#endif
#ifdef WITH_ROCKSDB
	store_rocksdb,
#endif
#ifdef WITH_LEVELDB
	store_leveldb,
#endif
#ifdef WITH_TKRZW
	store_tkrzw,
#endif
#ifdef WITH_SQLITE
	store_sqlite,
#endif
};

const struct store_ops *store_at(unsigned number)
{
	for (unsigned i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
		for (const struct store_ops *const *ops = stores[i]; *ops; ops++)
			if (!number--)
				return *ops;
	return NULL;
}

const struct store_ops *store_find(const char *name)
{
	const struct store_ops *ops;

	for (unsigned i = 0; (ops = store_at(i)); i++)
		if (!strcmp(ops->name, name))
			return ops;
	return NULL;
}

int store_fail(const struct store_ops *ops, const char *what, const char *reason)
{
	fprintf(stderr, "%s: %s: %s\n", ops->name, what, reason);
	return -EIO;
}
