/* SPDX-License-Identifier: MIT */
/*
 * manifest.h - which segments there must be: a list that is written before any is freed, so that
 * one that is missing is missed (format.h has its bytes).
 *
 * What the log itself says is not enough: its numbers have gaps where segments were freed. The
 * checkpoint names those that it needs; this list knows those behind it as well, cold ones too, and
 * what was there if there is no checkpoint.
 *
 * The maintainer's, and whoever opens the store.
 */
#ifndef MANIFEST_H
#define MANIFEST_H

#include "store.h"

/*
 * An empty one, for a store that is being made. Durable on return, with its name. A failure
 * leaves none, or with -EEXIST the one that was there.
 */
int manifest_create(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16]);
/*
 * For a repair: of two copies one of which is not whole, the other is written over it. *mended: it
 * was. -EIO and what opening says
 */
int manifest_mend(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16], bool *mended)
	__attribute__((warn_unused_result));
/*
 * May a segment be part of the log? Not where the list would name it if it was: then the log has
 * let go of it. Without a list that is whole, or in one that is full, it may.
 */
bool manifest_allows(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16], uint64_t id,
		     uint64_t salt);
/*
 * Tells of segments that should be in the log and are not. `segments`: all that are, by rising id,
 * without those behind its end. Where there is no list, or none that is whole, nothing can be
 * missed; that is said, and so is one of two copies that is not whole. -EIO, -ENOMEM
 */
int manifest_judge(struct kv *kv, struct segment *const *segments, size_t count)
	__attribute__((warn_unused_result));
/*
 * After the replay, and what follows from segments that are missing, which are missed once: makes it
 * anew if it is not there or not whole, or misses some. Not on a full disk: before a segment is
 * freed it is tried again.
 */
int manifest_settle(struct kv *kv) __attribute__((warn_unused_result));
/*
 * For the scrub: is the file still whole? If it is not that is said, once, and it is written anew.
 * False: that was said.
 */
bool manifest_verify(struct kv *kv);
/*
 * Writes it anew, durably: all that are in the log and durable, but for those that are `leaving`.
 * -EIO; env_is_short: one copy at least is whole, and it can be tried again.
 */
int manifest_write(struct kv *kv);
/*
 * When the store is closed, behind all else: has the log's last segment listed, unless nothing is
 * in it. As manifest_write.
 */
int manifest_close(struct kv *kv);

#endif
