/* SPDX-License-Identifier: MIT */
/*
 * create.c - kv_create: makes a store of a new or an empty directory.
 *
 * The superblock is written last: a directory without one is not a store yet, and what a failure
 * leaves is taken away again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "env.h"
#include "format.h"
#include "kv.h"
#include "manifest.h"

#define SEGMENT_SIZE_SMALL (2u << 20)
#define SEGMENTS_OF_DISK 32u /* at least, where that leaves them large enough */
#define SEGMENTS_OF_SPACE 8u /* and of what is available */

__attribute__((format(printf, 4, 5))) static void
say(kv_report_fn *report, void *arg, enum kv_severity severity, const char *format, ...)
{
	char text[512];
	va_list args;

	if (!report)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report(arg, severity, text);
}

/* Is it the name of one of the first `count` keyspaces? */
static bool is_taken(const struct format_super *super, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++) {
		if (!strncmp(super->keyspaces[i].name, name, sizeof(super->keyspaces[i].name)))
			return true;
	}
	return false;
}

/* Of a small disk a tail, a spare segment and the reserve of the usual size would be too much. */
static uint32_t segment_size_for(struct kv_env *env, struct env_dir *dir)
{
	uint64_t avail, total;
	uint32_t size = FORMAT_SEGMENT_SIZE_DEFAULT;

	if (env->dir_space(dir, &avail, &total))
		return size;
	while (size > SEGMENT_SIZE_SMALL &&
	       (total / SEGMENTS_OF_DISK < size || avail / SEGMENTS_OF_SPACE < size))
		size /= 2;
	return size;
}

static int fill_super(struct format_super *super, struct kv_env *env,
		      const struct kv_create_options *options)
{
	unsigned i;
	int error;

	memset(super, 0, sizeof(*super));
	super->segment_size =
		options->segment_size ? options->segment_size : FORMAT_SEGMENT_SIZE_DEFAULT;
	super->hash = (uint8_t)(options->hash ? options->hash : KV_HASH_XXH3);
	super->compress = (uint8_t)options->compress;
	super->compress_level = (int8_t)(options->compress_level ? options->compress_level :
					 options->compress == KV_COMPRESS_BACKGROUND ? 3 : 1);
	super->application = options->application;
	if (!options->keyspace_count || options->keyspace_count > KV_KEYSPACES_MAX)
		return -EINVAL;
	super->keyspace_count = (uint8_t)options->keyspace_count;
	for (i = 0; i < options->keyspace_count; i++) {
		const struct kv_keyspace_spec *spec = &options->keyspaces[i];

		if (!spec->name || strlen(spec->name) > KV_KEYSPACE_NAME_MAX ||
		    is_taken(super, i, spec->name))
			return -EINVAL;
		memcpy(super->keyspaces[i].name, spec->name, strlen(spec->name));
		super->keyspaces[i].flags = spec->ordered ? FORMAT_KEYSPACE_ORDERED : 0;
	}
	error = env->random(env, super->uuid, sizeof(super->uuid));
	if (!error)
		error = env->random(env, super->secret, sizeof(super->secret));
	format_super_seal(super);
	return error;
}

bool kv_is_file_name(const char *name)
{
	static const char *const names[] = {FORMAT_SUPER_NAME, FORMAT_MANIFEST_NAME,
		FORMAT_CHECKPOINT_NAME, FORMAT_CHECKPOINT_NEW_NAME, FORMAT_SNAPSHOTS_NAME,
		FORMAT_SNAPSHOTS_NEW_NAME, FORMAT_MANIFEST_NEW_NAME, FORMAT_LOSS_NAME};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return format_segment_slot(name) >= 0 || format_free_slot(name) >= 0;
}

static int count_entry(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static int write_super(struct kv_env *env, struct env_dir *dir, const struct format_super *super)
{
	struct env_file *file;
	int error = env->file_open(dir, FORMAT_SUPER_NAME, ENV_CREATE, &file);

	if (error)
		return error;
	error = env->file_allocate(file, sizeof(*super));
	if (!error)
		error = env->file_write(file, super, sizeof(*super), 0, true);
	env->file_close(file);
	if (!error)
		error = env->dir_sync(dir);
	if (error)
		(void)env->unlink(dir, FORMAT_SUPER_NAME);
	return error;
}

/*
 * A failure leaves the directory as it was. Another process may be making a store in it as well:
 * who comes second finds a file and gets -EEXIST, and takes away nothing but what it has made.
 */
static int write_files(struct kv_env *env, struct env_dir *dir, const struct format_super *super)
{
	int error = manifest_create(env, dir, super->uuid);

	if (error)
		return error;
	error = write_super(env, dir, super);
	if (error)
		(void)env->unlink(dir, FORMAT_MANIFEST_NAME);
	return error;
}

/* What could never be written to is not made. */
static int check_limit(struct kv_env *env, const char *path, const struct format_super *super,
		       kv_report_fn *report, void *report_arg)
{
	uint64_t max = env->file_size_max(env);

	if (super->segment_size <= max)
		return 0;
	say(report, report_arg, KV_ERROR,
	    "%s: files may have %" PRIu64
	    " bytes at most here (ulimit -f), a segment of this store would have %" PRIu32
	    "; raise that limit, or choose smaller segments",
	    path, max, super->segment_size);
	return -EFBIG;
}

int kv_create(struct kv_env *env, const char *path, const struct kv_create_options *options,
	      kv_report_fn *report, void *report_arg)
{
	struct format_super super;
	struct env_dir *dir;
	unsigned entries = 0;
	const char *why;
	int error;

	env = env ? env : env_system();
	error = fill_super(&super, env, options);
	if (!error && format_super_validate(&super, &why))
		error = -EINVAL;
	if (error) {
		say(report, report_arg, KV_ERROR,
		    error == -EINVAL ? "%s: these options make no store"
				     : "%s: there are no random numbers to be had",
		    path);
		return error;
	}
	error = env->dir_create(env, path);
	if (error && error != -EEXIST) {
		say(report, report_arg, KV_ERROR, "%s: cannot make the directory: %s", path,
		    strerror(-error));
		return error;
	}
	error = env->dir_open(env, path, &dir);
	if (!error) {
		error = env->dir_list(dir, count_entry, &entries);
		if (!error && entries)
			error = -EEXIST;
		if (!options->segment_size) {
			super.segment_size = segment_size_for(env, dir);
			format_super_seal(&super);
		}
		if (!error)
			error = check_limit(env, path, &super, report, report_arg);
		if (!error)
			error = write_files(env, dir, &super);
		env->dir_close(dir);
	}
	if (error == -EEXIST)
		say(report, report_arg, KV_ERROR,
		    "%s: is not empty; choose a new or an empty directory", path);
	else if (error && error != -EFBIG)
		say(report, report_arg, KV_ERROR, "%s: cannot make a store: %s", path,
		    strerror(-error));
	return error;
}
