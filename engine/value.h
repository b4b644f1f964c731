/* SPDX-License-Identifier: MIT */
/*
 * value.h - from a record to its value: where it stands, or decompressed into memory of this
 * thread.
 */
#ifndef VALUE_H
#define VALUE_H

#include "store.h"

/*
 * -EIO: not decompressible (reported), -ENOMEM; of a large value also -EFBIG, -ENOENT: see
 * large_assemble
 */
int value_of(struct kv *kv, const struct format_record *record, struct kv_slice *value);

/* As value_of, but what this thread was given since its last value_forget, or value_of, stays. */
int value_also(struct kv *kv, const struct format_record *record, struct kv_slice *value);
/* As value_of, for a view that sees the record. */
int value_then(const struct kv_view *view, const struct format_record *record,
	       struct kv_slice *value);
void value_forget(void);
/* Memory of this thread that stays as long. NULL: none */
uint8_t *value_memory(size_t size);
/* A copy of a value of one record, in the caller's memory. -EIO: it does not fit, or as above */
int value_copy(struct kv *kv, const struct format_record *record, uint8_t *memory, size_t room,
	       size_t *size);

#endif
