/* SPDX-License-Identifier: MIT */
/*
 * meta_record.h - the records about the file system itself, keys in keyspace meta:
 *
 *   "format"    0         4          8              16
 *               +---------+----------+--------------+
 *               | version | reserved | name secret  |     the seed of the name hash, never shown
 *               +---------+----------+--------------+
 *   "next_ino"  0              8
 *               +--------------+
 *               | next ino     |     inode numbers from here on were never used
 *               +--------------+
 *   "size_limit" 0             8
 *               +--------------+
 *               | bytes        |     0, or no such record: no limit
 *               +--------------+
 *   "rollback"  0
 *               +- - - - -
 *               | a snapshot's name    while the tree is being made what that has: until this
 *               +- - - - -             is over, the tree is the snapshot's
 *   "rolled_back"                    the same when it is over, and until the next time: where
 *                                    this one is newer, "rollback" is one that is back by mistake
 *   "repaired"  empty: since this batch records agree, of which damage had taken some
 */
#ifndef META_RECORD_H
#define META_RECORD_H

#include "kv.h"

#define META_VERSION 1u
#define META_FORMAT_KEY "format"
#define META_FORMAT_SIZE 16u /* bytes */
#define META_NEXT_INO_KEY "next_ino"
#define META_NEXT_INO_SIZE 8u /* bytes */
#define META_SIZE_LIMIT_KEY "size_limit"
#define META_SIZE_LIMIT_SIZE 8u /* bytes */
#define META_ROLLBACK_KEY "rollback"
#define META_ROLLED_BACK_KEY "rolled_back"
#define META_REPAIRED_KEY "repaired"

void meta_format_encode(uint64_t name_secret, uint8_t value[META_FORMAT_SIZE]);
/* -EPROTONOSUPPORT of a newer version, -EIO */
KV_MUST_CHECK int meta_format_decode(struct kv_slice value, uint64_t *name_secret);

void meta_next_ino_encode(uint64_t next_ino, uint8_t value[META_NEXT_INO_SIZE]);
KV_MUST_CHECK int meta_next_ino_decode(struct kv_slice value, uint64_t *next_ino);

void meta_size_limit_encode(uint64_t limit, uint8_t value[META_SIZE_LIMIT_SIZE]);
KV_MUST_CHECK int meta_size_limit_decode(struct kv_slice value, uint64_t *limit);

/* The name, terminated. -EIO */
KV_MUST_CHECK int meta_rollback_decode(struct kv_slice value, char name[KV_SNAPSHOT_NAME_MAX + 1]);

#endif
