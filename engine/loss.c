/* SPDX-License-Identifier: MIT */
/* loss.c - see loss.h. */
#include "loss.h"

#include <errno.h>

#include "store.h"

int loss_look(struct kv_env *env, struct env_dir *dir, bool *marked)
{
	struct env_file *file;
	int error = env->file_open(dir, FORMAT_LOSS_NAME, ENV_READ_ONLY, &file);

	if (!error)
		env->file_close(file);
	/* What is no file marks it as well: who knows what somebody has put it over. */
	*marked = !error || env_is_no_file(error);
	return *marked || error == -ENOENT ? 0 : error;
}

int loss_mark(struct kv_env *env, struct env_dir *dir)
{
	struct env_file *file;
	int error = env->file_open(dir, FORMAT_LOSS_NAME, ENV_CREATE, &file);

	if (!error)
		env->file_close(file);
	/* One that is there may be of a process that was killed before it made the name durable. */
	return error && error != -EEXIST ? error : env->dir_sync(dir);
}

int loss_unmark(struct kv_env *env, struct env_dir *dir)
{
	int error = env->unlink(dir, FORMAT_LOSS_NAME);

	return error && error != -ENOENT ? error : env->dir_sync(dir);
}

int loss_recall(struct kv *kv)
{
	bool marked;
	int error = loss_look(kv->env, kv->dir, &marked);

	if (!error && marked)
		atomic_store(&kv->records_lost, true);
	return error;
}

void loss_found(struct kv *kv)
{
	atomic_store(&kv->records_lost, true);
	kv->loss_unmarked = true;
}

int loss_settle(struct kv *kv)
{
	int error;

	if (!kv->loss_unmarked || kv->info.read_only)
		return 0;
	error = loss_mark(kv->env, kv->dir);
	kv->loss_unmarked = error;
	return error;
}

/* ---- what the store's user says -------------------------------------------------------------- */

int kv_note_loss(struct kv *kv)
{
	int error;

	if (kv->info.read_only)
		return -EROFS;
	pthread_mutex_lock(&kv->maintain.lock);
	error = loss_mark(kv->env, kv->dir);
	if (!error)
		atomic_store(&kv->records_lost, true);
	pthread_mutex_unlock(&kv->maintain.lock);
	return error;
}

int kv_forget_loss(struct kv *kv)
{
	int error;

	if (kv->info.read_only)
		return -EROFS;
	pthread_mutex_lock(&kv->maintain.lock);
	error = loss_unmark(kv->env, kv->dir);
	if (!error) {
		kv->loss_unmarked = false;
		atomic_store(&kv->records_lost, false);
	}
	pthread_mutex_unlock(&kv->maintain.lock);
	return error;
}
