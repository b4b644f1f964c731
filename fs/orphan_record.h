/* SPDX-License-Identifier: MIT */
/*
 * orphan_record.h - what is still to be freed of an inode. Key: its number, 8 bytes, big-endian (as in
 * keyspace inode, but ordered). Value: one byte, what is to be done.
 */
#ifndef ORPHAN_RECORD_H
#define ORPHAN_RECORD_H

#include "kvfs.h"

#define ORPHAN_VALUE_SIZE 1u /* byte */

enum orphan_intent {
	ORPHAN_RELEASE = 1, /* it has no name: free it once nobody holds it */
	ORPHAN_TRIM = 2,    /* free its pieces beyond its size */
};

/* -EIO: no such bytes are ever written. */
KV_MUST_CHECK int orphan_key_decode(struct kv_slice key, uint64_t *ino);
KV_MUST_CHECK int orphan_value_decode(struct kv_slice value, enum orphan_intent *out);

#endif
