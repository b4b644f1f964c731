/* SPDX-License-Identifier: MIT */
/*
 * env.h - the world a store lives in: files, maps, a clock, behind one table of functions.
 *
 * Three worlds implement it: the operating system (env_system.c), the simulated disk of the tests
 * (tests/sim_env.c), which loses, tears and reorders what was not synced, and whatever an embedder
 * brings.
 *
 * The contract every world keeps, and the engine builds on:
 *   - What write put is seen by read and by maps at once, by everyone. After a power failure any
 *     subset of the 512-byte sectors written since the file's last successful sync may be there,
 *     the others hold what they held before (zeros if never written). A sector is old or new, never
 *     a mixture, so rewriting bytes with the same bytes is safe; a sector that held nothing durable
 *     may be garbage.
 *   - sync makes a file's data, size and allocation durable. Its name is durable after dir_sync of
 *     the directory.
 *   - create, rename and unlink may be undone by a power failure until dir_sync, in any
 *     combination.
 *   - A failed sync loses what it could not write: it must not be retried as if it could still
 *     succeed.
 *   - Functions return 0 (or a length) or a negative errno, and may be called from any thread; two
 *     writes of overlapping ranges at the same time do not happen.
 * Paths are names inside the store's directory, which dir_open opens: no '/' in them.
 */
#ifndef ENV_H
#define ENV_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct env_dir;	 /* an open store directory */
struct env_file; /* an open file */

enum env_advice {
	ENV_ADVICE_RANDOM,
	ENV_ADVICE_SEQUENTIAL,
	ENV_ADVICE_WILLNEED,
	ENV_ADVICE_DONTNEED, /* by this process */
	ENV_ADVICE_FORGET,   /* nor kept in the page cache, unless others have it mapped */
	ENV_ADVICE_HUGE,     /* read, and mapped, in huge pages, where the world has such of
				files: for what will stay in memory */
	ENV_ADVICE_SMALL,    /* takes that back */
	ENV_ADVICE_POPULATE, /* read, mapped and touched now; waits for the disk */
};

/* create it; -EEXIST if it is there; mode 0600; what root creates is the directory's owner's */
#define ENV_CREATE (1u << 0)
#define ENV_READ_ONLY (1u << 1)
/*
 * The caller keeps in memory what it writes here, so the world need not: a write whose memory,
 * position and size are multiples of ENV_DIRECT_ALIGN may go around the page cache. Reads and maps
 * see it all the same.
 */
#define ENV_DIRECT (1u << 2)
#define ENV_DIRECT_ALIGN 4096u

struct kv_env {
	/* mkdir 0700 and make the name durable; -EEXIST */
	int (*dir_create)(struct kv_env *env, const char *path);
	/* Does not follow a symlink as the last component. -ENOENT, -ENOTDIR */
	int (*dir_open)(struct kv_env *env, const char *path, struct env_dir **out);
	void (*dir_close)(struct env_dir *dir);
	int (*dir_sync)(struct env_dir *dir);
	/* Calls entry(arg, name) for each file; stops at its first non-zero and returns that. */
	int (*dir_list)(struct env_dir *dir, int (*entry)(void *arg, const char *name), void *arg);
	/*
	 * Bytes that can still be allocated, and in all; not by everybody: quotas need not show.
	 */
	int (*dir_space)(struct env_dir *dir, uint64_t *avail_bytes, uint64_t *total_bytes);
	/* To how many bytes this process may make a file grow. UINT64_MAX: nobody says */
	uint64_t (*file_size_max)(struct kv_env *env);

	/* Never follows symlinks; -ENOENT, -EEXIST, -ELOOP a symlink, -EINVAL not a regular file */
	int (*file_open)(struct env_dir *dir, const char *name, unsigned flags,
			 struct env_file **out);
	void (*file_close)(struct env_file *file);
	int (*file_size)(struct env_file *file, uint64_t *size);
	/* Takes a whole-file lock (exclusive or shared) until the file is closed; -EBUSY */
	int (*file_lock)(struct env_file *file, bool exclusive);
	/*
	 * Allocates [0, size) and sets the size; existing contents stay. env_is_full: nothing
	 * changed
	 */
	int (*file_allocate)(struct env_file *file, uint64_t size);
	/*
	 * Gives back the space behind `from`, which reads as zeros then; the size stays.
	 * -EOPNOTSUPP: nothing changed
	 */
	int (*file_release)(struct env_file *file, uint64_t from);
	/*
	 * Gives [0, end), no more than the size, its space again. env_is_full: nothing changed, or
	 * only a part
	 */
	int (*file_restore)(struct env_file *file, uint64_t end);
	/* Bytes of it that have space on the disk, or a little more. */
	int (*file_allocated)(struct env_file *file, uint64_t *bytes);
	int (*file_truncate)(struct env_file *file, uint64_t size);
	/*
	 * Reads exactly `size` bytes or returns a negative errno (-ENODATA: the file ends before)
	 */
	int (*file_read)(struct env_file *file, void *buffer, size_t size, uint64_t position);
	/* Writes all of it; with `sync` durable (as file_sync) on return. */
	int (*file_write)(struct env_file *file, const void *data, size_t size, uint64_t position,
			  bool sync);
	int (*file_sync)(struct env_file *file);
	/* Maps [0, size) read-only and shared; size at most the file's. Unmap before closing. */
	int (*file_map)(struct env_file *file, size_t size, const void **out);
	void (*file_unmap)(struct env_file *file, const void *map, size_t size);
	void (*map_advise)(const void *start, size_t size, enum env_advice advice);
	/*
	 * Which pages, of ENV_DIRECT_ALIGN bytes, of a map are in memory now: a byte for each, not
	 * 0 if it is. `start` is a page's.
	 */
	void (*map_resident)(const void *start, size_t size, uint8_t *pages);
	/* How often this process has waited for a page of a map to be read, so far. */
	uint64_t (*map_faults)(struct kv_env *env);
	/* True once a page of the map could not be read (it then reads as zeros). */
	bool (*map_failed)(const void *map, size_t size);

	/*
	 * Memory to write from: zeroed, aligned to ENV_DIRECT_ALIGN, and of the kind that this
	 * world writes fastest (huge pages, already touched, registered with the ring). -ENOMEM.
	 * NULL is fine to free.
	 */
	int (*buffer_new)(struct kv_env *env, size_t size, void **out);
	void (*buffer_free)(struct kv_env *env, void *buffer, size_t size);

	int (*rename)(struct env_dir *dir, const char *from, const char *to);
	int (*unlink)(struct env_dir *dir, const char *name);

	uint64_t (*clock_us)(struct kv_env *env); /* monotonic */
	uint64_t (*time_us)(struct kv_env *env);  /* of day, since 1970; may be set back */
	int (*random)(struct kv_env *env, void *buffer, size_t size);
};

/* The operating system's. Never fails, never freed. */
struct kv_env *env_system(void);

/*
 * What opening a file came to says nothing of the file: the process may not, or has no more of what
 * it takes. Another time, or for another user, the file may be as good as ever.
 */
static inline bool env_open_was_refused(int error)
{
	return error == -EACCES || error == -EPERM || error == -EMFILE || error == -ENFILE ||
	       error == -ENOMEM;
}

/* A directory, a symlink or the like has the name: somebody has put it there. */
static inline bool env_is_no_file(int error)
{
	return error == -EINVAL || error == -ELOOP;
}

/*
 * There is no more space to be had: on the disk, or of what the user, a project (-EDQUOT) or the
 * process (-EFBIG) may take of it. What is given back helps.
 */
static inline bool env_is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

/* The same, or no more files may be open: a file that is used again takes neither. */
static inline bool env_is_short(int error)
{
	return env_is_full(error) || error == -EMFILE || error == -ENFILE;
}

#endif
