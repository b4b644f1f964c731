/* SPDX-License-Identifier: MIT */
/*
 * store_list.h - the tables of each store's file, NULL behind the last; which of them there are
 * says the build.
 */
#ifndef STORE_LIST_H
#define STORE_LIST_H

#include "store.h"

extern const struct store_ops *const store_kv[];
extern const struct store_ops *const store_lmdb[];
extern const struct store_ops *const store_rocksdb[];
extern const struct store_ops *const store_leveldb[];
extern const struct store_ops *const store_tkrzw[];
extern const struct store_ops *const store_sqlite[];

#endif
