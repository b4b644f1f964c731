/* SPDX-License-Identifier: MIT */
/* value.h - from a record to its value: where it stands, or decompressed into memory of this thread. */
#ifndef VALUE_H
#define VALUE_H

#include "store.h"

/* -EIO: not decompressible (reported), -ENOMEM */
int value_of(struct kv *kv, const struct format_record *record, struct kv_slice *value);

/* The same, but what this thread was given since its last value_forget, or value_of, stays. */
int value_also(struct kv *kv, const struct format_record *record, struct kv_slice *value);
void value_forget(void);

#endif
