/* SPDX-License-Identifier: MIT */
/*
 * mend_meta.c - repairs the records about the file system itself: which of them were lost, opening
 * has found out.
 *
 * Without the secret of the name hash no entry is where it is looked for: a new one is drawn, and
 * mend_names, which comes next, puts each under its right key. Names in snapshots of before stay
 * where they are, and are not found by name.
 */
#include <errno.h>
#include <sys/random.h>

#include "inode_record.h"
#include "mend.h"
#include "meta_record.h"

static int mend_format(struct mend *mend)
{
	uint8_t format[META_FORMAT_SIZE];
	uint64_t secret;

	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return -EIO;
	mend_say(mend, "the secret of the name hash is lost; each entry gets a new place");
	meta_format_encode(secret, format);
	mend->fs->name_secret = secret;
	return mend_put(mend, KEYSPACE_META, META_FORMAT_KEY, sizeof(META_FORMAT_KEY) - 1, format,
		sizeof(format));
}

int mend_meta(struct mend *mend)
{
	unsigned lost = mend->fs->meta_lost;
	int err = 0;

	if (lost & META_LOST_FORMAT)
		err = mend_format(mend);
	if (!err && lost & META_LOST_LIMIT) {
		mend_say(mend, "the store's own limit is lost; it has none now");
		err = mend_delete(
			mend, KEYSPACE_META, META_SIZE_LIMIT_KEY, sizeof(META_SIZE_LIMIT_KEY) - 1);
	}
	if (!err && lost & META_LOST_ROLLBACK) {
		mend_say(mend,
			"going back to a snapshot was interrupted, and to which is lost; files may be as they were or as "
			"they were to be");
		err = mend_delete(
			mend, KEYSPACE_META, META_ROLLBACK_KEY, sizeof(META_ROLLBACK_KEY) - 1);
	}
	return err;
}

/*
 * What the record says is next may be an older state that is back, and of the numbers behind it
 * snapshots may have some.
 */
int mend_next_ino(struct mend *mend)
{
	struct number_source *numbers = &mend->fs->numbers;
	uint64_t next = mend->most + 1, limit = atomic_load(&numbers->limit), ino;

	if (mend->fs->meta_lost & META_LOST_NEXT_INO)
		mend_say(mend, "the next inode number is lost; it is found from those that there are");
	else if (next > limit)
		mend_say(mend,
			"the next inode number was %llu, and %llu is in use; it is beyond that now",
			(unsigned long long)limit, (unsigned long long)mend->most);
	else if (!mend->fs->doubtful)
		return 0;
	next = number_beyond(next > limit ? next : limit);
	if (next > INODE_INO_MAX - NUMBER_STEP) {
		mend_say(mend, "inode number %llu is in use: there are none left for new files",
			(unsigned long long)mend->most);
		return 0;
	}
	atomic_store(&numbers->next, next);
	/* The first one that is given out writes the record. */
	return number_next(numbers, &ino);
}
