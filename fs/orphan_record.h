/* SPDX-License-Identifier: MIT */
/*
 * orphan_record.h - a note that something of an inode is still to be freed. Key: its number, 8
 * bytes, big-endian (as in keyspace inode, but ordered). Value: one byte, ORPHAN_VALUE.
 *
 * What is to be done, the inode says: it has no name (free it once nobody holds it), or it has
 * INODE_TRIM (free its pieces beyond its size). The record is there as long as one of both is true.
 */
#ifndef ORPHAN_RECORD_H
#define ORPHAN_RECORD_H

#include "kvfs.h"

#define ORPHAN_VALUE 1u

/* -EIO: no such bytes are ever written. */
KV_MUST_CHECK int orphan_record_decode(struct kv_slice key, struct kv_slice value, uint64_t *ino);

#endif
